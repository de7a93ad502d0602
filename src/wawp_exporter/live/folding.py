"""Folds what is durable into the fleet, from this process's batches or from a log that replicas share."""

import time
from collections.abc import Callable, Iterable, Sequence

from wawp_exporter.live.alarm import Alarm
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.corrections import Corrections
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.live.rehearing import Rehearing
from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Deleted, Entry, Followed, Joined, joined, mark_after
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import BY_NAME, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outcome import DUPLICATE, LATE, Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory


class Folding:
    """Belongs to the event loop. `applied` is the place in the log up to which all is folded, or to be corrected.

    `deleted_to` is the newest row of `change` up to which all deletions are folded. `horizon` says when the oldest
    event was received that may still be folded (Unix ms).
    """

    def __init__(self, fleet: Fleet, access: LogAccess, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.telemetry = telemetry
        self.applied = Mark()
        self.deleted_to = 0
        self.defects = fleet.on_defect = Defects(telemetry)
        self.corrections = Corrections(fleet, access.log, access.read, lambda: self.applied, self.defects)
        self.rehearing = Rehearing(fleet, access.log, access.read, lambda: self.applied, self._settled, self.defects)
        self.corrections.on_done = self.rehearing.move
        self.horizon: Callable[[], int] = unix_now
        self.alarm = Alarm(fleet, lambda: self.judged_to, self.defects)
        self.rehearing.on_end = self.alarm.arm
        self._log = access.log
        self._ahead: dict[Key, Mark] = {}  # deletions of this process up to which it has not followed the log yet

    @property
    def judged_to(self) -> int:
        """Up to when time has passed for the judge (Unix ms): no event that was received earlier is still to come."""
        if self.rehearing.active:
            return self.fleet.judge.now
        return min([self.horizon(), *(each.received_at for each in self.corrections.pending.values())])

    def restored(self, end: Mark) -> None:
        """Says that the fold holds the log up to this place."""
        self.applied, self.deleted_to = end, end.change

    def fold(self, event: StatusEvent, rows: Sequence[int], now: int, mono: float) -> tuple[Outcome, bool]:
        """As `Fleet.apply`; if that fails (a defect), the session is to be folded again from the log.

        The event is in the log, so the sender need not repeat it: it is answered as one that came late.
        """
        try:
            outcome, late = self.fleet.apply(event, rows, now, mono)
        except Exception as error:  # noqa: BLE001 - a defect with one event must not keep the others waiting
            self.defects("fold", error)
            outcome, late = LATE if rows[-1] > 0 else DUPLICATE, True
        if self.corrections.pending:
            self.corrections.note(event, rows)
        return outcome, late

    def correct(
        self,
        event: StatusEvent,
        rows: Sequence[int],
        since: Mark,
        at: Mark,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Has a session folded again from the log after a late event; `at` is the place of the log behind it.

        `since` is the place before its batch, from which another start would fold.
        """
        if any(rows) and not self.rehearing.active:
            self.rehearing.begin(at, Followed(tuple(rows), event))
        self.corrections.want(event, rows, since, done)

    def rehear(self, since: Mark) -> None:
        """The judge hears what is folded now as the log has it behind this place."""
        if not self.rehearing.active:
            self.rehearing.begin(since)

    def _settled(self) -> bool:
        """Whether all sessions are as the log has them."""
        return not (self.corrections.pending or self._ahead)

    def count(self, event: StatusEvent, outcome: Outcome) -> None:
        """Counts what is unusual about an event that was new to the log, and how long it took to come."""
        if outcome is DUPLICATE:
            return
        own, source = event.points[-1], self.telemetry.source(event.source)
        if own.status not in BY_NAME:
            source.unknown_statuses.inc()
        delay = event.received_at - own.key_at
        if delay < 0 and event.skewed:
            source.clock_skew.inc()
        if not (event.timeless_key or event.origin):
            delay = delay if delay > 0 else 0
            self.telemetry.webhook_delay.observe(delay / 1000)
            source.lateness.observe(delay, event.received_at)

    def follow(self, followed: Iterable[Entry], end: Mark) -> None:
        """Folds what came to a shared log, in its order; `end` is the place of the last that was read."""
        now, mono = unix_now(), time.monotonic()
        since, self.applied = self.applied, end
        mark = since
        for entry in joined(followed):
            mark = mark_after(mark, entry)
            try:
                self._follow(entry, since, mark, now, mono)
            except Exception as error:  # noqa: BLE001 - what follows it is read only once
                self.defects("fold", error)
        self.deleted_to = end.change
        self.rehearing.move()
        self.alarm.arm()

    def _follow(self, entry: Entry, since: Mark, mark: Mark, now: int, mono: float) -> None:
        if isinstance(entry, Deleted):
            self.drop(entry, since)
        elif isinstance(entry, Joined):
            self._log.names.unlearn(entry.key)
            self.adopt(entry.key, entry.memory)
        elif self.fleet.folds(entry.event.source):
            _, late = self.fold(entry.event, entry.rows, now, mono)
            if late:
                self.correct(entry.event, entry.rows, since, mark)

    def drop(self, deleted: Deleted, since: Mark) -> None:
        """Takes a deletion that this or another replica has logged; `since` is a place in the log before it."""
        key, grave = deleted.key, self.fleet.grave(deleted.key)
        self._log.names.unlearn(key)
        if key in self._ahead and deleted.change >= self._ahead[key].change:
            del self._ahead[key]
        if grave.seq >= deleted.buried and grave.at >= deleted.tombstone:
            return
        self.fleet.find(key, unix_now(), time.monotonic())
        self._forget(key, deleted.tombstone, deleted.buried, since)

    def delete(self, key: Key, tombstone: int, mark: Mark) -> None:
        """Takes a deletion that this process has logged at a place of the log."""
        if self._log.shared:
            if mark.change <= self.applied.change or not self._log.shard.holds(key[0]):
                return  # it has followed the log to there, or another shard folds it
            self._ahead[key] = mark
            self.rehear(self.applied)
        self._forget(key, tombstone, mark.seq, self.applied)
        if not self._log.shared:
            self.applied, self.deleted_to = self.applied._replace(change=mark.change), mark.change
        self.rehearing.move()
        self.alarm.arm()

    def _forget(self, key: Key, tombstone: int, buried: int, since: Mark) -> None:
        """As `Fleet.forget`; if that fails (a defect), the session is looked up in the log again."""
        try:
            self.fleet.forget(key, tombstone, time.monotonic(), buried)
        except Exception as error:  # noqa: BLE001 - the deletion is in the log: it must not be undone here
            self.defects("fold", error)
            self.fleet.bury(key, tombstone, buried)
            self.corrections.want_again(key, since, tombstone)

    def adopt(self, key: Key, memory: Memory) -> None:
        """Folds a name from now on that was over the limit."""
        if self.fleet.folds(key[0]):
            self.fleet.adopt(key, memory, unix_now(), time.monotonic())
