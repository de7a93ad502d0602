"""Deletions of sessions: their events stay for audits, and what came before the deletion counts no more."""

import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.names import FORGOTTEN
from wawp_exporter.log.place import MESSAGES
from wawp_exporter.log.tables import OF_MESSAGES, change, session, state
from wawp_exporter.model.rules import Key


class Deletions:
    """Owns the tombstones of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete(self, key: Key, tombstone: int) -> int:
        """Marks a session deleted at `tombstone` (Unix ms); returns the newest row at that moment. Raises LogError.

        Rows up to that one are of the session's former life, even if the gateway's clock has dated one later.
        """
        source, name = key
        database = self._database
        with database.writing() as writer:
            if database.shared:  # first, so that appends need not wait for counts of messages
                writer.execute(sa.select(sa.func.pg_advisory_xact_lock(MESSAGES)))
            database.hold_appends(writer)
            end = database.newest_mark(writer)
            later = sa.case((session.c.tombstone > tombstone, session.c.tombstone), else_=tombstone)
            owner = writer.scalar(
                sa.update(session)
                .where(session.c.source == source, session.c.name == name)
                .values(tombstone=later, buried=end.seq, standing=int(FORGOTTEN))
                .returning(session.c.id)
            )
            if owner is not None:
                for table in (state, *OF_MESSAGES):
                    writer.execute(sa.delete(table).where(table.c.session_id == owner))
                deletion = sa.insert(change).values(seq=end.seq, at=tombstone, session_id=owner, tombstone=tombstone)
                end = end._replace(change=writer.scalar(deletion.returning(change.c.id)) or 0)
                database.announce(writer)
        database.end = end
        database.names.unlearn(key)
        return end.seq

    def names(self) -> set[Key]:
        """The deleted sessions whose names the log still has. Raises LogError."""
        with self._database.reading() as reader:
            rows = reader.execute(sa.select(session.c.source, session.c.name).where(session.c.tombstone > 0))
            return {(source, name) for source, name in rows}
