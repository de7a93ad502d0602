"""The fleet as Prometheus text or OpenMetrics: lines kept as bytes from change to change, joined at a scrape.

A session's lines are rendered when it changed, and kept. Sessions are kept in pages; a page keeps each family
compressed until one of its sessions changes. Only what moves with time (the seconds of the current status, the last
event) is rendered at each scrape. A scrape works on a snapshot of immutable views: it may be sent slowly while
webhooks go on, and still shows every session whole or not at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from wawp_exporter.metrics.families import (
    LAST_EVENT_FAMILY,
    MESSAGE_FAMILIES,
    RESTRICTED_FAMILY,
    SECONDS_INDEX,
    SESSION_FAMILIES,
)
from wawp_exporter.metrics.fleet_families import FLEET_FAMILIES
from wawp_exporter.metrics.gzip_pieces import Piece, gzip_stream, pack
from wawp_exporter.metrics.judged import Judged, judged_text
from wawp_exporter.metrics.shelf import Shelf, View
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.event import ALWAYS
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SLICE = 16  # pages sent in one go; then the event loop does other work


class Exposition:
    """The views of one fleet. Belongs to the event loop's thread, as the fleet does."""

    def __init__(self, fleet: Fleet, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.shelf = Shelf()
        self.judged = Judged(fleet)
        self._registry: CollectorRegistry = telemetry.registry

    def sync(self) -> None:
        """Takes over what changed in the fleet."""
        changed, self.fleet.changed = self.fleet.changed, set()
        limit = self.fleet.rules.config.metrics.max_sessions
        for key in changed:
            self.shelf.place(key, self.fleet.sessions.get(key), limit)
        self.shelf.balance(limit)
        self.judged.sync(changed)

    @property
    def histograms(self) -> int:
        """How many histograms the largest family has, at most."""
        sessions = len(self.fleet.sessions) if self.fleet.rules.config.metrics.session_histograms else 0
        return len(ALWAYS) * max(sessions, len(self.fleet.buckets))

    def refresh(self, now: int, pages: int | None = None) -> bool:
        """Renders up to `pages` pages that changed (None: all); whether some are left."""
        self.sync()
        histograms = self.fleet.rules.config.metrics.session_histograms
        while self.shelf.dirty and pages != 0:
            page = next(iter(self.shelf.dirty))
            del self.shelf.dirty[page]
            page.refresh(histograms, now)
            pages = pages - 1 if pages is not None else None
        return bool(self.shelf.dirty)

    def scrape(self, is_openmetrics: bool, gzip: bool, now: int, mono: float) -> Iterator[bytes]:
        """The whole exposition in pieces; other work may go on between them. This call takes the snapshot."""
        self.refresh(now)
        views = [page.view for page in self.shelf.pages]
        slices = [views[start : start + SLICE] for start in range(0, len(views), SLICE)]
        head = own_metrics(self._registry, is_openmetrics) + self.fleet_text(is_openmetrics, mono)
        parts = session_parts(slices, self.fleet.activity, is_openmetrics, gzip, mono)
        return compressed(head, parts) if gzip else plain(head, parts)

    def fleet_text(self, is_openmetrics: bool, mono: float) -> bytes:
        """The metrics of the whole fleet at `mono`."""
        buckets = self.fleet.all_buckets(mono)
        parts = []
        for item in FLEET_FAMILIES:
            parts.append(item.family.header(is_openmetrics))
            parts.append("".join(item.lines(self.fleet, buckets, self.shelf)).encode())
        parts.append(judged_text(self.judged, is_openmetrics, buckets))
        return b"".join(parts)


Part = list[Piece] | bytes


def session_parts(
    slices: Sequence[Sequence[View]], activities: Mapping[Key, Activity], is_openmetrics: bool, gzip: bool, mono: float
) -> Iterator[Part]:
    """All that is about sessions: text, or with `gzip` the kept compressed pieces of lines that have not changed."""
    families = [*(family for family, _ in SESSION_FAMILIES), RESTRICTED_FAMILY]
    for index, family in enumerate(families):
        yield family.header(is_openmetrics)
        for views in slices:
            yield [view.piece(index) for view in views] if gzip else b"".join([view.text(index) for view in views])
            if index == SECONDS_INDEX:
                yield b"".join([view.seconds(mono) for view in views])
    yield LAST_EVENT_FAMILY.header(is_openmetrics)
    for views in slices:
        yield b"".join([view.last_events() for view in views])
    for family, lines_of in MESSAGE_FAMILIES:
        yield family.header(is_openmetrics)
        if activities:
            for views in slices:
                yield b"".join([view.messages(activities, lines_of) for view in views])
    if is_openmetrics:
        yield b"# EOF\n"


def plain(head: bytes, parts: Iterable[Part]) -> Iterator[bytes]:
    """The text as it is."""
    yield head
    yield from (part for part in parts if isinstance(part, bytes))


def compressed(head: bytes, parts: Iterable[Part]) -> Iterator[bytes]:
    """One gzip stream."""
    stream = gzip_stream()
    yield stream.begin() + stream.add(pack(head))
    for part in parts:
        pieces = [pack(part)] if isinstance(part, bytes) else part
        yield b"".join([stream.add(piece) for piece in pieces])
    yield stream.end()


def own_metrics(registry: CollectorRegistry, is_openmetrics: bool) -> bytes:
    """The exporter's own metrics, rendered by prometheus-client."""
    render = openmetrics.generate_latest if is_openmetrics else generate_latest
    text: bytes = render(registry)
    return text.removesuffix(b"# EOF\n")


REFRESH_PAGES = 8  # pages rendered in one go; then the event loop does other work
