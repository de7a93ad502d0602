"""Retention: deletes what is older than it is to be kept, in slices of some milliseconds, between other writes.

In SQLite it deletes rows, in PostgreSQL it replaces whole months; rows that a live state rests on stay. A pass goes
through the rows in the order of their numbers and looks at each once. An interrupted pass does no harm: the next one
begins anew.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from wawp_exporter.log import names, partitions
from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW, naming_errors
from wawp_exporter.log.tables import action, change, event, heard, lease, run, state, twin

LEASE, LEASE_S = "purge", 3600
ROWS, MOST, LEAST = 500, 2000, 250  # rows of a slice: at first, at most, at least
NAMES = 2000  # names of a slice
SLICE_S = 0.02  # what a slice should take; on a busy machine it may take longer, or a pass would never end
ATTEMPTS = 30  # to get the lock that excludes everybody, over some minutes: the pauses between them grow
# Tables that grow with time, each with its key and the time that makes a row old.
OTHERS: tuple[tuple[sa.Table, sa.Column[int], sa.Column[int]], ...] = (
    (action, action.c.id, action.c.at),
    (run, run.c.id, run.c.seen_at),
    (change, change.c.id, change.c.at),
    (heard, heard.c.session_id, heard.c.stored_at),
)


@dataclass(frozen=True, slots=True)
class Doomed:
    """Rows of one table to be deleted, by their key; no numbers where a slice has found nothing."""

    table: sa.TableClause
    key: sa.ColumnElement[int]
    numbers: Sequence[int] = ()


NOTHING = Doomed(event, event.c.seq)


class LeaseLost(Exception):
    """Another replica purges."""


class Pace:
    """How many rows the next slice has: as many as take about SLICE_S."""

    def __init__(self, rows: int) -> None:
        self.rows, self.most = min(rows, ROWS), rows

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Times a slice, and sizes the next one by it."""
        started = time.perf_counter()
        yield
        took = time.perf_counter() - started
        if took > SLICE_S:
            self.rows = max(min(LEAST, self.most), self.rows // 2)
        elif took < SLICE_S / 2:
            self.rows = min(self.most, self.rows + self.rows // 2 + 1)


class Retention:
    """What keeps a log from growing for ever, and makes room for what is to come. Every method may raise LogError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self, now: int) -> bool:
        """Makes the tables of the months after `now` (Unix ms), which PostgreSQL needs; to be called now and then.

        False: somebody was reading the log, try again.
        """
        if not self._database.shared:
            return True
        with naming_errors("write", self._database.place):
            return partitions.patiently(self._database.writer, lambda writer: partitions.prepare(writer, now))

    def purging(self, before: int, limit: int = MOST) -> "Purge":
        """A pass that deletes events received before `before` (Unix ms), in slices of up to `limit` rows.

        It keeps the events that a live state rests on: the entry into its status, the start of an episode. With a
        shared log the caller has taken LEASE before.
        """
        return Purge(self._database, before, limit)

    def purge_names(self, before: int, after: int = 0, limit: int = NAMES) -> tuple[int, int]:
        """Deletes names without events whose deletion is older than `before` (Unix ms), a slice at a time.

        `after` is the last row id of the slice before, 0 for the first slice. Returns how many names were deleted, and
        the last row id that was looked at, 0 at the end.
        """
        with self._database.writing(ordered=True) as writer:
            if not after:
                self._database.names.ids.clear()  # another replica may have deleted some of these names
            return names.purge(writer, before, after, limit)

    def oldest_event(self) -> int:
        """When the oldest event in the log was received (Unix ms); 0 for an empty log."""
        with self._database.reading() as reader:
            first = sa.select(event.c.received_at).order_by(event.c.seq).limit(1)
            return reader.scalar(first) or 0


class Purge:
    """One pass. `look` may be called from any thread, `take` from the one that writes; one call at a time.

    With PostgreSQL the replica must hold LEASE (each slice extends it), and the pass ends when it does not.
    """

    def __init__(self, database: Database, before: int, limit: int = MOST) -> None:
        self.gone = self.seen = 0  # events deleted, and looked at, so far
        self._database = database
        self._before = before
        self._pace = Pace(limit)
        self._slices = self._months() if database.shared else self._pass()

    def look(self) -> Doomed | None:
        """What the next slice has found to delete; None at the end. With PostgreSQL a slice may have deleted already.

        Raises LogError.
        """
        try:
            return next(self._slices, None)
        except LeaseLost:
            return None

    def take(self, doomed: Doomed) -> None:
        """Deletes these rows, except those that a live state has come to rest on since `look`. Raises LogError."""
        events = "received_at" in doomed.table.c
        spared = sa.not_(self._stays(doomed.table)) if events else sa.true()
        try:
            with self._pace.measured(), self._database.writing() as writer:
                self._hold(writer)
                gone = writer.execute(sa.delete(doomed.table).where(doomed.key.in_(doomed.numbers), spared)).rowcount
        except LeaseLost:
            self._slices.close()
        else:
            self.gone += gone if events else 0

    # -- slices -------------------------------------------------------------------------------------------------

    @contextmanager
    def _slice(self) -> Iterator[sa.Connection]:
        """A transaction of a slice, on a connection of its own."""
        with (
            naming_errors("purge", self._database.place),
            self._database.engine.connect() as connection,
            connection.begin(),
        ):
            self._hold(connection)
            with self._pace.measured():
                yield connection

    def _hold(self, connection: sa.Connection) -> None:
        """Extends the lease. Raises LeaseLost when another replica has it, which happens to one that was frozen."""
        if not self._database.shared:
            return
        mine = sa.and_(lease.c.name == LEASE, lease.c.holder == self._database.holder, lease.c.until > DATABASE_NOW)
        if not connection.execute(sa.update(lease).where(mine).values(until=DATABASE_NOW + LEASE_S * 1000)).rowcount:
            raise LeaseLost

    def _stays(self, rows: sa.FromClause, month: str | None = None) -> sa.ColumnElement[bool]:
        """Whether a row is kept: it was received later, or a live state rests on it."""
        near = [twin(month).alias("near")] if month else []
        return sa.or_(rows.c.received_at >= self._before, rested_on(rows, *near, event.alias("anywhere")))

    def _pass(self) -> Generator[Doomed, None, None]:
        """All of a log in SQLite."""
        yield from self._sweep(event)
        yield from self._others()

    def _sweep(self, table: sa.TableClause) -> Iterator[Doomed]:
        """Row by row, until all rows of a slice are young: rows are numbered as they are received."""
        last, old = 0, True
        columns = sa.select(table.c.seq, table.c.received_at, self._stays(table).label("stays"))
        while old:
            asked = self._pace.rows
            with self._slice() as reader:
                rows = reader.execute(columns.where(table.c.seq > last).order_by(table.c.seq).limit(asked)).all()
            self.seen += len(rows)
            yield Doomed(table, table.c.seq, [row.seq for row in rows if not row.stays])
            last = rows[-1].seq if rows else last
            old = len(rows) == asked and any(row.received_at < self._before for row in rows)

    def _others(self) -> Iterator[Doomed]:
        """Old rows of the other tables."""
        for table, key, at in OTHERS:
            found: Sequence[int] = range(1)
            while found:
                with self._slice() as reader:
                    rows = reader.execute(sa.select(key, at).order_by(key).limit(self._pace.rows)).all()
                found = [number for number, moment in rows if moment < self._before]
                yield Doomed(table, key, found)

    # -- PostgreSQL ---------------------------------------------------------------------------------------------

    def _months(self) -> Generator[Doomed, None, None]:
        """Replaces the months that are over; sweeps what was kept of earlier ones, and the default partition."""
        yield from self._clear()
        with self._slice() as reader:
            months, kept = partitions.attached(reader)
        for name in months:
            if partitions.bounds(name)[1] <= self._before:
                yield from self._shrink(name)
        for name in (*kept, partitions.DEFAULT):
            yield from self._sweep(twin(name))
        for name in kept:
            yield from self._patiently(partial(partitions.remove, name=name))
        yield from self._others()

    def _clear(self) -> Iterator[Doomed]:
        """Drops tables that are no longer part of the log: replaced months, and copies of an interrupted purge."""
        with self._slice() as writer:
            for name in partitions.detached(writer):
                partitions.drop(writer, name)
        yield NOTHING

    def _shrink(self, name: str) -> Iterator[Doomed]:
        """Replaces a month by what is kept of it."""
        with self._slice() as writer:
            partitions.gather(writer, name)
            changed = partitions.newest_change(writer)
        last = gone = 0
        seen = asked = 1
        while seen == asked:
            asked = self._pace.rows
            with self._slice() as writer:
                seen, last, copied = self._keep(writer, name, last, asked)
            gone += seen - copied
            self.seen += seen
            yield NOTHING
        rest = partial(self._rest, name=name, last=last, changed=changed)
        if (yield from self._patiently(lambda writer: partitions.replace(writer, name, rest))):
            self.gone += gone
        yield from self._clear()

    def _keep(self, writer: sa.Connection, name: str, last: int, limit: int) -> tuple[int, int, int]:
        return partitions.keep(writer, name, last, limit, partial(self._stays, month=name))

    def _rest(self, writer: sa.Connection, name: str, last: int, changed: int) -> None:
        """Copies rows that were added to a month, or revised, since its slices were copied."""
        seen = MOST
        while seen == MOST:
            seen, last, _ = self._keep(writer, name, last, MOST)
        partitions.keep_changed(writer, name, changed, partial(self._stays, month=name))

    def _patiently(self, work: Callable[[sa.Connection], object]) -> Generator[Doomed, None, bool]:
        """Does work that needs the lock that excludes everybody, as soon as it is free; returns whether it was."""

        def held(writer: sa.Connection) -> None:
            self._hold(writer)
            work(writer)

        for attempt in range(1, ATTEMPTS):
            with naming_errors("purge", self._database.place), self._database.engine.connect() as writer:
                if partitions.patiently(writer, held):
                    return True
            for _ in range(10 * attempt):
                yield NOTHING
        return False


def rested_on(rows: sa.FromClause, *logs: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a live state rests on a row: it is not older than `oldest` of the state, or it is the last row before.

    That last row is kept because a status also depends on the status before it. Rows are compared by their time as
    sent, which is indexed; it is never before `at`, so no row is deleted too early. A later row is looked for in each
    of `logs` in turn; the last of them must hold all rows.
    """
    later = [
        sa.select(log.c.key_at)
        .where(log.c.session_id == rows.c.session_id, log.c.key_at > rows.c.key_at, log.c.key_at < state.c.oldest)
        .limit(1)
        .correlate(rows, state)
        .scalar_subquery()
        for log in logs
    ]
    rests = sa.or_(rows.c.key_at >= state.c.oldest, sa.and_(*(each.is_(None) for each in later)))
    # A value, not EXISTS: else PostgreSQL may read all of the states for a slice.
    mine = sa.select(rests).where(state.c.session_id == rows.c.session_id).correlate(rows).scalar_subquery()
    return sa.func.coalesce(mine, sa.false())
