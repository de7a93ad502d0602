"""What all dialects share: fields, names, times, and the event made of them."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from wawp_exporter.dialects.json_text import decode_json
from wawp_exporter.dialects.reasons import reason_of
from wawp_exporter.errors import InvalidEvent, Malformed
from wawp_exporter.model.event import (
    MAX_AHEAD_MS,
    STOPPED,
    UNKNOWN,
    USUAL_ENDINGS,
    WORKING,
    Limit,
    Point,
    StatusEvent,
    normal,
)

MAX_NAME_BYTES = 256
MAX_INSTANT_MS = 253_402_300_799_999  # the end of the year 9999
LAST_S = MAX_INSTANT_MS // 1000
FIRST_S, FIRST_MS = 10**9, 10**10  # a time of ten digits is in seconds; in ms it would be one of 1970
NOT_LOST = frozenset({WORKING, STOPPED, UNKNOWN})
MAX_POINTS = 64  # of one event: gateways send ten at most


def decode(body: bytes) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        data = decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("the body is not JSON") from None
    if not isinstance(data, dict):
        raise Malformed("the body is JSON but not an object")
    return data


def sent_points(sent: list[tuple[str, int]], status: str, at: int) -> list[tuple[str, int]]:
    """The history with the event itself as its last point; empty where the gateway gave no time (`at` is 0)."""
    # A matching last point is the event itself. Its time is the engine's; the envelope's is some ms later.
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
    """The event. Where no time was sent, the time of receipt is its time, and a retry is recognized by a key."""
    keyed = (None, False) if sent else timeless(body, request_id)
    points = believed(sent or [(status, received_at)], received_at)
    return StatusEvent(source, session, points, received_at, event_id, engine, limits, *keyed)


def because(event: StatusEvent, said: object) -> StatusEvent:
    """The event with why the session is lost, as `said` (`reasons.reason_of`); nothing to one that is not lost."""
    own = event.own
    reason = "" if normal(own.status) in NOT_LOST else reason_of(said)
    if not reason:
        return event
    own = msgspec.structs.replace(own, reason=reason)
    return msgspec.structs.replace(event, points=(*event.points[:-1], own))


def ending(event: StatusEvent, word: str | None = None) -> StatusEvent:
    """The event, marked with how the session ended: `word`, else what its status usually means; none if no end."""
    word = word or USUAL_ENDINGS.get(normal(event.own.status))
    if word is None:
        return event
    return msgspec.structs.replace(event, points=(msgspec.structs.replace(event.own, ending=word),))


def believed(sent: list[tuple[str, int]], received_at: int) -> tuple[Point, ...]:
    """Points with the times to use: as sent up to a minute ahead of receipt, else of receipt; the newest are kept."""
    latest = received_at + MAX_AHEAD_MS
    if len(sent) == 1:
        ((status, key_at),) = sent
        return (Point(status, key_at if key_at <= latest else received_at, 0, key_at),)
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
    """A name: a non-empty string of at most 256 bytes of UTF-8. Raises InvalidEvent; `hint` helps if it is missing."""
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{field}: missing, empty or not a string, expected a name{hint}")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"{field}: not valid Unicode, expected UTF-8") from None
    if size > MAX_NAME_BYTES:
        raise InvalidEvent(f"{field}: {size} bytes long, expected at most {MAX_NAME_BYTES}")
    if "\0" in value:
        raise InvalidEvent(f"{field}: contains a NUL or half of a character, expected text")
    return value


def usable(value: object) -> str | None:
    """A text that can be kept, or None: an event is not refused for what is not needed."""
    try:
        return name_of(value, "")
    except InvalidEvent:
        return None


def instant(value: object, unit: int = 1) -> int:
    """A gateway's number × `unit` → Unix ms; 0 (which gateways send for "none") for anything else.

    One of ten digits is in seconds, and one of thirteen in ms, whatever the field: forwarders and some versions differ.
    Between them the unit of the field counts, so that an end in the year 3000, in seconds, is not one of 1971.
    """
    if type(value) is not int and type(value) is not float:  # a bool is neither
        return 0
    if FIRST_S <= value < FIRST_MS:
        unit = 1000
    elif value > LAST_S:
        unit = 1
    if not 0 < value * unit <= MAX_INSTANT_MS:
        return 0
    return int(value * unit)


def written(value: object) -> int:
    """A time in UTC as ISO 8601 writes it → Unix ms; 0 for anything else."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return 0
    return instant(round(at.timestamp() * 1000)) if at and at.tzinfo else 0


def timeless(body: bytes, request_id: str | None) -> tuple[str, bool]:
    """The key of an event without any gateway time, and whether it is made of the body."""
    if request_id:
        return f"request:{hashlib.sha256(request_id.encode()).hexdigest()}", False
    return f"body:{hashlib.sha256(body).hexdigest()}", True
