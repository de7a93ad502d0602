"""Whether a replica has counted what it did."""

from collections import defaultdict
from collections.abc import Container, Iterator

from soak import log
from soak.series import Series, of
from soak.world import Replica

OUTCOMES = ("transition", "repeat", "duplicate", "late", "ignored")
SOURCES = ("default", "b", "old")
APPROXIMATELY_S = 0.5
Wrong = Iterator[tuple[str, str]]


def counters_wrong(replica: Replica, series: Series, deleted: Container[log.Session]) -> Wrong:
    """All of it but what only one process with a log of its own can know. `deleted`: sessions that ever were."""
    yield from answers_wrong(replica, series)
    yield from rejections_wrong(series)
    yield from fallen(replica, series)
    yield from seconds_wrong(replica, series, deleted)


def answers_wrong(replica: Replica, series: Series) -> Wrong:
    """Each answer was counted once; what became of a request without an answer is not known."""
    for source in SOURCES:
        for outcome in OUTCOMES:
            labels = (("outcome", outcome), ("source", source))
            told, seen = series["wawp_exporter_webhooks_total", labels], replica.life.outcomes[source, outcome]
            if not seen <= told <= seen + replica.life.unknown:
                yield "counters", f"{source} {outcome}: {told} counted, {seen} seen, {replica.life.unknown} not known"


def rejections_wrong(series: Series) -> Wrong:
    """Each refusal has one reason."""
    reasons: defaultdict[str, float] = defaultdict(float)
    for labels, value in of(series, "wawp_exporter_webhooks_rejected_total"):
        reasons[labels["source"]] += value
    for source in SOURCES:
        told = series["wawp_exporter_webhooks_total", (("outcome", "rejected"), ("source", source))]
        if told != reasons[source]:
            yield "counters", f"{source}: {told} rejected, {reasons[source]} by reason"


def fallen(replica: Replica, series: Series) -> Wrong:
    """A counter never falls during a life; those of a session may end with it."""
    for name, value in lasting(series).items():
        if value < replica.life.counters.get(name, 0) - 1e-6:
            yield "counters", f"{name} fell from {replica.life.counters[name]} to {value}"


def lasting(series: Series) -> dict[str, float]:
    """The counters that are there as long as the process."""
    return {
        f"{name}{labels}": value
        for (name, labels), value in series.items()
        if name.endswith(("_total", "_bucket", "_count")) and not name.startswith(("wawp_session_", "python_"))
    }


def seconds_wrong(replica: Replica, series: Series, deleted: Container[log.Session]) -> Wrong:
    """The seconds of a session in its statuses grow as time does; of one that was deleted they may begin anew."""
    life = replica.life
    (first, _), (_, last) = life.looked_at, life.scraped
    (_, earliest), (latest, _) = life.looked_at, life.scraped
    for session, total in seconds_of(series).items():
        before = life.seconds.get(session)
        if before is None or session in deleted:
            continue
        if not latest - earliest - APPROXIMATELY_S <= total - before <= last - first + APPROXIMATELY_S:
            yield "seconds", f"{session}: {total - before:.2f} s were counted in {latest - earliest:.2f} s"


def seconds_of(series: Series) -> dict[log.Session, float]:
    """How long each session has been in any status."""
    found: defaultdict[log.Session, float] = defaultdict(float)
    for labels, value in of(series, "wawp_session_status_seconds_total"):
        found[labels["source"], labels["session"]] += value
    return dict(found)


def remember(replica: Replica, series: Series) -> None:
    """What the next look compares with."""
    life = replica.life
    life.counters, life.seconds, life.looked_at = lasting(series), seconds_of(series), life.scraped


def appends_wrong(replica: Replica, series: Series, url: str) -> Wrong:
    """Each row since the start was counted once; only where no other process writes."""
    told, came = series["wawp_exporter_log_appends_total", ()], log.rows(url, above=replica.life.first_row)[0]
    if told != came:
        yield "counters", f"{told} appends counted, {came} rows came"
