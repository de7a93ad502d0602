"""Webhooks of wppconnect-server: `status-find`, a QR or pairing code, and a session that is closed or logged out."""

from wawp_exporter.events import OtherEvent, Status, StatusEvent, build, decode, name_of

STATUSES = {
    "isLogged": Status.WORKING,
    "inChat": Status.WORKING,
    "qrReadSuccess": Status.WORKING,
    "notLogged": Status.SCAN_QR_CODE,
    "qrReadFail": Status.FAILED,
    "qrReadError": Status.FAILED,
    "autocloseCalled": Status.FAILED,  # nobody scanned in time
    "disconnectedMobile": Status.FAILED,
    "phoneNotConnected": Status.DISCONNECTED,
    "serverClose": Status.DISCONNECTED,
    "browserClose": Status.STOPPED,  # what follows closing a session; a crash looks the same
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
    """As `events.parse`. It sends no time and never tries again: what comes is dated when it comes.

    `named` is the session of an event without one: `status-find` may leave it out.
    """
    told = decode(body)
    kind = name_of(told.get("event"), "event")
    if kind != "status-find" and kind not in EVENTS:
        name = told.get("session", named or None)
        return OtherEvent(name if isinstance(name, str) else None)
    session = name_of(told.get("session") or named, "session")
    status = EVENTS.get(kind) or status_of(told.get("status"))
    return build(source, session, status, [], received_at, body, request_id)


def status_of(text: object) -> str:
    """A status that is not known is kept as it is. Raises InvalidEvent."""
    name = name_of(text, "status")
    return STATUSES.get(name, name)
