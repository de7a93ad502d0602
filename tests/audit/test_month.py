"""A week of the simulated fleet, judged by the backtest: what somebody needed was said, and little else."""

from pathlib import Path

from bench import month_silence
from bench.month import Month, judged, ms, verdict
from wawp_exporter.model.facts import Problem

WAITED = 90_000  # ms in which the webhooks come that waited while the exporter was away


def test_a_week_of_a_fleet_brings_the_alerts_that_somebody_needs(tmp_path: Path) -> None:
    """None is missing. None is false, but in the moments in which webhooks come that have waited, in any order."""
    month = Month(seed=1, days=7)

    found = verdict(month, judged(month, tmp_path))

    returns = [ms(end) for _, end in month.away]
    assert found.needed.total() > 50
    assert found.missed == []
    assert [each for each in found.false if not any(0 <= each.firing_at - at <= WAITED for at in returns)] == []


def test_in_a_week_of_messages_the_dead_are_noticed_and_nobody_else(tmp_path: Path) -> None:
    """Whoever sends in vain is noticed; of who receives nothing, all but those that receive little anyway."""
    month = month_silence.Month(seed=2, sessions=30, days=8, folder=tmp_path)
    month.play()
    month.log.close()

    assert [each for each in month.said if not month_silence.explained(month.deaths, *each)] == []
    assert {problem for *_, problem in month.said} == {Problem.SILENT, Problem.UNDELIVERED}
    in_vain = [death for death in month.deaths if death.kind in ("mute", "zombie")]
    assert in_vain
    assert [death for death in in_vain if death.noticed is None] == []
