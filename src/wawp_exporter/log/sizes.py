"""Sizes: how much disk the log takes, and how much is left."""

import shutil
from pathlib import Path

import sqlalchemy as sa

from wawp_exporter.log.database import Database


class Sizes:
    """Looked up at each call. With SQLite that is cheap; with PostgreSQL `log_bytes` asks the server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._place = database.place

    def log_bytes(self) -> int:
        """The bytes that the log takes on disk, its write-ahead log included. Raises LogError, OSError."""
        if isinstance(self._place, str):
            with self._database.reading() as reader:
                return reader.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database()))) or 0
        ahead = self._place.with_name(self._place.name + "-wal")
        return self._place.stat().st_size + (ahead.stat().st_size if ahead.exists() else 0)

    def free_bytes(self) -> int | None:
        """The bytes that are free on the file system of the log; None with PostgreSQL, which does not say."""
        return shutil.disk_usage(self._place.parent).free if isinstance(self._place, Path) else None

    def disk_bytes(self) -> int | None:
        """The bytes of that file system in total; None with PostgreSQL."""
        return shutil.disk_usage(self._place.parent).total if isinstance(self._place, Path) else None
