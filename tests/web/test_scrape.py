"""`GET /metrics`: which format and encoding a scraper gets."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.served import Inside, rest, soon
from wawp_exporter.live.pace import Pace
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.web import scrape
from wawp_exporter.web.scrape import MANY_HISTOGRAMS, MAX_SCRAPES, accepts_gzip, in_openmetrics, prefers_openmetrics

# As Prometheus 3 with scrape_native_histograms asks.
ACCEPT = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
        ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", False),
        ("text/plain;q=0.5,application/openmetrics-text;version=1.0.0;q=0.5", True),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=x", False),
        ("application/openmetrics-text;version=1.0.0;q=much", False),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ("application/json", False),
        ("nonsense;;;q=,", False),
    ],
)  # fmt: skip
def test_the_format_is_what_was_accepted(accept: str, is_openmetrics: bool) -> None:
    """Prometheus asks for OpenMetrics, people's browsers get text."""
    assert prefers_openmetrics(accept) is is_openmetrics


@pytest.mark.parametrize(
    ("histograms", "accept", "is_openmetrics"),
    [
        (MANY_HISTOGRAMS, ACCEPT, True),
        (MANY_HISTOGRAMS + 1, ACCEPT, False),
        (10**6, "application/openmetrics-text;version=1.0.0", True),
        (10**6, "application/openmetrics-text;version=1.0.0,text/plain;q=0", True),
        (10**6, "application/openmetrics-text;version=1.0.0,*/*;q=0.1", True),
    ],
)
def test_many_histograms_are_plain_text_where_that_is_named(histograms: int, accept: str, is_openmetrics: bool) -> None:
    """A Prometheus that converts them would read OpenMetrics for minutes."""
    assert in_openmetrics(accept, histograms) is is_openmetrics


def test_each_session_has_seven_histograms_unless_they_are_switched_off() -> None:
    """Before the first scrape too, when nothing has been rendered yet."""
    for switch, expected in ((True, 5 * 7), (False, 7)):
        fleet = builders.make_fleet(metrics={"session_histograms": switch})
        for number in range(5):
            builders.apply(fleet, builders.event("WORKING", 0, key=("default", f"session-{number}")))

        assert Exposition(fleet, Telemetry()).histograms == expected


def test_the_fleet_has_seven_histograms_for_each_engine() -> None:
    """Of each source; with many of them its families are the largest."""
    fleet = builders.make_fleet(metrics={"session_histograms": False})
    for engine in ("GOWS", "NOWEB", "WEBJS"):
        builders.apply(fleet, builders.event("WORKING", 0, key=("default", engine), engine=engine))

    assert Exposition(fleet, Telemetry()).histograms == 3 * 7


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("br;q=1, identity;q=0.5", False),
    ],
)
def test_the_encoding_is_what_was_accepted(header: str, accepted: bool) -> None:
    """A quality of 0 is a no."""
    assert accepts_gzip(header) is accepted


def test_scrapes_that_nobody_reads_give_way_to_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds some megabytes of a large fleet, and a thousand connections may ask; Prometheus comes through."""

    async def endless(*_: Any) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await Pace().rest()

    with Inside(tmp_path, {}) as service, ExitStack() as stack:
        monkeypatch.setattr(scrape, "paced", endless)
        asked = [stack.enter_context(service.connect()) for _ in range(MAX_SCRAPES + 1)]
        for number, each in enumerate(asked[:-1]):
            each.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            soon(lambda n=number: sum(held.write_paused for held in service.connections) == n + 1)
        asked[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert asked[-1].recv(15) == b"HTTP/1.1 200 OK"
        soon(lambda: len(service.connections) == MAX_SCRAPES)
        assert rest(asked[0]).startswith(b"HTTP/1.1 200 OK")
