"""The exporter's own metrics: `wawp_exporter_*`, and the usual `process_*` and `python_*`."""

import os
import platform
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wawp_exporter import __version__
from wawp_exporter.metrics.lateness import Lateness
from wawp_exporter.model.bucket import Histogram
from wawp_exporter.model.outcome import Outcome

REJECTED = "rejected"
REASONS = (
    "bad_signature",
    "missing_signature",
    "bad_token",
    "malformed",
    "too_large",
    "invalid_event",
    "log_unavailable",
)
RESULTS = (
    "restarted",
    "failed",
    "given_up",
    "backoff",
    "under_way",
    "dry_run",
    "recovered",
    "stopped",
    "maintenance",
    "waits_for_login",
    "unknown",
    "no_api",
    "interrupted",
    "not_started",
)
SAY_EVERY_MS = 60_000  # a log line about refused webhooks of one source and reason
PARTS = ("answer", "correction", "deletion", "fold", "judge", "transition")
HANDLING_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DELAY_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class Telemetry:
    """One registry a service; children that the hot path needs are looked up once (`source(name)`)."""

    def __init__(self) -> None:
        # A `_created` series beside each counter doubles them, and Prometheus has no use for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        # Set by each scrape to its instant: the seconds of all statuses are those up to then.
        self.time = Gauge("wawp_exporter_time_seconds", "The exporter's clock (Unix seconds).", registry=registry)
        self._sources: dict[str, SourceTelemetry] = {}
        self.strays = Strays(self)
        registry.register(Webhooks(self._sources, self.strays))
        self.rejected = Counter(
            "wawp_exporter_webhooks_rejected",
            "Webhooks refused, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.unknown_statuses = Counter(
            "wawp_exporter_unknown_statuses",
            "Events whose status is none of the known ones.",
            ["source"],
            registry=registry,
        )
        self.clock_skew = Counter(
            "wawp_exporter_clock_skew_events",
            "Events dated more than 60 s ahead of their receipt; the time of receipt was taken instead.",
            ["source"],
            registry=registry,
        )
        self.webhook_duration = self._durations(
            "wawp_exporter_webhook_duration_seconds", "Time from a webhook's arrival to its answer.", HANDLING_BOUNDS
        )
        self.webhook_delay = self._durations(
            "wawp_exporter_webhook_delay_seconds",
            "Time from an event, by the gateway's clock, to its receipt.",
            DELAY_BOUNDS,
        )
        self.appends = Counter("wawp_exporter_log_appends", "Events appended to the log.", registry=registry)
        self.append_errors = Counter(
            "wawp_exporter_log_append_errors", "Batches that the log refused.", registry=registry
        )
        self.append_duration = self._durations(
            "wawp_exporter_log_append_duration_seconds", "Time to append and commit one batch.", HANDLING_BOUNDS
        )
        self.defects = Counter(
            "wawp_exporter_defects",
            "Errors of the exporter itself that it survived, by the part that found them; each is a bug.",
            ["part"],
            registry=registry,
        )
        for part in PARTS:
            self.defects.labels(part)
        self.api_up = Gauge(
            "wawp_exporter_api_up",
            "Whether the gateway's API answered when it was last asked.",
            ["source"],
            registry=registry,
        )
        self.api_errors = Counter(
            "wawp_exporter_api_errors",
            "Requests to the gateway's API that failed: no answer, an error, or an answer that is not the API's own.",
            ["source"],
            registry=registry,
        )
        self.reconcile_success = Gauge(
            "wawp_exporter_reconcile_last_success_timestamp_seconds",
            "When the gateway last reported the status of all its sessions (Unix seconds).",
            ["source"],
            registry=registry,
        )
        self.gateway_start = Gauge(
            "wawp_exporter_gateway_start_timestamp_seconds",
            "When the gateway was started, as its API says (Unix seconds).",
            ["source"],
            registry=registry,
        )
        self.corrections = Counter(
            "wawp_exporter_reconcile_corrections",
            "Statuses that the gateway's API corrected, because a webhook was missed.",
            ["source"],
            registry=registry,
        )
        self.restarts = Counter(
            "wawp_exporter_restarts",
            "Restarts that Alertmanager asked for, by result.",
            ["source", "result"],
            registry=registry,
        )
        self.upkeep_failures = Counter(
            "wawp_exporter_upkeep_failures",
            "Regular jobs of the exporter that ended with an error, by job; each is tried again at its next time.",
            ["job"],
            registry=registry,
        )
        self.reload_ok = Gauge(
            "wawp_exporter_config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded.",
            registry=registry,
        )
        self.reload_time = Gauge(
            "wawp_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded (Unix seconds).",
            registry=registry,
        )
        build = Gauge(
            "wawp_exporter_build_info",
            "Always 1; which build this is.",
            ["version", "revision", "python"],
            registry=registry,
        )
        build.labels(__version__, os.environ.get("WAWP_EXPORTER_REVISION", ""), platform.python_version()).set(1)

    def _durations(self, name: str, help_text: str, bounds: tuple[float, ...]) -> Histogram:
        """A histogram of seconds that is exported at each scrape."""
        histogram = Histogram(bounds)
        self.registry.register(Durations(name, help_text, histogram))
        return histogram

    def read(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A gauge whose value is asked for at each scrape."""
        Gauge(name, help_text, registry=self.registry).set_function(value)

    def source(self, name: str) -> "SourceTelemetry":
        """The counters of one source; making them sets every series of it to 0."""
        if name not in self._sources:
            self._sources[name] = SourceTelemetry(self, name)
        return self._sources[name]

    def accepted(self) -> dict[str, int]:
        """When this process last accepted a webhook of each source (Unix ms); sources without one are left out."""
        times = {name: round(source.last_accepted * 1000) for name, source in self._sources.items()}
        return {name: at for name, at in times.items() if at}

    def accepted_elsewhere(self, times: Mapping[str, int]) -> None:
        """Takes over when any replica last accepted a webhook of each source (Unix ms)."""
        for name in times.keys() & self._sources.keys():
            self._sources[name].accepted_elsewhere(times[name])

    def gateway(self, name: str) -> "GatewayTelemetry":
        """The series of one source's gateway; a gauge is there once it is set."""
        return GatewayTelemetry(self, name)

    def keep_sources(self, names: Iterable[str]) -> None:
        """Makes the series of configured sources, and removes those of sources that are gone."""
        wanted = set(names)
        for gone in set(self._sources) - wanted:
            del self._sources[gone]
            for metric in (
                self.rejected,
                self.unknown_statuses,
                self.clock_skew,
                self.api_up,
                self.api_errors,
                self.reconcile_success,
                self.gateway_start,
                self.corrections,
                self.restarts,
            ):
                metric.remove_by_labels({"source": gone})
        for name in sorted(wanted):
            self.source(name)


class Durations(Collector):
    """The fleet's kind of histogram as a family: prometheus-client's locks at each observation, two a webhook."""

    def __init__(self, name: str, help_text: str, histogram: Histogram) -> None:
        self._name = name
        self._help = help_text
        self._histogram = histogram

    def collect(self) -> Iterator[Metric]:
        """The counts so far, cumulated."""
        bounds = [*map(floatToGoString, self._histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._histogram.counts), strict=True))
        yield HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=self._histogram.total)


class Webhooks(Collector):
    """The counts of webhooks by source, as families: plain numbers on the hot path, read at a scrape."""

    def __init__(self, sources: "dict[str, SourceTelemetry]", strays: "Strays") -> None:
        self._sources = sources
        self._strays = strays

    def collect(self) -> Iterator[Metric]:
        """The counts so far."""
        answered = CounterMetricFamily(
            "wawp_exporter_webhooks", "Webhooks answered, by outcome.", labels=["source", "outcome"]
        )
        accepted = GaugeMetricFamily(
            "wawp_exporter_last_accepted_timestamp_seconds",
            "When a webhook of the source was last accepted (Unix seconds), 0 if never.",
            labels=["source"],
        )
        over = GaugeMetricFamily(
            "wawp_exporter_names_over_limit",
            "Names over metrics.max_names_per_source: their events are logged and not folded.",
            labels=["source"],
        )
        refused = GaugeMetricFamily(
            "wawp_exporter_refused_since_timestamp_seconds",
            "When a webhook of the source was first refused since one was last accepted (Unix seconds), 0 if none was.",
            labels=["source", "reason"],
        )
        behind = GaugeMetricFamily(
            "wawp_exporter_clock_behind_seconds",
            "By how much the gateway's clock is behind, if all its webhooks of at least 5 minutes are late; else 0.",
            labels=["source"],
        )
        now = round(time.time() * 1000)
        for name, source in self._sources.items():
            accepted.add_metric([name], source.last_accepted)
            behind.add_metric([name], source.lateness.behind(now))
            for reason in REASONS:
                refused.add_metric([name, reason], source.refused.get(reason, 0) / 1000)
            over.add_metric([name], source.names_over)
            for outcome, count in source.outcomes.items():
                answered.add_metric([name, outcome], count)
        if self._strays.count:
            answered.add_metric(["", REJECTED], self._strays.count)
        yield from (answered, accepted, refused, behind, over)


class SourceTelemetry:
    """The series of one source, ready to be counted on. `last_accepted` is in Unix seconds.

    `refused` has when a webhook was first refused since one was last accepted (Unix ms), by reason, and `refusals` how
    many were.
    """

    def __init__(self, telemetry: Telemetry, name: str) -> None:
        self.outcomes = dict.fromkeys((*map(str, Outcome), REJECTED), 0)
        self.last_accepted = 0.0
        self.names_over = 0
        self.refused: dict[str, int] = {}
        self.refusals: Counts[str] = Counts()
        self._said: dict[str, int] = {}
        self._unsaid: Counts[str] = Counts()
        self.lateness = Lateness()
        self.reasons = {reason: telemetry.rejected.labels(name, reason) for reason in REASONS}
        self.unknown_statuses = telemetry.unknown_statuses.labels(name)
        self.clock_skew = telemetry.clock_skew.labels(name)

    def exceed(self) -> None:
        """A name is over the limit; how many are is counted in the log, now and then."""
        self.names_over = max(1, self.names_over)

    def accept(self, outcome: Outcome, received_at: int) -> None:
        """Counts an accepted webhook, received at `received_at` (Unix ms)."""
        self.outcomes[outcome] += 1
        self.last_accepted = received_at / 1000
        if self.refused:
            self.refused.clear()
            self.refusals.clear()

    def accepted_elsewhere(self, at: int) -> None:
        """Another replica has accepted a webhook at `at` (Unix ms)."""
        self.refused = {reason: since for reason, since in self.refused.items() if since > at}
        self.refusals = Counts({reason: self.refusals[reason] for reason in self.refused})

    def reject(self, reason: str) -> None:
        """Counts a refusal under both names."""
        self.outcomes[REJECTED] += 1
        self.reasons[reason].inc()

    def refuse(self, reason: str, at: int) -> int:
        """Notes that a webhook which may well be the gateway's was refused at `at` (Unix ms).

        How many the log has to tell of now, this one included: the first at once, then all others once in SAY_EVERY_MS.
        """
        self.refused.setdefault(reason, at)
        self.refusals[reason] += 1
        self._unsaid[reason] += 1
        if 0 <= at - self._said.get(reason, -SAY_EVERY_MS) < SAY_EVERY_MS:
            return 0
        self._said[reason] = at
        return self._unsaid.pop(reason)


class Strays:
    """Requests under /webhook that belong to no source, with the label `source=""`; the series begin with the first.

    Their reasons are `unknown_source` and `method`. The URL is no label, as anybody can send any.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.count = 0

    def reject(self, reason: str) -> None:
        """Counts one under both names."""
        self.count += 1
        self._telemetry.rejected.labels("", reason).inc()


class GatewayTelemetry:
    """The series of one source's gateway; only the replica that asks the gateway exports them."""

    def __init__(self, telemetry: Telemetry, name: str) -> None:
        self._telemetry = telemetry
        self._name = name
        self.corrections = telemetry.corrections.labels(name)
        self.errors = telemetry.api_errors.labels(name)
        for result in RESULTS:
            telemetry.restarts.labels(name, result)

    @property
    def up(self) -> Gauge:
        """`wawp_exporter_api_up`."""
        return self._telemetry.api_up.labels(self._name)

    @property
    def last_success(self) -> Gauge:
        """`wawp_exporter_reconcile_last_success_timestamp_seconds`."""
        return self._telemetry.reconcile_success.labels(self._name)

    @property
    def started_at(self) -> Gauge:
        """`wawp_exporter_gateway_start_timestamp_seconds`."""
        return self._telemetry.gateway_start.labels(self._name)

    def clear(self) -> None:
        """Removes the gauges: another replica asks the gateway now, and this one's values grow old."""
        for metric in (self._telemetry.api_up, self._telemetry.reconcile_success, self._telemetry.gateway_start):
            metric.remove_by_labels({"source": self._name})
