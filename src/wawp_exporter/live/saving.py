"""Writes the fold's state and the sign that the service runs to the log, between batches."""

import asyncio
from contextlib import suppress
from functools import partial
from itertools import islice

from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.log.database import Mark
from wawp_exporter.log.judgements import Judgement
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory

SAVE_SLICE = 1000  # states written between two batches
TAKEN = 250  # sessions taken in one turn of the event loop
MAX_TURNS = 4000  # sessions may change as fast as they are taken
SAVE_LEASE_S = 15.0
BETWEEN_S = 2.0  # the wait for the judge to have heard a whole event; the states are saved without what it judges then


class Saving:
    """Belongs to the event loop."""

    def __init__(self, folding: Folding, access: LogAccess) -> None:
        self._folding = folding
        self._fleet = folding.fleet
        self._access = access
        self._log = access.log
        self._lease = f"save {self._log.shard.total}/{self._log.shard.index}"
        self._saved = Mark()
        self._lock = asyncio.Lock()

    async def save(self) -> None:
        """Keeps what the fold knows, slice by slice between batches, so that the next start replays only a tail."""
        async with self._lock:
            if not self._access.healthy:
                await self.beat()  # finds out whether the log can be written again, also while no events come
            unsaved = self._fleet.unsaved or self._fleet.judge.unsaved
            if unsaved or self._saved != self._folding.corrections.covered():
                await self._save()

    async def _save(self) -> None:
        if not await self._access.lease(self._lease, SAVE_LEASE_S):
            return  # another replica of the shard saves
        ahead: dict[Key, bytes | None] = {}
        judged: list[Judgement] = []
        taken: dict[Key, Memory] = {}
        saved, save = False, self._log.save
        try:
            await self._take_ahead(taken, ahead)
            await self._judge(judged, ahead)
            # Sessions still to be corrected, and sources that are away, are not covered by the place that is saved.
            applied, end = self._folding.applied, self._folding.corrections.covered()
            taken.update(self._fleet.take_unsaved())
            sources, unsaved = self._sources, [each for each in taken.items() if each[0] in self._fleet.sessions]
            pieces = [unsaved[start : start + SAVE_SLICE] for start in range(0, len(unsaved), SAVE_SLICE)]
            # With the watermark, so that a kill leaves no state behind it, which a start could not use.
            last = pieces.pop() if pieces and applied.seq == end.seq else []
            for piece in pieces:
                await self._access.write(partial(save, covers=False), piece, applied.seq)
            judgement = judged[0] if judged else None
            covering = partial(save, change=end.change, sources=sources, judgement=judgement)
            await self._access.write(covering, last, end.seq)
            self._saved, saved = end, True
        except LogError as error:
            self._access.failed("could not save the state; the next start replays more of the log", error)
        finally:
            if not saved:  # failed, or cut off by a stop
                self._fleet.unsaved.update(taken)
            if not (saved and judged):
                self._fleet.judge.unsaved.update(ahead)

    @property
    def _sources(self) -> list[str]:
        """The sources that are folded here."""
        return [source for source in self._fleet.rules.config.sources if self._fleet.folds(source)]

    async def _take_ahead(self, taken: dict[Key, Memory], judged: dict[Key, bytes | None]) -> None:
        """Takes most sessions, and what is judged of them, slice by slice: all at once would hold up webhooks.

        What changes meanwhile is unsaved again, and taken again.
        """
        fleet, judge = self._fleet, self._fleet.judge
        for _ in range(MAX_TURNS):
            if len(judge.unsaved) <= TAKEN >= len(fleet.unsaved):
                return
            if len(fleet.unsaved) > TAKEN:
                taken.update(fleet.take_unsaved(TAKEN))
            if len(judge.unsaved) > TAKEN:
                keys = list(islice(judge.unsaved, TAKEN))
                judge.unsaved.difference_update(keys)
                judged.update((key, judge.saved(key)) for key in keys)
            await asyncio.sleep(0)

    async def _judge(self, judged: list[Judgement], ahead: dict[Key, bytes | None]) -> None:
        """Adds what is judged, and the place in the log up to which it holds; `ahead` is of sessions encoded before.

        While late events come again and again the judge is always behind, so it is asked between two of them.
        """
        judge = self._fleet.judge

        def take(mark: Mark) -> None:
            keys, judge.unsaved = judge.unsaved, set()
            ahead.update((key, judge.saved(key)) for key in keys)
            judged.append(Judgement(judge.dump(self._sources), ahead, mark))

        if self._folding.rehearing.active:
            with suppress(TimeoutError):
                async with asyncio.timeout(BETWEEN_S):
                    await self._folding.rehearing.between(take)
        if not (judged or self._folding.rehearing.active or self._folding.corrections.pending):
            take(self._folding.applied)

    async def beat(self) -> None:
        """Records that the service runs, so that an audit can tell what Prometheus can have seen."""
        try:
            await self._access.write(self._log.runs.beat, unix_now())
        except LogError as error:
            self._access.failed("could not record that the exporter is running; audits will show a gap", error)
        else:
            self._access.healthy = True
