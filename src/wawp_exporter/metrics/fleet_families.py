"""The metrics of the whole fleet, one entry each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from wawp_exporter.metrics.shelf import Shelf
from wawp_exporter.metrics.text import Family, escape, histogram_lines
from wawp_exporter.model.bucket import ORDINAL, Bucket
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.sessions import group_counts

KINDS = ("starting", "failed", "qr_escalate", "qr_unattended", "down", "silent", "undelivered", "feed_silence")


# -- the fleet ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetFamily:
    """A metric of the whole fleet: its samples are rendered at each scrape, they are few."""

    family: Family
    lines: Callable[[Fleet, Sequence[Bucket], Shelf], Iterable[str]]

    def text(self, fleet: Fleet, buckets: Sequence[Bucket], shelf: Shelf, is_openmetrics: bool) -> bytes:
        """Header and samples."""
        return self.family.header(is_openmetrics) + "".join(self.lines(fleet, buckets, shelf)).encode()


def shard_label(fleet: Fleet) -> str:
    """The shard, where there are several."""
    shard = fleet.rules.shard
    return f',shard="{shard.index}"' if shard.total > 1 else ""


def bucket_labels(fleet: Fleet, bucket: Bucket) -> str:
    """source, engine and shard."""
    return f'source="{escape(bucket.source)}",engine="{escape(bucket.engine)}"{shard_label(fleet)}'


def by_status(name: str, value: Callable[[Bucket, int], str]) -> Callable[..., Iterator[str]]:
    """Renders one line a bucket and status."""

    def lines(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for bucket in buckets:
            labels = bucket_labels(fleet, bucket)
            for status in bucket.statuses():
                yield f'{name}{{{labels},status="{status.value}"}} {value(bucket, ORDINAL[status])}\n'

    return lines


def fleet_transitions(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Every pair of statuses from the start: PromQL's `increase` does not see the first step of a new series."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        statuses = bucket.statuses()
        for before in (None, *statuses):
            for after in statuses:
                if after is not before:
                    count = bucket.transitions.get((before, after), 0)
                    name = before.value if before else "NONE"
                    yield f'wawp_transitions_total{{{labels},from="{name}",to="{after.value}"}} {count}\n'


def fleet_slo(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Good, bad and excluded seconds."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        for result, total in bucket.slo.items():
            yield f'wawp_slo_seconds_total{{{labels},result="{result.value}"}} {total:.3f}\n'


def fleet_stays(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Lengths of finished stays."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        for status in bucket.statuses():
            histogram = bucket.stays[ORDINAL[status]]
            yield histogram_lines("wawp_status_duration_seconds", f'{labels},status="{status.value}"', histogram)


def by_outcome(name: str, attribute: str) -> Callable[..., Iterator[str]]:
    """Renders one histogram a bucket and outcome."""

    def lines(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for bucket in buckets:
            labels = bucket_labels(fleet, bucket)
            for outcome, histogram in getattr(bucket, attribute).items():
                yield histogram_lines(name, f'{labels},outcome="{outcome.value}"', histogram)

    return lines


def fleet_recoveries(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """From leaving WORKING until WORKING again."""
    for bucket in buckets:
        yield histogram_lines("wawp_recovery_duration_seconds", bucket_labels(fleet, bucket), bucket.recovery)


def group_lines(name: str, index: int) -> Callable[..., Iterator[str]]:
    """Renders one count of each group."""

    def lines(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for group, *counts in group_counts(fleet):
            yield f'{name}{{group="{escape(group)}"{shard_label(fleet)}}} {counts[index]}\n'

    return lines


def configured_members(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """The members of each group by the configuration, on whichever shard they are."""
    for group, members in fleet.rules.groups.items():
        yield f'wawp_group_configured_sessions{{group="{escape(group)}"}} {len(members)}\n'


def default_thresholds(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """The limits of sessions without limits of their own."""
    config = fleet.rules.config
    for source in config.sources:
        for kind in KINDS:
            value = getattr(config.thresholds, kind)
            yield f'wawp_threshold_default_seconds{{source="{escape(source)}",kind="{kind}"}} {value:.3f}\n'


def objectives(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """The objective of each source."""
    config = fleet.rules.config
    for source in config.sources:
        yield f'wawp_slo_objective_ratio{{source="{escape(source)}"}} {config.slo.objective}\n'


def dropped_lines(fleet: Fleet, _buckets: Sequence[Bucket], shelf: Shelf) -> Iterator[str]:
    """How many sessions are counted but have no series of their own."""
    shard = shard_label(fleet).removeprefix(",")
    yield f"wawp_sessions_dropped{f'{{{shard}}}' if shard else ''} {shelf.dropped}\n"


FLEET_FAMILIES = (
    FleetFamily(
        Family("wawp_sessions", "gauge", "Sessions in each status."),
        by_status("wawp_sessions", lambda bucket, index: str(bucket.counts[index])),
    ),
    FleetFamily(
        Family("wawp_transitions_total", "counter", "Changes of status; from is NONE for a session's first."),
        fleet_transitions,
    ),
    FleetFamily(
        Family("wawp_status_seconds_total", "counter", "Seconds that sessions spent in each status."),
        by_status("wawp_status_seconds_total", lambda bucket, index: f"{bucket.seconds[index]:.3f}"),
    ),
    FleetFamily(
        Family(
            "wawp_slo_seconds_total",
            "counter",
            "Seconds of sessions by how they count towards the objective.",
        ),
        fleet_slo,
    ),
    FleetFamily(
        Family("wawp_status_duration_seconds", "histogram", "Length of each finished stay in a status."),
        fleet_stays,
    ),
    FleetFamily(
        Family(
            "wawp_start_duration_seconds", "histogram", "Length of each STARTING, by how it ended; not in maintenance."
        ),
        by_outcome("wawp_start_duration_seconds", "starts"),
    ),
    FleetFamily(
        Family("wawp_qr_wait_duration_seconds", "histogram", "Length of each login episode, by how it ended."),
        by_outcome("wawp_qr_wait_duration_seconds", "qr_waits"),
    ),
    FleetFamily(
        Family("wawp_recovery_duration_seconds", "histogram", "Time from leaving WORKING until WORKING again."),
        fleet_recoveries,
    ),
    FleetFamily(Family("wawp_group_sessions", "gauge", "Members of the group."), group_lines("wawp_group_sessions", 0)),
    FleetFamily(
        Family("wawp_group_eligible_sessions", "gauge", "Members that are neither STOPPED nor in maintenance."),
        group_lines("wawp_group_eligible_sessions", 1),
    ),
    FleetFamily(
        Family("wawp_group_working_sessions", "gauge", "Eligible members that are WORKING."),
        group_lines("wawp_group_working_sessions", 2),
    ),
    FleetFamily(
        Family("wawp_group_configured_sessions", "gauge", "Members of the group on all shards."), configured_members
    ),
    FleetFamily(
        Family("wawp_threshold_default_seconds", "gauge", "Limits where a session has none of its own; 0 is off."),
        default_thresholds,
    ),
    FleetFamily(
        Family("wawp_slo_objective_ratio", "gauge", "The share of counted seconds that should be WORKING."),
        objectives,
    ),
    FleetFamily(
        Family(
            "wawp_sessions_dropped",
            "gauge",
            "Sessions without series of their own, over metrics.max_sessions.",
        ),
        dropped_lines,
    ),
)
