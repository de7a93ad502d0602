"""Webhooks of OpenWA: a session's status, its QR codes, and why it was disconnected or restricted."""

import re
from typing import Any

from wawp_exporter.dialects.messages import openwa_messages
from wawp_exporter.dialects.reading import because, build, decode, ending, name_of, usable, written
from wawp_exporter.model.event import Limit, OtherEvent, Restriction, Status, StatusEvent

STATUSES = {
    "created": Status.STOPPED,  # it was not started yet
    "initializing": Status.STARTING,
    "authenticating": Status.STARTING,
    "qr_ready": Status.SCAN_QR_CODE,
    "ready": Status.WORKING,
    "disconnected": Status.DISCONNECTED,
    "action_required": Status.FAILED,  # somebody must act in WhatsApp Web itself
    "failed": Status.FAILED,
}
EVENTS = {
    "session.qr": Status.SCAN_QR_CODE,
    "session.authenticated": Status.WORKING,
    "session.disconnected": Status.DISCONNECTED,
    "session.reconnect_loop": Status.DISCONNECTED,  # each fifth attempt in vain
}
TIMELOCK = "reachout_timelock"  # the one restriction under which a session stays connected
# The event's time, in its idempotencyKey. `timestamp` is that of the delivery, which a replay makes anew.
OCCURRED = re.compile(r"_(\d{4}-\d\d-\d\dT[\d:.]+Z)(?:_|$)")


def parse(
    source: str, body: bytes, received_at: int, request_id: str | None = None, named: str = ""
) -> StatusEvent | OtherEvent:
    """As `waha.parse`; `named` counts more than `sessionId`, a UUID. Codes and numbers are not looked at."""
    data = decode(body)
    kind = name_of(data.get("event"), "event")
    told = data.get("data")
    given: dict[str, Any] = told if isinstance(told, dict) else {}
    restricted = kind == "session.restriction" and given.get("kind") == TIMELOCK
    if kind != "session.status" and kind not in EVENTS and not restricted:
        return OtherEvent(usable(named or data.get("sessionId")), openwa_messages(kind, told))
    session = named or name_of(data.get("sessionId"), "sessionId")
    status = Status.WORKING if restricted else EVENTS.get(kind) or status_of(given.get("status"))
    limits = (Limit(Restriction.REACHOUT_TIMELOCK, given.get("active") is True, written(given.get("expiresAt"))),)
    key = OCCURRED.search(str(data.get("idempotencyKey")))
    at = written(key[1] if key else data.get("timestamp"))
    sent = [(str(status), at)] if at else []
    event = build(source, session, status, sent, received_at, body, request_id, limits=limits if restricted else ())
    return ending(because(event, "connection_lost" if kind == "session.reconnect_loop" else given.get("reason")))


def status_of(text: object) -> str:
    """A status that is not known is kept as it is. Raises InvalidEvent."""
    name = name_of(text, "data.status")
    return STATUSES.get(name, name)
