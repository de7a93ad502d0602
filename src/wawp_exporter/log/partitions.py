"""The months of a log in PostgreSQL: made ahead; when all of a month is old, what is kept of it replaces it.

A month is a partition `event_2026_11`. What must be kept of it is copied to `event_kept_2026_11`, a table of its own,
which then becomes the partition. Only that replacement needs the lock that excludes everybody, for an instant.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wawp_exporter.log.tables import change, postgresql, twin
from wawp_exporter.times import utc

AHEAD = 2  # months
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099; other times are those of a wrong clock
MOVED = 20_000  # most rows that are moved out of the default partition while everybody waits
DEFAULT = "event_default"
KEY = ("session_id", "key_at", "status")
# While one waits for a lock that excludes everybody, all others wait too: so it waits briefly, and tries again later.
PATIENCE = "SET LOCAL lock_timeout = '50ms'"
LOCK = "LOCK TABLE ONLY event IN ACCESS EXCLUSIVE MODE"
BUSY = "55P03"  # lock_not_available
Stays = Callable[[sa.FromClause], sa.ColumnElement[bool]]
TABLES = sa.text(
    "SELECT c.relname, c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    r"WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname ~ '^event_(kept_)?\d{4}_\d{2}$' ORDER BY 1"
)


def month_of(moment: int) -> datetime:
    """The first instant of the month of a Unix ms."""
    return utc(moment).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def after(month: datetime) -> datetime:
    """The month that follows."""
    return (month + timedelta(days=32)).replace(day=1)


def name_of(month: datetime) -> str:
    """`event_2026_11`."""
    return f"event_{month:%Y_%m}"


def kept_of(name: str) -> str:
    """The table for what is kept of a month."""
    return "event_kept_" + name[-len("2026_11") :]


def unix_ms(month: datetime) -> int:
    """A month's first instant in Unix ms."""
    return int(month.timestamp()) * 1000


def bounds(name: str) -> tuple[int, int]:
    """From when until when (Unix ms) the events of a partition were sent."""
    month = datetime.strptime(name.replace("kept_", ""), "event_%Y_%m").replace(tzinfo=UTC)
    return unix_ms(month), unix_ms(after(month))


def attached(reader: sa.Connection) -> tuple[list[str], list[str]]:
    """The partitions without the default one, oldest first: the months, and what is kept of older months."""
    names = [name for name, is_partition in reader.execute(TABLES) if is_partition]
    return [name for name in names if name != kept_of(name)], [name for name in names if name == kept_of(name)]


def detached(reader: sa.Connection) -> list[str]:
    """The tables that an interrupted purge has left, which are no longer part of the log."""
    return [name for name, is_partition in reader.execute(TABLES) if not is_partition]


def patiently(writer: sa.Connection, work: Callable[[sa.Connection], object]) -> bool:
    """Does `work` in a transaction; returns False, with nothing done, when a lock that it needs is not free."""
    try:
        with writer.begin():
            writer.exec_driver_sql(PATIENCE)
            work(writer)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == BUSY:
            return False
        raise
    return True


# -- months to come -------------------------------------------------------------------------------------------------


def prepare(writer: sa.Connection, now: int, months: int = AHEAD) -> None:
    """Makes the partitions of this month and the next ones."""
    known = {bounds(name) for names in attached(writer) for name in names}
    month = month_of(now)
    for _ in range(months):
        if bounds(name_of(month)) not in known:
            make(writer, name_of(month))
        month = after(month)


def make(writer: sa.Connection, name: str) -> None:
    """Makes a month's partition, and moves the month's rows there from the default partition.

    If there are too many (a clock was a year ahead for days), the month stays in the default partition.
    """
    start, end = bounds(name)
    waiting = f"FROM {DEFAULT} WHERE key_at >= {start} AND key_at < {end}"
    many = f"SELECT count(*) FROM (SELECT 1 {waiting} LIMIT {MOVED + 1}) AS found"  # noqa: S608 - names and numbers of ours
    if (writer.exec_driver_sql(many).scalar() or 0) > MOVED:
        return
    # Not while another replica does the same, or appends: attaching needs the lock of the table.
    writer.exec_driver_sql(LOCK)
    if name in attached(writer)[0]:
        return
    for statement in (
        f"DROP TABLE IF EXISTS {name}",
        f"CREATE TABLE {name} (LIKE event INCLUDING DEFAULTS INCLUDING INDEXES)",
        f"WITH moved AS (DELETE {waiting} RETURNING *) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - as above
        attach(name, name),
    ):
        writer.exec_driver_sql(statement)


def attach(table: str, month: str) -> str:
    """Makes a table the partition of a month."""
    start, end = bounds(month)
    return f"ALTER TABLE event ATTACH PARTITION {table} FOR VALUES FROM ({start}) TO ({end})"


# -- months that are over -------------------------------------------------------------------------------------------


def gather(writer: sa.Connection, name: str) -> None:
    """Makes an empty table for what is kept of a month. With its constraint PostgreSQL attaches it without a scan."""
    start, end = bounds(name)
    check = f"CHECK (key_at >= {start} AND key_at < {end})"
    writer.exec_driver_sql(f"CREATE TABLE {kept_of(name)} (LIKE event INCLUDING DEFAULTS INCLUDING INDEXES, {check})")


def keep(writer: sa.Connection, name: str, last: int, limit: int, stays: Stays) -> tuple[int, int, int]:
    """Copies those of the next `limit` rows of a month after number `last` that stay.

    Returns how many rows there were, the number of the last one, and how many were copied.
    """
    month = twin(name)
    part = sa.select(month.c.seq).where(month.c.seq > last).order_by(month.c.seq).limit(limit).subquery()
    seen, end = writer.execute(sa.select(sa.func.count(), sa.func.max(part.c.seq))).one()
    if not seen:
        return 0, last, 0
    return seen, end, copy(writer, month, stays, month.c.seq > last, month.c.seq <= end)


def newest_change(reader: sa.Connection) -> int:
    """The number of the last change of a row."""
    return reader.scalar(sa.select(sa.func.max(change.c.id))) or 0


def keep_changed(writer: sa.Connection, name: str, after: int, stays: Stays) -> None:
    """Copies again the rows that were revised by changes after number `after`."""
    month = twin(name)
    # Found by number: for a join PostgreSQL might read all of the month, while everybody waits.
    changed = sa.select(change.c.event_seq).where(change.c.id > after, change.c.event_seq.is_not(None))
    numbers = writer.scalars(changed).all()
    if numbers:
        copy(writer, month, stays, month.c.seq.in_(numbers))


def copy(writer: sa.Connection, month: sa.TableClause, stays: Stays, *where: sa.ColumnElement[bool]) -> int:
    """Copies those rows of a month that match and stay; returns how many."""
    insert = (
        postgresql()
        .insert(twin(kept_of(month.name)))
        .from_select(list(month.c.keys()), sa.select(month).where(*where, stays(month)))
    )
    news = {column.name: insert.excluded[column.name] for column in month.c if column.name not in KEY}
    insert = insert.on_conflict_do_update(index_elements=KEY, set_=news).execution_options(preserve_rowcount=True)
    return int(writer.execute(insert).rowcount)


def replace(writer: sa.Connection, name: str, catch_up: Callable[[sa.Connection], object]) -> None:
    """Replaces a month by what is kept of it; `catch_up` copies the newest rows first."""
    writer.exec_driver_sql(LOCK)
    catch_up(writer)
    writer.exec_driver_sql(f"ALTER TABLE event DETACH PARTITION {name}")
    if not empty(writer, kept_of(name)):
        writer.exec_driver_sql(attach(kept_of(name), name))


def remove(writer: sa.Connection, name: str) -> None:
    """Removes a partition from the log and drops it, if it is empty."""
    writer.exec_driver_sql(LOCK)
    if empty(writer, name):
        writer.exec_driver_sql(f"ALTER TABLE event DETACH PARTITION {name}")
        drop(writer, name)


def empty(reader: sa.Connection, name: str) -> bool:
    """Whether a table has no rows."""
    return reader.execute(sa.select(twin(name).c.seq).limit(1)).first() is None


def drop(writer: sa.Connection, name: str) -> None:
    """Drops a table that is not a partition."""
    writer.exec_driver_sql(f"DROP TABLE {name}")
