"""One session as the fold knows it."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from wawp_exporter.model.bucket import BAD, EXCLUDED, GOOD, ORDINAL, STATUSES, Bucket, Histogram, Slo
from wawp_exporter.model.event import (
    ALWAYS,
    OTHER_ENGINE,
    PASSKEYS,
    STOPPED,
    UNKNOWN,
    WORKING,
    Limit,
    Point,
    Restriction,
    Status,
    Word,
    normal,
)
from wawp_exporter.model.facts import Facts, Problem, Restricted
from wawp_exporter.model.machine import State
from wawp_exporter.model.probe import Probe
from wawp_exporter.model.rules import Key, Meta

Pattern = Mapping[tuple[int, int], int]  # (weekday from Monday = 0, hour) → in how many of the last weeks

# A session that has not changed since the start shares these with all others; they are never written to.
NONE: dict[Any, Any] = {}
NO_COUNTS: Any = (0,) * len(STATUSES)
LINGER_MS = 3_600_000  # how long a session that was in trouble keeps its series in `troubled` mode
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Rank(Word):
    """Which sessions keep series of their own when there is not room for all: the first rank before the second, …"""

    TROUBLED = "troubled"
    WORKING = "working"
    STOPPED = "stopped"
    UNWANTED = "unwanted"


TROUBLED, AT_WORK, AT_REST, UNWANTED = Rank


class Grave(NamedTuple):
    """A session's deletion: events up to `at` (Unix ms) and rows up to `seq` are of its former life."""

    at: int = 0
    seq: int = 0


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """What the state table keeps of a session, so that a start need not replay its history.

    `engine_at` is the time of the newest event that named the engine (Unix ms, by the gateway's clock).
    """

    state: State
    engine: str
    last_event: int
    limits: tuple[tuple[Limit, int], ...] = ()
    engine_at: int = 0

    @property
    def named_at(self) -> int:
        """`engine_at`; of a memory that an older version has written, which has none, the time of its state."""
        return self.engine_at or (0 if self.engine == OTHER_ENGINE else self.state.at)


FIRST_LIFE = Grave()
decode_memory = msgspec.json.Decoder(Memory).decode


def learn(known: dict[Restriction, tuple[Limit, int]], limits: Iterable[Limit], at: int) -> bool:
    """Puts into `known` what an event of `at` (Unix ms) says, unless a newer one has spoken; whether it changed."""
    taken = [limit for limit in limits if known.get(limit.restriction, (limit, at))[1] <= at]
    known.update((limit.restriction, (limit, at)) for limit in taken)
    return bool(taken)


def stated(limits: Iterable[tuple[Limit, int]]) -> tuple[Restricted, ...]:
    """The restrictions that are active, each from when its newest statement was made."""
    return tuple(Restricted(Problem(limit.restriction.value), at, limit.until) for limit, at in limits if limit.active)


def revise(session: "Session", points: Sequence[Point], rows: Sequence[int]) -> None:
    """Takes over the new tie of the live status's own row, if the event has changed that row.

    Otherwise an earlier point of the same millisecond would be taken for a later one.
    """
    for point, seq in zip(points, rows, strict=True):
        state = session.state
        same = point.at == state.at and normal(point.status) is state.status
        if seq < 0 and same and point.tie > state.tie:
            session.state = msgspec.structs.replace(state, tie=point.tie)


class Session:
    """One session of the live fleet: its state by the log, and what this process counted."""

    __slots__ = ("bucket", "engine", "engine_at", "key", "last_event", "limits", "linger", "maintenance", "mark",
                 "meta", "name", "probe", "rank", "recurring", "seconds", "slo", "source", "state", "stays",
                 "transitions", "wake")  # fmt: skip

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
        self.recurring: Pattern = NONE
        self.probe: Probe | None = None
        self.slo = EXCLUDED
        self.transitions: array[int] = NO_COUNTS
        self.seconds: array[float] = NO_COUNTS
        self.stays: Mapping[Status, Histogram] = NONE  # a dictionary once there is one
        self.bucket: Bucket

    @classmethod
    def recalled(cls, key: Key, memory: Memory, meta: Meta, mono: float) -> "Session":
        """A session as the state table keeps it; it has counted nothing yet."""
        session = cls(key, memory.state, memory.engine, meta, mono)
        session.last_event = memory.last_event
        session.engine_at = memory.named_at
        session.limits = {limit.restriction: (limit, at) for limit, at in memory.limits}
        return session

    @property
    def memory(self) -> Memory:
        """What the state table keeps of it over a restart."""
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
            if self.seconds is NO_COUNTS:
                self.seconds = array("d", bytes(8 * len(STATUSES)))
            self.seconds[ORDINAL[self.state.status]] += mono - self.mark
            self.mark = mono

    def restricted(self, restriction: Restriction, now: int) -> bool:
        """Whether the restriction holds at `now`."""
        limit, _ = self.limits[restriction]
        return limit.active and (not limit.until or now < limit.until)

    @property
    def heard(self) -> int:
        """Since when nothing has been heard of it (Unix ms)."""
        return self.last_event if self.last_event > self.meta.heard else self.meta.heard

    def silent(self, now: int) -> bool:
        """WORKING, and without any event for longer than its limit."""
        limit = self.meta.silent
        return limit > 0 and self.state.status is WORKING and now - self.heard > limit * 1000

    def troubled(self, now: int) -> bool:
        """Whether it needs attention: not WORKING or STOPPED, in an episode, restricted or silent."""
        state = self.state
        return (
            state.status not in (WORKING, STOPPED)
            or bool(state.auth_since or state.down_since)
            or (bool(self.limits) and any(self.restricted(restriction, now) for restriction in self.limits))
            or (self.meta.silent > 0 and self.silent(now))
        )

    def rank_at(self, now: int, troubled_only: bool) -> Rank:
        """Who is exported, and who first; with `troubled_only` the others linger an hour after their trouble."""
        if self.troubled(now):
            return TROUBLED
        if troubled_only:
            if self.rank is TROUBLED:
                self.linger = now + LINGER_MS
            if self.linger <= now:
                return UNWANTED
        return AT_REST if self.state.status is STOPPED else AT_WORK

    def facts(self, now: int) -> Facts:
        """What the judge needs to know of it at `now`."""
        limits = stated(self.limits.values()) if self.limits else ()
        meta, state = self.meta, self.state
        excused = bool(meta.windows) and meta.excuses(now)
        return Facts(state, self.engine, excused, meta.limits, limits, self.heard, state.reason)

    def excused_until(self, now: int) -> int:
        """When the maintenance ends that it is in at `now` (Unix ms), windows that follow at once included; else 0."""
        until = 0
        for start, end in sorted(self.meta.windows):
            if start <= max(now, until) < end:
                until = end
        return until

    def enter(self, status: Status) -> None:
        """Counts an entry to a status."""
        if self.transitions is NO_COUNTS:
            self.transitions = array("Q", bytes(8 * len(STATUSES)))
        self.transitions[ORDINAL[status]] += 1

    @property
    def available(self) -> bool:
        """Whether it is WORKING, and not in maintenance."""
        return self.state.status is WORKING and not self.maintenance

    def judge(self) -> Slo:
        """How its seconds count towards the objective now."""
        status = self.state.status
        if self.maintenance or not self.state.worked or status in (STOPPED, UNKNOWN):
            return EXCLUDED
        return GOOD if status is WORKING else BAD
