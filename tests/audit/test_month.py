"""A week of the simulated fleet, judged by the backtest: what somebody needed was said, and little else."""

from pathlib import Path

from bench.month import Month, judged, ms, verdict

WAITED = 90_000  # ms in which the webhooks come that waited while the exporter was away


def test_a_week_of_a_fleet_brings_the_alerts_that_somebody_needs(tmp_path: Path) -> None:
    """None is missing. None is false, but in the moments in which webhooks come that have waited, in any order."""
    month = Month(seed=1, days=7)

    found = verdict(month, judged(month, tmp_path))

    returns = [ms(end) for _, end in month.away]
    assert found.needed.total() > 50
    assert found.missed == []
    assert [each for each in found.false if not any(0 <= each.firing_at - at <= WAITED for at in returns)] == []
