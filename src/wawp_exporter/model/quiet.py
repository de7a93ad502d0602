"""Silence against a session's own habit: how many messages the hours of a silence usually bring. Pure.

Hours are numbered by the clock on the wall of one time zone, so that the same hour a week earlier is 168 less.
"""

from collections.abc import Collection, Mapping
from itertools import pairwise, repeat

import msgspec

WEEK = 168
Counts = Mapping[int, int]  # incoming messages by hour; hours without any are left out


class Habits(msgspec.Struct, frozen=True):
    """The numbers in the definition, chosen by simulation (`bench/quiet.py`).

    A silence is too long for a session if the same hours of each of the last `weeks` weeks have brought so many
    messages as `quiet` says; `bursts` times as many as come at once, or `alone` times where too few others show whether
    it is a holiday; and `factor` times as many as any silence of the last `memory` weeks missed that ended by itself.
    """

    weeks: int = 3
    memory: int = 5
    factor: float = 2.0
    bursts: float = 30.0
    alone: float = 100.0


HABITS = Habits()


def missed(own: Counts, others: Counts, hours: range, habits: Habits = HABITS) -> float:
    """How many messages these hours, in which none came, would have brought at least.

    The least of the same hours of the last weeks, in proportion to what the other sessions of the source receive now
    against then: on a holiday all of them receive less. If they receive nothing at all, it is no holiday.
    """
    now = received(others, hours)
    least = float("inf")
    for week in range(1, habits.weeks + 1):
        before = range(hours.start - WEEK * week, hours.stop - WEEK * week)
        then = received(others, before)
        share = min(1.0, now / then) if now and then else 1.0
        least = min(least, share * received(own, before))
    return least


def received(counts: Counts, hours: range) -> int:
    """The messages of these hours."""
    return sum(map(counts.get, hours, repeat(0)))


def longest(own: Counts, end: int, excused: Collection[int] = (), habits: Habits = HABITS) -> float:
    """The most messages that a silence missed before hour `end`, if it ended by itself.

    What an hour usually brings is the mean of the same hour in the other weeks. In `excused` hours something else was
    wrong: a silence with one of them did not end by itself.
    """
    start = end - habits.memory * WEEK
    busy = sorted(hour for hour, count in own.items() if count and start <= hour < end)
    excused = set(excused)
    found = 0.0
    for last, following in pairwise(busy):
        silence = range(last + 1, following)
        if silence and not (excused and not excused.isdisjoint(range(last, following + 1))):
            found = max(found, sum(usual(own, hour, busy[0], end, habits) for hour in silence))
    return found


def usual(own: Counts, hour: int, first: int, end: int, habits: Habits) -> float:
    """The mean of the same hour in the other weeks from `first` on, when messages began to be counted."""
    weeks = range(-habits.memory, habits.memory + 1)
    same = [at for week in weeks if week and first <= (at := hour + WEEK * week) < end]
    return sum(own.get(at, 0) for at in same) / len(same) if same else 0.0


def burst(own: Counts, end: int, excused: Collection[int] = (), habits: Habits = HABITS) -> float:
    """How many messages come at once: the variance of an hour's count from week to week, by its mean. 1 if they come
    one by one (Poisson), more if few senders write many: then a silence of the same messages is less rare.
    """
    start = end - habits.memory * WEEK
    busy = [hour for hour, count in own.items() if count and start <= hour < end]
    first, spread, mean = min(busy, default=end), 0.0, 0.0
    for slot in sorted({hour % WEEK for hour in busy}):
        same = range(first + (slot - first) % WEEK, end, WEEK)
        counts = [own.get(hour, 0) for hour in same if hour not in excused]
        if len(counts) > 1:
            average = sum(counts) / len(counts)
            mean += average
            spread += sum([(count - average) ** 2 for count in counts]) / (len(counts) - 1)
    return max(1.0, spread / mean) if mean else 1.0


def is_quiet(
    own: Counts,
    others: Counts,
    hours: range,
    limit: float,
    excused: Collection[int] = (),
    habits: Habits = HABITS,
) -> bool:
    """Whether a silence of these whole hours is too long by `limit` (`thresholds.quiet`)."""
    if limit <= 0 or not hours:
        return False
    least = missed(own, others, hours, habits)
    bursts = habits.bursts if received(others, hours) >= habits.bursts else habits.alone
    return (
        least >= limit
        and least >= bursts * burst(own, hours.start, excused, habits)
        and least >= habits.factor * longest(own, hours.start, excused, habits)
    )
