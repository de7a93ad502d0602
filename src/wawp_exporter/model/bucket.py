"""Counts and histograms of one source's engine."""

from bisect import bisect_left
from collections import defaultdict

from wawp_exporter.model.event import ALWAYS, PASSKEYS, STARTING, WORKING, Status, Word
from wawp_exporter.model.machine import Transition
from wawp_exporter.model.outcome import START_OUTCOMES, WAIT_OUTCOMES, StartOutcome, WaitOutcome

STATUSES = tuple(Status)
ORDINAL = {status: index for index, status in enumerate(STATUSES)}

STATUS_BOUNDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0)
START_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0)
QR_BOUNDS = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0)
RECOVERY_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0)


class Slo(Word):
    """How a second counts towards the objective."""

    GOOD = "good"
    BAD = "bad"
    EXCLUDED = "excluded"


SLOS = GOOD, BAD, EXCLUDED = tuple(Slo)


class Histogram:
    """Counts by upper bound (seconds), not cumulated; the last count is above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one observation; a bound includes its own value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


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
        self.transitions: defaultdict[tuple[Status | None, Status], int] = defaultdict(int)
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

    def count(self, transition: Transition, *, excused: bool) -> float:
        """Counts a change of status and what ended with it: a stay, a start, a login episode, an outage.

        A session's first status ends nothing, and `Buckets.join` has counted it as present. Not counted is a start in
        maintenance (`excused`), where slow ones are expected. Returns the seconds of the stay that has ended.
        """
        before, after = transition.before, transition.after
        index = ORDINAL[after.status]
        self.transitions[before.status if before else None, after.status] += 1
        self.seen.add(after.status)
        if before is None:
            return 0.0
        left = ORDINAL[before.status]
        self.counts[left] -= 1
        self.counts[index] += 1
        stay = transition.stay_ms / 1000
        self.stays[left].observe(stay)
        started = START_OUTCOMES.get(after.status) if before.status is STARTING else None
        if started and not excused:
            self.starts[started].observe(stay)
        waited = WAIT_OUTCOMES.get(after.status) if before.auth_since else None
        if waited:
            self.qr_waits[waited].observe(max(0, after.since - before.auth_since) / 1000)
        recovery = transition.recovery_ms if after.status is WORKING else None
        if recovery is not None:
            self.recovery.observe(recovery / 1000)
        return stay

    def statuses(self) -> tuple[Status, ...]:
        """The statuses that have series here: the usual seven, and the passkey ones once a session was in them."""
        return ALWAYS + tuple(s for s in PASSKEYS if s in self.seen)
