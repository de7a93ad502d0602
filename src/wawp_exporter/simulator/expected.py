"""What the exporter must come to know of a plan, and the report on what it answered."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from wawp_exporter.simulator.gateway import NONE
from wawp_exporter.simulator.plan import Message, Plan


@dataclass(frozen=True, slots=True)
class ExpectedMessages:
    """What one session received and sent: how many, and when the last ones (Unix seconds, 0: none).

    `unacknowledged` is when the oldest message was sent that WhatsApp's server has not acknowledged: an acknowledgement
    ends all that were sent before.
    """

    received: int = 0
    sent: int = 0
    last_received: int = 0
    last_sent: int = 0
    unacknowledged: int = 0


@dataclass(frozen=True, slots=True)
class ExpectedSession:
    """What happened to one session, by event time: all its points as (status, Unix ms), in order."""

    session: str
    engine: str
    points: tuple[tuple[str, int], ...]
    messages: ExpectedMessages = ExpectedMessages()

    @property
    def status(self) -> str:
        """The last status."""
        return self.points[-1][0]

    @property
    def changes(self) -> list[tuple[str, int]]:
        """The points without repeats."""
        pairs = pairwise([(NONE, 0), *self.points])
        return [after for before, after in pairs if after[0] != before[0]]

    @property
    def since_ms(self) -> int:
        """When it entered its last status."""
        return self.changes[-1][1]

    @property
    def transitions(self) -> Counter[tuple[str, str]]:
        """How often it went from one status to another; from NONE once."""
        return Counter(pairwise([NONE, *(status for status, _ in self.changes)]))

    def seconds(self, until_ms: int) -> dict[str, float]:
        """Time in each status from the first point until `until_ms`."""
        spent: Counter[str] = Counter()
        ends = [*(at_ms for _, at_ms in self.changes[1:]), until_ms]
        for (status, at_ms), end_ms in zip(self.changes, ends, strict=True):
            spent[status] += max(0, min(end_ms, until_ms) - at_ms)
        return {status: ms / 1000 for status, ms in spent.items()}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the exporter must come to know, by session; made of the plan alone. `end_ms` is the last event's time."""

    sessions: Mapping[str, ExpectedSession]
    end_ms: int

    @property
    def transitions(self) -> Counter[tuple[str, str]]:
        """The transitions of the whole fleet."""
        return sum((each.transitions for each in self.sessions.values()), Counter())

    @property
    def statuses(self) -> Counter[str]:
        """How many sessions ended in each status."""
        return Counter(each.status for each in self.sessions.values())

    def seconds(self, until_ms: int | None = None) -> dict[str, dict[str, float]]:
        """Time in each status by session until `until_ms`, or the last event."""
        end_ms = self.end_ms if until_ms is None else until_ms
        return {name: each.seconds(end_ms) for name, each in self.sessions.items()}


def expected_of(
    plan: Plan, points: Mapping[str, list[tuple[str, int]]], messages: Mapping[str, list[tuple[Message, int]]]
) -> Expected:
    """What follows from the part of a plan that was sent, with the Unix ms of its points and messages."""
    sessions = {
        name: ExpectedSession(name, plan.engines[name], tuple(its), messages_of(messages.get(name, [])))
        for name, its in points.items()
    }
    return Expected(sessions, max((its[-1][1] for its in points.values()), default=0))


def messages_of(events: Iterable[tuple[Message, int]]) -> ExpectedMessages:
    """What follows from the events about the messages of one session, in order."""
    waiting: list[int] = []
    times: dict[bool, list[int]] = {False: [], True: []}
    for message, at_ms in events:
        if message.acknowledges:
            waiting = []
            continue
        times[message.own].append(at_ms // 1000)
        waiting += [at_ms // 1000] if message.own else []
    received, sent = times[False], times[True]
    return ExpectedMessages(
        len(received), len(sent), max(received, default=0), max(sent, default=0), min(waiting, default=0)
    )


@dataclass(slots=True)
class Counts:
    """Counts while a simulation runs."""

    sent: int = 0
    delivered: int = 0
    given_up: int = 0
    retries: int = 0
    forged: int = 0
    forged_accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Deliveries that have ended one way or the other."""
        return self.delivered + self.given_up + self.forged


@dataclass(frozen=True, slots=True)
class Report:
    """What came back: `answers` by HTTP status and `errors` by kind count attempts, `outcomes` accepted events.

    `sent` counts genuine deliveries, copies included, once however often they were retried; seconds throughout.
    """

    scenario: str
    sent: int
    delivered: int
    given_up: int
    retries: int
    forged: int
    forged_accepted: int
    outcomes: Mapping[str, int]
    answers: Mapping[int, int]
    errors: Mapping[str, int]
    elapsed: float
    p50: float
    p99: float
    expected: Expected

    @property
    def ok(self) -> bool:
        """Whether every genuine event was accepted and no forged one."""
        return self.sent == self.delivered and not self.forged_accepted

    def to_json(self) -> str:
        """Everything, for scripts; transitions as `FROM>TO`, what is expected under `truth`."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "expected"}
        data["truth"] = {
            "end_ms": self.expected.end_ms,
            "transitions": arrows(self.expected.transitions),
            "sessions": {name: as_json(each, self.expected.end_ms) for name, each in self.expected.sessions.items()},
        }
        return json.dumps(data)


def as_json(session: ExpectedSession, end_ms: int) -> dict[str, Any]:
    """One session as the report has it."""
    return {
        "engine": session.engine,
        "status": session.status,
        "since_ms": session.since_ms,
        "transitions": arrows(session.transitions),
        "seconds": session.seconds(end_ms),
        "messages": asdict(session.messages),
    }


def arrows(transitions: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Keys that JSON can have."""
    return {f"{before}>{after}": count for (before, after), count in transitions.items()}


def quantile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the sorted `values` do not exceed; 0 of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
