"""All sessions, groups, episodes and counts: the fold of the log, without a clock, a socket or a database.

Every method takes the time it needs: `now` is Unix ms and dates things, `mono` is seconds of a monotonic clock and
is what counters of seconds accrue on. One thread, the event loop's, owns a Fleet.
"""

import heapq
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from zlib import crc32

import msgspec

from wawp_exporter.config import Config, glob
from wawp_exporter.events import (
    ALWAYS,
    OTHER_ENGINE,
    PASSKEYS,
    STARTING,
    STOPPED,
    UNKNOWN,
    WORKING,
    Limit,
    Point,
    Restriction,
    Status,
    StatusEvent,
    Word,
    normal,
)
from wawp_exporter.machine import RESTART_MS, State, Transition, step

Key = tuple[str, str]  # (source, session)
Pattern = Mapping[tuple[int, int], int]  # (weekday from Monday = 0, hour) → in how many of the last weeks

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
STATUSES = tuple(Status)
ORDINAL = {status: index for index, status in enumerate(STATUSES)}
RETRY_MS = 60_000  # when a session that could not be forgotten is named again
SPARE_WAKES = 1000  # plans that are kept though an earlier one has replaced them
LINGER_MS = 3_600_000  # how long a session that was in trouble keeps its series in `troubled` mode

STATUS_BOUNDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0)
START_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0)
QR_BOUNDS = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0)
RECOVERY_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0)


class Outcome(Word):
    """What became of an accepted webhook; the contract's word for it."""

    TRANSITION = "transition"
    REPEAT = "repeat"
    DUPLICATE = "duplicate"
    LATE = "late"
    IGNORED = "ignored"


TRANSITION, REPEAT, DUPLICATE, LATE, IGNORED = Outcome


class Slo(Word):
    """How a second counts towards the objective."""

    GOOD = "good"
    BAD = "bad"
    EXCLUDED = "excluded"


SLOS = GOOD, BAD, EXCLUDED = tuple(Slo)


class Rank(Word):
    """Who keeps series of its own when there is no room for all: the first ones, whatever happens."""

    TROUBLED = "troubled"
    WORKING = "working"
    STOPPED = "stopped"
    UNWANTED = "unwanted"


TROUBLED, AT_WORK, AT_REST, UNWANTED = Rank


class StartOutcome(Word):
    """How a STARTING ended."""

    WORKING = "working"
    QR = "qr"
    FAILED = "failed"
    STOPPED = "stopped"


class WaitOutcome(Word):
    """How a login episode ended."""

    WORKING = "working"
    STOPPED = "stopped"
    DELETED = "deleted"


START_OUTCOMES = {
    WORKING: StartOutcome.WORKING,
    Status.SCAN_QR_CODE: StartOutcome.QR,
    Status.PASSKEY_REQUIRED: StartOutcome.QR,
    Status.PASSKEY_CONFIRMATION_REQUIRED: StartOutcome.QR,
    Status.FAILED: StartOutcome.FAILED,
    Status.DISCONNECTED: StartOutcome.FAILED,
    STOPPED: StartOutcome.STOPPED,
}
WAIT_OUTCOMES = {WORKING: WaitOutcome.WORKING, STOPPED: WaitOutcome.STOPPED}


class Histogram:
    """Counts by upper bound (seconds), not cumulated; the last count is above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = array("Q", bytes(8 * (len(bounds) + 1)))
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one observation; a bound includes its own value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Meta(msgspec.Struct, frozen=True):
    """What the configuration says of a session. Thresholds are overrides in seconds, windows are Unix ms."""

    group: str = ""
    owner: str = ""
    tier: str = ""
    thresholds: tuple[tuple[str, float], ...] = ()
    silent: float = 0.0
    windows: tuple[tuple[int, int], ...] = ()

    def excuses(self, now: int) -> bool:
        """Whether it is in maintenance at `now` (Unix ms)."""
        return bool(self.windows) and any(start <= now < end for start, end in self.windows)


class Rules:
    """The configuration as the fleet needs it: globs compiled, equal metadata shared."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.shard, self.shards = config.shard.ordinal, config.shard.total
        self.groups = {name: [split_member(member) for member in members] for name, members in config.groups.items()}
        self._group_of = {key: name for name, members in self.groups.items() for key in members}
        self._sessions = [(glob(rule.source), glob(rule.session), rule) for rule in config.sessions]
        self._windows = [(glob(w.source), glob(w.session), unix_ms(w.from_), unix_ms(w.to)) for w in config.maintenance]
        self.session_histograms = config.metrics.session_histograms
        self.troubled_only = config.metrics.sessions == "troubled"
        self._shared: dict[Meta, Meta] = {}
        self._same_for_all = not (self._group_of or self._sessions or self._windows)
        self._default = Meta(silent=config.thresholds.silent)

    def holds(self, key: Key) -> bool:
        """Whether a session is of this replica's shard."""
        return self.shards == 1 or slot_of(key) % self.shards == self.shard

    def meta(self, source: str, session: str) -> Meta:
        """The first matching `sessions` rule, the group, and every maintenance window that matches."""
        if self._same_for_all:
            return self._default
        rule = next((r for s, n, r in self._sessions if s.fullmatch(source) and n.fullmatch(session)), None)
        overrides = rule.thresholds.given() if rule else {}
        meta = Meta(
            group=self._group_of.get((source, session), ""),
            owner=rule.owner if rule else "",
            tier=rule.tier if rule else "",
            thresholds=tuple(overrides.items()),
            silent=overrides.get("silent", self.config.thresholds.silent),
            windows=tuple((a, b) for s, n, a, b in self._windows if s.fullmatch(source) and n.fullmatch(session)),
        )
        return self._shared.setdefault(meta, meta)


def slot_of(key: Key) -> int:
    """A number that spreads sessions evenly; those of one remainder by the count of shards are one shard."""
    return crc32(f"{key[0]}\0{key[1]}".encode())


def split_member(member: str) -> Key:
    """`default/sales-uk` → `("default", "sales-uk")`."""
    source, _, session = member.partition("/")
    return source, session


def unix_ms(moment: datetime) -> int:
    """A zoned datetime as Unix ms."""
    return round(moment.timestamp() * 1000)


class Grave(NamedTuple):
    """A session's deletion: events up to `at` (Unix ms) and rows up to `seq` are of its former life."""

    at: int = 0
    seq: int = 0


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """What the state table keeps of a session, so that a start need not replay its history.

    `engine_at` is when the engine was named (Unix ms, by the gateway's clock): the newest word counts.
    """

    state: State
    engine: str
    last_event: int
    limits: tuple[tuple[Limit, int], ...] = ()
    engine_at: int = 0

    @property
    def named_at(self) -> int:
        """`engine_at`, also of a memory that was kept before there was one."""
        return self.engine_at or (0 if self.engine == OTHER_ENGINE else self.state.at)


FIRST_LIFE = Grave()
decode_memory = msgspec.json.Decoder(Memory).decode


def learn(known: dict[Restriction, tuple[Limit, int]], limits: Iterable[Limit], at: int) -> bool:
    """Takes into `known` what was stated at `at` (Unix ms), unless a newer word is there; whether any was taken."""
    taken = [limit for limit in limits if known.get(limit.restriction, (limit, at))[1] <= at]
    known.update((limit.restriction, (limit, at)) for limit in taken)
    return bool(taken)


def revise(session: "Session", points: Sequence[Point], rows: Sequence[int]) -> None:
    """Takes the tie of the live status's own row, where it was told more: what was before it in the same millisecond
    must not be taken for what came after.
    """
    for point, seq in zip(points, rows, strict=True):
        state = session.state
        same = point.at == state.at and normal(point.status) is state.status
        if seq < 0 and same and point.tie > state.tie:
            session.state = msgspec.structs.replace(state, tie=point.tie)


class Bucket:
    """The counts of one source's engine; seconds accrue between changes, sessions × time."""

    __slots__ = ("counts", "engine", "mark", "qr_waits", "recovery", "seconds", "seen", "slo", "slo_counts", "source",
                 "starts", "stays", "transitions")  # fmt: skip

    def __init__(self, source: str, engine: str, mono: float) -> None:
        self.source = source
        self.engine = engine
        self.mark = mono
        self.counts = [0] * len(STATUSES)
        self.seconds = [0.0] * len(STATUSES)
        self.slo_counts = dict.fromkeys(SLOS, 0)
        self.slo = dict.fromkeys(SLOS, 0.0)
        self.seen: set[Status] = set()
        self.transitions: Counter[tuple[Status | None, Status]] = Counter()
        self.stays = [Histogram(STATUS_BOUNDS) for _ in STATUSES]
        self.starts = {outcome: Histogram(START_BOUNDS) for outcome in StartOutcome}
        self.qr_waits = {outcome: Histogram(QR_BOUNDS) for outcome in WaitOutcome}
        self.recovery = Histogram(RECOVERY_BOUNDS)

    def accrue(self, mono: float) -> None:
        """Brings the seconds up to `mono`."""
        elapsed = mono - self.mark
        if elapsed <= 0:
            return
        self.mark = mono
        for index, count in enumerate(self.counts):
            if count:
                self.seconds[index] += count * elapsed
        for slo, count in self.slo_counts.items():
            if count:
                self.slo[slo] += count * elapsed

    def statuses(self) -> tuple[Status, ...]:
        """The statuses that have series here: the seven, and the passkey ones once seen."""
        return ALWAYS + tuple(s for s in PASSKEYS if s in self.seen)


class Session:
    """One session of the live fleet: its state by the log, and what this process counted."""

    __slots__ = ("bucket", "engine", "engine_at", "key", "last_event", "limits", "linger", "maintenance", "mark",
                 "meta", "name", "rank", "recurring", "seconds", "slo", "source", "state", "stays", "transitions",
                 "wake")  # fmt: skip

    def __init__(self, key: Key, state: State, engine: str, meta: Meta, mono: float) -> None:
        self.key = key
        self.source, self.name = key
        self.state = state
        self.engine = engine
        self.engine_at = 0
        self.meta = meta
        self.mark = mono
        self.last_event = 0
        self.limits: dict[Restriction, tuple[Limit, int]] = {}
        self.maintenance = False
        self.rank = UNWANTED
        self.linger = 0
        self.wake = 0
        self.recurring: Pattern = {}
        self.slo = EXCLUDED
        self.transitions = array("Q", bytes(8 * len(STATUSES)))
        self.seconds = array("d", bytes(8 * len(STATUSES)))
        self.stays: dict[Status, Histogram] = {}
        self.bucket: Bucket

    @property
    def memory(self) -> Memory:
        """What is worth keeping over a restart."""
        return Memory(self.state, self.engine, self.last_event, tuple(self.limits.values()), self.engine_at)

    def statuses(self) -> tuple[Status, ...]:
        """The statuses that have series here: the seven, and the passkey ones once it was in them."""
        seen = [
            s for s in PASSKEYS if self.state.status is s or self.transitions[ORDINAL[s]] or self.seconds[ORDINAL[s]]
        ]
        return (*ALWAYS, *seen) if seen else ALWAYS

    def accrue(self, mono: float) -> None:
        """Brings the seconds of the current status up to `mono`; they never fall."""
        if mono > self.mark:
            self.seconds[ORDINAL[self.state.status]] += mono - self.mark
            self.mark = mono

    def restricted(self, restriction: Restriction, now: int) -> bool:
        """Whether the restriction holds at `now`."""
        limit, _ = self.limits[restriction]
        return limit.active and (not limit.until or now < limit.until)

    def silent(self, now: int) -> bool:
        """WORKING, and nothing heard for longer than its limit."""
        limit = self.meta.silent
        return limit > 0 and self.state.status is WORKING and now - self.last_event > limit * 1000

    def troubled(self, now: int) -> bool:
        """Whether somebody may want to look at it."""
        state = self.state
        return (
            state.status not in (WORKING, STOPPED)
            or bool(state.auth_since or state.down_since)
            or (bool(self.limits) and any(self.restricted(restriction, now) for restriction in self.limits))
            or self.silent(now)
        )

    def judge(self) -> Slo:
        """How its seconds count now."""
        status = self.state.status
        if self.maintenance or not self.state.worked or status in (STOPPED, UNKNOWN):
            return EXCLUDED
        return GOOD if status is WORKING else BAD


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
