"""What happened after a row of the log, as live readers were sent it: in the order of arrival."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.history.transitions import TransitionRow, transition_row
from wawp_exporter.log.names import OVER
from wawp_exporter.log.replay import anchor, fold_session, point_of
from wawp_exporter.log.tables import change, event, session
from wawp_exporter.model.machine import State, step
from wawp_exporter.model.session import FIRST_LIFE, Grave


class DeletionRow(msgspec.Struct, frozen=True):
    """A deletion of a session, logged after row `seq`."""

    source: str
    session: str
    seq: int


Entry = tuple[int, int, Any]  # (row of the log, number of the change or 0 for an event, the row itself)


@dataclass(slots=True)
class Replay:
    """Sessions as the live fleet had them while it folded the rows of the log one after another.

    `graves` and `states` are by the row id of a session; a session is read from the log when it is first needed.
    """

    reader: sa.Connection
    graves: dict[int, Grave] = field(default_factory=dict)
    states: dict[int, State | None] = field(default_factory=dict)

    def state(self, owner: int, seq: int) -> State | None:
        """A session by its rows up to `seq`."""
        grave = self.graves.get(owner, FIRST_LIFE)
        since = anchor(self.reader, owner, grave, seq)
        return fold_session(self.reader, owner, grave, since=since, seq=seq)

    def apply(self, row: Any) -> tuple[State | None, State | None]:
        """The states before and after an event."""
        owner, point = row.session_id, point_of(row)
        if owner not in self.states:
            self.states[owner] = self.state(owner, row.seq - 1)
        before = self.states[owner]
        if point.at <= self.graves.get(owner, FIRST_LIFE).at:
            return before, before
        # A late event seldom changes the status; it does where two webhooks are about one end of a session.
        late = before is not None and before.outdates(point)
        self.states[owner] = self.state(owner, row.seq) if late else step(before, point)[0]
        return before, self.states[owner]

    def delete(self, row: Any) -> State | None:
        """Deletes a session; returns the state that it had, None if it had none."""
        if row.session_id not in self.states:
            self.states[row.session_id] = self.state(row.session_id, row.seq)
        before, self.states[row.session_id] = self.states[row.session_id], None
        tombstone = max(row.tombstone, self.graves.get(row.session_id, FIRST_LIFE).at)
        self.graves[row.session_id] = Grave(tombstone, row.seq)
        return before


def missed(reader: sa.Connection, after: int, limit: int) -> list[TransitionRow | DeletionRow] | None:
    """Every transition and deletion after row `after`.

    None after more than `limit` rows, and when the log has changed otherwise: a revised row may have changed a status,
    and a name that was over the limit was not sent before. Both are rare; the reader then loads everything anew.
    """
    names = (session.c.source, session.c.name)
    folded = session.c.standing != int(OVER)
    rows = sa.select(*names, event).join_from(event, session, session.c.id == event.c.session_id)
    found = reader.execute(rows.where(event.c.seq > after, folded).order_by(event.c.seq).limit(limit + 1)).all()
    changes = sa.select(*names, change).join_from(change, session, session.c.id == change.c.session_id)
    # A change after row `after` itself came later than that row.
    changed = reader.execute(changes.where(change.c.seq >= after).order_by(change.c.id).limit(limit + 1)).all()
    if len(found) > limit or len(changed) > limit or not all(row.tombstone for row in changed):
        return None
    entries: list[Entry] = sorted([*((row.seq, 0, row) for row in found), *((row.seq, row.id, row) for row in changed)])
    owners = {row.session_id for _, _, row in entries}
    return list(replayed(Replay(reader, graves_before(reader, owners, after)), entries))


def replayed(replay: Replay, entries: list[Entry]) -> Iterator[TransitionRow | DeletionRow]:
    """The entries that were transitions or deletions when they came."""
    for seq, number, row in entries:
        if number:
            if replay.delete(row):
                yield DeletionRow(row.source, row.name, seq)
        else:
            before, now = replay.apply(row)
            if now and (before is None or before.status is not now.status):
                yield transition_row(row, before.status if before else None, now.status, now.since)


def graves_before(reader: sa.Connection, owners: set[int], after: int) -> dict[int, Grave]:
    """The last deletion before row `after` of each of these sessions (by row id) that was deleted."""
    query = (
        sa.select(change.c.session_id, sa.func.max(change.c.tombstone), sa.func.max(change.c.seq))
        .where(change.c.tombstone > 0, change.c.seq < after)
        .group_by(change.c.session_id)
    )
    return {owner: Grave(at, seq) for owner, at, seq in reader.execute(query) if owner in owners}
