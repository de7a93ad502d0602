"""Why sessions need a human, in the words of the pages. What needs one is decided by the judge."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import Kind, Outage
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

# In the order in which a person should look; the words say why.
WORDS = {
    Problem.DISCONNECTED: "disconnected",
    Problem.LOGIN_UNATTENDED: "nobody logs in",
    Problem.LOGIN_OVERDUE: "login overdue",
    Problem.LOGIN: "waits for a login",
    Problem.FAILED: "failed",
    Problem.STUCK_STARTING: "stuck starting",
    Problem.FLAPPING: "changes its status again and again",
    Problem.DOWN: "down for long",
    Problem.REACHOUT_TIMELOCK: "restricted by WhatsApp",
    Problem.MESSAGE_CAPPING: "limited in its messages by WhatsApp",
    Problem.SILENT: "silent",
    Problem.UNDELIVERED: "messages are not delivered",
    Problem.UNRESPONSIVE: "not answered by WhatsApp",
}
OUTAGE_WORDS = {
    Kind.DISCONNECT: "lost at once",
    Kind.REAUTH: "logged out at once",
    Kind.SILENCE: "silent at once",
}
RANK = {problem: rank for rank, problem in enumerate(WORDS)}


@dataclass(frozen=True, slots=True)
class Need:
    """The first thing that is wrong with a session, and since when (Unix ms); `reason` is the gateway's, or ""."""

    problem: Problem
    since: int
    reason: str = ""

    @property
    def words(self) -> str:
        """For people."""
        return WORDS[self.problem]

    @property
    def alert(self) -> str:
        """The alert that says so."""
        return ALERTS[self.problem]

    @property
    def rank(self) -> int:
        """Its place in the order in which a person should look."""
        return RANK[self.problem]


@dataclass(frozen=True, slots=True)
class OutageLine:
    """An outage as one line, with its sessions behind it."""

    outage: Outage
    sessions: list[Session]

    @property
    def words(self) -> str:
        """What happened, for people."""
        outage = self.outage
        where = f"{outage.engine} sessions of {outage.source}" if outage.source else "sessions of several sources"
        if not outage.size:
            return f"all {where} that it held are back"
        return f"{outage.size} {where} are {OUTAGE_WORDS[outage.kind]}"

    @property
    def alert(self) -> str:
        """The alert that says so."""
        return MASS_ALERTS[self.outage.kind]


def need_of(problems: Mapping[Problem, int], reason: str = "") -> Need | None:
    """The problem at which a person should look first."""
    first = min(problems, key=lambda problem: RANK[problem], default=None)
    return Need(first, problems[first], reason) if first else None


def needs_of(fleet: Fleet) -> dict[Key, Need]:
    """The sessions that need a human, each with the first thing that is wrong with it."""
    judge, needs = fleet.judge, {}
    for key, case in judge.cases.items():
        # Most cases are of sessions that nothing is wrong with, or not yet.
        if case.problems and (need := need_of(judge.problems(key), judge.reason(key))) and key in fleet.sessions:
            needs[key] = need
    return needs


def outages_of(fleet: Fleet) -> Iterator[OutageLine]:
    """The outages, the largest first."""
    for outage in sorted(fleet.judge.exported(), key=lambda each: -each.size):
        members = (fleet.sessions.get(key) for key in sorted(outage.members))
        yield OutageLine(outage, [session for session in members if session])
