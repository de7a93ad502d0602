"""Following a shared log: what replicas have appended after a mark, and a wait for more."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from wawp_exporter.errors import LogError
from wawp_exporter.log.database import CHANNEL, Database, Mark
from wawp_exporter.log.names import OVER
from wawp_exporter.log.place import name_of, naming_errors
from wawp_exporter.log.replay import point_of, refold
from wawp_exporter.log.tables import change, event, session
from wawp_exporter.log.versions import as_new, version_of
from wawp_exporter.model.event import ENDINGS, Limit, StatusEvent
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Grave, Memory


class Followed(msgspec.Struct, frozen=True):
    """Rows of the log as an event. `rows` are their numbers, a point each; the number of a row that was revised is
    negative, `place` is the newest row before the revision, and `change` its number in the table of changes.
    """

    rows: tuple[int, ...]
    event: StatusEvent
    place: int = 0
    change: int = 0


class Deleted(msgspec.Struct, frozen=True):
    """A deletion: rows up to `buried` and events up to `tombstone` (Unix ms) are of the session's former life."""

    key: Key
    tombstone: int
    buried: int
    change: int = 0


class Joined(msgspec.Struct, frozen=True):
    """A name that was over the limit of its source and is folded from now on; `memory` is its state by the log."""

    key: Key
    memory: Memory
    change: int = 0


POINTS = 16  # rows read in one go to find the end of an event
Entry = Followed | Deleted | Joined


class Feed:
    """Reads what was appended. `listen` and `close` are called from one thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listener: sa.Connection | None = None

    def after(self, mark: Mark, limit: int, last: Mark | None = None) -> tuple[list[Entry], Mark, bool]:
        """The entries of this shard after a mark (up to `last`), in the order of the log, from at most `limit` rows and
        the rest of the last one's event.

        Also returns the mark of the last entry that was read, and whether that was the last in the log.
        """
        holds = self._database.shard.holds
        with self._database.reading() as reader:
            found = rows_after(reader, mark.seq, limit, last)
            done = len(found) < limit
            if not done:
                found += rest_of(reader, found[-1], last)
            mine = as_new(reader, [row for row in found if row.standing != OVER and holds(row.source)])
            changes_due = changes_of(mark.change, None if done else found[-1].seq)
            if last:
                changes_due = changes_due.where(change.c.id <= last.change)
            changed = reader.execute(changes_due).all()
            changes = [(row, change_of(reader, row)) for row in changed if holds(row.source)]
        end = Mark(found[-1].seq if found else mark.seq, changed[-1].change if changed else mark.change)
        positions: list[tuple[int, int, Entry]] = [
            *((row.seq, 0, Followed((row.seq,), event_of(row))) for row in mine),
            *((row.position, row.change, entry) for row, entry in changes if entry),
        ]
        return [entry for *_, entry in sorted(positions, key=itemgetter(0, 1))], end, done

    def rows(self, mark: Mark, limit: int) -> int:
        """How many rows come after a mark, `limit` at most."""
        found = sa.select(event.c.seq).where(event.c.seq > mark.seq).limit(limit).subquery()
        with self._database.reading() as reader:
            return reader.scalar(sa.select(sa.func.count()).select_from(found)) or 0

    def listen(self, seconds: float) -> None:
        """Returns when a replica has appended, or after so many seconds. Raises LogError when the connection ends."""
        place = self._database.place
        with naming_errors("follow", place):
            if self._listener is None:
                self._listener = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._listener.exec_driver_sql(f"LISTEN {CHANNEL}")
            raw: Any = self._listener.connection.driver_connection
            try:
                for _ in raw.notifies(timeout=seconds, stop_after=1):
                    return
            except driver_error() as error:
                self.close()
                raise LogError(f"cannot follow the event log {name_of(place)}: the connection is lost") from error

    def close(self) -> None:
        """Closes the connection that listens; `listen` opens a new one."""
        if self._listener is not None:
            self._listener.invalidate()
            self._listener.close()
            self._listener = None


def rows_after(reader: sa.Connection, seq: int, limit: int, last: Mark | None) -> list[sa.Row[Any]]:
    """The next rows of the log (up to `last`), with their sessions."""
    new = [event.c.seq > seq, *([event.c.seq <= last.seq] if last else [])]
    rows = sa.select(event).where(*new).order_by(event.c.seq).limit(limit).subquery()
    query = sa.select(session.c.source, session.c.name, session.c.standing, rows)
    return list(
        reader.execute(query.join_from(rows, session, session.c.id == rows.c.session_id).order_by(rows.c.seq)).all()
    )


def rest_of(reader: sa.Connection, row: sa.Row[Any], last: Mark | None) -> list[sa.Row[Any]]:
    """The rows after one that are of the same event: half an event would be judged differently."""
    found: list[sa.Row[Any]] = []
    same, mine = [row], (row.session_id, row.received_at)
    while same:
        following = rows_after(reader, same[-1].seq, POINTS, last)
        same = list(takewhile(lambda each: (each.session_id, each.received_at) == mine, following))
        found += same
    return found


def joined(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries with the rows of one event joined to one event again: what the first points began, the last may end.

    The rows of an event stand together. The last one, of the event's own point, has its id and its restrictions.
    """
    last: Entry | None = None
    for entry in entries:
        if isinstance(last, Followed) and isinstance(entry, Followed) and continues(last, entry):
            points = (*last.event.points, *entry.event.points)
            last = Followed((*last.rows, *entry.rows), replace(entry.event, points=points))
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last


def key_of(entry: Entry) -> Key:
    """The session that an entry is about."""
    return (entry.event.source, entry.event.session) if isinstance(entry, Followed) else entry.key


def mark_after(mark: Mark, entry: Entry) -> Mark:
    """The place in the log behind an entry that is the next after `mark`."""
    if isinstance(entry, Followed) and entry.rows[-1] > 0:
        return mark._replace(seq=entry.rows[-1])
    return mark._replace(change=entry.change)


def continues(last: Followed, entry: Followed) -> bool:
    """Whether a row is of the same event as the one before."""
    first, second = last.event, entry.event
    same = (first.source, first.session, first.received_at) == (second.source, second.session, second.received_at)
    return same and min(*last.rows, *entry.rows) > 0 and not (first.event_id or first.limits)


def event_of(row: Any) -> StatusEvent:
    """A row of the log as an event of one point."""
    limits = msgspec.json.decode(row.limits, type=tuple[Limit, ...]) if row.limits else ()
    point, is_end = point_of(row), row.origin in ENDINGS
    origin = None if is_end else row.origin
    return StatusEvent(row.source, row.name, (point,), row.received_at, row.event_id, row.engine, limits, origin=origin)


def changes_of(after: int, end: int | None) -> sa.Select[Any]:
    """The changes after number `after` (and before row `end`, if given), each with the row that it revised, if any."""
    query = (
        sa.select(
            session.c.source,
            session.c.name,
            session.c.standing,
            session.c.tombstone.label("newest"),
            session.c.buried,
            change.c.session_id.label("owner"),
            change.c.id.label("change"),
            change.c.seq.label("position"),
            change.c.at.label("changed_at"),
            change.c.tombstone,
            change.c.revision.label("change_revision"),
            event,
        )
        .join_from(change, session, session.c.id == change.c.session_id)
        .join(event, event.c.seq == change.c.event_seq, isouter=True)
        .where(change.c.id > after)
        .order_by(change.c.id)
    )
    return query if end is None else query.where(change.c.seq < end)


def change_of(reader: sa.Connection, row: Any) -> Entry | None:
    """A row of `changes_of` as a follower needs it; None for one of a name that is over the limit."""
    key = (row.source, row.name)
    if row.tombstone:
        return Deleted(key, row.tombstone, row.position, row.change)
    if row.standing == OVER:
        return None
    if row.seq is not None:
        revised = replace(event_of(version_of(row, row.change_revision or row.revision)), received_at=row.changed_at)
        return Followed((-row.seq,), revised, row.position, row.change)
    memory = refold(reader, row.owner, Grave(row.newest, row.buried), None, 0, row.position)
    return Joined(key, memory, row.change) if memory else None


def driver_error() -> type[Exception]:
    """The base class of what PostgreSQL's driver raises when it is called directly, not through SQLAlchemy."""
    import psycopg  # noqa: PLC0415 - an extra: SQLite needs none

    return psycopg.Error
