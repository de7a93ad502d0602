"""Webhooks of WAHA and Wawp (both envelopes) as events."""

from typing import Annotated, Any, Literal

import msgspec

from wawp_exporter.dialects.messages import waha_messages
from wawp_exporter.dialects.reading import (
    FIRST_MS,
    MAX_INSTANT_MS,
    MAX_NAME_BYTES,
    because,
    believed,
    build,
    decode,
    instant,
    name_of,
    sent_points,
    usable,
)
from wawp_exporter.errors import InvalidEvent
from wawp_exporter.model.event import (
    ENGINES,
    OTHER_ENGINE,
    WORKING,
    Engine,
    Limit,
    OtherEvent,
    Restriction,
    StatusEvent,
)

STATUS_EVENT = "session.status"
BACKSLASH = ord("\\")


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_BYTES // 4)]  # no character takes more bytes
Instant = Annotated[int, msgspec.Meta(ge=FIRST_MS, le=MAX_INSTANT_MS)]  # not one in seconds


class Entry(msgspec.Struct, gc=False):
    """A point of `payload.statuses`."""

    status: Name
    timestamp: Instant


class Payload(msgspec.Struct, gc=False):
    """The payload of an `Envelope`: without restrictions, and without a reason."""

    status: Name
    statuses: list[Entry] = []
    data: None = None
    statusReason: None = None  # noqa: N815 - as it is sent
    statusCode: None = None  # noqa: N815
    reason: None = None
    error: None = None


class Envelope(msgspec.Struct, gc=False):
    """A `session.status` as nearly all are: with everything that today's gateways put into it, and nothing unusual."""

    event: Literal["session.status"]
    session: Name
    timestamp: Instant
    payload: Payload
    engine: Engine
    id: Name | None = None


decode_envelope = msgspec.json.Decoder(Envelope).decode


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
        return OtherEvent(usable(data.get("session")), waha_messages(kind, data.get("payload"), data.get("engine")))
    return status_event(source, data, body, received_at, request_id)


def usual(body: bytes) -> Envelope | None:
    """The body if it is an `Envelope`: to decode it by its type takes half the time. Others are read field by field.

    An escaped character could be a NUL in a name. The body is checked to be UTF-8, since msgspec skips parts unchecked.
    """
    try:
        if not body.isascii():
            body.decode()
        escaped = BACKSLASH in body and b"\\u" in body  # to look for a number takes a tenth of the time
        return None if escaped else decode_envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def usual_event(source: str, envelope: Envelope, received_at: int) -> StatusEvent:
    """What an `Envelope` says, as `status_event` reads it."""
    status, history = envelope.payload.status, envelope.payload.statuses
    if len(history) == 1 and history[0].status == status:
        sent = [(status, history[0].timestamp)]  # as `sent_points` has it
    else:
        sent = sent_points([(point.status, point.timestamp) for point in history], status, envelope.timestamp)
    points = believed(sent, received_at)
    return StatusEvent(source, envelope.session, points, received_at, envelope.id, envelope.engine)


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
    event = build(
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
    return because(event, payload)


def flat_event(source: str, data: dict[str, Any], body: bytes, received_at: int, request_id: str | None) -> StatusEvent:
    """Wawp v1's flat form (`ts` in seconds), and a payload that a forwarder sent without its envelope."""
    field = next((name for name in ("instance_id", "session", "name") if name in data), "instance_id")
    session = name_of(data.get(field), field)
    status = name_of(data.get("status"), "status")
    at = instant(data.get("timestamp")) or instant(data.get("ts"), unit=1000)
    sent = sent_points(history(data.get("statuses")), status, at)
    event = build(
        source,
        session,
        status,
        sent,
        received_at,
        body,
        request_id,
        engine=engine_of(data),
    )
    return because(event, data)


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
