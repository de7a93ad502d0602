"""What happened after a row of the log, as those who followed live were told: in the order of arrival."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from wawp_exporter.log.names import OVER
from wawp_exporter.log.replay import anchor, fold_session, point_of
from wawp_exporter.log.tables import change, event, session
from wawp_exporter.model.machine import State, step
from wawp_exporter.model.session import FIRST_LIFE, Grave


@dataclass(frozen=True, slots=True)
class Happened:
    """A transition by a row of the log, or a deletion (`after` is None) behind row `seq`."""

    seq: int
    row: Any
    before: State | None
    after: State | None


@dataclass(slots=True)
class Past:
    """Sessions as they were at a row of the log, and were told."""

    reader: sa.Connection
    graves: dict[int, Grave] = field(default_factory=dict)
    states: dict[int, State | None] = field(default_factory=dict)

    def state(self, owner: int, seq: int) -> State | None:
        """A session by its rows up to `seq`."""
        grave = self.graves.get(owner, FIRST_LIFE)
        since = anchor(self.reader, owner, 1 << 62, grave, seq)
        return fold_session(self.reader, owner, grave, since=since, seq=seq)

    def take(self, row: Any) -> tuple[State | None, State | None]:
        """The states before and after a row."""
        owner, point = row.session_id, point_of(row)
        if owner not in self.states:
            self.states[owner] = self.state(owner, row.seq - 1)
        before = self.states[owner]
        if point.at <= self.graves.get(owner, FIRST_LIFE).at:
            return before, before
        # A late one seldom changes the status: where two webhooks are about one end of a session.
        late = before is not None and before.outdates(point)
        self.states[owner] = self.state(owner, row.seq) if late else step(before, point)[0]
        return before, self.states[owner]

    def delete(self, row: Any) -> State | None:
        """Ends a session; what it was."""
        if row.session_id not in self.states:
            self.states[row.session_id] = self.state(row.session_id, row.seq)
        before, self.states[row.session_id] = self.states[row.session_id], None
        tombstone = max(row.tombstone, self.graves.get(row.session_id, FIRST_LIFE).at)
        self.graves[row.session_id] = Grave(tombstone, row.seq)
        return before


def missed(reader: sa.Connection, after: int, limit: int) -> list[Happened] | None:
    """Everything after row `after`; None when that are more than `limit` rows, or the log has changed otherwise.

    A row that was told more may have changed a status, and a name that was over the limit was not told before: both
    are rare, and whoever was away looks at everything anew.
    """
    names = (session.c.source, session.c.name)
    folded = session.c.standing != int(OVER)
    rows = sa.select(*names, event).join_from(event, session, session.c.id == event.c.session_id)
    found = reader.execute(rows.where(event.c.seq > after, folded).order_by(event.c.seq).limit(limit + 1)).all()
    changes = sa.select(*names, change).join_from(change, session, session.c.id == change.c.session_id)
    # One that stands behind the row itself came after it.
    changed = reader.execute(changes.where(change.c.seq >= after).order_by(change.c.id).limit(limit + 1)).all()
    if len(found) > limit or len(changed) > limit or not all(row.tombstone for row in changed):
        return None
    entries = sorted([*((row.seq, 0, row) for row in found), *((row.seq, row.id, row) for row in changed)])
    owners = {row.session_id for _, _, row in entries}
    return list(told(Past(reader, graves_before(reader, owners, after)), entries))


def told(past: Past, entries: list[tuple[int, int, Any]]) -> Iterator[Happened]:
    """Those that were transitions or deletions when they came."""
    for seq, number, row in entries:
        if number:
            before = past.delete(row)
            if before:
                yield Happened(seq, row, before, None)
        else:
            before, now = past.take(row)
            if now and (before is None or before.status is not now.status):
                yield Happened(seq, row, before, now)


def graves_before(reader: sa.Connection, owners: set[int], after: int) -> dict[int, Grave]:
    """The last deletions before row `after` of sessions that something happened to since."""
    query = (
        sa.select(change.c.session_id, sa.func.max(change.c.tombstone), sa.func.max(change.c.seq))
        .where(change.c.tombstone > 0, change.c.seq < after)
        .group_by(change.c.session_id)
    )
    return {owner: Grave(at, seq) for owner, at, seq in reader.execute(query) if owner in owners}
