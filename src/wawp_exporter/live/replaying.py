"""Folds rows of the log, in its order, into a fleet whose judge is to hear of them: a late one where the log has it."""

from collections.abc import Callable, Generator
from typing import Any

from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Deleted, Entry, Followed, Joined, key_of, mark_after
from wawp_exporter.log.states import States
from wawp_exporter.model.fleet import Fleet

Reads = Generator[Callable[[], Any], Any, None]  # asks for calls that read the log, and is sent what they return


class Replay:
    """`mark` is the place in the log up to which all is folded."""

    def __init__(self, fleet: Fleet, states: States, mark: Mark) -> None:
        self.mark = mark
        self._fleet = fleet
        self._states = states

    def take(self, entry: Entry) -> Reads:
        """Folds the next entry."""
        self.mark = mark_after(self.mark, entry)
        if isinstance(entry, Deleted):
            if not self._fleet.forget(entry.key, entry.tombstone, 0.0, entry.buried):
                self._fleet.hearing.leave(entry.key, entry.tombstone)
        elif isinstance(entry, Joined):
            self._fleet.adopt(entry.key, entry.memory, self._fleet.judge.now, 0.0)
        else:
            _, late = self._fleet.apply(entry.event, entry.rows, entry.event.received_at, 0.0)
            if late:
                yield from self.correct(entry)

    def correct(self, late: Followed) -> Reads:
        """Takes the session as the log has it with a late event, which is folded already."""
        key, received_at, mark = key_of(late), late.event.received_at, self.mark
        if min(late.rows) < 0:
            memory, _ = yield lambda: self._states.recollect(key, mark)
            if memory:
                self._fleet.replace(key, memory, received_at, 0.0, received_at)
            return
        grave = self._fleet.grave(key)
        state = yield lambda: self._states.fold(key, grave.at, mark.seq, grave.seq, mark.change)
        if state:
            self._fleet.correct(key, state, received_at, 0.0, received_at)


def run(reads: Reads) -> None:
    """Reads at once whatever is asked for."""
    answer = None
    while True:
        try:
            call = reads.send(answer)
        except StopIteration:
            return
        answer = call()
