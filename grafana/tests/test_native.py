"""Histograms as Prometheus stores them: classic, or native ones made of them (`convert_classic_histograms_to_nhcb`)."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.tests import boards
from grafana.tests.boards import Query
from tests import parts
from wawp_exporter.setup import histograms, versions

# Ten observations, all from 10 to 20 s, between two scrapes.
SAMPLES = [f"{{{{schema:-53 sum:{15 * n} count:{n} custom_values:[10 20] buckets:[0 {n} 0]}}}}" for n in (0, 0, 10, 10)]
VALUES = {"job": ".*", "source": ".*", "engine": ".*", "session": ".*"}
ONE = {"job": "wawp-exporter", "source": "default", "engine": ".*", "session": "phone"}
READS = re.compile(r"\b(wawp_\w+_duration_seconds|wawp_exporter_webhook_delay_seconds)(_\w+)?\b")
# Seconds after which it comes into each status. Half of what is observed lies in no gap between two buckets, where one
# quantile has two right values.
STORY = (
    ("WORKING", 20), ("FAILED", 400), ("STARTING", 15), ("WORKING", 70), ("SCAN_QR_CODE", 900), ("STARTING", 45),
    ("WORKING", 20), ("FAILED", 1300), ("STARTING", 200), ("WORKING", 8), ("SCAN_QR_CODE", 90), ("STARTING", 150),
    ("WORKING", 33), ("FAILED", 700), ("STARTING", 5), ("WORKING", 12), ("SCAN_QR_CODE", 80), ("STARTING", 300),
    ("WORKING", 25), ("FAILED", 500), ("WORKING", 40),
)  # fmt: skip


def asked(query: Query) -> dict[str, object]:
    """The query with the value that is right: what lies between the edges is taken to be spread evenly."""
    share = float(re.search(r"histogram_quantile\((0\.\d+)", query.expr)[1])  # type: ignore[index]
    labels = '{status="WORKING"}' if "by (status)" in query.expr else "{}"
    return {
        "expr": boards.put_in(query.expr.replace('="$', '=~"$'), VALUES, 3600, 300, 60),
        "eval_time": "3m",
        "exp_samples": [{"labels": labels, "value": 10 + 10 * share}],
    }


def test_quantiles_are_of_native_histograms_too(tmp_path: Path) -> None:
    """Two replicas observe the same of the fleet, and the exporter's own each for itself; both give one figure."""
    found = [query for query in boards.queries() if "_bucket" in query.expr]
    metrics = {name for query in found for name in re.findall(r"(\w+)_bucket", query.expr)}
    labels = 'job="wawp-exporter",source="default",engine="GOWS",outcome="working",session="phone",status="WORKING"'
    series = [
        {"series": f'{metric}{{{labels},instance="{instance}"}}', "values": " ".join(SAMPLES)}
        for metric in sorted(metrics)
        for instance in ("a:1", "b:1")
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": [asked(query) for query in found]}
    file = tmp_path / "native.json"
    file.write_text(json.dumps({"evaluation_interval": "1m", "tests": [case]}))
    promtool = parts.require("promtool", "forky")
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)

    assert len(found) == 14
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> Iterator[tuple[str, str]]:
    """Everything shipped that reads a histogram: queries of dashboards, and expressions of rules, with its name."""
    for query in boards.queries():
        if READS.search(query.expr):
            yield query.name, boards.put_in(query.expr, ONE, 3600, 3600, 60)
    for path in sorted((parts.ROOT / "alerts").glob("*.rules.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if READS.search(rule["expr"]):
                    yield rule.get("record") or rule["alert"], rule["expr"]


def prometheus(exporter: parts.Exporter, release: str) -> parts.Prometheus:
    """One that stores histograms as `setup` lets this release do it."""
    version = versions.installed([str(parts.require("prometheus", release))])
    assert version is not None
    native = version >= histograms.SOUND_SINCE
    job = {
        "job_name": "wawp-exporter",
        "scrape_interval": "1s",
        "static_configs": [{"targets": [exporter.address]}],
        **(histograms.keys(version) if native else {}),
    }
    flags = histograms.flags(version) if native else []
    return parts.Prometheus({"scrape_configs": [job]}, flags=flags, version=release)


def lives(exporter: parts.Exporter, at: int) -> None:
    """Sends the story, whose first status began at `at`."""
    for status, stay in STORY:
        at += stay * 1000
        exporter.post(parts.envelope(session="phone", status=status, timestamp=at)).raise_for_status()


def answer(server: parts.Prometheus, expr: str) -> dict[str, float]:
    """The values of a query, by their labels."""
    return {
        " ".join(f"{name}={value}" for name, value in sorted(each["metric"].items())): float(each["value"][1])
        for each in server.query(expr)
    }


def near(name: str, values: dict[str, float]) -> Any:
    """Quantiles are equal; an increase is extrapolated, by the times of scrapes, which are each server's own."""
    return pytest.approx(values, rel=0.5 if "increase" in name else 0.001)


def scraped(servers: Mapping[str, parts.Prometheus], webhooks: int, times: int = 1) -> None:
    """Waits until each has seen as many webhooks, and has scraped so often."""
    for name, server in servers.items():
        often = f"count_over_time(wawp_exporter_time_seconds[1h]) >= {times}"
        seen = f"sum(wawp_exporter_webhooks_total) == {webhooks} and on () {often}"
        parts.wait_until(partial(server.query, seen), f"a scrape by {name}")


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, parts.Prometheus]]:
    """One exporter, and each Prometheus that has scraped it before and after the story: every histogram began at 0."""
    begin = parts.A_MINUTE_AGO - 2 * 3600_000
    with parts.Exporter() as exporter, ExitStack() as stack:
        started = {name: stack.enter_context(prometheus(exporter, name)) for name in parts.VERSIONS}
        scraped(started, 0)
        exporter.post(parts.envelope(session="phone", status="STARTING", timestamp=begin)).raise_for_status()
        scraped(started, 1)
        lives(exporter, begin)
        scraped(started, 1 + len(STORY), times=5)
        yield started


def test_histograms_are_one_series_where_prometheus_converts_them(servers: Mapping[str, parts.Prometheus]) -> None:
    """Debian 12 and 13 have buckets, sums and counts; the newest has one series instead of 15."""
    count = '{__name__=~"wawp_session_status_duration_seconds.*"}'

    assert {name: len(server.query(count)) for name, server in servers.items()} == {
        "bookworm": 7 * 15,
        "trixie": 7 * 15,
        "forky": 7,
    }


@pytest.mark.parametrize(("name", "expr"), list(expressions()), ids=[name for name, _ in expressions()])
def test_every_prometheus_gives_the_same_figures(name: str, expr: str, servers: Mapping[str, parts.Prometheus]) -> None:
    """Whatever the form in which it has histograms: queries of dashboards, recordings and alerts."""
    classic, trixie, native = (answer(servers[release], expr) for release in ("bookworm", "trixie", "forky"))

    assert native
    assert native == near(name, classic)
    assert trixie == near(name, classic)
