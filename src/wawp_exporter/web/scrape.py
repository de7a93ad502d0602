"""`GET /metrics`: the format and the encoding that are asked for, piece by piece."""

import re
import time
from collections.abc import AsyncIterator, Callable, Sequence

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.pace import Pace
from wawp_exporter.metrics.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition

# Prometheus up to 3.14 that converts histograms to native ones reads the rest of the family for each, to find a line
# `_created` of OpenMetrics (prometheus#18324): 2,000 histograms take minutes, without a timeout. In text it does not.
MANY_HISTOGRAMS = 200
MAX_SCRAPES = 16  # answers under way: each may hold some megabytes
CHUNK = 1 << 18  # bytes sent at once
QUALITY = re.compile(r";\s*q=([\d.]*)")


class ScrapeEndpoint:
    """Answers with the exposition. Of too many answers that are not read to their end the oldest is cut off."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._unfinished: dict[object, Callable[[], None]] = {}  # each with what cuts it off

    async def get(self, request: Request) -> Response:
        """All metrics."""
        is_openmetrics = in_openmetrics(request.headers.get("accept", ""), self._exposition.histograms)
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Content-Type": OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE, "Vary": "Accept, Accept-Encoding"}
        place = self._take_place(request.scope.get("abort", lambda: None))
        parts = paced(self._exposition, is_openmetrics, gzip)
        if not gzip:
            return StreamingResponse(self._finish(place, parts), headers=headers)
        # Most of the parts are kept ones, so that to hold them all takes little memory.
        ready = [part async for part in parts]
        headers |= {"Content-Encoding": "gzip", "Content-Length": str(sum(map(len, ready)))}
        return StreamingResponse(self._finish(place, chunks(ready)), headers=headers)

    def _take_place(self, abort: Callable[[], None]) -> object:
        while len(self._unfinished) >= MAX_SCRAPES:
            self._unfinished.pop(next(iter(self._unfinished)))()
        self._unfinished[place := object()] = abort
        return place

    async def _finish(self, place: object, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for part in parts:
                yield part
        finally:
            self._unfinished.pop(place, None)


async def paced(exposition: Exposition, is_openmetrics: bool, gzip: bool) -> AsyncIterator[bytes]:
    """The exposition in parts; webhooks get their turns in between."""
    pace = Pace()
    for _ in exposition.refresh(unix_now()):
        if pace.over:
            await pace.rest()
    for part in exposition.scrape(is_openmetrics, gzip, unix_now(), time.monotonic()):
        if pace.over:
            await pace.rest()
        if part:
            yield part


async def chunks(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The parts, some together: each that is sent costs as much as the copy of many."""
    together, size = list[bytes](), 0
    for part in parts:
        together.append(part)
        size += len(part)
        if size >= CHUNK:
            yield b"".join(together)
            together, size = [], 0
    yield b"".join(together)


def in_openmetrics(accept: str, histograms: int) -> bool:
    """Whether to answer in OpenMetrics; not if there are many histograms and the scraper takes plain text too."""
    return prefers_openmetrics(accept) and not (histograms > MANY_HISTOGRAMS and takes_text(accept))


def prefers_openmetrics(accept: str) -> bool:
    """Whether prometheus-client would answer this `Accept` in OpenMetrics.

    It does not read qualities, so it is given only what is wanted at least as much as plain text.
    """
    wanted = [(quality(item), item.strip()) for item in accept.lower().split(",")]
    least = max((given for given, item in wanted if item.startswith("text/plain")), default=0.0)
    try:
        _, content_type = choose_encoder(",".join(item for given, item in wanted if given and given >= least))
    except TypeError:  # from a version that is not a number
        return False
    return content_type.startswith("application/openmetrics-text; version=1.")


def takes_text(accept: str) -> bool:
    """Whether plain text is among what is accepted."""
    return any(item.strip().startswith("text/plain") and quality(item) > 0 for item in accept.lower().split(","))


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is accepted; `gzip;q=0` is a no, which prometheus-client and Starlette take for a yes."""
    items = accept_encoding.lower().split(",")
    return any(item.partition(";")[0].strip() in ("gzip", "*") and quality(item) > 0 for item in items)


def quality(item: str) -> float:
    """How much an item of an Accept header is wanted, from 0 (not at all) to 1."""
    found = QUALITY.search(item)
    try:
        return float(found[1]) if found else 1.0
    except ValueError:
        return 0.0
