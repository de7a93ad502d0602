"""One session by the log: its rows folded, as the live fleet folded them when they came."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.tables import certain, change, event, session
from wawp_exporter.log.versions import at_change
from wawp_exporter.model.event import ENDINGS, OTHER_ENGINE, Limit, Point, Status
from wawp_exporter.model.machine import State, fold
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import FIRST_LIFE, Grave, Memory, learn


def point_of(row: Any) -> Point:
    """A row of the log as a point. `origin` also holds the kind of an end, since no event has both."""
    ending = row.origin if row.origin in ENDINGS else None
    return Point(row.status, row.at, row.tie, row.key_at, ending, row.reason or "")


def counted(owner: int, grave: Grave) -> list[sa.ColumnElement[bool]]:
    """The rows of a session that belong to its present life, if it was deleted."""
    return [event.c.session_id == owner, event.c.at > grave.at, event.c.seq > grave.seq]


def fold_session(
    reader: sa.Connection,
    owner: int,
    grave: Grave = FIRST_LIFE,
    *,
    since: int = 0,
    seq: int | None = None,
    number: int | None = None,
) -> State | None:
    """Folds the rows of a session from `since` (Unix ms) on, up to row `seq`, by (at, tie), then arrival.

    With `number` the rows are as they were after the change of that number.
    """
    columns = sa.select(
        *(event.c.status, event.c.at, event.c.tie, event.c.key_at, event.c.origin, event.c.reason),
        *((event.c.seq, event.c.limits, event.c.revision, event.c.former) if number is not None else ()),
    )
    # The time as sent is never before `at`, and it is the one that is indexed.
    where = [*counted(owner, grave), event.c.at >= since, event.c.key_at >= since]
    if seq is not None:
        where.append(event.c.seq <= seq)
    rows: Iterable[Any] = reader.execute(columns.where(*where).order_by(event.c.at, event.c.tie, event.c.seq))
    if number is not None:
        rows = sorted(at_change(reader, owner, rows, number), key=attrgetter("at", "tie", "seq"))
    return fold(point_of(row) for row in rows)


def anchor(reader: sa.Connection, owner: int, grave: Grave = FIRST_LIFE, seq: int | None = None) -> int:
    """The time (Unix ms) of the last other status before the last WORKING; 0 if there is none.

    Nothing before that can matter for the present state.
    """
    mine = counted(owner, grave) + ([] if seq is None else [event.c.seq <= seq])
    working = newest(reader, *mine, event.c.status == Status.WORKING)
    if working is None:
        return 0
    return newest(reader, *mine, event.c.status != Status.WORKING, certain(event), before=working) or 0


def newest(reader: sa.Connection, *where: sa.ColumnElement[bool], before: int | None = None) -> int | None:
    """The newest time (Unix ms) of the rows of a session, before a moment if one is given; None if there is none.

    Found by the time as sent, which is in the key of the table, and for the few rows that took effect at another one by
    an index of theirs: a session may have thousands of rows.
    """
    # For an equation PostgreSQL expects one row in 200, and would read and sort all rows of the session.
    same = sa.case((event.c.at == event.c.key_at, sa.true()), else_=sa.false())
    parts = (
        sa.select(time)
        .where(*where, kind, *(() if before is None else (time < before,)))
        .order_by(time.desc())
        .limit(1)
        .scalar_subquery()
        for time, kind in ((event.c.key_at, same), (event.c.at, event.c.at != event.c.key_at))
    )
    return max((at for at in reader.execute(sa.select(*parts)).one() if at is not None), default=None)


def refold(
    reader: sa.Connection,
    owner: int,
    grave: Grave,
    memory: Memory | None,
    covered: int,
    seq: int | None = None,
    number: int | None = None,
) -> Memory | None:
    """A session's memory by its rows up to `seq`; the given `memory` is by the rows up to `covered`. None: no rows.

    With `number` the rows are as they were after the change of that number.
    """
    folded = fold_session(reader, owner, grave, seq=seq, number=number)
    if folded is None:
        return None
    if memory is None:
        covered = 0
    tail = Tail(memory, grave)
    for row in arrivals(reader, owner, covered, seq, number):
        tail.take(row)
    # Retention may have deleted the events in which it was WORKING.
    worked = folded.worked or bool(memory and memory.state.worked)
    state = msgspec.structs.replace(folded, worked=worked)
    return Memory(state, tail.engine, tail.last_event, tuple(tail.limits.values()), tail.engine_at)


def arrivals(reader: sa.Connection, owner: int, covered: int, seq: int | None, number: int | None) -> Sequence[Any]:
    """The rows of a session after `covered` in order of arrival; a revised row comes again where it was revised.

    What was revised right after row `covered` comes again, since nobody knows whether the memory has it already. To
    apply it twice does no harm, because nothing that the memory has came later.
    """
    columns = (
        *(event.c.seq, event.c.at, event.c.tie, event.c.received_at, event.c.engine, event.c.limits),
        *(event.c.reason, event.c.revision, event.c.former),
    )
    new = sa.select(event.c.seq.label("place"), sa.literal(0).label("again"), *columns).where(
        event.c.session_id == owner, event.c.seq > covered
    )
    more = (
        sa.select(change.c.seq.label("place"), change.c.id.label("again"), *columns)
        .join_from(change, event, event.c.seq == change.c.event_seq)
        .where(change.c.session_id == owner, change.c.seq >= covered)
    )
    if seq is not None:
        new, more = new.where(event.c.seq <= seq), more.where(change.c.seq <= seq)
    if number is not None:
        more = more.where(change.c.id <= number)
    rows = reader.execute(sa.union_all(new, more).order_by("place", "again")).all()
    return rows if number is None else at_change(reader, owner, rows, number)


class Tail:
    """Engine, restrictions and last event of a session: those of a memory, updated row by row in order of arrival."""

    def __init__(self, memory: Memory | None, grave: Grave) -> None:
        self.grave = grave
        self.born = memory is not None
        self.engine = memory.engine if memory else OTHER_ENGINE
        self.engine_at = memory.named_at if memory else 0
        self.last_event = memory.last_event if memory else 0
        self.limits = {limit.restriction: (limit, at) for limit, at in memory.limits} if memory else {}

    def take(self, row: Any) -> None:
        """Applies one row, as the live fleet applies an event of one point."""
        counts = row.at > self.grave.at and row.seq > self.grave.seq
        self.born = self.born or counts
        if self.born and row.place > self.grave.seq:
            self.last_event = max(self.last_event, row.received_at)
        if not counts:
            return
        if row.engine and not row.again and row.at >= self.engine_at:
            self.engine, self.engine_at = row.engine, row.at
        if row.limits:
            learn(self.limits, msgspec.json.decode(row.limits, type=tuple[Limit, ...]), row.at)


def actual(row: Any, memory: Memory | None) -> Memory | None:
    """The saved memory of a session, or None if the memory is from before the session's deletion.

    That happens when a state was read before the deletion and saved after it.
    """
    if memory is None or (row.tombstone and memory.state.at <= row.tombstone):
        return None
    return memory if row.seq > row.buried or not row.buried else None


def grave_at(reader: sa.Connection, row: Any, number: int) -> Grave:
    """When a session, a row of `session`, had last been deleted at a place of the log, the change of that number."""
    deletions = sa.select(sa.func.max(change.c.tombstone), sa.func.max(change.c.seq), sa.func.count()).where(
        change.c.session_id == row.id, change.c.tombstone > 0
    )
    *_, later = reader.execute(deletions.where(change.c.id > number)).one()
    if not later:
        return Grave(row.tombstone, row.buried)
    at, seq, _ = reader.execute(deletions.where(change.c.id <= number)).one()
    return Grave(at or 0, seq or 0)


def owner_of(reader: sa.Connection, key: Key) -> int:
    """The row id of a session; 0 for an unknown one."""
    where = sa.and_(session.c.source == key[0], session.c.name == key[1])
    return reader.scalar(sa.select(session.c.id).where(where)) or 0
