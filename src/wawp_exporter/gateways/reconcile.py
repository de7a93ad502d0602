"""Asks a gateway for its sessions, and appends the statuses that no webhook reported.

A reading has the time at which it was asked for, and is ignored if an event came since. A difference must be read
twice before it is believed: gateways show a healthy session as STARTING or STOPPED for moments.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

import structlog

from wawp_exporter.errors import GatewayError, LogError, LogUnavailable, describe
from wawp_exporter.gateways.absent import Absent, came_since
from wawp_exporter.gateways.gateway import Gateway, Reading
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import Point, Status, StatusEvent, normal
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

ORIGIN = "reconcile"
RETRY_S = 5.0  # until a gateway that did not answer is asked again
AGAIN_S = 2.5  # until a difference is looked at again: a webhook that is under way has come by then
DOUBTFUL_S = 10.5  # until a healthy session's false readings are over
DOUBTFUL = frozenset({Status.STARTING, Status.STOPPED})
JITTER = 0.1
SLICE = 100  # sessions that are compared, and appended in one commit, before webhooks get their turn
RESTARTED_MS = 5000  # what a gateway's start time may move without a restart

logger = structlog.get_logger()
Work = Coroutine[Any, Any, None]


class Suspect:
    """A reading that differs from ours, first made at `at` (Unix ms), `mono` by the monotonic clock."""

    __slots__ = ("at", "mono", "reading")

    def __init__(self, reading: Reading, at: int, mono: float) -> None:
        self.reading = reading
        self.at = at
        self.mono = mono


class Reconciler:
    """Reconciles one source. `confirmed` is False from a start after an outage until the first look that went well.

    `unreachable`: nobody answered when the gateway was last asked; `failing`: there was no usable answer.
    """

    def __init__(
        self, source: str, gateway: Gateway, interval: float, ingest: Ingest, telemetry: Telemetry, *, confirmed: bool
    ) -> None:
        self.source = source
        self.gateway = gateway
        self.interval = interval
        self.confirmed = confirmed
        self.unreachable = False
        self.failing = False
        self._ingest = ingest
        self._telemetry = telemetry.gateway(source)
        self._suspects: dict[str, Suspect] = {}
        self._unread: set[str] = set()  # sessions that are not confirmed yet, though their source is
        self._over: set[str] = set()  # names over metrics.max_names_per_source
        self._absent = Absent(source, gateway, ingest)
        self._started_at: int | None = None
        self._lease = f"gateway {source} {ingest.log.shard.total}/{ingest.log.shard.index}"
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether the gateway is not asked any more."""
        return self._task.done()

    async def close(self) -> None:
        """Ends the looking and the connections."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.gateway.close()

    async def _run(self) -> None:
        while True:
            pause = self.interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            # Of the replicas of its shard one asks. It keeps the lease over a slow answer.
            mine = self._ingest.log.shard.holds(self.source)
            held = mine and await self._ingest.access.lease(self._lease, self.interval * 2 + 30)
            if held:
                await self._look()
                pause = min([pause, *(self._due(suspect) for suspect in self._suspects.values())])
                pause = min(pause, RETRY_S) if self.unreachable else pause
            elif held is False:
                self._telemetry.clear()
                self.confirmed = True  # the replica that asks shares its readings by the log
                self.unreachable = self.failing = False
                self._suspects.clear()
            await asyncio.sleep(pause)

    def _due(self, suspect: Suspect) -> float:
        """Seconds until the next look at a suspect makes sense."""
        return max(0.1, suspect.mono + AGAIN_S - time.monotonic())

    async def _look(self) -> None:
        """One look; whatever is wrong with the gateway or the log ends it, and the next one is tried."""
        try:
            await self.look(unix_now(), time.monotonic())
        except GatewayError as error:
            self._failed(unreachable=error.unreachable)
            logger.warning("gateway not reached", source=self.source, error=str(error))
        except (LogError, LogUnavailable) as error:
            logger.error("gateway status not logged", source=self.source, error=describe(error))
        except Exception as error:  # noqa: BLE001 - a defect must not end the looking for ever
            self._failed(unreachable=False)
            logger.error("reconcile failed", source=self.source, error=type(error).__name__)

    def _failed(self, *, unreachable: bool) -> None:
        """Shows that a look failed, whatever the reason."""
        self.unreachable, self.failing = unreachable, True
        self._telemetry.up.set(0)
        self._telemetry.errors.inc()

    def doubt(self, session: Session) -> str:
        """Why the gateway does not bear out what is known of a session; "" if nothing speaks against it."""
        if not self.confirmed or session.name in self._unread:
            return "the status is not confirmed by the gateway yet"
        if self.unreachable:
            return "the gateway does not answer"
        suspect = self._suspects.get(session.name)
        if suspect is None or came_since(session, suspect.at) or suspect.reading.fits(session.state.status):
            return ""
        return f"the gateway says that the session is {normal(suspect.reading.status)}, and is asked again"

    async def look(self, asked: int, mono: float) -> None:
        """Compares the gateway's sessions with ours as of `asked` (Unix ms). Raises GatewayError, LogError."""
        readings = await self.gateway.sessions()
        troubles = [reading.trouble for reading in readings if reading.trouble]
        if troubles and len(troubles) == len(readings):
            raise GatewayError(troubles[0])
        await self._notice_restart()
        named = by_name((self._name(reading), reading) for reading in readings)
        await self._compare_all(named, asked, mono)
        unread = self._unread_of(named)
        await self._absent.forget(named.keys() | unread, asked)
        self._answered(named, unread)
        if troubles:
            self._telemetry.errors.inc()
            said = f"{len(troubles)} of {len(readings)} sessions: {troubles[0]}"
            logger.warning("sessions not read from the gateway", source=self.source, error=said)
        else:
            self._telemetry.last_success.set(asked / 1000)

    async def _compare_all(self, named: Mapping[str, Reading], asked: int, mono: float) -> None:
        """Compares in slices. What is to be appended shares its commits: one for each session would take minutes."""
        usable = [item for item in named.items() if item[1].status]
        for start in range(0, len(usable), SLICE):
            await together([self._compare(*each, asked, mono) for each in usable[start : start + SLICE]])
            await asyncio.sleep(0)

    def _unread_of(self, named: Mapping[str, Reading]) -> set[str]:
        """The sessions of which the gateway gave no status.

        Where the name of one is not known, it may be any session that is not listed.
        """
        unread = {name for name, reading in named.items() if reading.trouble}
        mine = {name for source, name in self._ingest.fleet.sessions if source == self.source} if unread else set()
        if any(named[name].unnamed for name in unread - mine):
            unread |= mine - named.keys()
        return unread

    def _answered(self, named: Mapping[str, Reading], unread: set[str]) -> None:
        """The gateway has given the statuses of all sessions but `unread`."""
        self._suspects = {name: suspect for name, suspect in self._suspects.items() if name in named}
        self._over &= named.keys()
        self._unread = self._unread & unread if self.confirmed else unread
        self._telemetry.up.set(1)
        self.confirmed, self.unreachable, self.failing = True, False, False

    def _name(self, reading: Reading) -> str:
        """The one of its names that webhooks use; the last one if no webhook came yet."""
        now, mono = unix_now(), time.monotonic()
        known = (name for name in reading.names if self._ingest.fleet.find((self.source, name), now, mono))
        return next(known, reading.names[-1])

    def _compare(self, name: str, reading: Reading, asked: int, mono: float) -> Work | None:
        """What is to be done about a reading, if anything."""
        key = (self.source, name)
        session = self._ingest.fleet.find(key, asked, mono)
        if session is None:
            return self._first(key, reading, asked)
        if reading.fits(session.state.status) or came_since(session, asked):
            self._suspects.pop(name, None)
            return None
        suspect = self._suspects.get(name)
        if suspect is None or suspect.reading.status != reading.status or came_since(session, suspect.at):
            self._suspects[name] = Suspect(reading, asked, mono)
            return None
        doubtful = session.state.status is Status.WORKING and normal(reading.status) in DOUBTFUL
        if mono - suspect.mono < (DOUBTFUL_S if doubtful else AGAIN_S) - 0.5:
            return None
        return self._correct(key, reading, suspect.at, session.state.status)

    async def _first(self, key: Key, reading: Reading, asked: int) -> None:
        """Appends a session that no webhook reported, no correction. A stopped one that was forgotten stays so."""
        forgotten = self._ingest.fleet.grave(key).at
        if asked <= forgotten or (forgotten and reading.fits(Status.STOPPED)):
            return
        if key[1] in self._over:
            return
        if await self._append(key, reading, asked) is Outcome.IGNORED:
            self._over.add(key[1])  # once is enough: it is logged, and not folded
            return
        logger.info("session found at the gateway", source=key[0], status=normal(reading.status).value)

    async def _correct(self, key: Key, reading: Reading, at: int, before: Status) -> None:
        outcome = await self._append(key, reading, at)
        if outcome is Outcome.TRANSITION:
            self._telemetry.corrections.inc()
            after = normal(reading.status).value
            logger.warning("status corrected", source=key[0], session=key[1], before=before.value, after=after)
        self._suspects.pop(key[1], None)  # not before: until it is corrected, it is in doubt

    async def _append(self, key: Key, reading: Reading, at: int) -> Outcome:
        point = Point(reading.status, at, 0, at, reason=reading.reason)
        return await self._ingest.submit(StatusEvent(*key, (point,), unix_now(), engine=reading.engine, origin=ORIGIN))

    async def _notice_restart(self) -> None:
        try:
            started_at = await self.gateway.started_at()
        except GatewayError:
            return  # its sessions were read, which is what matters
        if started_at is None:
            return
        if self._started_at is None or abs(started_at - self._started_at) > RESTARTED_MS:
            if self._started_at is not None:
                logger.warning("gateway restarted", source=self.source)
                self._absent.clear()
            self._started_at = started_at
            self._telemetry.started_at.set(started_at / 1000)


def by_name(readings: Iterable[tuple[str, Reading]]) -> dict[str, Reading]:
    """The readings by session. One that is listed with several statuses is there, and has none that could be used."""
    found: dict[str, Reading] = {}
    for name, reading in readings:
        other = found.setdefault(name, reading)
        if other.status != reading.status:
            found[name] = Reading((name,), "")
    return found


async def together(works: Sequence[Work | None]) -> None:
    """Does them side by side and waits for all; raises what the first one that failed has raised."""
    ends = await asyncio.gather(*filter(None, works), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
