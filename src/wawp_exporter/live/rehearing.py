"""Keeps what is judged in the order of the log: after a late event the judge hears what the log holds from there on.

What a late event makes of its session must be read from the log. Until then other events come: these are folded at
once, but the judge hears of them only after the late one, as it would in a replay of the log.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from wawp_exporter.errors import LogError, describe
from wawp_exporter.live.replaying import Reads, Replay
from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Followed, joined, key_of
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.model.behind import Behind
from wawp_exporter.model.fleet import Fleet

RETRY_S = 1.0
FARTHEST = 20_000  # rows: a judge that is farther behind goes on with the sessions' states
SLICE = 64  # entries of the log between two turns of others

logger = structlog.get_logger()


class Rehearing:
    """Belongs to the event loop; `read` runs a call in the thread that reads the log.

    `place` is up to where the fleet has folded the log, and `settled` whether its sessions are as the log has them.
    """

    def __init__(
        self,
        fleet: Fleet,
        log: Log,
        read: Callable[..., Awaitable[Any]],
        place: Callable[[], Mark],
        settled: Callable[[], bool],
        defects: Defects,
    ) -> None:
        self.on_end: Callable[[], None] | None = None
        self._fleet = fleet
        self._log = log
        self._read = read
        self._place = place
        self._settled = settled
        self._defects = defects
        self._moved = asyncio.Event()
        self._behind: Behind | None = None
        self.task: asyncio.Task[None] | None = None
        self._closing = False
        self._left: Mark | None = None  # where it was when it was closed
        self._waiting: list[tuple[Callable[[Mark], None], asyncio.Future[None]]] = []

    @property
    def active(self) -> bool:
        """Whether the judge has not heard yet of all that is folded."""
        return self._behind is not None and not self._behind.over

    def begin(self, mark: Mark, late: Followed | None = None) -> None:
        """From this place of the log on the judge hears what is read from it; the place of a late event is behind it.

        To be called before anything is folded that comes after it.
        """
        self._behind = behind = Behind(self._fleet)
        if late:
            key = key_of(late)
            behind.begin(key, self._fleet.sessions.get(key), 0)
        replay = Replay(behind.fleet, self._log.states, mark)
        self.task = asyncio.get_running_loop().create_task(self._run(behind, replay, late))

    async def between(self, take: Callable[[Mark], None]) -> None:
        """Calls `take` with the place up to which the judge has heard everything, when it is in the midst of nothing.

        Returns without having called it when the rehearing ends before.
        """
        if self._left:
            take(self._left)
        elif self.task and not self.task.done():
            called = asyncio.get_running_loop().create_future()
            self._waiting.append((take, called))
            self._moved.set()
            await called

    def _at(self, mark: Mark | None) -> None:
        """The judge has heard of everything up to this place; None: nobody knows any more."""
        waiting, self._waiting = self._waiting, []
        for take, called in waiting:
            if not called.done():
                if mark is not None:
                    take(mark)
                called.set_result(None)

    def move(self) -> None:
        """Says that the fleet has folded more of the log, or that a session is as the log has it."""
        self._moved.set()

    async def close(self) -> None:
        """Returns when the judge is in the midst of nothing, or when the log cannot be read."""
        self._closing = True
        self._moved.set()
        if self.task:
            await self.task

    async def _run(self, behind: Behind, replay: Replay, late: Followed | None) -> None:
        try:
            if late:
                await self._do(behind, replay.correct(late))
            while not behind.over and not await self._catch_up(behind, replay):
                self._at(replay.mark)
                if self._closing:
                    self._left = replay.mark
                    return  # the next start goes on from there
                self._moved.clear()
                await self._moved.wait()
        except LogError:
            return
        except Exception as error:  # noqa: BLE001 - a defect must not keep the judge behind for ever
            self._defects("judge", error)
        finally:
            self._at(None)
        if not behind.over:
            behind.end()
        if self.on_end:
            self.on_end()

    async def _catch_up(self, behind: Behind, replay: Replay) -> bool:
        """Takes what is folded; whether the judge has heard of everything, or cannot catch up."""
        while (place := self._place()) != replay.mark:
            mark = replay.mark
            call = partial(self._log.feed.after, mark, FARTHEST, place)
            entries, _, done = await self._patiently(call)
            if not done:
                logger.warning("problems are judged by the sessions' states: too many events came after a late one")
                return True
            for number, entry in enumerate(joined(entries)):
                if behind.over or self._closing:
                    return behind.over
                self._at(replay.mark)
                if self._fleet.folds(key_of(entry)[0]):
                    await self._do(behind, replay.take(entry))
                if number % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
            replay.mark = place
        return self._settled()

    async def _do(self, behind: Behind, reads: Reads) -> None:
        answer = None
        while not behind.over:
            try:
                call = reads.send(answer)
            except StopIteration:
                return
            answer = await self._patiently(call)

    async def _patiently(self, call: Callable[[], Any]) -> Any:
        """Reads the log, again and again while it cannot be read. Raises LogError when the service stops."""
        while True:
            try:
                return await self._read(call)
            except LogError as error:
                if self._closing:
                    raise
                logger.error("late event not judged", error=describe(error))
                await asyncio.sleep(RETRY_S)
