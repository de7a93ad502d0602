"""Passes on to the judge what happens to sessions: everything at its own instant, maintenance windows included."""

from collections.abc import Callable, Mapping, Sequence

from wawp_exporter.model.deadlines import Deadlines
from wawp_exporter.model.ear import Ear
from wawp_exporter.model.event import STOPPED, UNKNOWN, WORKING
from wawp_exporter.model.facts import Facts, Problem
from wawp_exporter.model.judge import Judge
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

BACK_MS = 60_000  # the clock was set back if the judge's time is farther ahead of it; other clocks differ by less
QUIET = frozenset({WORKING, STOPPED, UNKNOWN})


class Hearing(Ear):
    """`known` is what the judge was last told of each session; `sources` are those whose sessions it knew at the start.
    `newest` is the latest time that a gateway has given. The instants are Unix ms.

    An event is noted point by point (`note`), and the judge hears of it once (`conclude`): what the points before the
    last one began may be over.
    """

    def __init__(self, judge: Judge, sessions: Mapping[Key, Session]) -> None:
        self.judge = judge
        self.known: dict[Key, Facts] = {}
        self.sources: set[str] = set()
        self.newest = 0
        self.find: Callable[[Key], Session | None] = sessions.get
        self._edges: Deadlines[Key] = Deadlines()
        self._windows = False  # whether there is any edge
        self._noted: Facts | None = None
        self._passed: tuple[Facts, ...] = ()  # of the points before

    # -- one event ----------------------------------------------------------------------------------------------

    def begin(self, key: Key, session: Session | None, now: int) -> None:  # noqa: ARG002 - for others
        """Forgets what an event noted in which there was an error."""
        if self._noted is not None:
            self._noted, self._passed = None, ()
        if self._windows:
            self.wake(now)

    def note(self, session: Session, now: int) -> None:
        """A point of the event has changed the session."""
        if self._noted is not None:
            self._passed = (*self._passed, self._noted)
        latest = self.judge.now
        self._noted = session.facts(now if now > latest else latest)

    def renew(self, session: Session, now: int) -> None:
        """The event has changed something else of the session."""
        self._noted = None
        self.note(session, now)

    def conclude(self, session: Session, now: int) -> None:
        """That was all of the event, which was received at `now`."""
        noted = self._noted
        if noted is not None:
            passed, self._noted, self._passed = self._passed, None, ()
            self._observe(session, noted, now, passed)
        elif self.known[session.key].engine != session.engine:
            self.tell(session, now)
        elif session.meta.silent:
            self.wake(now)
            self.judge.heard(session.key, now)

    # -- one session --------------------------------------------------------------------------------------------

    def tell(self, session: Session, now: int) -> None:
        """Something else about a session has changed."""
        if self._windows:
            self.wake(now)
        self._observe(session, session.facts(max(now, self.judge.now)), now)

    def heard(self, key: Key, now: int) -> None:
        """Something was heard of a session that is no event of the log: it does not let time pass."""
        case = self.judge.cases.get(key)
        if case and case.facts.limits.silent and now > case.heard:
            self.judge.heard(key, now)

    def probed(self, session: Session, since: int, now: int) -> None:
        """A probe has shown since when WhatsApp has not answered, 0 if it has; nor does this let time pass."""
        known = self.known.get(session.key) or session.facts(max(now, self.judge.now))
        self.judge.overhear(session.key, known, unresponsive=since)

    def arrived(self, key: Key, at: int = 0, *, shared: bool = False) -> None:
        """An incoming message, at `at` (Unix ms, 0: now): a silence ends, but where all replicas must learn of it."""
        case = self.judge.cases.get(key)
        if case and case.quiet and not shared and (not at or at > case.quiet):
            self.overhear(key, quiet=0)

    def overhear(self, key: Key, **said: int) -> None:
        """What the messages of a session say (`unacknowledged`, `quiet`: `Case`). They are not in the log."""
        facts = self.known.get(key)
        if facts:
            self.judge.overhear(key, facts, **said)

    def leave(self, key: Key, now: int) -> None:
        """A session is not there any more."""
        before = self.known.pop(key, None)
        if before:
            self.wake(now)
            self.judge.observe(key, before, None, now)

    def pause(self, until: Mapping[str, int]) -> None:
        """Nothing was heard from these sources for a while up to that instant: what was sent then is not known.

        Silence counts from there, and own messages of before are waited for no more, unless that was a problem already.
        """
        for key, case in self.judge.cases.items():
            end = until.get(key[0], 0)
            if case.heard < end and not self.judge.hushed(case):
                case.heard = end
                self.judge.unsaved.add(key)
            if end and case.unacknowledged and Problem.UNDELIVERED not in case.problems:
                case.unacknowledged = 0
                self.judge.unsaved.add(key)

    def recall(self, session: Session, now: int) -> None:
        """A session is back from the state table: the judge may know it, or not, or under another configuration."""
        key, instant = session.key, self.judge.now or now
        case, after = self.judge.cases.get(key), session.facts(instant)
        if session.source in self.sources:
            self.known[key] = case.facts if case else after
        if key not in self.known or (differ(case.facts, after) if case else notable(after)):
            self._observe(session, after, instant)
        else:
            self._plan(session, instant)

    def resume(self, key: Key, session: Session | None) -> None:
        """A session is as the judge last heard of it, before rows that are judged again; None: nothing is left."""
        case = self.judge.cases.get(key)
        if case:
            self.known[key] = case.facts
        elif session:
            self.known[key] = session.facts(self.judge.now)
        if session:
            self._plan(session, self.judge.now)

    def reconfigured(self, session: Session, now: int) -> None:
        """The configuration has changed, perhaps for this session too."""
        instant = max(now, self.judge.now)
        after, known = session.facts(instant), self.known.get(session.key)
        if known is None or differ(known, after):
            self._observe(session, after, instant)
        else:
            self._plan(session, instant)

    # -- time ---------------------------------------------------------------------------------------------------

    @property
    def next_deadline(self) -> int | None:
        """When to call `wake` if nothing happens before; None: never."""
        due = [when for when in (self._edges.next, self.judge.next_deadline) if when is not None]
        return min(due, default=None)

    def wake(self, now: int) -> None:
        """Lets time pass: begins and ends of maintenance, and what is due, each at its own instant."""
        while (edge := self._edges.next) is not None and edge <= now:
            _, key = self._edges.pop()
            session = self.find(key)
            if session:
                self._observe(session, session.facts(max(edge, self.judge.now)), edge)
        self.judge.wake(now)

    def advance(self, now: int, until: int) -> None:
        """Lets time pass up to `until`, while the clock shows `now`: it may have been ahead, and set back.

        If gateways agree more with what it showed before, it is wrong now, and time waits for it.
        """
        before = self.judge.now
        if before - now > BACK_MS and until < before and self.newest - now < before - self.newest:
            self._rewind(now)
        self.wake(until)

    def _rewind(self, now: int) -> None:
        """Time goes on from `now`; windows of maintenance are looked at again."""
        self.judge.rewind(now)
        for key in list(self.known):
            session = self.find(key)
            if session and session.meta.windows:
                self.reconfigured(session, now)

    # -- inside -------------------------------------------------------------------------------------------------

    def _observe(self, session: Session, after: Facts, now: int, passed: Sequence[Facts] = ()) -> None:
        key = session.key
        before, self.known[key] = self.known.get(key), after
        self.judge.observe(key, before, after, now, passed)
        if session.meta.windows:
            self._plan(session, max(now, self.judge.now))

    def _plan(self, session: Session, now: int) -> None:
        """Plans the next begin or end of a maintenance window."""
        edges = [edge for window in session.meta.windows for edge in window if edge > now]
        if edges:
            self._windows = True
            self._edges.plan(min(edges), session.key)


def notable(facts: Facts) -> bool:
    """Whether a session that the judge remembers nothing of must be looked at."""
    state = facts.state
    quiet = state.status in QUIET and not (state.auth_since or state.down_since)
    return not quiet or bool(facts.restrictions or facts.limits.silent)


def differ(known: Facts, actual: Facts) -> bool:
    """Whether anything that matters to the judge is another than it was told."""
    before, after = known.state, actual.state
    episodes = (before.status, before.since, before.auth_since, before.down_since)
    return (
        episodes != (after.status, after.since, after.auth_since, after.down_since)
        or (known.engine, known.maintenance, known.limits) != (actual.engine, actual.maintenance, actual.limits)
        or (known.restrictions, known.reason) != (actual.restrictions, actual.reason)
    )
