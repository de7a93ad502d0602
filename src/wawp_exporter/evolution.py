"""Webhooks of the Evolution API: `connection.update`, `qrcode.updated`, an instance that is logged out or removed."""

from datetime import UTC, datetime
from typing import Any

from wawp_exporter.events import MAX_AHEAD_MS, OtherEvent, Status, StatusEvent, build, decode, name_of

STATES = {"open": Status.WORKING, "connecting": Status.STARTING, "close": Status.DISCONNECTED, "refused": Status.FAILED}
EVENTS = {
    "qrcode.updated": Status.SCAN_QR_CODE,
    "logout.instance": Status.STOPPED,
    "remove.instance": Status.STOPPED,
    "status.instance": Status.STOPPED,
}
LOGGED_OUT = 401  # the statusReason of a phone that was unlinked: it does not come back by itself
ZONE_MS = 900_000  # the offsets of all time zones are multiples of it


def parse(
    source: str,
    body: bytes,
    received_at: int,
    request_id: str | None = None,
    named: str = "",  # noqa: ARG001 - its events always have it
) -> StatusEvent | OtherEvent:
    """As `events.parse`. Keys, numbers and QR codes of the body are not looked at."""
    told = decode(body)
    kind = name_of(told.get("event"), "event").lower().replace("_", ".")
    if kind != "connection.update" and kind not in EVENTS:
        name = told.get("instance")
        return OtherEvent(name if isinstance(name, str) else None)
    session = name_of(told.get("instance"), "instance")
    status = EVENTS.get(kind) or state_of(told.get("data"))
    at = instant_of(told.get("date_time"), received_at)
    return build(source, session, status, [(status, at)] if at else [], received_at, body, request_id)


def state_of(data: object) -> str:
    """`data.state` as a status; one that is not known is kept as it is. Raises InvalidEvent."""
    given: dict[str, Any] = data if isinstance(data, dict) else {}
    state = name_of(given.get("state"), "data.state")
    if state == "close" and given.get("statusReason") == LOGGED_OUT:
        return Status.FAILED
    return STATES.get(state, state)


def instant_of(text: object, received_at: int) -> int:
    """`date_time` is local time that says it is UTC: the zone is what makes it less than a quarter of an hour old.

    Unix ms, 0 for what is no time.
    """
    try:
        local = datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
    except ValueError:
        return 0
    sent = round(local.timestamp() * 1000)
    return sent + (received_at - sent + MAX_AHEAD_MS) // ZONE_MS * ZONE_MS
