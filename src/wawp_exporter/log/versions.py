"""The versions of a row of the log: an event may add to what an earlier one said of the same point."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.tables import change, event

REVISED = ("tie", "limits", "reason")  # what a revision may change


def version_of(row: Any, number: int) -> Any:
    """A row of `event` as it was after so many revisions; of those that an older version has made none is kept."""
    if not row.former:
        return row
    former = msgspec.json.decode(f"[{row.former}]")
    index = number - (row.revision - len(former))
    if index >= len(former):
        return row
    return SimpleNamespace(**(row._asdict() | dict(zip(REVISED, former[max(0, index)], strict=True))))


def versions(reader: sa.Connection, where: sa.ColumnElement[bool]) -> Mapping[int, int]:
    """How often each row was revised by these changes."""
    newest = sa.select(change.c.event_seq, sa.func.max(change.c.revision)).group_by(change.c.event_seq)
    rows = reader.execute(newest.where(change.c.event_seq > 0, change.c.revision > 0, where))
    return {row[0]: row[1] for row in rows}


def at_change(reader: sa.Connection, owner: int, rows: Iterable[Any], number: int) -> list[Any]:
    """Rows of a session as they were after the change of that number."""
    known = versions(reader, sa.and_(change.c.session_id == owner, change.c.id <= number))
    return [version_of(row, known.get(row.seq, 0)) for row in rows]


def as_new(reader: sa.Connection, rows: Iterable[Any]) -> list[Any]:
    """Rows as they were when they came: what is revised in the same batch is revised before."""
    rows = list(rows)
    revised = [row.seq for row in rows if row.former]
    if not revised:
        return rows
    first = sa.and_(change.c.event_seq.in_(revised), change.c.seq < change.c.event_seq)
    known = versions(reader, first)
    return [version_of(row, known.get(row.seq, 0)) for row in rows]


def former(shared: bool) -> sa.ColumnElement[str]:
    """The earlier versions of a row that is revised now, the present one included."""
    columns = [event.c[name] for name in REVISED]
    present = sa.cast(sa.func.json_build_array(*columns), sa.Text) if shared else sa.func.json_array(*columns)
    comma, nothing = sa.literal_column("','", sa.Text), sa.literal_column("''", sa.Text)
    return sa.func.coalesce(event.c.former + comma, nothing) + present
