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

    def since(self, now: int) -> int:
        """Since when exporters have run on this log without a pause, up to `now` (Unix ms). Raises LogError."""
        begin = now
        spans = sa.select(run.c.started_at, run.c.seen_at).order_by(run.c.seen_at.desc())
        with self._database.reading() as reader:
            for started, seen in reader.execute(spans):
                if begin - seen > PAUSE_MS:
                    break
                begin = min(begin, started)
        return begin

    def last_seen(self) -> int:
        """When any exporter last ran on this log (Unix ms); 0 for never. Raises LogError."""
        with self._database.reading() as reader:
            return reader.scalar(sa.select(sa.func.max(run.c.seen_at))) or 0
