"""Webhooks of wppconnect-server: `status-find`, a QR or pairing code, and a session that is closed or logged out."""

from wawp_exporter.dialects.messages import wppconnect_messages
from wawp_exporter.dialects.reading import because, build, decode, ending, name_of, usable
from wawp_exporter.model.event import OtherEvent, Status, StatusEvent

IN_URL = "; if the gateway leaves it out, put it into the webhook's URL: /webhook/{source}?session=NAME"
STATUSES = {
    "isLogged": Status.WORKING,
    "inChat": Status.WORKING,
    "qrReadSuccess": Status.WORKING,
    "notLogged": Status.SCAN_QR_CODE,
    "qrReadFail": Status.FAILED,
    "qrReadError": Status.FAILED,
    "autocloseCalled": Status.FAILED,  # nobody scanned in time
    "disconnectedMobile": Status.FAILED,
    "desconnectedMobile": Status.FAILED,  # as it was spelt until November 2025
    "phoneNotConnected": Status.DISCONNECTED,
    "serverClose": Status.DISCONNECTED,
    "browserClose": Status.FAILED,  # by itself it is a crash; it follows each other end too
}
EVENTS = {
    "qrcode": Status.SCAN_QR_CODE,
    "phoneCode": Status.SCAN_QR_CODE,
    "closesession": Status.STOPPED,
    "logoutsession": Status.STOPPED,
}


def parse(
    source: str, body: bytes, received_at: int, request_id: str | None = None, named: str = ""
) -> StatusEvent | OtherEvent:
    """As `waha.parse`. It sends no time and never tries again: the time of receipt is the event's time.

    `named` is the session of an event without one: `status-find` may leave it out.
    """
    data = decode(body)
    kind = name_of(data.get("event"), "event")
    if kind != "status-find" and kind not in EVENTS:
        return OtherEvent(usable(data.get("session") or named), wppconnect_messages(kind, data))
    session = name_of(data.get("session") or named, "session", IN_URL)
    status = EVENTS.get(kind) or status_of(data.get("status"))
    # A retry is recognized by the body, which is the same for two sessions if their names are in the URL only.
    whole = body if data.get("session") else body + b"\0" + named.encode()
    event = build(source, session, status, [], received_at, whole, request_id)
    return ending(because(event, data.get("status")))


def status_of(text: object) -> str:
    """A status that is not known is kept as it is. Raises InvalidEvent."""
    name = name_of(text, "status")
    return STATUSES.get(name, name)
