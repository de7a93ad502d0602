"""Silence against a session's own habit: what must hold for any traffic, and examples."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wawp_exporter.model.hours import hour_of
from wawp_exporter.model.quiet import HABITS, WEEK, burst, is_quiet, longest, missed, received

NOW = 100 * WEEK  # the hour that has just begun
HISTORY = range(NOW - 5 * WEEK, NOW)
COUNTS = st.dictionaries(st.integers(NOW - 5 * WEEK, NOW - 1), st.integers(1, 500), max_size=200)
LENGTHS = st.integers(1, 2 * WEEK)
BUSY = dict.fromkeys(HISTORY, 1000)  # other sessions, as ever


def steady(count: int = 60, *, silent: int = 0, every: int = 1) -> dict[int, int]:
    """So many messages in each hour, but for the last `silent` ones."""
    return {hour: count for hour in HISTORY if hour < NOW - silent and hour % every == 0}


def silence(hours: int) -> range:
    """The last so many hours."""
    return range(NOW - hours, NOW)


@given(COUNTS, COUNTS, LENGTHS)
def test_a_silence_misses_no_more_than_any_of_the_last_three_weeks_brought(
    own: dict[int, int], others: dict[int, int], length: int
) -> None:
    """One busy week is no habit."""
    hours = silence(length)

    for week in range(1, HABITS.weeks + 1):
        before = range(hours.start - week * WEEK, hours.stop - week * WEEK)
        assert 0 <= missed(own, others, hours) <= received(own, before)


@given(COUNTS, LENGTHS, st.integers(1, 48))
def test_a_longer_silence_misses_no_less(own: dict[int, int], length: int, more: int) -> None:
    """What was too long stays so."""
    assert missed(own, {}, silence(length)) <= missed(own, {}, silence(length + more))


@given(COUNTS, COUNTS, LENGTHS, st.integers(1, 99))
def test_less_traffic_of_the_others_excuses(
    own: dict[int, int], others: dict[int, int], length: int, share: int
) -> None:
    """On a holiday all receive less; but if none receives anything, it is no holiday."""
    hours = silence(length)
    fewer = {hour: count * 100 if hour not in hours else count * share for hour, count in others.items()}
    as_ever = {hour: count * 100 for hour, count in others.items()}

    assert missed(own, fewer, hours) <= missed(own, as_ever, hours)
    nothing = {hour: count for hour, count in as_ever.items() if hour not in hours}
    assert missed(own, nothing, hours) == missed(own, {}, hours)


@given(COUNTS, COUNTS, LENGTHS, st.integers(0, 1000))
def test_a_session_of_less_than_three_weeks_has_no_habit(
    own: dict[int, int], others: dict[int, int], length: int, limit: int
) -> None:
    """However much it has received."""
    hours = silence(length)
    young = {hour: count for hour, count in own.items() if hour >= hours.stop - HABITS.weeks * WEEK}

    assert not is_quiet(young, others, hours, max(1, limit))


@given(COUNTS, COUNTS, LENGTHS)
def test_zero_is_off(own: dict[int, int], others: dict[int, int], length: int) -> None:
    """`thresholds.quiet: 0`."""
    assert not is_quiet(own, others, silence(length), 0)


@given(COUNTS, LENGTHS)
def test_what_comes_at_once_is_at_least_one(own: dict[int, int], length: int) -> None:
    """Also of a session that has received nothing."""
    assert burst(own, NOW - length) >= 1


@pytest.mark.parametrize(("count", "hours", "expected"), [(60, 1, True), (10, 4, False), (10, 5, True), (1, 49, False)])
def test_a_dead_session_is_noticed_once_enough_is_missing(count: int, hours: int, expected: bool) -> None:
    """Fifty messages: an hour of a busy one, two days of one that receives one an hour."""
    assert is_quiet(steady(count, silent=hours), BUSY, silence(hours), 50) is expected


@pytest.mark.parametrize("others", [{}, dict.fromkeys(HISTORY, 1), dict.fromkeys(range(NOW - 5 * WEEK, NOW - 10), 60)])
def test_without_others_that_receive_something_twice_as_much_must_be_missing(others: dict[int, int]) -> None:
    """On a holiday a tenth of the messages comes, of which a hundred are still ten chances. Nobody else shows it."""
    own = steady(11, silent=10)

    assert not is_quiet(own, others, silence(10)[:9], 50)
    assert is_quiet(own, others, silence(10), 50)


@given(COUNTS, COUNTS, LENGTHS, st.integers(1, 100))
def test_what_is_too_quiet_is_so_by_each_condition(
    own: dict[int, int], others: dict[int, int], length: int, limit: int
) -> None:
    """Enough messages are missing, by far more than come at once, and twice as many as in any silence that ended."""
    hours = silence(length)
    own = {hour: count for hour, count in own.items() if hour < hours.start}
    least = missed(own, others, hours)

    expected = least >= limit and least >= 2 * longest(own, hours.start)
    assert is_quiet(own, others, hours, limit) <= expected
    if received(others, hours) >= HABITS.bursts:
        assert is_quiet(own, others, hours, limit) is (expected and least >= 30 * burst(own, hours.start))


@given(st.integers(1, 40), st.integers(1, 4), st.integers(5, 200))
def test_a_silence_as_long_as_one_that_ended_by_itself_is_well(hours: int, ago: int, count: int) -> None:
    """So many weeks ago it was silent for as long, and messages came again without anybody's help."""
    own = {hour: count for hour in steady(count, silent=hours) if hour + ago * WEEK not in silence(hours)}

    assert not is_quiet(own, BUSY, silence(hours), 1)


def test_half_of_the_others_traffic_takes_twice_as_long() -> None:
    """The same share of its own is expected."""
    own, others = steady(20, silent=6), steady(500) | dict.fromkeys(silence(6), 250)

    assert not is_quiet(own, others, range(NOW - 6, NOW - 2), 50)
    assert is_quiet(own, others, range(NOW - 6, NOW), 50)


def test_a_silence_that_ended_by_itself_doubles_what_must_be_missing() -> None:
    """It has been silent for 5 hours before, and was well; but not if something else was wrong then."""
    calm = range(NOW - 2 * WEEK - 80, NOW - 2 * WEEK - 75)
    own = {hour: count for hour, count in steady(60, silent=11).items() if hour not in calm}

    assert longest(own, NOW - 11) == pytest.approx(300)
    assert not is_quiet(own, BUSY, range(NOW - 11, NOW - 2), 50)
    assert is_quiet(own, BUSY, range(NOW - 11, NOW), 50)
    assert longest(own, NOW - 11, excused={calm.start}) == 0


def test_nights_do_not_count() -> None:
    """Nothing is missing in hours that never bring anything, however many they are."""
    office = {hour: count for hour, count in steady(60).items() if 8 <= hour % 24 < 18}
    morning = NOW - NOW % 24 + 8 - 24

    assert longest(office, NOW) == 0
    assert not is_quiet(office, BUSY, range(morning - 14, morning), 50)
    assert is_quiet({hour: count for hour, count in office.items() if hour < morning}, BUSY, range(morning, NOW), 50)


def test_messages_that_come_many_at_once_must_be_missing_for_longer() -> None:
    """A hundred that come from three senders are three chances, not a hundred."""
    own = {hour: 100 for hour in HISTORY if hour % 5 == (hour // WEEK) % 5 and hour < NOW - 20}

    assert burst(own, NOW) > 50
    assert not is_quiet(own, BUSY, silence(20), 50)


@pytest.mark.parametrize(
    ("zone", "at", "begin"),
    [
        ("UTC", "2026-11-18T11:06:40", "2026-11-18T11:00:00"),
        ("Asia/Kolkata", "2026-11-18T11:06:40", "2026-11-18T10:30:00"),
        ("Asia/Kathmandu", "2026-11-18T11:06:40", "2026-11-18T10:15:00"),
        ("Europe/Berlin", "2026-10-25T01:30:00", "2026-10-25T01:00:00"),
    ],
)
def test_clock_hours_are_those_of_the_zone(zone: str, at: str, begin: str) -> None:
    """In some zones they begin at half past, or at a quarter."""
    moment, start = (datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (at, begin))

    assert hour_of(round(moment * 1000), ZoneInfo(zone)) == start
