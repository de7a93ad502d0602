"""Probes: a question that only WhatsApp's servers can answer, asked through the gateway for each WORKING session.

A probe fails only if the gateway answers and WhatsApp does not. If the gateway itself does not answer, refuses the key
or does not know the session, nothing is learnt.
"""

import asyncio
import random
import time

import structlog

from wawp_exporter.errors import GatewayError, LogError, describe
from wawp_exporter.gateways.gateway import Gateway
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.event import Status, normal
from wawp_exporter.model.probe import Probe
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.model.sessions import take_probe

PER_MINUTE = 30  # probes of one gateway, however many sessions it has
JITTER = 0.1
LEASE_S = 60.0
RENEW_S = 20.0

logger = structlog.get_logger()


class Prober:
    """Probes the sessions of one source, each every `interval` seconds. Of several replicas one does."""

    def __init__(self, source: str, gateway: Gateway, interval: float, number: str, ingest: Ingest) -> None:
        self.source = source
        self._gateway = gateway
        self._interval = interval
        self._number = number
        self._ingest = ingest
        self._lease = f"probe {source} {ingest.log.shard.total}/{ingest.log.shard.index}"
        self._renew, self._held = 0.0, False
        self._due: dict[Key, float] = {}  # by the monotonic clock
        self._asking: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether no probes are made any more."""
        return self._task.done()

    async def close(self) -> None:
        """Ends the probes. The gateway is not closed: it is the reconciler's."""
        tasks = [self._task, *self._asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(60 / PER_MINUTE)
            try:
                await self._begin()
            except Exception as error:  # noqa: BLE001 - a defect must not end the probes for ever
                logger.error("probe failed", source=self.source, error=type(error).__name__)

    async def _begin(self) -> None:
        """Begins the probe that is due first, if this replica probes."""
        mono = time.monotonic()
        if mono >= self._renew:
            self._renew = mono + RENEW_S
            mine = self._ingest.log.shard.holds(self.source)
            self._held = mine and bool(await self._ingest.access.lease(self._lease, LEASE_S))
        key = self._next(mono) if self._held else None
        if key:
            self._due[key] = mono + self._interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            task = asyncio.create_task(self._guarded(key))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _next(self, mono: float) -> Key | None:
        """The session whose probe is due first; one that begins to work is probed within an interval."""
        sessions = self._ingest.fleet.sessions.values()
        keys = [s.key for s in sessions if s.source == self.source and s.state.status is Status.WORKING]
        spread = self._interval
        self._due = {key: self._due.get(key) or mono + random.uniform(0, spread) for key in keys}  # noqa: S311
        key = min(self._due, key=self._due.__getitem__, default=None)
        return key if key and self._due[key] <= mono else None

    async def _guarded(self, key: Key) -> None:
        try:
            await self._probe(key)
        except LogError as error:
            self._ingest.access.failed("could not share a probe with the other replicas", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session is probed again
            logger.error("probe failed", source=self.source, session=key[1], error=describe(error))

    async def _probe(self, key: Key) -> None:
        asked, mono = unix_now(), time.monotonic()
        answered = await self._answered(key[1])
        took_ms = round((time.monotonic() - mono) * 1000)
        session = self._ingest.fleet.sessions.get(key)
        if answered is None or session is None or not works_since(session, asked):
            return
        before = session.probe if session.probe and session.probe.at >= session.state.since else Probe(0, 0)
        probe = before.followed(asked, took_ms, answered=answered)
        if not answered:
            logger.warning("probe not answered by WhatsApp", source=key[0], session=key[1], failures=probe.failures)
        take_probe(self._ingest.fleet, key, probe, unix_now())
        self._ingest.folding.alarm.arm()
        if self._ingest.log.shared:
            await self._ingest.access.write(self._ingest.log.last_seen.share_probe, key, probe)

    async def _answered(self, session: str) -> bool | None:
        """Whether WhatsApp answered; None if the gateway did not, or says that the session is not WORKING."""
        try:
            if await self._gateway.probe(session, self._number):
                return True
        except GatewayError as error:
            if not error.late:
                return None
        # A gateway that waits for WhatsApp answers late or never, but it still answers what it knows by itself.
        try:
            status = await self._gateway.status(session)
        except GatewayError:
            return None
        return False if status and normal(status) is Status.WORKING else None


def works_since(session: Session, asked: int) -> bool:
    """Whether it has been WORKING since the probe was asked."""
    return session.state.status is Status.WORKING and session.state.since <= asked
