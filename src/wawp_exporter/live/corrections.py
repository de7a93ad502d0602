"""Folds a session again from the log when a point came late; one reading at a time per session, however many come."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.database import Mark
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State, step
from wawp_exporter.model.rules import Key

RETRY_S = 1.0

logger = structlog.get_logger()


@dataclass(slots=True)
class Correction:
    """One session that must be folded again.

    `since`: the place in the log before the first point that is not folded. `wanted`: something came that no reading
    has covered yet. `points`: those that the live state took while the log was read. `done`: called when the reading
    that covers them has ended. `whole`: engine and restrictions are read too, since an event has changed a row of the
    log. `received_at`: when the first of the late events was received; time does not pass it for the judge.
    """

    since: Mark
    received_at: int = 0
    wanted: bool = True
    points: list[Point] = field(default_factory=list)
    done: list[Callable[[], None]] = field(default_factory=list)
    whole: bool = False


class Corrections:
    """Belongs to the event loop; `read` runs a call in the thread that reads the log, `place` is what is folded."""

    def __init__(
        self,
        fleet: Fleet,
        log: Log,
        read: Callable[..., Awaitable[Any]],
        place: Callable[[], Mark],
        defects: Defects,
    ) -> None:
        self.pending: dict[Key, Correction] = {}
        self.on_done: Callable[[], None] | None = None  # a session is as in the log now
        self._fleet = fleet
        self._log = log
        self._read = read
        self._place = place
        self._defects = defects
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def covered(self) -> Mark:
        """The place in the log up to which the fold holds everything."""
        return min([self._place(), *(each.since for each in self.pending.values())])

    def note(self, event: StatusEvent, rows: Sequence[int]) -> None:
        """Notes that an event was folded: a reading of its session that is under way may not include it."""
        each = self.pending.get((event.source, event.session))
        if each:
            each.points += [point for point, seq in zip(event.points, rows, strict=True) if seq > 0]

    def want(
        self, event: StatusEvent, rows: Sequence[int], since: Mark, done: Callable[[], None] | None = None
    ) -> None:
        """Asks for the session of an event to be folded anew; `since` is the place in the log before the event."""
        each = self._begin((event.source, event.session), since, event.received_at)
        each.whole |= min(rows) < 0
        each.wanted = True
        if done:
            each.done.append(done)

    def want_again(self, key: Key, since: Mark, received_at: int) -> None:
        """Asks for all that the log holds of a session, which may be nothing: then it is deleted."""
        each = self._begin(key, since, received_at)
        each.whole = each.wanted = True

    def _begin(self, key: Key, since: Mark, received_at: int) -> Correction:
        """The correction of a session, which is under way from now on if it was not."""
        if key not in self.pending:
            each = self.pending[key] = Correction(since, received_at)
            task = asyncio.get_running_loop().create_task(self._run(key, each))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self.pending[key]

    async def close(self) -> None:
        """Returns when no reading is under way. What could not be read is not `covered`: the next start reads it."""
        self._closing = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, key: Key, each: Correction) -> None:
        """Reads until nothing new has come; tries again every RETRY_S while the log cannot be read."""
        while each.wanted:
            done, each.done, each.points = each.done, [], []
            whole, each.whole, each.wanted = each.whole, False, False
            try:
                settled = await self._settle(key, each, whole=whole)
            except LogError as error:
                logger.error("late event not folded", error=str(error))
                each.wanted, each.whole = True, whole or each.whole
                if self._closing:
                    break
                self._answer(done)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as error:  # noqa: BLE001 - a defect must not keep the sender waiting
                self._defects("correction", error)
                settled = True
            finally:
                self._answer(done)
            if not settled:
                each.wanted, each.whole = True, whole or each.whole
        else:
            del self.pending[key]
            if self.on_done:
                self.on_done()

    def _answer(self, done: list[Callable[[], None]]) -> None:
        for call in done:
            call()
        done.clear()

    async def _settle(self, key: Key, each: Correction, *, whole: bool) -> bool:
        """Whether the session is now as in the log, or gone; False when the log must be read again.

        `whole`: engine and restrictions are read too.
        """
        grave, end = self._fleet.grave(key), self._place()
        if whole:
            memory = await self._read(self._log.states.look, key, end.seq)
            if self._fleet.grave(key) != grave or each.points:
                return False
            if memory:
                self._fleet.replace(key, memory, unix_now(), time.monotonic(), each.received_at)
            elif key in self._fleet.sessions:
                self._fleet.forget(key, grave.at, time.monotonic(), grave.seq)
            return True
        state = await self._read(self._log.states.fold, key, grave.at, end.seq, grave.seq)
        if self._fleet.grave(key) != grave:
            return False
        for point in each.points if state else ():
            if point.at <= grave.at:
                continue
            if state.outdates(point):
                return False
            state, _ = step(state, point)
        return state is None or await self._put(key, state, end)

    async def _put(self, key: Key, state: State, end: Mark) -> bool:
        """Gives a session its state; a session that is missing in the fleet because of a defect is made."""
        now, mono = unix_now(), time.monotonic()
        if key in self._fleet.sessions:
            self._fleet.correct(key, state, now, mono, self.pending[key].received_at)
        elif self._fleet.folds(key[0]):
            memory = await self._read(self._log.states.look, key, end.seq)
            if memory and key not in self._fleet.sessions and self._fleet.folds(key[0]):
                self._fleet.adopt(key, memory, now, mono)
                self._fleet.unsaved.add(key)
        return True
