"""Whether a gateway's clock is behind shows in its webhooks, and late deliveries do not look like it."""

import pytest

from wawp_exporter.metrics.lateness import Lateness

MINUTE, HOUR = 60_000, 3_600_000


def behind(*webhooks: tuple[int, int], now: int | None = None) -> float:
    """What is shown after webhooks, each as (received at, delay) in ms; `now` is the last receipt unless given."""
    lateness = Lateness()
    for received_at, delay in webhooks:
        lateness.observe(delay, received_at)
    return lateness.behind(webhooks[-1][0] if now is None else now)


def test_a_clock_is_behind_by_the_least_delay_of_a_row() -> None:
    """Some webhooks are late by more than the clock, none by less."""
    assert behind((0, 95_000), (2 * MINUTE, 90_500), (5 * MINUTE, 300_000)) == 90.5


@pytest.mark.parametrize(
    "webhooks",
    [
        [(0, 90_000), (2 * MINUTE, 40), (3 * MINUTE, 90_000), (5 * MINUTE, 90_000)],
        [(0, 300_000), (10, 290_000), (20, 280_000), (MINUTE, 90_000)],
        [(0, 90_000), (9 * MINUTE, 90_000)],
        [(0, 60_000), (3 * MINUTE, 60_000), (6 * MINUTE, 60_000)],
    ],
    ids=["one came in time", "all came at once after an outage", "too few", "not late enough"],
)
def test_late_deliveries_are_no_clock(webhooks: list[tuple[int, int]]) -> None:
    """Nobody is to set a clock that is right."""
    assert behind(*webhooks) == 0


def test_what_was_an_hour_ago_says_nothing() -> None:
    """The clock may have been set since, and the fleet is quiet."""
    row = [(0, 90_000), (MINUTE, 90_000), (6 * MINUTE, 90_000)]

    assert behind(*row, now=6 * MINUTE + HOUR - 1) == 90
    assert behind(*row, now=6 * MINUTE + HOUR) == 0
