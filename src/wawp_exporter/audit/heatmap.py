"""The heatmap: sessions × time as one SVG path a status, drawn from the log by the reader's process."""

import asyncio
import re
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wawp_exporter.live.reader import Reader
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.timelines import Timeline
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import LOGIN, Status
from wawp_exporter.model.rules import Key

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
PATIENCE_S = 2.0  # how long a page waits for a first drawing; then it is shown without one
KEPT = 24
# A cell is one byte: 0 where nothing is known, else the status's place here.
CODES = (None, *Status)
CODE = {status: code for code, status in enumerate(CODES) if status}
STUCK_MS = 60_000  # GOWS and NOWEB report a lost network as STARTING; a start that takes longer is shown as trouble
# Shown however short it was, since it is what people look for: other statuses that lasted longer are not.
TROUBLE = frozenset(CODE[status] for status in (Status.FAILED, Status.DISCONNECTED, *LOGIN))
RUN = re.compile(rb"([^\0])\1*", re.DOTALL)

Rows = dict[Key, bytes]
Paths = dict[Status, str]


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a heatmap goes: so many columns of so many ms; `fresh_s` is how long a drawing is good."""

    words: str
    columns: int
    step: int

    @property
    def fresh_s(self) -> float:
        """A sixtieth of a column, within reason."""
        return min(60.0, max(10.0, self.step / 60_000))

    def start(self, now: int) -> int:
        """Where the first column begins (Unix ms), so that the last one holds `now`; columns begin on the clock."""
        return (now // self.step - self.columns + 1) * self.step


RANGES = {
    "1h": Range("1 hour", 60, MINUTE_MS),
    "24h": Range("24 hours", 96, 15 * MINUTE_MS),
    "7d": Range("7 days", 84, 2 * HOUR_MS),
    "30d": Range("30 days", 120, 6 * HOUR_MS),
}


def spans(timeline: Timeline, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(code, from, to) of each stay in a status, clipped to the window; a deleted session is in none."""
    closed = [*timeline.points, (end, Status.UNKNOWN)]
    for (begin, status), (until, _) in pairwise(closed):
        if begin <= timeline.tombstone < until:
            until = timeline.tombstone  # noqa: PLW2901 - it ended there
        first, last = max(begin, start), min(until, end)
        if first < last:
            yield CODE[status], first, last


def cells(timeline: Timeline, start: int, end: int, span: Range) -> bytes:
    """One byte a column: the trouble that lasted longest in it, else the status that lasted longest."""
    row = bytearray(span.columns)
    shared: defaultdict[int, defaultdict[tuple[bool, int], int]] = defaultdict(lambda: defaultdict(int))
    for code, begin, until in spans(timeline, start, end):
        kind = (code in TROUBLE or (code == CODE[Status.STARTING] and until - begin > STUCK_MS), code)
        first, last = (begin - start) // span.step, (until - 1 - start) // span.step
        row[first:last] = bytes((code,)) * (last - first)
        for column in {first, last}:
            left = start + column * span.step
            shared[column][kind] += min(until, left + span.step) - max(begin, left)
    for column, shares in shared.items():
        row[column] = max(shares, key=lambda kind: (kind[0], shares[kind]))[1]
    return bytes(row)


def read_rows(place: Place, name: str, now: int, key: Key | None = None) -> Rows:
    """The cells of every session (or of one) in the range that ends at `now`. Raises LogError."""
    span = RANGES[name]
    start = span.start(now)
    source, session = key or (None, None)
    with History(place) as history:
        timelines = history.timelines(start, now, source=source, session=session)
        return {(each.source, each.session): cells(each, start, now, span) for each in timelines}


def draw(rows: Sequence[bytes]) -> Paths:
    """One path a status; cells that are equal side by side, and runs that are equal one above another, are one box."""
    boxes: defaultdict[int, list[str]] = defaultdict(list)
    open_: dict[tuple[int, int, int], int] = {}
    above = b""
    for y, row in enumerate([*rows, b""]):
        if row == above and y < len(rows):
            continue
        runs = {(run.start(), run.end(), row[run.start()]) for run in RUN.finditer(row)}
        for ended in sorted(open_.keys() - runs):
            x, until, code = ended
            top = open_.pop(ended)
            boxes[code].append(f"M{x} {top}h{until - x}v{y - top}H{x}z")
        open_.update(dict.fromkeys(runs - open_.keys(), y))
        above = row
    return {status: "".join(boxes[code]) for status, code in CODE.items() if code in boxes}


def draw_live(statuses: Iterable[Status | None]) -> Paths:
    """The column of the present statuses, one cell a session."""
    return draw([bytes((CODE[status] if status else 0,)) for status in statuses])


class Heatmaps:
    """Drawings made by the reader's process and kept for a while: when something is wrong many people look at once.

    A drawing that is too old is shown once more while the next one is made.
    """

    def __init__(self, place: Place, reader: Reader) -> None:
        self.place = place
        self.reader = reader
        self._kept: OrderedDict[object, tuple[float, Any]] = OrderedDict()
        self._tasks: dict[object, asyncio.Task[Any]] = {}

    async def drawing(self, name: str, keys: tuple[Key, ...], now: int) -> tuple[int, Paths] | None:
        """When it was read (Unix ms) and the paths, the sessions from top to bottom as in `keys`; None: not yet."""
        found = await self._get(name, RANGES[name].fresh_s, lambda: self._read(name, now))
        if found is None:
            return None
        read_at, rows = found
        blank = bytes(RANGES[name].columns)
        wanted = [rows.get(key, blank) for key in keys]
        paths = await self._get((name, read_at, keys), float("inf"), lambda: self.reader.heavy(draw, wanted))
        return None if paths is None else (read_at, paths)

    async def _read(self, name: str, now: int) -> tuple[int, Rows]:
        return now, await self.reader.heavy(read_rows, self.place, name, now)

    async def _get(self, key: object, fresh_s: float, make: Callable[[], Awaitable[Any]]) -> Any:
        """What is kept under `key`, made anew when it is no longer fresh, by one at a time; None: not in time."""
        made, value = self._kept.get(key, (float("-inf"), None))
        age_s = asyncio.get_running_loop().time() - made
        if age_s < fresh_s:
            return value
        if key not in self._tasks:
            self._tasks[key] = task = asyncio.create_task(self._make(key, make))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task = self._tasks[key]
        done, _ = await asyncio.wait({task}, timeout=0 if age_s < 3 * fresh_s else PATIENCE_S)
        return task.result() if done else value

    async def _make(self, key: object, make: Callable[[], Awaitable[Any]]) -> Any:
        try:
            value = await make()
        finally:
            del self._tasks[key]
        self._kept[key] = (asyncio.get_running_loop().time(), value)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return value
