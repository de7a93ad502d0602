"""Sessions with a habit: a log with the message counts of five weeks, as though the exporter had run for so long."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from tests import parts

HOUR_S = 3600
HOURS = 5 * 168
RATE = 30  # messages an hour


@dataclass(frozen=True)
class Habit:
    """What is unusual about a session's last hours: `silent` ones without a message, `holiday` ones with a tenth."""

    silent: int = 0
    holiday: int = 0

    def counts(self, hour: int) -> Iterator[tuple[int, int]]:
        """The clock hours (Unix seconds) and how many messages came in each, `hour` being the present one."""
        for ago in range(self.silent, HOURS):
            yield hour - ago * HOUR_S, RATE // 10 if ago < self.holiday else RATE


def take_up(exporter: parts.Exporter, habits: Mapping[tuple[str, str], Habit]) -> None:
    """Restarts the exporter with these WORKING sessions (source, name)."""
    now = parts.now_ms()
    for source, name in habits:
        body = parts.envelope(session=name, status="WORKING", timestamp=now - 48 * HOUR_S * 1000)
        exporter.post(body, source=source).raise_for_status()
    exporter.stop()
    with closing(sqlite3.connect(exporter.directory / "wawp.db")) as log:
        for key, habit in habits.items():
            ((row,),) = log.execute("SELECT id FROM session WHERE source = ? AND name = ?", key).fetchall()
            counts = habit.counts(now // 1000 // HOUR_S * HOUR_S)
            log.executemany("INSERT INTO activity VALUES (?, ?, ?, 0)", [(row, *count) for count in counts])
            last = now - habit.silent * HOUR_S * 1000
            log.execute("INSERT INTO traffic VALUES (?, 900, 0, ?, 0, 0, ?)", (row, last, now))
        begun = now - (HOURS + 24) * HOUR_S * 1000
        log.execute("INSERT INTO run (started_at, seen_at) VALUES (?, ?)", (begun, now))
        log.commit()
    exporter.start()
