"""The one write path: append a batch durably, fold it, answer.

Everything here runs on the event loop; the log is written by one thread and read by another. What arrives while a
batch is being committed forms the next one.
"""

import asyncio
import time
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from wawp_exporter.errors import LogError, LogUnavailable
from wawp_exporter.live.acceptances import Acceptances
from wawp_exporter.live.actions import Actions
from wawp_exporter.live.answers import Waiter, answer, foresee, unfolded
from wawp_exporter.live.cleaning import Cleaning
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.deleting import Deleting
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.last_seen import LastSeen
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.live.messages import Messages
from wawp_exporter.live.saving import Saving
from wawp_exporter.log.append import Appended
from wawp_exporter.log.database import Mark
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import StatusEvent, normal
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outcome import REPEAT, TRANSITION, Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.model.sessions import guest

MAX_BATCH = 1024
GATHER_S = 0.01  # too short to be noticed in an answer, long enough for 64 busy senders to send their next event
MAX_QUEUE = 20_000  # beyond it senders get 503 and send again later, so that memory stays bounded

Waiting = tuple[StatusEvent, Waiter]


class Ingest:
    """Batches events, writes and folds each batch, and answers; holds the parts that write the log between batches."""

    def __init__(self, fleet: Fleet, log: Log, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.log = log
        self.telemetry = telemetry
        self.access = LogAccess(log)
        self.folding = Folding(fleet, self.access, telemetry)
        self.saving = Saving(self.folding, self.access)
        self.last_seen = LastSeen(fleet, self.access)
        self.messages = Messages(self.folding, self.access)
        self.acceptances = Acceptances(telemetry, self.access)
        self.cleaning = Cleaning(self.folding, self.access)
        self.actions = Actions(self.access)
        self.deleting = Deleting(self.folding, self.access)
        self._defects = self.folding.defects
        self._queue: list[Waiting] = []
        self._writing: list[Waiting] = []
        self.folding.horizon = self.horizon
        self._busy = False
        self._expected = 1
        self._gathering: asyncio.TimerHandle | None = None
        # Gives the age of keys of events without a time. It is never set, and does not run while the service is down.
        self._clock = (log.timeless.clock() or unix_now()) - round(time.monotonic() * 1000)
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def healthy(self) -> bool:
        """Whether the log can be written, as far as is known (`LogAccess`)."""
        return self.access.healthy

    @property
    def depth(self) -> int:
        """Events that wait for a batch."""
        return len(self._queue)

    def horizon(self) -> int:
        """When the oldest event was received that is not folded yet (Unix ms); now, without any."""
        waiting = self._writing or self._queue
        return min([unix_now(), *self.deleting.pending, *(event.received_at for event, _ in waiting[:1])])

    # -- events -------------------------------------------------------------------------------------------------

    def submit(self, event: StatusEvent) -> "asyncio.Future[Outcome]":
        """Queues one event; the future's outcome comes when it is durable and applied.

        Raises LogUnavailable (here or in the future) when it is neither.
        """
        future = asyncio.get_running_loop().create_future()
        self.enqueue(event, future)
        return future

    def enqueue(self, event: StatusEvent, waiter: Waiter) -> None:
        """As `submit`, with a waiter of the caller's own. Raises LogUnavailable when too many events wait."""
        if len(self._queue) >= MAX_QUEUE:
            raise LogUnavailable("too many events are waiting for the log; nothing was applied, try again")
        if event.key_is_body and not self.log.shared:  # a shared log decides by itself
            session = self.fleet.find((event.source, event.session), event.received_at, time.monotonic())
            # Old gateways send the same bytes when a status comes back: that is a retry only if nothing came between.
            if session and session.state.status is not normal(event.own.status):
                event = replace(event, renews=True)
        self._queue.append((event, waiter))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._gather()
        elif self._gathering and len(self._queue) >= self._expected:
            self._write_next()

    def _gather(self) -> None:
        """Begins the next batch; senders that were just answered have GATHER_S to join it with their next events.

        A commit costs the same for one event as for a hundred. A single sender does not wait: no other is expected.
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
        self._writing = batch
        if not batch:
            self._busy = False
            self._idle.set()
            return
        started = time.perf_counter()
        events = [event for event, _ in batch]
        now = self._clock + round(time.monotonic() * 1000)
        append = partial(self.log.append, events, self.fleet.rules.config.metrics.max_names_per_source, now=now)
        running = asyncio.get_running_loop().run_in_executor(self.access.writer, append)
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
            self._writing = []
            self._expected = min(len(self._queue) + len(batch), MAX_BATCH)
            # Whatever goes wrong with one batch, the next one must not wait for ever.
            self._gather()

    def _refuse(self, batch: list[Waiting], error: BaseException) -> None:
        """Nothing of the batch is in the log: each sender is answered that it is to try again."""
        self.telemetry.append_errors.inc()
        self.access.failed("log append failed", error, events=len(batch))
        for _, waiter in batch:
            answer(waiter, LogUnavailable(), self._defects)

    def _apply(self, batch: list[Waiting], appended: Appended) -> None:
        """Counts a durable batch, and has it folded, by this process alone or by each replica that follows the log."""
        if appended.wrote:
            self.access.healthy = True
        self.telemetry.appends.inc(appended.new)
        for source in {source for source, _ in appended.over}:
            self.telemetry.source(source).exceed()
        if self.log.shared:
            self._answer_ahead(batch, appended)
        else:
            self._fold(batch, appended)

    def _fold(self, batch: list[Waiting], appended: Appended) -> None:
        """Folds the batch in log order, then answers."""
        folding = self.folding
        since, folding.applied = folding.applied, appended.mark
        if appended.mark.change > since.change:  # the log has what is revised before what is new
            folding.rehear(since)
        now, mono = unix_now(), time.monotonic()
        # All answers at once: a connection that wakes up for each of them would cost as much as the answers.
        answers: list[tuple[Waiter, Outcome]] = []
        for (event, waiter), rows in zip(batch, appended.rows, strict=True):
            if appended.over and (event.source, event.session) in appended.over:
                outcome, late = unfolded(rows), False
            else:
                outcome, late = folding.fold(event, rows, now, mono)
            folding.count(event, outcome)
            if late:
                at, done = Mark(max(rows), since.change), partial(answer, waiter, outcome, self._defects)
                folding.correct(event, rows, since, at, done)
            else:
                answers.append((waiter, outcome))
        for waiter, outcome in answers:
            answer(waiter, outcome, self._defects)
        folding.rehearing.move()
        folding.alarm.arm()

    def _answer_ahead(self, batch: list[Waiting], appended: Appended) -> None:
        """Answers with what will become of the events: each replica, this one too, folds them as it follows the log."""
        newest, over, fleet = dict(appended.before), appended.over, self.fleet
        for (event, waiter), rows in zip(batch, appended.rows, strict=True):
            key = (event.source, event.session)
            outcome = unfolded(rows) if key in over else foresee(fleet, event, rows, newest.get(key), self._defects)
            if outcome in (TRANSITION, REPEAT):
                newest[key] = event.own
            self.folding.count(event, outcome)
            answer(waiter, outcome, self._defects)

    # -- one session --------------------------------------------------------------------------------------------

    async def find(self, key: Key) -> Session | None:
        """A session by its live state; of another shard, or not followed yet, as the log has it. Raises LogError."""
        session = self.fleet.find(key, unix_now(), time.monotonic())
        if session or not self.log.shared or key[0] not in self.fleet.rules.config.sources:
            return session
        memory = await self.access.read(self.log.states.look, key)
        return guest(self.fleet.rules, key, memory, unix_now(), time.monotonic()) if memory else None

    async def forget(self, key: Key) -> bool:
        """Deletes a session, durably first; False when it is unknown. Raises LogUnavailable."""
        if not await self.find(key):
            return False
        await self.deleting.delete(key)
        return True

    # -- the end ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Waits for what is under way, saves, and ends the threads; nothing may be submitted after."""
        await self._idle.wait()
        self.folding.alarm.stop()
        await self.folding.corrections.close()
        await self.folding.rehearing.close()
        for finish in (self.saving.save, self.last_seen.share, self.messages.share, self.saving.beat):
            await finish()
        with suppress(LogError):
            await self.access.write(self.log.leases.release)
        self.access.close()
