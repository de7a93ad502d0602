"""Restarts sessions when Alertmanager asks for it, for the alerts in `remedy.alerts`, or a person does on a page.

Only a few times an hour, whoever asks.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from wawp_exporter.config.schema import Remedy
from wawp_exporter.errors import GatewayError, LogError, LogUnavailable, describe
from wawp_exporter.gateways.gateway import Gateway
from wawp_exporter.gateways.notification import Notification, Taken, wanted
from wawp_exporter.gateways.room import Closed, Room
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.log.actions import Action
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.event import LOGIN, Status, normal
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

HOUR_MS = 3_600_000
STALE_MS = 120_000  # after which a restart that never ended was cut off with its process
# Alerts about a session that is WORKING.
DEAD = frozenset({"WawpSessionSilent", "WawpSessionUndelivered", "WawpSessionUnresponsive"})
HELPED = frozenset({Status.STARTING, Status.FAILED, Status.DISCONNECTED})
TRIED = frozenset({"running", "restarted", "failed", "interrupted"})
BY_HAND = "by hand"  # in place of an alert: a person has asked for it on the session's page
CLOSE_S = 5.0  # at a stop: for restarts that the gateway has been asked for

logger = structlog.get_logger()


def judge(remedy: Remedy, now: int) -> Callable[[Sequence[Action]], str]:
    """Decides by the session's actions of the last day, newest first: "" to restart, or why not."""

    def decide(recent: Sequence[Action]) -> str:
        tried = [action for action in recent if action.result in TRIED and now - action.at < HOUR_MS]
        if tried and tried[0].result == "running" and now - tried[0].at < STALE_MS:
            return "under_way"
        # Before the pause, so that an operator is told at once that there will be no further restart.
        if len(tried) >= remedy.max_per_hour:
            return "given_up"
        if tried and now - tried[0].at < remedy.backoff * 1000 * 2 ** (len(tried) - 1):
            return "backoff"
        return "dry_run" if remedy.dry_run else ""

    return decide


def must_not(status: Status, alert: str) -> str:
    """Why a session in this status is left alone; "" if a restart may help it."""
    if status in HELPED or (status is Status.WORKING and alert in (*DEAD, BY_HAND)):
        return ""
    if status in LOGIN:
        return "waits_for_login"
    return {Status.STOPPED: "stopped", Status.WORKING: "recovered"}.get(status, "unknown")


class Remedies:
    """Restarts in the background, at most `max_concurrent` at once; one at a time for each session."""

    def __init__(
        self, remedy: Remedy, gateways: Callable[[], Mapping[str, Gateway]], ingest: Ingest, telemetry: Telemetry
    ) -> None:
        self.remedy = remedy
        self._gateways = gateways
        self._ingest = ingest
        self._telemetry = telemetry
        self._room = Room(remedy.max_concurrent)
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: set[asyncio.Task[Any]] = set()  # those whose gateway is being asked
        self._results: dict[int, str] = {}  # of actions that the log could not take yet

    def configure(self, remedy: Remedy) -> None:
        """Takes another configuration; restarts that are under way are not cut off."""
        self.remedy = remedy
        self._room.resize(remedy.max_concurrent)

    async def take(self, notification: Notification) -> Taken:
        """Decides about each session that is named. Raises LogUnavailable, so that Alertmanager tries again."""
        restarting, left = 0, dict[str, int]()
        for key, alert in wanted(notification, self.remedy.alerts, self._members):
            reason = await self._ask(key, alert)
            if reason:
                left[reason] = left.get(reason, 0) + 1
            else:
                restarting += 1
        return Taken(restarting, left)

    async def by_hand(self, key: Key) -> str:
        """Restarts a session because a person wants it: "" if that has begun, else why not. Raises LogUnavailable."""
        return await self._ask(key, BY_HAND)

    async def _ask(self, key: Key, alert: str) -> str:
        """Begins a restart, unless there is a reason not to, which is counted, written and returned."""
        if self._closing:
            raise LogUnavailable("the exporter is stopping; try again")
        reason = await self._refusal(key, alert)
        if not reason:
            action = await self._claim(key, alert)
            if action.result == "running":
                self._begin(key, alert, action)
                return ""
            reason = action.result
        self._count(key, reason)
        self._say(key, alert, reason)
        return reason

    def _begin(self, key: Key, alert: str, action: Action) -> None:
        task = asyncio.create_task(self._restart(key, alert, action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Begins no more restarts, waits CLOSE_S for those that are under way, and records what was cut off."""
        self._closing = True
        self._room.close()
        if self._begun:
            await asyncio.wait(self._begun, timeout=CLOSE_S)
        # Only those whose gateway is being asked: the others end by themselves when `_room` closes.
        for task in self._begun:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.settle()

    async def settle(self) -> None:
        """Records the results of restarts that ended while the log could not be written."""
        while self._results:
            number, result = self._results.popitem()
            if not await self._conclude(number, result):
                return

    async def conclude_cut_off(self, *, starting: bool = False) -> None:
        """Records as interrupted the actions that an ended process has left "running".

        `starting`: this process has begun none yet. A log of its own had one process before; of a shared log only
        what is too old to be under way anywhere is certainly cut off.
        """
        mine = starting and not self._ingest.log.shared
        before = unix_now() - (0 if mine else HOUR_MS)
        try:
            count = await self._ingest.actions.conclude_cut_off(before)
        except LogError as error:
            logger.error("interrupted restarts not recorded", error=describe(error))
            return
        if count:
            logger.warning("restarts interrupted by the end of the exporter", restarts=count)

    async def _refusal(self, key: Key, alert: str) -> str:
        """Why a session must not be restarted, by what the exporter knows; "" if it may."""
        session = await self._ingest.find(key)
        if session is None:
            return "unknown"
        if key[0] not in self._gateways():
            return "no_api"
        if session.maintenance:
            return "maintenance"
        if alert == BY_HAND:
            return self._needless(session)
        if session.state.auth_since:
            return "waits_for_login"
        return must_not(session.state.status, alert) or self._outdated(key, alert)

    def _needless(self, session: Session) -> str:
        """Why a person need not restart a session. One whose QR code nobody scanned is FAILED: a restart asks again."""
        if session.state.status is Status.WORKING and not self._ingest.fleet.judge.problems(session.key):
            return "recovered"
        return must_not(session.state.status, BY_HAND)

    def _outdated(self, key: Key, alert: str) -> str:
        """Why the alert is not about this session any more, by what the judge says now; "" if it still is.

        Of a session of another shard this replica knows the status only.
        """
        if not self._ingest.fleet.folds(key[0]):
            return ""
        judge = self._ingest.fleet.judge
        alerts = {ALERTS[problem] for problem in judge.problems(key)}
        alerts |= {MASS_ALERTS[outage.kind] for outage in judge.outages_of(key)}
        return "" if alert in alerts else "other_problem" if alerts else "recovered"

    def _members(self, labels: Mapping[str, str]) -> list[Key]:
        """The sessions of the outage that an alert with these labels is about."""
        scope = labels.get("source", ""), labels.get("engine", "")
        return [
            key
            for outage in self._ingest.fleet.judge.exported()
            if MASS_ALERTS[outage.kind] == labels.get("alertname") and outage.name[1:] == scope
            for key in sorted(outage.members)
        ]

    async def _claim(self, key: Key, alert: str) -> Action:
        try:
            return await self._ingest.actions.claim(key, alert, judge(self.remedy, unix_now()))
        except LogError as error:
            logger.error("restart not recorded, so not done", source=key[0], error=describe(error))
            raise LogUnavailable from None

    async def _restart(self, key: Key, alert: str, action: Action) -> None:
        result = "not_started"
        task = asyncio.current_task()
        assert task  # noqa: S101 - a coroutine of the event loop has one
        try:
            async with self._room:
                self._begun.add(task)
                result = "interrupted"
                # It may have waited for its turn, so the session can have another status by now.
                result = await self._refusal(key, alert) or await self._try(key, alert)
        except (asyncio.CancelledError, Closed):
            pass  # by `close`: the result is recorded below
        except Exception as error:  # noqa: BLE001 - whatever ends it, it is counted and recorded
            logger.error("restart failed", source=key[0], session=key[1], error=describe(error))
            result = "failed"
        finally:
            self._begun.discard(task)
        self._count(key, result)
        self._say(key, alert, result)
        await self._conclude(action.id, result)

    async def _conclude(self, number: int, result: str) -> bool:
        """Records the result of an action; if the log cannot be written, the result is kept for `settle`."""
        try:
            await self._ingest.actions.conclude(number, result)
        except LogError as error:
            logger.error("restart result not recorded", error=describe(error))
            self._results[number] = result
            return False
        return True

    async def _try(self, key: Key, alert: str) -> str:
        """Asks the gateway for the current status, then restarts; returns the result."""
        gateway = self._gateways().get(key[0])
        if gateway is None:
            return "no_api"
        try:
            status = await gateway.status(key[1])
            reason = "unknown" if status is None else must_not(normal(status), alert)
            if reason:
                return reason
            await gateway.restart(key[1])
        except GatewayError as error:
            logger.error("restart failed", source=key[0], session=key[1], error=str(error))
            return "failed"
        return "restarted"

    def _count(self, key: Key, result: str) -> None:
        if key[0] in self._ingest.fleet.rules.config.sources:
            self._telemetry.restarts.labels(key[0], result).inc()

    def _say(self, key: Key, alert: str, result: str) -> None:
        if result == "given_up":
            logger.error("restarts given up, a human is needed", source=key[0], session=key[1], alert=alert)
        else:
            logger.info("restart asked for", source=key[0], session=key[1], alert=alert, result=result)
