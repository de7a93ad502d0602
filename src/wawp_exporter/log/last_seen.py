"""When each session was last heard of, and its last probe: written by one replica, read by the others."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW
from wawp_exporter.log.tables import heard, session
from wawp_exporter.model.probe import Probe
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

    def share_probe(self, key: Key, probe: Probe) -> None:
        """Writes the last probe of a session; an unknown one is left out. Raises LogError."""
        with self._database.writing() as writer:
            number = self._database.names.known(writer, [key]).get(key)
            if number is None:
                return
            shown = {
                "stored_at": writer.scalar(sa.select(DATABASE_NOW)),
                "probed_at": probe.at,
                "probe_took_ms": probe.took_ms,
                "probe_failures": probe.failures,
                "probe_failing": probe.failing,
            }
            insert = self._database.statements.insert(heard).values(session_id=number, at=0, **shown)
            writer.execute(insert.on_conflict_do_update(index_elements=["session_id"], set_=shown))

    def since(self, stored_at: int) -> tuple[list[tuple[Key, int, Probe | None]], int]:
        """When sessions of this shard were last heard of (Unix ms, 0: not here), and probed, as written after that.

        Also returns the newest time of writing; both such times are Unix ms by the database's clock. Raises LogError.
        """
        query = (
            sa.select(session.c.source, session.c.name, heard)
            .join_from(heard, session, session.c.id == heard.c.session_id)
            .where(heard.c.stored_at > stored_at)
        )
        shard = self._database.shard
        if shard.total > 1:
            query = query.where(session.c.source.in_(shard.sources))
        with self._database.reading() as reader:
            rows = reader.execute(query).all()
        newest = max([stored_at, *(row.stored_at for row in rows)])
        return [((row.source, row.name), row.at, probe_of(row)) for row in rows], newest


def probe_of(row: sa.Row[Any]) -> Probe | None:
    """The last probe, None of a session that was not probed."""
    if row.probed_at is None:
        return None
    return Probe(row.probed_at, row.probe_took_ms, row.probe_failures, row.probe_failing)
