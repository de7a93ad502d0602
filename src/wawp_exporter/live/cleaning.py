"""Keeps the log within its bounds: old events go, names are counted, and months to come have a place."""

import asyncio

import structlog

from wawp_exporter.errors import LogError, describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.model.hours import HOUR_S
from wawp_exporter.model.quiet import HABITS, WEEK

PURGE_PAUSE_S = 0.05
PREPARE_TIMES = 20
KEPT_S = (HABITS.memory * WEEK + 24) * HOUR_S

logger = structlog.get_logger()


class Cleaning:
    """Belongs to the event loop; works a slice at a time, so that batches of events go between."""

    def __init__(self, folding: Folding, access: LogAccess) -> None:
        self._folding = folding
        self._fleet = folding.fleet
        self._access = access
        self._log = access.log

    async def purge(self, before: int) -> int:
        """Deletes events received before `before` (Unix ms); how many. Raises LogError."""
        purge = self._log.retention.purging(before)
        while (doomed := await asyncio.to_thread(purge.look)) is not None:
            if doomed.numbers:
                await self._access.write(purge.take, doomed)
            await asyncio.sleep(PURGE_PAUSE_S)
        return purge.gone

    async def purge_names(self, before: int) -> int:
        """Deletes names of which nothing is left in the log; how many. Raises LogError."""
        total, place = 0, 0
        while True:
            count, place = await self._access.write(self._log.retention.purge_names, before, place)
            total += count
            if not place:
                return total
            await asyncio.sleep(PURGE_PAUSE_S)

    async def purge_hours(self, now: int) -> None:
        """Deletes counts of messages that no habit is made of any more. Raises LogError."""
        before = now // 1000 - KEPT_S
        while await self._access.write(self._log.messages.purge, before):  # noqa: ASYNC110 - slices of work
            await asyncio.sleep(PURGE_PAUSE_S)

    async def forget_tombstones(self, before: int) -> None:
        """Forgets deletions before `before` (Unix ms) whose names retention has taken from the log. Raises LogError."""
        kept = await self._access.read(self._log.deletions.names)
        for key, grave in list(self._fleet.graves.items()):
            if grave.at < before and key not in kept:
                del self._fleet.graves[key]

    async def admit(self) -> None:
        """Folds names over the limit while there is room, and counts those that still are. Raises LogError."""
        over = await self._access.read(self._log.admission.over_limit)
        limit = self._fleet.rules.config.metrics.max_names_per_source
        for source in over:
            while joined := await self._access.write(self._log.admission.admit, source, limit):
                for key, memory in joined.items():
                    if not self._log.shared:  # there each replica learns of it as it follows the log
                        self._folding.adopt(key, memory)
        over = await self._access.read(self._log.admission.over_limit) if over else over
        for source in self._fleet.rules.config.sources:
            self._folding.telemetry.source(source).names_over = over.get(source, 0)

    async def prepare(self) -> None:
        """Makes room in the log for the months to come."""
        try:
            for _ in range(PREPARE_TIMES):
                if await self._access.write(self._log.retention.prepare, unix_now()):
                    return
                await asyncio.sleep(PURGE_PAUSE_S)
        except LogError as error:
            logger.error("could not prepare partitions for the coming months", error=describe(error))
        else:
            reason = "the log is being read all the time"
            logger.warning("could not prepare partitions for the coming months, trying again later", error=reason)
