"""The event log, read only: transitions, timelines and disconnects. It may be open while the service writes."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import sqlalchemy as sa

from wawp_exporter.errors import LogError
from wawp_exporter.log import ordered
from wawp_exporter.log.log import Action, actions_of
from wawp_exporter.log.missed import Happened, missed
from wawp_exporter.log.names import OVER
from wawp_exporter.log.ordered import points_of
from wawp_exporter.log.place import SCHEMA, Place, make_engine, name_of, told, version
from wawp_exporter.log.replay import owner_of
from wawp_exporter.log.tables import certain, event, run
from wawp_exporter.log.tables import session as sessions
from wawp_exporter.log.transitions import Asked, Told, page
from wawp_exporter.model.event import ENDINGS, OTHER_ENGINE, Point, Status
from wawp_exporter.model.machine import State, step
from wawp_exporter.model.rules import Key

AHEAD_MS = 60_000  # the believed time of an event is never later than its receipt by more
# Leaving WORKING for one of these is a disconnect.
WORSE = [status.value for status in Status if status not in (Status.WORKING, Status.STOPPED, Status.UNKNOWN)]

# From when on the events of each session (by its row id) are read; from the first where it says nothing.
Since = Callable[[sa.Connection, Sequence[int]], dict[int, int]]


class Gone(msgspec.Struct, frozen=True):
    """A deletion that came behind row `seq`."""

    source: str
    session: str
    seq: int


class Timeline(msgspec.Struct, frozen=True):
    """One session over a time: the status in force at its start first, then each transition, as (Unix ms, status).

    `tombstone` is when it was last deleted (Unix ms), 0 for never; what stands before it ended then.
    """

    source: str
    session: str
    engine: str
    tombstone: int
    points: list[tuple[int, Status]]


class Past(msgspec.Struct, frozen=True):
    """One session's points as logged, from as far back as what is true at the start rests on."""

    source: str
    session: str
    engine: str
    tombstone: int
    points: list[Point]


class History:
    """Reading connections of one log, usable from any thread. Raises LogError for whatever the database refuses."""

    def __init__(self, place: Place) -> None:
        self.place = place
        if isinstance(place, Path) and not place.exists():
            raise LogError(f"cannot read the event log {place}: there is no such file")
        self._engine = make_engine(place, reads_only=True)
        try:
            self._check()
        except LogError:
            self.close()
            raise

    def _check(self) -> None:
        """Raises LogError when the log has another schema than this version reads."""
        with told("read", self.place), self._engine.connect() as reader:
            found = version(reader)
        if found != SCHEMA:
            raise LogError(
                f"cannot read the event log {name_of(self.place)}: its schema is {found or 'none'}, "
                f"expected {SCHEMA} "
                "(start the service once to migrate it, or use the version that wrote it)"
            )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._engine.dispose()

    # -- transitions --------------------------------------------------------------------------------------------

    def transitions(
        self,
        *,
        source: str | None = None,
        session: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Told], str | None]:
        """Those with `start` <= at < `end` (Unix ms), newest first, and the cursor of the next page.

        A cursor is a place in the order of events, so that pages neither overlap nor skip while new events arrive. A
        page may be short, or empty, and not the last: what is looked at for one is bounded.
        Raises BadRequest for a cursor that was not given out.
        """
        asked = Asked(source, session, start, end)
        with told("read", self.place), self._engine.connect() as reader:
            return page(reader, asked, limit, cursor)

    def resume(self, after: int, limit: int) -> list[Told | Gone] | None:
        """What those were told who followed, after row `after`; None when it is over `limit` rows (`missed`)."""
        with told("read", self.place), self._engine.connect() as reader:
            found = missed(reader, after, limit)
        return None if found is None else [retold(each) for each in found]

    # -- spans of time ------------------------------------------------------------------------------------------

    def timelines(
        self, start: int, end: int, *, source: str | None = None, session: str | None = None
    ) -> Iterator[Timeline]:
        """Each session's statuses from `start` to `end` (Unix ms), in one pass."""
        for past in self._pasts(last_before(start), end, source, session):
            points: list[tuple[int, Status]] = []
            state: State | None = None
            for point in past.points:
                state, transition = step(state, point)
                if point.at < start:
                    points = [(point.at, state.status)]
                elif transition:
                    points.append((point.at, state.status))
            yield Timeline(past.source, past.session, past.engine, past.tombstone, points)

    def pasts(self, start: int, end: int, *, source: str | None = None, session: str | None = None) -> Iterator[Past]:
        """Each session's points up to `end` (Unix ms), from where a fold must begin to be right at `start`.

        WORKING ends every episode, so that nothing before the last WORKING before `start` matters, but the status
        that it was entered from.
        """
        return self._pasts(entry_before(start), end, source, session)

    def _pasts(self, since: Since, end: int, source: str | None, name: str | None) -> Iterator[Past]:
        """Each session's points from `since` up to `end`; some sessions a transaction, so that none lasts long."""
        asked = sa.select(sessions.c.id, sessions.c.source, sessions.c.name, sessions.c.tombstone)
        if name is None:
            asked = asked.where(sessions.c.standing != int(OVER))  # a flood of names must not hide the others
        with told("read", self.place):
            with self._engine.connect() as reader:
                known = {row.id: row for row in reader.execute(asked.where(*chosen(source, name)))}
            owners = sorted(known)
            for first in range(0, len(owners), ordered.AT_ONCE):
                part = owners[first : first + ordered.AT_ONCE]
                with self._engine.connect() as reader:
                    begun = since(reader, part)
                    for owner, rows in ordered.between(reader, [(each, begun.get(each, 0)) for each in part], end):
                        yield past_of(known[owner], rows)

    def disconnects(self, start: int, end: int) -> Iterator[tuple[Key, int]]:
        """When each session left WORKING for anything but STOPPED and UNKNOWN, as ((source, session), Unix ms)."""
        for past in self._pasts(last_before(start), end, None, None):
            for before, point in pairwise(past.points):
                if before.status == Status.WORKING and point.status in WORSE and point.at >= start:
                    yield (past.source, past.session), point.at

    def count(self) -> int:
        """How many sessions the log knows."""
        with told("read", self.place), self._engine.connect() as reader:
            return reader.scalar(sa.select(sa.func.count()).select_from(sessions)) or 0

    def late(self, start: int, end: int) -> int:
        """The events of a time that were received more than a minute after it was."""
        late = event.c.received_at - event.c.at > AHEAD_MS
        usual = sa.and_(event.c.at == event.c.key_at, event.c.key_at >= start, event.c.key_at < end)
        skewed = sa.and_(event.c.at != event.c.key_at, event.c.at >= start, event.c.at < end)
        # Session by session: no index has the events of all of them in order.
        query = sa.select(sa.func.count(event.c.seq)).select_from(sessions)
        mine = event.c.session_id == sessions.c.id
        with told("read", self.place), self._engine.connect() as reader:
            return sum(
                reader.scalar(query.join(event, sa.and_(mine, each, late), isouter=True)) or 0
                for each in (usual, skewed)
            )

    def runs(self, start: int, end: int) -> list[tuple[int, int]]:
        """When the exporter ran within a time, as (from, to) in Unix ms, one after another."""
        query = sa.select(run.c.started_at, run.c.seen_at).where(run.c.seen_at > start, run.c.started_at < end)
        with told("read", self.place), self._engine.connect() as reader:
            rows = reader.execute(query.order_by(run.c.started_at)).all()
        spans: list[tuple[int, int]] = []
        for begun, seen in rows:
            # Replicas run side by side; it is one time.
            first = spans.pop()[0] if spans and begun <= (last := spans[-1][1]) else None
            spans.append((max(start, begun), min(end, seen)) if first is None else (first, max(last, min(end, seen))))
        return spans

    def actions(self, key: Key, limit: int) -> list[Action]:
        """What was done about a session, newest first."""
        with told("read", self.place), self._engine.connect() as reader:
            return actions_of(reader, owner_of(reader, key), 0, limit)


def last_before(start: int) -> Since:
    """From the newest event of each session before `start` on that says what was true then, whatever came before it."""
    said = certain(ordered.prior)
    return lambda reader, owners: ordered.newest(reader, [(owner, start) for owner in owners], said)


def entry_before(start: int) -> Since:
    """From the last other status before each session's last WORKING before `start` on."""

    def since(reader: sa.Connection, owners: Sequence[int]) -> dict[int, int]:
        asked = [(owner, start) for owner in owners]
        worked = ordered.newest(reader, asked, ordered.prior.c.status == Status.WORKING)
        other = ordered.prior.c.status != Status.WORKING
        return ordered.newest(reader, worked.items(), other, certain(ordered.prior))

    return since


def past_of(owner: Any, rows: Sequence[Any]) -> Past:
    """A session's events as its past."""
    engines = [said for *_, said, _ in rows if said]
    return Past(owner.source, owner.name, engines[-1] if engines else OTHER_ENGINE, owner.tombstone, points_of(rows))


def chosen(source: str | None, name: str | None) -> list[sa.ColumnElement[bool]]:
    """The conditions of a filter by source and session."""
    given = ((sessions.c.source, source), (sessions.c.name, name))
    return [column == value for column, value in given if value is not None]


def retold(happened: Happened) -> Told | Gone:
    """What happened while a reader was away."""
    row, before, after = happened.row, happened.before, happened.after
    if after is None:
        return Gone(row.source, row.name, happened.seq)
    return Told(
        row.source,
        row.name,
        before.status if before else None,
        after.status,
        row.status,
        after.since,
        row.tie,
        row.received_at,
        row.seq,
        row.engine or OTHER_ENGINE,
        None if row.origin in ENDINGS else row.origin,
    )
