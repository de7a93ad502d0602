"""How PostgreSQL stores a batch of events: with one statement, so that the batch costs one round trip.

The lock that keeps the replicas in order is taken within the statement, as late as possible, and held until its commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import CHANNEL, Mark
from wawp_exporter.log.place import APPENDING
from wawp_exporter.log.statements import EVENT_COLUMNS, Numbers, Row, Statements, merged, numbered
from wawp_exporter.log.tables import change, event, postgresql, rows_of, session

# How far back the statement itself looks for a session's newest row. PostgreSQL has a table for each month, and would
# open those of all months for every batch; few sessions need them.
RECENT_MS = 7 * 86_400_000
STORED = (event.c.seq, event.c.session_id, event.c.key_at, event.c.status, event.c.revision)
NEWEST = (event.c.status, event.c.at, event.c.tie, event.c.key_at, event.c.origin, event.c.reason)


class Newest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The row of a session with the newest time as sent, among those of the last days: its columns in `event`."""

    owner: int
    status: str
    at: int
    tie: int
    key_at: int
    origin: str | None
    reason: str | None

    @property
    def is_newest(self) -> bool:
        """Whether no other row of the session can be newer: the time of effect is never after the time as sent."""
        return self.at == self.key_at


class Stored(msgspec.Struct, frozen=True):
    """The numbers of a batch's rows, and where the log ends now.

    `before` has what was newest of the sessions (by row id) of a shared log, as far as that was found at once.
    """

    numbers: Numbers
    end: Mark
    before: Mapping[int, Newest] = {}

    @property
    def new(self) -> int:
        """How many of the rows the log did not hold before."""
        numbers = self.numbers
        return len(numbers) if isinstance(numbers, range) else sum(number > 0 for number in numbers)


decode_stored = msgspec.json.Decoder(list[tuple[int, int, int, str, int]]).decode
decode_newest = msgspec.json.Decoder(list[Newest]).decode


class Insertion:
    """The statement (`text`), compiled once."""

    def __init__(self, statements: Statements) -> None:
        self.text = str(statement(statements).compile(dialect=postgresql().psycopg.dialect()))

    def store(self, writer: sa.Connection, rows: Sequence[Row], end: Mark) -> Stored:
        """Inserts points, and takes from them what the log's rows did not know; `end` is where the log ended."""
        received_at: int = max(row[5] for row in rows)  # type: ignore[type-var, assignment]  # numbers
        given = {"rows": msgspec.json.encode(merged(rows)).decode(), "recent": received_at - RECENT_MS}
        stored, newest, change, _ = writer.exec_driver_sql(self.text, given).one()
        numbers = numbered(rows, decode_stored(stored or "[]"))
        before = {row.owner: row for row in decode_newest(newest or "[]")}
        return Stored(numbers, Mark(max(end.seq, *numbers), max(end.change, change or 0)), before)


def statement(statements: Statements) -> sa.Select[Any]:
    """Looks up what is newest of each session, takes the lock, stores the rows, writes changes, and notifies."""
    each, columns = rows_of(True, [event.c[name] for name in EVENT_COLUMNS])
    named = [column.label(name) for column, name in zip(columns, EVENT_COLUMNS, strict=True)]
    given = sa.select(each.c.key, *named).select_from(each).cte("given")
    before = newest_before(given).cte("before")
    looked_up = sa.select(sa.func.count()).select_from(before).subquery("looked_up")
    lock = sa.func.pg_advisory_xact_lock(sa.literal_column(str(APPENDING)))
    held = sa.select(lock.label("held")).select_from(looked_up).cte("held")
    # No row comes without `held`, so numbers are given out with the lock held, whatever plan PostgreSQL chooses.
    rows = sa.select(*(given.c[name] for name in EVENT_COLUMNS)).select_from(given.join(held, sa.true()))
    insert = postgresql().insert(event).from_select(EVENT_COLUMNS, rows.order_by(given.c.key))
    stored = statements.revising(insert).cte("stored")
    noted = noting(given, stored).cte("noted")
    notify = sa.func.pg_notify(sa.literal_column(f"'{CHANNEL}'"), sa.literal_column("''"))
    return sa.select(
        as_json(stored, [column.name for column in STORED]),
        as_json(before, Newest.__struct_fields__),
        sa.select(sa.func.max(noted.c.id)).scalar_subquery(),
        sa.select(notify).where(sa.exists(sa.select(stored.c.seq))).scalar_subquery(),
    )


def newest_before(given: sa.CTE) -> sa.Select[Any]:
    """The newest row (`Newest`) of each session since its deletion, if it was deleted. A new name has none."""
    owners = sa.select(given.c.session_id.label("owner")).distinct().subquery("owners")
    # OFFSET makes PostgreSQL look the sessions up one by one: it does not know how few they are.
    mine = sa.select(session.c.tombstone, session.c.buried).where(session.c.id == owners.c.owner)
    life = mine.offset(sa.literal_column("0")).lateral("life")
    rows = sa.select(*NEWEST).where(
        event.c.session_id == owners.c.owner,
        event.c.key_at >= sa.bindparam("recent", type_=sa.BigInteger),
        event.c.at > life.c.tombstone,
        event.c.seq > life.c.buried,
    )
    newest = rows.order_by(event.c.key_at.desc(), event.c.tie.desc()).limit(sa.literal_column("1")).lateral("newest")
    return sa.select(owners.c.owner, *newest.c).select_from(owners.join(life, sa.true()).join(newest, sa.true()))


def noting(given: sa.CTE, stored: sa.CTE) -> Any:
    """Writes a change for each revised row, whose own number stays the same.

    The changes come before the new rows of the batch, so that followers fold these onto the revised state. Without new
    rows they come after all that there are: the sequence has given out a number for each revised row too.
    """
    first = sa.select(sa.func.min(stored.c.seq) - sa.literal_column("1")).where(~revised(stored)).scalar_subquery()
    last = sa.select(sa.column("last_value")).select_from(sa.table("event_seq")).scalar_subquery()
    same = [given.c[name] == stored.c[name] for name in ("session_id", "key_at", "status")]
    values = {
        "seq": sa.func.coalesce(first, last),
        "at": given.c.received_at,
        "session_id": stored.c.session_id,
        "tombstone": sa.literal_column("0"),
        "event_seq": stored.c.seq,
        "revision": stored.c.revision,
    }
    rows = sa.select(*values.values()).select_from(given.join(stored, sa.and_(*same))).where(revised(stored))
    return postgresql().insert(change).from_select(list(values), rows.order_by(given.c.key)).returning(change.c.id)


def revised(stored: sa.CTE) -> sa.ColumnElement[bool]:
    """Whether the log had a stored row already."""
    return stored.c.revision > sa.literal_column("0")


def as_json(rows: sa.CTE, names: Sequence[str]) -> sa.ColumnElement[str]:
    """All rows as an array of arrays; null without any. To decode it is faster than to fetch row after row."""
    arrays = sa.func.json_agg(sa.func.json_build_array(*(rows.c[name] for name in names)))
    return sa.select(sa.cast(arrays, sa.Text)).select_from(rows).scalar_subquery()
