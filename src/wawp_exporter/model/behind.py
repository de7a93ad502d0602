"""The judge behind the fleet: after a late event it hears of the log's rows in their order, until it has caught up."""

from wawp_exporter.model.ear import Ear
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session


class Behind(Ear):
    """From its making on the judge hears of `fleet` instead of the live one. Both begin with the same sessions.

    `fleet` holds those that change meanwhile only, each as it was before its first change.
    """

    def __init__(self, live: Fleet) -> None:
        self._live = live
        self._kept: set[Key] = set()
        self.fleet = Fleet(live.rules, live.judge.constants)
        self.fleet.hearing = live.hearing
        self.fleet.ear = live.hearing
        live.hearing.find = self._find
        live.ear = self

    @property
    def over(self) -> bool:
        """Whether the judge hears of the live fleet again."""
        return self._live.ear is not self

    def begin(self, key: Key, session: Session | None, now: int) -> None:
        """Keeps the session as it is."""
        del now
        if key in self._kept:
            return
        self._kept.add(key)
        grave = self._live.graves.get(key)
        if grave:
            self.fleet.graves[key] = grave
        if session:
            self.fleet.bring(key, session.memory, self._live.judge.now, 0.0)

    def end(self) -> None:
        """What the judge has not heard of yet it learns from the sessions' states."""
        hearing, sessions = self._live.hearing, self._live.sessions
        self._live.ear, hearing.find = hearing, sessions.get
        for key in sorted(self._kept):
            session = sessions.get(key)
            if session:
                hearing.reconfigured(session, hearing.judge.now)
                hearing.heard(key, session.last_event)
            else:
                hearing.leave(key, hearing.judge.now)

    def _find(self, key: Key) -> Session | None:
        return (self.fleet if key in self._kept else self._live).sessions.get(key)
