"""One outage, one loss, and which problems an outage mutes."""

from collections.abc import Iterator

import msgspec

from wawp_exporter.model.case import NEVER
from wawp_exporter.model.event import Word
from wawp_exporter.model.facts import LOGINS, RESTRICTIONS, Problem
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.rules import Key


class Kind(Word):
    """What the sessions of an outage have in common."""

    DISCONNECT = "disconnect"
    REAUTH = "reauth"
    SILENCE = "silence"


Scope = tuple[str, str]  # (source, engine); ("", "") of an outage of several sources
Name = tuple[Kind, str, str]  # kind and scope of an outage
EVERYWHERE: Scope = ("", "")
KINDS = tuple(Kind)
NOTHING: frozenset[Problem] = frozenset()
RIVAL = {Kind.DISCONNECT: Kind.REAUTH, Kind.REAUTH: Kind.DISCONNECT}  # a session is in one of both at a time
MUTES = {
    Kind.DISCONNECT: frozenset(Problem) - RESTRICTIONS - {Problem.LOGIN},
    Kind.REAUTH: (LOGINS - {Problem.LOGIN})
    | {Problem.DISCONNECTED, Problem.FAILED, Problem.STUCK_STARTING, Problem.FLAPPING, Problem.DOWN},
    Kind.SILENCE: frozenset({Problem.SILENT, Problem.UNDELIVERED, Problem.UNRESPONSIVE}),
}


class Outage(msgspec.Struct):
    """Many sessions lost for one cause. `since` and `newest` are times of losses, `begun` and `low` those of the judge.

    It is exported once it has settled: sessions that are back within seconds were none. `low` is since when so few are
    lost that it is about to end, 0 while they are more.
    """

    kind: Kind
    source: str
    engine: str
    since: int
    newest: int
    begun: int
    largest: int = 0
    exported: bool = False
    low: int = 0
    members: set[Key] = msgspec.field(default_factory=set)

    @property
    def name(self) -> Name:
        """What tells it from the others that go on at the same time."""
        return self.kind, self.source, self.engine

    @property
    def size(self) -> int:
        """How many of its sessions are still lost."""
        return len(self.members)

    def steps(self) -> Iterator[int]:
        """3, 10, 30, 100, … up to the largest size."""
        low, high = 3, 10
        while low <= self.largest:
            yield low
            low, high = high, low * 10

    def grows(self, at: int, constants: Constants) -> bool:
        """Whether a loss of that time is part of it."""
        return self.since - constants.burst_ms <= at <= self.newest + constants.burst_ms

    def due(self, constants: Constants) -> int:
        """When time alone changes it: it has settled, or is over."""
        if not self.exported:
            return self.begun + constants.outage_settle_ms
        return self.low + constants.low_ms if self.low else NEVER


class Loss(msgspec.Struct, array_like=True):
    """A loss that counts and is not over. A `spent` one begins no other outage: its own is over, or a rival has it."""

    at: int
    engine: str
    outage: Name | None = None
    spent: bool = False


class Kept(msgspec.Struct, array_like=True):
    """What must be saved of all outages; their members are saved with the losses."""

    outages: list[Outage]
    population: list[tuple[str, str, int]]
