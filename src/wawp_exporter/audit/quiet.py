"""Which sessions are quieter than their habit, from the hourly counts of messages in the log."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import Place
from wawp_exporter.log.runs import PAUSE_MS
from wawp_exporter.model.hours import HOUR_S, hour_of
from wawp_exporter.model.quiet import HABITS, WEEK, is_quiet, missed, received
from wawp_exporter.model.rules import Key

LEAST = 3  # sessions of a source that are one outage when all of it is silent
HUSHED = 10  # messages of a source in the same hour of each of the last weeks: none of them is no accident


class Candidate(NamedTuple):
    """A session that is WORKING and has received nothing since `since` (Unix ms); `limit` is its `thresholds.quiet`."""

    since: int
    limit: float


class Wall:
    """Hours by the clock on the wall of one time zone, numbered."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._known: dict[int, int] = {}

    def hour(self, begin: int) -> int:
        """The number of the hour that begins at `begin` (Unix seconds)."""
        number = self._known.get(begin)
        if number is None:
            offset = datetime.fromtimestamp(begin, self._zone).utcoffset()
            number = self._known[begin] = (begin + round(offset.total_seconds() if offset else 0)) // HOUR_S
        return number

    def at(self, moment: int) -> int:
        """The number of the hour in which an instant (Unix ms) lies."""
        return self.hour(hour_of(moment, self._zone))


def quiet_sessions(place: Place, candidates: Mapping[Key, Candidate], now: int, timezone: str) -> dict[Key, int]:
    """Since when (Unix ms) those of the candidates are silent that are too quiet at `now`. Raises LogError."""
    with History(place) as history:
        return Look(history, Wall(ZoneInfo(timezone)), now).quiet(candidates)


class Look:
    """One look at the habits of all sessions."""

    def __init__(self, history: History, wall: Wall, now: int) -> None:
        self._history = history
        self._wall = wall
        self._now = now
        self._end = wall.at(now)
        self._start = now - HABITS.memory * WEEK * HOUR_S * 1000
        self._pauses = self._paused()
        self._covered_since = max((end for _, end in self._pauses), default=0)
        self._paused_hours = {hour for begin, end in self._pauses for hour in self._span(begin, end)}
        self._totals: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._all: Counter[int] = Counter()
        for source, hour, count in history.received_by_source(self._start // 1000):
            self._totals[source][wall.hour(hour)] += count
            self._all[wall.hour(hour)] += count

    def _paused(self) -> list[tuple[int, int]]:
        """When the exporter did not run, as far as that matters; before its first run too."""
        edges = [self._start, *(at for span in self._history.runs(self._start, self._now) for at in span), self._now]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(begin, end) for begin, end in pairs if end - begin > PAUSE_MS and end < self._now]

    def _span(self, begin: int, end: int) -> range:
        return range(self._wall.at(begin), self._wall.at(end) + 1)

    def quiet(self, candidates: Mapping[Key, Candidate]) -> dict[Key, int]:
        """As `quiet_sessions`."""
        waiting = {key: each._replace(since=max(each.since, self._covered_since)) for key, each in candidates.items()}
        waiting = {key: each for key, each in waiting.items() if self._hours(each.since) and each.limit > 0}
        silent = self._silent_sources(waiting)
        likely = {key for key in self._likely(waiting) if key[0] not in silent}
        habits = self._counts([*likely, *(key for key in waiting if key[0] in silent)])
        excused = self._excused(likely)
        found = {key: waiting[key].since for key in likely if self._judge(key, waiting[key], habits[key], excused[key])}
        for key, counts in habits.items():
            if key[0] in silent and missed(counts, {}, self._hours(waiting[key].since)) >= 1:
                found[key] = max(silent[key[0]], waiting[key].since)
        return found

    def _hours(self, since: int) -> range:
        """The whole clock hours since then."""
        return range(self._wall.at(since) + 1, self._end)

    def _silent_sources(self, waiting: Mapping[Key, Candidate]) -> dict[str, int]:
        """The sources none of whose sessions receives anything, though all together should; and since when."""
        by_source: dict[str, list[Candidate]] = {}
        for (source, _), each in waiting.items():
            by_source.setdefault(source, []).append(each)
        found = {}
        for source, several in by_source.items():
            totals = self._totals[source]
            last = max((hour for hour, count in totals.items() if count), default=self._end)
            hours = range(max(last, self._wall.at(self._covered_since)) + 1, self._end)
            limit = min(each.limit for each in several)
            if len(several) >= LEAST and is_quiet(totals, self._all - totals, hours, limit, self._paused_hours):
                # What those of a silent source have in common is the same instant: it is one outage.
                before = [each.since for each in several if self._wall.at(each.since) <= hours.start]
                found[source] = max(before, default=self._covered_since)
        return found

    def _likely(self, waiting: Mapping[Key, Candidate]) -> list[Key]:
        """Those whose same hours a week ago brought enough: of all others the history need not be read."""
        if not waiting:
            return []
        first = min(each.since for each in waiting.values()) // 1000 - (WEEK + 2) * HOUR_S
        counts = self._counts(waiting, first, self._now // 1000 - (WEEK - 2) * HOUR_S)
        likely = []
        for key, each in waiting.items():
            hours = self._hours(each.since)
            if received(counts[key], range(hours.start - WEEK, hours.stop - WEEK)) >= each.limit:
                likely.append(key)
        return likely

    def _counts(self, keys: Iterable[Key], start: int = 0, end: int = 0) -> dict[Key, dict[int, int]]:
        """What each session received, by hour."""
        found: dict[Key, dict[int, int]] = {key: {} for key in keys}
        start, end = max(start, self._start // 1000), end or self._now // 1000
        for key, hour, count in self._history.received(found, start, end):
            number = self._wall.hour(hour)
            found[key][number] = found[key].get(number, 0) + count
        return found

    def _excused(self, keys: Iterable[Key]) -> dict[Key, set[int]]:
        """The hours in which something else was wrong."""
        found = {key: set(self._paused_hours) for key in keys}
        for key, at in self._history.absences(found, self._start):
            found[key].add(self._wall.at(at))
        return found

    def _hushed(self, others: Counter[int]) -> set[int]:
        """The hours in which nothing came from the rest of a source, though it should: its feed was broken."""
        return {
            hour
            for hour in range(min(others, default=self._end), self._end)
            if not others[hour] and min(others[hour - WEEK * week] for week in range(1, HABITS.weeks + 1)) >= HUSHED
        }

    def _judge(self, key: Key, each: Candidate, own: Mapping[int, int], excused: set[int]) -> bool:
        totals = self._totals[key[0]]
        beside = totals - Counter(own)
        last = max((hour for hour in own if hour < self._end), default=0)
        hours = range(max(self._hours(each.since).start, last + 1), self._end)
        # What was sent while the feed of the source was broken is not known. It works since something has come again.
        hushed = self._hushed(beside)
        heard = max((hour for hour in hours if beside[hour]), default=0)
        broken = max((hour for hour in hours if hour < heard and hour in hushed), default=0)
        silence = range(max(hours.start, broken + 1), hours.stop)
        # A session that is alone in its source is compared with the other sources.
        return is_quiet(own, beside or self._all - totals, silence, each.limit, excused | hushed)
