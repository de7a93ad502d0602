"""Moves a log from a SQLite file into PostgreSQL: every row with its number, verified by count and checksum."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.errors import LogError
from wawp_exporter.log import partitions, tables
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import DATABASE_NOW, Progress, make_engine, name_of, naming_errors

SLICE = 5000  # rows of a transaction, and the most that an interruption costs
# In the order in which they are copied: rows refer to rows of the tables before.
COPIED = (
    tables.session,
    tables.event,
    tables.state,
    tables.timeless,
    tables.run,
    tables.heard,
    tables.change,
    tables.action,
    tables.watermark,
    tables.judged,
    tables.judge,
    tables.activity,
    tables.traffic,
    tables.pending,
    tables.hash_key,
)


def transfer(source: Path, target: str, progress: Progress | None = None) -> dict[str, int]:
    """Copies all of a log, or what an earlier attempt left out, and verifies the copy; returns the rows of each table.

    Raises LogError when a service has either log open, when the target holds another log, or when the two differ in
    the end. The source is not changed.
    """
    if not source.exists():
        raise LogError(f"cannot read the event log {source}: there is no such file")
    # Opening both migrates their schemas, and locks the file.
    log = Log(source)
    try:
        Log(target).close()
        with naming_errors("copy", target):
            return copied(make_engine(source, reads_only=True), make_engine(target), target, progress)
    finally:
        log.close()


def copied(source: sa.Engine, target: sa.Engine, name: str, progress: Progress | None) -> dict[str, int]:
    """Makes the months, copies table by table, sets the sequences, and verifies."""
    try:
        with source.connect() as reader, target.connect() as writer:
            check_target(reader, writer, name)
            prepare_months(reader, writer)
            counts = {table.name: rows_in(reader, table) for table in COPIED}
            done = 0
            for table in COPIED:
                for rows in missing(reader, writer, table):
                    store(writer, table, rows)
                    done += len(rows)
                    if progress:
                        progress(done, sum(counts.values()))
            set_sequences(writer)
            verify(reader, writer, name)
            return counts
    finally:
        source.dispose()
        target.dispose()


def check_target(reader: sa.Connection, writer: sa.Connection, name: str) -> None:
    """Raises LogError unless the target is unused, and empty or the beginning of the same log."""
    if writer.scalar(sa.select(sa.func.count()).where(tables.lease.c.until > DATABASE_NOW)):
        raise LogError(f"cannot copy to {name_of(name)}: a service is using it, expected it to be stopped")
    newest = writer.scalar(sa.select(sa.func.max(tables.event.c.seq)))
    row = sa.select(tables.event).where(tables.event.c.seq == newest)
    if newest is not None and writer.execute(row).all() != reader.execute(row).all():
        raise LogError(f"cannot copy to {name_of(name)}: it holds another log, expected an empty database")
    writer.commit()


def prepare_months(reader: sa.Connection, writer: sa.Connection) -> None:
    """Makes partitions for the months in which the log has events."""
    at = tables.event.c.key_at
    sound = sa.and_(at >= partitions.FIRST_MS, at < partitions.LAST_MS)
    month = sa.func.strftime("%Y-%m", at / sa.literal(1000), "unixepoch")
    firsts = reader.scalars(sa.select(sa.func.min(at)).where(sound).group_by(month)).all()
    for first in firsts:
        partitions.prepare(writer, first, months=1)
        writer.commit()


def rows_in(reader: sa.Connection, table: sa.Table) -> int:
    """How many rows a table has."""
    return reader.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def key_of(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns of a table's primary key."""
    return list(table.primary_key)


def missing(reader: sa.Connection, writer: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows to copy, in slices: all rows of a table, but only events newer than the target's newest one."""
    query = sa.select(table).order_by(*key_of(table)).execution_options(yield_per=SLICE)
    if table is tables.event:
        after = writer.scalar(sa.select(sa.func.max(table.c.seq))) or 0
        writer.commit()
        query = query.where(table.c.seq > after)
    for rows in reader.execute(query).mappings().partitions():
        yield [dict(row) for row in rows]


def store(writer: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Writes one slice, which is on disk when this returns; rows with the same key are updated."""
    insert = tables.postgresql().insert(table)
    if table is tables.event:
        writer.execute(insert, rows)
    else:
        keys = [column.name for column in key_of(table)]
        others = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
        writer.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)
    writer.commit()


def set_sequences(writer: sa.Connection) -> None:
    """Sets the sequences, so that the next number comes after all that were copied."""
    for table, column, sequence in (
        (tables.event, "seq", "event_seq"),
        (tables.session, "id", "session_id_seq"),
        (tables.run, "id", "run_id_seq"),
        (tables.change, "id", "change_id_seq"),
        (tables.action, "id", "action_id_seq"),
    ):
        newest = sa.select(sa.func.coalesce(sa.func.max(table.c[column]), 0) + 1).scalar_subquery()
        writer.execute(sa.select(sa.func.setval(sequence, newest, False)))
    writer.commit()


def verify(reader: sa.Connection, writer: sa.Connection, name: str) -> None:
    """Raises LogError unless each table has the same rows in both logs."""
    for table in COPIED:
        if proof_of(reader, table) != proof_of(writer, table):
            raise LogError(f"the copy in {name_of(name)} differs from the log in {table.name}, expected an equal one")


def proof_of(connection: sa.Connection, table: sa.Table) -> tuple[int, int]:
    """The count of a table's rows, and a checksum in any order of rows: the databases sort texts differently."""
    count = checksum = 0
    for row in connection.execute(sa.select(table).execution_options(yield_per=SLICE)):
        count += 1
        checksum ^= int.from_bytes(hashlib.sha256(msgspec.json.encode(tuple(row))).digest())
    return count, checksum
