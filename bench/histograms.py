"""What histograms of every session cost the newest Prometheus: classic, as native ones, and without them."""

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.capacity import resident
from bench.results import Result
from bench.rules import fill
from bench.servers import GZIP, timed_get
from bench.usage import cpu_s, peak
from tests import parts
from wawp_exporter.setup import histograms, versions

SESSIONS, INTERVAL_S, SCRAPES = 10_000, 15, 4
TROUBLED = 0.05  # the share of sessions that are in trouble, and so have seen more than STARTING and WORKING
NEWEST = "forky" if parts.find("prometheus", "forky") else "trixie"
JOB: dict[str, Any] = {"job_name": "wawp-exporter"}


@dataclass(frozen=True, slots=True)
class Stored:
    """What one Prometheus has after some scrapes: bytes are its peak; seconds are of one scrape."""

    series: float
    samples: float
    memory: float
    took: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.series:,.0f} series, {self.memory / 1e9:.2f} GB"


def exporter_of(sessions: int, with_histograms: bool) -> parts.Exporter:
    """One that shows all its sessions."""
    metrics = {"session_histograms": with_histograms, "max_sessions": 2 * sessions}
    return parts.Exporter({"metrics": metrics, "log": {"level": "error"}})


def stored(exporter: parts.Exporter, interval: int, scrapes: int, native: bool) -> Stored:
    """Scrapes an exporter with a Prometheus of its own."""
    version = versions.installed([str(parts.require("prometheus", NEWEST))]) or versions.PROMETHEUS.current
    every = {"scrape_interval": f"{interval}s", "scrape_timeout": f"{interval}s"}
    job = {**JOB, **every, **(histograms.keys(version) if native else {})}
    config = {"scrape_configs": [{**job, "static_configs": [{"targets": [exporter.address]}]}]}
    flags = histograms.flags(version) if native else []
    with parts.Prometheus(config, flags=flags, version=NEWEST) as server:
        counted = f"count_over_time(up[1h]) >= {scrapes} and up == 1"
        parts.wait_until(lambda: server.query(counted), "the scrapes", timeout=60 + 3 * interval * scrapes)
        took = server.value("max_over_time(scrape_duration_seconds[1h])")
        samples = server.value("scrape_samples_post_metric_relabeling")
        series = measure(server, "prometheus_tsdb_head_series")
        return Stored(series, samples, peak(server.pid), took, cpu_s(server.pid) / scrapes)


def measure(server: parts.Prometheus, name: str) -> float:
    """What Prometheus says about itself."""
    text = server.client.get(f"{server.url}/metrics").text
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1))  # type: ignore[union-attr]  # always there


def scraped(exporter: parts.Exporter) -> tuple[float, int, int]:
    """Seconds of a scrape as text that is compressed, and its bytes with and without compression."""
    _, size = timed_get(f"{exporter.url}/metrics", GZIP)
    plain = timed_get(f"{exporter.url}/metrics", {**GZIP, "Accept-Encoding": "identity"})[1]
    return statistics.median(timed_get(f"{exporter.url}/metrics", GZIP)[0] for _ in range(5)), size, plain


def exporters(sessions: int, scrape: float, size: int, plain: int, memory: int) -> list[Result]:
    """What the exporter itself needs."""
    text = f"{scrape * 1000:.0f} ms, {size / 1e6:.1f} MB ({plain / 1e6:.0f} MB as text)"
    return [
        Result(f"exporter: scrape of {sessions:,} sessions with histograms (ms)", text, "", scrape * 1000, 1000, True),
        Result("exporter: memory with histograms (MB)", f"{memory / 1e6:.0f} MB", "", memory / 1e6),
    ]


def compared(sessions: int, interval: int, found: Mapping[str, Stored]) -> list[Result]:
    """Native ones against classic ones, and against none."""
    native, classic, none = found["native"], found["classic"], found["none"]
    name = f"Prometheus, {sessions:,} sessions:"
    return [
        Result(f"{name} series, native ← classic", str(native), str(classic), classic.series / native.series, 3.5),
        Result(f"{name} memory, native ← classic", str(native), str(classic), classic.memory / native.memory),
        Result(f"{name} series, native against none", str(native), str(none), native.series / none.series, 1.4, True),
        Result(f"{name} memory, native against none", str(native), str(none), native.memory / none.memory),
        Result(
            f"{name} slowest scrape, native ← classic (s of {interval})",
            f"{native.took:.1f} s, {native.cpu:.1f} s CPU",
            f"{classic.took:.1f} s, {classic.cpu:.1f} s CPU",
            native.took,
            interval,
            True,
        ),
    ]


def run(quick: bool) -> list[Result]:
    """A small fleet in quick mode."""
    sessions, interval, scrapes = (1000, 3, 3) if quick else (SESSIONS, INTERVAL_S, SCRAPES)
    found: dict[str, Stored] = {}
    with exporter_of(sessions, True) as exporter:
        fill(exporter, sessions, TROUBLED)
        own = (*scraped(exporter), resident(exporter))
        found["classic"] = stored(exporter, interval, scrapes, False)
        found["native"] = stored(exporter, interval, scrapes, True)
    with exporter_of(sessions, False) as exporter:
        fill(exporter, sessions, TROUBLED)
        found["none"] = stored(exporter, interval, scrapes, False)
    return [*exporters(sessions, *own), *compared(sessions, interval, found)]
