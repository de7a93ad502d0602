"""`wawp-exporter simulate`: plays a scenario as signed webhooks to a running exporter, and says what came back."""

import asyncio
import hmac
import json
import math
import os
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

import click
import httpx
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from wawp_exporter.errors import WawpExporterError
from wawp_exporter.scenarios import (
    BROWSERS,
    CATALOGUE,
    ENGINES,
    SCAN,
    Emission,
    Limit,
    Plan,
    dice,
    find,
    scenario,
)

BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
VERSION, VERSION_WITH_DATA = "2026.2.1", "2026.8.2"  # `payload.data` came with 2026.7
RETRY_DELAY = 2.0
FORGER = b"not the key"
QR_IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQ=="
NONE = "NONE"


class SimulationError(WawpExporterError):
    """The simulation cannot begin."""


class Dialect(StrEnum):
    """The envelope: WAHA's, Wawp's v2 (no environment, statuses or data), or Wawp's flat v1."""

    WAHA = "waha"
    WAWP = "wawp"
    WAWP_V1 = "wawp-v1"


class Timestamps(StrEnum):
    """REAL: events bear the time of sending, VIRTUAL_NOW: virtual gaps, however fast sent, ending about now."""

    REAL = "real"
    VIRTUAL_NOW = "virtual-now"


@dataclass(frozen=True, slots=True)
class Options:
    """How a plan is sent. `pace` is virtual seconds a real second, 0 without any wait; delays are real seconds.

    `start_at` (Unix s) back-dates: events bear `start_at` + virtual time. `duplicates`, `reorder` and `forged` are
    fractions of the events: sent twice at once, sent after the session's next one, accompanied by a forgery.
    """

    url: str = "http://127.0.0.1:10011/webhook"
    source: str = "default"
    dialect: Dialect = Dialect.WAHA
    hmac_key: bytes | None = None
    hmac_algorithm: str = "sha512"
    token: str | None = None
    pace: float = 1.0
    timestamps: Timestamps = Timestamps.REAL
    start_at: float | None = None
    attempts: int = 16
    retry_delay: float | None = None
    duplicates: float = 0.0
    reorder: float = 0.0
    forged: float = 0.0
    concurrency: int = 64
    timeout: float = 60.0

    @property
    def target(self) -> str:
        """Where this source's webhooks go."""
        name = "" if self.source == "default" else "/" + quote(self.source, safe="")
        return self.url.rstrip("/") + name

    @property
    def wait(self) -> float:
        """Real seconds between two attempts."""
        return RETRY_DELAY / (self.pace or 1) if self.retry_delay is None else self.retry_delay


# Time


def unix_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Stamped:
    """An emission with the Unix ms of its points, the last of which is its own."""

    emission: Emission
    points_ms: tuple[int, ...]

    @property
    def at_ms(self) -> int:
        """The event's own time."""
        return self.points_ms[-1]


@dataclass(slots=True)
class Clock:
    """Virtual → Unix ms: `origin_ms + virtual × scale`; without a scale the moment an event is stamped.

    Emissions of a session must come in order; each is at least `tick_ms` after the one before.
    """

    origin_ms: int
    scale: float | None
    tick_ms: int = 1
    now: Callable[[], int] = unix_ms
    recent: dict[str, dict[int, int]] = field(default_factory=dict)

    def stamp(self, emission: Emission) -> Stamped:
        """Fixes an emission's time; the earlier points keep what they were given."""
        known = self.recent.get(emission.session, {})
        at_ms = self.convert(emission.at_ms) // self.tick_ms * self.tick_ms
        at_ms = max(at_ms, max(known.values(), default=0) + self.tick_ms)
        known = {point.at_ms: known[point.at_ms] for point in emission.statuses[:-1]} | {emission.at_ms: at_ms}
        self.recent[emission.session] = known
        return Stamped(emission, tuple(known.values()))

    def convert(self, virtual_ms: float) -> int:
        """Any virtual time as Unix ms."""
        return self.now() if self.scale is None else round(self.origin_ms + virtual_ms * self.scale)


def clock_for(plan: Plan, options: Options, now: Callable[[], int]) -> Clock:
    """The clock that `options` ask for, started now."""
    tick_ms = 1000 if options.dialect == Dialect.WAWP_V1 else 1
    if options.start_at is not None:
        return Clock(round(options.start_at * 1000), 1.0, tick_ms, now)
    if options.timestamps == Timestamps.VIRTUAL_NOW:
        return Clock(now() - round(plan.length * 1000), 1.0, tick_ms, now)
    return Clock(now(), 1 / options.pace if options.pace else None, tick_ms, now)


# The wire


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request, byte for byte the same at every attempt."""

    session: str
    body: bytes
    headers: Mapping[str, str]
    forged: bool = False


@dataclass(slots=True)
class Ids:
    """Event and request ids in the gateway's form: a time, then what the seed gives."""

    rng: Random
    last: int = 0

    def event(self, at_ms: int) -> str:
        """`evt_` and a lower-case ULID of this time."""
        return "evt_" + digits(at_ms, BASE32, 10) + "".join(self.rng.choices(BASE32, k=16))

    def request(self, at_ms: int) -> str:
        """What `uniqid` makes: a prefix of the process, then the time or the number after the last one."""
        self.last = max(at_ms, self.last + 1)
        return "5ue" + digits(self.last, BASE36, 8)


def digits(number: int, alphabet: str, width: int) -> str:
    """A number in the base of its alphabet."""
    text = ""
    for _ in range(width):
        number, digit = divmod(number, len(alphabet))
        text = alphabet[digit] + text
    return text


@dataclass(slots=True)
class Gateway:
    """Makes requests of stamped emissions, as WAHA or Wawp would."""

    plan: Plan
    options: Options
    clock: Clock
    ids: Ids
    version: str = VERSION

    def delivery(self, stamped: Stamped) -> Delivery:
        """The request of one event."""
        body = self.body(stamped)
        at_ms = stamped.at_ms + self.lag(stamped.emission)
        return Delivery(stamped.emission.session, body, self.headers(body, at_ms))

    def copy(self, delivery: Delivery) -> Delivery:
        """The same event by another webhook setting with the same URL: another request id."""
        headers = {**delivery.headers, "X-Webhook-Request-Id": self.ids.request(0)}
        return replace(delivery, headers=headers)

    def forgery(self, stamped: Stamped) -> Delivery:
        """The same event again with an id of its own, by somebody who does not have the key."""
        body = self.body(stamped)
        headers = self.headers(body, stamped.at_ms, FORGER)
        return Delivery(stamped.emission.session, body, headers, forged=True)

    def lag(self, emission: Emission) -> int:
        """Milliseconds from the last point to the envelope; without points nobody could tell them apart."""
        return emission.lag_ms if self.options.dialect == Dialect.WAHA else 0

    def body(self, stamped: Stamped) -> bytes:
        """Compact JSON with the keys in the order of the wire."""
        render = {Dialect.WAHA: self.waha, Dialect.WAWP: self.wawp, Dialect.WAWP_V1: self.wawp_v1}
        return msgspec.json.encode(render[self.options.dialect](stamped))

    def waha(self, stamped: Stamped) -> dict[str, Any]:
        """The envelope of the captures; `me` is left out by a GOWS that has never been connected."""
        emission, at_ms = stamped.emission, stamped.at_ms + stamped.emission.lag_ms
        body: dict[str, Any] = {"id": self.ids.event(at_ms), "timestamp": at_ms, "event": "session.status"}
        body["session"] = emission.session
        if emission.paired or emission.engine != "GOWS":
            body["me"] = account(self.plan.seed, emission) if emission.paired else None
        body["payload"] = self.payload(stamped)
        body["engine"] = emission.engine
        body["environment"] = {
            "version": self.version,
            "engine": emission.engine,
            "tier": "PLUS",
            "browser": "/usr/bin/chromium" if emission.engine in BROWSERS else None,
            "platform": "linux/x64",
            "worker": {"id": None},
        }
        return body

    def payload(self, stamped: Stamped) -> dict[str, Any]:
        """The status, its history, and `data` in the versions that have it."""
        emission = stamped.emission
        points = zip(emission.statuses, stamped.points_ms, strict=True)
        payload: dict[str, Any] = {"name": emission.session, "status": emission.status}
        payload["statuses"] = [{"status": point.status, "timestamp": at_ms} for point, at_ms in points]
        if self.version != VERSION:
            payload["data"] = self.data(emission.data) if emission.data else None
        return payload

    def data(self, limit: Limit) -> dict[str, Any]:
        """The restriction, its instants in Unix seconds."""
        fields = {
            name: self.clock.convert(float(value) * 1000) // 1000 if name in limit.instants else value
            for name, value in limit.fields
        }
        return {limit.key: fields}

    def wawp(self, stamped: Stamped) -> dict[str, Any]:
        """The v2 envelope of Wawp's documentation."""
        emission = stamped.emission
        return {
            "id": self.ids.event(stamped.at_ms),
            "timestamp": stamped.at_ms,
            "session": emission.session,
            "metadata": {},
            "engine": emission.engine,
            "event": "session.status",
            "payload": {"name": emission.session, "status": emission.status},
            "me": account(self.plan.seed, emission) if emission.paired else None,
        }

    def wawp_v1(self, stamped: Stamped) -> dict[str, Any]:
        """The flat form, in whole seconds."""
        emission = stamped.emission
        qr = {"qr": QR_IMAGE} if emission.status == SCAN else {}
        return {
            "instance_id": emission.session,
            "status": emission.status,
            **qr,
            "ts": stamped.at_ms // 1000,
        }

    def headers(self, body: bytes, at_ms: int, key: bytes | None = None) -> dict[str, str]:
        """The headers of the captures, in their order, signed with `key` or else the true one."""
        forged, key = key is not None, key or self.options.hmac_key
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"WAHA/{self.version}",
            "X-Webhook-Request-Id": self.ids.request(at_ms),
            "X-Webhook-Timestamp": str(at_ms),
        }
        if key:
            headers["X-Webhook-Hmac"] = hmac.digest(key, body, self.options.hmac_algorithm).hex()
            headers["X-Webhook-Hmac-Algorithm"] = self.options.hmac_algorithm
        if self.options.token:
            headers["Authorization"] = "Bearer " + (FORGER.decode() if forged else self.options.token)
        return headers


def account(seed: int, emission: Emission) -> dict[str, str]:
    """`me`: a number of the range that is kept free for films, in the form of its engine."""
    rng = dice(seed, "account", emission.session)
    number = f"447700900{rng.randrange(1000):03d}"
    me = {"id": f"{number}@c.us", "pushName": f"Account {emission.session}"}
    if emission.engine not in BROWSERS:
        me["lid"] = f"{rng.randrange(10**14, 10**15)}@lid"
    if emission.engine == "GOWS":
        me["jid"] = f"{number}:{rng.randrange(1, 60)}@s.whatsapp.net"
    return me


# What is true, and what came back


@dataclass(frozen=True, slots=True)
class SessionTruth:
    """What happened to one session, by event time: all its points as (status, Unix ms), in order."""

    session: str
    engine: str
    points: tuple[tuple[str, int], ...]

    @property
    def status(self) -> str:
        """The last status."""
        return self.points[-1][0]

    @property
    def changes(self) -> list[tuple[str, int]]:
        """The points without repeats."""
        pairs = pairwise([(NONE, 0), *self.points])
        return [after for before, after in pairs if after[0] != before[0]]

    @property
    def since_ms(self) -> int:
        """When it entered its last status."""
        return self.changes[-1][1]

    @property
    def transitions(self) -> Counter[tuple[str, str]]:
        """How often it went from one status to another; from NONE once."""
        return Counter(pairwise([NONE, *(status for status, _ in self.changes)]))

    def seconds(self, until_ms: int) -> dict[str, float]:
        """Time in each status from the first point until `until_ms`."""
        spent: Counter[str] = Counter()
        ends = [*(at_ms for _, at_ms in self.changes[1:]), until_ms]
        for (status, at_ms), end_ms in zip(self.changes, ends, strict=True):
            spent[status] += max(0, min(end_ms, until_ms) - at_ms)
        return {status: ms / 1000 for status, ms in spent.items()}


@dataclass(frozen=True, slots=True)
class Truth:
    """What the exporter ought to know, by session; made of the plan alone. `end_ms` is the last event's time."""

    sessions: Mapping[str, SessionTruth]
    end_ms: int

    @property
    def transitions(self) -> Counter[tuple[str, str]]:
        """The transitions of the whole fleet."""
        return sum((each.transitions for each in self.sessions.values()), Counter())

    @property
    def statuses(self) -> Counter[str]:
        """How many sessions ended in each status."""
        return Counter(each.status for each in self.sessions.values())

    def seconds(self, until_ms: int | None = None) -> dict[str, dict[str, float]]:
        """Time in each status by session until `until_ms`, or the last event."""
        end_ms = self.end_ms if until_ms is None else until_ms
        return {name: each.seconds(end_ms) for name, each in self.sessions.items()}


def truth_of(plan: Plan, points: Mapping[str, list[tuple[str, int]]]) -> Truth:
    """The truth about the stamped part of a plan."""
    sessions = {name: SessionTruth(name, plan.engines[name], tuple(its)) for name, its in points.items()}
    return Truth(sessions, max((its[-1][1] for its in points.values()), default=0))


@dataclass(slots=True)
class Tally:
    """Counts while a simulation runs."""

    sent: int = 0
    delivered: int = 0
    given_up: int = 0
    retries: int = 0
    forged: int = 0
    forged_accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Deliveries that have ended one way or the other."""
        return self.delivered + self.given_up + self.forged


@dataclass(frozen=True, slots=True)
class Report:
    """What came back: `answers` by HTTP status and `errors` by kind count attempts, `outcomes` accepted events.

    `sent` counts genuine deliveries, copies included, once however often they were retried; seconds throughout.
    """

    scenario: str
    sent: int
    delivered: int
    given_up: int
    retries: int
    forged: int
    forged_accepted: int
    outcomes: Mapping[str, int]
    answers: Mapping[int, int]
    errors: Mapping[str, int]
    elapsed: float
    p50: float
    p99: float
    truth: Truth

    @property
    def ok(self) -> bool:
        """Whether every genuine event was accepted and no forged one."""
        return self.sent == self.delivered and not self.forged_accepted

    def to_json(self) -> str:
        """Everything, for scripts; transitions as `FROM>TO`."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "truth"}
        data["truth"] = {
            "end_ms": self.truth.end_ms,
            "transitions": arrows(self.truth.transitions),
            "sessions": {name: told(each, self.truth.end_ms) for name, each in self.truth.sessions.items()},
        }
        return json.dumps(data)


def told(truth: SessionTruth, end_ms: int) -> dict[str, Any]:
    """One session's truth for JSON."""
    return {
        "engine": truth.engine,
        "status": truth.status,
        "since_ms": truth.since_ms,
        "transitions": arrows(truth.transitions),
        "seconds": truth.seconds(end_ms),
    }


def arrows(transitions: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Keys that JSON can have."""
    return {f"{before}>{after}": count for (before, after), count in transitions.items()}


def quantile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the sorted `values` do not exceed; 0 of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


# The sender


class Simulation:
    """Plays one plan once.

    A session's event waits for the first answer to the one before; retries go on beside newer events, as WAHA's do.
    At most `concurrency` requests are open. `on_done` is called after each delivery; `report` may be asked any time.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        on_done: Callable[[Tally], None] = lambda _: None,
        now: Callable[[], int] = unix_ms,
    ) -> None:
        self.plan = plan
        self.options = options
        self.on_done = on_done
        self.now = now
        self.tally = Tally()
        self.points: dict[str, list[tuple[str, int]]] = {}
        self.chance = dice(plan.seed, "chance")
        self.lanes: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        self.answered: dict[str, asyncio.Event] = {}
        self.held: dict[str, Delivery] = {}
        self.began = time.perf_counter()

    async def play(self) -> Report:
        """Sends the whole plan and waits for the last answer or the last retry."""
        clock = clock_for(self.plan, self.options, self.now)
        version = VERSION_WITH_DATA if any(each.data for each in self.plan.emissions) else VERSION
        gateway = Gateway(self.plan, self.options, clock, Ids(dice(self.plan.seed, "ids")), version)
        self.began = time.perf_counter()
        async with clients(self.options, self.lanes), asyncio.TaskGroup() as self.tasks:
            for emission in self.plan.emissions:
                await self.until(emission.at)
                await self.emit(gateway, clock.stamp(emission))
            for delivery in self.held.values():
                await self.send(delivery)
        return self.report()

    def report(self) -> Report:
        """What is known so far."""
        counts = self.tally
        latencies = sorted(counts.latencies)
        return Report(
            scenario=self.plan.name,
            sent=counts.sent,
            delivered=counts.delivered,
            given_up=counts.given_up,
            retries=counts.retries,
            forged=counts.forged,
            forged_accepted=counts.forged_accepted,
            outcomes=dict(counts.outcomes),
            answers=dict(counts.answers),
            errors=dict(counts.errors),
            elapsed=time.perf_counter() - self.began,
            p50=quantile(latencies, 0.5),
            p99=quantile(latencies, 0.99),
            truth=truth_of(self.plan, self.points),
        )

    async def until(self, at: float) -> None:
        """Waits until it is time for virtual second `at`."""
        if self.options.pace:
            due = self.began + at / self.options.pace
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)

    async def emit(self, gateway: Gateway, stamped: Stamped) -> None:
        """Sends an event with the copies, forgeries and swaps that were asked for."""
        emission = stamped.emission
        self.points.setdefault(emission.session, []).append((emission.status, stamped.at_ms))
        delivery = gateway.delivery(stamped)
        held = self.held.pop(emission.session, None)
        if held is None and self.chance.random() < self.options.reorder:
            self.held[emission.session] = delivery
            return
        copy = gateway.copy(delivery) if self.chance.random() < self.options.duplicates else None
        await self.send(delivery, copy)
        if held:
            await self.send(held)
        if self.chance.random() < self.options.forged:
            await self.spawn(gateway.forgery(stamped), None, asyncio.Event())

    async def send(self, *deliveries: Delivery | None) -> None:
        """Sends all at once, after the first answer to what this session sent before."""
        for delivery, event in self.gated([each for each in deliveries if each]):
            self.tally.sent += 1
            await self.spawn(delivery, *event)

    def gated(
        self, deliveries: list[Delivery]
    ) -> Iterator[tuple[Delivery, tuple[asyncio.Event | None, asyncio.Event]]]:
        """Each with the event to wait for and the event to set."""
        session = deliveries[0].session
        before = self.answered.get(session)
        for delivery in deliveries:
            self.answered[session] = asyncio.Event()
            yield delivery, (before, self.answered[session])

    async def spawn(self, delivery: Delivery, before: asyncio.Event | None, answered: asyncio.Event) -> None:
        """Starts a delivery as soon as a lane is free."""
        lane = await self.lanes.get()
        self.tasks.create_task(self.deliver(delivery, lane, before, answered))

    async def deliver(
        self, delivery: Delivery, lane: httpx.AsyncClient, before: asyncio.Event | None, answered: asyncio.Event
    ) -> None:
        """Attempts until a 2xx, `attempts` times; a forger tries once."""
        if before:
            await before.wait()
        wait = await self.attempt(delivery, lane)
        answered.set()
        for _ in range(0 if delivery.forged else self.options.attempts - 1):
            if wait is None:
                break
            await asyncio.sleep(wait)
            self.tally.retries += 1
            wait = await self.attempt(delivery, await self.lanes.get())
        self.finish(delivery, accepted=wait is None)

    async def attempt(self, delivery: Delivery, lane: httpx.AsyncClient) -> float | None:
        """One request; None when it was accepted, else the seconds to wait. Gives the lane back."""
        began = time.perf_counter()
        try:
            answer = await lane.post(self.options.target, content=delivery.body, headers=delivery.headers)
        except httpx.RequestError as error:
            self.tally.errors[type(error).__name__] += 1
            return self.options.wait
        finally:
            self.lanes.put_nowait(lane)
        self.tally.latencies.append(time.perf_counter() - began)
        return self.heed(delivery, answer)

    def heed(self, delivery: Delivery, answer: httpx.Response) -> float | None:
        """Counts an answer; None when it accepts the event, else the seconds to wait, at least its `Retry-After`."""
        self.tally.answers[answer.status_code] += 1
        if not answer.is_success:
            return max(self.options.wait, retry_after(answer))
        if not delivery.forged:
            self.tally.outcomes[outcome_of(answer)] += 1
        return None

    def finish(self, delivery: Delivery, accepted: bool) -> None:
        """Counts what became of a delivery."""
        if delivery.forged:
            self.tally.forged += 1
            self.tally.forged_accepted += accepted
        elif accepted:
            self.tally.delivered += 1
        else:
            self.tally.given_up += 1
        self.on_done(self.tally)


@asynccontextmanager
async def clients(options: Options, lanes: asyncio.LifoQueue[httpx.AsyncClient]) -> AsyncIterator[None]:
    """Fills `lanes` with keep-alive clients of one connection each, as many as requests may be open.

    One client with 64 connections would look at all of them for each request, which costs several times the request.
    Proxies of the environment are ignored.
    """
    headers = {"Accept": "application/json, text/plain, */*", "Accept-Encoding": "gzip, deflate"}
    tls = ssl.create_default_context()
    async with AsyncExitStack() as stack:
        for _ in range(options.concurrency):
            lane = httpx.AsyncClient(verify=tls, timeout=options.timeout, headers=headers, trust_env=False)
            lanes.put_nowait(await stack.enter_async_context(lane))
        yield


def outcome_of(answer: httpx.Response) -> str:
    """The `outcome` of an accepted event; an answer of another kind is `other`."""
    try:
        data = answer.json()
    except ValueError:
        return "other"
    return str(data.get("outcome", "other")) if isinstance(data, dict) else "other"


def retry_after(answer: httpx.Response) -> float:
    """`Retry-After` in seconds; 0 without it, or for a date."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


async def reach(url: str) -> None:
    """Raises SimulationError when nothing listens there."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), 5)
    except (KeyError, ValueError):
        raise SimulationError(f"{url}: not an http or https address") from None
    except OSError as error:
        message = f"{url}: cannot connect ({reason(error)}); does `wawp-exporter serve` run there?"
        raise SimulationError(message) from None
    writer.close()


def reason(error: OSError) -> str:
    """The system's words; asyncio's repeat the address."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer"


# The command


def engine_mix(_: click.Context, __: click.Parameter, text: str) -> dict[str, float]:
    """`GOWS=5,NOWEB=3` as weights; a bare name weighs 1. Refuses unknown engines and weights not above 0."""
    mix = {}
    for part in text.split(","):
        engine, _equals, weight = part.partition("=")
        mix[engine.strip().upper()] = to_float(weight or "1")
    if not set(mix) <= set(ENGINES) or not all(weight > 0 for weight in mix.values()):
        raise click.BadParameter(f"{text!r}, expected for example GOWS=5,NOWEB=3 of {', '.join(ENGINES)}")
    return mix


def instant(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """ISO 8601 (UTC unless it says otherwise) or Unix seconds → Unix seconds."""
    if text is None:
        return None
    if (number := to_float(text)) >= 0:
        return number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r}, expected for example 2026-11-01T00:00:00Z or Unix seconds"
        raise click.BadParameter(message) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def to_float(text: str) -> float:
    """A finite number, or -1 for anything else."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if math.isfinite(number) else -1.0


def first_line(path: Path | None) -> str | None:
    """The first key or token of a file. Raises SimulationError when there is none."""
    if path is None:
        return None
    try:
        lines = path.read_text().split()
    except OSError as error:
        raise SimulationError(f"{path}: cannot be read ({reason(error)})") from None
    except UnicodeDecodeError:
        raise SimulationError(f"{path}: not UTF-8, expected a key or token") from None
    if not lines:
        raise SimulationError(f"{path}: empty, expected a key or token")
    return lines[0]


def list_scenarios(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the names, each with its line, and ends."""
    if wanted and not ctx.resilient_parsing:
        width = max(len(each.name) for each in CATALOGUE)
        for each in CATALOGUE:
            click.echo(f"{each.name:{width}}  {each.summary}")
        ctx.exit()


FRACTION = click.FloatRange(0, 1)
SECONDS = click.FloatRange(0)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("simulate")
@click.argument("name", metavar="SCENARIO", type=click.Choice([each.name for each in CATALOGUE]))
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=list_scenarios, help="List the scenarios."
)
@click.option(
    "--url", default=Options.__dataclass_fields__["url"].default, show_default=True, help="The exporter's webhook."
)
@click.option("--source", default="default", show_default=True, help="Sent to URL/SOURCE unless default.")
@click.option("--dialect", type=click.Choice([each.value for each in Dialect]), default="waha", show_default=True)
@click.option("--hmac-key-file", type=FILE, help="Sign with the first key in this file.")
@click.option("--hmac-algorithm", type=click.Choice(["sha512", "sha256"]), default="sha512", show_default=True)
@click.option("--token-file", type=FILE, help="Send the first token in this file as bearer token.")
@click.option("--sessions", type=click.IntRange(1), default=10, show_default=True)
@click.option("--prefix", default="session-", show_default=True, help="What session names begin with.")
@click.option("--engines", callback=engine_mix, default="GOWS=5,NOWEB=3,WEBJS=2", show_default=True)
@click.option("--share", type=FRACTION, help="Part of the sessions in trouble.  [default: the scenario's]")
@click.option("--duration", type=SECONDS, help="Virtual seconds the trouble lasts.  [default: the scenario's]")
@click.option("--heartbeat", type=SECONDS, default=60, show_default=True, help="Virtual seconds; 0: none.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--pace", type=SECONDS, help="1: real time, 60: 60 times faster, 0: no wait.  [default: the scenario's]")
@click.option(
    "--timestamps",
    type=click.Choice([each.value for each in Timestamps]),
    default="real",
    show_default=True,
    help="real: the time of sending; virtual-now: unhurried gaps, ending now.",
)
@click.option("--start-at", callback=instant, help="Back-date: timestamps are this plus virtual time.")
@click.option("--attempts", type=click.IntRange(1), default=16, show_default=True, help="For each event.")
@click.option("--retry-delay", type=SECONDS, help="Real seconds.  [default: 2 / pace]")
@click.option("--duplicates", type=FRACTION, default=0, help="Fraction of events sent twice at once.")
@click.option("--reorder", type=FRACTION, default=0, help="Fraction of events sent after the next of its session.")
@click.option("--forged", type=FRACTION, default=0, help="Fraction of events that a forger imitates without the key.")
@click.option("--concurrency", type=click.IntRange(1), default=64, show_default=True, help="Open requests.")
@click.option("--progress/--no-progress", default=None, help="[default: on a terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print the report and the truth as JSON.")
def command(name: str, **given: Any) -> None:
    """Play SCENARIO against a running exporter, as real signed webhooks.

    Ends with exit status 1 when an event was given up or a forged one was accepted.
    """
    try:
        plan, options = plan_of(name, given), options_of(name, given)
        report, interrupted = run(plan, options, given["progress"])
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    if given["as_json"]:
        click.echo(report.to_json())
    else:
        Console().print(table_of(report))
    sys.exit(130 if interrupted else int(not report.ok))


def plan_of(name: str, given: Mapping[str, Any]) -> Plan:
    """The plan that the command line asks for."""
    wanted = ("seed", "sessions", "engines", "share", "duration", "heartbeat", "prefix")
    return scenario(name, **{key: given[key] for key in wanted})


def options_of(name: str, given: Mapping[str, Any]) -> Options:
    """How the command line wants it sent. Raises SimulationError for a file without key or token."""
    same = "url source hmac_algorithm start_at attempts retry_delay duplicates reorder forged concurrency"
    key = first_line(given["hmac_key_file"])
    return Options(
        dialect=Dialect(given["dialect"]),
        timestamps=Timestamps(given["timestamps"]),
        hmac_key=key.encode() if key else None,
        token=first_line(given["token_file"]),
        pace=find(name).pace if given["pace"] is None else given["pace"],
        **{name: given[name] for name in same.split()},
    )


def run(plan: Plan, options: Options, progress: bool | None) -> tuple[Report, bool]:
    """Plays to the end or to Ctrl-C, and says whether it was the latter. Raises SimulationError."""
    with progress_of(plan, progress) as on_done:
        simulation = Simulation(plan, options, on_done)
        try:
            return asyncio.run(play(simulation)), False
        except KeyboardInterrupt:
            return simulation.report(), True


async def play(simulation: Simulation) -> Report:
    """Plays once the exporter can be reached."""
    await reach(simulation.options.target)
    return await simulation.play()


@contextmanager
def progress_of(plan: Plan, wanted: bool | None) -> Iterator[Callable[[Tally], None]]:
    """A bar on standard error, if wanted or, unasked, on a terminal."""
    console = Console(stderr=True)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda _: None
        return
    with Progress(console=console) as bar:
        task = bar.add_task(plan.name, total=len(plan.emissions))
        yield lambda tally: bar.update(task, completed=tally.done, total=max(tally.sent, len(plan.emissions)))


def table_of(report: Report) -> Table:
    """The report for people."""
    table = Table(title=f"{report.scenario}: {report.sent} events in {report.elapsed:.1f} s", show_header=False)
    for label, value in rows_of(report):
        table.add_row(label, value)
    return table


def rows_of(report: Report) -> Iterator[tuple[str, str]]:
    """What a person wants to know, nothing that is zero except what was given up."""
    yield "delivered", str(report.delivered)
    yield "given up", str(report.given_up)
    for label, counts in (("outcome", report.outcomes), ("HTTP", report.answers), ("error", report.errors)):
        yield from ((f"{label} {name}", str(count)) for name, count in sorted(counts.items()))
    if report.retries:
        yield "retries", str(report.retries)
    if report.forged:
        yield "forged, accepted of sent", f"{report.forged_accepted} of {report.forged}"
    yield "latency p50, p99", f"{report.p50 * 1000:.1f} ms, {report.p99 * 1000:.1f} ms"
    yield "sessions at the end", ", ".join(f"{name} {n}" for name, n in sorted(report.truth.statuses.items()))
