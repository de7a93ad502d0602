"""The exporter's own gauges that are read from its parts at each scrape."""

from collections.abc import Callable
from contextlib import suppress

from wawp_exporter.service.jobs import Jobs
from wawp_exporter.service.parts import Parts


def register(parts: Parts, jobs: Jobs) -> None:
    """Adds them to the registry. None of them waits for another machine: those figures are looked up by a job."""
    read, log = parts.telemetry.read, parts.log
    read("wawp_exporter_queue_depth", "Events that wait to be appended.", lambda: parts.ingest.depth)
    read(
        "wawp_exporter_log_size_bytes",
        "Bytes that the log takes on disk.",
        (lambda: jobs.log_bytes) if log.shared else kept(log.sizes.log_bytes),
    )
    if log.shared:
        read(
            "wawp_exporter_log_follow_lag_seconds",
            "For how long this replica has not been known to hold all of the log.",
            lambda: parts.follower.lag if parts.follower else 0,
        )
    else:
        read("wawp_exporter_log_free_bytes", "Bytes that are left for the log.", kept(log.sizes.free_bytes))
        read("wawp_exporter_log_disk_bytes", "Bytes of the disk under the log.", kept(log.sizes.disk_bytes))
    read(
        "wawp_exporter_log_oldest_event_timestamp_seconds",
        "When the oldest logged event was received (Unix seconds), 0 for an empty log.",
        lambda: jobs.oldest_event / 1000,
    )


def kept(look: Callable[[], int | None]) -> Callable[[], int]:
    """What `look` gives; while the system cannot say it, such as of a disk that was taken away, what it gave last.

    A scrape must not fail then: all alerts about sessions would stop, and the one that is right would not begin.
    """
    last = 0

    def read() -> int:
        nonlocal last
        with suppress(OSError):
            last = look() or 0
        return last

    return read
