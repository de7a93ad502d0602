"""Losses of many sessions at once: which of them are one outage, how large it is, and when it is over.

Decided when a loss begins to count, in the order of the log, and from the losses' own times; what was decided stands.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator

from wawp_exporter.model.losses import Losses, between, burst, chain
from wawp_exporter.model.outage import EVERYWHERE, RIVAL, Kind, Loss, Name, Outage
from wawp_exporter.model.rules import Key


class Outages(Losses):
    """Decides which losses are one outage, and when it is over."""

    def lose(self, kind: Kind, key: Key, engine: str, at: int, now: int) -> None:
        """Takes a loss that begins to count: it joins an outage, begins one, or stays alone."""
        self.losses[kind, key] = loss = Loss(at, engine)
        if kind in RIVAL and self.of(RIVAL[kind], key):
            loss.spent = True
            return
        insort(self._open.setdefault((kind, key[0], engine), []), (at, key))
        self._sizes[kind] += 1
        for name in ((kind, key[0], engine), (kind, *EVERYWHERE)):
            outage = self.live.get(name)
            if outage and outage.grows(at, self.constants):
                self._join(outage, [(at, key)], now)
                return
        if not self._everywhere(kind, at, now):
            self._burst((kind, key[0], engine), at, key, now)

    def recover(self, kind: Kind, key: Key, now: int) -> None:
        """A loss is over."""
        loss = self.losses.get((kind, key))
        if loss is None:
            return
        self._close(kind, key, loss)
        del self.losses[kind, key]
        if loss.outage:
            self._leave(self.live[loss.outage], key, now)

    # -- what begins an outage ----------------------------------------------------------------------------------

    def _burst(self, name: Name, at: int, key: Key, now: int) -> None:
        """The losses of one source's engine that are an outage together with this one, if any are."""
        population = self.population[name[1:]]
        lost = self._open[name]
        found = chain(lost, (at, key), self.constants.burst_ms, self.constants.chain_of(population))
        found = found or burst(lost, (at, key), self.constants.burst_ms, self.constants.burst_of(population))
        if found:
            self._begin(name, found, now)

    def _everywhere(self, kind: Kind, at: int, now: int) -> bool:
        """Whether at least three sources have each lost a fifth of their sessions at once, and all together too."""
        need = self.constants.chain_of(self.expected)
        if self._sizes[kind] < need:
            return False
        lost = {name[1:]: losses for name, losses in self._open.items() if name[0] is kind and losses}
        if len({source for source, _ in lost}) < self.constants.least:
            return False
        near = [pair for losses in lost.values() for pair in between(losses, at, self.constants.burst_ms)]
        hit = Counter(key[0] for _, key in near)
        whole: Counter[str] = Counter()
        for (source, _), count in self.population.items():
            whole[source] += count
        sources = [source for source, count in hit.items() if count >= self.constants.share * whole[source]]
        if len(sources) < self.constants.least or sum(hit[source] for source in sources) < need:
            return False
        self._begin((kind, *EVERYWHERE), sorted(near), now)
        return True

    def _begin(self, name: Name, found: list[tuple[int, Key]], now: int) -> None:
        """Begins an outage with those losses, or adds them to the one that goes on: a second burst is part of it."""
        outage = self.live.get(name)
        if outage is None:
            outage = self.live[name] = Outage(*name, found[0][0], found[-1][0], now)
        self._join(outage, found, now)
        self._join(outage, self._near(outage), now)

    def _near(self, outage: Outage) -> Iterator[tuple[int, Key]]:
        """The other losses that an outage takes in as it begins."""
        lost = self._open.get(outage.name, [])
        for at, key in lost[bisect_left(lost, (outage.since - self.constants.burst_ms,)) :]:
            if at > outage.newest + self.constants.burst_ms:
                return
            yield at, key

    def _join(self, outage: Outage, found: Iterable[tuple[int, Key]], now: int) -> None:
        for at, key in found:
            loss = self.losses[outage.kind, key]
            if loss.outage == outage.name:
                continue
            if loss.outage:
                self._leave(self.live[loss.outage], key, now)
            self._renounce(outage.kind, key)
            loss.outage = outage.name
            outage.members.add(key)
            outage.newest = max(outage.newest, at)
            if outage.exported:
                self._close(outage.kind, key, loss)
            else:
                outage.since = min(outage.since, at)
            self.joined.add((outage.kind, key))
        outage.largest = max(outage.largest, outage.size)
        self.weigh(outage, now)

    def _renounce(self, kind: Kind, key: Key) -> None:
        """Who belongs to a `disconnect` is no part of a `reauth` to come, and the other way round."""
        rival = RIVAL.get(kind)
        loss = self.losses.get((rival, key)) if rival else None
        if rival and loss:
            self._close(rival, key, loss)
            loss.spent = True

    # -- what ends one ------------------------------------------------------------------------------------------

    def advance(self, name: Name, now: int) -> None:
        """Lets time pass for one outage."""
        outage = self.live.get(name)
        if outage is None:
            return
        self.changed.add(name)
        if now < outage.due(self.constants):
            return
        if not outage.exported and outage.size >= self.constants.floor_of(outage.largest):
            outage.exported = True
            for key in outage.members:
                self._close(outage.kind, key, self.losses[outage.kind, key])
            return
        self._end(outage)

    def _end(self, outage: Outage) -> None:
        """Its sessions that are still lost are on their own; one that was not exported leaves no trace."""
        del self.live[outage.name]
        for key in outage.members:
            loss = self.losses[outage.kind, key]
            loss.outage, loss.spent = None, outage.exported
        self.left |= dict.fromkeys(outage.members, outage.exported)

    def _leave(self, outage: Outage, key: Key, now: int) -> None:
        outage.members.discard(key)
        self.weigh(outage, now)

    def weigh(self, outage: Outage, now: int) -> None:
        """Notes since when it is about to end."""
        self.changed.add(outage.name)
        if outage.size >= self.constants.floor_of(outage.largest):
            outage.low = 0
        else:
            outage.low = outage.low or now
