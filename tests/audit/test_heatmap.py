"""The heatmap: which status wins a cell, and how cells become paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wawp_exporter.audit.heatmap import CODE, RANGES, cells, draw, draw_live
from wawp_exporter.log.history.timelines import Timeline
from wawp_exporter.model.event import Status

S, Q, W, F, X = Status.STARTING, Status.SCAN_QR_CODE, Status.WORKING, Status.FAILED, Status.STOPPED
HOUR = RANGES["1h"]
DAY = RANGES["24h"]
MINUTE = 60_000


def line(*points: tuple[float, Status], tombstone: float = 0) -> Timeline:
    """A session's statuses, in minutes after the window's start."""
    return Timeline("default", "a", "GOWS", round(tombstone * MINUTE), [(round(m * MINUTE), s) for m, s in points])


def row(
    *points: tuple[float, Status], tombstone: float = 0, span: object = HOUR, end: float = 60
) -> list[Status | None]:
    """The winner of each cell."""
    found = cells(line(*points, tombstone=tombstone), 0, round(end * MINUTE), span)  # type: ignore[arg-type]  # a Range
    return [next((status for status, code in CODE.items() if code == each), None) for each in found]


def test_a_cell_is_the_status_that_lasted_longest_in_it() -> None:
    """What is not known is empty, and so is what has not come yet."""
    found = row((2, W), (10.4, X), (20.6, W), end=30)

    assert found == [None] * 2 + [W] * 8 + [X] * 10 + [X] + [W] * 9 + [None] * 30


@pytest.mark.parametrize("trouble", [F, Q, Status.DISCONNECTED])
def test_trouble_wins_its_cell_however_short(trouble: Status) -> None:
    """In wide cells a platform-wide failure of a minute must still be a stripe."""
    assert row((0, W), (20, trouble), (20.5, W), span=DAY, end=1440)[1] is trouble


def test_a_start_is_trouble_only_when_it_takes_long() -> None:
    """Each restart passes through STARTING in seconds; a lost network is reported as a long one."""
    assert row((0, W), (20, S), (20.5, W), span=DAY, end=1440)[1] is W
    assert row((0, W), (20, S), (25, W), span=DAY, end=1440)[1] is S


def test_a_deleted_session_is_nowhere_until_it_comes_back() -> None:
    """It has no status then."""
    assert row((0, W), (40, W), tombstone=10) == [W] * 10 + [None] * 30 + [W] * 20


def test_the_last_column_holds_now() -> None:
    """And columns begin on the clock."""
    for span in RANGES.values():
        start = span.start(1_795_000_123_456)

        assert start % span.step == 0
        assert start + (span.columns - 1) * span.step <= 1_795_000_123_456 < start + span.columns * span.step


@given(st.lists(st.binary(min_size=6, max_size=6).map(lambda row: bytes(each % 4 for each in row)), max_size=8))
def test_paths_cover_each_cell_once(rows: list[bytes]) -> None:
    """With its own status, and leave what is empty."""
    seen: dict[tuple[int, int], int] = {}
    for status, path in draw(rows).items():
        for box in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)H(\d+)z", path):
            x, y, width, height, left = map(int, box)
            assert left == x
            for cell in ((a, b) for a in range(x, x + width) for b in range(y, y + height)):
                assert cell not in seen
                seen[cell] = CODE[status]

    assert seen == {(x, y): code for y, row in enumerate(rows) for x, code in enumerate(row) if code}


def test_a_healthy_fleet_is_one_box() -> None:
    """However many sessions it has: that is what keeps the page small."""
    assert draw([bytes([CODE[W]] * 96)] * 5000) == {W: "M0 0h96v5000H0z"}
    assert draw_live([W, W, None, F]) == {W: "M0 0h1v2H0z", F: "M0 3h1v1H0z"}
