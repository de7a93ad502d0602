"""The rows of an audit: one session's figures, or those of many added up."""

from statistics import median

import msgspec

from wawp_exporter.audit.figures import Tally
from wawp_exporter.model.bucket import STATUSES
from wawp_exporter.model.event import Status
from wawp_exporter.model.outcome import StartOutcome


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
    losses: dict[str, int]
    mttr_seconds: float | None
    mtbf_seconds: float | None
    longest_outage_seconds: float
    longest_outage_ongoing: bool
    status_seconds: dict[Status, float]
    starts: dict[StartOutcome, int]
    start_median_seconds: float | None
    start_p90_seconds: float | None
    start_max_seconds: float | None
    cold_starts: dict[StartOutcome, int]
    cold_start_p90_seconds: float | None
    reconnects: dict[StartOutcome, int]
    reconnect_p90_seconds: float | None
    qr_waits: dict[str, int]
    qr_wait_median_seconds: float | None
    qr_wait_max_seconds: float | None


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
        losses=dict(found.losses),
        mttr_seconds=sum(found.recoveries) / len(found.recoveries) if found.recoveries else None,
        mtbf_seconds=found.good / len(found.disconnects) if found.disconnects else None,
        longest_outage_seconds=found.longest,
        longest_outage_ongoing=found.ongoing,
        status_seconds={status: found.status[status] for status in STATUSES if status in found.status},
        starts=dict(found.starts),
        start_median_seconds=median(found.start_lengths) if found.start_lengths else None,
        start_p90_seconds=quantile(found.start_lengths, 0.9),
        start_max_seconds=max(found.start_lengths, default=None),
        cold_starts=dict(found.cold),
        cold_start_p90_seconds=quantile(found.cold_lengths, 0.9),
        reconnects=dict(found.reconnects),
        reconnect_p90_seconds=quantile(found.reconnect_lengths, 0.9),
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
