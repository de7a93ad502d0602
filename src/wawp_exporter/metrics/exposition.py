"""The fleet as Prometheus text or OpenMetrics: lines kept as bytes from change to change, joined at a scrape.

A session's lines are rendered when it changed, and kept. Sessions are kept in pages; a page keeps each family
compressed until one of its sessions changes. Only what moves with time (the seconds of the current status, the last
event) is rendered at each scrape. A scrape works on a snapshot of immutable views: it may be sent slowly while
webhooks go on, and still shows every session whole or not at all.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from wawp_exporter.metrics.families import (
    FAMILY_COUNT,
    MOVING_FAMILIES,
    RESTRICTED_FAMILY,
    SECONDS_INDEX,
    SESSION_FAMILIES,
)
from wawp_exporter.metrics.fleet_families import FLEET_FAMILIES
from wawp_exporter.metrics.gzip_pieces import Joined, Piece, gzip_stream, pack, unpack
from wawp_exporter.metrics.judged import Judged, judged_parts
from wawp_exporter.metrics.page import View
from wawp_exporter.metrics.shelf import Shelf
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import ALWAYS
from wawp_exporter.model.fleet import Fleet

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SLICE = 16  # pages whose pieces are kept joined
STEP = 64  # sessions that are taken over in one step

Part = list[Piece] | bytes


class Exposition:
    """The views of one fleet. Belongs to the event loop's thread, as the fleet does."""

    def __init__(self, fleet: Fleet, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.shelf = Shelf()
        self.judged = Judged(fleet)
        self._joined = Joined()
        self._telemetry = telemetry

    def sync(self, most: int | None = None) -> bool:
        """Takes over what changed in the fleet, of at most so many sessions (None: all); whether any is left."""
        changed, limit = self.fleet.changed, self.fleet.rules.config.metrics.max_sessions
        for _ in range(len(changed) if most is None else min(most, len(changed))):
            key = changed.pop()
            self.shelf.place(key, self.fleet.sessions.get(key), limit)
            self.judged.relabel(key)
        self.shelf.balance(limit)
        return self.judged.sync(most) or bool(changed)

    @property
    def histograms(self) -> int:
        """How many histograms the largest family has, at most."""
        sessions = len(self.fleet.sessions) if self.fleet.rules.session_histograms else 0
        return len(ALWAYS) * max(sessions, len(self.fleet.buckets))

    def refresh(self, now: int) -> Iterator[None]:
        """Renders what has changed, and what changes meanwhile; a little of it at each step."""
        while self.sync(STEP) or self.shelf.dirty:
            page = next(iter(self.shelf.dirty), None)
            if page:
                del self.shelf.dirty[page]
                page.refresh(self.fleet.rules.session_histograms, now)
            yield

    def scrape(self, is_openmetrics: bool, gzip: bool, now: int, mono: float) -> Iterator[bytes]:
        """The whole exposition in pieces; other work may go on between them. This call takes the snapshot."""
        for _ in self.refresh(now):
            pass
        self.shelf.hear(self.fleet.take_heard())
        self._telemetry.time.set(now / 1000)
        parts = [own_metrics(self._telemetry.registry, is_openmetrics), *self.fleet_parts(is_openmetrics, mono)]
        views = [page.view for page in self.shelf.pages]
        return (compressed if gzip else plain)(chain(parts, self.session_parts(views, is_openmetrics, mono)))

    def fleet_parts(self, is_openmetrics: bool, mono: float) -> list[Part]:
        """The metrics of the whole fleet at `mono`."""
        buckets = self.fleet.buckets.up_to(mono)
        text = b"".join(item.text(self.fleet, buckets, self.shelf, is_openmetrics) for item in FLEET_FAMILIES)
        return [text, *judged_parts(self.judged, is_openmetrics, buckets)]

    def session_parts(self, views: Sequence[View], is_openmetrics: bool, mono: float) -> Iterator[Part]:
        """All that is about sessions: kept pieces of lines that have not changed, and text."""
        slices = [views[start : start + SLICE] for start in range(0, len(views), SLICE)]
        families = [*(family for family, _ in SESSION_FAMILIES), RESTRICTED_FAMILY]
        for index, family in enumerate(families):
            yield family.header(is_openmetrics)
            for number, each in enumerate(slices):
                yield [self._joined.of((index, number), [view.pieces[index] for view in each])]
                if index == SECONDS_INDEX:
                    yield b"".join([view.seconds(mono) for view in each])
        for index, family in enumerate(MOVING_FAMILIES):
            yield family.header(is_openmetrics)
            for number, each in enumerate(slices):
                pieces = [view.moving(self.fleet.activity)[index] for view in each]
                yield [self._joined.of((FAMILY_COUNT + index, number), pieces)]
        if is_openmetrics:
            yield b"# EOF\n"


def plain(parts: Iterable[Part]) -> Iterator[bytes]:
    """The text as it is."""
    for part in parts:
        yield part if isinstance(part, bytes) else b"".join(map(unpack, part))


def compressed(parts: Iterable[Part]) -> Iterator[bytes]:
    """One gzip stream."""
    stream = gzip_stream()
    yield stream.begin()
    for part in parts:
        pieces = [pack(part)] if isinstance(part, bytes) else part
        yield b"".join([stream.add(piece) for piece in pieces])
    yield stream.end()


def own_metrics(registry: CollectorRegistry, is_openmetrics: bool) -> bytes:
    """The exporter's own metrics, rendered by prometheus-client, which need not look at each character of our names."""
    render = openmetrics.generate_latest if is_openmetrics else generate_latest
    text: bytes = render(registry, escaping=openmetrics.ALLOWUTF8)
    return text.removesuffix(b"# EOF\n")
