"""Names over the limit of their source: counted, and folded when there is room again."""

import sqlalchemy as sa

from wawp_exporter.log import names
from wawp_exporter.log.database import Database
from wawp_exporter.log.names import FOLDED, FORGOTTEN, NAMING
from wawp_exporter.log.place import DATABASE_NOW
from wawp_exporter.log.replay import refold
from wawp_exporter.log.states import States
from wawp_exporter.log.tables import change
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Grave, Memory

AT_ONCE = 100  # names that one transaction admits


class Admission:
    """Decides about names that wait for room."""

    def __init__(self, database: Database, states: States) -> None:
        self._database = database
        self._states = states

    def admit(self, source: str, max_names: int) -> dict[Key, Memory]:
        """Begins to fold the oldest waiting names of a source, some at a time, while fewer than `max_names` are folded.

        Returns their memories; empty when there is no room or no name waits. The memories are saved in the same
        transaction, so that a start finds them. Raises LogError.
        """
        database = self._database
        found: dict[Key, Memory] = {}
        with database.writing() as writer:
            self._lock(writer)
            end = database.newest_mark(writer)
            rows = names.waiting(writer, source, min(names.room_of(writer, source, max_names), AT_ONCE))
            for row in rows:
                memory = refold(writer, row.id, Grave(row.tombstone, row.buried), None, 0)
                if memory:
                    found[source, row.name] = memory
                # Without a memory, retention has deleted its events: it must not take the room of others.
                names.set_standing(writer, [row.id], FOLDED if memory else FORGOTTEN)
            self._states.keep(writer, list(found.items()), end.seq)
            if database.shared and rows:
                now = writer.scalar(sa.select(DATABASE_NOW))
                joined = [{"seq": end.seq, "at": now, "session_id": row.id, "tombstone": 0} for row in rows]
                writer.execute(sa.insert(change), joined)
                database.announce(writer)
        return found

    def _lock(self, writer: sa.Connection) -> None:
        """Until the commit no other replica decides about names or appends."""
        if self._database.shared:
            writer.execute(sa.select(sa.func.pg_advisory_xact_lock(NAMING)))
        self._database.hold_appends(writer)

    def over_limit(self) -> dict[str, int]:
        """How many names of each source are over its limit; sources without any are left out. Raises LogError."""
        with self._database.reading() as reader:
            return names.over_limit(reader)
