"""The live sessions with all that follows from their states: counts, plans, and what changed since somebody looked."""

from collections.abc import Iterator, Mapping
from itertools import islice

from wawp_exporter.model.activity import Activity
from wawp_exporter.model.buckets import Buckets, judge, leave
from wawp_exporter.model.ear import Ear
from wawp_exporter.model.event import STOPPED, WORKING
from wawp_exporter.model.hearing import Hearing
from wawp_exporter.model.judge import Judge
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.probe import Probe
from wawp_exporter.model.rules import Key, Meta, Rules
from wawp_exporter.model.session import Memory, Pattern, Session, decode_memory
from wawp_exporter.model.wakes import Wakes

RETRY_MS = 60_000  # when a session that could not be forgotten is named again


class Sessions:
    """Every live session by key; `changed` names those that changed (or went) since a view last drained it.

    `dormant` holds the rows of the state table (JSON) of sessions that nobody has asked for since the start: a large
    fleet takes webhooks long before each of its sessions is made. Whoever needs all `sessions` awakens them first.
    `counted` says whether the judge has counted all of them since some were restored.
    `unsaved` names those whose row in the state table is to be written, `heard` those of which something else may have
    been heard since a view last took them. Sources that are `away`, since a reload took them out or brought them and
    they are not restored yet, are not folded: the log alone keeps their events.
    """

    def __init__(self, rules: Rules, constants: Constants) -> None:
        self.rules = rules
        self.sessions: dict[Key, Session] = {}
        self.hearing = Hearing(Judge(constants), self.sessions)
        self.ear: Ear = self.hearing  # what hears of events
        self.dormant: dict[Key, str] = {}
        self.counted = False
        self.buckets = Buckets()
        self.away: set[str] = set()
        self.activity: dict[Key, Activity] = {}
        self.changed: set[Key] = set()
        self.unsaved: set[Key] = set()
        self.heard: set[Key] = set()
        self.wakes = Wakes(self.sessions, rules.config.metrics.forget_stopped_after)

    @property
    def judge(self) -> Judge:
        """Who decides which sessions need somebody, and what is one outage."""
        return self.hearing.judge

    def folds(self, source: str) -> bool:
        """Whether events of a source are folded here."""
        rules = self.rules
        return source in rules.config.sources and source not in self.away and rules.shard.holds(source)

    # -- one session --------------------------------------------------------------------------------------------

    def find(self, key: Key, now: int, mono: float) -> Session | None:
        """A session by its key, awakened if it was dormant."""
        text = self.dormant.pop(key, None) if self.dormant else None
        if text is not None:
            self.restore(key, decode_memory(text), now, mono)
        return self.sessions.get(key)

    def restore(self, key: Key, memory: Memory, now: int, mono: float) -> None:
        """Brings a session back from the state table: nothing is counted, nobody is notified."""
        self.hearing.recall(self.bring(key, memory, now, mono), now)

    def bring(self, key: Key, memory: Memory, now: int, mono: float) -> Session:
        """Takes a session as it was; the judge is not told."""
        session = Session.recalled(key, memory, self.rules.meta(*key), mono)
        self._add(session, mono)
        self._refresh(session, now, mono)
        return session

    def resume(self, key: Key, memory: Memory | None) -> None:
        """A session as it was when the judge last heard of it; None: there are no rows of it any more."""
        self.hearing.resume(key, self.bring(key, memory, self.judge.now, 0.0) if memory else None)

    def adopt(self, key: Key, memory: Memory, now: int, mono: float) -> None:
        """Takes a session as the log has it; what was known of it, if anything was, goes."""
        session = self.find(key, now, mono)
        self.ear.begin(key, session, self.judge.now)
        if session:
            self._drop(session, self.judge.now, mono)
        self.ear.tell(self.bring(key, memory, now, mono), self.judge.now or now)

    def touch(self, key: Key, now: int, mono: float) -> bool:
        """Any event is a sign of life of a known session at `now`; an unknown one is not created."""
        session = self.find(key, now, mono)
        if session:
            self._touch(session, now, mono)
            self.hearing.heard(key, now)
        return session is not None

    # -- all of them --------------------------------------------------------------------------------------------

    def doze(self, rows: Mapping[Key, str]) -> None:
        """Takes rows of the state table; their sessions are dormant, but for those that are live already."""
        self.dormant.update(rows)
        for key in self.sessions.keys() & rows.keys():
            del self.dormant[key]
        self.counted = False

    def awaken(self, limit: int, now: int, mono: float) -> bool:
        """Awakens up to `limit` sessions; whether any is still dormant."""
        for key in list(islice(self.dormant, limit)):
            self.find(key, now, mono)
        if not (self.dormant or self.counted):
            # What was saved may be by another configuration, or by a version that counted otherwise.
            self.judge.recount(self.hearing.known.items())
            self.counted = True
        return bool(self.dormant)

    @property
    def next_deadline(self) -> int | None:
        """When time alone will change what the judge says (Unix ms); None: never."""
        return self.hearing.next_deadline

    def awaken_windows(self, now: int, mono: float) -> None:
        """Awakens the sessions with windows of maintenance, whose begins and ends the judge must hear of."""
        if self.rules.config.maintenance:
            for key in [key for key in self.dormant if self.rules.meta(*key).windows]:
                self.find(key, now, mono)

    def advance(self, now: int, mono: float, judged_to: int | None = None) -> list[Key]:
        """Lets time pass: maintenance, restrictions and silence begin and end, problems and outages too.

        For the judge time passes up to `judged_to` only: an event that was received after it may still come.
        Returns the sessions that have been STOPPED for so long that they are to be forgotten.
        """
        self.hearing.advance(now, now if judged_to is None else judged_to)
        stale = []
        for session in self.wakes.due(now):
            if self.wakes.forget_at(session) <= now:
                stale.append(session.key)
                self.wakes.wake(session, now + RETRY_MS)
            else:
                self._refresh(session, now, mono)
        return stale

    def reconfigure(self, rules: Rules, now: int, mono: float, metas: Mapping[Key, Meta] | None = None) -> None:
        """Takes new rules, whose `metas` may have been looked up: counts go on; sessions of unknown sources go."""
        metas, same = metas or {}, rules.config.metrics == self.rules.config.metrics
        self.ear.end()
        self.awaken(len(self.dormant), now, mono)
        self.away |= set(self.rules.config.sources) ^ set(rules.config.sources)
        self.hearing.sources &= set(rules.config.sources)
        self.rules = rules
        self.wakes.forget_after = rules.config.metrics.forget_stopped_after
        for session in list(self.sessions.values()):
            if session.source not in rules.config.sources:
                self._drop(session, self.judge.now, mono)
                self.activity.pop(session.key, None)
                continue
            before, session.meta = session.meta, metas.get(session.key) or rules.meta(*session.key)
            if not same or session.meta != before:
                session.wake = 0
                self._refresh(session, now, mono)
                self.hearing.reconfigured(session, now)

    def recur(self, patterns: Mapping[Key, Pattern]) -> None:
        """Takes the recurring disconnects of all sessions as the audit has found them; what is not there has none."""
        for key, session in self.sessions.items():
            pattern = patterns.get(key, {})
            if pattern != session.recurring:
                session.recurring = pattern
                self.changed.add(key)

    def take_heard(self) -> set[Key]:
        """The sessions that may have been heard of since the last call: those of `unsaved` are heard of with events."""
        heard, self.heard = self.heard | self.unsaved, set()
        return heard

    def take_unsaved(self, limit: int | None = None) -> list[tuple[Key, Memory]]:
        """The sessions whose memory changed since they were last taken, at most `limit`."""
        keys = set(islice(self.unsaved, limit))
        self.unsaved -= keys
        self.heard |= keys
        return [(key, self.sessions[key].memory) for key in keys if key in self.sessions]

    # -- inside -------------------------------------------------------------------------------------------------

    def _touch(self, session: Session, now: int, mono: float) -> None:
        was_silent = session.meta.silent and session.silent(now)
        session.last_event = now if now > session.last_event else session.last_event
        self.unsaved.add(session.key)
        if was_silent:
            self._refresh(session, now, mono)

    def _add(self, session: Session, mono: float) -> Session:
        self.sessions[session.key] = session
        self.buckets.join(session, session.engine, mono)
        return session

    def _drop(self, session: Session, now: int, mono: float) -> None:
        leave(session, mono)
        del self.sessions[session.key]
        self.changed.add(session.key)
        self.unsaved.discard(session.key)
        self.ear.leave(session.key, now)

    def _run_by(self, session: Session, engine: str, at: int, mono: float) -> None:
        """The engine as it was named at `at` (Unix ms)."""
        session.engine_at = at
        if engine != session.engine:
            leave(session, mono)
            self.buckets.join(session, engine, mono)
            self.changed.add(session.key)

    def _refresh(self, session: Session, now: int, mono: float) -> None:
        """Derives what follows from state, metadata and time, and plans when time alone will change it."""
        session.maintenance = bool(session.meta.windows) and session.meta.excuses(now)
        slo = session.judge()
        if slo is not session.slo:
            judge(session, slo, mono)
        session.rank = session.rank_at(now, self.rules.troubled_only)
        self.changed.add(session.key)
        self.wakes.plan(session, now)


def take_probe(sessions: Sessions, key: Key, probe: Probe, now: int) -> None:
    """A probe of a session, made here or by another replica; an older one than is known says nothing."""
    session = sessions.sessions.get(key)
    if session is None or (session.probe and session.probe.at >= probe.at):
        return
    session.probe = probe
    sessions.changed.add(key)
    # What it has shown is over if the session has been in another status since.
    if session.state.status is WORKING and session.state.since <= probe.at:
        sessions.hearing.probed(session, probe.unresponsive, now)


def group_counts(sessions: Sessions) -> Iterator[tuple[str, int, int, int]]:
    """(group, members, eligible, WORKING) of each group; eligible: not STOPPED, not in maintenance.

    Of several shards each counts its own members.
    """
    live = sessions.sessions
    for name, members in sessions.rules.groups.items():
        mine = [key for key in members if sessions.rules.holds(key)]
        known = [live[key] for key in mine if key in live]
        eligible = sum(each.state.status is not STOPPED and not each.maintenance for each in known)
        yield name, len(mine), eligible, sum(each.available for each in known)


def guest(rules: Rules, key: Key, memory: Memory, now: int, mono: float) -> Session:
    """A session of another shard, to be looked at: it is no part of the fleet here."""
    session = Session.recalled(key, memory, rules.meta(*key), mono)
    session.maintenance = session.meta.excuses(now)
    return session
