"""A gateway as the simulator plays it: what a scenario emits, as signed webhooks of each dialect, with their times."""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec

from wawp_exporter.simulator.plan import BROWSERS, SCAN, WORKING, Data, Emission, Message, Plan, Point, dice

BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
VERSION = "2026.2.1"
VERSION_WITH_STOPS = "2026.1.1"  # the last that says STOPPED before each start; `environment.worker` came after it
VERSION_WITH_DATA = "2026.8.2"  # `payload.data` came with 2026.7
RETRY_DELAY = 2.0
FORGER = b"not the key"
QR_IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQ=="
NONE = "NONE"


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
    fractions of the events: sent twice at once, sent after the session's next one, accompanied by a forgery. `messages`
    is the fraction of the WORKING ones that a `message` follows.
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
    messages: float = 0.0
    concurrency: int = 64
    timeout: float = 60.0

    @property
    def target(self) -> str:
        """Where this source's webhooks go."""
        name = "" if self.source == "default" else "/" + quote(self.source, safe="")
        return self.url.rstrip("/") + name

    @property
    def chatter(self) -> float:
        """The fraction of WORKING events that a message follows; of Wawp's v1 no form of messages is known."""
        return 0.0 if self.dialect == Dialect.WAWP_V1 else self.messages

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


def version_for(plan: Plan) -> str:
    """The version of WAHA that would send such a plan."""
    if plan.spurious_stops:
        return VERSION_WITH_STOPS
    return VERSION_WITH_DATA if any(each.data for each in plan.emissions) else VERSION


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
class SimulatedGateway:
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

    def message(self, stamped: Stamped) -> Delivery:
        """Somebody writes to the session."""
        number = f"447700900{self.ids.rng.randrange(1000):03d}@c.us"
        payload = text(number, f"{self.ids.rng.getrandbits(64):016X}", stamped.at_ms)
        return self.other(stamped, "message", payload)

    def spoken(self, message: Message, at_ms: int) -> Delivery:
        """What is said of a message of the plan: that it is there, or that WhatsApp's server has it."""
        point = Point(WORKING, message.at_ms)
        emission = Emission(message.session, message.engine, WORKING, (point,), None, paired=True, lag_ms=0)
        number = f"447700900{dice(self.plan.seed, message.key).randrange(1000):03d}@c.us"
        payload = text(number, message.key, at_ms, own=message.own)
        if message.own:
            payload |= {"ack": 1, "ackName": "SERVER"} if message.acknowledges else {"ack": 0, "ackName": "PENDING"}
        kind = "message.ack" if message.acknowledges else "message.any"
        return self.other(Stamped(emission, (at_ms,)), kind, payload)

    def other(self, stamped: Stamped, kind: str, payload: dict[str, Any]) -> Delivery:
        """An event that is not about the status, in the same envelope."""
        data = self.wawp(stamped) if self.options.dialect == Dialect.WAWP else self.waha(stamped)
        body = msgspec.json.encode(data | {"event": kind, "payload": payload})
        return Delivery(stamped.emission.session, body, self.headers(body, stamped.at_ms))

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
            **({} if self.version == VERSION_WITH_STOPS else {"worker": {"id": None}}),
        }
        return body

    def payload(self, stamped: Stamped) -> dict[str, Any]:
        """The status, its history, and `data` in the versions that have it."""
        emission = stamped.emission
        points = zip(emission.statuses, stamped.points_ms, strict=True)
        payload: dict[str, Any] = {"name": emission.session, "status": emission.status}
        payload["statuses"] = [{"status": point.status, "timestamp": at_ms} for point, at_ms in points]
        if self.version == VERSION_WITH_DATA:
            payload["data"] = self.data(emission.data) if emission.data else None
        return payload

    def data(self, data: Data) -> dict[str, Any]:
        """A restriction, its instants in Unix seconds, or what a passkey's status comes with."""
        fields = {
            name: self.clock.convert(float(value) * 1000) // 1000 if name in data.instants else value
            for name, value in data.fields
        }
        return {data.key: fields} if data.key else fields

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


def text(number: str, key: str, at_ms: int, *, own: bool = False) -> dict[str, Any]:
    """A message from or to somebody, without media."""
    payload: dict[str, Any] = {"id": f"{str(own).lower()}_{number}_{key}", "timestamp": at_ms // 1000}
    payload |= {"from": number, "fromMe": own, "source": "app", "body": "Hello", "to": None, "participant": None}
    return payload | ({"from": None, "to": number} if own else {})


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
