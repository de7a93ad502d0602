"""The log in the order in which it came: events, deletions and revised rows, for a replay on a virtual clock.

Events that are older than the log itself, which somebody has sent it afterwards, came in any order: they are given in
the order of their own times, as though each had been received at once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.feed import event_of
from wawp_exporter.log.history import ordered
from wawp_exporter.log.names import OVER
from wawp_exporter.log.replay import anchor, fold_session, refold
from wawp_exporter.log.tables import certain, change, event, rows_of, session
from wawp_exporter.model.event import WORKING, Limit, Restriction, StatusEvent
from wawp_exporter.model.machine import State
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Grave, Memory

AT_ONCE = 5000  # rows that one transaction reads

Connect = Callable[[], AbstractContextManager[sa.Connection]]
FOLDED = session.c.standing != int(OVER)
NAMED = (
    sa.select(session.c.source, session.c.name, event)
    .join_from(event, session, session.c.id == event.c.session_id)
    .where(FOLDED)
)
decode_limits = msgspec.json.Decoder(tuple[Limit, ...]).decode


class Arrived(msgspec.Struct, frozen=True):
    """An event with the numbers of its rows; they are negative where it has only added to a row of the log.

    `place` is the newest row of the log at that moment.
    """

    place: int
    rows: tuple[int, ...]
    event: StatusEvent


class Deleted(msgspec.Struct, frozen=True):
    """A deletion at `at` (Unix ms), when the newest row of the log was `place`."""

    place: int
    key: Key
    at: int


Entry = Arrived | Deleted


class Arrivals:
    """The rows that were received from `start` until before `end` (Unix ms), and what they rest on.

    What comes while it is read is left out, as are names over the limit. Raises LogError.
    """

    def __init__(self, connect: Connect, start: int, end: int) -> None:
        self._connect = connect
        with connect() as reader:
            self.first, self.last = number_at(reader, start), number_at(reader, end) - 1
            names = reader.execute(sa.select(session).where(FOLDED)).all()
            self.owners: dict[Key, int] = {(row.source, row.name): row.id for row in names}
            oldest = reader.scalar(sa.select(event.c.received_at).order_by(event.c.seq).limit(1)) or 0
            changes = reader.execute(changes_until(self.last)).all()
        self.start, self._end = start, end
        self._begins = oldest if start <= oldest else 0  # of the log, if that is part of what is asked for
        self._revised = {row.seq for row in changes if not row.tombstone}
        self._changes = [change_of(row) for row in changes]

    @property
    def sources(self) -> set[str]:
        """The sources of all its sessions."""
        return {source for source, _ in self.owners}

    # -- in order -----------------------------------------------------------------------------------------------

    def since(self) -> Iterator[Entry]:
        """What was received in that time, in the order of the log."""
        changes = [each for each in self._changes if each.place >= self.first]
        return merge(self._events(self._rows()), changes, key=attrgetter("place"))

    def before(self) -> Iterator[list[Entry]]:
        """What each session's state at `start` rests on, in the order of the log, session by session.

        That is everything since the last other status before its last WORKING, which ends every episode; and what was
        said of restrictions, which outlast them.
        """
        changes: dict[Key, list[Entry]] = defaultdict(list)
        for each in self._changes:
            if each.place < self.first:
                changes[key_of(each)].append(each)
        owners = sorted(self.owners.values())
        limits = self._limits()
        for start in range(0, len(owners), ordered.AT_ONCE):
            part = owners[start : start + ordered.AT_ONCE]
            for key, rows in groupby(self._earlier(part, limits), itemgetter(0, 1)):
                yield list(merge(self._events(rows), changes[key], key=attrgetter("place")))

    def older(self) -> Iterator[Arrived]:
        """What is older than the log, in the order of time."""
        if not self._begins:
            return
        query = NAMED.where(event.c.key_at < min(self._begins, self._end)).order_by(
            event.c.at, event.c.tie, event.c.seq
        )
        with self._connect() as reader:
            for row in reader.execute(query.execution_options(yield_per=AT_ONCE)):
                yield Arrived(row.seq, (row.seq,), msgspec.structs.replace(event_of(row), received_at=row.at))

    def _rows(self) -> Iterator[Any]:
        last = self.first - 1
        young = NAMED.where(event.c.key_at >= self._begins)
        while last < self.last:
            query = young.where(event.c.seq > last, event.c.seq <= self.last).order_by(event.c.seq).limit(AT_ONCE)
            with self._connect() as reader:
                rows = reader.execute(query).all()
            yield from rows
            last = rows[-1].seq if rows else self.last

    def _earlier(self, owners: Sequence[int], limits: Sequence[tuple[int, int]]) -> Sequence[Any]:
        """The rows of some sessions that `before` gives."""
        early = ordered.prior.c.seq < self.first
        with self._connect() as reader:
            asked = [(owner, self.start) for owner in owners]
            worked = ordered.newest(reader, asked, ordered.prior.c.status == WORKING, early)
            other = ordered.prior.c.status != WORKING
            begun = ordered.newest(reader, worked.items(), other, certain(ordered.prior), early)
            each, (owner, since) = rows_of(ordered.shared(reader), [event.c.session_id, event.c.at])
            mine = sa.and_(event.c.session_id == owner, event.c.key_at >= since, event.c.seq < self.first)
            columns = (session.c.source, session.c.name, event)
            query = sa.select(*columns).select_from(each.join(event, mine).join(session, session.c.id == owner))
            rows = reader.execute(query, ordered.packed((owner, begun.get(owner, 0)) for owner in owners)).all()
            more = [seq for owner, seq in limits if owner in set(owners)]
            rows = [*rows, *reader.execute(NAMED.where(event.c.seq.in_(more)))]
        return sorted({row.seq: row for row in rows}.values(), key=lambda row: (row.source, row.name, row.seq))

    def _limits(self) -> list[tuple[int, int]]:
        """(session, row) of what was said of restrictions before, since each was last said to be over."""
        said: dict[tuple[int, Restriction], list[int]] = {}
        query = sa.select(event.c.session_id, event.c.seq, event.c.limits).where(event.c.limits.is_not(None))
        with self._connect() as reader:
            for owner, seq, limits in reader.execute(query.where(event.c.seq < self.first).order_by(event.c.seq)):
                for limit in decode_limits(limits):
                    earlier = said.get((owner, limit.restriction), []) if limit.active else []
                    said[owner, limit.restriction] = [*earlier, seq]
        return [(owner, seq) for (owner, _), rows in said.items() for seq in rows]

    def _events(self, rows: Iterable[Any]) -> Iterator[Arrived]:
        """Rows as the events that brought them: each is one row a point, all received at once.

        Only the row of its own point, the last one, has its id; rows without one before it are of missed points.
        """
        missed: list[Arrived] = []
        for row in rows:
            one = event_of(row)
            if row.seq in self._revised:  # its restrictions became known when it was revised
                one = msgspec.structs.replace(one, limits=())
            if missed and not same(missed[-1].event, one):
                yield from missed
                missed = []
            if one.event_id is None:
                missed.append(Arrived(row.seq, (row.seq,), one))
                continue
            yield joined(missed, one, row.seq)
            missed = []
        yield from missed

    # -- out of order -------------------------------------------------------------------------------------------

    def fold(self, key: Key, grave: Grave, seq: int) -> State | None:
        """A session's state by its rows up to `seq`, after something came late."""
        owner = self.owners[key]
        with self._connect() as reader:
            return fold_session(reader, owner, grave, since=anchor(reader, owner, grave, seq), seq=seq)

    def look(self, key: Key, grave: Grave, seq: int) -> Memory | None:
        """All that the rows up to `seq` say of a session."""
        with self._connect() as reader:
            return refold(reader, self.owners[key], grave, None, 0, seq)


def same(told: StatusEvent, one: StatusEvent) -> bool:
    """Whether one webhook may have brought both."""
    return (told.source, told.session, told.received_at) == (one.source, one.session, one.received_at)


def joined(missed: Sequence[Arrived], own: StatusEvent, seq: int) -> Arrived:
    """An event with the missed points that it brought."""
    if not missed:
        return Arrived(seq, (seq,), own)
    points = [each.event.own for each in missed]
    event = msgspec.structs.replace(own, points=(*points, own.own))
    return Arrived(seq, (*(each.place for each in missed), seq), event)


def number_at(reader: sa.Connection, moment: int) -> int:
    """The first row that was received at `moment` (Unix ms) or later; rows are numbered as they are received."""
    low, high = 0, (reader.scalar(sa.select(sa.func.max(event.c.seq))) or 0) + 1
    while low + 1 < high:
        middle = (low + high) // 2
        query = sa.select(event.c.seq, event.c.received_at).where(event.c.seq >= middle).order_by(event.c.seq).limit(1)
        seq, received_at = reader.execute(query).one()
        if received_at < moment:
            low = seq
        else:
            high = middle
    return high


def changes_until(last: int) -> sa.Select[Any]:
    """Deletions, and revised rows, up to a row."""
    return (
        sa.select(session.c.source, session.c.name, change.c.seq.label("place"), change.c.at.label("moment"),
                  change.c.tombstone, event)
        .join_from(change, session, session.c.id == change.c.session_id)
        .join(event, event.c.seq == change.c.event_seq, isouter=True)
        .where(change.c.seq <= last, sa.or_(change.c.tombstone > 0, event.c.seq.is_not(None)))
        .where(FOLDED)
        .order_by(change.c.seq, change.c.id)
    )  # fmt: skip


def change_of(row: Any) -> Entry:
    """A row of `changes_until`."""
    if row.tombstone:
        return Deleted(row.place, (row.source, row.name), row.tombstone)
    return Arrived(row.place, (-row.seq,), event_of(row))


def key_of(entry: Entry) -> Key:
    """Whose it is."""
    return entry.key if isinstance(entry, Deleted) else (entry.event.source, entry.event.session)
