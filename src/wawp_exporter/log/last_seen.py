"""When each session was last heard of: written by one replica, read by the others."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW
from wawp_exporter.log.tables import heard, session
from wawp_exporter.model.rules import Key


class LastSeenTable:
    """The table of last-heard times. Only a shared log has use for it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def share(self, times: Sequence[tuple[Key, int]]) -> None:
        """Writes when sessions were last heard of (Unix ms); unknown sessions are left out. Raises LogError."""
        with self._database.writing() as writer:
            known = self._database.names.known(writer, [key for key, _ in times])
            now = writer.scalar(sa.select(DATABASE_NOW))
            rows = sorted((known[key], at, now) for key, at in times if key in known)
            writer.execute(self._database.statements.upsert_heard, {"rows": msgspec.json.encode(rows).decode()})

    def since(self, stored_at: int) -> tuple[list[tuple[Key, int]], int]:
        """When sessions of this shard were last heard of (Unix ms), as written after `stored_at`.

        Also returns the newest time of writing; both such times are Unix ms by the database's clock. Raises LogError.
        """
        query = (
            sa.select(session.c.source, session.c.name, heard.c.at, heard.c.stored_at)
            .join_from(heard, session, session.c.id == heard.c.session_id)
            .where(heard.c.stored_at > stored_at)
        )
        shard = self._database.shard
        if shard.total > 1:
            query = query.where(session.c.source.in_(shard.sources))
        with self._database.reading() as reader:
            rows = reader.execute(query).all()
        return [((row.source, row.name), row.at) for row in rows], max([stored_at, *(row.stored_at for row in rows)])
