"""`GET /metrics`: which format and encoding a scraper gets."""

import pytest

from wawp_exporter.web.scrape import accepts_gzip, prefers_openmetrics


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
