"""The tables of the log, and how a batch of rows is handed to either database. Times are Unix ms."""

import importlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from wawp_exporter.model.event import CLOSED, LOST

schema = sa.MetaData()
session = sa.Table(
    "session",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("tombstone", sa.BigInteger),
    sa.Column("standing", sa.Integer),
    sa.Column("buried", sa.BigInteger),
)
event = sa.Table(
    "event",
    schema,
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("session_id", sa.Integer),
    sa.Column("status", sa.Text),
    sa.Column("at", sa.BigInteger),
    sa.Column("tie", sa.Integer),
    sa.Column("key_at", sa.BigInteger),
    sa.Column("received_at", sa.BigInteger),
    sa.Column("event_id", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("limits", sa.Text),
    sa.Column("origin", sa.Text),
    sa.Column("revision", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("former", sa.Text),
)
state = sa.Table(
    "state",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("oldest", sa.BigInteger),
    sa.Column("memory", sa.Text),
    sa.Column("seq", sa.BigInteger),
)
timeless = sa.Table(
    "timeless",
    schema,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("received_at", sa.BigInteger),
)
watermark = sa.Table(
    "watermark",
    schema,
    sa.Column("total", sa.Integer, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger),
    sa.Column("change", sa.BigInteger),
)
run = sa.Table(
    "run",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("seen_at", sa.BigInteger),
)
lease = sa.Table(
    "lease",
    schema,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("until", sa.BigInteger),
)
change = sa.Table(
    "change",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger),
    sa.Column("at", sa.BigInteger),
    sa.Column("session_id", sa.Integer),
    sa.Column("tombstone", sa.BigInteger),
    sa.Column("event_seq", sa.BigInteger),
    sa.Column("revision", sa.Integer),
)
judged = sa.Table(
    "judged",
    schema,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("memory", sa.Text),
)
judge = sa.Table(
    "judge",
    schema,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("memory", sa.Text),
    sa.Column("seq", sa.BigInteger),
    sa.Column("change", sa.BigInteger),
)
heard = sa.Table(
    "heard",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("at", sa.BigInteger),
    sa.Column("stored_at", sa.BigInteger),
    sa.Column("probed_at", sa.BigInteger),
    sa.Column("probe_took_ms", sa.BigInteger),
    sa.Column("probe_failures", sa.BigInteger),
    sa.Column("probe_failing", sa.BigInteger),
)
activity = sa.Table(
    "activity",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True),
    sa.Column("received", sa.Integer),
    sa.Column("sent", sa.Integer),
)
traffic = sa.Table(
    "traffic",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("received", sa.BigInteger),
    sa.Column("sent", sa.BigInteger),
    sa.Column("received_at", sa.BigInteger),
    sa.Column("sent_at", sa.BigInteger),
    sa.Column("acked_at", sa.BigInteger),
    sa.Column("stored_at", sa.BigInteger),
)
pending = sa.Table(
    "pending",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger),
    sa.Column("heard_at", sa.BigInteger),
)
hash_key = sa.Table(
    "hash_key",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("value", sa.Text),
)
acceptance = sa.Table(
    "acceptance",
    schema,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger),
)
action = sa.Table(
    "action",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("session_id", sa.Integer),
    sa.Column("at", sa.BigInteger),
    sa.Column("kind", sa.Text),
    sa.Column("alert", sa.Text),
    sa.Column("result", sa.Text),
)
OF_MESSAGES = (activity, traffic, pending)  # what is known of a session's messages


def certain(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the status of a row of `event` does not depend on the events before it.

    It does for an end, which a stronger end before it may explain (`machine.end`).
    """
    return sa.or_(rows.c.origin.is_(None), rows.c.origin.not_in([CLOSED, LOST]))


def twin(name: str) -> sa.TableClause:
    """Another table with the columns of `event`, such as a partition of it."""
    return sa.table(name, *(sa.column(column.name, column.type) for column in event.columns))


def postgresql() -> Any:
    """SQLAlchemy's part for PostgreSQL: a tenth of what a start imports, which SQLite does not need."""
    return importlib.import_module("sqlalchemy.dialects.postgresql")


def rows_of(shared: bool, columns: Sequence[sa.Column[Any]]) -> tuple[Any, list[Any]]:
    """The parameter `rows`, a JSON array of arrays, as a table; and its columns, with the types of `columns`.

    So one statement takes a whole batch, and the driver releases the interpreter lock once, not once a row.
    """
    rows = sa.bindparam("rows", type_=sa.Text)
    if shared:
        jsonb = postgresql().JSONB
        each = sa.func.jsonb_array_elements(sa.cast(rows, jsonb)).table_valued(
            sa.column("value", jsonb), with_ordinality="key", joins_implicitly=True
        )
    else:
        each = sa.func.json_each(rows).table_valued("key", "value", joins_implicitly=True)
    each = each.render_derived() if shared else each
    texts = [each.c.value.op("->>")(sa.literal_column(str(index))) for index in range(len(columns))]
    # SQLite gives JSON values their types itself.
    typed = [sa.cast(value, column.type) for value, column in zip(texts, columns, strict=True)]
    return each, typed if shared else texts
