"""Goes on with what was judged before a start: loads it, and judges the rows of the log that came after it."""

from collections.abc import Iterator

import structlog

from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Deleted, Entry, Followed, Joined, joined
from wawp_exporter.log.judgements import EVERYWHERE, Kept
from wawp_exporter.log.log import Log
from wawp_exporter.log.states import Restored
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

LIMIT = 500  # rows read in one go
FARTHEST = 20_000  # rows: what is farther behind is judged by the states, since a start must not take minutes

logger = structlog.get_logger()


def rejudge(fleet: Fleet, log: Log, kept: Kept, restored: Restored) -> None:
    """Gives a new fleet's judge what was kept, and tells it of the rows up to where the fleet was restored.

    Where too much of the log came after it, sessions are judged by their states, as they awake (`Hearing.recall`).
    """
    marks = {source: kept.marks.get(source, Mark()) for source in restored.sources}
    recent = {source: mark for source, mark in marks.items() if restored.mark.seq - mark.seq <= FARTHEST}
    if len(recent) < len(marks):
        logger.warning("problems and outages are judged anew: the log has too many events since they were saved")
    sources = {source: memory for source, memory in kept.sources.items() if source in (*recent, EVERYWHERE)}
    fleet.judge.load(sources, [memory for key, memory in kept.sessions.items() if key[0] in recent])
    fleet.hearing.sources |= recent.keys()
    for mark in sorted(set(recent.values())):
        Replay(fleet, log, restored, {source for source in recent if recent[source] == mark}).run(mark)
    fleet.judge.lost.clear()  # they were counted by the process that judged them first


class Replay:
    """Folds the rows of some sources behind a place of the log into a fleet of its own, which tells the same judge."""

    def __init__(self, fleet: Fleet, log: Log, restored: Restored, sources: set[str]) -> None:
        self._log = log
        self._restored = restored
        self._sources = sources
        self._fleet = Fleet(fleet.rules)
        self._fleet.hearing.judge = fleet.judge

    def run(self, mark: Mark) -> None:
        """Everything from there to where the fleet was restored. Raises LogError."""
        entries = [entry for entry in self._behind(mark) if self._source_of(entry) in self._sources]
        deleted = {entry.key for entry in entries if isinstance(entry, Deleted)}
        for key, tombstone in self._restored.tombstones.items():
            if key not in deleted:
                self._fleet.bury(key, tombstone, self._restored.buried[key])
        for key in {key_of(entry) for entry in entries}:
            self._begin(key, mark)
        for entry in joined(entries):
            self._take(entry)

    def _behind(self, mark: Mark) -> Iterator[Entry]:
        last = self._restored.mark
        done = mark >= last
        while not done:
            entries, mark, done = self._log.feed.after(mark, LIMIT, last)
            yield from entries

    def _source_of(self, entry: Entry) -> str:
        return key_of(entry)[0]

    def _begin(self, key: Key, mark: Mark) -> None:
        """A session as it was when it was last judged."""
        self._fleet.resume(key, self._log.states.look(key, mark.seq))

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Deleted):
            if not self._fleet.forget(entry.key, entry.tombstone, 0.0, entry.buried):
                self._fleet.hearing.leave(entry.key, entry.tombstone)
        elif isinstance(entry, Joined):
            self._fleet.adopt(entry.key, entry.memory, self._fleet.judge.now, 0.0)
        else:
            self._fold(entry)

    def _fold(self, followed: Followed) -> None:
        event, fleet = followed.event, self._fleet
        now = event.received_at
        _, late = fleet.apply(event, followed.rows, now, 0.0)
        if not late:
            return
        key = (event.source, event.session)
        if min(followed.rows) < 0:
            memory = self._log.states.look(key, followed.place)
            if memory:
                fleet.replace(key, memory, now, 0.0, now)
            return
        self._correct(key, event, max(followed.rows))

    def _correct(self, key: Key, event: StatusEvent, seq: int) -> None:
        """A late event: the session as the log had it with this row."""
        grave, around = self._fleet.grave(key), min(point.at for point in event.points)
        state = self._log.states.fold(key, around, grave.at, seq, grave.seq)
        if state:
            self._fleet.correct(key, state, event.received_at, 0.0, event.received_at)


def key_of(entry: Entry) -> Key:
    """The session that an entry is about."""
    return (entry.event.source, entry.event.session) if isinstance(entry, Followed) else entry.key
