"""All sessions, groups, episodes and counts: the fold of the log, without a clock, a socket or a database.

Every method takes the time it needs: `now` is Unix ms and dates things, `mono` is seconds of a monotonic clock and
is what counters of seconds accrue on. One thread, the event loop's, owns a Fleet.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from wawp_exporter.model.bucket import (
    ORDINAL,
    START_OUTCOMES,
    STATUS_BOUNDS,
    WAIT_OUTCOMES,
    Bucket,
    Histogram,
    WaitOutcome,
)
from wawp_exporter.model.event import OTHER_ENGINE, STARTING, STOPPED, WORKING, Point, StatusEvent, Word
from wawp_exporter.model.machine import RESTART_MS, State, Transition, step
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import (
    AT_REST,
    AT_WORK,
    FIRST_LIFE,
    TROUBLED,
    UNWANTED,
    Grave,
    Memory,
    Pattern,
    Rank,
    Session,
    decode_memory,
    learn,
    revise,
)

RETRY_MS = 60_000  # when a session that could not be forgotten is named again
SPARE_WAKES = 1000  # plans that are kept though an earlier one has replaced them
LINGER_MS = 3_600_000  # how long a session that was in trouble keeps its series in `troubled` mode


class Outcome(Word):
    """What became of an accepted webhook; the contract's word for it."""

    TRANSITION = "transition"
    REPEAT = "repeat"
    DUPLICATE = "duplicate"
    LATE = "late"
    IGNORED = "ignored"


TRANSITION, REPEAT, DUPLICATE, LATE, IGNORED = Outcome


class Fleet:
    """Every live session by key; `changed` names those that changed (or went) since a view last drained it.

    `dormant` holds what the state table tells of sessions that nobody has asked for since the start: a large fleet
    takes webhooks long before each of its sessions is made. Whoever looks at `sessions` as a whole awakens them first.
    `tombstones` and `buried` are the two sides of deletions (`Grave`). Sources that are `away`, since a reload took
    them out or brought them and they are not restored yet, are not folded: the log alone keeps their events.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sessions: dict[Key, Session] = {}
        self.dormant: dict[Key, str] = {}
        self.buckets: dict[Key, Bucket] = {}
        self.tombstones: dict[Key, int] = {}
        self.buried: dict[Key, int] = {}
        self.away: set[str] = set()
        self.changed: set[Key] = set()
        self.unsaved: set[Key] = set()
        self.on_transition: Callable[[Session, Transition, int], None] | None = None  # the last: the log's row
        self.on_forget: Callable[[Key], None] | None = None
        self.on_defect: Callable[[str, Exception], None] | None = None  # the part, and what it raised
        self._wakes: list[tuple[int, Key]] = []

    # -- events -------------------------------------------------------------------------------------------------

    def apply(self, event: StatusEvent, rows: Sequence[int], now: int, mono: float) -> tuple[Outcome, bool]:
        """Folds a logged event; `rows[i]` is the log's number of point i, 0 if the log held it before, and negative if
        the log's row was told more by it.

        Returns the outcome by the event's own point, and whether a point came late, or what the log held has changed,
        so that the session must be folded anew from the log (`correct`).
        """
        if self.away and event.source in self.away:
            return LATE if rows[-1] > 0 else DUPLICATE, False
        key = (event.source, event.session)
        session = self.find(key, now, mono)
        if session:
            self._touch(session, event.received_at, mono)
        tombstone, buried = self.grave(key) if self.tombstones else FIRST_LIFE
        outcome, late = DUPLICATE, bool(session) and min(rows) < 0
        if session and late:
            revise(session, event.points, rows)
        for point, seq in zip(event.points, rows, strict=True):
            if seq <= 0:
                continue
            if point.at <= tombstone or seq <= buried:
                outcome = LATE
                continue
            if session and event.engine and point.at >= session.engine_at:
                self._run_by(session, event.engine, point.at, mono)
            if session and session.state.outdates(point):
                outcome, late = LATE, True
            else:
                session, outcome = self._apply_point(session, event, point, seq, now, mono)
        if session and event.limits and rows[-1] > 0:
            self._restrict(session, event, rows[-1], now, mono)
        return outcome if rows[-1] > 0 else DUPLICATE, late

    def folds(self, source: str) -> bool:
        """Whether events of a source are folded here."""
        return source in self.rules.config.sources and source not in self.away

    def grave(self, key: Key) -> Grave:
        """When a session was last deleted."""
        return Grave(self.tombstones.get(key, 0), self.buried.get(key, 0))

    def _apply_point(
        self, session: Session | None, event: StatusEvent, point: Point, seq: int, now: int, mono: float
    ) -> tuple[Session, Outcome]:
        """One point that the log did not hold, newer than what is known of the session."""
        state, transition = step(session.state if session else None, point)
        if transition is None:
            assert session  # noqa: S101 - a session's first point is a transition
            session.state = state
            return session, REPEAT
        session = session or self._meet(event, state, mono)
        self._enter(session, transition, seq, now, mono)
        return session, TRANSITION

    def _enter(self, session: Session, transition: Transition, seq: int, now: int, mono: float) -> None:
        """Takes a transition as the newest, and tells of it."""
        self._move(session, transition, mono)
        self._refresh(session, now, mono)
        if self.on_transition:
            self._tell("transition", self.on_transition, session, transition, seq)

    def _tell(self, part: str, callback: Callable[..., None], *args: object) -> None:
        """What fails in those who listen must not stop the fold."""
        try:
            callback(*args)
        except Exception as error:
            if not self.on_defect:
                raise
            self.on_defect(part, error)

    def _meet(self, event: StatusEvent, state: State, mono: float) -> Session:
        """A session that nobody has heard of."""
        key = (event.source, event.session)
        session = Session(key, state, event.engine or OTHER_ENGINE, self.rules.meta(*key), mono)
        session.last_event = event.received_at
        session.engine_at = state.at if event.engine else 0
        self.unsaved.add(key)
        return self._add(session, mono)

    def _move(self, session: Session, transition: Transition, mono: float) -> None:
        """Counts a transition once, at the moment it is applied as the newest."""
        before, after, bucket = transition.before, transition.after, session.bucket
        session.accrue(mono)
        bucket.accrue(mono)
        index = ORDINAL[after.status]
        session.transitions[index] += 1
        bucket.transitions[before.status if before else None, after.status] += 1
        bucket.seen.add(after.status)
        if before:
            bucket.counts[ORDINAL[before.status]] -= 1
            bucket.counts[index] += 1
            self._observe(session, transition, before)
        session.state = after

    def _observe(self, session: Session, transition: Transition, before: State) -> None:
        """Puts what ended with this transition into the histograms."""
        after, bucket, stay_ms = transition.after, session.bucket, transition.stay_ms
        stay = stay_ms / 1000
        bucket.stays[ORDINAL[before.status]].observe(stay)
        if self.rules.session_histograms:
            if before.status not in session.stays:
                session.stays[before.status] = Histogram(STATUS_BOUNDS)
            session.stays[before.status].observe(stay)
        started = START_OUTCOMES.get(after.status) if before.status is STARTING else None
        if started:
            bucket.starts[started].observe(stay)
        waited = WAIT_OUTCOMES.get(after.status) if before.auth_since else None
        if waited:
            bucket.qr_waits[waited].observe(max(0, after.since - before.auth_since) / 1000)
        # Back from a STOPPED that was no restart, it was somebody's decision, not a recovery.
        decided = before.status is STOPPED and stay_ms > RESTART_MS
        if after.status is WORKING and before.left_working and not decided:
            bucket.recovery.observe(max(0, after.since - before.left_working) / 1000)

    def _run_by(self, session: Session, engine: str, at: int, mono: float) -> None:
        """The engine as it was named at `at` (Unix ms)."""
        session.engine_at = at
        if engine != session.engine:
            self._rebucket(session, engine, mono)

    def _restrict(self, session: Session, event: StatusEvent, row: int, now: int, mono: float) -> None:
        """What an event says of restrictions, unless it is of a former life."""
        grave = self.grave(session.key)
        own = event.own.at
        if own > grave.at and row > grave.seq and learn(session.limits, event.limits, own):
            self._refresh(session, now, mono)

    def touch(self, key: Key, now: int, mono: float) -> bool:
        """Any event is a sign of life of a known session; an unknown one is not created."""
        session = self.find(key, now, mono)
        if session:
            self._touch(session, now, mono)
        return session is not None

    def _touch(self, session: Session, now: int, mono: float) -> None:
        was_silent = session.silent(now)
        session.last_event = max(session.last_event, now)
        self.unsaved.add(session.key)
        if was_silent:
            self._refresh(session, now, mono)

    # -- the log's word -----------------------------------------------------------------------------------------

    def find(self, key: Key, now: int, mono: float) -> Session | None:
        """A session by its key, awakened if it was dormant."""
        text = self.dormant.pop(key, None) if self.dormant else None
        if text is not None:
            self.restore(key, decode_memory(text), now, mono)
        return self.sessions.get(key)

    def awaken(self, limit: int, now: int, mono: float) -> bool:
        """Awakens up to `limit` sessions; whether any is still dormant."""
        for key in list(islice(self.dormant, limit)):
            self.find(key, now, mono)
        return bool(self.dormant)

    def restore(self, key: Key, memory: Memory, now: int, mono: float) -> None:
        """Brings a session back from the state table: nothing is counted, nothing is announced."""
        session = self._recall(key, memory, mono)
        self._add(session, mono)
        self._refresh(session, now, mono)

    def adopt(self, key: Key, memory: Memory, now: int, mono: float) -> None:
        """Takes a session as the log tells it; what was known of it, if anything was, goes."""
        session = self.find(key, now, mono)
        if session:
            self._drop(session, mono)
        self.restore(key, memory, now, mono)

    def guest(self, key: Key, memory: Memory, now: int, mono: float) -> Session:
        """A session of another shard, to be looked at: it is no part of this fleet."""
        session = self._recall(key, memory, mono)
        session.maintenance = session.meta.excuses(now)
        return session

    def _recall(self, key: Key, memory: Memory, mono: float) -> Session:
        session = Session(key, memory.state, memory.engine, self.rules.meta(*key), mono)
        session.last_event = memory.last_event
        session.engine_at = memory.named_at
        session.limits = {limit.restriction: (limit, at) for limit, at in memory.limits}
        return session

    def correct(self, key: Key, state: State, now: int, mono: float) -> bool:
        """Takes a session's state as the whole log tells it, after a late point; a since-time is no news.

        Where two statuses of one instant change places it is another status: that is a transition, counted and told.
        False when newer points came meanwhile: fold anew.
        """
        session = self.sessions.get(key)
        if session is None:
            return True
        before = session.state
        if (before.at, before.tie) > (state.at, state.tie):
            return False
        # Retention may have taken the events that once made it WORKING.
        state = msgspec.structs.replace(state, worked=state.worked or before.worked)
        self.unsaved.add(key)
        if state.status is before.status:
            session.state = state
            self._refresh(session, now, mono)
        else:
            self._enter(session, Transition(before, state), 0, now, mono)
        return True

    def retell(self, key: Key, memory: Memory, now: int, mono: float) -> None:
        """Takes all that the log tells of a session, after what it held of it has changed."""
        session = self.sessions.get(key)
        if session is None or not self.correct(key, memory.state, now, mono):
            return
        session.limits = {limit.restriction: (limit, at) for limit, at in memory.limits}
        self._run_by(session, memory.engine, memory.engine_at, mono)
        self._refresh(session, now, mono)

    def forget(self, key: Key, tombstone: int, mono: float, buried: int = 0) -> bool:
        """Deletes a session: all its series go at once; events up to `tombstone` (Unix ms) are late, and rows up to
        `buried` are of its former life.
        """
        self.tombstones[key] = max(tombstone, self.tombstones.get(key, 0))
        self.buried[key] = max(buried, self.buried.get(key, 0))
        self.dormant.pop(key, None)
        session = self.sessions.get(key)
        if session is None:
            return False
        if session.state.auth_since:
            waited = max(0, tombstone - session.state.auth_since) / 1000
            session.bucket.qr_waits[WaitOutcome.DELETED].observe(waited)
        self._drop(session, mono)
        if self.on_forget:
            self._tell("deletion", self.on_forget, key)
        return True

    # -- time and configuration ---------------------------------------------------------------------------------

    def advance(self, now: int, mono: float) -> list[Key]:
        """Lets time pass: maintenance, restrictions and silence begin and end.

        Returns the sessions that have been STOPPED for so long that they are to be forgotten.
        """
        stale = []
        while self._wakes and self._wakes[0][0] <= now:
            when, key = heapq.heappop(self._wakes)
            session = self.sessions.get(key)
            if session is None or session.wake != when:
                continue
            session.wake = 0
            if self._forget_at(session) <= now:
                stale.append(key)
                self._wake_at(session, now + RETRY_MS)
            else:
                self._refresh(session, now, mono)
        return stale

    def reconfigure(self, rules: Rules, now: int, mono: float) -> None:
        """Takes a new configuration: metadata, windows and limits change, counts go on; unknown sources go."""
        self.awaken(len(self.dormant), now, mono)
        self.away |= set(self.rules.config.sources) ^ set(rules.config.sources)
        self.rules = rules
        for session in list(self.sessions.values()):
            if session.source not in rules.config.sources:
                self._drop(session, mono)
                continue
            session.meta = rules.meta(*session.key)
            session.wake = 0
            self._refresh(session, now, mono)

    def recur(self, patterns: Mapping[Key, Pattern]) -> None:
        """Takes the recurring disconnects of all sessions as the audit has found them; what is not there has none."""
        for key, session in self.sessions.items():
            pattern = patterns.get(key, {})
            if pattern != session.recurring:
                session.recurring = pattern
                self.changed.add(key)

    # -- reading ------------------------------------------------------------------------------------------------

    def group_counts(self) -> Iterator[tuple[str, int, int, int]]:
        """(group, members, eligible, WORKING) of each group; eligible: not STOPPED, not in maintenance.

        Of several shards each counts its own members.
        """
        for name, members in self.rules.groups.items():
            mine = [key for key in members if self.rules.holds(key)]
            known = [self.sessions[key] for key in mine if key in self.sessions]
            eligible = [s for s in known if s.state.status is not STOPPED and not s.maintenance]
            working = sum(s.state.status is WORKING for s in eligible)
            yield name, len(mine), len(eligible), working

    def all_buckets(self, mono: float) -> list[Bucket]:
        """The counts of each source's engine, seconds brought up to `mono`."""
        for bucket in self.buckets.values():
            bucket.accrue(mono)
        return list(self.buckets.values())

    def take_unsaved(self) -> list[tuple[Key, Memory]]:
        """The sessions whose memory changed since the last call."""
        keys, self.unsaved = self.unsaved, set()
        return [(key, self.sessions[key].memory) for key in keys if key in self.sessions]

    # -- inside -------------------------------------------------------------------------------------------------

    def _add(self, session: Session, mono: float) -> Session:
        self.sessions[session.key] = session
        self._join(session, session.engine, mono)
        return session

    def _join(self, session: Session, engine: str, mono: float) -> None:
        key = (session.source, engine)
        if key not in self.buckets:
            self.buckets[key] = Bucket(*key, mono)
        session.bucket = bucket = self.buckets[key]
        bucket.accrue(mono)
        bucket.counts[ORDINAL[session.state.status]] += 1
        bucket.slo_counts[session.slo] += 1
        bucket.seen.add(session.state.status)

    def _leave(self, session: Session, mono: float) -> None:
        session.accrue(mono)
        session.bucket.accrue(mono)
        session.bucket.counts[ORDINAL[session.state.status]] -= 1
        session.bucket.slo_counts[session.slo] -= 1

    def _rebucket(self, session: Session, engine: str, mono: float) -> None:
        self._leave(session, mono)
        session.engine = engine
        self._join(session, engine, mono)
        self.changed.add(session.key)

    def _drop(self, session: Session, mono: float) -> None:
        self._leave(session, mono)
        del self.sessions[session.key]
        self.changed.add(session.key)
        self.unsaved.discard(session.key)

    def _refresh(self, session: Session, now: int, mono: float) -> None:
        """Derives what follows from state, metadata and time, and plans when time alone will change it."""
        session.maintenance = session.meta.excuses(now)
        slo = session.judge()
        if slo is not session.slo:
            session.bucket.accrue(mono)
            session.bucket.slo_counts[session.slo] -= 1
            session.bucket.slo_counts[slo] += 1
            session.slo = slo
        session.rank = self._rank(session, now)
        self.changed.add(session.key)
        self._plan(session, now)

    def _rank(self, session: Session, now: int) -> Rank:
        """Who is exported, and who first; in `troubled` mode the others linger an hour after their trouble."""
        if session.troubled(now):
            return TROUBLED
        if session.rank is TROUBLED and self.rules.troubled_only:
            session.linger = now + LINGER_MS
        if self.rules.troubled_only and session.linger <= now:
            return UNWANTED
        return AT_REST if session.state.status is STOPPED else AT_WORK

    def _plan(self, session: Session, now: int) -> None:
        """Wakes the session at the next instant at which time alone changes it; an earlier plan is kept."""
        meta = session.meta
        if not (meta.windows or meta.silent or session.limits or session.linger or session.state.status is STOPPED):
            return  # as most: events alone change it
        when = min(self._instants(session, now), default=0)
        if when and (not session.wake or when < session.wake):
            self._wake_at(session, when)

    def _wake_at(self, session: Session, when: int) -> None:
        session.wake = when
        heapq.heappush(self._wakes, (when, session.key))
        if len(self._wakes) > 2 * len(self.sessions) + SPARE_WAKES:
            # Plans that an earlier one has replaced would stay until they are due, which may be in a year.
            self._wakes = [(each.wake, key) for key, each in self.sessions.items() if each.wake]
            heapq.heapify(self._wakes)

    def _instants(self, session: Session, now: int) -> Iterable[int]:
        """The instants after `now` at which time alone changes the session."""
        for window in session.meta.windows:
            yield from (edge for edge in window if edge > now)
        for limit, _ in session.limits.values():
            if limit.active and limit.until > now:
                yield limit.until
        if session.state.status is STOPPED:
            yield max(now, int(self._forget_at(session)))
        if session.meta.silent and session.state.status is WORKING and not session.silent(now):
            yield session.last_event + int(session.meta.silent * 1000) + 1
        if session.rank in (AT_WORK, AT_REST) and session.linger > now:
            yield session.linger

    def _forget_at(self, session: Session) -> float:
        """When a STOPPED session is to be forgotten."""
        if session.state.status is not STOPPED:
            return float("inf")
        # A long history that was only now received is not yet stale: nobody has seen its series.
        heard = max(session.state.since, session.last_event)
        return int(heard + self.rules.config.metrics.forget_stopped_after * 1000)
