"""How often `quiet` alarms without a reason, and how soon it notices a session that is dead: simulated traffic.

    python -m bench.quiet [--months 2000] [--seed 1] [--factor 2] [--bursts 30] [--limit 50]

A source has 20 sessions. Five weeks pass, then four weeks are judged hour by hour as the exporter does it; a false
alert is one in which the session was well. Then each session dies at some hour, and the hours until the alert count.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wawp_exporter.model.quiet import WEEK, Counts, Habits, is_quiet

SESSIONS = 20
WARM, JUDGED = 5 * WEEK, 4 * WEEK
AFTER = 2 * WEEK


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson number."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


@dataclass(frozen=True)
class Traffic:
    """`mean` messages an hour at the busiest; `burst`: they come in so many at once; `office`: nights and weekends are
    quiet; `change` gives the share of all sessions' traffic that is left in an hour; `own` that of one session."""

    name: str
    mean: Callable[[random.Random], float]
    burst: float = 1.0
    office: bool = False
    change: Callable[[int], float] = lambda _: 1.0
    own: Callable[[int], float] = lambda _: 1.0


def level(office: bool, hour: int) -> float:
    """The share of the busiest hour."""
    day, clock = divmod(hour % WEEK, 24)
    if not office:
        return 1.0
    return 0.0 if day > 4 or not 8 <= clock < 19 else 1.0


def halved(hour: int) -> float:
    """Half of the traffic from the first judged week on."""
    return 0.5 if hour >= WARM else 1.0


def holiday(hour: int) -> float:
    """A tenth of the traffic on two working days of the second judged week, and on one of the third."""
    days = {(WARM + WEEK) // 24 + 1, (WARM + WEEK) // 24 + 2, (WARM + 2 * WEEK) // 24 + 4}
    return 0.1 if hour // 24 in days else 1.0


def between(low: float, high: float) -> Callable[[random.Random], float]:
    """A mean of any size, each order of magnitude as likely."""
    return lambda rng: math.exp(rng.uniform(math.log(low), math.log(high)))


KINDS = [
    Traffic("steady, 10 to 100 an hour", between(10, 100)),
    Traffic("steady, 0.3 to 10 an hour", between(0.3, 10)),
    Traffic("office hours", between(2, 100), office=True),
    Traffic("bursty, 10 at once", between(5, 100), burst=10),
    Traffic("bursty, office hours", between(5, 100), burst=10, office=True),
    Traffic("halved, all sessions", between(5, 100), change=halved),
    Traffic("halved, one session", between(5, 100), own=halved),
    Traffic("halved and bursty, one session", between(5, 100), burst=10, own=halved),
    Traffic("holiday", between(5, 100), change=holiday, office=True),
    Traffic("holiday, bursty", between(5, 100), burst=10, change=holiday, office=True),
]


def counts_of(traffic: Traffic, rng: random.Random, hours: int) -> list[dict[int, int]]:
    """What the sessions of a source receive, hour by hour."""
    made: list[dict[int, int]] = []
    for _ in range(SESSIONS):
        mean, counts = traffic.mean(rng), {}
        for hour in range(hours):
            rate = mean * level(traffic.office, hour) * traffic.change(hour) * traffic.own(hour) / traffic.burst
            arrivals = poisson(rng, rate) if rate else 0
            if traffic.burst > 1 and arrivals:
                arrivals = sum(1 + poisson(rng, traffic.burst - 1) for _ in range(arrivals))
            if arrivals:
                counts[hour] = arrivals
        made.append(counts)
    return made


def others_of(sessions: list[dict[int, int]], index: int, totals: Counts) -> dict[int, int]:
    """What the other sessions receive."""
    return {hour: total - sessions[index].get(hour, 0) for hour, total in totals.items()}


def totals_of(sessions: list[dict[int, int]], hours: int) -> dict[int, int]:
    """What all sessions receive."""
    return {hour: sum(counts.get(hour, 0) for counts in sessions) for hour in range(hours)}


def alerts(own: Counts, others: Counts, start: int, end: int, limit: float, habits: Habits) -> Iterator[int]:
    """The hours at which an alert begins."""
    last, said = max((hour for hour in own if hour < start), default=start), False
    for hour in range(start, end):
        if own.get(hour):
            last, said = hour, False
        elif not said and is_quiet(own, others, range(last + 1, hour + 1), limit, (), habits):
            said = True
            yield hour + 1


def judge(traffic: Traffic, months: int, seed: int, limit: float, habits: Habits) -> tuple[int, list[int], int]:
    """False alerts, and of each dead session after how many hours there is one (and how many have none)."""
    rng, false, delays, never = random.Random(f"{traffic.name} {seed}"), 0, [], 0
    for _ in range(max(1, months // SESSIONS)):
        end = WARM + JUDGED
        sessions = counts_of(traffic, rng, end + AFTER)
        totals = totals_of(sessions, end + AFTER)
        for index, own in enumerate(sessions):
            others = others_of(sessions, index, totals)
            false += sum(1 for _ in alerts(own, others, WARM, end, limit, habits))
            died = end + rng.randrange(WEEK)
            dead = {hour: count for hour, count in own.items() if hour < died}
            first = next(alerts(dead, others, end, end + AFTER, limit, habits), None)
            if first is None or first <= died:
                never += 1
            else:
                delays.append(first - died)
    return false, delays, never


def main() -> None:
    """Prints a row for each kind of traffic."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--months", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--factor", type=float, default=Habits().factor)
    parser.add_argument("--bursts", type=float, default=Habits().bursts)
    parser.add_argument("--limit", type=float, default=50)
    parser.add_argument("--kinds", default="")
    given = parser.parse_args()
    months = max(SESSIONS, given.months)
    print("| traffic | false alerts in 1,000 session-months | noticed after, median | 9 of 10 | not in two weeks |")
    print("|---|---|---|---|---|")
    habits = Habits(factor=given.factor, bursts=given.bursts)
    for traffic in KINDS:
        if given.kinds not in traffic.name:
            continue
        false, delays, never = judge(traffic, months, given.seed, given.limit, habits)
        tenths = statistics.quantiles(delays, n=10) if len(delays) > 1 else [0.0] * 9
        rate = 1000 * false / months
        row = f"{rate:.2f} ({false}) | {tenths[4]:.0f} h | {tenths[8]:.0f} h | {100 * never / months:.1f} %"
        print(f"| {traffic.name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
