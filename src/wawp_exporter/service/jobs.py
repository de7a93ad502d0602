"""The jobs of the upkeep, as one table of periods, and what each of them does."""

import asyncio
import gc
import time

import structlog

from wawp_exporter import log_lines
from wawp_exporter.audit.recovery import recoveries
from wawp_exporter.audit.weekly import patterns
from wawp_exporter.errors import LogError, Refusal, TooBusy, describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.pace import Pace
from wawp_exporter.log.retention import LEASE, LEASE_S
from wawp_exporter.model.rules import Key
from wawp_exporter.service.habits import Habits
from wawp_exporter.service.heap import trim
from wawp_exporter.service.parts import Parts
from wawp_exporter.service.upkeep import Job

logger = structlog.get_logger()

HOUR_S = 3600
MESSAGES_S = 5
SHARED_S = 2  # with replicas: one writes, then another one reads, both together within 5 s
AWAKEN = 16  # restored sessions that are made at once


class Jobs:
    """What the service does again and again.

    `oldest_event` (Unix ms, 0: none) and, of a shared log, `log_bytes` are what was last looked up.
    """

    def __init__(self, parts: Parts) -> None:
        self.oldest_event = 0
        self.log_bytes = 0
        self._parts = parts
        self._began = unix_now()
        self._learned = False
        self._habits = Habits(parts)
        self._stale: set[Key] = set()  # stopped for so long that they are to be forgotten

    @property
    def table(self) -> list[Job]:
        """Name, period, first time after the start (both in seconds), and what is called."""
        parts = self._parts
        shared = [Job("share", 5, 5, self.share)] if parts.log.shared else []
        every = SHARED_S if parts.log.shared else MESSAGES_S
        return [
            Job("time", 1, 1, self.advance),
            Job("forget", 1, 1, self.forget_stale),
            Job("save", 5, 5, parts.ingest.saving.save),
            *shared,
            Job("messages", every, every, self.messages),
            Job("quiet", 10, 5, self._habits.look),
            Job("beat", 15, 1, parts.ingest.saving.beat),
            Job("restarts", 15, 15, parts.remedies.settle),
            Job("look", 60, 60, self.look),
            Job("trim", 30, 30, self.trim),
            Job("learn", HOUR_S, 1, self.learn),
            Job("purge", HOUR_S, 1, self.purge),
        ]

    async def advance(self) -> None:
        """Lets time pass in the fleet, and logs how many log lines were left out."""
        log_lines.tell_left_out()
        folding = self._parts.ingest.folding
        self._stale.update(self._parts.fleet.advance(unix_now(), time.monotonic(), folding.judged_to))
        folding.alarm.arm()

    async def forget_stale(self) -> None:
        """Forgets sessions that were stopped for long. If the log refuses it, `advance` names the session again."""
        stale, self._stale = self._stale, set()
        for key in stale:
            try:
                await self._parts.ingest.forget(key)
            except Refusal:
                logger.warning("stopped session not forgotten yet, the log cannot be written")

    async def share(self) -> None:
        """Shares with the other replicas what is in no event."""
        await self._parts.ingest.last_seen.share()
        await self._parts.ingest.acceptances.share()

    async def messages(self) -> None:
        """Writes the counts of messages, and has judged which are missing."""
        await self._parts.ingest.messages.share()
        self._parts.ingest.folding.alarm.arm()

    async def trim(self) -> None:
        """Gives memory back that was in use for a moment."""
        await asyncio.to_thread(trim)

    async def look(self) -> None:
        """Looks up what a scrape must not wait for."""
        log = self._parts.log
        try:
            self.oldest_event = await asyncio.to_thread(log.retention.oldest_event)
            await self._parts.ingest.cleaning.admit()
            if log.shared:
                self.log_bytes = await asyncio.to_thread(log.sizes.log_bytes)
        except LogError as error:
            logger.error("log not readable", error=describe(error))

    async def learn(self) -> None:
        """Reads from the log which disconnects recur weekly and, once, how long recoveries took."""
        parts, now = self._parts, unix_now()
        try:
            if not self._learned:
                found = await parts.reader.background(recoveries, parts.log.place, now, self._began)
                parts.recoveries.learn(found)
                self._learned = True
            recurring = await parts.reader.background(patterns, parts.log.place, parts.settings.config, now)
            parts.fleet.recur(recurring)
        except LogError as error:
            if not parts.stopping:
                logger.error("log not readable", error=describe(error))
        except TooBusy:
            return  # the service stops, or the log is too large to be read within the limit

    async def purge(self) -> None:
        """Deletes what is older than `database.retention`. Of several replicas, the one with the lease does it."""
        ingest = self._parts.ingest
        await ingest.cleaning.prepare()
        before = unix_now() - int(self._parts.settings.config.database.retention * 1000)
        try:
            if not await ingest.access.lease(LEASE, LEASE_S):
                await ingest.cleaning.forget_tombstones(before)
                return
            count = await ingest.cleaning.purge(before)
            await ingest.cleaning.purge_names(before)
            await ingest.cleaning.purge_hours(unix_now())
            await ingest.cleaning.forget_tombstones(before)
        except LogError as error:
            logger.error("old events not purged", error=describe(error))
        else:
            logger.info("old events purged", events=count)
        await self._parts.remedies.conclude_cut_off()
        await self.look()

    async def warm(self) -> None:
        """Makes and renders the restored sessions, so that the first scrape need not."""
        # Nothing that is made here is garbage: a collection would only hold up webhooks.
        gc.disable()
        try:
            await self.awaken()
            pace = Pace()
            for _ in self._parts.exposition.refresh(unix_now()):
                if pace.over:
                    await pace.rest()
            gc.freeze()
        finally:
            gc.enable()
        await self.trim()  # what was read at the start took as much as half of what is kept

    async def awaken(self) -> None:
        """Returns when every restored session is made; webhooks get their turn meanwhile."""
        pace = Pace()
        while self._parts.fleet.awaken(AWAKEN, unix_now(), time.monotonic()):
            if pace.over:
                await pace.rest()
