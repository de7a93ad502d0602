"""The months of a log in PostgreSQL: made ahead, dropped when all of a month is older than the retention."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from wawp_exporter.tables import event

AHEAD = 2  # months
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099; what lies beyond is a wrong clock
MONTHS = sa.text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    r"WHERE i.inhparent = 'event'::regclass AND c.relname ~ '^event_\d{4}_\d{2}$' ORDER BY 1"
)


def month_of(moment: int) -> datetime:
    """The first instant of the month of a Unix ms."""
    return datetime.fromtimestamp(moment / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def after(month: datetime) -> datetime:
    """The month that follows."""
    return (month + timedelta(days=32)).replace(day=1)


def name_of(month: datetime) -> str:
    """`event_2026_11`."""
    return f"event_{month:%Y_%m}"


def unix_ms(month: datetime) -> int:
    """A month's first instant in Unix ms."""
    return int(month.timestamp()) * 1000


def prepare(writer: sa.Connection, now: int, months: int = AHEAD) -> None:
    """Makes the partitions of this month and the next ones."""
    known = set(writer.scalars(MONTHS))
    month = month_of(now)
    for _ in range(months):
        if name_of(month) not in known:
            make(writer, month)
        month = after(month)


def make(writer: sa.Connection, month: datetime) -> None:
    """Makes a month's partition; what the default one holds of the month moves there."""
    name, start, end = name_of(month), unix_ms(month), unix_ms(after(month))
    # Neither two replicas at once, nor while one of them appends: attaching waits for the lock of the table.
    writer.exec_driver_sql("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
    if name in set(writer.scalars(MONTHS)):
        return
    for statement in (
        f"CREATE TABLE {name} (LIKE event INCLUDING DEFAULTS INCLUDING INDEXES)",
        f"WITH moved AS (DELETE FROM event_default WHERE key_at >= {start} AND key_at < {end} RETURNING *) "  # noqa: S608 - numbers
        f"INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE event ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})",
    ):
        writer.exec_driver_sql(statement)


def expire(writer: sa.Connection, before: int, kept: sa.ColumnElement[bool]) -> int:
    """Drops the oldest month, if all of it is older than `before` (Unix ms), else sweeps the default partition.

    What is `kept`, and what was received later, moves to the default partition. Returns how many events went.
    """
    oldest = next(iter(writer.scalars(MONTHS)), None)
    if oldest and unix_ms(after(datetime.strptime(oldest, "event_%Y_%m").replace(tzinfo=UTC))) <= before:
        writer.exec_driver_sql("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
        count = writer.exec_driver_sql(f"SELECT count(*) FROM {oldest}").scalar() or 0  # noqa: S608 - a name of ours
        lower = unix_ms(datetime.strptime(oldest, "event_%Y_%m").replace(tzinfo=UTC))
        of_month = sa.and_(event.c.key_at >= lower, event.c.key_at < unix_ms(after(month_of(lower))))
        stays = sa.select(event).where(of_month, sa.or_(kept, event.c.received_at >= before))
        names = [column.name for column in event.columns]
        saved = [dict(zip(names, row, strict=True)) for row in writer.execute(stays)]
        writer.exec_driver_sql(f"ALTER TABLE event DETACH PARTITION {oldest}")
        writer.exec_driver_sql(f"DROP TABLE {oldest}")
        if saved:
            writer.execute(sa.insert(event), saved)
        return max(1, count - len(saved))
    return swept(writer, before, kept)


def swept(writer: sa.Connection, before: int, kept: sa.ColumnElement[bool]) -> int:
    """Deletes from the default partition what is older."""
    rest: Any = sa.literal_column("event.tableoid = 'event_default'::regclass")
    doomed = sa.delete(event).where(rest, event.c.received_at < before, sa.not_(kept))
    return writer.execute(doomed).rowcount
