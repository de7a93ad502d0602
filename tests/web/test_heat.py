"""The heatmap of the pages: its lines, labels, axis and figures."""

import json

import pytest

from tests.builders import live, make_fleet
from wawp_exporter.audit.heatmap import CODE, LINES, Drawing, Line, draw_lines, merged, share
from wawp_exporter.model.event import Status
from wawp_exporter.model.session import Session
from wawp_exporter.web.pages.axis import LAST, ticks
from wawp_exporter.web.pages.heat import Heat, heat_of

W, F, X = Status.WORKING, Status.FAILED, Status.STOPPED
HOUR = 3_600_000
NOW = 1_795_000_123_456


def fleet(count: int) -> list[Session]:
    """So many sessions."""
    made = make_fleet()
    for number in range(count):
        live(("WORKING", 0), key=("default", f"s-{number:04}"), fleet=made)
    return list(made.sessions.values())


def heat(count: int) -> Heat:
    """A day of so many sessions, all of them up but for an hour."""
    sessions = fleet(count)
    rows = {session.key: Line(bytes([CODE[W]] * 96), 82_800.0, 3_600.0) for session in sessions}
    paths, gaps = draw_lines([line.cells for line in rows.values()])
    return heat_of("24h", sessions, NOW, Drawing(NOW, paths, gaps, rows), "24h-x", "")


def test_trouble_of_any_session_is_seen_in_a_line_that_several_share() -> None:
    """Else a line of ten sessions would hide the one that is down."""
    rows = [bytes([CODE[W], CODE[W], 0]), bytes([CODE[F], CODE[W], 0]), bytes([CODE[W], CODE[X], CODE[W]])]

    assert merged(rows, 3) == [bytes([CODE[F], CODE[W], CODE[W]])]
    assert merged(rows, 2) == [bytes([CODE[F], CODE[W], 0]), rows[2]]


@pytest.mark.parametrize(
    ("count", "size", "lines"), [(1, 1, 1), (40, 1, 40), (480, 1, 480), (481, 2, 241), (5000, 11, 455)]
)
def test_a_page_draws_a_bounded_number_of_lines(count: int, size: int, lines: int) -> None:
    """Whatever happened to five thousand sessions."""
    drawn = heat(count)

    assert (share(count), drawn.lines) == (size, lines)
    assert drawn.lines <= LINES
    assert len(json.loads(drawn.data)) == lines
    assert len(drawn.labels) == (count if count <= 40 else drawn.px // 22)


def test_uptime_is_of_each_session_and_of_all() -> None:
    """As an audit of the same time counts it."""
    drawn = heat(3)

    assert drawn.uptime(("default", "s-0001")) == drawn.uptime_of_all == 23 / 24
    assert drawn.uptime(("default", "absent")) is None


def test_the_legend_has_what_occurs() -> None:
    """In the past, and now; also where a browser has the past already."""
    drawn = heat(2)
    kept = heat_of("24h", drawn.sessions, NOW, drawn.drawing, "24h-x", drawn.stamp)

    assert kept.kept
    assert drawn.occurs == kept.occurs == {W}
    assert not kept.gaps


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("name", ["1h", "24h", "7d", "30d"])
def test_ticks_are_at_round_times_of_the_zone(name: str, zone: str) -> None:
    """An operator reads 14:00, not 13:47."""
    drawn = heat_of(name, fleet(1), NOW, None)
    found = ticks(name, drawn.start, drawn.end, zone)

    assert 3 <= len(found) <= 8
    assert all(0 <= tick.x <= LAST for tick in found)
    assert all(tick.words.endswith("0") or not tick.words[0].isdigit() or " " in tick.words for tick in found)


def test_a_day_of_which_the_clock_is_changed_has_its_midnights() -> None:
    """25 hours long in Berlin, the last Sunday of October."""
    start = 1_792_792_800_000  # 2026-10-24 00:00 in Berlin
    found = ticks("7d", start, start + 7 * 24 * HOUR, "Europe/Berlin")

    assert [tick.words for tick in found[:3]] == ["24 Oct", "25 Oct", "26 Oct"]
    assert found[2].x - found[1].x > found[1].x - found[0].x
