"""A month of 1,000 sessions with messages: false and missed alerts of `silent`, `quiet` and `undelivered`.

    python -m bench.month_silence [--sessions 1000] [--days 30] [--seed 1]

The exporter's own fold, judge and counts of messages hear each message and acknowledgement of a month, and each hour
look for sessions that are quieter than in the five weeks before. 20 sources; sessions that receive one to sixty
messages an hour, round the clock or in office hours, some of them in bursts; they are restarted, and one source has a
holiday of two days. Some sessions die: nothing comes any more (`half-dead`), nothing that is sent arrives (`mute`),
or both (`zombie`), for two days; and one source loses its messages as a whole for twelve hours. An alert of a session
that is well is false; a death without an alert is missed.
"""

import argparse
import statistics
import sys
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from bench.quiet import poisson
from wawp_exporter.audit.quiet import Look, Wall
from wawp_exporter.config.load import check
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.live.messages import Messages
from wawp_exporter.live.unwritten import Unwritten
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import Ack, Direction, Message, Point, Status, StatusEvent
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import Kind
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.service.habits import candidates, take
from wawp_exporter.simulator.plan import dice

BEGIN = 1_790_553_600  # 2026-09-28, a Monday; Unix seconds
MINUTE, HOUR, DAY = 60, 3600, 86_400
WARM = 35 * DAY  # before the month, as counts
SOURCES = 20
LOST = 1e-5  # of the messages lose all their acknowledgements (server, device, read) on their way to the exporter
LASTING = 2 * DAY  # for how long a session is dead
DEATHS = ("half-dead", "mute", "zombie")
NEEDED = {  # what is to be said of whom
    "half-dead": {Problem.SILENT},
    "mute": {Problem.UNDELIVERED},
    "zombie": {Problem.SILENT, Problem.UNDELIVERED},
    "silent source": {Problem.SILENT},
}
IN, OUT = Direction
Event = tuple[float, int, Any]


@dataclass
class Death:
    """What happens to a session, or to a whole source (`name` is ""), between two seconds of the month."""

    kind: str
    source: str
    name: str
    since: float
    until: float
    noticed: float | None = None

    def explains(self, key: Key, problem: Problem, at: float) -> bool:
        """Whether somebody is needed for this session now, and for an hour after, until it has ended."""
        mine = key[0] == self.source and self.name in ("", key[1])
        return mine and problem in NEEDED[self.kind] and self.since <= at <= self.until + HOUR


@dataclass
class Person:
    """A session: how much it receives an hour at most, and when; the half of it is sent."""

    key: Key
    rng: Random
    rate: float
    office: bool
    burst: int
    deaths: list[Death] = field(default_factory=list)
    number: int = 0

    def share(self, at: float) -> float:
        """Of what the busiest hours bring."""
        day, clock = divmod(int(at + WARM) // HOUR % 168, 24)
        if self.office:
            return 1.0 if day < 5 and 8 <= clock < 19 else 0.0
        return 1.0 if 7 <= clock < 23 else 0.1

    def count(self, at: float, share: float = 1.0) -> int:
        """How many come in the hour that begins then."""
        return self.burst * poisson(self.rng, self.rate * self.share(at) * share / self.burst)

    def dead(self, at: float, *kinds: str) -> bool:
        """Whether it is, in one of these ways."""
        return any(death.kind in kinds and death.since <= at < death.until for death in self.deaths)


class Played(Messages):
    """As the service's, with time given; what it would write is the history."""

    def judge(self, now: int) -> None:
        """Has judged what is not acknowledged."""
        self._own(now)

    def take(self) -> Unwritten:
        """What came since the last call."""
        unwritten, self._unwritten = self._unwritten, Unwritten()
        return unwritten


class Past:
    """What the log would have: counts by hour, and when sessions were not WORKING."""

    def __init__(self) -> None:
        self.counts: dict[Key, Counter[int]] = defaultdict(Counter)
        self.totals: dict[str, Counter[int]] = defaultdict(Counter)
        self.away: dict[Key, list[int]] = defaultdict(list)

    def add(self, key: Key, hour: int, count: int) -> None:
        """Messages that came in the hour that begins then (Unix seconds)."""
        self.counts[key][hour] += count
        self.totals[key[0]][hour] += count

    def runs(self, start: int, end: int) -> list[tuple[int, int]]:
        """The exporter has always run."""
        return [(start, end)]

    def received_by_source(self, start: int) -> Iterator[tuple[str, int, int]]:
        """As `History`."""
        for source, counts in self.totals.items():
            yield from ((source, hour, count) for hour, count in counts.items() if hour >= start)

    def received(self, keys: Collection[Key], start: int, end: int) -> Iterator[tuple[Key, int, int]]:
        """As `History`."""
        for key in keys:
            yield from ((key, hour, count) for hour, count in self.counts[key].items() if start <= hour < end and count)

    def absences(self, keys: Collection[Key], start: int) -> Iterator[tuple[Key, int]]:
        """As `History`."""
        for key in keys:
            yield from ((key, at) for at in self.away[key] if at >= start)


class Month:
    """Everything that happens, made of a seed."""

    def __init__(self, seed: int, sessions: int, days: int, folder: Path) -> None:
        self.rng, self.length = dice("silence", seed), days * DAY
        names = [f"source-{number:02d}" for number in range(SOURCES)]
        config = check({"sources": {name: {} for name in names}, "thresholds": {"silent": "72h"}}).config
        self.fleet = Fleet(Rules(config))
        self.log = Log(folder / "month.db")
        access = LogAccess(self.log)
        self.messages = Played(Folding(self.fleet, access, Telemetry()), access)
        self.past, self.wall = Past(), Wall(ZoneInfo("UTC"))
        self.deaths: list[Death] = []
        self.people = [self._person(names[number % SOURCES], number) for number in range(sessions)]
        self._whole_source(names[0])
        self.holiday, self.free = names[1], (9 * DAY, 11 * DAY)
        self.said: list[tuple[float, Key, Problem]] = []
        self.known: dict[Key, set[Problem]] = {}
        self.later: list[Event] = []
        self.lost: list[tuple[Key, float]] = []
        self.events = 0

    def _person(self, source: str, number: int) -> Person:
        rng = dice("silence", self.rng.random(), number)
        rate, burst = 60 ** rng.random(), rng.choice((1, 1, 1, 5))
        made = Person((source, f"s-{number:04d}"), rng, rate, rng.random() < 0.3, burst)
        if rng.random() < 0.1:
            since = rng.uniform(DAY, self.length - LASTING - DAY)
            made.deaths.append(Death(rng.choice(DEATHS), *made.key, since, since + LASTING))
            self.deaths += made.deaths
        return made

    def _whole_source(self, source: str) -> None:
        since = 15 * DAY + 9 * HOUR
        death = Death("silent source", source, "", since, since + 12 * HOUR)
        self.deaths.append(death)
        for person in self.people:
            if person.key[0] == source:
                person.deaths.append(death)

    # -- what happens -------------------------------------------------------------------------------------------

    def play(self) -> None:
        """The month, hour by hour."""
        for person in self.people:
            for at in range(-WARM, 0, HOUR):
                self.past.add(person.key, BEGIN + WARM + at, person.count(at))
            self._apply(person.key, "WORKING", -WARM)
            self.messages.hear(person.key, (Message(IN),), ms(-60))
            self.fleet.touch(person.key, ms(-60), -60)
        self.messages.take()
        for hour in range(0, self.length, HOUR):
            self._hour(hour)

    def _hour(self, hour: int) -> None:
        events = sorted([*self.later, *(event for person in self.people for event in self._events(person, hour))])
        end = bisect_left(events, hour + HOUR, key=itemgetter(0))
        events, self.later = events[:end], events[end:]
        self.events += len(events)
        minute = 0
        for at, number, told in events:
            while hour + minute * MINUTE <= at:
                self._minute(hour + minute * MINUTE)
                minute += 1
            person = self.people[number]
            if isinstance(told, str):
                self._apply(person.key, told, at)
            else:
                self.messages.hear(person.key, (told,), ms(at))
                self.fleet.touch(person.key, ms(at), at)
        for rest in range(minute, 60):
            self._minute(hour + rest * MINUTE)
        for key, unsaved in self.messages.take().living(self.fleet.activity):
            for (begin, direction), count in unsaved.hours.items():
                if direction is IN:
                    self.past.add(key, begin, count)

    def _events(self, person: Person, hour: int) -> Iterator[Event]:
        """What a session sends to the exporter in an hour: messages, acknowledgements, and now and then a restart."""
        rng, number = person.rng, int(person.key[1][2:])
        share = 0.1 if person.key[0] == self.holiday and self.free[0] <= hour < self.free[1] else 1.0
        for _ in range(person.count(hour, share) // person.burst):
            at = hour + rng.uniform(0, HOUR)
            if not person.dead(at, "half-dead", "zombie", "silent source"):
                yield from ((at + i, number, Message(IN)) for i in range(person.burst))
        for _ in range(poisson(rng, person.rate * person.share(hour) * share / 2)):
            at, person.number = hour + rng.uniform(0, HOUR - 10), person.number + 1
            if person.dead(at, "silent source"):
                continue
            yield at, number, Message(OUT, ms(at), Ack.PENDING, f"{person.number}")
            if person.dead(at, "mute", "zombie"):
                continue
            if rng.random() < LOST:
                self.lost.append((person.key, at))
            else:
                later = rng.expovariate(1 / 2) if rng.random() < 0.99 else rng.uniform(5, 200)
                yield at + later, number, Message(None, 0, Ack.SERVER, f"{person.number}")
        if rng.random() < HOUR / (5 * DAY) and not person.dead(hour, *NEEDED):
            at = hour + rng.uniform(0, HOUR - 120)
            yield from ((at + after, number, status) for after, status in ((0, "STARTING"), (20, "WORKING")))

    def _apply(self, key: Key, status: str, at: float) -> None:
        point = Point(Status(status), ms(at), 0, ms(at))
        event = StatusEvent(*key, (point,), ms(at), f"{key}{at}", "GOWS")
        self.fleet.apply(event, [round(at * 1000) + WARM * 1000 + 1], ms(at), at)
        if status != "WORKING":
            self.past.away[key].append(ms(at))

    # -- what is said -------------------------------------------------------------------------------------------

    def _minute(self, at: int) -> None:
        """Time passes; at the begin of an hour habits are looked at."""
        self.messages.judge(ms(at))
        if at % HOUR == MINUTE:
            self._look(at)
        self.fleet.advance(ms(at), at, ms(at))
        judge = self.fleet.judge
        news, judge.news = judge.news, set()
        lost = {key for each in judge.exported() if each.kind is Kind.SILENCE for key in each.members}
        for key in news | lost | {key for key, its in self.known.items() if its}:
            now = set(judge.problems(key)) | ({Problem.SILENT} if key in lost else set())
            for problem in now - self.known.get(key, set()):
                self._say(at, key, problem)
            self.known[key] = now

    def _say(self, at: float, key: Key, problem: Problem) -> None:
        self.said.append((at, key, problem))
        for death in self.deaths:
            if death.noticed is None and death.explains(key, problem, at):
                death.noticed = at

    def _look(self, at: int) -> None:
        waiting = dict(candidates(self.fleet, ms(at // HOUR * HOUR)))
        if waiting:
            look = Look(self.past, self.wall, ms(at))  # type: ignore[arg-type]  # as much of a history as it needs
            take(self.fleet, waiting, look.quiet(waiting))


def ms(seconds: float) -> int:
    """A second of the month in Unix ms."""
    return (BEGIN + WARM) * 1000 + round(seconds * 1000)


def show(month: Month, console: Console) -> None:
    """The table."""
    table = Table("what happened", "how often", "noticed", "after, median", "9 of 10", "missed")
    for kind in NEEDED:
        mine = [death for death in month.deaths if death.kind == kind]
        delays = sorted(death.noticed - death.since for death in mine if death.noticed is not None)
        spans = [words(statistics.median(delays)), words(delays[int(len(delays) * 0.9)])] if delays else ["", ""]
        table.add_row(kind, str(len(mine)), str(len(delays)), *spans, str(len(mine) - len(delays)))
    console.print(table)
    console.print(f"{len(month.people)} sessions, {month.length // DAY} days, {month.events:,} events")
    false = [each for each in month.said if not explained(month.deaths, *each)]
    excused = [each for each in false if each[2] is Problem.UNDELIVERED and lost_before(month.lost, *each[:2])]
    counts = Counter(problem for _, _, problem in false)
    console.print(
        f"false alerts: silent {counts[Problem.SILENT]}, undelivered {counts[Problem.UNDELIVERED]}; of these"
        f" {len(excused)} after one of {len(month.lost)} messages whose acknowledgements got lost"
    )


def lost_before(lost: Iterable[tuple[Key, float]], at: float, key: Key) -> bool:
    """Whether a message of the session has lost its acknowledgements in the hour before."""
    return any(each == key and 0 <= at - when <= HOUR for each, when in lost)


def explained(deaths: Iterable[Death], at: float, key: Key, problem: Problem) -> bool:
    """Whether somebody was needed."""
    return any(death.explains(key, problem, at) for death in deaths)


def words(seconds: float) -> str:
    """Hours, or minutes of less than two."""
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.month_silence", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--details", action="store_true", help="list false alerts and what was missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        month = Month(options.seed, options.sessions, options.days, Path(folder))
        month.play()
    show(month, Console(width=120))
    if options.details:
        for at, key, problem in month.said:
            if not explained(month.deaths, at, key, problem):
                print("false", problem, key, round(at / HOUR, 2))
        print(*(death for death in month.deaths if death.noticed is None), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
