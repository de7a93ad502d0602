"""A short soak, the same as `make soak` plays for longer."""

import pytest

from soak.fold import Standing, fold
from soak.run import run
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
