"""A simulated month, judged by the backtest and held against what really happened: `python -m bench.month [--seed 1]`.

26 sessions of three sources live through blips, drops, lost logins, restrictions, restart loops, planned stops, losses
of a whole source, maintenance, shutdowns of a gateway, and times at which the exporter is away. Each story says by
itself which alerts somebody needs, and when: an alert that no story needs is false, a need without one is missed, and
one that comes more than a second after it was due is late. Webhooks come within a second, some of them late.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from wawp_exporter.audit.backtest import Query, backtest
from wawp_exporter.audit.firings import Firing, row
from wawp_exporter.config.load import check
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import Limit, Point, Restriction, StatusEvent
from wawp_exporter.model.rules import Key
from wawp_exporter.simulator import pieces
from wawp_exporter.simulator.plan import BROWSERS, FAILED, SCAN, STARTING, STOPPED, WORKING, Role, Step, dice
from wawp_exporter.times import utc

BEGIN_MS = 1_790_553_600_000  # 2026-09-28, a Monday
MINUTE, HOUR, DAY = 60, 3600, 86_400
FLEET = {"north": {"GOWS": 6, "NOWEB": 4}, "south": {"WEBJS": 5, "WPP": 3}, "wawp": {"GOWS": 8}}
DISCONNECTS = "wawp"  # the source whose losses are DISCONNECTED
QUIET = HOUR  # between two stories of a session
AWAY = 10 * MINUTE  # how long the exporter is away
SETTLE = {"WawpSessionQrWaiting": 0, "WawpSessionDisconnected": 5, "WawpMassDisconnect": 5}  # seconds; the others: 10
TOLERANCE = 1.0
LOGIN_ALERTS = (("WawpSessionQrWaiting", 0), ("WawpSessionQrEscalated", 300), ("WawpSessionQrUnattended", 3600))
BACK = 90  # seconds after which the exporter has heard everything that it missed
# What else may be said of a session that somebody is already needed for.
LOST = frozenset({"WawpSessionDisconnected", "WawpSessionFailed", "WawpSessionStuckStarting", "WawpSessionFlapping",
                  "WawpSessionNotWorking"})  # fmt: skip


@dataclass
class Need:
    """Somebody is needed between two seconds: the alert is due `limit` s after `since`, or when the event has come.

    `event`: the number of the story's step after which the exporter can know. Of a whole source `session` is None.
    """

    alert: str
    source: str
    session: str | None
    since: float
    until: float
    limit: float = 0.0
    event: int | None = None
    heard: float = 0.0
    allowed: frozenset[str] = LOST

    @property
    def due(self) -> float:
        """When the alert is to fire."""
        return max(self.since + self.limit, self.heard) + SETTLE.get(self.alert, 10)


@dataclass
class Story:
    """Steps of one session from `at` on, and who is needed because of them."""

    key: Key
    engine: str
    at: float
    steps: list[Step]
    needs: list[Need] = field(default_factory=list)

    def times(self) -> list[float]:
        """When each step happens."""
        found, at = [], self.at
        for step in self.steps:
            at += step.after
            found.append(at)
        return found

    @property
    def end(self) -> float:
        """When it is over."""
        return self.times()[-1]

    def need(self, alert: str, step: int, limit: float = 0.0, until: float | None = None) -> None:
        """Somebody is needed because of a step, until the story ends."""
        since = self.times()[step]
        self.needs.append(Need(alert, *self.key, since, self.end if until is None else until, limit, step))


# -- stories --------------------------------------------------------------------------------------------------------


def role_of(key: Key, engine: str, rng: Random) -> Role:
    """What the simulator's pieces need."""
    return Role("/".join(key), 0, engine, rng, 0.0, 0.0)


def blip(story: Story, role: Role) -> None:
    """Over before anybody could do anything."""
    if story.key[0] == DISCONNECTS:
        story.steps += [Step(0, "DISCONNECTED"), Step(role.rng.uniform(1, 3), STARTING), Step(1, WORKING)]
    elif role.engine in BROWSERS:
        story.steps += [Step(0, FAILED), Step(2, STARTING), Step(role.rng.uniform(5, 15), WORKING)]
    else:
        story.steps += pieces.outage(role, 0, role.rng.uniform(4, 45))


def drop(story: Story, role: Role) -> None:
    """No network for minutes."""
    lasting = role.rng.uniform(150, 1800)
    if story.key[0] == DISCONNECTS:
        story.steps += pieces.disconnected(role, 0, lasting)
        story.need("WawpSessionDisconnected", 0)
        return
    story.steps += pieces.outage(role, 0, lasting)
    if role.engine in BROWSERS:
        fourth = [number for number, step in enumerate(story.steps) if step.status == FAILED][3]
        story.need("WawpSessionFlapping", fourth)
    else:
        story.need("WawpSessionStuckStarting", 0, 60)


def relogin(story: Story, role: Role) -> None:
    """A login is lost; somebody scans in time, late, or hours later."""
    wait = role.rng.choice((role.rng.uniform(20, 150), role.rng.uniform(400, 900), role.rng.uniform(4000, 9000)))
    story.steps += [*pieces.stop(role, 0), Step(pieces.FIRST_QR[role.engine], SCAN), Step(wait, WORKING)]
    for alert, limit in (
        ("WawpSessionQrWaiting", 0),
        ("WawpSessionQrEscalated", 300),
        ("WawpSessionQrUnattended", 3600),
    ):
        if wait > limit + 10:
            story.need(alert, 2, limit)


def unlinked(story: Story, role: Role) -> None:
    """FAILED until somebody restarts it and scans."""
    story.steps += [Step(0, FAILED), *pieces.stop(role, role.rng.uniform(600, 7200))]
    story.need("WawpSessionFailed", 0, 10)
    story.steps += pieces.answered(role, role.rng.uniform(20, 150))
    first = next(number for number, step in enumerate(story.steps) if step.status == SCAN)
    story.need("WawpSessionQrWaiting", first)


def restricted(story: Story, role: Role) -> None:
    """WORKING, but WhatsApp limits the account for hours."""
    lasting = role.rng.uniform(HOUR, 12 * HOUR)
    story.steps += [Step(0, WORKING, pieces.timelock(True, 0)), Step(lasting, WORKING, pieces.timelock(False, 0))]
    story.need("WawpSessionRestricted", 0)


def restart(story: Story, role: Role) -> None:
    """One restart by hand."""
    story.steps += pieces.restarted(role, 0)


def restart_loop(story: Story, role: Role) -> None:
    """Something restarts it every minute."""
    for _ in range(8):
        story.steps += pieces.restarted(role, role.rng.uniform(35, 50))
    fourth = [number for number, step in enumerate(story.steps) if step.status == STARTING][3]
    # It is over when no status was entered four times in the last quarter of an hour.
    story.need("WawpSessionFlapping", fourth, until=story.end + 900)


def stopped(story: Story, role: Role) -> None:
    """Somebody has stopped it for hours."""
    story.steps += [Step(0, STOPPED), *pieces.boot(role, role.rng.uniform(600, 36_000))]


TALES = ((restart, 30), (blip, 40), (drop, 12), (relogin, 10), (unlinked, 3), (restricted, 3), (restart_loop, 1),
         (stopped, 4))  # fmt: skip


# -- the month ------------------------------------------------------------------------------------------------------


class Month:
    """Everything that happens, made of a seed."""

    def __init__(self, seed: int, days: int) -> None:
        self.seed, self.length = seed, days * DAY
        self.rng = dice("month", seed)
        self.engines: dict[Key, str] = {
            (source, f"{engine.lower()}-{n}"): engine
            for source, engines in FLEET.items()
            for engine, count in engines.items()
            for n in range(count)
        }
        self.stories: list[Story] = []
        self.needs: list[Need] = []
        self.windows = [(12 * HOUR + week * 7 * DAY, 14 * HOUR + week * 7 * DAY) for week in range(days // 7)]
        self.away: list[tuple[float, float]] = []
        self.busy: dict[str, list[tuple[float, float]]] = {source: [] for source in FLEET}
        self.busy["south"] += [(begin - 12 * HOUR, end + 3 * HOUR) for begin, end in self.windows]
        for number in range(max(1, days // 7)):
            self._whole_sources(number)
        for begin, end in self.windows:
            self._maintenance(begin, end)
        for key, engine in self.engines.items():
            self._single(key, engine)

    def _story(self, key: Key, at: float) -> tuple[Story, Role]:
        engine = self.engines[key]
        story = Story(key, engine, at, [])
        self.stories.append(story)
        return story, role_of(key, engine, dice(self.seed, *key, at))

    def _single(self, key: Key, engine: str) -> None:
        """The stories of one session, one after another."""
        rng = dice(self.seed, *key)
        self._story(key, rng.uniform(0, 60))[0].steps += pieces.boot(role_of(key, engine, rng))
        at = rng.uniform(QUIET, DAY)
        while at < self.length - DAY:
            if any(begin - DAY / 2 < at < end for begin, end in self.busy[key[0]]):
                at += HOUR
                continue
            (tale,) = rng.choices([tale for tale, _ in TALES], [share for _, share in TALES])
            story, role = self._story(key, at)
            tale(story, role)
            at = story.end + QUIET + rng.expovariate(1 / (16 * HOUR))

    def _whole_sources(self, week: int) -> None:
        """Once a week each source is lost for minutes, and its gateway is shut down; once the exporter is away."""
        for number, source in enumerate(FLEET):
            at = week * 7 * DAY + (2 + number) * DAY + self.rng.uniform(0, 6 * HOUR)
            lasting = self.rng.uniform(240, 1500)
            self.busy[source].append((at, at + 8 * HOUR))
            if number == week % 3:  # nobody sees the loss itself
                self.away.append((at - 60, at - 60 + AWAY))
            self._loss(source, at, lasting)
            self._shutdown(source, at + 5 * HOUR)

    def _loss(self, source: str, at: float, lasting: float) -> None:
        """All sessions of a source within half a minute; one is still lost two hours later."""
        keys = [key for key in self.engines if key[0] == source]
        late = self.rng.choice(keys)
        for key in keys:
            story, role = self._story(key, at + self.rng.uniform(0, 30))
            length = lasting + (2 * HOUR if key == late else 0)
            if source == DISCONNECTS:
                story.steps += pieces.disconnected(role, 0, length)
            else:
                story.steps += pieces.outage(role, 0, length)
        back = max((end + BACK for begin, end in self.away if begin <= at < end), default=0.0)
        for engine in FLEET[source] if at + lasting > back else ():  # else it was over before anybody could know
            engines = frozenset({engine})
            self.needs.append(Need("WawpMassDisconnect", source, None, at, at + lasting + 600, allowed=engines))
        self.needs.append(Need("", *late, at + lasting, at + lasting + 2 * HOUR))

    def _shutdown(self, source: str, at: float) -> None:
        """STOPPED all at once, and a boot 40 s later."""
        for key in (key for key in self.engines if key[0] == source):
            story, role = self._story(key, at)
            story.steps += [Step(role.rng.uniform(0, 0.05), STOPPED), *pieces.boot(role, 40 + role.rng.uniform(0, 5))]

    def _maintenance(self, begin: float, end: float) -> None:
        """Everything of `south` is restarted or lost in the window; one session is still lost at its end."""
        keys = [key for key in self.engines if key[0] == "south"]
        late = self.rng.choice(keys)
        for key in keys:
            story, role = self._story(key, self.rng.uniform(begin + 60, begin + HOUR))
            if key == late:
                story.steps += [Step(0, FAILED), *pieces.restarted(role, end - story.at + HOUR)]
                story.needs.append(Need("WawpSessionFailed", *key, end, story.end))
            else:
                story.steps += pieces.outage(role, 0, 1200)

    # -- what the exporter receives -----------------------------------------------------------------------------

    def events(self) -> list[StatusEvent]:
        """All webhooks in the order of their receipt; the needs learn when they could be known."""
        found: list[StatusEvent] = []
        for story in self.stories:
            heard = [self._heard(at) for at in story.times()]
            for need in story.needs:
                need.heard = heard[need.event] if need.event is not None else 0.0
            found += [event_of(story, step, at, got)
                      for step, at, got in zip(story.steps, story.times(), heard, strict=True)]  # fmt: skip
            self.needs += story.needs
        return sorted(found, key=lambda event: event.received_at)

    def _heard(self, at: float) -> float:
        """When a webhook is received: at once, late, or when the exporter is back."""
        late = self.rng.uniform(5, 40) if self.rng.random() < 0.01 else self.rng.uniform(0.02, 0.8)
        for begin, end in self.away:
            if begin <= at < end:
                return end + self.rng.uniform(1, 60)
        return at + late


def ms(seconds: float) -> int:
    """A second of the month in Unix ms."""
    return BEGIN_MS + round(seconds * 1000)


def event_of(story: Story, step: Step, at: float, heard: float) -> StatusEvent:
    """One webhook."""
    active = step.data is not None and dict(step.data.fields)["isActive"] is True
    limits = (Limit(Restriction.REACHOUT_TIMELOCK, active),) if step.data else ()
    point = Point(step.status, ms(at), 0, ms(at))
    return StatusEvent(*story.key, (point,), ms(heard), f"{story.key}{at}", story.engine, limits)


# -- what is found --------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """How the alerts of a month compare with what was needed; `early` are single alerts just before their outage."""

    needed: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    false: list[Firing] = field(default_factory=list)
    early: list[Firing] = field(default_factory=list)
    missed: list[Need] = field(default_factory=list)
    late: list[tuple[Need, float]] = field(default_factory=list)


def judged(month: Month, folder: Path) -> list[Firing]:
    """What the backtest finds in the month's log."""
    log, events = Log(folder / "month.db"), month.events()
    for start in range(0, len(events), 2000):
        log.append(events[start : start + 2000])
    log.close()
    windows = [{"source": "south", "from": utc(ms(begin)), "to": utc(ms(end))} for begin, end in month.windows]
    config = check({"sources": {source: {} for source in FLEET}, "maintenance": windows}).config
    (firings,) = backtest(folder / "month.db", [config], Query(ms(0), ms(month.length))).firings
    return firings


def verdict(month: Month, firings: Iterable[Firing]) -> Verdict:
    """Each alert held against the needs."""
    found = Verdict()
    firings = list(firings)
    for need in month.needs:
        found.needed[need.alert or "(left over from an outage)"] += 1
        met = [each for each in firings if meets(each, need)]
        if not met:
            found.missed.append(need)
        elif need.alert and need.session and met[0].firing_at > ms(need.due + TOLERANCE):
            found.late.append((need, (met[0].firing_at - ms(need.due)) / 1000))
    for each in firings:
        found.fired[each.alert] += 1
        if not any(meets(each, need) or excused(each, need) for need in month.needs):
            (found.early if is_early(each, firings) else found.false).append(each)
    return found


def is_early(firing: Firing, firings: Iterable[Firing]) -> bool:
    """Whether a session is one of the first of an outage, and was reported before it was one."""
    return any(each.kind and firing.session and each.concerns((firing.source, firing.session))
               and 0 <= each.firing_at - firing.firing_at <= MINUTE * 1000 for each in firings)  # fmt: skip


def meets(firing: Firing, need: Need) -> bool:
    """Whether an alert is the one that is needed."""
    if (firing.source, firing.session) != (need.source, need.session) or not together(firing, need):
        return False
    if need.session is None:
        return firing.alert == need.alert and firing.engine in need.allowed
    return firing.alert == need.alert if need.alert else firing.alert in LOST


def excused(firing: Firing, need: Need) -> bool:
    """Whether an alert is about a session for which somebody is needed anyway."""
    mine = (firing.source, firing.session) == (need.source, need.session)
    return mine and firing.alert in need.allowed and together(firing, need)


def together(firing: Firing, need: Need) -> bool:
    """Whether the times overlap."""
    ended = firing.ended_at or ms(40 * DAY)
    return firing.firing_at <= ms(need.until + MINUTE) and ended >= ms(need.since)


def show(found: Verdict, console: Console) -> None:
    """The table."""
    table = Table("alert", "needed", "fired", "missed", "false", "early", "late")
    missed, false, early, late = (
        Counter(each.alert or "(left over from an outage)" for each in found.missed),
        Counter(each.alert for each in found.false),
        Counter(each.alert for each in found.early),
        Counter(need.alert for need, _ in found.late),
    )
    for name in sorted({*found.needed, *found.fired}):
        figures = (found.needed, found.fired, missed, false, early, late)
        table.add_row(name, *(str(counts[name]) for counts in figures))
    console.print(table)


def details(found: Verdict) -> Iterator[str]:
    """What is wrong, one line each."""
    yield from (f"missed {need}" for need in found.missed)
    for need, by in found.late:
        yield f"late by {by:.1f} s: {need.alert} {need.source}/{need.session} {utc(ms(need.due))}"
    yield from (f"false {each.alert} {each.source}/{each.session} {utc(each.firing_at)}" for each in found.false)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.month", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the alerts here, for a model of the messages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        month = Month(options.seed, options.days)
        firings = judged(month, Path(folder))
    if options.json:
        options.json.write_text(json.dumps([row(each) for each in firings], default=str))
    found = verdict(month, firings)
    show(found, Console(width=140))
    print(*details(found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
