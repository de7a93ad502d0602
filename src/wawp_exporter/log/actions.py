"""Actions: restarts of sessions after an alert, decided by one replica at a time and kept with their results."""

from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.names import UNLIMITED
from wawp_exporter.log.tables import action, session
from wawp_exporter.model.rules import Key

RECENT_MS = 86_400_000  # how far back a decision looks
RUNNING, INTERRUPTED = "running", "interrupted"


class Action(msgspec.Struct, frozen=True):
    """An action on a session at `at` (Unix ms) after an alert, and its result."""

    id: int
    at: int
    kind: str
    alert: str
    result: str


class ActionTable:
    """The table of actions. Belongs to the thread that writes the log; every method may raise LogError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, key: Key, kind: str, alert: str, now: int, judge: Callable[[Sequence[Action]], str]) -> Action:
        """Writes that an action on a session begins at `now` (Unix ms), or why it is refused.

        `judge` gets the session's actions of the last day, newest first, and returns "" or the reason of a refusal. No
        other replica decides about the session meanwhile. A refusal that repeats the last action is not written again.
        """
        with self._database.writing() as writer:
            owner = self._database.names.settle(writer, {key: 0}, UNLIMITED).ids[key]
            writer.execute(sa.select(session.c.id).where(session.c.id == owner).with_for_update())
            recent = actions_of(writer, owner, now - RECENT_MS)
            result = judge(recent) or RUNNING
            if recent and result != RUNNING and (recent[0].result, recent[0].alert) == (result, alert):
                return recent[0]
            row = sa.insert(action).values(session_id=owner, at=now, kind=kind, alert=alert, result=result)
            number = writer.execute(row).inserted_primary_key[0]  # type: ignore[index]  # it has a key
        return Action(number, now, kind, alert, result)

    def conclude(self, number: int, result: str) -> None:
        """Writes the result of an action."""
        with self._database.writing() as writer:
            writer.execute(sa.update(action).where(action.c.id == number).values(result=result))

    def conclude_cut_off(self, before: int) -> int:
        """Writes that running actions begun before `before` (Unix ms) were interrupted; returns how many."""
        with self._database.writing() as writer:
            running = sa.and_(action.c.result == RUNNING, action.c.at < before)
            return writer.execute(sa.update(action).where(running).values(result=INTERRUPTED)).rowcount


def actions_of(reader: sa.Connection, owner: int, since: int, limit: int | None = None) -> list[Action]:
    """The actions since `since` (Unix ms) on a session, by its row id, newest first."""
    query = sa.select(action).where(action.c.session_id == owner, action.c.at >= since)
    rows = reader.execute(query.order_by(action.c.id.desc()).limit(limit))
    return [Action(row.id, row.at, row.kind, row.alert, row.result) for row in rows]
