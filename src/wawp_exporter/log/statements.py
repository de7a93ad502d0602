"""The statements that write batches of rows, for either database."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from wawp_exporter.log.tables import (
    activity,
    event,
    heard,
    judge,
    judged,
    pending,
    postgresql,
    rows_of,
    session,
    state,
    timeless,
    traffic,
)
from wawp_exporter.log.versions import former

Row = tuple[int | str | None, ...]
# For each row its number in the log: 0 where the log (or an earlier row) had its point already; the negative number of
# the log's row where that row was revised.
Numbers = Sequence[int]

AT_ONCE = 128  # most rows of a statement; the text for each count of rows is kept
EVENT_COLUMNS = (
    *("session_id", "status", "at", "tie", "key_at", "received_at", "event_id", "engine"),
    *("limits", "origin", "reason"),
)
USUAL = 8  # the first columns: few events have one of the others, and binding None is slow


class Statements:
    """Statements whose text differs between the two databases; `dialect` is SQLAlchemy's name for one."""

    def __init__(self, dialect: str) -> None:
        self.shared = dialect == "postgresql"
        self.insert: Any = postgresql().insert if self.shared else sqlite.insert
        self._texts: dict[tuple[bool, int, int], str] = {}
        self.known_sessions = self._known_sessions()
        names = ("source", "name", "standing")
        self.insert_sessions = self._insert_rows(session, names).on_conflict_do_nothing()
        upsert = self._insert_rows(state, ("session_id", "oldest", "memory", "seq"))
        self.upsert_state = upsert.on_conflict_do_update(
            index_elements=["session_id"],
            set_={name: upsert.excluded[name] for name in ("oldest", "memory", "seq")},
            # Another replica may have saved a newer state.
            where=upsert.excluded.seq >= state.c.seq,
        )
        upsert = self._insert_rows(heard, ("session_id", "at", "stored_at"))
        self.upsert_heard = upsert.on_conflict_do_update(
            index_elements=["session_id"],
            set_={"at": upsert.excluded.at, "stored_at": upsert.excluded.stored_at},
            where=upsert.excluded.at > heard.c.at,
        )
        self.add_activity = self._add_rows(activity, sums=("received", "sent"))
        newest = ("received_at", "sent_at", "acked_at", "stored_at")
        self.add_traffic = self._add_rows(traffic, sums=("received", "sent"), newest=newest)
        self.insert_pending = self._insert_rows(pending, [column.name for column in pending.columns])
        self.insert_pending = self.insert_pending.on_conflict_do_nothing()
        self.delete_pending = self._delete_rows(pending, ("session_id", "digest"))

        self.upsert_judged = self._upsert_all(judged)
        self.upsert_judge = self._upsert_all(judge)
        self.delete_judged = self._delete_rows(judged, ("source", "name"))
        upsert = self._insert_rows(timeless, ("source", "key", "received_at"))
        # An expired key counts as unseen, though it is not deleted yet.
        self.upsert_timeless = upsert.on_conflict_do_update(
            index_elements=["source", "key"],
            set_={"received_at": upsert.excluded.received_at},
            where=timeless.c.received_at <= sa.bindparam("expired", type_=sa.BigInteger),
        ).returning(timeless.c.source, timeless.c.key)

    def rows_of(self, columns: Sequence[sa.Column[Any]]) -> tuple[Any, list[Any]]:
        """`rows_of` in this database."""
        return rows_of(self.shared, columns)

    def _insert_rows(self, table: sa.Table, names: Sequence[str]) -> Any:
        """`INSERT INTO table (names) SELECT … FROM rows`, in the order of the rows."""
        each, columns = self.rows_of([table.c[name] for name in names])
        # SQLite reads the ON of an upsert as a join without a WHERE before it.
        rows = sa.select(*columns).select_from(each).where(sa.true()).order_by(each.c.key)
        return self.insert(table).from_select(names, rows)

    def _upsert_all(self, table: sa.Table) -> Any:
        """Inserts rows of all columns of a table, or replaces those that have their keys."""
        keys = [column.name for column in table.primary_key]
        upsert = self._insert_rows(table, [column.name for column in table.columns])
        others = {column.name: upsert.excluded[column.name] for column in table.columns if column.name not in keys}
        return upsert.on_conflict_do_update(index_elements=keys, set_=others)

    def _add_rows(self, table: sa.Table, sums: Sequence[str], newest: Sequence[str] = ()) -> Any:
        """Inserts rows of all columns of a table, or adds them to those that have their keys; of times the newest."""
        upsert = self._insert_rows(table, [column.name for column in table.columns])
        new, old = upsert.excluded, table.c
        total = {name: old[name] + new[name] for name in sums}
        last = {name: sa.case((new[name] > old[name], new[name]), else_=old[name]) for name in newest}
        keys = [column.name for column in table.primary_key]
        return upsert.on_conflict_do_update(index_elements=keys, set_=total | last)

    def _delete_rows(self, table: sa.Table, names: Sequence[str]) -> Any:
        """Deletes the rows of a table whose columns of these names are in `rows`."""
        each, key = self.rows_of([table.c[name] for name in names])
        gone = sa.select(*key).select_from(each)
        return sa.delete(table).where(sa.tuple_(*(table.c[name] for name in names)).in_(gone))

    def _known_sessions(self) -> Any:
        each, (source, name) = self.rows_of([session.c.source, session.c.name])
        same = sa.and_(session.c.source == source, session.c.name == name)
        found = (session.c.id, session.c.source, session.c.name, session.c.tombstone, session.c.standing)
        return sa.select(*found).join_from(each, session, same)

    def store_events(self, writer: sa.Connection, rows: Sequence[Row]) -> Numbers:
        """Inserts points into SQLite; what the log's rows did not know, they take from them."""
        pieces = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
        return [
            number
            for piece in pieces
            for number in self.insert_events(writer, piece) or self.upsert_events(writer, piece)
        ]

    def upsert_events(self, writer: sa.Connection, rows: Sequence[Row]) -> Numbers:
        """Inserts at most AT_ONCE points into SQLite, some of which the log has already."""
        raw: Any = writer.connection.driver_connection
        stored = raw.execute(self._text(True, len(EVENT_COLUMNS), len(rows)), tuple(chain.from_iterable(rows)))
        return numbered(rows, stored.fetchall())

    def insert_events(self, writer: sa.Connection, rows: Sequence[Row]) -> range | None:
        """Inserts at most AT_ONCE points into SQLite: that all are new, as nearly always, needs no row to be read back.

        None, and nothing is inserted, if the log has one of them already.
        """
        raw: Any = writer.connection.driver_connection
        usual = not any(row[8] or row[9] or row[10] for row in rows)
        width = USUAL if usual else len(EVENT_COLUMNS)
        values = tuple(chain.from_iterable([row[:width] for row in rows]))
        try:
            last = raw.execute(self._text(False, width, len(rows)), values).lastrowid
        except sqlite3.IntegrityError:
            return None
        return range(last - len(rows) + 1, last + 1)  # AUTOINCREMENT: one number after another

    def _text(self, upsert: bool, width: int, count: int) -> str:
        """SQLite's statement for so many points: to take them out of JSON costs it more than to store them."""
        key = (upsert, width, count)
        if key not in self._texts:
            one = self.insert(event).values(dict.fromkeys(EVENT_COLUMNS[:width]))
            one = self.revising(one) if upsert else one
            marks = f"({', '.join('?' * width)})"
            self._texts[key] = str(one.compile(dialect=sqlite.dialect())).replace(marks, ", ".join([marks] * count))
        return self._texts[key]

    def revising(self, insert: Any) -> Any:
        """Inserts points, or adds to the log's rows what these did not know; returns the rows that it has changed."""
        again = insert.excluded
        # A history that was cut short counts fewer ties before a point than a longer one: the longer one is right.
        # Ties can be compared only where the times of effect are equal.
        more_ties = sa.and_(again.at == event.c.at, again.tie > event.c.tie)
        return insert.on_conflict_do_update(
            index_elements=["session_id", "key_at", "status"],
            set_={
                "tie": sa.case((more_ties, again.tie), else_=event.c.tie),
                "limits": sa.func.coalesce(event.c.limits, again.limits),
                "reason": sa.func.coalesce(event.c.reason, again.reason),
                "revision": event.c.revision + sa.literal_column("1"),
                "former": former(self.shared),
            },
            # A point from the history of another event has no restrictions and no reason.
            where=sa.or_(
                more_ties,
                *(sa.and_(event.c[name].is_(None), again[name].is_not(None)) for name in ("limits", "reason")),
            ),
        ).returning(event.c.seq, event.c.session_id, event.c.key_at, event.c.status, event.c.revision)


def merged(rows: Sequence[Row]) -> list[Row]:
    """Merges rows of one key: PostgreSQL refuses to change a row twice in one statement."""
    found: dict[Row, Row] = {}
    for row in rows:
        key = (row[0], row[1], row[4])
        first = found.setdefault(key, row)
        if first is not row:
            ties = (first[3], row[3]) if first[2] == row[2] else (first[3],)
            more = (first[8] or row[8], first[9], first[10] or row[10])
            found[key] = (*first[:3], max(ties), *first[4:8], *more)  # type: ignore[type-var]  # numbers
    return list(found.values())


def numbered(rows: Sequence[Row], stored: Sequence[Any]) -> Numbers:
    """The numbers of rows, from what the database has stored: (seq, session_id, key_at, status, revision)."""
    new = {(owner, status, key_at): seq for seq, owner, key_at, status, revision in stored if not revision}
    more = {(owner, status, key_at): -seq for seq, owner, key_at, status, revision in stored if revision}
    keys = [(row[0], row[1], row[4]) for row in rows]
    return [new.pop(key, 0) or more.pop(key, 0) for key in keys]
