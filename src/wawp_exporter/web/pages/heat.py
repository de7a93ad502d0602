"""A heatmap as a page shows it: what is read from the log, and beside it what is true now."""

from collections.abc import Sequence
from dataclasses import dataclass

from wawp_exporter.audit.heatmap import RANGES, Paths, Range
from wawp_exporter.model.session import Session
from wawp_exporter.web.pages.render import utc

LABELLED = 40  # rows of the heatmap up to which each has its name beside it
ROW_PX = 22  # as in wawp.css
HEAT_PX = (160, 480)  # the height of a heatmap without names


@dataclass(frozen=True, slots=True)
class Heat:
    """A heatmap ready to be written: the past and, beside it, what is true now. Times are Unix ms.

    `past` is None while it is not drawn yet; `stamp` names it, so that a browser need not load it again.
    """

    span: Range
    height: int
    px: int
    start: int
    end: int
    stamp: str
    past: Paths | None
    live: Paths
    names: Sequence[Session]

    @property
    def ticks(self) -> list[str]:
        """Four times along the axis, evenly spaced; the fifth would be now."""
        length = self.end - self.start
        form = "%H:%M" if length < 2 * 86_400_000 else "%d %b"
        return [utc(self.start + part * length // 4, form) for part in range(4)]


def heat_of(
    name: str,
    height: int,
    now: int,
    past: Paths | None,
    live: Paths,
    stamp: str = "",
    names: Sequence[Session] = (),
) -> Heat:
    """A heatmap of the range `name` that was read at `now` (Unix ms)."""
    span = RANGES[name]
    px = height * ROW_PX if height <= LABELLED else min(max(height * 2, HEAT_PX[0]), HEAT_PX[1])
    return Heat(span, height, px, span.start(now), now, stamp, past, live, names)
