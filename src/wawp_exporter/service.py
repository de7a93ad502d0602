"""The running exporter: its parts, its upkeep, start, stop and reload."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from wawp_exporter import log_lines
from wawp_exporter.audit.recovery import Recoveries, recoveries, recovery_of
from wawp_exporter.audit.weekly import patterns
from wawp_exporter.config.load import load
from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import ConfigError, LogError, Refusal, TooBusy, WawpExporterError, describe
from wawp_exporter.gateways.reconcile import Watch
from wawp_exporter.gateways.restarts import Remedies
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.follower import Follower
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.reader import Reader
from wawp_exporter.live.restoring import refill, restore
from wawp_exporter.live.stream import Hub
from wawp_exporter.log.log import Log, Restored
from wawp_exporter.log.place import place_of
from wawp_exporter.log.retention import LEASE, LEASE_S
from wawp_exporter.metrics.exposition import REFRESH_PAGES, Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import Transition
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import Session
from wawp_exporter.upkeep import Job, Upkeep

logger = structlog.get_logger()

OUTAGE_MS = 45_000  # heartbeat interval (15 s) plus retry window of senders (30 s)
HOUR_S = 3600
STUCK_S = 30  # until a write that does not end makes the service unready
AWAKEN = 256  # sessions made before others get their turn


class Replaced(Protocol):
    """What a reload replaces beside the service itself: what the listeners let in."""

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Reads what a new configuration asks for; what is returned puts it in force. Raises ListenError."""


class Service:
    """The running exporter: its parts, its upkeep, and what a reload replaces."""

    def __init__(self, settings: Settings, config_path: Path | None = None) -> None:
        self.settings = settings
        self.config_path = config_path
        self.telemetry = Telemetry()
        self.fleet = Fleet(Rules(settings.config))
        shard = settings.config.shard
        self.log = Log(place_of(settings.config.database.url), (shard.ordinal, shard.total))
        self.ingest = Ingest(self.fleet, self.log, self.telemetry)
        self.exposition = Exposition(self.fleet, self.telemetry)
        self.reader = Reader()
        self.recoveries = Recoveries()
        self.hub = Hub(self.fleet, self.log.place, self.reader)
        self.fleet.on_transition = self._heard
        self.fleet.on_forget = self.hub.deleted
        self.follower: Follower | None = None
        self.watch = Watch(self.ingest, self.telemetry)
        self.hub.ready = self.watch.ready
        self.remedies = self._make_remedies(settings)
        self.oldest_event = 0
        self.log_bytes = 0
        self._reloading = asyncio.Lock()
        self._began = unix_now()
        self._learned = False
        self._stopping = False
        self._stale: set[Key] = set()  # stopped for so long that they are to be forgotten
        self.front: Replaced | None = None
        self.upkeep = Upkeep(self._jobs(), self.telemetry)
        self._register()
        self._loaded(settings)

    def _jobs(self) -> list[Job]:
        """All that is done again and again: name, period and first time in seconds, and what it is."""
        shared = [Job("share", 5, 5, self.ingest.last_seen.share)] if self.log.shared else []
        return [
            Job("time", 1, 1, self._advance),
            Job("forget", 1, 1, self._forget_stale),
            Job("save", 5, 5, self.ingest.saving.save),
            *shared,
            Job("beat", 15, 1, self.ingest.saving.beat),
            Job("restarts", 15, 15, self.remedies.settle),
            Job("look", 60, 60, self._look),
            Job("learn", HOUR_S, 1, self._learn),
            Job("purge", HOUR_S, 1, self._purge),
        ]

    def _make_remedies(self, settings: Settings) -> Remedies:
        return Remedies(settings.config.remedy, lambda: self.watch.gateways, self.ingest, self.telemetry)

    def _register(self) -> None:
        """The gauges that are read off the parts at each scrape."""
        read = self.telemetry.read
        read("wawp_exporter_queue_depth", "Events that wait to be appended.", lambda: self.ingest.depth)
        read("wawp_exporter_log_size_bytes", "Bytes that the log takes on disk.", self._size)
        if self.log.shared:
            read(
                "wawp_exporter_log_follow_lag_seconds",
                "For how long this replica has not been known to hold all of the log.",
                lambda: self.follower.lag if self.follower else 0,
            )
        else:
            log = self.log
            read("wawp_exporter_log_free_bytes", "Bytes that are left for the log.", lambda: log.free_bytes() or 0)
            read("wawp_exporter_log_disk_bytes", "Bytes of the disk under the log.", lambda: log.disk_bytes() or 0)
        read(
            "wawp_exporter_log_oldest_event_timestamp_seconds",
            "When the oldest logged event was received (Unix seconds), 0 for an empty log.",
            lambda: self.oldest_event / 1000,
        )
        read("wawp_exporter_time_seconds", "The exporter's clock (Unix seconds).", time.time)

    def _size(self) -> int:
        # A scrape must not wait for another machine.
        return self.log_bytes if self.log.shared else self.log.size_bytes()

    def _heard(self, session: Session, transition: Transition, seq: int) -> None:
        """What the parts learn from each transition as it is applied."""
        self.hub.transition(session, transition, seq)
        recovery = recovery_of(transition)
        if recovery:
            self.recoveries.add(session.engine, *recovery, transition.after.since)

    def _loaded(self, settings: Settings) -> None:
        """Marks a configuration as the one in force."""
        self.settings = settings
        self.telemetry.keep_sources(settings.config.sources)
        self.telemetry.reload_ok.set(1)
        self.telemetry.reload_time.set_to_current_time()

    async def start(self) -> None:
        """Restores the fleet from the log and begins the upkeep."""
        await self.ingest.cleaning.prepare()
        restored = self._restore()
        if self.log.shared:
            self.follower = Follower(self.ingest, restored)
        await self.remedies.conclude_cut_off(starting=True)
        last_seen = await asyncio.to_thread(self.log.last_seen)
        # Senders have given up by then; what they sent meanwhile is lost.
        confirmed = not last_seen or unix_now() - last_seen < OUTAGE_MS
        await self.watch.configure(self.settings, confirmed=confirmed)
        await self._look()
        self.upkeep.start()
        self.upkeep.spawn("warm", self._warm)

    def _restore(self) -> Restored:
        started = time.perf_counter()
        restored = restore(self.fleet, self.log, list(self.settings.config.sources))
        self.ingest.folding.restored(restored.mark)
        self.hub.newest = restored.seq
        took = round(time.perf_counter() - started, 3)
        logger.info("log restored", sessions=len(self.fleet.sessions) + len(self.fleet.dormant), seconds=took)
        return restored

    async def wind_down(self) -> None:
        """Ends what would keep requests open: streams, restarts, waits for a gateway, reports. Webhooks go on."""
        self._stopping = True
        self.hub.close()
        self.reader.close()
        # While the gateways can be asked.
        await self.remedies.close()
        async with self._reloading:  # a reload that has begun may still make some
            await self.watch.close()

    async def stop(self) -> None:
        """Ends the upkeep, finishes what is under way, saves and closes the log."""
        await self.upkeep.close()
        await self.wind_down()
        if self.follower:
            await self.follower.close()
        await self.ingest.close()
        self.log.close()

    @property
    def ready(self) -> bool:
        """Whether nothing is against it; the log is replayed before anything listens."""
        return not self.unready

    @property
    def unready(self) -> str:
        """Why what is told here cannot be relied on, "" if it can."""
        if not self.ingest.healthy:
            return "the event log cannot be written"
        # A small write: the writer stands still if it takes this long, and refuses nothing meanwhile.
        if self.upkeep.running_for("beat") > STUCK_S:
            return f"the event log has not answered for {STUCK_S} s"
        if self.follower and not self.follower.ready:
            return "the event log cannot be followed: what is told here is old"
        return ""

    @property
    def ended(self) -> list[str]:
        """What should go on for ever, and has ended: only a new process brings it back."""
        if self._stopping:
            return []
        parts = {"upkeep": not self.upkeep.alive, "following the log": bool(self.follower and self.follower.ended)}
        return [name for name, over in parts.items() if over] + [f"gateway of {name}" for name in self.watch.ended]

    async def reload(self) -> None:
        """Reads the configuration again; a bad one is refused: ConfigError, ListenError, LogError. TooBusy in a stop.

        All of it takes effect, or nothing. One after another: the last that was asked for has the last word.
        """
        async with self._reloading:
            if self._stopping:
                raise TooBusy("the exporter is stopping, the configuration is not read any more")
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one goes on
                raise self._refused(error) from None
        logger.info("configuration loaded")

    def _refused(self, error: Exception) -> WawpExporterError:
        """Counts and logs a refused configuration; what nobody has foreseen is named by its type only."""
        self.telemetry.reload_ok.set(0)
        if not isinstance(error, WawpExporterError):
            error = ConfigError([f"the configuration cannot be read: {type(error).__name__}, expected readable files"])
        logger.error("configuration refused, the old one stays", mistakes=str(error).splitlines())
        return error

    async def _reload(self) -> None:
        settings = await asyncio.to_thread(load, self.config_path)
        self._refuse_rebind(settings)
        replace_front = self.front.prepare(settings) if self.front else None
        rules = Rules(settings.config)
        # What leaves the fleet must be kept first: it comes back from the log when its source does.
        await self.ingest.saving.save()
        added = sorted(set(settings.config.sources) - set(self.settings.config.sources))
        # What is restored and what is folded must meet at one place of the log.
        async with self.follower.folding if self.follower and added else contextlib.nullcontext():
            restored = await asyncio.to_thread(self.log.restore, added) if added else None
            await self.watch.configure(settings)
            # From here on nothing waits and nothing can fail: no webhook meets one half of it.
            log_lines.configure(settings.config.log.level, settings.config.log.format)
            self.fleet.reconfigure(rules, unix_now(), time.monotonic())
            if restored:
                refill(self.fleet, restored)
            self._loaded(settings)
            self.remedies.configure(settings.config.remedy)
            if replace_front:
                replace_front()
        if restored:
            self.upkeep.spawn("warm", self._warm)
        self.upkeep.spawn("look", self._look)  # there may be room for more names now

    def _refuse_rebind(self, settings: Settings) -> None:
        """What only a restart can change must not be taken as changed."""
        old, new = self.settings.config, settings.config
        fixed = {
            "web.listen": (old.web.listen, new.web.listen),
            "web.ingress_listen": (old.web.ingress_listen, new.web.ingress_listen),
            "web.tls": (bool(old.web.tls.cert_file), bool(new.web.tls.cert_file)),
            "database.url": (old.database.url, new.database.url),
            "shard": (old.shard, new.shard),
        }
        changed = [f"{key}: changed, expected the old value until a restart" for key, (a, b) in fixed.items() if a != b]
        if changed:
            raise ConfigError(changed)

    async def _advance(self) -> None:
        """Lets time pass in the fleet, and says how many log lines were left out."""
        log_lines.tell_left_out()
        self._stale.update(self.fleet.advance(unix_now(), time.monotonic()))

    async def _warm(self) -> None:
        """Awakens and renders what was restored, so that the first scrape need not."""
        # Nothing of what is made here is garbage, and looking for some would hold up webhooks.
        gc.disable()
        try:
            await self.awaken()
            while self.exposition.refresh(unix_now(), REFRESH_PAGES):  # noqa: ASYNC110 - work in slices, not waiting
                await asyncio.sleep(0)
            gc.freeze()
        finally:
            gc.enable()

    async def awaken(self) -> None:
        """Returns when no session is dormant; webhooks get their turn meanwhile."""
        while self.fleet.awaken(AWAKEN, unix_now(), time.monotonic()):  # noqa: ASYNC110 - work in slices, not waiting
            await asyncio.sleep(0)

    async def _forget_stale(self) -> None:
        """Forgets sessions that were stopped for long; what the log refuses is tried again when the fleet says so."""
        stale, self._stale = self._stale, set()
        for key in stale:
            try:
                await self.ingest.forget(key)
            except Refusal:
                logger.warning("stopped session not forgotten yet, the log cannot be written")

    async def _look(self) -> None:
        """Looks up what a scrape must not wait for."""
        try:
            self.oldest_event = await asyncio.to_thread(self.log.oldest_event)
            await self.ingest.cleaning.admit()
            if self.log.shared:
                self.log_bytes = await asyncio.to_thread(self.log.size_bytes)
        except LogError as error:
            logger.error("log not readable", error=describe(error))

    async def _learn(self) -> None:
        """Looks in the log for what recurs weekly and, once, for how long recoveries took."""
        now, config, place = unix_now(), self.settings.config, self.log.place
        try:
            if not self._learned:
                for each in await self.reader.background(recoveries, place, now, self._began):
                    self.recoveries.add(*each)
                self._learned = True
            self.fleet.recur(await self.reader.background(patterns, place, config, now))
        except LogError as error:
            if not self._stopping:
                logger.error("log not readable", error=describe(error))
        except TooBusy:
            return  # the service stops, or the log is too large to be read within the limit

    async def _purge(self) -> None:
        await self.ingest.cleaning.prepare()
        before = unix_now() - int(self.settings.config.database.retention * 1000)
        try:
            if not await self.ingest.access.lease(LEASE, LEASE_S):
                await self.ingest.cleaning.forget_tombstones(before)
                return
            count = await self.ingest.cleaning.purge(before)
            await self.ingest.cleaning.purge_names(before)
            await self.ingest.cleaning.forget_tombstones(before)
        except LogError as error:
            logger.error("old events not purged", error=describe(error))
        else:
            logger.info("old events purged", events=count)
        await self.remedies.conclude_cut_off()
        await self._look()
