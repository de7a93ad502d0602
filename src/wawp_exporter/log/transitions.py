"""Pages of transitions, newest first. Repeats are left out by the database, and what is read for a page is bounded."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.errors import BadRequest
from wawp_exporter.log import ordered
from wawp_exporter.log.ordered import UNCERTAIN, points_of, status_before
from wawp_exporter.log.replay import point_of
from wawp_exporter.log.tables import certain, event
from wawp_exporter.log.tables import session as sessions
from wawp_exporter.model.event import CLOSED, ENDINGS, LOST, OTHER_ENGINE, Status, normal
from wawp_exporter.model.machine import State, fold, step

CHUNK = 500  # events looked at first: few pages need more
LARGEST_CHUNK = 8000
MAX_EVENTS = 100_000  # looked at for one page; the next page goes on from there
MAX_OWNERS = 10  # sessions that are looked up one by one; of more the events of all are read in order of time

Mark = tuple[int, int, int]  # (at, tie, seq): the order of events


class Told(msgspec.Struct, frozen=True):
    """A transition as the log tells it. Times are Unix ms; `observed` is the status as it was sent."""

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


class Asked(msgspec.Struct, frozen=True):
    """Which transitions: of a source, of sessions of a name, with `start` <= at < `end` (Unix ms)."""

    source: str | None = None
    session: str | None = None
    start: int | None = None
    end: int | None = None

    def about(self) -> list[sa.ColumnElement[bool]]:
        """The conditions on the session."""
        given = ((sessions.c.source, self.source), (sessions.c.name, self.session))
        return [column == value for column, value in given if value is not None]

    def within(self, moment: sa.ColumnElement[int], place: Mark | None) -> list[sa.ColumnElement[bool]]:
        """The conditions on the time, `moment` being how an index has it, of events before `place`."""
        found = [moment >= (self.start or 0)]
        if self.end is not None:
            found.append(moment < self.end)
        if place:
            before = sa.tuple_(event.c.at, event.c.tie, event.c.seq) < sa.tuple_(*map(sa.literal, place))
            found += [moment <= place[0], before]
        return found


COLUMNS = tuple(
    event.c[name] for name in ("seq", "session_id", "status", "at", "tie", "key_at", "received_at", "engine", "origin")
)
# Written as in the index `event_at`: an expression, so that no other question is answered by it.
IN_ORDER: sa.ColumnElement[int] = event.c.at + sa.literal_column("0")


def page(reader: sa.Connection, asked: Asked, limit: int, cursor: str | None) -> tuple[list[Told], str | None]:
    """At most `limit` transitions, and the cursor of the next page. It may be short, or empty, and not the last.

    Raises BadRequest for a cursor that was not given out.
    """
    place = parse_place(cursor) if cursor else None
    owners, looked_at, size = owners_of(reader, asked), 0, CHUNK
    found: list[Told] = []
    while looked_at < MAX_EVENTS:
        rows = reader.execute(chunk(asked, owners, place, size)).all()
        for item in transitions_in(reader, asked, rows):
            if len(found) == limit:
                return found, to_cursor(found[-1].at, found[-1].tie, found[-1].seq)
            found.append(item)
        if not rows or rows[-1].place < size:
            return found, None
        place = (rows[-1].at, rows[-1].tie, rows[-1].seq)
        looked_at += size * len(owners or [0])
        size = min(size * 4, LARGEST_CHUNK)
    return found, to_cursor(*place) if place else None


def transitions_in(reader: sa.Connection, asked: Asked, rows: Sequence[sa.Row[Any]]) -> Iterator[Told]:
    """Those of the rows that are some; the last row of a chunk may be of another session."""
    for row in rows:
        if asked.source in (None, row.source) and asked.session in (None, row.session):
            item = tell(reader, row)
            if item.before is not item.status:
                yield item


def owners_of(reader: sa.Connection, asked: Asked) -> list[int] | None:
    """The ids of the sessions that are asked for; None if those are all, or many."""
    about = asked.about()
    if not about:
        return None
    found = reader.execute(sa.select(sessions.c.id).where(*about).limit(MAX_OWNERS + 1)).scalars().all()
    return list(found) if len(found) <= MAX_OWNERS else None


def chunk(asked: Asked, owners: list[int] | None, place: Mark | None, size: int) -> sa.Select[Any]:
    """Of the newest `size` events before `place` those that may be transitions, and the last one, whatever it is."""
    chosen = newest(asked, place, size, IN_ORDER) if owners is None else newest_of(asked, owners, place, size)
    events = chosen.subquery("chosen")
    order = (events.c.at, events.c.tie, events.c.seq)
    known = sa.case((certain(events), events.c.status), else_=UNCERTAIN)
    seen = sa.select(
        *events.c,
        sa.func.row_number().over(order_by=[column.desc() for column in order]).label("place"),
        sa.func.row_number().over(partition_by=events.c.session_id, order_by=order).label("number"),
        sa.func.lag(known).over(partition_by=events.c.session_id, order_by=order).label("prior"),
    ).subquery("seen")
    # The event before the first one of each session is in no chunk yet, and looked up.
    before = sa.case((seen.c.number == 1, status_before(seen)), else_=seen.c.prior).label("before")
    changed = sa.or_(
        seen.c.number == 1,
        seen.c.prior != seen.c.status,
        seen.c.prior == UNCERTAIN,
        seen.c.origin.in_([CLOSED, LOST]),
    )
    return (
        sa.select(*seen.c, sessions.c.source, sessions.c.name.label("session"), before)
        .join_from(seen, sessions, sessions.c.id == seen.c.session_id)
        .where(sa.or_(sa.and_(changed, *asked.about()), seen.c.place == size))
        .order_by(seen.c.place)
    )


def newest(
    asked: Asked, place: Mark | None, size: int, moment: sa.ColumnElement[int], *where: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """The newest events before `place`, in the order of an index that begins with `moment`."""
    query = sa.select(*COLUMNS).where(*where, *asked.within(moment, place))
    return query.order_by(moment.desc(), event.c.tie.desc(), event.c.seq.desc()).limit(size)


def newest_of(asked: Asked, owners: list[int], place: Mark | None, size: int) -> sa.Select[Any]:
    """The newest events of some sessions: by the time as sent, which is in the key of the table, and skewed ones."""
    # Of an equation PostgreSQL expects one row in 200, and would read and sort all events of the session.
    usual = sa.case((event.c.at == event.c.key_at, sa.true()), else_=sa.false())
    skewed = event.c.at != event.c.key_at
    parts = [
        newest(asked, place, size, moment, event.c.session_id == owner, kind)
        for owner in owners
        for moment, kind in ((event.c.key_at, usual), (event.c.at, skewed))
    ] or [sa.select(*COLUMNS).where(sa.false())]
    each = [sa.select(part.subquery(f"part_{number}")) for number, part in enumerate(parts)]
    union = sa.union_all(*each).subquery("all_parts")
    return sa.select(*union.c).order_by(union.c.at.desc(), union.c.tie.desc(), union.c.seq.desc()).limit(size)


def tell(reader: sa.Connection, row: sa.Row[Any]) -> Told:
    """An event and the status before it."""
    if row.before == UNCERTAIN or row.origin in (CLOSED, LOST):
        before, status = judged(reader, row)
    else:
        before, status = normal(row.before) if row.before is not None else None, normal(row.status)
    return Told(
        row.source,
        row.session,
        before,
        status,
        row.status,
        row.at,
        row.tie,
        row.received_at,
        row.seq,
        row.engine or OTHER_ENGINE,
        None if row.origin in ENDINGS else row.origin,
    )


def judged(reader: sa.Connection, row: sa.Row[Any]) -> tuple[Status | None, Status]:
    """The status before and after an event, where the events before it decide: as the fold has it."""
    owner, place = row.session_id, (row.at, row.tie, row.seq)
    since = ordered.newest(reader, [(owner, row.at)], certain(ordered.prior))
    state: State | None = None
    for _, rows in ordered.between(reader, [(owner, since.get(owner, 0))], row.at + 1):
        state = fold(point for each, point in zip(rows, points_of(rows), strict=True) if each[1:4] < place)
    return state.status if state else None, step(state, point_of(row))[0].status


def to_cursor(at: int, tie: int, seq: int) -> str:
    """Where a page ended, opaque to the caller."""
    return base64.urlsafe_b64encode(msgspec.json.encode((at, tie, seq))).decode()


def parse_place(text: str) -> Mark:
    """The end of the page before. Raises BadRequest for anything that was not given out."""
    try:
        place: Mark = msgspec.json.decode(base64.b64decode(text, b"-_", validate=True), type=Mark)
    except (binascii.Error, ValueError):
        raise BadRequest("cursor: not one that was given out, expected next_cursor of the answer before") from None
    if not all(0 <= part < 1 << 63 for part in place):
        raise BadRequest("cursor: not one that was given out, expected next_cursor of the answer before")
    return place
