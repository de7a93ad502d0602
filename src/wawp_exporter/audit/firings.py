"""Which alerts fire, from when until when: what a judge exports, written down as it changes."""

from datetime import datetime
from typing import Any

import msgspec

from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import KINDS, Kind, Name, Outage
from wawp_exporter.model.rules import Key
from wawp_exporter.model.verdicts import Verdicts
from wawp_exporter.times import utc


class Firing(msgspec.Struct):
    """One problem of a session, or one outage, and its alert. Times are Unix ms; `ended_at` None: it goes on.

    Of an outage `session`, `problem` and `reason` are None, `sessions` is its largest size, and `members` are all
    sessions that it ever held. Of a problem `kind` and `sessions` are None.
    """

    alert: str
    source: str
    session: str | None
    engine: str
    problem: Problem | None
    kind: Kind | None
    reason: str | None
    started_at: int
    firing_at: int
    ended_at: int | None = None
    sessions: int | None = None
    members: set[Key] = msgspec.field(default_factory=set)

    @property
    def seconds(self) -> float | None:
        """For how long the alert fired; None while it does."""
        return None if self.ended_at is None else (self.ended_at - self.firing_at) / 1000

    def concerns(self, key: Key) -> bool:
        """Whether a session is the one, or one of those, that it is about."""
        return key in self.members if self.session is None else key == (self.source, self.session)


COLUMNS = tuple(name for name in Firing.__struct_fields__ if name != "members")
TIMES = ("started_at", "firing_at", "ended_at")


def row(firing: Firing) -> dict[str, Any]:
    """It as JSON and CSV have it: times are datetimes."""
    return {name: moment(getattr(firing, name)) if name in TIMES else getattr(firing, name) for name in COLUMNS}


def moment(ms: int | None) -> datetime | None:
    """A time that may not have come yet."""
    return None if ms is None else utc(ms)


class Firings:
    """Writes down what a judge exports. `look` must be called at every instant at which that may have changed."""

    def __init__(self, judge: Verdicts) -> None:
        self.all: list[Firing] = []
        self._judge = judge
        self._problems: dict[Key, dict[Problem, Firing]] = {}
        self._outages: dict[Name, tuple[int, Firing]] = {}  # with when it was begun: its name may come again

    def look(self) -> None:
        """Compares what is exported now with what was."""
        judge = self._judge
        for key in sorted(judge.changed):
            self._compare(key, judge.now)
        judge.changed.clear()
        if judge.outages.live or self._outages:
            self._compare_outages(judge.now)
        judge.unsaved.clear()

    def _compare(self, key: Key, now: int) -> None:
        known, exported = self._problems.get(key, {}), self._judge.problems(key)
        for problem in known.keys() - exported.keys():
            known.pop(problem).ended_at = now
        for problem, since in exported.items():
            if problem in known:
                known[problem].started_at = since  # a late event may have corrected it
            else:
                known[problem] = self._begin(key, problem, since, now)
        if known:
            self._problems[key] = known
        else:
            self._problems.pop(key, None)

    def _begin(self, key: Key, problem: Problem, since: int, now: int) -> Firing:
        engine, reason = self._judge.cases[key].facts.engine, self._judge.reason(key)
        firing = Firing(ALERTS[problem], *key, engine, problem, None, reason, since, now)
        self.all.append(firing)
        return firing

    def _compare_outages(self, now: int) -> None:
        exported = {outage.name: outage for outage in self._judge.exported()}
        for name, (begun, firing) in list(self._outages.items()):
            if name not in exported or exported[name].begun != begun:
                firing.ended_at = now
                del self._outages[name]
        for name, outage in exported.items():
            if name not in self._outages:
                self._outages[name] = outage.begun, self._begin_outage(outage, now)
            firing = self._outages[name][1]
            firing.sessions = outage.largest
        self._follow_members()

    def _begin_outage(self, outage: Outage, now: int) -> Firing:
        alert = MASS_ALERTS[outage.kind]
        firing = Firing(alert, outage.source, None, outage.engine, None, outage.kind, None, outage.since, now)
        firing.members |= outage.members
        self.all.append(firing)
        return firing

    def _follow_members(self) -> None:
        """Notes who has joined: of a session that joins an outage, what must be saved has changed."""
        losses = self._judge.outages.losses
        for key in self._judge.unsaved:
            for kind in KINDS:
                loss = losses.get((kind, key))
                if loss and loss.outage in self._outages:
                    self._outages[loss.outage][1].members.add(key)
