"""Pages of transitions, newest first. The database leaves repeats out, and the work for one page is bounded."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.history import ordered
from wawp_exporter.log.history.ordered import UNCERTAIN, points_of, selected, status_before
from wawp_exporter.log.replay import point_of
from wawp_exporter.log.tables import certain, event
from wawp_exporter.log.tables import session as sessions
from wawp_exporter.model.event import CLOSED, ENDINGS, LOST, OTHER_ENGINE, Status, normal
from wawp_exporter.model.machine import State, fold, step

CHUNK = 500  # events that are read first: few pages need more
LARGEST_CHUNK = 8000
AMONG = 20_000  # events of all sessions among which those of a chunk are looked for
MAX_EVENTS = 100_000  # that are looked at for one page; the next page goes on from there
MAX_OWNERS = 10  # sessions that are read one by one; more than these are looked for among the events of all

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Position(NamedTuple):
    """A place in the order of events."""

    at: Number
    tie: Number
    seq: Number


class TransitionRow(msgspec.Struct, frozen=True):
    """A transition in the log: the session went from `before` (None for its first status) to `status`.

    `at` and `received_at` are in Unix ms, `at` by the gateway's clock. `observed` is the status as the gateway sent it,
    `seq` the row of the event in the log, `reason` why the session is lost, if the gateway said so with this event.
    """

    source: str
    session: str
    before: Status | None
    status: Status
    observed: str
    at: int
    tie: int
    received_at: int
    seq: int
    engine: str
    origin: str | None = None
    reason: str = ""


class Filter(msgspec.Struct, frozen=True):
    """Which transitions: of a source, of sessions of a name, with `start` <= at < `end` (Unix ms). None matches all."""

    source: str | None = None
    session: str | None = None
    start: int | None = None
    end: int | None = None

    def about(self) -> Sequence[sa.ColumnElement[bool]]:
        """The conditions on the session."""
        return selected(self.source, self.session)

    def within(self, moment: sa.ColumnElement[int], position: Position | None) -> list[sa.ColumnElement[bool]]:
        """The conditions on the time of events before a position. `moment` is the time as an index has it."""
        found = [moment >= (self.start or 0)]
        if self.end is not None:
            found.append(moment < self.end)
        if position:
            before = sa.tuple_(event.c.at, event.c.tie, event.c.seq) < sa.tuple_(*map(sa.literal, position))
            found += [moment <= position.at, before]
        return found


COLUMNS = tuple(
    event.c[name]
    for name in ("seq", "session_id", "status", "at", "tie", "key_at", "received_at", "engine", "origin", "reason")
)
# Written as in the index `event_at`, so that the database uses that index here and for no other query.
IN_ORDER: sa.ColumnElement[int] = event.c.at + sa.literal_column("0")


def page(
    reader: sa.Connection, asked: Filter, limit: int, position: Position | None
) -> tuple[list[TransitionRow], Position | None]:
    """At most `limit` transitions before a position, newest first, and the position of the next page (None: no more).

    A page may be short, or empty, and not the last.
    """
    owners, looked_at, size = owners_of(reader, asked), 0, CHUNK
    among = AMONG if owners is None and asked.about() else 0
    found: list[TransitionRow] = []
    while looked_at < MAX_EVENTS:
        rows = reader.execute(chunk(asked, owners, position, size)).all()
        for item in transitions_in(reader, rows):
            if len(found) == limit:
                return found, Position(found[-1].at, found[-1].tie, found[-1].seq)
            found.append(item)
        full = rows and rows[-1].place == size
        position = position_of(rows[-1]) if full else end_of(reader, asked, position) if among else None
        if position is None:
            return found, None
        looked_at += among or size * len(owners or [0])
        size = min(size * 4, LARGEST_CHUNK)
    return found, position


def transitions_in(reader: sa.Connection, rows: Sequence[sa.Row[Any]]) -> Iterator[TransitionRow]:
    """The transitions among the rows of a chunk."""
    items = (transition_at(reader, row) for row in rows)
    return (item for item in items if item.before is not item.status)


def owners_of(reader: sa.Connection, asked: Filter) -> list[int] | None:
    """The row ids of the sessions that match; None if these are all sessions, or more than MAX_OWNERS."""
    about = asked.about()
    if not about:
        return None
    found = reader.execute(sa.select(sessions.c.id).where(*about).limit(MAX_OWNERS + 1)).scalars().all()
    return list(found) if len(found) <= MAX_OWNERS else None


def end_of(reader: sa.Connection, asked: Filter, position: Position | None) -> Position | None:
    """Where those events of all sessions end among which a chunk was looked for; None: where the log ends."""
    last = reader.execute(newest(asked, position, 1, IN_ORDER).offset(AMONG - 1)).first()
    return position_of(last) if last else None


def position_of(row: sa.Row[Any]) -> Position:
    """The place of an event in the order of events."""
    return Position(row.at, row.tie, row.seq)


def chunk(asked: Filter, owners: list[int] | None, position: Position | None, size: int) -> sa.Select[Any]:
    """Those of the newest `size` events before a position that may be transitions, and always the last event."""
    events = chosen(asked, owners, position, size).subquery("events")
    order = (events.c.at, events.c.tie, events.c.seq)
    known = sa.case((certain(events), events.c.status), else_=UNCERTAIN)
    seen = sa.select(
        *events.c,
        sa.func.row_number().over(partition_by=events.c.session_id, order_by=order).label("number"),
        sa.func.lag(known).over(partition_by=events.c.session_id, order_by=order).label("prior"),
    ).subquery("seen")
    # The event before the first one of each session is not in the chunk, and is looked up.
    before = sa.case((seen.c.number == 1, status_before(seen)), else_=seen.c.prior).label("before")
    changed = sa.or_(
        seen.c.number == 1,
        seen.c.prior != seen.c.status,
        seen.c.prior == UNCERTAIN,
        seen.c.origin.in_([CLOSED, LOST]),
    )
    return (
        sa.select(*seen.c, sessions.c.source, sessions.c.name, before)
        .join_from(seen, sessions, sessions.c.id == seen.c.session_id)
        .where(sa.or_(changed, seen.c.place == size))
        .order_by(seen.c.place)
    )


def chosen(asked: Filter, owners: list[int] | None, position: Position | None, size: int) -> sa.Select[Any]:
    """The newest `size` events of the asked sessions before a position, each with its `place` among them."""
    if owners is not None:
        rows = newest_of(asked, owners, position, size).subquery("rows")
    elif asked.about():
        rows = newest_among(asked, position, size).subquery("rows")
    else:
        rows = newest(asked, position, size, IN_ORDER).subquery("rows")
    newest_first = [column.desc() for column in (rows.c.at, rows.c.tie, rows.c.seq)]
    return sa.select(*rows.c, sa.func.row_number().over(order_by=newest_first).label("place"))


def newest_among(asked: Filter, position: Position | None, size: int) -> sa.Select[Any]:
    """The newest `size` events of the asked sessions among the newest AMONG of all sessions."""
    events = newest(asked, position, AMONG, IN_ORDER).subquery("among")
    # In a CASE, since for a join PostgreSQL might read the events session by session, or the names of all sessions.
    known = sa.exists().where(sessions.c.id == events.c.session_id, *asked.about())
    # Both databases take the events one by one, in their order, until there are enough. SQLite would read and sort them
    # all if this statement asked for an order of its own.
    return sa.select(*events.c).where(sa.case((known, sa.true()), else_=sa.false())).limit(size)


def newest(
    asked: Filter, position: Position | None, size: int, moment: sa.ColumnElement[int], *where: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """The newest events before a position, in the order of an index that begins with `moment`."""
    query = sa.select(*COLUMNS).where(*where, *asked.within(moment, position))
    return query.order_by(moment.desc(), event.c.tie.desc(), event.c.seq.desc()).limit(size)


def newest_of(asked: Filter, owners: list[int], position: Position | None, size: int) -> sa.Select[Any]:
    """The newest events of some sessions: by the time as sent, which is in the key of the table, and skewed ones."""
    # For an equation PostgreSQL expects one row in 200, and would read and sort all events of the session.
    usual = sa.case((event.c.at == event.c.key_at, sa.true()), else_=sa.false())
    skewed = event.c.at != event.c.key_at
    parts = [
        newest(asked, position, size, moment, event.c.session_id == owner, kind)
        for owner in owners
        for moment, kind in ((event.c.key_at, usual), (event.c.at, skewed))
    ] or [sa.select(*COLUMNS).where(sa.false())]
    each = [sa.select(part.subquery(f"part_{number}")) for number, part in enumerate(parts)]
    union = sa.union_all(*each).subquery("all_parts")
    return sa.select(*union.c).order_by(union.c.at.desc(), union.c.tie.desc(), union.c.seq.desc()).limit(size)


def transition_at(reader: sa.Connection, row: sa.Row[Any]) -> TransitionRow:
    """The transition of an event, from the status before it; a repeat has the same status before and after."""
    if row.before == UNCERTAIN or row.origin in (CLOSED, LOST):
        before, status = folded(reader, row)
    else:
        before, status = normal(row.before) if row.before is not None else None, normal(row.status)
    return transition_row(row, before, status, row.at)


def transition_row(row: Any, before: Status | None, status: Status, at: int) -> TransitionRow:
    """A row of the log, joined with its session, as a transition at `at` (Unix ms)."""
    return TransitionRow(
        row.source,
        row.name,
        before,
        status,
        row.status,
        at,
        row.tie,
        row.received_at,
        row.seq,
        row.engine or OTHER_ENGINE,
        None if row.origin in ENDINGS else row.origin,
        row.reason or "",
    )


def folded(reader: sa.Connection, row: sa.Row[Any]) -> tuple[Status | None, Status]:
    """The status before and after an event whose meaning depends on the events before it, as the fold has it."""
    owner, position = row.session_id, (row.at, row.tie, row.seq)
    since = ordered.newest(reader, [(owner, row.at)], certain(ordered.prior))
    state: State | None = None
    for _, rows in ordered.between(reader, [(owner, since.get(owner, 0))], row.at + 1):
        state = fold(point for each, point in zip(rows, points_of(rows), strict=True) if each[1:4] < position)
    return state.status if state else None, step(state, point_of(row))[0].status
