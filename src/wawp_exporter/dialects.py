"""Which gateway's words a source speaks: the one place that names the adapters."""

from collections.abc import Callable

from wawp_exporter import events, evolution, wppconnect
from wawp_exporter.events import OtherEvent, StatusEvent

Parse = Callable[[str, bytes, int, str | None], StatusEvent | OtherEvent]

DIALECTS: dict[str, Parse] = {"waha": events.parse, "evolution": evolution.parse, "wppconnect": wppconnect.parse}
# Evolution's `webhookByEvents` appends the event's name to the URL.
WITH_SUFFIX = frozenset({"evolution"})
