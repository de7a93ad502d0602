"""The judge: from what happens to sessions, and from time, to problems and outages. Pure: time arrives as an argument.

Times are Unix ms and never go back: a call with an earlier time than the one before happens at that one's. What happens
at one instant has a fixed order, so that a replay of the log gives what was live: first what time alone changes (losses
that end or begin to count, by session; then outages that settle or end; then problems to export, by session), then the
events, in the order of the log.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from wawp_exporter.model.case import NEVER, Case, calm, lapse, learn, relearn, turns
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.facts import Facts, Problem
from wawp_exporter.model.outage import KINDS, RIVAL, Kind
from wawp_exporter.model.problems import ROWS, review
from wawp_exporter.model.rules import Key
from wawp_exporter.model.usual import WHOLE, alike, take, usual
from wawp_exporter.model.verdicts import EXPORT, LOOK, WEIGH, Lost, Verdicts

LASTING = frozenset(row.problem for row in ROWS if row.lasting)


class Judge(Verdicts):
    """Decides problems and outages. One thread owns it."""

    # -- what happens -------------------------------------------------------------------------------------------

    def observe(
        self, key: Key, before: Facts | None, after: Facts | None, now: int, passed: Sequence[Facts] = ()
    ) -> None:
        """Takes what is known of a session now; `before` is what was known until now, None stands for "not there".

        For events, late ones too, and for deletions, edges of maintenance windows, and new limits. `passed` are the
        facts after each of the points that one event brings before its own: what they began may be over.
        """
        if self._deadlines.due(now):
            self.wake(now)
        elif now > self.now:
            self.now = now
        if not (before and after and alike(before, after)):
            self._expect(key, before, -1)
            self._expect(key, after, 1)
        case = self.cases.get(key) or Case(key, before or Facts())
        if after is None:
            self._forget(case)
            return
        self.cases[key] = case
        if not passed and usual(case, after) and not (self.outages.losses and self._lost(key)):
            again = take(case, after, self.now, self.constants)
            if again != WHOLE:
                self.unsaved.add(key)
                self._deadlines.plan(again, (LOOK, key[0], key[1], ""))
                return
        recount = not (self.outages.live and any(self.outages.of(kind, key) for kind in RIVAL))
        for facts, following in pairwise((*passed, after)):
            learn(case, facts, self.now, self.constants, recount=recount)
            self._lapse(case, min(following.state.since, self.now))
        learn(case, after, self.now, self.constants, recount=recount)
        self._look(case)
        self._export(case)

    def heard(self, key: Key, now: int) -> None:
        """Something was heard of a session, whatever it was. Cheap: nearly always nothing follows from it.

        No time passes by it: messages are not in the log, and come before events that were received earlier.
        """
        case = self.cases.get(key)
        if case is None:
            return
        case.heard = max(case.heard, now)
        self.unsaved.add(key)
        if Problem.SILENT in case.problems or (Kind.SILENCE, key) in self.outages.losses:
            self._look(case)
            self._export(case)

    def overhear(self, key: Key, facts: Facts, **said: int) -> None:
        """Takes what messages and probes say of a session: fields of `Case`. No time passes by it, as by `heard`."""
        case = self.cases.get(key) or Case(key, facts, min(facts.state.since, self.now), heard=facts.heard)
        if all(getattr(case, name) == value for name, value in said.items()):
            return
        if said.get("quiet", case.quiet) != case.quiet:
            case.quiet_learned = self.now
        if not case.unacknowledged:
            case.unacknowledged_learned = self.now
        for name, value in said.items():
            setattr(case, name, value)
        self.cases[key] = case
        self._look(case)
        self._export(case)

    def recount(self, fleet: Iterable[tuple[Key, Facts]]) -> None:
        """Counts anew which sessions shares are taken of: the configuration was another one when they were saved."""
        self.outages.population.clear()
        self.outages.expected = 0
        for key, facts in fleet:
            self._expect(key, facts, 1)

    def wake(self, now: int) -> None:
        """Lets time pass: everything that is due happens at its own instant."""
        while (when := self._deadlines.next) is not None and when <= now:
            self.now = max(self.now, when)
            _, (rank, *name) = self._deadlines.pop()
            self._expire(rank, *name)
        self.now = max(self.now, now)

    @property
    def next_deadline(self) -> int | None:
        """When to call `wake` if nothing happens before; None: never."""
        return self._deadlines.next

    # -- inside -------------------------------------------------------------------------------------------------

    def _lost(self, key: Key) -> bool:
        """Whether the session counts as lost in any way."""
        return any((kind, key) in self.outages.losses for kind in KINDS)

    def _expect(self, key: Key, facts: Facts | None, change: int) -> None:
        if facts and facts.expected:
            self.outages.expect((key[0], facts.engine), change)

    def _expire(self, rank: int, first: str, second: str, third: str) -> None:
        if rank == WEIGH:
            self.outages.advance((Kind(first), second, third), self.now)
            self._follow()
            return
        case = self.cases.get((first, second))
        if case is None:
            return
        if rank == LOOK:
            self._look(case)
            self._plan(self.now, EXPORT, first, second)
        else:
            self._export(case)

    def _look(self, case: Case) -> None:
        """What has ended, and what counts as lost."""
        self._lapse(case, self.now)
        if case.spell or case.login or case.facts.limits.silent or case.quiet or self.outages.losses:
            self._weigh(case)
        now, turn = self.now, NEVER
        for at in turns(case, self.constants):
            if now < at < turn:
                turn = at
        self._plan(turn, LOOK, *case.key)

    def _weigh(self, case: Case) -> None:
        """Takes losses that begin to count, or are over."""
        for kind, at in self._counted(case).items():
            known = (kind, case.key) in self.outages.losses
            if known and not at:
                self.outages.recover(kind, case.key, self.now)
            elif at and not known:
                self._lose(case, kind, at)
        self._follow()

    def _lapse(self, case: Case, now: int) -> None:
        """What has ended by then."""
        if case.status is WORKING and case.spell and not self._announced(case):
            case.spell = None
        lapse(case, now, self.constants)

    def _announced(self, case: Case) -> bool:
        """Whether anybody was told that it is lost. Of what nobody was told, WORKING is the end at once."""
        outage = self.outages.of(Kind.DISCONNECT, case.key)
        return bool(case.problems.keys() & LASTING) or bool(outage and outage.exported)

    def _counted(self, case: Case) -> dict[Kind, int]:
        """When the session was lost in each way in which it counts as lost; 0 where it does not.

        What counts goes on until it ends; to begin it needs more.
        """
        lost, silent = ((kind, case.key) in self.outages.losses for kind in (Kind.DISCONNECT, Kind.SILENCE))
        lost = lost or case.counts_at <= self.now
        silent = silent or case.status is WORKING
        return {
            Kind.DISCONNECT: case.spell.lost_at if case.spell and lost else 0,
            Kind.REAUTH: max(case.login, case.excused) if case.login and case.facts.state.worked else 0,
            Kind.SILENCE: case.silence(self.now) if silent else 0,
        }

    def _lose(self, case: Case, kind: Kind, at: int) -> None:
        self.outages.lose(kind, case.key, case.facts.engine, at, self.now)
        if kind is Kind.DISCONNECT:
            self.lost.append(Lost(case.key, case.facts.engine, case.cause))

    def _follow(self) -> None:
        """What follows for sessions from a change of outages."""
        outages = self.outages
        if not (outages.joined or outages.left or outages.changed):
            return
        self.news_of_outages = True
        for kind, key in outages.joined:
            if kind in RIVAL and Problem.FLAPPING not in self.cases[key].problems:  # what was said is not withdrawn
                calm(self.cases[key])
            self.unsaved.add(key)
        for key, over in outages.left.items():
            if over:
                relearn(self.cases[key], self.now)
            self._plan(self.now, LOOK, *key)
        for name in outages.changed:
            if name in outages.live:
                self._plan(outages.live[name].due(self.constants), WEIGH, *name)
        outages.joined, outages.left, outages.changed = set(), {}, set()

    def _export(self, case: Case) -> None:
        """Brings the problems of a session up to now."""
        before = case.problems
        self.unsaved.add(case.key)
        again = review(case, self.now, self.constants, self.outages.mutes(case.key))
        if case.problems != before:
            self._tell(case.key)
        self._plan(again, EXPORT, *case.key)
        if case.forgettable:
            del self.cases[case.key]

    def _forget(self, case: Case) -> None:
        for kind in KINDS:
            self.outages.recover(kind, case.key, self.now)
        self._follow()
        self.unsaved.add(case.key)
        if self.cases.pop(case.key, None) and case.problems:
            self._tell(case.key)
