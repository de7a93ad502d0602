"""Losses by session and by time, and the outages that they belong to."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

import msgspec

from wawp_exporter.model.facts import Problem
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.outage import KINDS, MUTES, NOTHING, Kept, Kind, Loss, Name, Outage, Scope
from wawp_exporter.model.rules import Key


class Losses:
    """Losses by session, and what outages they are. `population` counts the sessions that shares are taken of,
    `expected` is their sum.

    For the judge to empty: `joined` are the sessions that have become members of an outage of that kind, `left` those
    that are on their own again because an outage is over (True) or was none (False), `changed` the outages to look at.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.population: Counter[Scope] = Counter()
        self.live: dict[Name, Outage] = {}
        self.losses: dict[tuple[Kind, Key], Loss] = {}
        self.joined: set[tuple[Kind, Key]] = set()
        self.left: dict[Key, bool] = {}
        self.changed: set[Name] = set()
        # Losses that no exported outage holds, by time: what a new outage could be made of.
        self._open: dict[Name, list[tuple[int, Key]]] = {}
        self._sizes: Counter[Kind] = Counter()
        self.expected = 0

    # -- one session --------------------------------------------------------------------------------------------

    def expect(self, scope: Scope, change: int) -> None:
        """Counts a session in (1) or out (-1)."""
        self.population[scope] += change
        self.expected += change

    def of(self, kind: Kind, key: Key) -> Outage | None:
        """The outage of this kind that a session belongs to."""
        loss = self.losses.get((kind, key))
        return self.live[loss.outage] if loss and loss.outage else None

    def mutes(self, key: Key) -> frozenset[Problem]:
        """The problems that are not to be exported of a session, because its outage is."""
        if not self.live:
            return NOTHING
        return NOTHING.union(*[MUTES[kind] for kind in KINDS if self.of(kind, key)])

    def _close(self, kind: Kind, key: Key, loss: Loss) -> None:
        """Takes a loss out of those that a new outage could be made of."""
        lost = self._open.get((kind, key[0], loss.engine), [])
        index = bisect_left(lost, (loss.at, key))
        if index < len(lost) and lost[index] == (loss.at, key):
            del lost[index]
            self._sizes[kind] -= 1

    # -- saving -------------------------------------------------------------------------------------------------

    def lost(self, key: Key) -> dict[Kind, Loss]:
        """The losses of a session."""
        return {kind: self.losses[kind, key] for kind in KINDS if (kind, key) in self.losses}

    def dump(self, source: str) -> Kept:
        """What `load` needs of a source, beside its losses."""
        outages = [each for each in self.live.values() if each.source == source]
        counts = [(engine, count) for (name, engine), count in self.population.items() if name == source and count]
        return Kept(
            [msgspec.structs.replace(outage, members=set()) for outage in outages],
            [(source, engine, count) for engine, count in counts],
        )

    def load(self, kept: Iterable[Kept], losses: dict[tuple[Kind, Key], Loss]) -> None:
        """Takes what `dump` gave, into an empty one. An outage that another shard has kept is over here."""
        for each in kept:
            self.live.update((outage.name, outage) for outage in each.outages)
            for source, engine, count in each.population:
                self.expect((source, engine), count)
        self.losses = losses
        for (kind, key), loss in losses.items():
            outage = self.live.get(loss.outage) if loss.outage else None
            if outage:
                outage.members.add(key)
            elif loss.outage:
                loss.outage, loss.spent = None, True
            if not (loss.spent or (outage and outage.exported)):
                self._open.setdefault((kind, key[0], loss.engine), []).append((loss.at, key))
                self._sizes[kind] += 1
        for lost in self._open.values():
            lost.sort()


def chain(lost: list[tuple[int, Key]], newest: tuple[int, Key], gap: int, need: float) -> list[tuple[int, Key]]:
    """The losses around `newest`, each within `gap` of the one before, if there are as many as needed."""
    if len(lost) < need:
        return []
    first = last = bisect_left(lost, newest)
    while first and lost[first][0] - lost[first - 1][0] <= gap:
        first -= 1
    while last + 1 < len(lost) and lost[last + 1][0] - lost[last][0] <= gap:
        last += 1
    found = lost[first : last + 1]
    return found if len(found) >= need else []


def burst(lost: list[tuple[int, Key]], newest: tuple[int, Key], window: int, need: float) -> list[tuple[int, Key]]:
    """The earliest losses that lie within `window`, `newest` among them, if there are as many as needed."""
    low = bisect_left(lost, (newest[0] - window,))
    high = bisect_left(lost, (newest[0] + window + 1,))
    if high - low < need:
        return []
    for first in range(low, bisect_left(lost, newest) + 1):
        last = bisect_left(lost, (lost[first][0] + window + 1,))
        if last - first >= need:
            return lost[first:last]
    return []


def between(lost: list[tuple[int, Key]], at: int, window: int) -> list[tuple[int, Key]]:
    """The losses within `window` of that time, before or after."""
    return lost[bisect_left(lost, (at - window,)) : bisect_left(lost, (at + window + 1,))]
