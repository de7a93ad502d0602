"""The dialects by name: the one place that lists the adapters."""

from typing import Protocol

from wawp_exporter.dialects import evolution, openwa, waha, wppconnect
from wawp_exporter.model.event import OtherEvent, StatusEvent


class Parse(Protocol):
    """Bytes of a webhook → an event. `named` is the session's name from the URL, "" where it has none."""

    def __call__(
        self, source: str, body: bytes, received_at: int, request_id: str | None = None, named: str = ""
    ) -> StatusEvent | OtherEvent:
        """As `waha.parse`."""


DIALECTS: dict[str, Parse] = {
    "waha": waha.parse,
    "evolution": evolution.parse,
    "wppconnect": wppconnect.parse,
    "openwa": openwa.parse,
}
# Evolution's `webhookByEvents` appends the event's name to the URL.
WITH_SUFFIX = frozenset({"evolution"})
SUFFIXES = frozenset(name.replace(".", "-").encode() for name in (*evolution.FIELDS, *evolution.EVENTS))
# wppconnect-server leaves the session out of some events, OpenWA sends its id; the URL of a webhook may have its name.
WITH_SESSION = frozenset({"wppconnect", "openwa"})
# How a gateway calls itself; Evolution and wppconnect-server send with axios.
AGENTS = {"waha": b"WAHA/", "evolution": b"axios/", "wppconnect": b"axios/", "openwa": b"OpenWA-Webhook/"}
