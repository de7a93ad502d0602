"""Goes on with what was judged before a start: loads it, and judges the rows of the log that came after it."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from wawp_exporter.live.replaying import Replay, run
from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Deleted, Entry, Followed, joined, key_of
from wawp_exporter.log.judgements import EVERYWHERE, Kept
from wawp_exporter.log.log import Log
from wawp_exporter.log.states import Restored
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

LIMIT = 500  # rows read in one go
FARTHEST = 20_000  # rows: what is farther behind is judged by the states, since a start must not take minutes

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pauses:
    """When exporters began to run after each pause, and since when sources are configured again (Unix ms)."""

    begins: Sequence[int]
    back: Mapping[str, int]


def rejudge(fleet: Fleet, log: Log, kept: Kept, restored: Restored, pauses: Pauses) -> None:
    """Gives a new fleet's judge what was kept, and tells it of the rows up to where the fleet was restored.

    What was received before a pause is judged first, then the pause, so that no silence becomes too long in it. Where
    too much of the log came after what was kept, sessions are judged by their states, as they awake (`Hearing.recall`).
    """
    marks = {source: kept.marks.get(source, Mark()) for source in restored.sources}
    end = restored.mark.seq
    # Numbers have gaps: each point of a history takes one, also if the log has it.
    near = {
        mark: end - mark.seq <= FARTHEST or log.feed.rows(mark, FARTHEST + 1) <= FARTHEST for mark in marks.values()
    }
    recent = {source: mark for source, mark in marks.items() if near[mark]}
    if len(recent) < len(marks):
        logger.warning("problems and outages are judged anew: the log has too many events since they were saved")
    sources = {source: memory for source, memory in kept.sources.items() if source in (*recent, EVERYWHERE)}
    fleet.judge.load(sources, [memory for key, memory in kept.sessions.items() if key[0] in recent])
    fleet.hearing.sources |= recent.keys()
    fleet.hearing.pause(pauses.back)  # first: in their pause come the rows of others
    tails = [
        Tail(fleet, log, restored, {source for source in recent if recent[source] == mark}, mark)
        for mark in sorted(set(recent.values()))
    ]
    saved_to = kept.judged_to
    judged_to = {source: saved_to.get(source, 0) for source in recent}
    for begin in pauses.begins:
        paused = dict.fromkeys((source for source in recent if judged_to[source] < begin), begin)
        if paused:
            for tail in tails:
                tail.run(begin)
            # Where sources were judged to different places: all of them to the last of these.
            fleet.judge.wake(max((at for at in judged_to.values() if at < begin), default=0))
            fleet.hearing.pause({**paused, **pauses.back})
    for tail in tails:
        tail.run()
    fleet.judge.lost.clear()  # they were counted by the process that judged them first


class Tail:
    """The rows behind a place of the log, of some sources, in a fleet of its own, which tells the same judge."""

    def __init__(self, fleet: Fleet, log: Log, restored: Restored, sources: set[str], mark: Mark) -> None:
        """Raises LogError."""
        self._log = log
        self._restored = restored
        self._fleet = Fleet(fleet.rules)
        self._fleet.hearing.judge = fleet.judge
        entries = [entry for entry in self._behind(mark) if key_of(entry)[0] in sources]
        for key in {key_of(entry) for entry in entries}:
            self._begin(key, mark)
        self._entries = deque(joined(entries))
        self._replay = Replay(self._fleet, log.states, mark)

    def run(self, before: int | None = None) -> None:
        """Everything to where the fleet was restored, or to the first that was received at `before` or later (Unix ms).

        Raises LogError.
        """
        while self._entries and (before is None or received_at(self._entries[0]) < before):
            run(self._replay.take(self._entries.popleft()))

    def _behind(self, mark: Mark) -> Iterator[Entry]:
        last = self._restored.mark
        done = mark >= last
        while not done:
            entries, mark, done = self._log.feed.after(mark, LIMIT, last)
            yield from entries

    def _begin(self, key: Key, mark: Mark) -> None:
        """A session as it was when it was last judged."""
        known = self._restored.before.get(key) if self._restored.covered[key[0]] == mark else None
        memory, grave = known or self._log.states.recollect(key, mark)
        self._fleet.bury(key, *grave)
        self._fleet.resume(key, memory)


def received_at(entry: Entry) -> int:
    """When it came (Unix ms); of a name that was let in it is not known: before whatever follows."""
    if isinstance(entry, Followed):
        return entry.event.received_at
    return entry.tombstone if isinstance(entry, Deleted) else 0
