"""How often `quiet` alarms without a reason, and how soon it notices a session that is dead: simulated traffic.

    python -m bench.quiet [--months 3000] [--kinds REGEX] [--limit 50] [--factor 2] [--bursts 30] [--alone 100]

Five weeks pass, then four weeks are judged hour by hour as the exporter does it; a false alert is one in which the
session was well. Then each session dies at some hour of a week, and the hours until the alert count. Where three
sessions or more have one source, its silence as a whole is judged too. A row without a false alert in 3,000
session-months shows, at 95 %, fewer than one in 1,000.
"""

import argparse
import math
import os
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from wawp_exporter.model.quiet import WEEK, Counts, Habits, is_quiet

WARM, JUDGED, AFTER = 5 * WEEK, 4 * WEEK, 2 * WEEK
HOURS = WARM + JUDGED + WEEK + AFTER  # a session dies in the week before the last two
LEAST = 3  # sessions of a source that is judged as a whole
Shares = Mapping[int, float]


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson number."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def between(low: float, high: float) -> Callable[[random.Random], float]:
    """A mean of any size, each order of magnitude as likely."""
    return lambda rng: math.exp(rng.uniform(math.log(low), math.log(high)))


def halved(hour: int) -> float:
    """Half of the traffic from the first judged week on."""
    return 0.5 if hour >= WARM else 1.0


def holiday(hour: int) -> float:
    """A tenth of the traffic on two working days of the second judged week, and on one of the third."""
    days = {(WARM + WEEK) // 24 + 1, (WARM + WEEK) // 24 + 2, (WARM + 2 * WEEK) // 24 + 4}
    return 0.1 if hour // 24 in days else 1.0


@dataclass(frozen=True)
class Traffic:
    """`mean` messages an hour at the busiest; `burst`: they come in so many at once; `office`: nights and weekends are
    quiet; `spell`: for about so many hours it receives twice as much, then for as long nothing; `change` gives the
    share of all sessions' traffic that is left in an hour, `own` that of one session; `sessions` have one source."""

    name: str
    mean: Callable[[random.Random], float] = field(default_factory=lambda: between(5, 100))
    burst: float = 1.0
    office: bool = False
    spell: float = 0.0
    change: Callable[[int], float] = lambda _: 1.0
    own: Callable[[int], float] = lambda _: 1.0
    sessions: int = 20

    def share(self, hour: int) -> float:
        """Of the busiest hour."""
        day, clock = divmod(hour % WEEK, 24)
        if self.office and (day > 4 or not 8 <= clock < 19):
            return 0.0
        return self.change(hour) * self.own(hour) / self.burst


KINDS = [
    Traffic("steady, 10 an hour", between(10, 10)),
    Traffic("steady, 30 an hour", between(30, 30)),
    Traffic("steady, 100 an hour", between(100, 100)),
    Traffic("steady, 0.3 to 10 an hour", between(0.3, 10)),
    Traffic("office hours", between(2, 100), office=True),
    Traffic("bursty, 10 at once", burst=10),
    Traffic("bursty, 50 at once", burst=50),
    Traffic("bursty, office hours", burst=10, office=True),
    Traffic("on and off, 3 h each", spell=3),
    Traffic("halved, all sessions", change=halved),
    Traffic("halved, one session", own=halved),
    Traffic("halved and bursty, all sessions", burst=10, change=halved),
    Traffic("halved and bursty, one session", burst=10, own=halved),
    Traffic("holiday", change=holiday, office=True),
    Traffic("holiday, bursty", burst=10, change=holiday, office=True),
    Traffic("holiday, 3 sessions", change=holiday, office=True, sessions=3),
    Traffic("holiday, bursty, 3 sessions", burst=10, change=holiday, office=True, sessions=3),
    Traffic("steady, 1 session", sessions=1),
    Traffic("bursty, 1 session", burst=10, sessions=1),
    Traffic("holiday, 1 session", change=holiday, office=True, sessions=1),
    Traffic("holiday, bursty, 1 session", burst=10, change=holiday, office=True, sessions=1),
]


@dataclass
class Tally:
    """Of so many session-months: false alerts, the hours until those of dead sessions, and how many had none."""

    months: int = 0
    false: int = 0
    never: int = 0
    delays: list[int] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """What another source had."""
        self.months, self.false, self.never = (
            self.months + other.months,
            self.false + other.false,
            self.never + other.never,
        )
        self.delays += other.delays

    def row(self, name: str) -> str:
        """For the table."""
        tenths = statistics.quantiles(self.delays, n=10) if len(self.delays) > 1 else [0.0] * 9
        rate, unseen = 1000 * self.false / self.months, 100 * self.never / self.months
        return f"| {name} | {rate:.2f} ({self.false}) | {tenths[4]:.0f} h | {tenths[8]:.0f} h | {unseen:.1f} % |"


def counts_of(traffic: Traffic, rng: random.Random, shares: list[float]) -> dict[int, int]:
    """What a session receives, hour by hour."""
    mean, counts, busy = traffic.mean(rng), {}, True
    for hour, share in enumerate(shares):
        if traffic.spell and rng.random() < 1 / traffic.spell:
            busy = not busy
        rate = mean * share * (2 * busy if traffic.spell else 1)
        came = poisson(rng, rate) if rate else 0
        if came and traffic.burst > 1:
            came += poisson(rng, came * (traffic.burst - 1))
        if came:
            counts[hour] = came
    return counts


def alerts(own: Counts, others: Counts, hours: range, limit: float, habits: Habits) -> Iterator[int]:
    """The hours at which an alert begins."""
    last, said = max((hour for hour in own if hour < hours.start), default=hours.start), False
    for hour in hours:
        if own.get(hour):
            last, said = hour, False
        elif not said and is_quiet(own, others, range(last + 1, hour + 1), limit, (), habits):
            said = True
            yield hour + 1


def judge(traffic: Traffic, limit: float, habits: Habits, seed: str) -> Tally:
    """One source."""
    rng = random.Random(f"{traffic.name} {seed}")
    shares = [traffic.share(hour) for hour in range(HOURS)]
    sessions = [counts_of(traffic, rng, shares) for _ in range(traffic.sessions)]
    totals = {hour: sum(counts.get(hour, 0) for counts in sessions) for hour in range(HOURS)}
    judged, tally = range(WARM, WARM + JUDGED), Tally(traffic.sessions)
    if traffic.sessions >= LEAST:
        tally.false += sum(1 for _ in alerts(totals, {}, judged, limit, habits))
    for own in sessions:
        others = {hour: total - own.get(hour, 0) for hour, total in totals.items()}
        tally.false += sum(1 for _ in alerts(own, others, judged, limit, habits))
        died = judged.stop + rng.randrange(WEEK)
        dead = {hour: count for hour, count in own.items() if hour < died}
        found = next(alerts(dead, others, range(died, died + AFTER), limit, habits), None)
        if found:
            tally.delays.append(found - died)
        else:
            tally.never += 1
    return tally


def rows(given: argparse.Namespace, pool: ProcessPoolExecutor) -> Iterator[str]:
    """A row for each kind of traffic."""
    habits = Habits(factor=given.factor, bursts=given.bursts, alone=given.alone)
    for traffic in KINDS:
        if re.search(given.kinds, traffic.name):
            seeds = [f"{given.seed} {number}" for number in range(max(1, given.months // traffic.sessions))]
            tally = Tally()
            for each in pool.map(partial(judge_kind, traffic.name, given.limit, habits), seeds, chunksize=5):
                tally.add(each)
            yield tally.row(traffic.name)


def judge_kind(name: str, limit: float, habits: Habits, seed: str) -> Tally:
    """One source of the traffic of this name."""
    return judge(next(each for each in KINDS if each.name == name), limit, habits, seed)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--months", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--factor", type=float, default=Habits().factor)
    parser.add_argument("--bursts", type=float, default=Habits().bursts)
    parser.add_argument("--alone", type=float, default=Habits().alone)
    parser.add_argument("--limit", type=float, default=50)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given = parser.parse_args()
    print("| traffic | false alerts in 1,000 session-months | noticed after, median | 9 of 10 | not in two weeks |")
    print("|---|---|---|---|---|")
    with ProcessPoolExecutor(given.jobs) as pool:
        for row in rows(given, pool):
            print(row, flush=True)


if __name__ == "__main__":
    main()
