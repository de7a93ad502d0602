"""Which names of a source are folded: the first that came, up to a limit. The log keeps the decision with the name.

So nothing is decided twice, and a restart, another replica, and a reload with another limit agree. Events of names over
the limit are logged only; when there is room again, the oldest of these names are folded first.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.place import APPENDING
from wawp_exporter.log.statements import Statements
from wawp_exporter.log.tables import OF_MESSAGES, action, change, event, heard, session, state
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.rules import Key

NAMING = APPENDING + 1  # the advisory lock for decisions: two replicas at once would both take the last room
UNLIMITED = 1 << 40
FULL_S = 1.0  # how long a full source is not counted again, so that a flood of names does not delay other events
MAX_IDS = 200_000  # row ids that are remembered when the log has several shards


class Standing(IntEnum):
    """What happens to a name's events."""

    FOLDED = 0
    OVER = 1  # logged only
    FORGOTTEN = 2  # deleted, and no event since: it takes no room


FOLDED, OVER, FORGOTTEN = Standing


class Settled(msgspec.Struct, frozen=True):
    """The row ids of a batch's names; which of them are over the limit, and which are not folded for any reason.

    `looked`: some were not remembered, so that the log was asked.
    """

    ids: dict[Key, int]
    over: frozenset[Key] = frozenset()
    unfolded: frozenset[Key] = frozenset()
    looked: bool = False


class Names:
    """Owns the table of names, and remembers the row ids of folded names. Belongs to the thread that writes the log."""

    def __init__(self, statements: Statements, total: int) -> None:
        self.ids: dict[Key, int] = {}
        self._statements = statements
        self._total = total
        self._full: dict[str, float] = {}  # source → until when it counts as full, on the monotonic clock

    def remembers(self, keys: Iterable[Key]) -> bool:
        """Whether `settle` needs nothing from the log for these names."""
        return all(key in self.ids for key in keys)

    def settle(self, writer: sa.Connection, newest: Mapping[Key, int], limit: int) -> Settled:
        """The row ids of names, given with the time of their newest event (Unix ms); new names are stored.

        A new name is over the limit if `limit` names of its source are folded already. The caller passes the result to
        `remember` after the commit.
        """
        found = {key: self.ids[key] for key in newest if key in self.ids}
        if len(found) == len(newest):
            return Settled(found)
        return self._look(writer, found, {key: at for key, at in newest.items() if key not in found}, limit)

    def _look(self, writer: sa.Connection, found: dict[Key, int], newest: Mapping[Key, int], limit: int) -> Settled:
        """Looks up names that are not remembered, and decides about those without a decision in the log."""
        stored = self._stored(writer, newest)
        undecided = [key for key, at in newest.items() if is_undecided(stored.get(key), at)]
        if undecided:
            if self._statements.shared:
                writer.execute(sa.select(sa.func.pg_advisory_xact_lock(NAMING)))
            self._decide(writer, undecided, stored, limit)
            stored |= self._stored(writer, undecided)
        ids = found | {key: row.id for key, row in stored.items()}
        unfolded = frozenset(key for key, row in stored.items() if row.standing != FOLDED)
        return Settled(ids, frozenset(key for key in unfolded if stored[key].standing == OVER), unfolded, looked=True)

    def _stored(self, writer: sa.Connection, keys: Iterable[Key]) -> dict[Key, Any]:
        """The rows of the names that the log knows."""
        rows = {"rows": msgspec.json.encode(list(keys)).decode()}
        return {(row.source, row.name): row for row in writer.execute(self._statements.known_sessions, rows)}

    def _decide(self, writer: sa.Connection, keys: Sequence[Key], stored: Mapping[Key, Any], limit: int) -> None:
        """Decides about names in the order of the batch, which is the order of the log."""
        free = {source: self._room(writer, source, limit) for source in {source for source, _ in keys}}
        standings: dict[Key, Standing] = {}
        for key in keys:
            free[key[0]] -= 1
            standings[key] = FOLDED if free[key[0]] >= 0 else OVER
        new = [(*key, standings[key]) for key in sorted(standings) if key not in stored]
        if new:
            writer.execute(self._statements.insert_sessions, {"rows": msgspec.json.encode(new).decode()})
        for standing in (FOLDED, OVER):
            back = [stored[key].id for key in keys if key in stored and standings[key] is standing]
            if back:
                if self._statements.shared:
                    # Before their rows: a deletion, which has this lock first, would wait for a row and be waited for.
                    writer.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))
                set_standing(writer, back, standing)

    def _room(self, writer: sa.Connection, source: str, limit: int) -> int:
        """How many more names of a source are folded."""
        if self._full.get(source, 0) > time.monotonic():
            return 0
        room = room_of(writer, source, limit)
        if room <= 0:
            self._full[source] = time.monotonic() + FULL_S
        return room

    def known(self, writer: sa.Connection, keys: Sequence[Key]) -> dict[Key, int]:
        """The row ids of the names that the log knows."""
        found = {key: self.ids[key] for key in keys if key in self.ids}
        missing = set(keys).difference(found)
        return found | {key: row.id for key, row in self._stored(writer, missing).items()} if missing else found

    def folded(self, writer: sa.Connection, keys: Sequence[Key]) -> dict[Key, int]:
        """The row ids of names that are folded, as the log has it now: deletions in other shards are not known here."""
        found = self._stored(writer, keys) if keys else {}
        return {key: row.id for key, row in found.items() if row.standing == FOLDED}

    def unlearn(self, key: Key) -> None:
        """Forgets the row id of a name that was deleted: the log is asked about it when it comes next."""
        self.ids.pop(key, None)

    def remember(self, settled: Settled) -> None:
        """Remembers row ids. With several shards there may be a million names: the older ids are dropped then."""
        if not settled.looked:
            return
        if len(self.ids) > MAX_IDS and self._total > 1:
            self.ids.clear()
        self.ids.update(settled.ids)
        for key in settled.unfolded:
            del self.ids[key]


def newest_of(events: Iterable[StatusEvent]) -> dict[Key, int]:
    """The names of a batch in order of appearance, each with the time of its newest event (Unix ms)."""
    newest: dict[Key, int] = {}
    for item in events:
        key = (item.source, item.session)
        at = item.points[-1].at
        if at > newest.get(key, -1):
            newest[key] = at
    return newest


def is_undecided(row: Any | None, newest: int) -> bool:
    """Whether a name is new, or was deleted and has an event after its deletion (`newest`, Unix ms)."""
    return row is None or (row.standing == FORGOTTEN and newest > row.tombstone)


def room_of(reader: sa.Connection, source: str, limit: int) -> int:
    """How many more names of a source can be folded, by the log."""
    taken = sa.select(sa.func.count()).select_from(session)
    return limit - (reader.scalar(taken.where(session.c.source == source, session.c.standing == int(FOLDED))) or 0)


def is_over() -> sa.ColumnElement[bool]:
    """The condition that a name is over the limit, written so that the database uses the partial index."""
    return session.c.standing == sa.literal_column(str(int(OVER)))


def set_standing(writer: sa.Connection, ids: Sequence[int], standing: Standing) -> None:
    """Writes a decision."""
    writer.execute(sa.update(session).where(session.c.id.in_(ids)).values(standing=int(standing)))


def over_limit(reader: sa.Connection) -> dict[str, int]:
    """How many names of each source are over the limit; sources without any are left out."""
    query = sa.select(session.c.source, sa.func.count()).where(is_over()).group_by(session.c.source)
    return {row[0]: row[1] for row in reader.execute(query)}


def waiting(reader: sa.Connection, source: str, limit: int) -> Sequence[Any]:
    """The oldest names over the limit: rows of id, name, tombstone, buried."""
    query = sa.select(session.c.id, session.c.name, session.c.tombstone, session.c.buried).where(
        session.c.source == source, is_over()
    )
    return reader.execute(query.order_by(session.c.id).limit(max(0, limit))).all()


def purge(writer: sa.Connection, before: int, after: int, limit: int) -> tuple[int, int]:
    """Deletes names without events, among the next `limit` names after row id `after` that are not folded.

    A deleted name goes only when its deletion is older than `before` (Unix ms). Returns how many names were deleted and
    the last row id that was looked at, 0 at the end.
    """
    query = sa.select(session.c.id).where(session.c.id > after, session.c.standing != int(FOLDED))
    ids = writer.scalars(query.order_by(session.c.id).limit(limit)).all()
    if not ids:
        return 0, 0
    newer = sa.exists().where(
        event.c.session_id == session.c.id, event.c.key_at > session.c.tombstone, event.c.seq > session.c.buried
    )
    seen = sa.and_(session.c.id.in_(ids), session.c.standing == int(FORGOTTEN))
    # A replica that did not know of the deletion yet has logged newer events.
    writer.execute(sa.update(session).where(seen, newer).values(standing=int(FOLDED)))
    # A state that was saved during the deletion: retention would keep its events for ever.
    writer.execute(sa.delete(state).where(state.c.session_id.in_(sa.select(session.c.id).where(seen, ~newer))))
    empty = sa.select(session.c.id).where(
        session.c.id.in_(ids),
        session.c.standing != int(FOLDED),
        session.c.tombstone < before,
        ~sa.exists().where(event.c.session_id == session.c.id),
    )
    gone = writer.scalars(empty).all()
    for table in (heard, change, action, *OF_MESSAGES):
        writer.execute(sa.delete(table).where(table.c.session_id.in_(gone)))
    writer.execute(sa.delete(session).where(session.c.id.in_(gone)))
    return len(gone), ids[-1]
