"""When time alone will change a session: the end of a window, of a restriction, of a silence, of what STOPPED keeps."""

import heapq
from collections.abc import Iterable, Iterator, Mapping

from wawp_exporter.model.event import STOPPED, WORKING
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import AT_REST, AT_WORK, Session

SPARE_WAKES = 1000  # plans that are kept though an earlier one has replaced them


class Wakes:
    """The next such instant of each session (Unix ms), the earliest first.

    `forget_after` is for how many seconds a STOPPED session is kept.
    """

    def __init__(self, sessions: Mapping[Key, Session], forget_after: float) -> None:
        self.forget_after = forget_after
        self._sessions = sessions
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        """How many plans are kept, those that an earlier one has replaced included."""
        return len(self._heap)

    def due(self, now: int) -> Iterator[Session]:
        """Takes the sessions whose instant has come, those that are planned meanwhile included."""
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            session = self._sessions.get(key)
            if session and session.wake == when:
                session.wake = 0
                yield session

    def plan(self, session: Session, now: int) -> None:
        """Plans the next instant at which time alone changes the session; an earlier plan is kept."""
        meta = session.meta
        if not (meta.windows or meta.silent or session.limits or session.linger or session.state.status is STOPPED):
            return  # as most: events alone change it
        when = min(self._instants(session, now), default=0)
        if when and (not session.wake or when < session.wake):
            self.wake(session, when)

    def wake(self, session: Session, when: int) -> None:
        """Plans this instant."""
        session.wake = when
        heapq.heappush(self._heap, (when, session.key))
        if len(self._heap) > 2 * len(self._sessions) + SPARE_WAKES:
            # Plans that an earlier one has replaced would stay until they are due, which may be in a year.
            self._heap = [(each.wake, key) for key, each in self._sessions.items() if each.wake]
            heapq.heapify(self._heap)

    def forget_at(self, session: Session) -> float:
        """When a STOPPED session is to be forgotten (Unix ms); never, if it is in another status."""
        if session.state.status is not STOPPED:
            return float("inf")
        # A long history that was only now received is not yet stale: nobody has seen its series.
        heard = max(session.state.since, session.last_event)
        return int(heard + self.forget_after * 1000)

    def _instants(self, session: Session, now: int) -> Iterable[int]:
        """The instants after `now` at which time alone changes the session."""
        for window in session.meta.windows:
            yield from (edge for edge in window if edge > now)
        for limit, _ in session.limits.values():
            if limit.active and limit.until > now:
                yield limit.until
        if session.state.status is STOPPED:
            yield max(now, int(self.forget_at(session)))
        if session.meta.silent and session.state.status is WORKING and not session.silent(now):
            yield session.heard + int(session.meta.silent * 1000) + 1
        if session.rank in (AT_WORK, AT_REST) and session.linger > now:
            yield session.linger
