"""What is counted of one session over a period: stays, outages, disconnects, starts, login waits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from wawp_exporter.log.history.timelines import Past
from wawp_exporter.model.event import Status
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.machine import RESTART_MS, State, Transition, step
from wawp_exporter.model.outcome import START_OUTCOMES, WAIT_OUTCOMES, StartOutcome, WaitOutcome
from wawp_exporter.model.reasons import Reason

RESTRICTED_MS = Constants().restricted_ms
# What a cold start comes from; None: it is the session's first status. Any other start is a reconnect.
COLD = (None, Status.STOPPED, Status.UNKNOWN)
EXCUSED = (Status.STOPPED, Status.UNKNOWN)  # their seconds count neither as good nor as bad
Windows = tuple[tuple[int, int], ...]
Stay = tuple[State, int, int]  # a state, from, until (Unix ms), cut to the period that is asked for


LISTS = ("disconnects", "recoveries", "start_lengths", "cold_lengths", "reconnect_lengths", "wait_lengths")
COUNTERS = ("losses", "starts", "cold", "reconnects", "waits")


class Tally(msgspec.Struct):
    """What was counted of one session, or of many added up. Durations are seconds."""

    sessions: int = 1
    period: float = 0.0
    observed: float = 0.0
    good: float = 0.0
    bad: float = 0.0
    status: dict[Status, float] = {}
    longest: float = 0.0
    ongoing: bool = False
    disconnects: list[int] = []
    losses: Counter[str] = msgspec.field(default_factory=Counter)  # the disconnects by reason
    earlier: list[int] = []  # disconnects before the period, for patterns
    recoveries: list[float] = []
    starts: Counter[StartOutcome] = msgspec.field(default_factory=Counter)
    start_lengths: list[float] = []
    cold: Counter[StartOutcome] = msgspec.field(default_factory=Counter)  # those of the starts that were cold
    cold_lengths: list[float] = []
    reconnects: Counter[StartOutcome] = msgspec.field(default_factory=Counter)
    reconnect_lengths: list[float] = []
    waits: Counter[str] = msgspec.field(default_factory=Counter)
    wait_lengths: list[float] = []

    def add(self, other: "Tally") -> None:
        """Adds another session's figures; of the longest outages the longer one is kept."""
        self.sessions += other.sessions
        for name in ("period", "observed", "good", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for status, seconds in other.status.items():
            self.status[status] = self.status.get(status, 0.0) + seconds
        if other.longest > self.longest:
            self.longest, self.ongoing = other.longest, other.ongoing
        for name in LISTS:
            getattr(self, name).extend(getattr(other, name))
        for name in COUNTERS:
            getattr(self, name).update(getattr(other, name))


def spans(past: Past) -> Iterator[tuple[Transition, int, str]]:
    """Each status of a session with the time at which it ended (Unix ms), and the reason of the loss by then.

    The time is 0 for the last status; a deletion ends one too.
    """
    state: State | None = None
    entered: Transition | None = None
    for point in past.points:
        if state and state.at <= past.tombstone < point.at:
            if entered:
                yield entered, past.tombstone, state.reason
            state = entered = None
        before = state
        state, transition = step(before, point)
        if transition:
            if entered and before:
                yield entered, point.at, before.reason
            entered = transition
    if entered and state:
        yield entered, past.tombstone if state.at <= past.tombstone else 0, state.reason


def tally(past: Past, windows: Windows, start: int, end: int) -> Tally:
    """One session's figures over [start, end) (Unix ms); `windows` are its maintenance."""
    found = Tally(period=(end - start) / 1000)
    stays: list[Stay] = []
    losses = Losses(found.losses, past.restricted)
    origin: Status | None = None  # the status before the newest STARTING
    for transition, until, reason in spans(past):
        state = transition.after
        if state.since >= end:
            break
        ended = min(until or end, end)
        if ended > start:
            stays.append((state, max(state.since, start), ended))
        lost = disconnected(transition, windows)
        if lost:
            (found.disconnects if state.since >= start else found.earlier).append(state.since)
        losses.follow(state, reason, begins=lost and state.since >= start)
        if state.since >= start:
            entry(found, transition, origin)
        if state.status is Status.STARTING:
            origin = transition.before.status if transition.before else None
        if state.auth_since and ended == end:
            found.waits["open"] += 1
        elif state.auth_since and start <= ended == past.tombstone:
            waited(found, WaitOutcome.DELETED, state.auth_since, ended)
    losses.close()
    for each in stays:
        stay(found, *each, windows)
    found.longest, found.ongoing = longest_outage(stays, windows)
    return found


class Losses:
    """Counts losses by the reason that was known at their ends; a restriction just before explains one without."""

    def __init__(self, counts: Counter[str], restricted: Sequence[int]) -> None:
        self._counts = counts
        self._restricted = restricted
        self._at = 0
        self._reason: str | None = None  # of the loss that is under way

    def follow(self, state: State, reason: str, *, begins: bool) -> None:
        """Takes a status with the reason by its end; `begins`: a loss that counts begins with it."""
        if not state.left_working:
            self.close()
        if begins:
            self._at = state.since
        if begins or self._reason is not None:
            self._reason = reason

    def close(self) -> None:
        """The loss is over, if there is one."""
        if self._reason is None:
            return
        explained = any(0 <= self._at - began <= RESTRICTED_MS for began in self._restricted)
        reason = Reason.RESTRICTED if explained and self._reason in ("", Reason.OTHER) else self._reason
        self._counts[str(reason)] += 1
        self._reason = None


def stay(found: Tally, state: State, since: int, until: int, windows: Windows) -> None:
    """Adds the time in one status."""
    length = (until - since) / 1000
    found.observed += length
    found.status[state.status] = found.status.get(state.status, 0.0) + length
    if not state.worked or state.status in EXCUSED:
        return
    counted = sum(b - a for a, b in outside(since, until, windows)) / 1000
    if state.status is Status.WORKING:
        found.good += counted
    else:
        found.bad += counted


def longest_outage(stays: Iterable[Stay], windows: Windows) -> tuple[float, bool]:
    """The seconds of the longest outage, and whether it is still going on at the end of the period.

    An outage is downtime without a break. The STOPPED of a restart is no break, but its seconds are not counted.
    """
    longest = current = 0
    for state, since, until in stays:
        if state.status is Status.STOPPED and until - since <= RESTART_MS:
            continue
        if not state.worked or state.status in (*EXCUSED, Status.WORKING):
            current = 0
            continue
        reached = since
        for begins, ends in outside(since, until, windows):
            current = (current if begins == reached else 0) + ends - begins
            longest, reached = max(longest, current), ends
        if reached < until:
            current = 0
    return longest / 1000, bool(current) and current == longest


def disconnected(transition: Transition, windows: Windows) -> bool:
    """Whether the session left WORKING for anything but STOPPED and UNKNOWN, outside maintenance."""
    before, after = transition.before, transition.after
    lost = before and before.status is Status.WORKING and after.status not in EXCUSED
    return bool(lost) and not inside(after.since, windows)


def entry(found: Tally, transition: Transition, origin: Status | None) -> None:
    """Counts what ends with a transition: a start that came from `origin`, a login episode, an outage."""
    before, after = transition.before, transition.after
    if before is None:
        return
    started = START_OUTCOMES.get(after.status) if before.status is Status.STARTING else None
    if started:
        start(found, started, transition.stay_ms / 1000, cold=origin in COLD)
    outcome = WAIT_OUTCOMES.get(after.status)
    if before.auth_since and outcome:
        waited(found, outcome, before.auth_since, after.since)
    recovery = transition.recovery_ms
    if recovery is not None:
        found.recoveries.append(recovery / 1000)


def start(found: Tally, outcome: StartOutcome, seconds: float, *, cold: bool) -> None:
    """Counts a start that is over; how long it took, if it reached WORKING."""
    counts, lengths = (found.cold, found.cold_lengths) if cold else (found.reconnects, found.reconnect_lengths)
    found.starts[outcome] += 1
    counts[outcome] += 1
    if outcome is StartOutcome.WORKING:
        found.start_lengths.append(seconds)
        lengths.append(seconds)


def waited(found: Tally, outcome: WaitOutcome, since: int, until: int) -> None:
    """Counts a login episode that is over."""
    found.waits[outcome.value] += 1
    found.wait_lengths.append((until - since) / 1000)


def outside(since: int, until: int, windows: Windows) -> list[tuple[int, int]]:
    """The parts of [since, until) that lie in no window, in order."""
    if not windows:
        return [(since, until)]
    left, at = [], since
    for begins, ends in sorted(windows):
        if ends <= at or begins >= until:
            continue
        if begins > at:
            left.append((at, begins))
        at = max(at, ends)
    return [*left, (at, until)] if at < until else left


def inside(at: int, windows: Windows) -> bool:
    """Whether a window is open at an instant."""
    return bool(windows) and any(begins <= at < ends for begins, ends in windows)
