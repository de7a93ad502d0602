"""Disconnects by hour of the week, and those that recur."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from wawp_exporter.audit.figures import inside
from wawp_exporter.config.schema import Config
from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import Place
from wawp_exporter.model.rules import Key, Rules

WEEKS = 8
WEEK = timedelta(days=7)
ENOUGH_WEEKS = 3  # in fewer weeks of the last 8 a disconnect is no pattern


class Recurring(msgspec.Struct, frozen=True):
    """A session that disconnected in the same hour of the week in `weeks` of the last 8; Monday is 0."""

    source: str
    session: str
    weekday: int
    hour: int
    weeks: int


def hour_of_week(moments: Iterable[int], zone: ZoneInfo) -> list[list[int]]:
    """How many of these instants (Unix ms) lie in each hour of the week, by the clock on the wall."""
    counts = [[0] * 24 for _ in range(7)]
    for moment in moments:
        local = datetime.fromtimestamp(moment / 1000, zone)
        counts[local.weekday()][local.hour] += 1
    return counts


def recurring(disconnects: Iterable[tuple[Key, int]], zone: ZoneInfo) -> dict[Key, dict[tuple[int, int], int]]:
    """The hours of the week in which a session disconnected on 3 dates or more, with how many dates."""
    dates: dict[tuple[Key, int, int], set[int]] = {}
    for key, moment in disconnects:
        local = datetime.fromtimestamp(moment / 1000, zone)
        dates.setdefault((key, local.weekday(), local.hour), set()).add(local.toordinal())
    found: dict[Key, dict[tuple[int, int], int]] = {}
    for (key, weekday, hour), days in dates.items():
        if len(days) >= ENOUGH_WEEKS:
            found.setdefault(key, {})[weekday, hour] = len(days)
    return found


def eight_weeks(end: int, zone: ZoneInfo) -> int:
    """The instant 8 weeks before `end` (Unix ms) by the clock on the wall: each hour of the week lies in it 8 times."""
    local = datetime.fromtimestamp(end / 1000, zone)
    return round((local.replace(tzinfo=None) - WEEKS * WEEK).replace(tzinfo=zone).timestamp() * 1000)


def patterns(place: Place, config: Config, now: int) -> dict[Key, dict[tuple[int, int], int]]:
    """Every session's recurring disconnects in the 8 weeks before `now` (Unix ms), in the configured time zone."""
    zone = ZoneInfo(config.timezone)
    rules = Rules(config)
    with History(place) as history:
        return recurring(excused(history.disconnects(eight_weeks(now, zone), now), rules), zone)


def excused(disconnects: Iterable[tuple[Key, int]], rules: Rules) -> Iterator[tuple[Key, int]]:
    """Leaves out those that happened in maintenance."""
    for key, moment in disconnects:
        if not inside(moment, rules.meta(*key).windows):
            yield key, moment
