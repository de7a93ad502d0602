"""Webhooks of the Evolution API: its connection, QR codes, and an instance that is closed, logged out or removed."""

from wawp_exporter.dialects.localtime import instant_of, not_ahead
from wawp_exporter.dialects.messages import evolution_messages
from wawp_exporter.dialects.reading import because, build, decode, ending, name_of, usable
from wawp_exporter.model.event import CLOSED, OtherEvent, Status, StatusEvent

STATES = {
    "open": Status.WORKING,
    "connecting": Status.STARTING,
    "close": Status.DISCONNECTED,
    "refused": Status.FAILED,  # as many QR codes as it shows were not scanned
    "closed": Status.FAILED,  # of status.instance: it does not connect again by itself
    "removed": Status.FAILED,  # the same, until 1.3
}
EVENTS = {
    "qrcode.updated": Status.SCAN_QR_CODE,
    "logout.instance": Status.STOPPED,
    "remove.instance": Status.STOPPED,
    "instance.delete": Status.STOPPED,
}
FIELDS = {"connection.update": "state", "status.instance": "status"}
# The statusReason of an unlinked phone, a banned account, …: it does not connect again by itself.
GIVEN_UP = frozenset({"401", "402", "403", "406"})


def parse(
    source: str,
    body: bytes,
    received_at: int,
    request_id: str | None = None,
    named: str = "",  # noqa: ARG001 - its events always have it
) -> StatusEvent | OtherEvent:
    """As `waha.parse`. Keys, numbers and QR codes of the body are not looked at."""
    data = decode(body)
    kind = name_of(data.get("event"), "event").lower().replace("_", ".")
    if kind not in FIELDS and kind not in EVENTS:
        return OtherEvent(usable(data.get("instance")), evolution_messages(kind, data.get("data")))
    session = name_of(data.get("instance"), "instance")
    status = status_of(kind, data.get("data"))
    at = instant_of(data.get("date_time"), received_at)
    event = build(source, session, status, [(status, at)] if at else [], received_at, body, request_id)
    expired = kind == "qrcode.updated" and status == Status.FAILED
    event = because(event, "qr_expired" if expired else data.get("data"))
    # A logout is also sent after each loss, and may come first: by itself it only means that the instance is closed.
    return ending(not_ahead(event), CLOSED if kind == "logout.instance" else None)


def status_of(kind: str, data: object) -> str:
    """The status by the event and its `data`; a state that is not known is kept as it is. Raises InvalidEvent."""
    given = data if isinstance(data, dict) else {}
    if kind == "qrcode.updated" and "statusCode" in given:
        return Status.FAILED  # no code: it has shown as many as it shows
    if kind in EVENTS:
        return EVENTS[kind]
    field = FIELDS[kind]
    state = name_of(given.get(field) or ("closed" if field == "status" else None), f"data.{field}")
    gave_up = state == "close" and str(given.get("statusReason"))[:4] in GIVEN_UP
    return Status.FAILED if gave_up else STATES.get(state, state)
