"""Plays: what happens to sessions as lines of text, and what the judge is to say of it.

    0   x1-20     WORKING               twenty sessions of `waha/GOWS` work
    10  x1-8      DISCONNECTED          eight are lost
    16  =         OUTAGE disconnect waha/GOWS 8/8@10
    20  x3        FAILED at 12          an event that came late
    30  b:y1      maintenance           y1 of source b; then `expected` ends it
    40  x1        deleted | heard | restricted 60 | free | limit failed 60

Seconds; `nothing` expects nothing. `FleetOfPlay` stands for the fleet: it folds the points and tells the judge.
"""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from wawp_exporter.model.event import Point
from wawp_exporter.model.facts import Facts, Problem, Restricted
from wawp_exporter.model.judge import Judge
from wawp_exporter.model.limits import Constants, Limits
from wawp_exporter.model.machine import State, fold
from wawp_exporter.model.outage import Outage
from wawp_exporter.model.rules import Key

BEGIN = 1_000_000_000_000
UNSCALED = Constants()
USUAL = Limits()


def ms(seconds: float, pace: float = 1) -> int:
    """An instant of a play in Unix ms; with a pace of 0.05 the play takes a twentieth of its time."""
    return BEGIN + round(seconds * 1000 * pace)


def seconds(instant: int, pace: float = 1) -> float:
    """The instant as a play counts it."""
    found = round((instant - BEGIN) / 1000 / pace, 3)
    return int(found) if found == int(found) else found


class FleetOfPlay:
    """Folds what happens and tells the judge; `judge` is what is tested."""

    def __init__(self, judge: Judge, limits: Limits = USUAL, engine: str = "GOWS") -> None:
        self.judge = judge
        self.limits = limits
        self.engine = engine
        self.points: dict[Key, list[Point]] = {}
        self.facts: dict[Key, Facts] = {}

    def tell(self, key: Key, after: Facts | None, now: int) -> None:
        """As the fleet will: what was told last comes along."""
        self.judge.observe(key, self.facts.get(key), after, now)
        if after is None:
            del self.facts[key], self.points[key]
        else:
            self.facts[key] = after

    def known(self, key: Key) -> Facts:
        """What is known of a session, or would be of a new one."""
        return self.facts.get(key, Facts(engine=self.engine, limits=self.limits))

    def point(self, key: Key, status: str, at: int, now: int) -> None:
        """An event of that time, received now; a late one corrects what is known."""
        points = self.points.setdefault(key, [])
        points.append(Point(status, at, 0, at))
        points.sort(key=lambda point: point.at)
        self.tell(key, replace(self.known(key), state=state_of(points), heard=now), now)

    def points_at_once(self, key: Key, told: list[tuple[str, int]], now: int) -> None:
        """One event that brings the points before its own, all newer than what is known."""
        points = self.points.setdefault(key, [])
        passed = []
        for status, at in told:
            points.append(Point(status, at, 0, at))
            passed.append(replace(self.known(key), state=state_of(points), heard=now))
        self.judge.observe(key, self.facts.get(key), passed[-1], now, passed[:-1])
        self.facts[key] = passed[-1]

    def hear(self, key: Key, word: str, now: int) -> None:
        """A sign of life, or a probe."""
        self.judge.wake(now)
        if word == "heard":
            self.judge.heard(key, now)
        else:
            self.judge.overhear(key, self.known(key), unresponsive=now if word == "unanswered" else 0)

    def act(self, key: Key, words: list[str], now: int) -> None:
        """One word of a play."""
        facts = self.known(key)
        match words:
            case ["deleted"]:
                self.tell(key, None, now)
            case ["heard" | "unanswered" | "answered" as word]:
                self.hear(key, word, now)
            case ["maintenance"] | ["expected"]:
                self.tell(key, replace(facts, maintenance=words == ["maintenance"]), now)
            case ["restricted", *until]:
                limit = Restricted(Problem.REACHOUT_TIMELOCK, now, ms(float(until[0])) if until else 0)
                self.tell(key, replace(facts, restrictions=(limit,)), now)
            case ["free"]:
                self.tell(key, replace(facts, restrictions=()), now)
            case ["because", *reason]:
                self.tell(key, replace(facts, reason="".join(reason)), now)
            case ["limit", kind, value]:
                limits = replace(facts.limits, **{kind: round(float(value) * 1000)})
                self.tell(key, replace(facts, limits=limits), now)
            case [status, "at", at]:
                self.point(key, status, ms(float(at)), now)
            case [status]:
                self.point(key, status, now, now)


def state_of(points: list[Point]) -> State:
    """The fold of at least one point."""
    state = fold(points)
    assert state
    return state


def keys_of(text: str) -> Iterator[Key]:
    """`x1-3,b:y` → x1, x2, x3 of waha, y of b."""
    for part in text.split(","):
        source, _, name = part.rpartition(":")
        many = re.fullmatch(r"(\D+)(\d+)-(\d+)", name)
        names = [f"{many[1]}{n}" for n in range(int(many[2]), int(many[3]) + 1)] if many else [name]
        yield from ((source or "waha", each) for each in names)


def place_of(outage: Outage) -> str:
    """Whose sessions it holds."""
    return f"{outage.source}/{outage.engine}" if outage.source else "everywhere"


def said(judge: Judge, pace: float = 1) -> set[str]:
    """Everything that the judge exports, a line each."""
    problems = {
        f"{key[0]}:{key[1]} {problem}@{seconds(since, pace)}"
        for key, case in judge.cases.items()
        for problem, since in case.problems.items()
    }
    outages = {
        f"OUTAGE {outage.kind} {place_of(outage)} {outage.size}/{outage.largest}@{seconds(outage.since, pace)}"
        for outage in judge.exported()
    }
    return problems | outages


def expected(text: str) -> set[str]:
    """`x1-3 failed@10; OUTAGE …` as `said` has it."""
    lines: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(";"))):
        names, _, rest = part.partition(" ")
        if names == "OUTAGE":
            lines.add(part)
        elif names != "nothing":
            lines |= {f"{source}:{name} {rest}" for source, name in keys_of(names)}
    return lines


def perform(script: str, fleet: FleetOfPlay, pace: float = 1) -> None:
    """Plays a script line by line, and compares wherever it says what is to be said."""
    for line in filter(None, (line.strip() for line in script.splitlines())):
        time, who, *words = line.split()
        now = ms(float(time), pace)
        if who == "=":
            fleet.judge.wake(now)
            assert said(fleet.judge, pace) == expected(" ".join(words)), f"at {time}"
            continue
        for key in keys_of(who):
            fleet.act(key, words, now)
