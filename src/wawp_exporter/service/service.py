"""The running exporter: start and stop."""

import asyncio
import time
from pathlib import Path

import structlog

from wawp_exporter.config.settings import Settings
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.follower import Follower
from wawp_exporter.live.restoring import restore
from wawp_exporter.log.states import Restored
from wawp_exporter.service.gauges import register
from wawp_exporter.service.health import Health
from wawp_exporter.service.jobs import Jobs
from wawp_exporter.service.parts import Parts
from wawp_exporter.service.reloader import Reloader
from wawp_exporter.service.renewal import RENEW_S
from wawp_exporter.service.upkeep import Job, Upkeep

logger = structlog.get_logger()

OUTAGE_MS = 45_000  # heartbeat interval (15 s) plus the time in which senders try again (30 s)


class Service(Parts):
    """The parts, and what keeps them running. The log is restored by `start`, before anything listens."""

    def __init__(self, settings: Settings, config_path: Path | None = None) -> None:
        super().__init__(settings)
        self.jobs = Jobs(self)
        renew = Job("renew", RENEW_S, RENEW_S, self._renew)
        self.upkeep = Upkeep([*self.jobs.table, renew], self.telemetry)
        self.health = Health(self, self.upkeep)
        self.reloader = Reloader(self, self.jobs, self.upkeep, config_path)
        register(self, self.jobs)

    async def start(self) -> None:
        """Restores the fleet from the log and begins the upkeep. Raises LogError."""
        await self.ingest.cleaning.prepare()
        restored = self._restore()
        if self.log.shared:
            self.follower = Follower(self.ingest, restored)
        await self.remedies.conclude_cut_off(starting=True)
        last_seen = await asyncio.to_thread(self.log.runs.last_seen)
        await self.ingest.saving.beat()  # before anything comes, so that a start soon after this one knows of the pause
        # After a longer pause senders have given up, and what they sent meanwhile is lost.
        confirmed = not last_seen or unix_now() - last_seen < OUTAGE_MS
        await self.watch.configure(self.settings, confirmed=confirmed)
        await self.jobs.look()
        self.upkeep.start()
        self.upkeep.spawn("warm", self.jobs.warm)

    def _restore(self) -> Restored:
        started = time.perf_counter()
        sources = self.fleet.rules.shard.held(self.settings.config.sources)
        self.ingest.messages.restore(sources)  # before the judge goes on, who must know which sources are heard
        restored = restore(self.fleet, self.log, sources, self.log.runs.begins(unix_now()))
        self.ingest.messages.pause(self.fleet.rules.heard)
        self.ingest.folding.restored(restored.mark)
        self.hub.newest = restored.seq
        took = round(time.perf_counter() - started, 3)
        logger.info("log restored", sessions=len(self.fleet.sessions) + len(self.fleet.dormant), seconds=took)
        return restored

    async def _renew(self) -> None:
        if not self.stopping:
            await self.reloader.renewal.look()

    async def reload(self) -> None:
        """Reads the configuration again. Raises what `Reloader.reload` raises."""
        await self.reloader.reload()

    async def wind_down(self) -> None:
        """Ends what would keep requests open: streams, restarts, waits for a gateway, reports. Webhooks go on."""
        self.stopping = True
        self.hub.close()
        self.reader.close()
        # Before `watch`, whose clients the restarts use.
        await self.remedies.close()
        async with self.reloader.lock:  # a reload that has begun may still make gateways
            await self.watch.close()

    async def stop(self) -> None:
        """Ends the upkeep, finishes what is under way, saves and closes the log."""
        await self.upkeep.close()
        await self.wind_down()
        if self.follower:
            await self.follower.close()
        await self.ingest.close()
        self.log.close()
