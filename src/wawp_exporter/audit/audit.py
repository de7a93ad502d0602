"""The uptime audit: how reliable sessions were, and when they failed, computed from the log."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from wawp_exporter.audit.figures import Tally, tally
from wawp_exporter.audit.rows import Row, Sums, row
from wawp_exporter.audit.weekly import Recurring, eight_weeks, hour_of_week, recurring
from wawp_exporter.config.schema import Config
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.timelines import Past
from wawp_exporter.log.place import Place, Progress
from wawp_exporter.model.rules import Key, Meta, Rules
from wawp_exporter.times import utc


class Query(msgspec.Struct, frozen=True):
    """What is asked for: [start, end) in Unix ms, and which sessions; None is all. `timezone` is an IANA name."""

    start: int
    end: int
    source: str | None = None
    session: str | None = None
    group: str | None = None
    timezone: str = "UTC"


class Loss(msgspec.Struct, frozen=True):
    """How many disconnects had this reason (empty: the gateway gave none), and of how many sessions."""

    reason: str
    losses: int
    sessions: int


class Audit(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The whole report. `hour_of_week[weekday][hour]` counts disconnects, Monday first, in `timezone`.

    `objective` is the uptime that the configuration asks for.
    `prometheus_saw_ratio` is the share of the period in which the exporter ran and could be scraped, `late_events` how
    many events were received more than a minute after they happened: with less than 1 and more than 0, these figures
    are right and Prometheus's differ.
    """

    start: datetime
    end: datetime
    timezone: str
    objective: float
    prometheus_saw_ratio: float
    late_events: int
    total: Row
    sessions: list[Row]
    groups: list[Row]
    engines: list[Row]
    sources: list[Row]
    losses: list[Loss]
    hour_of_week: list[list[int]]
    recurring: list[Recurring]


# -- one session ----------------------------------------------------------------------------------------------------


# -- rows -----------------------------------------------------------------------------------------------------------


# -- hours of the week ----------------------------------------------------------------------------------------------


# -- the report -----------------------------------------------------------------------------------------------------


def audit(place: Place, config: Config, query: Query, progress: Progress | None = None) -> Audit:
    """The report of a period. `progress` is called with how many sessions of how many are done. Raises LogError."""
    rules, zone = Rules(config), ZoneInfo(query.timezone)
    total, groups, engines, sources = Tally(sessions=0), Sums(), Sums(), Sums()
    rows: list[Row] = []
    lost: list[tuple[Key, int]] = []
    with History(place) as history:
        asked = {"source": query.source, "session": query.session}
        count = history.count(**asked)
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
        late = history.late(query.start, query.end, **asked)
    return Audit(
        start=utc(query.start),
        end=utc(query.end),
        timezone=query.timezone,
        objective=config.slo.objective,
        prometheus_saw_ratio=covered(ran) / max(1, query.end - query.start),
        late_events=late,
        total=row("total", "all", total),
        sessions=sorted(rows, key=lambda each: (each.source or "", each.name)),
        groups=groups.rows("group"),
        engines=engines.rows("engine"),
        sources=sources.rows("source"),
        losses=losses_of(total.losses, rows),
        hour_of_week=hour_of_week(total.disconnects, zone),
        recurring=[Recurring(*key, *when, weeks) for key, found in sorted(recurring(lost, zone).items())
                   for when, weeks in sorted(found.items())],
    )  # fmt: skip


def losses_of(counts: Mapping[str, int], rows: Iterable[Row]) -> list[Loss]:
    """Disconnects by reason, the most frequent first."""
    sessions = Counter(reason for each in rows for reason in each.losses)
    found = [Loss(reason, count, sessions[reason]) for reason, count in counts.items()]
    return sorted(found, key=lambda loss: (-loss.losses, loss.reason))


def wanted(past: Past, meta: Meta, query: Query) -> bool:
    """Whether the session is asked for, and was not deleted before the period."""
    gone = past.tombstone <= query.start and past.points[-1].at <= past.tombstone
    return not gone and query.group in (None, meta.group)


def of_session(past: Past, meta: Meta, one: Tally) -> Row:
    """One session's row."""
    return row("session", past.session, one, source=past.source, engine=past.engine, group=meta.group or None)


def covered(runs: Iterable[tuple[int, int]]) -> int:
    """The total length of spans (ms), overlaps counted once; they must be in order of their beginnings."""
    total = reached = 0
    for begins, ends in runs:
        total += max(0, ends - max(begins, reached))
        reached = max(reached, ends)
    return total
