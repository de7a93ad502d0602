"""How many messages alerts make: a model of Alertmanager's routes, groups and repeats, for weeks instead of seconds.

`messages` gives what each receiver is sent; times are Unix seconds. There are no silences, no inhibition, one
Alertmanager, and no receiver fails. test_grouping.py holds it against real ones.
"""

import heapq
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from alerts.tests.stack import seconds

MATCHER = re.compile(r'\s*"?(\w+)"?\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*', re.DOTALL)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DEFAULTS = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}
# Prometheus sends a resolved alert again each minute, for 15 minutes: so long its group lives on.
RESEND, RETENTION = 60.0, 900.0

Labels = Mapping[str, str]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Alert:
    """When an alert fired; `ends` is None while it does."""

    labels: Labels
    starts: float
    ends: float | None = None


@dataclass(frozen=True)
class Message:
    """What one receiver was sent."""

    at: float
    receiver: str
    group: Pairs
    firing: int
    resolved: int


@dataclass(frozen=True)
class Route:
    """A route with what it inherits."""

    receiver: str
    group_by: Sequence[str]
    wait: float
    interval: float
    repeat: float
    matchers: Sequence[str]
    continues: bool
    hours: Sequence[str]
    children: Sequence["Route"]

    def matches(self, labels: Labels) -> bool:
        """Whether all of its matchers do."""
        return all(holds(matcher, labels) for matcher in self.matchers)

    def found(self, labels: Labels) -> Iterator["Route"]:
        """The routes that an alert takes, if this one matches: the deepest, and the first unless it continues."""
        taken = False
        for child in self.children:
            if child.matches(labels):
                taken = True
                yield from child.found(labels)
                if not child.continues:
                    break
        if not taken:
            yield self

    def key(self, labels: Labels) -> Pairs:
        """The group of an alert: its labels by which the route groups."""
        names = sorted(labels) if "..." in self.group_by else self.group_by
        return tuple((name, labels.get(name, "")) for name in names)


def route(given: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> Route:
    """A route of alertmanager.yml, and those below it."""
    inherited = {key: parent[key] for key in ("receiver", "group_by", *DEFAULTS) if parent and key in parent}
    merged: dict[str, Any] = {"group_by": [], **DEFAULTS, **inherited, **given}
    return Route(
        merged["receiver"],
        merged["group_by"],
        *(seconds(merged[name]) for name in DEFAULTS),
        given.get("matchers", ()),
        given.get("continue", False),
        given.get("active_time_intervals", ()),
        [route(child, merged) for child in given.get("routes", ())],
    )


def holds(matcher: str, labels: Labels) -> bool:
    """`category =~ "a|b"` of these labels; a label that is not there is empty."""
    found = MATCHER.fullmatch(matcher)
    if not found:
        raise ValueError(f"{matcher!r} is not a matcher")
    name, kind, wanted = found.groups()
    value = labels.get(name, "")
    same = bool(re.fullmatch(wanted, value)) if "~" in kind else value == wanted
    return same != kind.startswith("!")


def open_at(interval: Mapping[str, Any], at: float) -> bool:
    """Whether a time is within an interval that gives weekdays and times of day."""
    for span in interval["time_intervals"]:
        there = datetime.fromtimestamp(at, ZoneInfo(span.get("location", "UTC")))
        clock = there.strftime("%H:%M")
        times = span.get("times", [{"start_time": "00:00", "end_time": "24:00"}])
        if on_day(span.get("weekdays", ["monday:sunday"]), there.weekday()) and any(
            each["start_time"] <= clock < each["end_time"] for each in times
        ):
            return True
    return False


def on_day(weekdays: Iterable[str], day: int) -> bool:
    """`monday:friday`, or a single day; Monday is 0."""
    spans = [[DAYS.index(name) for name in text.split(":")] for text in weekdays]
    return any(span[0] <= day <= span[-1] for span in spans)


@dataclass
class Group:
    """The alerts of one group, by their labels, and what was last said of them. `flush` is None while it has none."""

    route: Route
    key: Pairs
    resolves: bool
    alerts: dict[Pairs, Alert] = field(default_factory=dict)
    flush: float | None = None
    fired: set[Pairs] = field(default_factory=set)
    over: set[Pairs] = field(default_factory=set)
    said: float | None = None

    def add(self, alert: Alert) -> bool:
        """An alert begins. True if it is the first of the group, which then waits for others."""
        self.alerts[tuple(sorted(alert.labels.items()))] = alert
        if self.flush is not None:
            return False
        self.flush = alert.starts + self.route.wait
        return True

    def turn(self, at: float, is_open: bool) -> Message | None:
        """A flush: what is sent, if anything. Outside of its hours nothing is sent, and nothing is noted as said."""
        firing = {key for key, alert in self.alerts.items() if alert.ends is None or alert.ends > at}
        over = self.alerts.keys() - firing
        message = self.message(at, firing, over) if is_open and self.news(at, firing, over) else None
        self.forget(at, over)
        self.flush = at + self.route.interval if self.alerts else None
        return message

    def news(self, at: float, firing: set[Pairs], over: set[Pairs]) -> bool:
        """Whether it differs from what was said, or was said long ago."""
        if self.said is None:
            return bool(firing)
        if firing - self.fired:
            return True
        if not firing:
            return bool(self.fired)
        return (self.resolves and bool(over - self.over)) or at - self.said > self.route.repeat

    def message(self, at: float, firing: set[Pairs], over: set[Pairs]) -> Message | None:
        """What is said now. The end of all is noted, but not sent to a receiver that wants no ends."""
        self.fired, self.over, self.said = firing, over, at
        if not firing and not self.resolves:
            return None
        return Message(at, self.route.receiver, self.key, len(firing), len(over) if self.resolves else 0)

    def forget(self, at: float, over: set[Pairs]) -> None:
        """What is over stays while Prometheus sends it again, unless the group is flushed more often than that."""
        kept = RETENTION if self.route.interval >= RESEND else 0.0
        for key in over:
            if at - (self.alerts[key].ends or at) >= kept:
                del self.alerts[key]


class Model:
    """An Alertmanager with this configuration; time goes on with each alert."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.top = route(config["route"])
        self.resolves = {each["name"]: sends_resolved(each) for each in config["receivers"]}
        self.intervals = {each["name"]: each for each in config.get("time_intervals", ())}
        self.groups: dict[tuple[int, Pairs], Group] = {}
        self.flushes: list[tuple[float, int, Group]] = []
        self.order = itertools.count()
        self.sent: list[Message] = []

    def fire(self, alert: Alert) -> None:
        """It begins now. What ends at the same time as another begins ends first."""
        self.run(alert.starts)
        for found in self.top.found(alert.labels):
            key = found.key(alert.labels)
            group = self.groups.setdefault((id(found), key), Group(found, key, self.resolves[found.receiver]))
            if group.add(alert):
                self.plan(group)

    def plan(self, group: Group) -> None:
        """Its next flush, if it has one."""
        if group.flush is not None:
            heapq.heappush(self.flushes, (group.flush, next(self.order), group))

    def run(self, until: float) -> None:
        """Every flush before that time."""
        while self.flushes and self.flushes[0][0] < until:
            at, _, group = heapq.heappop(self.flushes)
            if message := group.turn(at, self.is_open(group.route, at)):
                self.sent.append(message)
            self.plan(group)

    def is_open(self, found: Route, at: float) -> bool:
        """Whether the route is active then."""
        return not found.hours or any(open_at(self.intervals[name], at) for name in found.hours)


def messages(config: Mapping[str, Any], alerts: Iterable[Alert], until: float) -> list[Message]:
    """What the receivers of an Alertmanager with this configuration are sent until then, in order."""
    model = Model(config)
    for alert in sorted(alerts, key=lambda each: each.starts):
        model.fire(alert)
    model.run(until)
    return model.sent


def sends_resolved(receiver: Mapping[str, Any]) -> bool:
    """Whether a receiver is told ends; mail and Slack are not unless they ask for it."""
    found = [(kind, each) for kind, entries in receiver.items() if kind.endswith("_configs") for each in entries]
    quiet = {"email_configs", "slack_configs"}
    return any(settings.get("send_resolved", kind not in quiet) for kind, settings in found)


def a_week(sent: Sequence[Message], length: float) -> dict[str, float]:
    """Messages a week for each receiver, of a period of so many seconds."""
    names = sorted({message.receiver for message in sent})
    return {name: sum(each.receiver == name for each in sent) * 604_800 / length for name in names}
