"""The one write path: append a batch durably, fold it, answer; and the small writes that keep the log in order.

Everything here runs on the event loop; the log is written by one thread and read by another. What arrives while a
batch is being committed forms the next one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

import structlog
from msgspec.structs import replace

from wawp_exporter.errors import LogError, LogUnavailable
from wawp_exporter.live.corrections import Corrections
from wawp_exporter.log.log import Action, Appended, Deleted, Followed, Joined, Log, Mark, Restored
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import BY_NAME, Point, StatusEvent, normal
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import step
from wawp_exporter.model.outcome import DUPLICATE, IGNORED, LATE, REPEAT, TRANSITION, Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory, Session

T = TypeVar("T")

MAX_BATCH = 1024
GATHER_S = 0.01  # nobody minds it in an answer, and 64 busy senders are back within it
MAX_QUEUE = 20_000  # beyond it senders are told to retry: memory is not a log
SAVE_SLICE = 1000  # states written between two batches
SAVE_LEASE_S = 15.0
MAX_SIGNS = 100_000  # signs of life that wait to be told
PURGE_PAUSE_S = 0.05
PREPARE_TIMES = 20

logger = structlog.get_logger()


def unix_now() -> int:
    """The wall clock in Unix ms."""
    return time.time_ns() // 1_000_000


class Waiter(Protocol):
    """Who is told what became of an event: an asyncio.Future, or what has as much of one."""

    def done(self) -> bool:
        """Whether it has been told, or wants to know no more."""

    def set_result(self, outcome: Outcome, /) -> None:
        """The event is durable and applied."""

    def set_exception(self, error: LogUnavailable, /) -> None:
        """It is neither."""


Waiting = tuple[StatusEvent, Waiter]


class Ingest:
    """Owns the log's writer. `healthy` is False from a failed write until something has reached the disk again."""

    def __init__(self, fleet: Fleet, log: Log, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.log = log
        self.telemetry = telemetry
        self.healthy = True
        self._saving = f"save {log.total}/{log.index}"
        self._queue: list[Waiting] = []
        self._busy = False
        self._expected = 1
        self._gathering: asyncio.TimerHandle | None = None
        self._heard: dict[Key, int] = {}
        self._applied = self._saved = Mark()
        self._save_lock = asyncio.Lock()
        # Ages the keys of events without a time: nobody sets this clock, and it stands still while nobody runs.
        self._clock = (log.clock() or unix_now()) - round(time.monotonic() * 1000)
        self.defects = fleet.on_defect = Defects(telemetry)
        self.corrections = Corrections(fleet, log, self._read, lambda: self._applied, self.defects)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="log-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def _max_names(self) -> int:
        return self.fleet.rules.config.metrics.max_names_per_source

    # -- events -------------------------------------------------------------------------------------------------

    def submit(self, event: StatusEvent) -> "asyncio.Future[Outcome]":
        """Queues one event; the future's outcome comes when it is durable and applied.

        Raises LogUnavailable (here or in the future) when it is neither.
        """
        future = asyncio.get_running_loop().create_future()
        self.enqueue(event, future)
        return future

    def enqueue(self, event: StatusEvent, waiter: Waiter) -> None:
        """As `submit`, for whoever waits."""
        if len(self._queue) >= MAX_QUEUE:
            raise LogUnavailable("too many events are waiting for the log; nothing was applied, try again")
        if event.key_is_body and not self.log.shared:  # a shared log decides by itself
            session = self.fleet.find((event.source, event.session), event.received_at, time.monotonic())
            # Old gateways send the same bytes each time a status comes back: a retry only while nothing else came.
            if session and session.state.status is not normal(event.own.status):
                event = replace(event, renews=True)
        self._queue.append((event, waiter))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._gather()
        elif self._gathering and len(self._queue) >= self._expected:
            self._write_next()

    @property
    def depth(self) -> int:
        """Events that wait for a batch."""
        return len(self._queue)

    def _gather(self) -> None:
        """Begins the next batch; senders that were just answered have GATHER_S to join it with their next events.

        A commit costs the same for one event as for a hundred. A lone sender is not held up: nobody else is expected.
        """
        loop = asyncio.get_running_loop()
        if 0 < len(self._queue) < self._expected:
            self._gathering = loop.call_later(GATHER_S, self._write_next)
        else:
            loop.call_soon(self._write_next)

    def _write_next(self) -> None:
        """Sends the next batch to the writer thread."""
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        if not batch:
            self._busy = False
            self._idle.set()
            return
        started = time.perf_counter()
        events = [event for event, _ in batch]
        now = self._clock + round(time.monotonic() * 1000)
        append = partial(self.log.append, events, self._max_names, now=now)
        running = asyncio.get_running_loop().run_in_executor(self._writer, append)
        running.add_done_callback(partial(self._written, batch, started))

    def _written(self, batch: list[Waiting], started: float, running: "asyncio.Future[Appended]") -> None:
        """Applies what is durable now, refuses what is not, and goes on with what came meanwhile."""
        self.telemetry.append_duration.observe(time.perf_counter() - started)
        error = running.exception()
        try:
            if error:
                self._refuse(batch, error)
            else:
                self._apply(batch, running.result())
        finally:
            self._expected = min(len(self._queue) + len(batch), MAX_BATCH)
            # Whatever goes wrong with one batch, the next one must not wait for ever.
            self._gather()

    def _refuse(self, batch: list[Waiting], error: BaseException) -> None:
        """Nothing of the batch is in the log: each sender is told to retry."""
        self.healthy = False
        self.telemetry.append_errors.inc()
        logger.error("log append failed", events=len(batch), error=describe(error))
        for _, waiter in batch:
            self._tell(waiter, LogUnavailable())

    def _apply(self, batch: list[Waiting], appended: Appended) -> None:
        """Folds the batch in log order."""
        if appended.wrote:
            self.healthy = True
        self.telemetry.appends.inc(sum(row > 0 for row in chain.from_iterable(appended.rows)))
        for source in {source for source, _ in appended.over}:
            self.telemetry.source(source).exceed()
        if self.log.shared:
            self._answer(batch, appended)
            return
        since, self._applied = self._applied, appended.mark
        now, mono = unix_now(), time.monotonic()
        # In one go: a sender that falls asleep between two answers is woken for each, which costs as much as an answer.
        answers: list[tuple[Waiter, Outcome]] = []
        for (event, waiter), rows in zip(batch, appended.rows, strict=True):
            if appended.over and (event.source, event.session) in appended.over:
                outcome, late = unfolded(rows), False
            else:
                outcome, late = self._fold(event, rows, now, mono)
            self._count(event, outcome)
            if late:
                self.corrections.want(event, rows, since, partial(self._tell, waiter, outcome))
            else:
                answers.append((waiter, outcome))
        for waiter, outcome in answers:
            self._tell(waiter, outcome)

    def _fold(self, event: StatusEvent, rows: Sequence[int], now: int, mono: float) -> tuple[Outcome, bool]:
        """As `Fleet.apply`; of an event that cannot be folded the session is folded anew from the log.

        It is in the log, and what a sender would send again were a duplicate: it is answered as one that left the live
        status untouched.
        """
        try:
            outcome, late = self.fleet.apply(event, rows, now, mono)
        except Exception as error:  # noqa: BLE001 - a defect with one event must not keep the others waiting
            self.defects("fold", error)
            outcome, late = LATE if rows[-1] > 0 else DUPLICATE, True
        if self.corrections.pending:
            self.corrections.note(event, rows)
        return outcome, late

    def _answer(self, batch: list[Waiting], appended: Appended) -> None:
        """Says what is about to become of events that every replica, this one too, folds as it follows the log."""
        newest = dict(appended.before)
        for (event, waiter), rows in zip(batch, appended.rows, strict=True):
            key = (event.source, event.session)
            outcome = unfolded(rows) if key in appended.over else self._foresee(event, rows, newest.get(key))
            if outcome in (TRANSITION, REPEAT):
                newest[key] = event.own
            self._count(event, outcome)
            self._tell(waiter, outcome)

    def _foresee(self, event: StatusEvent, rows: Sequence[int], newest: Point | None) -> Outcome:
        """By what the log held before: the live state may lag behind it, or hold this very event already."""
        if rows[-1] <= 0:
            return DUPLICATE
        place = (newest.at, newest.tie) if newest else (0, 0)
        tombstone = self.fleet.grave((event.source, event.session)).at
        if (event.own.at, event.own.tie) < place or event.own.at <= tombstone:
            return LATE
        state = step(None, newest)[0] if newest else None
        return TRANSITION if step(state, event.own)[1] else REPEAT

    def fold(self, followed: Iterable[Followed | Deleted | Joined], end: Mark) -> None:
        """Folds what came to a shared log, in its order; `end` is the place of the last that was read."""
        now, mono = unix_now(), time.monotonic()
        since, self._applied = self._applied, end
        for entry in followed:
            if isinstance(entry, Deleted):
                self.drop(entry)
            elif isinstance(entry, Joined):
                self.log.unlearn(entry.key)
                self._adopt(entry.key, entry.memory)
            elif self.fleet.folds(entry.event.source):
                rows = (entry.seq,)
                _, late = self._fold(entry.event, rows, now, mono)
                if late:
                    self.corrections.want(entry.event, rows, since)

    def drop(self, deleted: Deleted) -> None:
        """Takes a deletion that this or another replica has logged."""
        self.log.unlearn(deleted.key)
        if self.fleet.grave(deleted.key).seq >= deleted.buried > 0:
            return
        now, mono = unix_now(), time.monotonic()
        self.fleet.find(deleted.key, now, mono)
        self.fleet.forget(deleted.key, deleted.tombstone, mono, deleted.buried)

    def _count(self, event: StatusEvent, outcome: Outcome) -> None:
        if outcome is DUPLICATE:
            return
        own = event.own
        if own.status not in BY_NAME:
            self.telemetry.source(event.source).unknown_statuses.inc()
        if event.skewed:
            self.telemetry.source(event.source).clock_skew.inc()
        if not event.timeless_key:
            self.telemetry.webhook_delay.observe(max(0, event.received_at - own.key_at) / 1000)

    def _tell(self, waiter: Waiter, what: Outcome | LogUnavailable) -> None:
        """Answers one sender; what goes wrong with that must not keep the others of its batch waiting."""
        if waiter.done():
            return
        try:
            if isinstance(what, LogUnavailable):
                waiter.set_exception(what)
            else:
                waiter.set_result(what)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect of one answer
            self.defects("answer", error)

    # -- upkeep -------------------------------------------------------------------------------------------------

    def touch(self, key: Key, now: int) -> None:
        """A sign of life of a session at `now` (Unix ms); an unknown one is not created."""
        self.fleet.touch(key, now, time.monotonic())
        if self.log.shared and len(self._heard) < MAX_SIGNS:  # while the log cannot be written they wait
            self._heard[key] = now

    async def admit(self) -> None:
        """Folds names over the limit while there is room, and counts those that still are. Raises LogError."""
        over = await self._read(self.log.over_limit)
        for source in over:
            while joined := await self._write(self.log.admit, source, self._max_names):
                for key, memory in joined.items():
                    if not self.log.shared:  # there each replica learns of it as it follows the log
                        self._adopt(key, memory)
        over = await self._read(self.log.over_limit) if over else over
        for source in self.fleet.rules.config.sources:
            self.telemetry.source(source).names_over = over.get(source, 0)

    def _adopt(self, key: Key, memory: Memory) -> None:
        """A name that was over the limit is folded from now on."""
        if self.fleet.folds(key[0]):
            self.fleet.adopt(key, memory, unix_now(), time.monotonic())

    async def tell(self) -> None:
        """Tells the other replicas which sessions gave signs of life here."""
        signs, self._heard, told = self._heard, {}, False
        try:
            listed = list(signs.items())
            for start in range(0, len(listed), SAVE_SLICE):
                await self._write(self.log.hear, listed[start : start + SAVE_SLICE])
            told = True
        except LogError as error:
            self.healthy = False
            logger.error("signs of life not told", error=describe(error))
        finally:
            if not told:
                self._heard = signs | self._heard

    async def find(self, key: Key) -> Session | None:
        """A session of this shard by its live state, of another one as the log tells it. Raises LogError."""
        session = self.fleet.find(key, unix_now(), time.monotonic())
        if session or self.log.holds(key) or key[0] not in self.fleet.rules.config.sources:
            return session
        memory = await self._read(self.log.look, key)
        return self.fleet.guest(key, memory, unix_now(), time.monotonic()) if memory else None

    async def forget(self, key: Key) -> bool:
        """Deletes a session, durably first; False when it is unknown. Raises LogUnavailable."""
        tombstone = unix_now()
        if not await self.find(key):
            return False
        try:
            buried = await self._write(self.log.forget, key, tombstone)
        except LogError as error:
            self.healthy = False
            logger.error("session not forgotten", error=describe(error))
            raise LogUnavailable() from None
        self.fleet.forget(key, tombstone, time.monotonic(), buried)
        return True

    async def claim(
        self, key: Key, alert: str, judge: Callable[[Sequence[Action]], str], kind: str = "restart"
    ) -> Action:
        """Notes what is about to be done about a session, or why not (`Log.claim`). Raises LogError."""
        return await self._write(self.log.claim, key, kind, alert, unix_now(), judge)

    async def conclude(self, number: int, result: str) -> None:
        """Notes what came of it. Raises LogError."""
        await self._write(self.log.conclude, number, result)

    async def conclude_cut_off(self, before: int) -> int:
        """Notes that actions begun before (Unix ms) which still run were interrupted; how many. Raises LogError."""
        return await self._write(self.log.conclude_cut_off, before)

    async def lease(self, name: str, seconds: float) -> bool | None:
        """Whether this replica holds the named lease, for so long; None when the log could not be asked."""
        try:
            return await self._write(self.log.lease, name, seconds)
        except LogError as error:
            self.healthy = False
            logger.error("lease not taken", error=describe(error))
            return None

    async def save(self) -> None:
        """Keeps what the fold knows, slice by slice between batches, so that the next start replays only a tail."""
        async with self._save_lock:
            if not self.healthy:
                await self.beat()  # nobody need send anything for the log to be found writable again
            if self.fleet.unsaved or self._saved != self.corrections.covered():
                await self._save()

    async def _save(self) -> None:
        if not await self.lease(self._saving, SAVE_LEASE_S):
            return  # the other replica of the shard does
        # Nothing is covered that was not written: neither what is still to be corrected, nor sources that are away.
        applied, end = self._applied, self.corrections.covered()
        sources = [source for source in self.fleet.rules.config.sources if self.fleet.folds(source)]
        unsaved, saved = self.fleet.take_unsaved(), False
        try:
            for start in range(0, len(unsaved), SAVE_SLICE):
                await self._write(
                    partial(self.log.save, covers=False), unsaved[start : start + SAVE_SLICE], applied.seq
                )
            await self._write(partial(self.log.save, change=end.change, sources=sources), [], end.seq)
            self._saved, saved = end, True
        except LogError as error:
            self.healthy = False
            logger.error("state not saved", error=describe(error))
        finally:
            if not saved:  # a stop may cut it off
                self.fleet.unsaved.update(key for key, _ in unsaved)

    async def beat(self) -> None:
        """Keeps that the service runs, so that an audit can tell what Prometheus can have seen."""
        try:
            await self._write(self.log.beat, unix_now())
        except LogError as error:
            self.healthy = False
            logger.error("run not noted", error=describe(error))
        else:
            self.healthy = True

    async def purge(self, before: int) -> int:
        """Deletes events received before `before` (Unix ms), a slice at a time beside the batches. Raises LogError."""
        purge = self.log.purging(before)
        while (doomed := await asyncio.to_thread(purge.look)) is not None:
            if doomed.numbers:
                await self._write(purge.take, doomed)
            await asyncio.sleep(PURGE_PAUSE_S)
        return purge.gone

    async def purge_names(self, before: int) -> int:
        """Deletes names of which nothing is left in the log, a slice at a time between batches."""
        total, place = 0, 0
        while True:
            count, place = await self._write(self.log.purge_names, before, place)
            total += count
            if not place:
                return total
            await asyncio.sleep(PURGE_PAUSE_S)

    async def forget_tombstones(self, before: int) -> None:
        """Lets go of deletions whose names retention has taken from the log."""
        kept = await self._read(self.log.tombstones)
        for key, grave in list(self.fleet.graves.items()):
            if grave.at < before and key not in kept:
                del self.fleet.graves[key]

    async def prepare(self) -> None:
        """Makes room in the log for what is to come."""
        try:
            for _ in range(PREPARE_TIMES):
                if await self._write(self.log.prepare, unix_now()):
                    return
                await asyncio.sleep(PURGE_PAUSE_S)
        except LogError as error:
            logger.error("months not prepared", error=describe(error))
        else:
            logger.warning("months not prepared", error="the log is being read all the time, expected a moment between")

    def restored(self, end: Mark) -> None:
        """Says that the fold holds the log up to this place."""
        self._applied = end

    async def close(self) -> None:
        """Waits for what is under way, saves, and ends the threads; nothing may be submitted after."""
        await self._idle.wait()
        await self.corrections.close()
        await self.save()
        await self.tell()
        await self.beat()
        with suppress(LogError):
            await self._write(self.log.release)
        self._writer.shutdown()
        self._reader.shutdown()

    # -- inside -------------------------------------------------------------------------------------------------

    async def _write(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *args)

    async def _read(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, call, *args)


def unfolded(rows: Sequence[int]) -> Outcome:
    """What becomes of an event whose name is over the limit: it is logged, once."""
    return IGNORED if rows[-1] > 0 else DUPLICATE


def describe(error: BaseException) -> str:
    """An error for a log line; the log's own messages hold no event data, others are named by type only."""
    return str(error) if isinstance(error, LogError) else type(error).__name__


def restore(fleet: Fleet, log: Log, sources: Sequence[str]) -> Restored:
    """Fills a fleet from the log's tail and, dormant, its state table; returns what it covers."""
    restored = log.restore(sources)
    refill(fleet, restored)
    return restored


def refill(fleet: Fleet, restored: Restored) -> None:
    """Puts into a fleet what the log has given back."""
    now, mono = unix_now(), time.monotonic()
    for key, tombstone in restored.tombstones.items():
        fleet.bury(key, tombstone, restored.buried[key])
    fleet.dormant.update((key, text) for key, text in restored.saved.items() if key not in fleet.sessions)
    for key, memory in restored.refolded.items():
        if key not in fleet.sessions:
            fleet.restore(key, memory, now, mono)
    # The others are in the state table as they are: writing them back would hold up a large fleet's first events.
    fleet.unsaved |= restored.refolded.keys()
    fleet.away.difference_update(restored.sources)
