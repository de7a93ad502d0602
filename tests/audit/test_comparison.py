"""Two configurations side by side: which alerts fire in both, in one only, earlier or later."""

from typing import Any

from tests.builders import ms
from wawp_exporter.audit.comparison import Comparison, Total, change_row, compare
from wawp_exporter.audit.firings import Firing
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind


def firing(began: float, fired: float, ended: float | None, **more: Any) -> Firing:
    """An alert about a session, in seconds after T0."""
    usual: dict[str, Any] = {"alert": "A", "source": "s", "session": "x", "engine": "GOWS", "problem": Problem.FAILED,
                             "kind": None, "reason": ""}  # fmt: skip
    times = {"started_at": ms(began), "firing_at": ms(fired), "ended_at": None if ended is None else ms(ended)}
    return Firing(**(usual | times | more))


def words(comparison: Comparison) -> list[str]:
    """The changes in short."""
    return [f"{each.change} {each.shown.session} {each.shift or 0:g}" for each in comparison.changes]


def test_the_same_alert_fires_later_or_earlier() -> None:
    """It is the same if it is about the same time of the same session."""
    before = [firing(100, 120, 200), firing(300, 320, 400)]
    after = [firing(100, 180, 200), firing(300, 310, 400)]

    assert words(compare(before, after)) == ["later x 60", "earlier x -10"]
    assert words(compare(before, before)) == []


def test_one_that_fires_with_one_configuration_only_is_new_or_gone() -> None:
    """Another session's is another one, and so is one of another time."""
    before, after = [firing(100, 120, 200)], [firing(300, 320, None), firing(100, 120, 200, session="y")]

    assert words(compare(before, after)) == ["gone x 0", "new y 0", "new x 0"]


def test_what_ends_at_another_time_is_longer_or_shorter() -> None:
    """What goes on is longer than anything."""
    assert words(compare([firing(1, 2, 9)], [firing(1, 2, 8)])) == ["shorter x 0"]
    assert words(compare([firing(1, 2, 9)], [firing(1, 2, None)])) == ["longer x 0"]


def test_an_outage_that_begins_with_another_loss_is_the_same_outage() -> None:
    """A lower limit counts losses earlier; times that overlap are one."""
    outage = {"session": None, "problem": None, "kind": Kind.DISCONNECT, "sessions": 8}

    assert words(compare([firing(100, 170, 900, **outage)], [firing(90, 130, 900, **outage)])) == ["earlier None -40"]


def test_totals_count_each_alert() -> None:
    """The shift is the median of those that fire earlier or later."""
    before = [firing(n * 100, n * 100 + 10, n * 100 + 50) for n in range(1, 5)]
    after = [firing(n * 100, n * 100 + 10 + n, n * 100 + 50) for n in range(1, 4)]

    found = compare(before, [*after, firing(900, 910, None, alert="B")])

    assert found.totals == [
        Total("A", fired=4, compared=3, new=0, gone=1, earlier=0, later=3, shift_seconds=2),
        Total("B", fired=0, compared=1, new=1, gone=0, earlier=0, later=0, shift_seconds=None),
    ]


def test_a_change_has_the_times_of_both() -> None:
    """Those of the other configuration are called so."""
    (change,) = compare([firing(100, 120, 200)], [firing(100, 130, None)]).changes

    row = change_row(change)

    assert (row["change"], row["session"], row["shift_seconds"]) == ("later", "x", 10)
    assert str(row["firing_at"]) == "2026-11-18 11:08:40+00:00"
    assert str(row["compared_firing_at"]) == "2026-11-18 11:08:50+00:00"
    assert row["compared_ended_at"] is None
