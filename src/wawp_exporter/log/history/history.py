"""The event log, read only. It may be open while the service writes."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from wawp_exporter.cursors import from_cursor, to_cursor
from wawp_exporter.errors import LogError
from wawp_exporter.log.actions import Action, actions_of
from wawp_exporter.log.history import habits
from wawp_exporter.log.history.arrivals import Arrivals
from wawp_exporter.log.history.missed import DeletionRow, missed
from wawp_exporter.log.history.ordered import selected
from wawp_exporter.log.history.timelines import (
    Past,
    Timeline,
    disconnects_of,
    entry_before,
    last_before,
    read_pasts,
    timeline_of,
)
from wawp_exporter.log.history.transitions import Filter, Position, TransitionRow, page
from wawp_exporter.log.place import SCHEMA, Place, make_engine, name_of, naming_errors, version
from wawp_exporter.log.replay import owner_of
from wawp_exporter.log.tables import event, run
from wawp_exporter.log.tables import session as sessions
from wawp_exporter.model.rules import Key

LATE_MS = 60_000  # an event counts as late when it was received more than this after its time


class History:
    """Reading connections of one log, usable from any thread. Raises LogError for any error of the database."""

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
        with self._reading() as reader:
            found = version(reader)
        if found != SCHEMA:
            raise LogError(
                f"cannot read the event log {name_of(self.place)}: its schema is {found or 'none'}, "
                f"expected {SCHEMA} "
                "(start the service once to migrate it, or use the version that wrote it)"
            )

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with naming_errors("read", self.place), self._engine.connect() as reader:
            yield reader

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes the connections."""
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
    ) -> tuple[list[TransitionRow], str | None]:
        """Transitions with `start` <= at < `end` (Unix ms), newest first, and the cursor of the next page, if any.

        A cursor is a position in the order of events, so that pages neither overlap nor leave anything out while new
        events arrive. A page may be short, or empty, and not the last, because the work for a page is bounded.
        Raises BadRequest for a cursor that was never given out.
        """
        position = from_cursor(cursor, Position) if cursor else None
        with self._reading() as reader:
            found, following = page(reader, Filter(source, session, start, end), limit, position)
        return found, to_cursor(following) if following else None

    def resume(self, after: int, limit: int) -> list[TransitionRow | DeletionRow] | None:
        """What a live reader was sent since row `after` of the log; None when a reader must load everything anew.

        That is so after more than `limit` rows, and after changes that have no row of their own (`missed`).
        """
        with self._reading() as reader:
            return missed(reader, after, limit)

    # -- spans of time ------------------------------------------------------------------------------------------

    def timelines(
        self, start: int, end: int, *, source: str | None = None, session: str | None = None
    ) -> Iterator[Timeline]:
        """Each session's statuses from `start` until before `end` (Unix ms), in one pass."""
        for past in read_pasts(self._reading, last_before(start), end, source, session):
            yield timeline_of(past, start)

    def pasts(self, start: int, end: int, *, source: str | None = None, session: str | None = None) -> Iterator[Past]:
        """Each session's points until before `end`, from where a fold must begin to be right at `start` (Unix ms).

        WORKING ends every episode. So nothing before the last WORKING before `start` matters, except the status before
        that WORKING.
        """
        return read_pasts(self._reading, entry_before(start), end, source, session)

    def disconnects(self, start: int, end: int) -> Iterator[tuple[Key, int]]:
        """When each session left WORKING for anything but STOPPED and UNKNOWN, as ((source, session), Unix ms)."""
        for past in read_pasts(self._reading, last_before(start), end, None, None):
            for at in disconnects_of(past, start):
                yield (past.source, past.session), at

    def arrivals(self, start: int, end: int) -> Arrivals:
        """What was received from `start` until before `end` (Unix ms), in the order of the log, for a replay."""
        return Arrivals(self._reading, start, end)

    # -- counts -------------------------------------------------------------------------------------------------

    def count(self, *, source: str | None = None, session: str | None = None) -> int:
        """How many sessions the log knows."""
        query = sa.select(sa.func.count()).select_from(sessions).where(*selected(source, session))
        with self._reading() as reader:
            return reader.scalar(query) or 0

    def late(self, start: int, end: int, *, source: str | None = None, session: str | None = None) -> int:
        """How many events with `start` <= at < `end` (Unix ms) were received more than a minute after `at`."""
        late, mine = event.c.received_at - event.c.at > LATE_MS, event.c.session_id == sessions.c.id
        usual = sa.and_(event.c.at == event.c.key_at, event.c.key_at >= start, event.c.key_at < end)
        skewed = sa.and_(event.c.at != event.c.key_at, event.c.at >= start, event.c.at < end)
        asked, count = selected(source, session), sa.func.count(event.c.seq)
        # Session by session, else PostgreSQL might read whole months. Of skewed events there are few.
        each, few = sa.select(count).where(mine, usual, late).correlate(sessions), event.join(sessions, mine)
        with self._reading() as reader:
            found = (
                reader.scalar(sa.select(sa.func.sum(each.scalar_subquery())).select_from(sessions).where(*asked)) or 0
            )
            return int(found) + (reader.scalar(sa.select(count).select_from(few).where(skewed, late, *asked)) or 0)

    def runs(self, start: int, end: int) -> list[tuple[int, int]]:
        """When the exporter ran between two instants, as (from, to) in Unix ms, oldest first, without overlaps."""
        query = sa.select(run.c.started_at, run.c.seen_at).where(run.c.seen_at > start, run.c.started_at < end)
        with self._reading() as reader:
            rows = reader.execute(query.order_by(run.c.started_at)).all()
        spans: list[tuple[int, int]] = []
        for begun, seen in rows:
            # Replicas run side by side: their runs are joined to one span.
            first = spans.pop()[0] if spans and begun <= (last := spans[-1][1]) else None
            spans.append((max(start, begun), min(end, seen)) if first is None else (first, max(last, min(end, seen))))
        return spans

    # -- messages -----------------------------------------------------------------------------------------------

    def received(self, keys: Collection[Key], start: int, end: int) -> list[tuple[Key, int, int]]:
        """`habits.incoming`: what these sessions received, hour by hour (Unix seconds)."""
        with self._reading() as reader:
            return list(habits.incoming(reader, keys, start, end))

    def received_by_source(self, start: int) -> list[tuple[str, int, int]]:
        """`habits.totals`: what all sessions of each source received from `start` on (Unix seconds)."""
        with self._reading() as reader:
            return list(habits.totals(reader, start))

    def heard(self) -> dict[str, int]:
        """When the last message of each source came or was sent (Unix ms); sources without any are left out."""
        with self._reading() as reader:
            return habits.heard(reader)

    def absences(self, keys: Collection[Key], start: int) -> list[tuple[Key, int]]:
        """`habits.absences`: when sessions were not WORKING from `start` on (Unix ms)."""
        with self._reading() as reader:
            return list(habits.absences(reader, keys, start))

    def actions(self, key: Key, limit: int) -> list[Action]:
        """A session's actions (restarts), newest first."""
        with self._reading() as reader:
            return actions_of(reader, owner_of(reader, key), 0, limit)
