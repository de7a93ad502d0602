"""The heatmap: sessions × time as one SVG path a status, drawn from the log by the reader's process."""

import asyncio
import re
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from wawp_exporter.audit.figures import tally
from wawp_exporter.config.schema import Config
from wawp_exporter.live.reader import Reader
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.timelines import Timeline, timeline_of
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import LOGIN, Status
from wawp_exporter.model.rules import Key, Rules

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
PATIENCE_S = 2.0  # how long a page waits for a first drawing; then it is shown without one
KEPT = 24
# A cell is one byte: 0 where nothing is known, else the status's place here.
CODES = (None, *Status)
CODE = {status: code for code, status in enumerate(CODES) if status}
STUCK_MS = 60_000  # GOWS and NOWEB report a lost network as STARTING; a start that takes longer is shown as trouble
# Shown however short it was, since it is what people look for: other statuses that lasted longer are not.
TROUBLE = frozenset(CODE[status] for status in (Status.FAILED, Status.DISCONNECTED, *LOGIN))
LINES = 480  # as many as a page draws: of more sessions several share a line
# What of several sessions a line shows, the last first.
SEVERITY = (None, Status.STOPPED, Status.WORKING, Status.UNKNOWN, Status.STARTING, *LOGIN, Status.DISCONNECTED,
            Status.FAILED)  # fmt: skip
RANK = {CODE[status] if status else 0: rank for rank, status in enumerate(SEVERITY)}
RUN = re.compile(rb"([^\0])\1*", re.DOTALL)

Paths = dict[Status, str]


class Line(NamedTuple):
    """One session in a range: its cells, and its seconds up and down as an audit of that range counts them."""

    cells: bytes
    good: float = 0.0
    bad: float = 0.0


Rows = dict[Key, Line]


class Drawing(NamedTuple):
    """What was read at `read_at` (Unix ms), drawn; `gaps`: somewhere nothing is known."""

    read_at: int
    paths: Paths
    gaps: bool
    rows: Rows


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


def read_rows(place: Place, config: Config, name: str, now: int, key: Key | None = None) -> Rows:
    """Every session (or one) in the range that ends at `now`. Raises LogError."""
    span, rules, rows = RANGES[name], Rules(config), Rows()
    start = span.start(now)
    source, session = key or (None, None)
    with History(place) as history:
        for past in history.pasts(start, now, source=source, session=session):
            found = tally(past, rules.meta(past.source, past.session).windows, start, now)
            drawn = cells(timeline_of(past, start), start, now, span)
            rows[past.source, past.session] = Line(drawn, found.good, found.bad)
    return rows


def share(count: int) -> int:
    """How many of so many sessions share a line."""
    return max(1, -(-count // LINES))


def merged(rows: Sequence[bytes], size: int) -> Sequence[bytes]:
    """Each `size` rows as one: where any of them is in trouble, its trouble."""
    if size == 1:
        return rows
    groups = (rows[first : first + size] for first in range(0, len(rows), size))
    return [group[0] if len(set(group)) == 1 else bytes(map(worst, zip(*group, strict=True))) for group in groups]


def worst(codes: tuple[int, ...]) -> int:
    """The status of a cell that stands for several."""
    return max(set(codes), key=RANK.__getitem__)


def draw_lines(rows: Sequence[bytes]) -> tuple[Paths, bool]:
    """The sessions drawn, and whether somewhere nothing is known of one."""
    return draw(merged(rows, share(len(rows)))), any(0 in row for row in rows)


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


def drawing_of(now: int, rows: Rows) -> Drawing:
    """All of what was read at `now`, in its order."""
    paths, gaps = draw_lines([line.cells for line in rows.values()])
    return Drawing(now, paths, gaps, rows)


def draw_live(statuses: Iterable[Status | None]) -> Paths:
    """The column of the present statuses, in the lines of the sessions."""
    return draw_lines([bytes((CODE[status] if status else 0,)) for status in statuses])[0]


class Heatmaps:
    """Drawings made by the reader's process and kept for a while: when something is wrong many people look at once.

    A drawing that is too old is shown once more while the next one is made.
    """

    def __init__(self, place: Place, reader: Reader, config: Callable[[], Config]) -> None:
        self.place = place
        self.reader = reader
        self._config = config
        self._kept: OrderedDict[object, tuple[float, Any]] = OrderedDict()
        self._tasks: dict[object, asyncio.Task[Any]] = {}

    async def drawing(self, name: str, keys: tuple[Key, ...], now: int) -> Drawing | None:
        """The sessions from top to bottom as in `keys`; None: not yet. `rows` has all sessions."""
        found = await self._get(name, RANGES[name].fresh_s, lambda: self._read(name, now))
        if found is None:
            return None
        read_at, rows = found
        blank = Line(bytes(RANGES[name].columns))
        wanted = [rows.get(key, blank).cells for key in keys]
        drawn = await self._get((name, read_at, keys), float("inf"), lambda: self.reader.heavy(draw_lines, wanted))
        return None if drawn is None else Drawing(read_at, drawn[0], drawn[1], rows)

    async def _read(self, name: str, now: int) -> tuple[int, Rows]:
        return now, await self.reader.heavy(read_rows, self.place, self._config(), name, now)

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
