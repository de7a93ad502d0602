"""A heatmap as a page shows it: what is read from the log, and beside it what is true now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from markupsafe import Markup

from wawp_exporter.audit.heatmap import RANGES, Drawing, Line, Paths, Range, draw_live, share
from wawp_exporter.audit.words import percent
from wawp_exporter.model.event import Status
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.web.pages.axis import Tick, ticks
from wawp_exporter.web.pages.render import LABELLED

ROW_PX = 22  # as in wawp.css
HEAT_PX = (160, 480)  # the height of a heatmap in which not each line has its name


@dataclass(frozen=True, slots=True)
class Label:
    """A name beside a heatmap: of the session in line `line`."""

    session: Session
    line: int


@dataclass(frozen=True, slots=True)
class Heat:
    """A heatmap ready to be written: the past and, beside it, what is true now. Times are Unix ms.

    `past` is None while it is not drawn yet; `stamp` names it, so that a browser need not load it again: then `kept` is
    True. `size`: how many sessions share a line.
    """

    name: str
    sessions: Sequence[Session]
    now: int
    drawing: Drawing | None
    live: Paths
    stamp: str = ""
    kept: bool = False

    @property
    def span(self) -> Range:
        """Its range."""
        return RANGES[self.name]

    @property
    def size(self) -> int:
        """How many sessions share a line."""
        return share(len(self.sessions))

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return -(-len(self.sessions) // self.size)

    @property
    def px(self) -> int:
        """Its height."""
        return self.lines * ROW_PX if self.lines <= LABELLED else min(max(self.lines * 2, HEAT_PX[0]), HEAT_PX[1])

    @property
    def start(self) -> int:
        """Where the first column begins."""
        return self.span.start(self.now)

    @property
    def end(self) -> int:
        """Where the last column ends."""
        return self.start + self.span.columns * self.span.step

    @property
    def past(self) -> Paths | None:
        """The paths to write."""
        return {} if self.kept else self.drawing.paths if self.drawing else None

    @property
    def occurs(self) -> set[Status]:
        """The statuses that are in it."""
        return {*(self.drawing.paths if self.drawing else ()), *self.live}

    @property
    def gaps(self) -> bool:
        """Whether somewhere nothing is known."""
        return self.drawing is None or self.drawing.gaps

    @property
    def each(self) -> bool:
        """Whether each line has its name."""
        return self.lines <= LABELLED

    @property
    def labels(self) -> list[Label]:
        """The names beside it: of each line, or of as many as there is room for."""
        room = self.lines if self.each else self.px // ROW_PX
        places = [number * self.lines // room for number in range(room)]
        return [Label(self.sessions[line * self.size], line) for line in places]

    def ticks(self, zone: str) -> list[Tick]:
        """The marks of its axis."""
        return ticks(self.name, self.start, self.end, zone)

    @property
    def data(self) -> Markup:
        """What a script needs to say of each line: source, name, uptime; of a shared one its first and last name."""
        rows: list[tuple[str, ...]] = []
        if self.size == 1:
            rows = [(*session.key, percent(self.uptime(session.key))) for session in self.sessions]
        else:
            groups = (self.sessions[at : at + self.size] for at in range(0, len(self.sessions), self.size))
            rows = [(group[0].name, group[-1].name) for group in groups]
        # In an element whose content ends with a tag: none is in it.
        return Markup(msgspec.json.encode(rows).decode().replace("<", r"\u003c"))  # noqa: S704

    def uptime(self, key: Key) -> float | None:
        """One session's over the range."""
        rows: Mapping[Key, Line] = self.drawing.rows if self.drawing else {}
        return ratio([rows[key]]) if key in rows else None

    @property
    def uptime_of_all(self) -> float | None:
        """That of all its sessions together."""
        rows = self.drawing.rows if self.drawing else {}
        return ratio([rows[session.key] for session in self.sessions if session.key in rows])


def ratio(lines: Sequence[Line]) -> float | None:
    """The share of the counted seconds that were good; None without any."""
    good, bad = sum(line.good for line in lines), sum(line.bad for line in lines)
    return good / (good + bad) if good + bad else None


def heat_of(
    name: str, sessions: Sequence[Session], now: int, drawing: Drawing | None, which: str = "", have: str = ""
) -> Heat:
    """A heatmap of the range `name`; without the past if the browser says that it has it.

    `which` names its sessions; without it the past is sent each time.
    """
    live = draw_live(session.state.status for session in sessions)
    mark = f"{which}-{drawing.read_at}" if drawing and which else ""
    return Heat(name, sessions, drawing.read_at if drawing else now, drawing, live, mark, bool(mark) and mark == have)
