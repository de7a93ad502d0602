"""Bytes of a webhook → what it says: a `StatusEvent` with its back-filled points, or another kind of event."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

import msgspec

from wawp_exporter.errors import InvalidEvent, Malformed

MAX_NAME_BYTES = 256
MAX_INSTANT_MS = 253_402_300_799_999  # the end of the year 9999
MAX_AHEAD_MS = 60_000
MAX_POINTS = 64  # of one event: gateways send ten at most
STATUS_EVENT = "session.status"
Engine = Literal["WEBJS", "NOWEB", "GOWS", "WPP", "VENOM", "NOWEB_MOBILE"]
ENGINES = frozenset(get_args(Engine))
OTHER_ENGINE = "OTHER"


class Word(StrEnum):
    """An enumeration whose members are keys of what is counted: Enum's own hash is written in Python."""

    __hash__ = str.__hash__


class Status(Word):
    """The statuses of the contract; whatever else a gateway says is UNKNOWN."""

    STARTING = "STARTING"
    SCAN_QR_CODE = "SCAN_QR_CODE"
    WORKING = "WORKING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    DISCONNECTED = "DISCONNECTED"
    UNKNOWN = "UNKNOWN"
    PASSKEY_REQUIRED = "PASSKEY_REQUIRED"
    PASSKEY_CONFIRMATION_REQUIRED = "PASSKEY_CONFIRMATION_REQUIRED"


# What each event is compared with: to look a member up on its class takes longer than any of the comparisons.
STARTING, WORKING, STOPPED, UNKNOWN = Status.STARTING, Status.WORKING, Status.STOPPED, Status.UNKNOWN
ALWAYS = tuple(Status)[:7]  # the statuses whose series every session has
PASSKEYS = tuple(Status)[7:]
LOGIN = frozenset({Status.SCAN_QR_CODE, *PASSKEYS})
BY_NAME = {status.value: status for status in Status}


# What a webhook says of the end of a session, where others may be about the same end, the weakest first: it is closed,
# for whatever reason; it was lost; somebody stopped it. `machine.end` judges them together: they overtake each other.
ENDINGS = CLOSED, LOST, DECIDED = "closed", "lost", "decided"
# What a status says of an end, unless the dialect knows better.
USUAL_ENDINGS = {Status.FAILED: LOST, Status.DISCONNECTED: LOST, STOPPED: DECIDED}


class Restriction(Word):
    """What WhatsApp may do to an account that is WORKING."""

    REACHOUT_TIMELOCK = "reachout_timelock"
    MESSAGE_CAPPING = "message_capping"


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A restriction as one event states it: `until` is the end in Unix ms, 0 when none is given."""

    restriction: Restriction
    active: bool
    until: int = 0


class Point(msgspec.Struct, frozen=True, gc=False):
    """One observed status. `status` is verbatim; times are the gateway's in Unix ms.

    `key_at` is the time as sent and identifies the point in the log; `at` is the time that is believed, and
    `(at, tie)` orders points of one session. `ending` is one of ENDINGS for a dialect whose gateway reports one end
    with several webhooks.
    """

    status: str
    at: int
    tie: int
    key_at: int
    ending: str | None = None


class StatusEvent(msgspec.Struct, frozen=True, gc=False):
    """One `session.status` webhook. `points` ends with the event's own point, older ones are back-fill.

    `timeless_key` is set where the gateway gave no time: then the key, not the time, tells a retry. `key_is_body`
    says that it is made of the body alone; `renews` that the session has been in another status since, so that the
    same body is news. `origin` names what else than a webhook it is.
    """

    source: str
    session: str
    points: tuple[Point, ...]
    received_at: int
    event_id: str | None = None
    engine: str | None = None
    limits: tuple[Limit, ...] = ()
    timeless_key: str | None = None
    key_is_body: bool = False
    renews: bool = False
    origin: str | None = None

    @property
    def own(self) -> Point:
        """The point that the event itself is about."""
        return self.points[-1]

    @property
    def skewed(self) -> bool:
        """Whether its time was too far ahead to be believed."""
        return self.own.key_at - self.received_at > MAX_AHEAD_MS


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A webhook of another kind (`message`, …): a sign of life of its session, nothing else."""

    session: str | None


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_BYTES // 4)]  # no character takes more bytes
Instant = Annotated[int, msgspec.Meta(gt=0, le=MAX_INSTANT_MS)]


class Told(msgspec.Struct, gc=False):
    """A point of `payload.statuses`."""

    status: Name
    timestamp: Instant


class Payload(msgspec.Struct, gc=False):
    """The payload of an `Envelope`: without restrictions."""

    status: Name
    statuses: list[Told] = []
    data: None = None


class Envelope(msgspec.Struct, gc=False):
    """A `session.status` as nearly all are: with everything that today's gateways put into it, and nothing odd."""

    event: Literal["session.status"]
    session: Name
    timestamp: Instant
    payload: Payload
    engine: Engine
    id: Name | None = None


decode_envelope = msgspec.json.Decoder(Envelope).decode


def normal(status: str) -> Status:
    """A status as the gateway spells it → the contract's, UNKNOWN for what is not in it."""
    return BY_NAME.get(status, UNKNOWN)


def parse(
    source: str,
    body: bytes,
    received_at: int,
    request_id: str | None = None,
    named: str = "",  # noqa: ARG001 - its events always have it
) -> StatusEvent | OtherEvent:
    """Reads one webhook body received at `received_at` (Unix ms).

    Raises Malformed when it is not a JSON object, InvalidEvent when a status event lacks a usable session or status.
    """
    envelope = usual(body)
    if envelope:
        return usual_event(source, envelope, received_at)
    data = decode(body)
    if "event" not in data and ("status" in data or "instance_id" in data):
        return flat_event(source, data, body, received_at, request_id)
    kind = data.get("event")
    if not isinstance(kind, str):
        raise InvalidEvent("event: missing or not a string, expected session.status or the name of another event")
    if kind != STATUS_EVENT:
        name = data.get("session")
        return OtherEvent(name if isinstance(name, str) else None)
    return status_event(source, data, body, received_at, request_id)


def usual(body: bytes) -> Envelope | None:
    """The body if it is an `Envelope`: read by its type it takes half the time. Any other is read field by field.

    With an escaped character a name could have a NUL; and msgspec does not look whether what it skips is UTF-8.
    """
    try:
        return decode_envelope(body) if "\\u" not in body.decode() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def usual_event(source: str, envelope: Envelope, received_at: int) -> StatusEvent:
    """What an `Envelope` says, as `status_event` reads it."""
    payload = envelope.payload
    told = [(point.status, point.timestamp) for point in payload.statuses]
    points = believed(sent_points(told, payload.status, envelope.timestamp), received_at)
    return StatusEvent(source, envelope.session, points, received_at, envelope.id, envelope.engine)


def decode(body: bytes) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("the body is not JSON") from None
    if not isinstance(data, dict):
        raise Malformed("the body is JSON but not an object")
    return data


def status_event(
    source: str, data: dict[str, Any], body: bytes, received_at: int, request_id: str | None
) -> StatusEvent:
    """The envelope of WAHA and of Wawp v2."""
    session = name_of(data.get("session"), "session")
    payload = data.get("payload")
    if not isinstance(payload, dict):
        raise InvalidEvent("payload: missing or not an object, expected an object with a status")
    status = name_of(payload.get("status"), "payload.status")
    sent = sent_points(history(payload.get("statuses")), status, instant(data.get("timestamp")))
    return build(
        source,
        session,
        status,
        sent,
        received_at,
        body,
        request_id,
        usable(data.get("id")),
        engine_of(data),
        limits_of(payload.get("data")) if status == WORKING else (),
    )


def flat_event(source: str, data: dict[str, Any], body: bytes, received_at: int, request_id: str | None) -> StatusEvent:
    """Wawp v1's flat form (`ts` in seconds), and a payload that a forwarder sent without its envelope."""
    field = next((name for name in ("instance_id", "session", "name") if name in data), "instance_id")
    session = name_of(data.get(field), field)
    status = name_of(data.get("status"), "status")
    at = instant(data.get("timestamp")) or instant(data.get("ts"), unit=1000)
    sent = sent_points(history(data.get("statuses")), status, at)
    return build(
        source,
        session,
        status,
        sent,
        received_at,
        body,
        request_id,
        engine=engine_of(data),
    )


def sent_points(sent: list[tuple[str, int]], status: str, at: int) -> list[tuple[str, int]]:
    """The history with the event itself as its last point; empty where the gateway gave no time (`at` is 0)."""
    # A matching last point is the event itself: its time is the engine's, the envelope's is later.
    if sent and sent[-1][0] == status:
        return sent
    return [*((s, t) for s, t in sent if t <= at), (status, at)] if at else []


def build(
    source: str,
    session: str,
    status: str,
    sent: list[tuple[str, int]],
    received_at: int,
    body: bytes,
    request_id: str | None,
    event_id: str | None = None,
    engine: str | None = None,
    limits: tuple[Limit, ...] = (),
) -> StatusEvent:
    """Where nothing was sent, receipt dates the event, and a key tells a retry."""
    keyed = (None, False) if sent else timeless(body, request_id)
    points = believed(sent or [(status, received_at)], received_at)
    return StatusEvent(source, session, points, received_at, event_id, engine, limits, *keyed)


def ending(event: StatusEvent, word: str | None = None) -> StatusEvent:
    """The event, marked with what it says of an end: `word`, else what its status usually says, if anything."""
    word = word or USUAL_ENDINGS.get(normal(event.own.status))
    if word is None:
        return event
    return msgspec.structs.replace(event, points=(msgspec.structs.replace(event.own, ending=word),))


def believed(sent: list[tuple[str, int]], received_at: int) -> tuple[Point, ...]:
    """Believes each time up to a minute ahead of receipt, counts ties in the order sent, keeps the newest points."""
    latest = received_at + MAX_AHEAD_MS
    points: list[Point] = []
    times: dict[int, int] = {}
    for status, key_at in sent:
        at = key_at if key_at <= latest else received_at
        tie = times.get(at, 0)
        times[at] = tie + 1
        points.append(Point(status, at, tie, key_at))
    return tuple(points if len(points) <= MAX_POINTS else newest(points))


def newest(points: list[Point]) -> list[Point]:
    """MAX_POINTS of them in the order sent: the last, which the event is about, and the newest of the others."""
    *older, own = points
    by_age = sorted(range(len(older)), key=lambda index: (older[index].at, older[index].tie))
    return [*(older[index] for index in sorted(by_age[1 - MAX_POINTS :])), own]


def name_of(value: object, field: str, hint: str = "") -> str:
    """A usable name: a non-empty string of at most 256 bytes of UTF-8; `hint` says what helps where it is missing."""
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{field}: missing, empty or not a string, expected a name{hint}")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"{field}: not valid Unicode, expected UTF-8") from None
    if size > MAX_NAME_BYTES:
        raise InvalidEvent(f"{field}: {size} bytes long, expected at most {MAX_NAME_BYTES}")
    if "\0" in value:
        raise InvalidEvent(f"{field}: contains a NUL character, expected text")
    return value


def history(value: object) -> list[tuple[str, int]]:
    """`payload.statuses` as (status, ms), points without a usable status or time left out."""
    if not isinstance(value, list):
        return []
    points = []
    for item in value:
        if not isinstance(item, dict):
            continue
        at, status = instant(item.get("timestamp")), usable(item.get("status"))
        if at and status:
            points.append((status, at))
    return points


def usable(value: object) -> str | None:
    """A text worth keeping, or None: what only accompanies an event must not cost the event."""
    try:
        return name_of(value, "")
    except InvalidEvent:
        return None


def instant(value: object, unit: int = 1) -> int:
    """A gateway's number × `unit` → Unix ms; 0 (as gateways send for "none") for anything unusable."""
    if type(value) is not int and type(value) is not float:  # a bool is neither
        return 0
    if not 0 < value * unit <= MAX_INSTANT_MS:
        return 0
    return int(value * unit)


def engine_of(data: dict[str, Any]) -> str | None:
    """The engine by its own name, OTHER for one that is not known, None where none is named."""
    engine = data.get("engine")
    if not isinstance(engine, str) or not engine:
        environment = data.get("environment")
        engine = environment.get("engine") if isinstance(environment, dict) else None
    if not isinstance(engine, str) or not engine:
        return None
    return engine if engine in ENGINES else OTHER_ENGINE


def limits_of(data: object) -> tuple[Limit, ...]:
    """`payload.data` of a WORKING event → the restrictions it states; an absent key states nothing."""
    if not isinstance(data, dict):
        return ()
    limits = []
    timelock, capping = data.get("reachoutTimelock"), data.get("messageCapping")
    if isinstance(timelock, dict):
        until = instant(timelock.get("timeEnforcementEnds"), unit=1000)
        limits.append(Limit(Restriction.REACHOUT_TIMELOCK, timelock.get("isActive") is True, until))
    if isinstance(capping, dict):
        limits.append(Limit(Restriction.MESSAGE_CAPPING, capping.get("cappingStatus") == "CAPPED"))
    return tuple(limits)


def timeless(body: bytes, request_id: str | None) -> tuple[str, bool]:
    """The key of an event without any gateway time, and whether it is made of the body."""
    if request_id:
        return f"request:{hashlib.sha256(request_id.encode()).hexdigest()}", False
    return f"body:{hashlib.sha256(body).hexdigest()}", True
