"""Appending: a batch of events, durable when the call returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database, Mark
from wawp_exporter.log.insertion import NEWEST, Insertion, Stored
from wawp_exporter.log.names import UNLIMITED, newest_of
from wawp_exporter.log.replay import point_of
from wawp_exporter.log.statements import AT_ONCE, Numbers, Row
from wawp_exporter.log.tables import change, event, session
from wawp_exporter.log.timeless import TimelessKeys
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.rules import Key


@dataclass(frozen=True, slots=True)
class Appended:
    """What a batch left in the log: for each event the row number of each of its points, and where the log ends now.

    The number is 0 for a point that the log held already; it is negative (of the existing row) if this point revised
    that row. `new` is how many points are new. `before` has the newest point that a shared log held of each session.
    Events of the sessions in `over`, which are over the limit of names of their source, are logged but not folded.
    """

    rows: list[tuple[int, ...]]
    mark: Mark
    new: int
    before: dict[Key, Point] = field(default_factory=dict)
    over: frozenset[Key] = frozenset()

    @property
    def seq(self) -> int:
        """The newest row of the log."""
        return self.mark.seq

    @property
    def wrote(self) -> bool:
        """Whether anything was written to disk: a batch of nothing but retries writes nothing."""
        return any(any(rows) for rows in self.rows)


class Appender:
    """Writes events. Belongs to the thread that writes the log."""

    def __init__(self, database: Database, timeless: TimelessKeys) -> None:
        self._database = database
        self._timeless = timeless
        self._insertion = Insertion(database.statements) if database.shared else None

    def append(self, events: Sequence[StatusEvent], max_names: int = UNLIMITED, *, now: int | None = None) -> Appended:
        """Appends a batch: when this returns, all of it is on disk; when it raises LogError, nothing of it is.

        (Unless the connection to PostgreSQL was lost just after the commit: then a retry is recognised.)
        A point is new unless the log holds one of the same session, time as sent, and status. An event whose timeless
        key was seen within the hour has no new points. `now` (Unix ms, by a clock that nobody sets) ages those keys;
        without it the newest receipt does. At most `max_names` names of a source are folded.
        """
        database = self._database
        keyed = [e for e in events if e.timeless_key]
        if not (keyed or database.shared) and (done := self._append_known(events)):
            return done
        newest = newest_of(events)
        single = database.shared and not keyed and database.names.remembers(newest)
        with database.writing(single=single) as writer:
            settled = database.names.settle(writer, newest, max_names)
            known = settled.ids
            repeated = self._repeated(writer, keyed, known, now) if keyed else set()
            fresh = [e for e in events if id(e) not in repeated] if repeated else events
            points = [row for e in fresh for row in rows_for(e, known[e.source, e.session])]
            stored = self._store(writer, points)
            before = self._before(writer, known, stored) if database.shared else {}
        database.names.remember(settled)
        database.end = stored.end
        return Appended(shared_out(stored.numbers, events, repeated), stored.end, stored.new, before, settled.over)

    def _append_known(self, events: Sequence[StatusEvent]) -> Appended | None:
        """Appends events to SQLite, with one statement if all points are new: a transaction of its own.

        None, and nothing is appended, if a name is not remembered, or if the points are too many for a statement.
        """
        database = self._database
        ids = database.names.ids
        try:
            rows = [row for e in events for row in rows_for(e, ids[e.source, e.session])]
        except KeyError:
            return None
        if not 0 < len(rows) <= AT_ONCE:
            return None
        with database.writing(single=True) as writer:
            numbers = database.statements.insert_events(writer, rows)
        if numbers:
            stored = Stored(numbers, database.end._replace(seq=numbers[-1]))
        else:
            with database.writing() as writer:
                stored = self._stored(writer, rows, database.statements.upsert_events(writer, rows))
        database.end = stored.end
        return Appended(shared_out(stored.numbers, events, set()), stored.end, stored.new)

    def _repeated(
        self, writer: sa.Connection, keyed: Sequence[StatusEvent], known: Mapping[Key, int], now: int | None
    ) -> set[int]:
        """The `id()` of each event whose timeless key was seen within the hour."""
        names = {(e.source, e.session) for e in keyed}
        before = self._newest_points(writer, {key: known[key] for key in names}) if self._database.shared else {}
        return self._timeless.repeated(writer, keyed, before, now or max(e.received_at for e in keyed))

    def _store(self, writer: sa.Connection, rows: list[Row]) -> Stored:
        """Inserts the points that are new, revises rows that know less than a point."""
        end = self._database.end
        if not rows:
            return Stored((), end)
        if self._insertion:
            return self._insertion.store(writer, rows, end)
        return self._stored(writer, rows, self._database.statements.store_events(writer, rows))

    def _stored(self, writer: sa.Connection, rows: Sequence[Row], numbers: Numbers) -> Stored:
        """Rows that SQLite has stored; notes those that were revised."""
        end = self._database.end
        end = end._replace(seq=max(end.seq, *numbers))
        if min(numbers) < 0:
            end = end._replace(change=self._note_revised(writer, rows, numbers))
        return Stored(numbers, end)

    def _note_revised(self, writer: sa.Connection, rows: Sequence[Row], numbers: Sequence[int]) -> int:
        """Writes a change for each revised row, whose own number stays the same. Returns the newest change's number.

        The changes come before the new rows of the batch, so that followers fold these onto the revised state.
        """
        new = [number for number in numbers if number > 0]
        seq = min(new) - 1 if new else self._database.newest_mark(writer).seq
        versions = sa.select(event.c.seq, event.c.revision).where(event.c.seq.in_([-n for n in numbers if n < 0]))
        known = {row.seq: row.revision for row in writer.execute(versions)}
        revised = [
            {
                "seq": seq,
                "at": row[5],
                "session_id": row[0],
                "tombstone": 0,
                "event_seq": -number,
                "revision": known[-number],
            }
            for row, number in zip(rows, numbers, strict=True)
            if number < 0
        ]
        return max(writer.execute(sa.insert(change).returning(change.c.id), revised).scalars(), default=0)

    def _before(self, writer: sa.Connection, owners: Mapping[Key, int], stored: Stored) -> dict[Key, Point]:
        """The newest point of each session before the batch; only what has a new row needs one."""
        first = min((number for number in stored.numbers if number > 0), default=0)
        if not first:
            return {}
        found = {key: stored.before.get(owner) for key, owner in owners.items()}
        known = {key: point_of(row) for key, row in found.items() if row and row.is_newest}
        others = {key: owner for key, owner in owners.items() if key not in known}
        return known | self._newest_points(writer, others, first)

    def _newest_points(
        self, writer: sa.Connection, owners: Mapping[Key, int], first: int | None = None
    ) -> dict[Key, Point]:
        """The newest point of each session (with its row id), since its deletion if it was deleted.

        Only rows before row `first` count, if that is given.
        """
        if not owners:
            return {}
        each, (owner,) = self._database.statements.rows_of([session.c.id])
        newest = (
            sa.select(*NEWEST)
            .where(event.c.session_id == owner, event.c.at > session.c.tombstone, event.c.seq > session.c.buried)
            # With `+ 0` PostgreSQL finds rows by session only: it would look for all earlier numbers too.
            .where(event.c.seq + sa.literal_column("0") < first if first else sa.true())
            .order_by(event.c.key_at.desc())
            .limit(8)
            .lateral()
        )
        rows = msgspec.json.encode([(owner,) for owner in owners.values()]).decode()
        known = each.join(session, session.c.id == owner)
        query = sa.select(owner.label("owner"), newest).select_from(known).join(newest, sa.true())
        names = {owner: key for key, owner in owners.items()}
        found: dict[Key, Point] = {}
        for row in writer.execute(query, {"rows": rows}):
            key, point = names[row.owner], point_of(row)
            found[key] = max(found.get(key, point), point, key=lambda p: (p.at, p.tie))
        return found


def shared_out(numbers: Numbers, events: Sequence[StatusEvent], repeated: set[int]) -> list[tuple[int, ...]]:
    """The numbers of each event's points; 0 for all of an event that is `repeated` (by `id()`)."""
    if len(numbers) == len(events) and not repeated:
        return list(zip(numbers, strict=True))  # each has one point: an event has at least that
    left = iter(numbers)
    return [(0,) * len(e.points) if id(e) in repeated else tuple(islice(left, len(e.points))) for e in events]


def rows_for(event: StatusEvent, owner: int) -> list[Row]:
    """The rows of an event's points; only the row of its own point has its id and its restrictions."""
    own, received_at, engine = event.points[-1], event.received_at, event.engine
    limits = msgspec.json.encode(event.limits).decode() if event.limits else None
    origin, reason = event.origin or own.ending, own.reason or None
    last = (owner, own.status, own.at, own.tie, own.key_at, received_at, event.event_id, engine, limits, origin, reason)
    if len(event.points) == 1:
        return [last]
    rows: list[Row] = [
        (owner, p.status, p.at, p.tie, p.key_at, received_at, None, engine, None, origin, p.reason or None)
        for p in event.points[:-1]
    ]
    return [*rows, last]
