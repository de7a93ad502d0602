"""The fold of the log: all sessions, groups, episodes and counts, without a clock, a socket or a database.

Every method takes the time it needs: `now` is Unix ms and dates things, `mono` is seconds of a monotonic clock and
is what counters of seconds accrue on. One thread, the event loop's, owns a Fleet.
"""

from collections.abc import Callable, Sequence

import msgspec

from wawp_exporter.model.buckets import move
from wawp_exporter.model.event import OTHER_ENGINE, Point, StatusEvent
from wawp_exporter.model.limits import CONSTANTS, Constants
from wawp_exporter.model.machine import State, Transition, step
from wawp_exporter.model.outcome import DUPLICATE, LATE, REPEAT, TRANSITION, Outcome, WaitOutcome
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import FIRST_LIFE, Grave, Memory, Session, learn, revise
from wawp_exporter.model.sessions import Sessions


class Fleet(Sessions):
    """Folds events into the live sessions; `graves` are the deletions, which older events must not undo.

    Whoever wants to know of each transition, deletion or defect sets the callback for it.
    """

    def __init__(self, rules: Rules, constants: Constants | None = None) -> None:
        super().__init__(rules, constants or CONSTANTS)
        self.graves: dict[Key, Grave] = {}
        self.on_transition: Callable[[Session, Transition, int], None] | None = None  # the last: the log's row
        self.on_forget: Callable[[Key], None] | None = None
        self.on_defect: Callable[[str, Exception], None] | None = None  # the part, and what it raised

    # -- events -------------------------------------------------------------------------------------------------

    def apply(self, event: StatusEvent, rows: Sequence[int], now: int, mono: float) -> tuple[Outcome, bool]:
        """Folds a logged event; `rows[i]` is the log's number of point i, 0 if the log held it before, and negative if
        the event has added to the log's row.

        Returns the outcome by the event's own point, and whether a point came late, or what the log held has changed,
        so that the session must be folded anew from the log (`correct`).
        """
        if self.away and event.source in self.away:
            return LATE if rows[-1] > 0 else DUPLICATE, False
        key, own, hearing = (event.source, event.session), event.points[-1].at, self.hearing
        hearing.newest = own if own > hearing.newest and own != event.received_at else hearing.newest
        session = self.find(key, now, mono) if self.dormant else self.sessions.get(key)
        self.ear.begin(key, session, event.received_at)
        if session:
            self._touch(session, event.received_at, mono)
        deleted_at, buried = self.graves.get(key, FIRST_LIFE) if self.graves else FIRST_LIFE
        outcome, late = DUPLICATE, (rows[0] if len(rows) == 1 else min(rows)) < 0
        if session and late:
            revise(session, event.points, rows)
        for index, seq in enumerate(rows):  # `zip` with `strict` takes three times as long
            if seq <= 0:
                continue
            point = event.points[index]
            if point.at <= deleted_at or seq <= buried:
                outcome = LATE
                continue
            if session and event.engine and point.at >= session.engine_at:
                self._run_by(session, event.engine, point.at, mono)
            if session and session.state.outdates(point):
                outcome, late = LATE, True
            else:
                session, outcome = self._apply_point(session, event, point, seq, now, mono)
        if session:
            self._conclude(session, event, rows[-1], now, mono)
        # Of a session that began with this event the log may hold another version of its points, too.
        return outcome if rows[-1] > 0 else DUPLICATE, late and session is not None

    def _apply_point(
        self, session: Session | None, event: StatusEvent, point: Point, seq: int, now: int, mono: float
    ) -> tuple[Session, Outcome]:
        """One point that the log did not hold, newer than what is known of the session."""
        state, transition = step(session.state if session else None, point)
        if transition is None:
            assert session  # noqa: S101 - a session's first point is a transition
            before, session.state = session.state, state
            if state.reason != before.reason:
                self._refresh(session, now, mono)
                self.ear.note(session, event.received_at)
            return session, REPEAT
        session = session or self._meet(event, state, mono)
        self._enter(session, transition, seq, now, mono)
        self.ear.note(session, event.received_at)
        return session, TRANSITION

    def _meet(self, event: StatusEvent, state: State, mono: float) -> Session:
        """Makes a session of the first event that names it."""
        key = (event.source, event.session)
        session = Session(key, state, event.engine or OTHER_ENGINE, self.rules.meta(*key), mono)
        session.last_event = event.received_at
        session.engine_at = state.at if event.engine else 0
        self.unsaved.add(key)
        return self._add(session, mono)

    def _enter(self, session: Session, transition: Transition, seq: int, now: int, mono: float) -> None:
        """Takes a transition as the newest: counts it once, and notifies of it."""
        move(session, transition, mono, self.rules.session_histograms)
        self._refresh(session, now, mono)
        if self.on_transition:
            try:
                self.on_transition(session, transition, seq)
            except Exception as error:  # noqa: BLE001 - it must not stop the fold
                self._survive("transition", error)

    def _conclude(self, session: Session, event: StatusEvent, row: int, now: int, mono: float) -> None:
        """What an event says beside its points."""
        if event.limits and row > 0:
            self._restrict(session, event, row, now, mono)
        self.ear.conclude(session, event.received_at)

    def _restrict(self, session: Session, event: StatusEvent, row: int, now: int, mono: float) -> None:
        """What an event says of restrictions, unless it is of a former life."""
        grave = self.grave(session.key)
        own = event.own.at
        if own > grave.at and row > grave.seq and learn(session.limits, event.limits, own):
            self.ear.renew(session, event.received_at)
            self._refresh(session, now, mono)

    def _survive(self, part: str, error: Exception) -> None:
        """An error of a callback must not stop the fold."""
        if not self.on_defect:
            raise error
        self.on_defect(part, error)

    # -- the log's word -----------------------------------------------------------------------------------------

    def correct(self, key: Key, state: State, now: int, mono: float, received_at: int = 0) -> bool:
        """Takes a session's state as the whole log has it, after a late point; a since-time is no news.

        Where two statuses of one instant change places it is another status: that is a transition, which is counted
        and of which others are notified. The judge hears of it at `received_at`, when the late event came (0: `now`).
        False when newer points came meanwhile: fold anew.
        """
        session = self.sessions.get(key)
        if session is None:
            return True
        before = session.state
        if (before.at, before.tie) > (state.at, state.tie):
            return False
        # Retention may have taken the events that once made it WORKING.
        state = msgspec.structs.replace(state, worked=state.worked or before.worked)
        self.unsaved.add(key)
        if state.status is before.status:
            session.state = state
            self._refresh(session, now, mono)
        else:
            self._enter(session, Transition(before, state), 0, now, mono)
        self.ear.tell(session, received_at or now)
        return True

    def replace(self, key: Key, memory: Memory, now: int, mono: float, received_at: int = 0) -> None:
        """Takes all that the log holds of a session, after a row of it has changed."""
        session = self.sessions.get(key)
        if session is None or not self.correct(key, memory.state, now, mono, received_at):
            return
        session.limits = {limit.restriction: (limit, at) for limit, at in memory.limits}
        self._run_by(session, memory.engine, memory.engine_at, mono)
        self._refresh(session, now, mono)
        self.ear.tell(session, received_at or now)

    # -- deletions ----------------------------------------------------------------------------------------------

    def grave(self, key: Key) -> Grave:
        """When a session was last deleted."""
        return self.graves.get(key, FIRST_LIFE)

    def bury(self, key: Key, at: int, seq: int) -> None:
        """Notes a deletion: events up to `at` (Unix ms) are late, and rows up to `seq` are of the former life."""
        known = self.grave(key)
        self.graves[key] = Grave(max(at, known.at), max(seq, known.seq))

    def forget(self, key: Key, tombstone: int, mono: float, buried: int = 0) -> bool:
        """Deletes a session (`bury`): all its series go at once. False when there is none."""
        session = self.sessions.get(key)
        self.ear.begin(key, session, tombstone)
        self.bury(key, tombstone, buried)
        self.dormant.pop(key, None)
        self.activity.pop(key, None)
        if session is None:
            return False
        if session.state.auth_since:
            waited = max(0, tombstone - session.state.auth_since) / 1000
            session.bucket.qr_waits[WaitOutcome.DELETED].observe(waited)
        self._drop(session, tombstone, mono)
        if self.on_forget:
            try:
                self.on_forget(key)
            except Exception as error:  # noqa: BLE001 - as above
                self._survive("deletion", error)
        return True
