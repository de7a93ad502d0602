"""The connections and transactions of an open log, and what its parts share: the end of the log, names, statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from wawp_exporter.errors import LogError
from wawp_exporter.log.names import Names
from wawp_exporter.log.place import APPENDING, Place, make_engine, migrate, naming_errors, take_lock
from wawp_exporter.log.statements import Statements
from wawp_exporter.log.tables import change, event
from wawp_exporter.model.shard import Shard

CHANNEL = "wawp_log"  # PostgreSQL's notifications that something was appended
File = tuple[int, int]  # which one it is: its device, and its number there


class Mark(NamedTuple):
    """A place in the order of the log: the newest row of `event`, and the newest of `change`."""

    seq: int = 0
    change: int = 0


def file_at(path: str) -> File:
    """Which file a path leads to. Raises OSError."""
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def files_of(place: Place) -> dict[str, File]:
    """The files that SQLite writes to, by path; none for PostgreSQL."""
    if isinstance(place, str):
        return {}
    paths = (str(place), f"{place.resolve()}-wal")  # a link leads to both
    return {path: file_at(path) for path in paths if Path(path).exists()}


class Database:
    """An open database of a log. Raises LogError for any error of the database.

    One connection, `writer`, writes; `writing` is called from one thread at a time. `reading` and `connect` may be
    called from any thread. `shared` is True for PostgreSQL, where several replicas (each with a `holder` id of its own)
    write side by side. `end` is where the log ended after this process last wrote to it. A reload may replace `shard`.
    """

    def __init__(self, place: Place, shard: Shard) -> None:
        self.place = place
        self.shared = isinstance(place, str)
        self.shard = shard
        self.holder = uuid4().hex
        self.end = Mark()
        self.statements = Statements("postgresql" if self.shared else "sqlite")
        self.names = Names(self.statements, shard.total)
        self._lock = take_lock(place) if isinstance(place, Path) else None
        try:
            self._open()
        except BaseException:
            if self._lock:
                self._lock.close()
            raise

    def _open(self) -> None:
        self.engine = make_engine(self.place)
        self._files: dict[str, File] = {}
        self._replaced = False  # whether another file was found in the place of one of `_files`
        with naming_errors("open", self.place):
            self.writer = self.engine.connect().execution_options(writes=True)
            try:
                migrate(self.writer, self.place)
                self.end = self.newest_mark(self.writer)
                self.writer.rollback()
                self._files = files_of(self.place)
            except BaseException:
                self.writer.close()  # a transaction that was refused would hold the others' lock
                self.engine.dispose()
                raise

    @contextmanager
    def writing(self, *, ordered: bool = False, single: bool = False) -> Iterator[sa.Connection]:
        """A transaction of the writer. With `ordered` the replicas commit one after another, in order of `seq`.

        PostgreSQL gives out row numbers before the commit. Without the lock a row could appear after a follower has
        read a higher number, and would never be followed. With `single` each statement is a transaction of its own,
        which saves BEGIN and COMMIT: with PostgreSQL their round trips, with SQLite two waits for the interpreter.
        """
        with naming_errors("write", self.place):
            if self._replaced or not single:
                self._check_files()
            with self._alone() if single else self.writer.begin():
                if ordered:
                    self.hold_appends(self.writer)
                yield self.writer

    def _check_files(self) -> None:
        """SQLite would go on writing to a file that was removed, and the next start would find nothing of it.

        Not before each event: to ask the system takes the writer as long as to append one. States are saved, and with
        them this is noticed, every few seconds; from then on each write asks.
        """
        self._replaced = True
        for path, file in self._files.items():
            if file_at(path) != file:
                raise LogError(f"cannot write the event log {path}: another file is in its place, restart to use that")
        self._replaced = False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Each statement commits by itself. SQLite's do so wherever SQLAlchemy has begun nothing."""
        if not self.shared:
            yield
            return
        with self.writer.begin():
            raw: Any = self.writer.connection.driver_connection
            raw.autocommit = True
            try:
                yield
            finally:
                if not raw.closed:
                    raw.autocommit = False

    def hold_appends(self, writer: sa.Connection) -> None:
        """Makes appends of other replicas wait until this transaction ends."""
        if self.shared:
            writer.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))

    def announce(self, writer: sa.Connection) -> None:
        """Wakes the followers of the log when the transaction commits."""
        if self.shared:
            writer.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the log throughout."""
        with naming_errors("read", self.place), self.engine.connect() as reader:
            if self.shared:
                reader = reader.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same one
            yield reader

    def newest_mark(self, reader: sa.Connection) -> Mark:
        """Where the log ends."""
        seq, number = reader.execute(
            sa.select(
                sa.select(sa.func.max(event.c.seq)).scalar_subquery(),
                sa.select(sa.func.max(change.c.id)).scalar_subquery(),
            )
        ).one()
        # Retention may have deleted the newest row; its number is never given out again.
        return Mark(max(seq or 0, self.end.seq), max(number or 0, self.end.change))

    def close(self) -> None:
        """Closes all connections, and lets other processes open the log."""
        self.writer.close()
        self.engine.dispose()
        if self._lock:
            self._lock.close()
