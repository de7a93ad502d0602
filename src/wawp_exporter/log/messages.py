"""What is known of messages: written behind by each replica, and read by all of them. No message is kept."""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW, MESSAGES
from wawp_exporter.log.tables import activity, change, hash_key, pending, session, traffic
from wawp_exporter.model.activity import MAX_PENDING
from wawp_exporter.model.rules import Key

Row = tuple[Any, ...]  # values of one row, its session's row id first

PURGED = 5000  # hours deleted in one go
HEARD_AT = sa.func.coalesce(pending.c.heard_at, pending.c.at)  # the version before has not written it


class Traffic(NamedTuple):
    """The messages of one session: how many, and when the last ones and the last acknowledgement came (Unix ms)."""

    key: Key
    received: int = 0
    sent: int = 0
    received_at: int = 0
    sent_at: int = 0
    acked_at: int = 0


class Hour(NamedTuple):
    """The messages of one session in the clock hour that begins at `hour` (Unix seconds)."""

    key: Key
    hour: int
    received: int
    sent: int


class Pending(NamedTuple):
    """An own message that is not acknowledged; `digest` is the keyed hash of its id.

    It was sent at `at` and first heard of at `heard_at` (Unix ms).
    """

    key: Key
    digest: str
    at: int = 0
    heard_at: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What a replica adds to the tables, and the messages that are pending no more.

    `deleted_to` is the newest row of `change` whose deletion the replica knew: what it says of sessions that were
    deleted later is of their former life.
    """

    traffic: Sequence[Traffic] = ()
    hours: Sequence[Hour] = ()
    pending: Sequence[Pending] = ()
    gone: Sequence[Pending] = ()
    deleted_to: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What the tables hold of some sources. `stored_at` is the time of the newest row of `traffic` (Unix ms).

    `pending` begins with the oldest; `buried` has the newest row at the last deletion of each session, 0 for none.
    """

    traffic: Sequence[Traffic] = ()
    pending: Sequence[Pending] = ()
    stored_at: int = 0
    buried: Mapping[Key, int] = field(default_factory=dict)

    def without(self, keys: Collection[Key]) -> "Kept":
        """Leaves sessions out."""
        if not keys:
            return self
        traffic = [each for each in self.traffic if each.key not in keys]
        return replace(self, traffic=traffic, pending=[each for each in self.pending if each.key not in keys])


class MessageTables:
    """The tables of what is known of messages. Times are Unix ms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def key(self) -> bytes:
        """The key of the hashes, which all replicas share. Raises LogError."""
        with self._database.writing() as writer:
            insert = self._database.statements.insert(hash_key).values(id=1, value=secrets.token_hex(32))
            writer.execute(insert.on_conflict_do_nothing())
            return bytes.fromhex(writer.scalar(sa.select(hash_key.c.value)) or "")

    def store(self, news: News, now: int, oldest: int) -> None:
        """Adds what is new; messages that were sent before `oldest` are pending no more. Raises LogError.

        Sessions that the log does not know, those of other shards that are not folded, and former lives of deleted
        ones, are left out. `now` is the time of writing where no other replica writes.
        """
        with self._database.writing() as writer:
            if self._database.shared:  # so that no deletion commits between what is asked and what is written
                writer.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(MESSAGES)))
            known = self._living(writer, news)
            stored_at = writer.scalar(sa.select(DATABASE_NOW)) if self._database.shared else now
            statements = self._database.statements
            # In one order, since replicas write side by side.
            self._write(writer, statements.add_traffic, [(*row, stored_at) for row in rows(known, news.traffic)])
            self._write(writer, statements.add_activity, rows(known, news.hours))
            self._write(writer, statements.insert_pending, self._fitting(writer, rows(known, news.pending), known))
            self._write(writer, statements.delete_pending, [row[:2] for row in rows(known, news.gone)])
            mine, later = traffic.c.session_id == pending.c.session_id, traffic.c.acked_at >= HEARD_AT
            writer.execute(sa.delete(pending).where(sa.or_(pending.c.at < oldest, sa.exists().where(mine, later))))

    def _living(self, writer: sa.Connection, news: News) -> dict[Key, int]:
        """The row ids of the sessions of which something is new, without those that were deleted meanwhile."""
        keys = {row.key for row in news.traffic} | {row.key for row in (*news.pending, *news.gone)}
        since = sa.and_(change.c.id > news.deleted_to, change.c.tombstone > 0)
        deleted = set(writer.scalars(sa.select(change.c.session_id).where(since)))
        names, holds = self._database.names, self._database.shard.holds
        known = names.known(writer, sorted(key for key in keys if holds(key[0])))
        known |= names.folded(writer, sorted(key for key in keys if not holds(key[0])))
        return {key: number for key, number in known.items() if number not in deleted}

    def _fitting(self, writer: sa.Connection, waiting: list[Row], known: Mapping[Key, int]) -> list[Row]:
        """Without those of other shards' sessions of which many wait already, which this replica does not know."""
        others = [number for key, number in known.items() if not self._database.shard.holds(key[0])]
        if not (waiting and others):
            return waiting
        count, owner = sa.func.count(), pending.c.session_id
        filled = sa.select(owner).where(owner.in_(others)).group_by(owner).having(count >= MAX_PENDING)
        full = set(writer.scalars(filled))
        return [row for row in waiting if row[0] not in full]

    def _write(self, writer: sa.Connection, statement: Any, values: Sequence[Sequence[object]]) -> None:
        if values:
            writer.execute(statement, {"rows": msgspec.json.encode(values).decode()})

    def since(self, stored_at: int, sources: Iterable[str] | None = None) -> Kept:
        """What was written after `stored_at`, and all that is pending, of `sources`, else of this shard.

        Raises LogError.
        """
        shard = self._database.shard
        wanted = sources if sources is not None else shard.sources if shard.total > 1 else None
        where = [] if wanted is None else [session.c.source.in_(list(wanted))]
        columns = (session.c.source, session.c.name, session.c.buried)
        counts = sa.select(*columns, *[column for column in traffic.columns if not column.primary_key]).join_from(
            traffic, session, session.c.id == traffic.c.session_id
        )
        waiting = sa.select(*columns, pending.c.digest, pending.c.at, HEARD_AT).join_from(
            pending, session, session.c.id == pending.c.session_id
        )
        with self._database.reading() as reader:
            found = reader.execute(counts.where(traffic.c.stored_at > stored_at, *where)).all()
            still = reader.execute(waiting.where(*where).order_by(pending.c.at)).all()
        return Kept(
            [Traffic((row[0], row[1]), *row[3:8]) for row in found],
            [Pending((row[0], row[1]), *row[3:]) for row in still],
            max([stored_at, *(row.stored_at for row in found)]),
            {(row[0], row[1]): row.buried for row in (*found, *still)},
        )

    def elsewhere(self, since: int) -> Sequence[Pending]:
        """What is pending of the sources of other shards and was heard of after `since`. Raises LogError."""
        where = (since < HEARD_AT, session.c.source.not_in(self._database.shard.sources))
        waiting = sa.select(session.c.source, session.c.name, pending.c.digest, pending.c.at, HEARD_AT).join_from(
            pending, session, session.c.id == pending.c.session_id
        )
        with self._database.reading() as reader:
            return [Pending((row[0], row[1]), *row[2:]) for row in reader.execute(waiting.where(*where))]

    def purge(self, before: int) -> int:
        """Deletes up to PURGED counts of hours before `before` (Unix seconds); how many. Raises LogError."""
        keys = (activity.c.session_id, activity.c.hour)
        old = sa.select(*keys).where(activity.c.hour < before).limit(PURGED)
        with self._database.writing() as writer:
            return writer.execute(sa.delete(activity).where(sa.tuple_(*keys).in_(old))).rowcount


def rows(known: dict[Key, int], values: Iterable[Any]) -> list[Row]:
    """The values with row ids instead of names, sorted; those of unknown sessions are left out."""
    return sorted((known[value.key], *value[1:]) for value in values if value.key in known)
