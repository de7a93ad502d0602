"""The axis of a heatmap: ticks at round times of a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from wawp_exporter import times

# How far ticks are apart; every second one is left out on a phone. `heat.js` has the same.
STEPS = {
    "1h": timedelta(minutes=10),
    "24h": timedelta(hours=3),
    "7d": timedelta(days=1),
    "30d": timedelta(days=1),  # of which it takes FIFTHS
}
FIFTHS = frozenset({1, 6, 11, 16, 21, 26})  # days of a month
LAST = 92.0  # percent: further to the right stands "now"


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark at `x` percent of the axis; a `minor` one is not for phones."""

    x: float
    words: str
    minor: bool


def ticks(name: str, start: int, end: int, zone: str) -> list[Tick]:
    """Those between two instants (Unix ms)."""
    found = []
    for moment in moments(name, start, zone):
        x = 100 * (moment.timestamp() * 1000 - start) / (end - start)
        if x > LAST:
            break
        if x >= 0:
            by_day = name in ("7d", "30d") or (moment.hour == 0 and moment.minute == 0)
            found.append((x, moment.strftime("%d %b" if by_day else "%H:%M")))
    return [Tick(round(x, 2), words, number % 2 == 1) for number, (x, words) in enumerate(found)]


def moments(name: str, start: int, zone: str) -> Iterator[datetime]:
    """Round times from midnight before `start` (Unix ms) on, without an end."""
    # Wall-clock arithmetic: a day is one on the clock, also where the clock is changed.
    moment = times.utc(start).astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        if name != "30d" or moment.day in FIFTHS:
            yield moment
        moment += STEPS[name]
