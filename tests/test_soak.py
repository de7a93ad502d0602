"""A short soak, the same as `make soak` plays for longer."""

import pytest

from bench import soak as hour
from soak.fold import Standing, fold
from soak.problems import OUTAGE, PROBLEM, left, missing
from soak.run import run
from soak.twin import differences
from soak.world import Options


def test_nothing_is_lost_or_told_wrong_whatever_goes_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Every acknowledged event is in the log once, and what is exported is the fold of the log."""
    world = run(Options(faults=5, seed=11, minutes=0.2, senders=6, rate=60, every=5))

    assert not world.ledger.broken, capsys.readouterr().out
    assert world.ledger.news


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([("STARTING", 1)], Standing("STARTING", 1, 0, 1)),
        ([("WORKING", 1), ("FAILED", 5), ("WORKING", 9)], Standing("WORKING", 9)),
        ([("SCAN_QR_CODE", 1), ("FAILED", 5), ("FAILED", 6)], Standing("FAILED", 5, 1, 1)),
        ([("SCAN_QR_CODE", 1), ("CONNECTING", 5)], Standing("UNKNOWN", 5, 1, 1)),
        ([("FAILED", 1), ("STOPPED", 5), ("STARTING", 30_005)], Standing("STARTING", 30_005, 0, 1)),
        ([("FAILED", 1), ("STOPPED", 5), ("STARTING", 30_006)], Standing("STARTING", 30_006, 0, 30_006)),
        ([("FAILED", 1), ("STOPPED", 5), ("FAILED", 9)], Standing("FAILED", 9, 0, 9)),
        ([("FAILED", 1), ("STOPPED", 5), ("UNKNOWN", 7), ("STARTING", 9)], Standing("STARTING", 9, 0, 1)),
    ],
)
def test_the_soaks_own_fold_is_the_contracts(story: list[tuple[str, int]], expected: Standing) -> None:
    """It is what the service is measured by, so it has to be right by itself."""
    assert fold(story) == expected


@pytest.mark.parametrize(
    ("standing", "problems", "rested", "muted", "wrong"),
    [
        (Standing("SCAN_QR_CODE", 9, 9, 9), {}, 1, False, "login"),
        (Standing("FAILED", 9, 5, 5), {"login": 9}, 1, False, "login"),
        (Standing("FAILED", 9, 5, 5), {"login": 5}, 90_000, False, ""),
        (Standing("DISCONNECTED", 9, 0, 9), {}, 5_001, False, "disconnected"),
        (Standing("DISCONNECTED", 9, 0, 9), {}, 5_001, True, ""),
        (Standing("FAILED", 9, 0, 9), {}, 20_000, False, ""),
        (Standing("FAILED", 9, 0, 9), {"failed": 10}, 20_001, False, "failed"),
        (Standing("FAILED", 9, 0, 5), {"failed": 6}, 20_001, False, ""),
        (Standing("STARTING", 9, 0, 9), {"stuck_starting": 9}, 90_000, False, ""),
        (Standing("WORKING", 9), {"flapping": 9}, 90_000, False, ""),
        (Standing("WORKING", 9), {"down": 9}, 60_000, False, ""),
        (Standing("WORKING", 9), {"down": 9}, 60_001, False, "nothing"),
        (Standing("STOPPED", 9), {"flapping": 9}, 30_001, False, "nothing"),
    ],
)
def test_the_soak_knows_what_must_be_a_problem_and_what_must_not(
    standing: Standing, problems: dict[str, float], rested: float, muted: bool, wrong: str
) -> None:
    """By docs/problems.md: it finds a judge that is blind, and one that does not stop."""
    assert (missing(standing, problems, rested, muted=muted) or left(standing, problems, rested)) == wrong


def test_a_restart_must_say_the_same_as_before_it_or_after_it() -> None:
    """Time passes while both are asked, so what is true at one of the two moments is right."""
    failed, outage = (PROBLEM, (("session", "a"),)), (OUTAGE, (("source", "b"),))

    assert not differences([{failed: 1}, {failed: 1, outage: 2}], {failed: 1})
    assert not differences([{failed: 1}, {failed: 1, outage: 2}], {failed: 1, outage: 2})
    assert "not after a restart" in differences([{failed: 1}, {failed: 1}], {})
    assert "only after a restart" in differences([{failed: 1}, {failed: 1}], {failed: 2})


def test_what_grows_is_seen_and_the_peak_of_a_fault_is_not() -> None:
    """The hour's soak must find a leak of some descriptors, however much single faults open for a moment."""
    steady = [(float(n), 60.0 + (200 if n % 7 == 0 else n % 3)) for n in range(300)]
    leaking = [(at, value + at / 20) for at, value in steady]

    assert hour.growth("descriptors", "", steady, 5).good
    assert not hour.growth("descriptors", "", leaking, 5).good
