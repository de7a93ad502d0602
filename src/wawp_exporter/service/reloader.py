"""Reads the configuration again while the service runs: all of it takes effect, or nothing."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from wawp_exporter import log_lines
from wawp_exporter.config.load import load
from wawp_exporter.config.schema import Config
from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import ConfigError, TooBusy, WawpExporterError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.pace import Pace
from wawp_exporter.live.restoring import refill
from wawp_exporter.log.log import Log
from wawp_exporter.log.messages import Kept
from wawp_exporter.log.states import Restored
from wawp_exporter.model.rules import Key, Meta, Rules
from wawp_exporter.service.jobs import Jobs
from wawp_exporter.service.parts import Parts
from wawp_exporter.service.renewal import Renewal, stamps_of
from wawp_exporter.service.upkeep import Upkeep

logger = structlog.get_logger()


class Replaced(Protocol):
    """What a reload replaces outside the service: keys, tokens and certificate of the listeners."""

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Reads what a new configuration needs; the function it returns puts it in force. Raises ListenError."""


class Reloader:
    """Reloads one after another, so that the last one asked for has the last word. `front` is set by the listeners."""

    def __init__(self, parts: Parts, jobs: Jobs, upkeep: Upkeep, config_path: Path | None) -> None:
        self.front: Replaced | None = None
        self.lock = asyncio.Lock()
        self._parts = parts
        self._jobs = jobs
        self._upkeep = upkeep
        self._config_path = config_path
        self.renewal = Renewal(parts.settings.stamps, self.reload)

    async def reload(self) -> None:
        """Raises ConfigError, ListenError or LogError for a configuration that is refused, TooBusy during a stop."""
        async with self.lock:
            if self._parts.stopping:
                raise TooBusy("the exporter is stopping, the configuration is not read any more")
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one stays in force
                raise self._refused(error) from None
        logger.info("configuration loaded")

    def _refused(self, error: Exception) -> WawpExporterError:
        """Counts and logs a refused configuration. Of an unexpected error only the type is shown."""
        self._parts.telemetry.reload_ok.set(0)
        if not isinstance(error, WawpExporterError):
            error = ConfigError([f"the configuration cannot be read: {type(error).__name__}, expected readable files"])
        logger.error("configuration refused, the old one stays", mistakes=str(error).splitlines())
        return error

    async def _load(self) -> Settings:
        """The new configuration, which changes nothing that is fixed. Raises ConfigError."""
        old = self._parts.settings
        try:
            settings = await asyncio.to_thread(load, self._config_path)
        except ConfigError as error:
            # Perhaps not all of the old files were read: what has become of them is seen once this mistake is mended.
            self.renewal.tried({**stamps_of(old.stamps), **error.stamps})
            raise
        self.renewal.tried(settings.stamps)
        refuse_fixed(old.config, settings.config)
        return settings

    async def _reload(self) -> None:
        parts, settings = self._parts, await self._load()
        replace_front = self.front.prepare(settings) if self.front else None
        # What leaves the fleet must be saved first: it comes back from the log when its source does.
        await parts.ingest.saving.save()
        added = sorted(set(settings.config.sources) - set(parts.settings.config.sources))
        known, back = parts.fleet.rules, unix_now()  # what was sent to sources that come back is not known
        rules = known.renewed(settings.config, known.deaf, dict.fromkeys(added, back))
        added = rules.shard.held(added)
        metas = await self._metas(rules)
        # Nothing may be folded between the restore and the refill: both must end at one place of the log.
        async with parts.follower.folding if parts.follower and added else contextlib.nullcontext():
            kept = await asyncio.to_thread(read_back, parts.log, added) if added else None
            await parts.watch.configure(settings)
            await parts.ingest.messages.share()  # after a reload nobody writes them for sources that leave
            # From here on nothing waits and nothing can fail: no webhook meets half a configuration.
            log_lines.configure(settings.config.log.level, settings.config.log.format)
            parts.fleet.reconfigure(rules, unix_now(), time.monotonic(), metas)
            parts.log.database.shard = rules.shard
            if kept:
                restored, messages = kept
                parts.ingest.messages.merge(messages)
                refill(parts.fleet, restored)
                parts.ingest.messages.pause(dict.fromkeys(added, back))
            parts.put_in_force(settings)
            parts.remedies.configure(settings.config.remedy)
            parts.ingest.messages.heeding.listen()
            if replace_front:
                replace_front()
        # The judge has let the sessions of sources go that were taken out, and meets those that came in anew.
        await parts.ingest.saving.save()
        if kept:
            self._upkeep.spawn("warm", self._jobs.warm)
        self._upkeep.spawn("look", self._jobs.look)  # metrics.max_names_per_source may have become larger

    async def _metas(self, rules: Rules) -> dict[Key, Meta]:
        """What new rules say of each session, in turns: of many sessions and rules it takes long."""
        await self._jobs.awaken()
        pace, metas = Pace(), dict[Key, Meta]()
        for key in list(self._parts.fleet.sessions):
            metas[key] = rules.meta(*key)
            if pace.over:
                await pace.rest()
        return metas


def read_back(log: Log, sources: Sequence[str]) -> tuple[Restored, Kept]:
    """What the log has of sources that come back: their sessions, and the messages of these. Raises LogError."""
    return log.restore(sources), log.messages.since(0, sources)


def refuse_fixed(old: Config, new: Config) -> None:
    """Raises ConfigError for a change that only a restart can put in force."""
    fixed = {
        "web.listen": (old.web.listen, new.web.listen),
        "web.ingress_listen": (old.web.ingress_listen, new.web.ingress_listen),
        "web.tls": (bool(old.web.tls.cert_file), bool(new.web.tls.cert_file)),
        "database.url": (old.database.url, new.database.url),
        "shard": (old.shard, new.shard),
    } | {
        f"sources.{name}.shard": (old.sources[name].shard, new.sources[name].shard)
        for name in sorted(old.sources.keys() & new.sources.keys())
    }
    changed = [f"{key}: changed, expected the old value until a restart" for key, (a, b) in fixed.items() if a != b]
    if changed:
        raise ConfigError(changed)
