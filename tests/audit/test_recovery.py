"""How long a session that is down will take, by what its engine did lately."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import DAY, ms, point
from wawp_exporter.audit.recovery import ENOUGH, KEPT, Recoveries, recovery_of
from wawp_exporter.model.machine import Transition, fold, step


def learned(*seconds: float, engine: str = "GOWS", login: bool = False, at: float = 0) -> Recoveries:
    """Recoveries of one kind that ended at one moment."""
    known = Recoveries()
    for each in seconds:
        known.add(engine, login, each, ms(at))
    return known


def last(*statuses: tuple[str, float]) -> Transition:
    """The transition that the last of these statuses is."""
    *before, newest = [point(status, at) for status, at in statuses]
    _, transition = step(fold(before), newest)
    assert transition
    return transition


def test_a_recovery_is_timed_from_the_first_moment_down() -> None:
    """Whatever it went through on its way back."""
    transition = last(("WORKING", 0), ("FAILED", 10), ("STARTING", 20), ("WORKING", 25))

    assert recovery_of(transition) == (False, 15)


def test_a_login_on_the_way_is_told() -> None:
    """Somebody had to find the phone, which says nothing of the engine."""
    transition = last(("STARTING", 0), ("SCAN_QR_CODE", 5), ("STARTING", 50), ("WORKING", 60))

    assert recovery_of(transition) == (True, 60)


@pytest.mark.parametrize(
    "statuses",
    [
        [("WORKING", 0)],
        [("WORKING", 0), ("FAILED", 5)],
        [("STOPPED", 0), ("WORKING", 90)],
        [("UNKNOWN", 0), ("WORKING", 5)],
    ],
    ids=["first", "down", "stopped", "unknown"],
)
def test_what_ends_no_down_episode_is_no_recovery(statuses: list[tuple[str, float]]) -> None:
    """A session that was stopped on purpose did not recover."""
    assert recovery_of(last(*statuses)) is None


def test_what_is_heard_while_the_log_is_read_counts_once() -> None:
    """A gateway sends what it could not deliver as soon as the exporter is back; those are in the log, too."""
    known = learned(4, 6, 60, at=20)
    known.learn([("GOWS", False, seconds, ms(at)) for seconds, at in ((6, 20), (6, 20), (8, 10), (4, 20))])

    assert known.expected("GOWS", login=False, elapsed=0) == (6, 5)


def test_the_median_is_expected() -> None:
    """Of a session that has just gone down."""
    assert learned(4, 6, 8, 10, 60).expected("GOWS", login=False, elapsed=0) == (8, 5)


def test_only_those_that_took_longer_count() -> None:
    """Down for a minute, it is not one of those that are back in seconds."""
    known = learned(*[5] * 100, 70, 80, 90, 100, 110)

    assert known.expected("GOWS", login=False, elapsed=60) == (30, 5)


def test_too_few_recoveries_are_no_basis() -> None:
    """It says that it does not know, and how few there were."""
    known = learned(*[5.0] * (ENOUGH - 1))

    assert known.expected("GOWS", login=False, elapsed=0) == (None, ENOUGH - 1)
    assert known.expected("GOWS", login=False, elapsed=9) == (None, 0)


def test_engines_and_logins_are_told_apart() -> None:
    """A human with a phone is slower than a reconnect."""
    known = learned(*[5.0] * ENOUGH)

    assert known.expected("NOWEB", login=False, elapsed=0) == (None, 0)
    assert known.expected("GOWS", login=True, elapsed=0) == (None, 0)


def test_recoveries_are_forgotten_after_thirty_days() -> None:
    """The engine may have been mended since."""
    known = learned(*[500.0] * ENOUGH)
    for _ in range(ENOUGH):
        known.add("GOWS", False, 5.0, ms(30 * DAY))

    assert known.expected("GOWS", login=False, elapsed=0) == (5, ENOUGH)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1e6))
def test_the_forecast_is_never_in_the_past(seconds: list[float], elapsed: float) -> None:
    """Whatever was seen, and however long it is down."""
    expected, count = learned(*seconds).expected("GOWS", login=False, elapsed=elapsed)

    assert (expected is None) == (count < ENOUGH)
    assert expected is None or expected > 0


def test_memory_is_bounded() -> None:
    """The newest are kept."""
    known = learned(*map(float, range(KEPT + 10)))

    assert known.expected("GOWS", login=False, elapsed=-1)[1] == KEPT
