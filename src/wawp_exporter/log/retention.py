"""Retention: one pass over a log, in slices of some milliseconds, that deletes what is older than it is to be kept.

From SQLite rows are deleted, from PostgreSQL whole months; what a live state rests on stays. A pass goes through the
rows in the order of their numbers and looks at each once. One that is cut off does no harm: the next begins anew.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from wawp_exporter.log import partitions
from wawp_exporter.log.place import DATABASE_NOW, Place, naming_errors
from wawp_exporter.log.tables import action, change, event, heard, lease, run, state, twin

LEASE, LEASE_S = "purge", 3600
ROWS, MOST, LEAST = 500, 2000, 250  # rows of a slice: at first, and within which bounds
SLICE_S = 0.02  # what a slice should take; on a busy machine it may take longer, or a pass would never end
ATTEMPTS = 30  # to get the lock that excludes everybody, over some minutes: between two of them there is ever more time
# Tables that grow with time, each with its key and the time that makes a row old.
OTHERS: tuple[tuple[sa.Table, sa.Column[int], sa.Column[int]], ...] = (
    (action, action.c.id, action.c.at),
    (run, run.c.id, run.c.seen_at),
    (change, change.c.id, change.c.at),
    (heard, heard.c.session_id, heard.c.stored_at),
)


@dataclass(frozen=True, slots=True)
class Doomed:
    """Rows of one table that may go, by their key; none where a slice has found nothing."""

    table: sa.TableClause
    key: sa.ColumnElement[int]
    numbers: Sequence[int] = ()


class LeaseLost(Exception):
    """Another replica purges."""


class Pace:
    """How many rows a slice has: so many that it takes SLICE_S."""

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


class Purge:
    """One pass. `look` may be called from any thread, `take` from the one that writes; one call at a time.

    `before` is in Unix ms, `writing` opens a transaction of the log's writer, `holder` is the replica that has the
    lease, None with SQLite, which has one process.
    """

    def __init__(
        self,
        engine: sa.Engine,
        place: Place,
        writing: Callable[[], AbstractContextManager[sa.Connection]],
        before: int,
        holder: str | None,
        limit: int = MOST,
    ) -> None:
        self.gone = 0  # events
        self._engine, self._place, self._writing = engine, place, writing
        self._before = before
        self._holder = holder
        self._pace = Pace(limit)
        self._slices = self._pass() if holder is None else self._months()

    def look(self) -> Doomed | None:
        """What the next slice finds to delete (with PostgreSQL it may have done much already); None at the end.

        Raises LogError.
        """
        try:
            return next(self._slices, None)
        except LeaseLost:
            return None

    def take(self, doomed: Doomed) -> None:
        """Deletes it, but for what a live state has come to rest on meanwhile. Raises LogError."""
        events = "received_at" in doomed.table.c
        spared = sa.not_(self._stays(doomed.table)) if events else sa.true()
        try:
            with self._pace.measured(), self._writing() as writer:
                self._hold(writer)
                gone = writer.execute(sa.delete(doomed.table).where(doomed.key.in_(doomed.numbers), spared)).rowcount
        except LeaseLost:
            self._slices.close()
        else:
            self.gone += gone if events else 0

    # -- slices -------------------------------------------------------------------------------------------------

    @contextmanager
    def _slice(self) -> Iterator[sa.Connection]:
        """A transaction of a slice."""
        with naming_errors("purge", self._place), self._engine.connect() as connection, connection.begin():
            self._hold(connection)
            with self._pace.measured():
                yield connection

    def _hold(self, connection: sa.Connection) -> None:
        """Keeps the lease; what another replica has taken over is not done here, not even by one that was frozen."""
        if self._holder is None:
            return
        mine = sa.and_(lease.c.name == LEASE, lease.c.holder == self._holder, lease.c.until > DATABASE_NOW)
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
        """Row by row, until a whole slice is young: rows are numbered as they are received."""
        last, old = 0, True
        columns = sa.select(table.c.seq, table.c.received_at, self._stays(table).label("stays"))
        while old:
            asked = self._pace.rows
            with self._slice() as reader:
                rows = reader.execute(columns.where(table.c.seq > last).order_by(table.c.seq).limit(asked)).all()
            yield Doomed(table, table.c.seq, [row.seq for row in rows if not row.stays])
            last = rows[-1].seq if rows else last
            old = len(rows) == asked and any(row.received_at < self._before for row in rows)

    def _others(self) -> Iterator[Doomed]:
        """What else is older."""
        for table, key, at in OTHERS:
            found: Sequence[int] = range(1)
            while found:
                with self._slice() as reader:
                    rows = reader.execute(sa.select(key, at).order_by(key).limit(self._pace.rows)).all()
                found = [number for number, moment in rows if moment < self._before]
                yield Doomed(table, key, found)

    # -- PostgreSQL ---------------------------------------------------------------------------------------------

    def _months(self) -> Generator[Doomed, None, None]:
        """Months that are over are replaced; what was kept of earlier ones, and the default partition, is swept."""
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
        """Drops what lies beside the log: a month that was replaced, or what a purge that was cut off has copied."""
        with self._slice() as writer:
            for name in partitions.detached(writer):
                partitions.drop(writer, name)
        yield NOTHING

    def _shrink(self, name: str) -> Iterator[Doomed]:
        """Puts what is kept of a month in its place."""
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
            yield NOTHING
        rest = partial(self._rest, name=name, last=last, changed=changed)
        if (yield from self._patiently(lambda writer: partitions.replace(writer, name, rest))):
            self.gone += gone
        yield from self._clear()

    def _keep(self, writer: sa.Connection, name: str, last: int, limit: int) -> tuple[int, int, int]:
        return partitions.keep(writer, name, last, limit, partial(self._stays, month=name))

    def _rest(self, writer: sa.Connection, name: str, last: int, changed: int) -> None:
        """Copies what has come to a month, or has changed, since it was gone through."""
        seen = MOST
        while seen == MOST:
            seen, last, _ = self._keep(writer, name, last, MOST)
        partitions.keep_changed(writer, name, changed, partial(self._stays, month=name))

    def _patiently(self, work: Callable[[sa.Connection], object]) -> Generator[Doomed, None, bool]:
        """Does what needs the lock that excludes everybody, as soon as it is free; whether it was."""

        def held(writer: sa.Connection) -> None:
            self._hold(writer)
            work(writer)

        for attempt in range(1, ATTEMPTS):
            with naming_errors("purge", self._place), self._engine.connect() as writer:
                if partitions.patiently(writer, held):
                    return True
            for _ in range(10 * attempt):
                yield NOTHING
        return False


NOTHING = Doomed(event, event.c.seq)


def rested_on(rows: sa.FromClause, *logs: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a live state rests on a row: it is not older than `oldest`, or the last one before that.

    What it came from decides what it is. By the time as sent, which is the one that is indexed: it is never before
    `at`, so nothing too much is let go. A later row is looked for in each of `logs` in turn, the last of which has all.
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
    # A value, not EXISTS: PostgreSQL would be free to read all of the states for a slice.
    mine = sa.select(rests).where(state.c.session_id == rows.c.session_id).correlate(rows).scalar_subquery()
    return sa.func.coalesce(mine, sa.false())
