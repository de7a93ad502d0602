"""Events without a time of their own: the key of each is kept for an hour, so that a retry of it is recognised."""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW
from wawp_exporter.log.tables import timeless
from wawp_exporter.model.event import Point, StatusEvent, normal
from wawp_exporter.model.rules import Key

TIMELESS_MS = 3_600_000  # how long a key is kept
EXPIRED_AT_ONCE = 1000  # expired keys that one batch deletes: more than a batch adds


class TimelessKeys:
    """The table of keys. `repeated` belongs to the transaction of an append."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def clock(self) -> int:
        """Unix ms from which a monotonic clock goes on, to age the keys.

        With PostgreSQL it is the database's clock, which all replicas share. With SQLite it is the time of the newest
        key (0 without one), because nobody knows for sure how long the exporter did not run.
        """
        with self._database.reading() as reader:
            now = sa.select(DATABASE_NOW if self._database.shared else sa.func.max(timeless.c.received_at))
            return reader.scalar(now) or 0

    def repeated(
        self, writer: sa.Connection, events: Sequence[StatusEvent], before: Mapping[Key, Point], now: int
    ) -> set[int]:
        """The `id()` of each event whose key was seen within the hour before `now` (Unix ms).

        `before` has the newest point that a shared log held of each session.
        """
        limit = now - TIMELESS_MS
        old = sa.select(timeless.c.source, timeless.c.key).where(timeless.c.received_at <= limit)
        old = old.order_by(timeless.c.received_at).limit(EXPIRED_AT_ONCE)
        writer.execute(sa.delete(timeless).where(sa.tuple_(timeless.c.source, timeless.c.key).in_(old)))
        # All replicas write keys in the same order: else two could wait for each other's keys.
        keys = sorted({(item.source, item.timeless_key, now) for item in events})
        upsert = {"rows": msgspec.json.encode(keys).decode(), "expired": limit}
        new = writer.execute(self._database.statements.upsert_timeless, upsert)
        unseen = {(source, key) for source, key in new}
        repeated = set()
        for item in events:
            key = (item.source, item.timeless_key)
            if key in unseen:
                unseen.remove(key)
            elif not self._renews(item, before):
                repeated.add(id(item))
        return repeated

    def _renews(self, item: StatusEvent, before: Mapping[Key, Point]) -> bool:
        """Whether an event with a known key is new all the same: the session has been in another status since.

        With a shared log the log itself decides: this replica's fold may be older, and a retry may come to another one.
        """
        if not self._database.shared:
            return item.renews
        newest = before.get((item.source, item.session))
        return bool(item.key_is_body and newest and normal(newest.status) != normal(item.own.status))
