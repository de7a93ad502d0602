"""What the judge has decided: read by everybody, saved with the log's watermark, and loaded at a start."""

from collections.abc import Iterable, Mapping

import msgspec

from wawp_exporter.model.case import NEVER, Case
from wawp_exporter.model.deadlines import Deadlines
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.outage import KINDS, Kept, Kind, Loss, Outage
from wawp_exporter.model.outages import Outages
from wawp_exporter.model.problems import unsaid
from wawp_exporter.model.rules import Key

LOOK, WEIGH, EXPORT = range(3)  # what a deadline is for, in the order of one instant


class Lost(msgspec.Struct, frozen=True):
    """A loss that has begun to count: what `wawp_losses_total` counts."""

    key: Key
    engine: str
    reason: str


class Remembered(msgspec.Struct, array_like=True):
    """What must be saved of one session."""

    case: Case
    losses: dict[Kind, Loss]


class Memory(msgspec.Struct, array_like=True):
    """What must be saved of a source beside its sessions."""

    now: int
    outages: Kept


class Verdicts:
    """Problems by session, and outages. One thread owns it.

    Each of these is emptied by whoever reads it: `changed` names the sessions whose problems have changed, for the
    metrics, `news` the same for streams; `news_of_outages`: an outage may have changed; `lost`: losses that have begun
    to count.
    `unsaved` names the sessions that `saved` is to be asked for.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.now = 0
        self.cases: dict[Key, Case] = {}
        self.outages = Outages(constants)
        self.changed: set[Key] = set()
        self.news: set[Key] = set()
        self.news_of_outages = False
        self.unsaved: set[Key] = set()
        self.lost: list[Lost] = []
        self._deadlines: Deadlines[tuple[int, str, str, str]] = Deadlines()

    # -- what is read -------------------------------------------------------------------------------------------

    def problems(self, key: Key) -> dict[Problem, int]:
        """The problems of a session, and when each began."""
        case = self.cases.get(key)
        return case.problems if case else {}

    def holding(self, key: Key) -> set[Problem]:
        """The problems of a session, those too for which an outage stands."""
        case = self.cases.get(key)
        if case is None:
            return set()
        return {*case.problems, *unsaid(case, self.now, self.constants, self.outages.mutes(key))}

    def hushed(self, case: Case) -> bool:
        """Whether nothing has been heard of a session for too long, be it a problem of its own or part of an outage."""
        silent = Problem.SILENT in case.problems or (Kind.SILENCE, case.key) in self.outages.losses
        return silent and not case.muffled

    def reason(self, key: Key) -> str:
        """Why it was lost, as far as anybody says."""
        case = self.cases.get(key)
        return case.cause if case else ""

    def exported(self) -> list[Outage]:
        """The outages as they stand."""
        return [outage for outage in self.outages.live.values() if outage.exported]

    def outages_of(self, key: Key) -> list[Outage]:
        """The outages, as they stand, to which a session belongs."""
        found = [self.outages.of(kind, key) for kind in KINDS]
        return [outage for outage in found if outage and outage.exported]

    def saved(self, key: Key) -> bytes | None:
        """What must be saved of a session with the log's watermark; None: nothing, and what was saved before goes."""
        case = self.cases.get(key)
        return msgspec.json.encode(Remembered(case, self.outages.lost(key))) if case else None

    def dump(self, sources: Iterable[str]) -> dict[str, bytes]:
        """What must be saved of sources beside their sessions, in the same transaction; "" is of outages of several."""
        return {source: msgspec.json.encode(Memory(self.now, self.outages.dump(source))) for source in (*sources, "")}

    def load(self, dumped: Mapping[str, bytes], sessions: Iterable[bytes]) -> None:
        """Takes what `dump` and `saved` gave, into a new judge: it goes on as though nothing had been."""
        memories = {source: msgspec.json.decode(memory, type=Memory) for source, memory in dumped.items()}
        # Of sources that were saved at different places the earliest counts: what is due is done from there.
        self.now = min([memory.now for source, memory in memories.items() if source], default=0)
        losses: dict[tuple[Kind, Key], Loss] = {}
        decode = msgspec.json.Decoder(Remembered).decode
        for remembered in map(decode, sessions):
            key = remembered.case.key
            self.cases[key] = remembered.case
            losses.update({(kind, key): loss for kind, loss in remembered.losses.items()})
            self._plan(self.now, LOOK, *key)
            if remembered.case.problems:
                self.changed.add(key)
        self.outages.load([memory.outages for memory in memories.values()], losses)
        for outage in self.outages.live.values():
            self.outages.weigh(outage, self.now)
            self._plan(outage.due(self.constants), WEIGH, *outage.name)

    def rewind(self, now: int) -> None:
        """The clock was wrong and was set back: what it has dated later than `now` is dated now, and time goes on.

        Else nothing that needs time would be noticed until the clock shows that time again. Problems and outages that
        were exported meanwhile stay.
        """
        self.now = now
        self._deadlines = Deadlines()
        for key, case in self.cases.items():
            case.rewind(now)
            self.unsaved.add(key)
            self._plan(now, LOOK, *key)
        for outage in self.outages.live.values():
            outage.begun, outage.low = min(outage.begun, now), min(outage.low, now)
            self._plan(outage.due(self.constants), WEIGH, *outage.name)

    def _tell(self, key: Key) -> None:
        """Notes that the problems of a session have changed."""
        self.changed.add(key)
        self.news.add(key)

    def _plan(self, when: int, rank: int, first: str, second: str, third: str = "") -> None:
        if when < NEVER:
            self._deadlines.plan(max(when, self.now), (rank, first, second, third))
