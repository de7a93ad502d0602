"""A month of 1,000 sessions with messages, on a real log: which were silent, by the exporter's own hourly look.

    python -m bench.quiet_month [--sources 50] [--seed 1]

Each source has 20 sessions and one of the traffics of bench.quiet. After five weeks a month is judged hour by hour:
each look reads the counts from SQLite. Some sessions die though they say WORKING, and two sources as a whole for a day.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from bench.quiet import JUDGED, KINDS, WARM, counts_of
from wawp_exporter.audit.quiet import Candidate, quiet_sessions
from wawp_exporter.log.log import Log
from wawp_exporter.log.tables import activity, run, session
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.quiet import WEEK
from wawp_exporter.model.rules import Key

HOUR_S = 3600
BEGIN = 1_796_601_600 - (WARM + JUDGED) * HOUR_S  # a Monday, so that office hours are those of working days
SESSIONS = 20  # of each source
DEAD = 0.03  # of the sessions, in the first three weeks of the month
DEAF = 2  # sources that receive nothing for a day
LIMIT = 50
TRAFFICS = [each for each in KINDS if each.sessions == SESSIONS]


class Month:
    """What each session receives, hour by hour, and which are dead from when until when."""

    def __init__(self, seed: int, sources: int) -> None:
        rng = random.Random(seed)
        self.hours = range(WARM, WARM + JUDGED)
        self.dead: dict[Key, range] = {}
        self.counts: dict[Key, dict[int, int]] = {}
        for number in range(sources):
            traffic = TRAFFICS[number % len(TRAFFICS)]
            shares = [traffic.share(hour) for hour in range(self.hours.stop)]
            keys = [(f"source-{number:02d}", f"s{index}") for index in range(SESSIONS)]
            deaf = number >= sources - DEAF
            day = rng.randrange(self.hours.start + WEEK, self.hours.stop - WEEK)
            for key in keys:
                self.counts[key] = counts_of(traffic, rng, shares)
                if deaf:
                    self.dead[key] = range(day, day + 24)
                elif rng.random() < DEAD:
                    self.dead[key] = range(rng.randrange(self.hours.start, self.hours.stop - WEEK), self.hours.stop)

    def received(self, key: Key, hour: int) -> int:
        """What came in an hour."""
        return 0 if hour in self.dead.get(key, ()) else self.counts[key].get(hour, 0)


class Played:
    """A log that a month is written to, hour by hour."""

    def __init__(self, month: Month, path: Path) -> None:
        self.month, self.path = month, path
        self.log = Log(path)
        self.last = dict.fromkeys(month.counts, 0)  # Unix ms
        at = BEGIN * 1000
        for keys in batches(list(month.counts)):
            self.log.append([StatusEvent(*key, (Point("WORKING", at, 0, at),), at) for key in keys])
        with self.log.database.writing() as writer:
            rows = writer.execute(sa.select(session.c.source, session.c.name, session.c.id))
            self.ids = {(source, name): number for source, name, number in rows}
            writer.execute(sa.insert(run).values(started_at=at, seen_at=at))

    def write(self, hours: range) -> None:
        """What came in these hours."""
        rows = []
        for key, number in self.ids.items():
            for hour in hours:
                count = self.month.received(key, hour)
                if count:
                    rows.append((number, BEGIN + hour * HOUR_S, count, 0))
                    self.last[key] = (BEGIN + hour * HOUR_S + HOUR_S // 2) * 1000
        with self.log.database.writing() as writer:
            if rows:
                names = [column.name for column in activity.columns]
                writer.execute(sa.insert(activity), [dict(zip(names, row, strict=True)) for row in rows])
            writer.execute(sa.update(run).values(seen_at=(BEGIN + hours.stop * HOUR_S) * 1000))

    def quiet(self, hour: int) -> Mapping[Key, int]:
        """Those that are too quiet when this hour begins."""
        now = (BEGIN + hour * HOUR_S + 20) * 1000
        silent = {key: Candidate(at, LIMIT) for key, at in self.last.items() if at and at < now - 2 * HOUR_S * 1000}
        return quiet_sessions(self.path, silent, now, "UTC")


def batches(keys: list[Key]) -> Iterator[list[Key]]:
    """Some at once."""
    yield from (keys[first : first + 500] for first in range(0, len(keys), 500))


def judge(month: Month, played: Played) -> tuple[int, dict[Key, int]]:
    """False alerts, and after how many hours those of dead sessions were noticed."""
    false, found, silent = 0, dict[Key, int](), set[Key]()
    played.write(range(WARM))
    for hour in month.hours:
        played.write(range(hour, hour + 1))
        silent = {key for key in silent if not month.received(key, hour)}
        for key in played.quiet(hour + 1).keys() - silent:
            silent.add(key)
            if hour in month.dead.get(key, ()):
                found.setdefault(key, hour + 1 - month.dead[key].start)
            else:
                false += 1
    return false, found


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    month = Month(given.seed, given.sources)
    with tempfile.TemporaryDirectory() as folder:
        played = Played(month, Path(folder) / "wawp.db")
        with closing(played.log):
            false, found = judge(month, played)
    missed = len(month.dead) - len(found)
    tenths = statistics.quantiles(found.values(), n=10)
    print(f"{len(month.counts):,} sessions, {len(month.dead)} of them dead at some time: {false} false alerts,")
    print(f"{missed} not noticed, half of the others within {tenths[4]:.0f} h, 9 of 10 within {tenths[8]:.0f} h")


if __name__ == "__main__":
    main()
