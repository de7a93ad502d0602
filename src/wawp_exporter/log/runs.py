"""Runs: when the exporter was running, so that an audit knows what Prometheus can have seen."""

import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.tables import run

PAUSE_MS = 60_000  # without a sign that the exporter ran: what came in a longer pause is not known


class Runs:
    """The table of runs; this process has one row in it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run: int | None = None

    def beat(self, now: int) -> None:
        """Writes that this process runs at `now` (Unix ms), and has since the first call. Raises LogError."""
        with self._database.writing() as writer:
            if self._run is None:
                row = sa.insert(run).values(started_at=now, seen_at=now)
                self._run = writer.execute(row).inserted_primary_key[0]  # type: ignore[index]  # it has a key
            else:
                writer.execute(sa.update(run).where(run.c.id == self._run).values(seen_at=now))

    def begins(self, now: int) -> list[int]:
        """When exporters began to run on this log after a pause, up to `now` (Unix ms), oldest first. Raises LogError.

        The first one is no end of a pause.
        """
        spans = sa.select(run.c.started_at, run.c.seen_at).order_by(run.c.started_at)
        with self._database.reading() as reader:
            rows = [(row.started_at, row.seen_at) for row in reader.execute(spans)]
        begins, last = list[int](), 0
        for started, seen in [*rows, (now, now)]:
            if started - last > PAUSE_MS:
                begins.append(started)
            last = max(last, seen)
        return begins

    def last_seen(self) -> int:
        """When any exporter last ran on this log (Unix ms); 0 for never. Raises LogError."""
        with self._database.reading() as reader:
            return reader.scalar(sa.select(sa.func.max(run.c.seen_at))) or 0
