"""The uptime audit: how reliable sessions were, and when they fail; figures from the log."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

import msgspec

from wawp_exporter.config.schema import Config
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.timelines import Past
from wawp_exporter.log.place import Place, Progress
from wawp_exporter.model.bucket import START_OUTCOMES, STATUSES, WAIT_OUTCOMES, StartOutcome, WaitOutcome
from wawp_exporter.model.event import Status
from wawp_exporter.model.machine import RESTART_MS, State, Transition, step
from wawp_exporter.model.rules import Key, Meta, Rules
from wawp_exporter.times import utc

WEEKS = 8
WEEK = timedelta(days=7)
ENOUGH_WEEKS = 3  # in fewer weeks of the last 8 a disconnect is no pattern

EXCUSED = (Status.STOPPED, Status.UNKNOWN)  # their seconds count neither as good nor as bad

Windows = tuple[tuple[int, int], ...]
Stay = tuple[State, int, int]  # a status from, until (Unix ms), cut to the time that is asked for


class Query(msgspec.Struct, frozen=True):
    """What is asked: [start, end) in Unix ms, and whose; None is anybody. `timezone` is an IANA name."""

    start: int
    end: int
    source: str | None = None
    session: str | None = None
    group: str | None = None
    timezone: str = "UTC"


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
    earlier: list[int] = []  # disconnects before the time, for patterns
    recoveries: list[float] = []
    starts: Counter[StartOutcome] = msgspec.field(default_factory=Counter)
    start_lengths: list[float] = []
    waits: Counter[str] = msgspec.field(default_factory=Counter)
    wait_lengths: list[float] = []

    def add(self, other: "Tally") -> None:
        """Adds another session's figures; the longest outage of both is the longer."""
        self.sessions += other.sessions
        for name in ("period", "observed", "good", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for status, seconds in other.status.items():
            self.status[status] = self.status.get(status, 0.0) + seconds
        if other.longest > self.longest:
            self.longest, self.ongoing = other.longest, other.ongoing
        for name in ("disconnects", "recoveries", "start_lengths", "wait_lengths"):
            getattr(self, name).extend(getattr(other, name))
        self.starts += other.starts
        self.waits += other.waits


class Row(msgspec.Struct, frozen=True):
    """The figures of one session, or of a group, an engine, a source, all. Durations are seconds; null: none.

    docs/audit.md defines each.
    """

    kind: str
    source: str | None
    name: str
    engine: str | None
    group: str | None
    sessions: int
    uptime_ratio: float | None
    coverage_ratio: float
    observed_seconds: float
    good_seconds: float
    downtime_seconds: float
    excluded_seconds: float
    disconnects: int
    mttr_seconds: float | None
    mtbf_seconds: float | None
    longest_outage_seconds: float
    longest_outage_ongoing: bool
    status_seconds: dict[Status, float]
    starts: dict[StartOutcome, int]
    start_median_seconds: float | None
    start_p90_seconds: float | None
    start_max_seconds: float | None
    qr_waits: dict[str, int]
    qr_wait_median_seconds: float | None
    qr_wait_max_seconds: float | None


class Recurring(msgspec.Struct, frozen=True):
    """A session that disconnected in the same hour of the week in `weeks` of the last 8; Monday is 0."""

    source: str
    session: str
    weekday: int
    hour: int
    weeks: int


class Audit(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The whole report. `hour_of_week[weekday][hour]` counts disconnects, Monday first, in `timezone`.

    `prometheus_saw_ratio` is the share of the period in which the exporter ran and could be scraped, `late_events` how
    many events were received more than a minute after they happened: with less than 1 and more than 0, these figures
    are right and Prometheus's differ.
    """

    start: datetime
    end: datetime
    timezone: str
    prometheus_saw_ratio: float
    late_events: int
    total: Row
    sessions: list[Row]
    groups: list[Row]
    engines: list[Row]
    sources: list[Row]
    hour_of_week: list[list[int]]
    recurring: list[Recurring]


# -- one session ----------------------------------------------------------------------------------------------------


def spans(past: Past) -> Iterator[tuple[Transition, int]]:
    """Each status of a session with the time at which it ended (Unix ms), 0 for the last; a deletion ends one too."""
    state: State | None = None
    entered: Transition | None = None
    for point in past.points:
        if state and state.at <= past.tombstone < point.at:
            if entered:
                yield entered, past.tombstone
            state = entered = None
        state, transition = step(state, point)
        if transition:
            if entered:
                yield entered, point.at
            entered = transition
    if entered and state:
        yield entered, past.tombstone if state.at <= past.tombstone else 0


def tally(past: Past, windows: Windows, start: int, end: int) -> Tally:
    """One session's figures over [start, end) (Unix ms); `windows` are its maintenance."""
    found = Tally(period=(end - start) / 1000)
    stays: list[Stay] = []
    for transition, until in spans(past):
        state = transition.after
        if state.since >= end:
            break
        ended = min(until or end, end)
        if ended > start:
            stays.append((state, max(state.since, start), ended))
        if disconnected(transition, windows):
            (found.disconnects if state.since >= start else found.earlier).append(state.since)
        if state.since >= start:
            entry(found, transition)
        if state.auth_since and ended == end:
            found.waits["open"] += 1
        elif state.auth_since and start <= ended == past.tombstone:
            waited(found, WaitOutcome.DELETED, state.auth_since, ended)
    for each in stays:
        stay(found, *each, windows)
    found.longest, found.ongoing = longest_outage(stays, windows)
    return found


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
    """The seconds of the longest outage, and whether it is still going on at the end of the time.

    An outage is downtime without a break; the STOPPED of a restart is no break, but counts no second.
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


def entry(found: Tally, transition: Transition) -> None:
    """Counts what a transition is: the end of a start, of a login episode, of an outage."""
    before, after = transition.before, transition.after
    if before is None:
        return
    started = START_OUTCOMES.get(after.status) if before.status is Status.STARTING else None
    if started:
        found.starts[started] += 1
    if started is StartOutcome.WORKING:
        found.start_lengths.append(transition.stay_ms / 1000)
    outcome = WAIT_OUTCOMES.get(after.status)
    if before.auth_since and outcome:
        waited(found, outcome, before.auth_since, after.since)
    decided = before.status is Status.STOPPED and transition.stay_ms > RESTART_MS
    if after.status is Status.WORKING and before.left_working and not decided:
        found.recoveries.append((after.since - before.left_working) / 1000)


def waited(found: Tally, outcome: WaitOutcome, since: int, until: int) -> None:
    """Counts a login episode that is over."""
    found.waits[outcome.value] += 1
    found.wait_lengths.append((until - since) / 1000)


def outside(since: int, until: int, windows: Windows) -> list[tuple[int, int]]:
    """What of [since, until) lies in no window, in order."""
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


# -- rows -----------------------------------------------------------------------------------------------------------


def row(kind: str, name: str, found: Tally, *, source: str | None = None, engine: str | None = None,
        group: str | None = None) -> Row:  # fmt: skip
    """The figures of a tally; ratios and means are of the sums."""
    counted = found.good + found.bad
    return Row(
        kind=kind,
        source=source,
        name=name,
        engine=engine,
        group=group,
        sessions=found.sessions,
        uptime_ratio=found.good / counted if counted else None,
        coverage_ratio=found.observed / found.period if found.period else 0.0,
        observed_seconds=found.observed,
        good_seconds=found.good,
        downtime_seconds=found.bad,
        excluded_seconds=max(0.0, found.observed - counted),
        disconnects=len(found.disconnects),
        mttr_seconds=sum(found.recoveries) / len(found.recoveries) if found.recoveries else None,
        mtbf_seconds=found.good / len(found.disconnects) if found.disconnects else None,
        longest_outage_seconds=found.longest,
        longest_outage_ongoing=found.ongoing,
        status_seconds={status: found.status[status] for status in STATUSES if status in found.status},
        starts=dict(found.starts),
        start_median_seconds=median(found.start_lengths) if found.start_lengths else None,
        start_p90_seconds=quantile(found.start_lengths, 0.9),
        start_max_seconds=max(found.start_lengths, default=None),
        qr_waits=dict(found.waits),
        qr_wait_median_seconds=median(found.wait_lengths) if found.wait_lengths else None,
        qr_wait_max_seconds=max(found.wait_lengths, default=None),
    )


def quantile(values: list[float], share: float) -> float | None:
    """The smallest value that `share` of the values do not exceed."""
    if not values:
        return None
    return sorted(values)[max(0, -(-len(values) * round(share * 100) // 100) - 1)]


class Sums:
    """Tallies added up by a name, in order of appearance."""

    def __init__(self) -> None:
        self.found: dict[str, Tally] = {}

    def add(self, name: str, one: Tally) -> None:
        """Adds one session to `name`."""
        self.found.setdefault(name, Tally(sessions=0)).add(one)

    def rows(self, kind: str) -> list[Row]:
        """A row for each name."""
        return [row(kind, name, found) for name, found in sorted(self.found.items())]


# -- hours of the week ----------------------------------------------------------------------------------------------


def hour_of_week(moments: Iterable[int], zone: ZoneInfo) -> list[list[int]]:
    """How many of these instants (Unix ms) lie in each hour of the week, by the clock on the wall."""
    counts = [[0] * 24 for _ in range(7)]
    for moment in moments:
        local = datetime.fromtimestamp(moment / 1000, zone)
        counts[local.weekday()][local.hour] += 1
    return counts


def recurring(disconnects: Iterable[tuple[Key, int]], zone: ZoneInfo) -> dict[Key, dict[tuple[int, int], int]]:
    """The hours of the week in which a session disconnected on 3 dates or more, with how many dates."""
    dates: dict[tuple[Key, int, int], set[int]] = {}
    for key, moment in disconnects:
        local = datetime.fromtimestamp(moment / 1000, zone)
        dates.setdefault((key, local.weekday(), local.hour), set()).add(local.toordinal())
    found: dict[Key, dict[tuple[int, int], int]] = {}
    for (key, weekday, hour), days in dates.items():
        if len(days) >= ENOUGH_WEEKS:
            found.setdefault(key, {})[weekday, hour] = len(days)
    return found


def eight_weeks(end: int, zone: ZoneInfo) -> int:
    """The instant 8 weeks before `end` (Unix ms) by the clock on the wall: each hour of the week lies in it 8 times."""
    local = datetime.fromtimestamp(end / 1000, zone)
    return round((local.replace(tzinfo=None) - WEEKS * WEEK).replace(tzinfo=zone).timestamp() * 1000)


def patterns(place: Place, config: Config, now: int) -> dict[Key, dict[tuple[int, int], int]]:
    """Every session's recurring disconnects in the 8 weeks before `now` (Unix ms), in the configured time zone."""
    zone = ZoneInfo(config.timezone)
    rules = Rules(config)
    with History(place) as history:
        return recurring(excused(history.disconnects(eight_weeks(now, zone), now), rules), zone)


def excused(disconnects: Iterable[tuple[Key, int]], rules: Rules) -> Iterator[tuple[Key, int]]:
    """Leaves out those that happened in maintenance."""
    for key, moment in disconnects:
        if not inside(moment, rules.meta(*key).windows):
            yield key, moment


# -- the report -----------------------------------------------------------------------------------------------------


def audit(place: Place, config: Config, query: Query, progress: Progress | None = None) -> Audit:
    """The report of a time. `progress` is told how many of how many sessions are done. Raises LogError."""
    rules, zone = Rules(config), ZoneInfo(query.timezone)
    total, groups, engines, sources = Tally(sessions=0), Sums(), Sums(), Sums()
    rows: list[Row] = []
    lost: list[tuple[Key, int]] = []
    with History(place) as history:
        count = history.count()
        asked = {"source": query.source, "session": query.session}
        since = eight_weeks(query.end, zone)
        for done, past in enumerate(history.pasts(min(query.start, since), query.end, **asked), 1):
            meta = rules.meta(past.source, past.session)
            if wanted(past, meta, query):
                one = tally(past, meta.windows, query.start, query.end)
                rows.append(of_session(past, meta, one))
                key = (past.source, past.session)
                lost.extend((key, at) for at in (*one.earlier, *one.disconnects) if at >= since)
                total.add(one)
                engines.add(past.engine, one)
                sources.add(past.source, one)
                if meta.group:
                    groups.add(meta.group, one)
            if progress:
                progress(done, count)
        ran = history.runs(query.start, query.end)
        late = history.late(query.start, query.end)
    return Audit(
        start=utc(query.start),
        end=utc(query.end),
        timezone=query.timezone,
        prometheus_saw_ratio=covered(ran) / max(1, query.end - query.start),
        late_events=late,
        total=row("total", "all", total),
        sessions=sorted(rows, key=lambda each: (each.source or "", each.name)),
        groups=groups.rows("group"),
        engines=engines.rows("engine"),
        sources=sources.rows("source"),
        hour_of_week=hour_of_week(total.disconnects, zone),
        recurring=[Recurring(*key, *when, weeks) for key, found in sorted(recurring(lost, zone).items())
                   for when, weeks in sorted(found.items())],
    )  # fmt: skip


def wanted(past: Past, meta: Meta, query: Query) -> bool:
    """Whether the session is asked for, and was not deleted before the time."""
    gone = past.tombstone <= query.start and past.points[-1].at <= past.tombstone
    return not gone and query.group in (None, meta.group)


def of_session(past: Past, meta: Meta, one: Tally) -> Row:
    """One session's row."""
    return row("session", past.session, one, source=past.source, engine=past.engine, group=meta.group or None)


def covered(runs: Iterable[tuple[int, int]]) -> int:
    """The length of spans (ms), what overlaps counted once; they come in order of their beginning."""
    total = reached = 0
    for begins, ends in runs:
        total += max(0, ends - max(begins, reached))
        reached = max(reached, ends)
    return total
