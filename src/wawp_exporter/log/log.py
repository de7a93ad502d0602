"""The event log on SQLAlchemy Core: append a batch, restore, fold one session, retention.

The log is the truth. `append`, `save`, `forget` and `purge` write and are called from one thread at a time; reading
methods may be called from any thread. Times are Unix ms.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import sqlalchemy as sa

from wawp_exporter.errors import LogError
from wawp_exporter.log import names, partitions
from wawp_exporter.log.names import FOLDED, FORGOTTEN, NAMING, OVER, UNLIMITED, Names, newest_of
from wawp_exporter.log.place import (
    APPENDING,
    DATABASE_NOW,
    Place,
    make_engine,
    migrate,
    name_of,
    naming_errors,
    take_lock,
)
from wawp_exporter.log.replay import actual, anchor, fold_session, owner_of, point_of, refold
from wawp_exporter.log.retention import LEASE, LEASE_S, MOST, Purge
from wawp_exporter.log.statements import Row, Statements
from wawp_exporter.log.tables import action, change, event, heard, lease, run, session, state, timeless, watermark
from wawp_exporter.model.event import ENDINGS, Limit, Point, StatusEvent, normal
from wawp_exporter.model.machine import State
from wawp_exporter.model.rules import Key, slot_of
from wawp_exporter.model.session import Grave, Memory, decode_memory

TIMELESS_MS = 3_600_000  # how long the key of an event without a time tells a retry
RECENT_MS = 86_400_000  # the actions that a claim is judged by
EXPIRED_AT_ONCE = 1000  # timeless keys that a batch takes away: some more than a batch brings
ADMITTED = 100  # names over the limit that are folded in one transaction
CHANNEL = "wawp_log"

REMEMBERED = (
    sa.select(
        session.c.id,
        session.c.source,
        session.c.name,
        session.c.tombstone,
        session.c.buried,
        session.c.standing,
        state.c.memory,
        state.c.seq,
    )
    .join_from(session, state, session.c.id == state.c.session_id, isouter=True)
    .where(session.c.standing != int(OVER))
    .execution_options(yield_per=2000)  # a row at a time takes twice as long
)


class Mark(NamedTuple):
    """A place in the order of the log: the newest row, and the newest change of what was there before."""

    seq: int = 0
    change: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """What a batch left in the log: for each event the row of each point; and where the log ends now.

    A row is 0 if the log held it, and negative if the log's row was told more by this point. `before` has the newest
    point that a shared log held of each session. `over` are names over the limit of their source: they are logged and
    not folded.
    """

    rows: list[tuple[int, ...]]
    mark: Mark
    before: dict[Key, Point] = field(default_factory=dict)
    over: frozenset[Key] = frozenset()

    @property
    def seq(self) -> int:
        """The newest row."""
        return self.mark.seq

    @property
    def wrote(self) -> bool:
        """Whether anything reached the disk: a batch of nothing but retries leaves the log as it is."""
        return any(any(rows) for rows in self.rows)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start needs: every session's memory, the tombstones, and where the log ended when it was read.

    `saved` are memories as the state table has them, not decoded; `refolded` those that it does not hold like this.
    `buried` has the newest row at the deletion of each session that has a tombstone.
    """

    saved: dict[Key, str]
    refolded: dict[Key, Memory]
    tombstones: dict[Key, int]
    mark: Mark
    buried: dict[Key, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    @property
    def seq(self) -> int:
        """The newest row."""
        return self.mark.seq


class Followed(msgspec.Struct, frozen=True):
    """One row of the log as a follower needs it: an event of one point. `seq` is negative where it was told more."""

    seq: int
    event: StatusEvent


class Deleted(msgspec.Struct, frozen=True):
    """A deletion: rows up to `buried` and events up to `tombstone` (Unix ms) are of the session's former life."""

    key: Key
    tombstone: int
    buried: int


class Joined(msgspec.Struct, frozen=True):
    """A name that was over the limit of its source and is folded from now on, as `memory` says."""

    key: Key
    memory: Memory


class Action(msgspec.Struct, frozen=True):
    """Something that was done about a session at `at` (Unix ms), on the word of an alert, and what came of it."""

    id: int
    at: int
    kind: str
    alert: str
    result: str


class Log:
    """An open event log. Raises LogError for whatever the database refuses.

    A log in PostgreSQL is `shared`: replicas append to it side by side, each of them follows it, and one of `shard`
    (index, total) restores and follows that part of the sessions only.
    """

    def __init__(self, place: Place, shard: tuple[int, int] = (0, 1)) -> None:
        self.place = place
        self.shared = isinstance(place, str)
        self.holder = uuid4().hex
        self.index, self.total = shard
        self._lock = take_lock(place) if isinstance(place, Path) else None
        self._end = Mark()
        self._run: int | None = None
        self._ears: sa.Connection | None = None
        self._statements = Statements("postgresql" if self.shared else "sqlite")
        self._names = Names(self._statements, self.total)
        try:
            self._open(place)
        except BaseException:
            if self._lock:
                self._lock.close()
            raise

    def _open(self, place: Place) -> None:
        self._engine = make_engine(place)
        with naming_errors("open", place):
            self._writer = self._engine.connect().execution_options(writes=True)
            migrate(self._writer, place)
            self._end = self._newest_mark(self._writer)
            self._writer.rollback()

    # -- writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, *, ordered: bool = False) -> Iterator[sa.Connection]:
        """A transaction of the writer. `ordered` ones of all replicas commit one after another, in order of `seq`.

        Numbers are given out before a commit: without the lock a row could appear behind one that was followed already.
        """
        with naming_errors("write", self.place), self._writer.begin():
            if ordered and self.shared:
                self._writer.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))
            yield self._writer

    def _announce(self, writer: sa.Connection) -> None:
        """Wakes the followers when the transaction is committed."""
        if self.shared:
            writer.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the log."""
        with naming_errors("read", self.place), self._engine.connect() as reader:
            if self.shared:
                reader = reader.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same one
            yield reader

    def append(self, events: Sequence[StatusEvent], max_names: int = UNLIMITED, *, now: int | None = None) -> Appended:
        """Appends a batch durably: when this returns, it is on disk; when it raises, nothing of it is.

        A point that the log holds already (same session, time as sent, and status) is not fresh. An event whose
        timeless key was seen within the hour has no fresh points: `now` (Unix ms, by a clock that nobody sets) ages
        the keys, without it the newest receipt. Of a source at most `max_names` names are folded.
        """
        with self._writing() as writer:
            settled = self._names.settle(writer, newest_of(events), max_names)
            known = settled.ids
            before = self._newest(known) if self.shared else {}
            keyed = [e for e in events if e.timeless_key]
            repeated = self._repeated(keyed, before, now or max(e.received_at for e in keyed)) if keyed else set()
            fresh = [e for e in events if id(e) not in repeated] if repeated else events
            numbers, end = self._store(writer, [row for e in fresh for row in rows_for(e, known[e.source, e.session])])
        self._names.remember(settled)
        self._end = end
        left = iter(numbers)
        rows = [
            (0,) * len(e.points) if repeated and id(e) in repeated else tuple(islice(left, len(e.points)))
            for e in events
        ]
        return Appended(rows, end, before, settled.over)

    def _store(self, writer: sa.Connection, rows: list[Row]) -> tuple[Sequence[int], Mark]:
        """Inserts the points that are new, and takes from others what the log did not know of them; their numbers."""
        if not rows:
            return (), self._end
        if self.shared:
            # As late as possible: until the commit the other replicas wait.
            writer.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))
        numbers = self._statements.store_events(writer, rows, self._end.seq)
        newest, lowest = max(numbers), min(numbers)
        end = self._end._replace(seq=max(self._end.seq, newest))
        if lowest < 0:
            end = end._replace(change=self._note_told_more(writer, rows, numbers))
        if newest or lowest:
            self._announce(writer)
        return numbers, end

    def _note_told_more(self, writer: sa.Connection, rows: Sequence[Row], numbers: Sequence[int]) -> int:
        """Keeps which rows were told more: they stay where they are, so that nothing else shows it. The newest number.

        They come before the new rows of the batch, so that these meet a state which knows it.
        """
        new = [number for number in numbers if number > 0]
        seq = min(new) - 1 if new else self._newest_mark(writer).seq
        told = [
            {"seq": seq, "at": row[5], "session_id": row[0], "tombstone": 0, "event_seq": -number}
            for row, number in zip(rows, numbers, strict=True)
            if number < 0
        ]
        return max(writer.execute(sa.insert(change).returning(change.c.id), told).scalars(), default=0)

    def _newest_mark(self, reader: sa.Connection) -> Mark:
        """Where the log ends."""
        seq, number = reader.execute(
            sa.select(
                sa.select(sa.func.max(event.c.seq)).scalar_subquery(),
                sa.select(sa.func.max(change.c.id)).scalar_subquery(),
            )
        ).one()
        # Retention may have taken the newest row; its number is not given again.
        return Mark(max(seq or 0, self._end.seq), max(number or 0, self._end.change))

    def clock(self) -> int:
        """From where a clock that nobody sets goes on (Unix ms), to age the keys of events without a time.

        Of a file the newest key, 0 without one: how long nobody ran is not to be known for sure. Replicas share the
        clock of the database.
        """
        with self._reading() as reader:
            now = sa.select(DATABASE_NOW if self.shared else sa.func.max(timeless.c.received_at))
            return reader.scalar(now) or 0

    def holds(self, key: Key) -> bool:
        """Whether a session is of this replica's shard."""
        return self.total == 1 or slot_of(key) % self.total == self.index

    def _newest(self, owners: dict[Key, int]) -> dict[Key, Point]:
        """The newest point of each session since its deletion, if it was deleted."""
        if not owners:
            return {}
        each, (owner,) = self._statements.rows_of([session.c.id])
        newest = (
            sa.select(event.c.status, event.c.at, event.c.tie, event.c.key_at, event.c.origin)
            .where(event.c.session_id == owner, event.c.at > session.c.tombstone, event.c.seq > session.c.buried)
            .order_by(event.c.key_at.desc())
            .limit(8)
            .lateral()
        )
        rows = msgspec.json.encode([(owner,) for owner in owners.values()]).decode()
        known = each.join(session, session.c.id == owner)
        query = sa.select(owner.label("owner"), newest).select_from(known).join(newest, sa.true())
        names = {owner: key for key, owner in owners.items()}
        found: dict[Key, Point] = {}
        for row in self._writer.execute(query, {"rows": rows}):
            key, point = names[row.owner], point_of(row)
            found[key] = max(found.get(key, point), point, key=lambda p: (p.at, p.tie))
        return found

    def _repeated(self, events: Sequence[StatusEvent], before: dict[Key, Point], now: int) -> set[int]:
        """The ids (of the objects) of those events whose timeless key the log has seen within the hour before `now`."""
        limit = now - TIMELESS_MS
        old = sa.select(timeless.c.source, timeless.c.key).where(timeless.c.received_at <= limit)
        old = old.order_by(timeless.c.received_at).limit(EXPIRED_AT_ONCE)
        self._writer.execute(sa.delete(timeless).where(sa.tuple_(timeless.c.source, timeless.c.key).in_(old)))
        # In one order in all replicas: each waits for the keys of the others.
        keys = sorted({(item.source, item.timeless_key, now) for item in events})
        upsert = {"rows": msgspec.json.encode(keys).decode(), "expired": limit}
        unseen = {(source, key) for source, key in self._writer.execute(self._statements.upsert_timeless, upsert)}
        repeated = set()
        for item in events:
            key = (item.source, item.timeless_key)
            if key in unseen:
                unseen.remove(key)
            elif not self._renews(item, before):
                repeated.add(id(item))
        return repeated

    def _renews(self, item: StatusEvent, before: dict[Key, Point]) -> bool:
        """Whether a known body is news, since the session has been in another status.

        What a replica has folded may be older than what the log holds, and a retry come to another replica.
        """
        if not self.shared:
            return item.renews
        newest = before.get((item.source, item.session))
        return bool(item.key_is_body and newest and normal(newest.status) != normal(item.own.status))

    def save(
        self,
        memories: Sequence[tuple[Key, Memory]],
        seq: int,
        *,
        covers: bool = True,
        change: int | None = None,
        sources: Collection[str] | None = None,
    ) -> None:
        """Keeps what the fold of the log up to `seq` knows of sessions.

        `covers` if that is all there was to keep of the log up to row `seq` and `change`, of those `sources` (of all
        without them): a start folds only what came after.
        """
        with self._writing() as writer:
            self._keep(writer, memories, seq)
            if covers:
                self._cover(writer, Mark(seq, self._end.change if change is None else change), sources)

    def _keep(self, writer: sa.Connection, memories: Sequence[tuple[Key, Memory]], seq: int) -> None:
        """Writes states of the log up to `seq`."""
        known = self._names.known(writer, [key for key, _ in memories])
        # In one order in all replicas: each waits for the rows of the others.
        rows = sorted(
            (known[key], memory.state.oldest, msgspec.json.encode(memory).decode(), seq)
            for key, memory in memories
            if key in known
        )
        if rows:
            writer.execute(self._statements.upsert_state, {"rows": msgspec.json.encode(rows).decode()})

    def _cover(self, writer: sa.Connection, end: Mark, sources: Collection[str] | None) -> None:
        """Moves the watermark of each source forward."""
        if sources is None:
            sources = list(writer.scalars(sa.select(session.c.source).distinct()))
        marks = [
            {"total": self.total, "shard": self.index, "source": source, "seq": end.seq, "change": end.change}
            for source in sorted(sources)
        ]
        if marks:
            mark = self._statements.insert(watermark).values(marks)
            excluded = mark.excluded
            writer.execute(
                mark.on_conflict_do_update(
                    index_elements=["total", "shard", "source"],
                    set_={"seq": excluded.seq, "change": excluded.change},
                    where=sa.or_(watermark.c.seq < excluded.seq, watermark.c.change < excluded.change),
                )
            )

    def forget(self, key: Key, tombstone: int) -> int:
        """Marks a session deleted at `tombstone`; its events stay for audits. The newest row at that moment.

        What was logged up to that row is of the former life, also where the gateway's clock is ahead.
        """
        source, name = key
        with self._writing(ordered=True) as writer:
            end = self._newest_mark(writer)
            later = sa.case((session.c.tombstone > tombstone, session.c.tombstone), else_=tombstone)
            # Not the events: what happened stays true.
            owner = writer.scalar(
                sa.update(session)
                .where(session.c.source == source, session.c.name == name)
                .values(tombstone=later, buried=end.seq, standing=int(FORGOTTEN))
                .returning(session.c.id)
            )
            if owner is not None:
                writer.execute(sa.delete(state).where(state.c.session_id == owner))
                noted = sa.insert(change).values(seq=end.seq, at=tombstone, session_id=owner, tombstone=tombstone)
                end = end._replace(change=writer.scalar(noted.returning(change.c.id)) or 0)
                self._announce(writer)
        self._end = end
        self.unlearn(key)
        return end.seq

    def unlearn(self, key: Key) -> None:
        """Looks a name up anew when it comes next: it was deleted."""
        self._names.ids.pop(key, None)

    def admit(self, source: str, max_names: int) -> dict[Key, Memory]:
        """Folds the first names over the limit, some at a time, while there is room; returns what is known of them.

        A state that covers all of the log is kept with the decision, so that a start finds it.
        """
        found: dict[Key, Memory] = {}
        with self._writing() as writer:
            self._lock_names(writer)
            end = self._newest_mark(writer)
            rows = names.waiting(writer, source, min(names.room_of(writer, source, max_names), ADMITTED))
            for row in rows:
                memory = refold(writer, row.id, Grave(row.tombstone, row.buried), None, 0)
                if memory:
                    found[source, row.name] = memory
                # Retention has taken its events: it must not keep the room for others.
                names.set_standing(writer, [row.id], FOLDED if memory else FORGOTTEN)
            self._keep(writer, list(found.items()), end.seq)
            if self.shared and rows:
                now = writer.scalar(sa.select(DATABASE_NOW))
                joined = [{"seq": end.seq, "at": now, "session_id": row.id, "tombstone": 0} for row in rows]
                writer.execute(sa.insert(change), joined)
                self._announce(writer)
        return found

    def _lock_names(self, writer: sa.Connection) -> None:
        """Nobody decides about names, nor appends, until the commit."""
        if self.shared:
            for lock in (NAMING, APPENDING):
                writer.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))

    def hear(self, signs: Sequence[tuple[Key, int]]) -> None:
        """Tells the other replicas when sessions were last heard of (Unix ms); an unknown session is not created."""
        with self._writing() as writer:
            known = self._names.known(writer, [key for key, _ in signs])
            now = writer.scalar(sa.select(DATABASE_NOW))
            rows = sorted((known[key], at, now) for key, at in signs if key in known)
            writer.execute(self._statements.upsert_heard, {"rows": msgspec.json.encode(rows).decode()})

    def lease(self, name: str, seconds: float) -> bool:
        """Takes or keeps the named lease for so long; False while another replica holds it."""
        if not self.shared:
            return True
        until = DATABASE_NOW + int(seconds * 1000)
        taken = self._statements.insert(lease).values(name=name, holder=self.holder, until=until)
        taken = taken.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": taken.excluded.holder, "until": taken.excluded.until},
            where=(lease.c.holder == self.holder) | (lease.c.until < DATABASE_NOW),
        )
        with self._writing() as writer:
            return bool(writer.execute(taken.returning(lease.c.name)).all())

    def release(self) -> None:
        """Gives all leases back, so that another replica need not wait for their end."""
        if self.shared:
            with self._writing() as writer:
                writer.execute(sa.delete(lease).where(lease.c.holder == self.holder))

    def claim(self, key: Key, kind: str, alert: str, now: int, judge: Callable[[Sequence[Action]], str]) -> Action:
        """Notes that something is about to be done about a session, or why it is not.

        `judge` is told the session's actions of the last day, newest first, and gives "" or the reason of a refusal; no
        other replica decides about the session meanwhile.
        """
        with self._writing() as writer:
            owner = self._names.settle(writer, {key: 0}, UNLIMITED).ids[key]
            writer.execute(sa.select(session.c.id).where(session.c.id == owner).with_for_update())
            recent = actions_of(writer, owner, now - RECENT_MS)
            result = judge(recent) or "running"
            if recent and result != "running" and (recent[0].result, recent[0].alert) == (result, alert):
                return recent[0]  # said already
            row = sa.insert(action).values(session_id=owner, at=now, kind=kind, alert=alert, result=result)
            number = writer.execute(row).inserted_primary_key[0]  # type: ignore[index]  # it has a key
        return Action(number, now, kind, alert, result)

    def conclude(self, number: int, result: str) -> None:
        """Notes what came of an action."""
        with self._writing() as writer:
            writer.execute(sa.update(action).where(action.c.id == number).values(result=result))

    def conclude_cut_off(self, before: int) -> int:
        """Notes that actions begun before (Unix ms) which still run were interrupted; how many."""
        with self._writing() as writer:
            running = sa.and_(action.c.result == "running", action.c.at < before)
            return writer.execute(sa.update(action).where(running).values(result="interrupted")).rowcount

    def beat(self, now: int) -> None:
        """Keeps that this process runs at `now`, and has since the first beat."""
        with self._writing() as writer:
            if self._run is None:
                row = sa.insert(run).values(started_at=now, seen_at=now)
                self._run = writer.execute(row).inserted_primary_key[0]  # type: ignore[index]  # it has a key
            else:
                writer.execute(sa.update(run).where(run.c.id == self._run).values(seen_at=now))

    def prepare(self, now: int) -> bool:
        """Makes room for the months to come; to be called now and then. False: somebody was reading, try again."""
        if not self.shared:
            return True
        with naming_errors("write", self.place):
            return partitions.patiently(self._writer, lambda writer: partitions.prepare(writer, now))

    def purging(self, before: int, limit: int = MOST) -> Purge:
        """A pass that deletes events received before `before`, in slices of up to `limit` rows.

        What a live state still rests on (the entry into its status, the start of an episode) is kept. With a shared log
        the lease has been taken.
        """
        return Purge(self._engine, self.place, self._writing, before, self.holder if self.shared else None, limit)

    def purge(self, before: int, limit: int = MOST) -> int:
        """All of such a pass at once; how many events went."""
        purge = self.purging(before, limit)
        if self.lease(LEASE, LEASE_S):
            while (doomed := purge.look()) is not None:
                purge.take(doomed)
        return purge.gone

    def purge_names(self, before: int, after: int = 0, limit: int = 2000) -> tuple[int, int]:
        """Deletes names of which nothing is left, a slice at a time; see `names.purge`."""
        with self._writing(ordered=True) as writer:
            if not after:
                self._names.ids.clear()  # another replica may have deleted some that are remembered here
            return names.purge(writer, before, after, limit)

    # -- reading ------------------------------------------------------------------------------------------------

    def over_limit(self) -> dict[str, int]:
        """How many names of each source are over the limit; sources without any are left out."""
        with self._reading() as reader:
            return names.over_limit(reader)

    def tombstones(self) -> set[Key]:
        """The names that were deleted and are still kept."""
        with self._reading() as reader:
            rows = reader.execute(sa.select(session.c.source, session.c.name).where(session.c.tombstone > 0))
            return {(source, name) for source, name in rows}

    def restore(self, sources: Sequence[str]) -> Restored:
        """The memories of all sessions of `sources`, those with events after the watermark folded anew."""
        with self._reading() as reader:
            found = Restored(
                {}, {}, {}, self._newest_mark(reader) if self.shared else self._end, sources=tuple(sources)
            )
            covered = self._covered(reader, sources)
            stale = self._stale(reader, covered)
            for row in reader.execute(REMEMBERED.where(*self._mine())):
                key = (row.source, row.name)
                if row.standing == FOLDED:
                    self._names.ids[key] = row.id
                if row.tombstone:
                    found.tombstones[key], found.buried[key] = row.tombstone, row.buried
                if row.source not in covered:
                    continue
                if row.id in stale:
                    memory = actual(row, decode_memory(row.memory) if row.memory else None)
                    grave = Grave(row.tombstone, row.buried)
                    anew = refold(reader, row.id, grave, memory, covered[row.source].seq)
                    if anew:
                        found.refolded[key] = anew
                elif row.memory and (not row.tombstone or actual(row, decode_memory(row.memory))):
                    found.saved[key] = row.memory
        return found

    def _mine(self) -> list[sa.ColumnElement[bool]]:
        """The condition of this replica's shard."""
        return [session.c.slot % self.total == self.index] if self.total > 1 else []

    def _covered(self, reader: sa.Connection, sources: Collection[str]) -> dict[str, Mark]:
        """Up to where the state table covers the log, of each source.

        What shards of another count have kept holds as well, if all of them have.
        """
        marks: dict[str, dict[tuple[int, int], Mark]] = {source: {} for source in sources}
        for row in reader.execute(sa.select(watermark).where(watermark.c.source.in_(sources))):
            marks[row.source][row.total, row.shard] = Mark(row.seq, row.change)
        return {source: self._covered_by(mine) for source, mine in marks.items()}

    def _covered_by(self, marks: dict[tuple[int, int], Mark]) -> Mark:
        """The furthest that this shard, or all shards of one count, have come."""
        totals = {total for total, _ in marks}
        whole = [min(marks.get((total, index), Mark()) for index in range(total)) for total in totals]
        return max([marks.get((self.total, self.index), Mark()), *whole])

    def _stale(self, reader: sa.Connection, covered: dict[str, Mark]) -> set[int]:
        """The sessions with rows or changes that the state table does not cover: those of the last moments before a
        crash, and of a source that was away.
        """
        stale: set[int] = set()
        newest = max(covered.values(), default=Mark())
        for mark in set(covered.values()):
            of = [source for source, mine in covered.items() if mine == mark]
            owners = sa.select(session.c.id).where(session.c.source.in_(of))
            # Not `distinct`: it would make SQLite walk the index of the whole log. Of sources that are far behind, the
            # sessions lead to the rows: the rows of all others came since.
            number = event.c.seq if mark == newest else event.c.seq + 0
            rows = sa.select(event.c.session_id).where(number > mark.seq)
            changes = sa.select(change.c.session_id).where(change.c.id > mark.change)
            if len(set(covered.values())) > 1:
                rows = rows.where(event.c.session_id.in_(owners))
            stale.update(reader.scalars(rows))
            stale.update(reader.scalars(changes))
        return stale

    def fold(self, key: Key, around: int, tombstone: int = 0, seq: int | None = None, buried: int = 0) -> State | None:
        """One session's state as its events up to row `seq` tell it, in the order of (at, tie), then arrival.

        Only what can matter for a change at `around` is read: WORKING ends everything before it.
        """
        grave = Grave(tombstone, buried)
        with self._reading() as reader:
            owner = self._names.ids.get(key) or owner_of(reader, key)
            return fold_session(reader, owner, grave, since=anchor(reader, owner, around, grave), seq=seq)

    def look(self, key: Key, seq: int | None = None) -> Memory | None:
        """What the log, up to row `seq`, knows of a session that is not folded here; None for an unknown or deleted
        one.
        """
        with self._reading() as reader:
            found = reader.execute(REMEMBERED.where(session.c.source == key[0], session.c.name == key[1])).first()
            if found is None:
                return None
            memory = actual(found, decode_memory(found.memory) if found.memory else None)
            grave = Grave(found.tombstone, found.buried)
            return refold(reader, found.id, grave, memory, found.seq or 0, seq)

    def follow(self, after: Mark, limit: int) -> tuple[list[Followed | Deleted | Joined], Mark, bool]:
        """What came after a place in the log and is of this shard, in the log's order; the place of the last that was
        read, and whether that was the last of all.
        """
        rows = sa.select(event).where(event.c.seq > after.seq).order_by(event.c.seq).limit(limit).subquery()
        query = (
            sa.select(session.c.source, session.c.name, session.c.standing, rows)
            .join_from(rows, session, session.c.id == rows.c.session_id)
            .order_by(rows.c.seq)
        )
        with self._reading() as reader:
            found = reader.execute(query).all()
            done = len(found) < limit
            mine = [row for row in found if row.standing != OVER and self.holds((row.source, row.name))]
            changed = reader.execute(changes_of(after.change, None if done else found[-1].seq)).all()
            changes = [(row, change_of(reader, row)) for row in changed if self.holds((row.source, row.name))]
        end = Mark(found[-1].seq if found else after.seq, changed[-1].change if changed else after.change)
        places: list[tuple[int, int, Followed | Deleted | Joined]] = [
            *((row.seq, 0, Followed(row.seq, event_of(row))) for row in mine),
            *((row.place, row.change, entry) for row, entry in changes if entry),
        ]
        return [entry for *_, entry in sorted(places, key=itemgetter(0, 1))], end, done

    def heard(self, since: int) -> tuple[list[tuple[Key, int]], int]:
        """When sessions of this shard were last heard of, as stored since then (the database's Unix ms), and until."""
        query = (
            sa.select(session.c.source, session.c.name, heard.c.at, heard.c.stored_at)
            .join_from(heard, session, session.c.id == heard.c.session_id)
            .where(heard.c.stored_at > since, *self._mine())
        )
        with self._reading() as reader:
            rows = reader.execute(query).all()
        return [((row.source, row.name), row.at) for row in rows], max([since, *(row.stored_at for row in rows)])

    def listen(self, seconds: float) -> None:
        """Returns when somebody has appended, or after so many seconds. To be called from one thread only."""
        with naming_errors("follow", self.place):
            if self._ears is None:
                self._ears = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._ears.exec_driver_sql(f"LISTEN {CHANNEL}")
            raw: Any = self._ears.connection.driver_connection
            try:
                for _ in raw.notifies(timeout=seconds, stop_after=1):
                    return
            except raw_errors() as error:
                self.deafen()
                raise LogError(f"cannot follow the event log {name_of(self.place)}: the connection is lost") from error

    def deafen(self) -> None:
        """Ends the connection that listens."""
        if self._ears is not None:
            self._ears.invalidate()
            self._ears.close()
            self._ears = None

    def transitions(self, source: str, name: str) -> list[sa.Row[Any]]:
        """The transitions of one session, oldest first, as the view tells them."""
        view = sa.table("transitions", *(sa.column(c) for c in ("source", "session", "from_status", "status", "at")))
        where = sa.and_(view.c.source == source, view.c.session == name)
        with naming_errors("read", self.place), self._engine.connect() as reader:
            return list(reader.execute(sa.select(view).where(where)))

    def oldest_event(self) -> int:
        """When the oldest event that is kept was received; 0 for an empty log."""
        with naming_errors("read", self.place), self._engine.connect() as reader:
            first = sa.select(event.c.received_at).order_by(event.c.seq).limit(1)
            return reader.scalar(first) or 0

    def last_seen(self) -> int:
        """When a service last ran on this log (Unix ms); 0 for never."""
        with self._reading() as reader:
            return reader.scalar(sa.select(sa.func.max(run.c.seen_at))) or 0

    def size_bytes(self) -> int:
        """The bytes that the log takes on disk, its write-ahead log included."""
        if isinstance(self.place, str):
            with self._reading() as reader:
                return reader.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database()))) or 0
        files = (self.place, self.place.with_name(self.place.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def free_bytes(self) -> int | None:
        """The bytes that the file system has left for the log; None where only the database knows."""
        return shutil.disk_usage(self.place.parent).free if isinstance(self.place, Path) else None

    def disk_bytes(self) -> int | None:
        """The bytes of that file system in all."""
        return shutil.disk_usage(self.place.parent).total if isinstance(self.place, Path) else None

    def close(self) -> None:
        """Ends all connections and lets other processes in."""
        self.deafen()
        self._writer.close()
        self._engine.dispose()
        if self._lock:
            self._lock.close()


def rows_for(event: StatusEvent, owner: int) -> list[Row]:
    """The rows of an event's points; its id and its restrictions stand beside its own point only."""
    *older, own = event.points
    limits = msgspec.json.encode(event.limits).decode() if event.limits else None
    received_at, engine, origin = event.received_at, event.engine, event.origin or own.ending
    rows: list[Row] = [(owner, p.status, p.at, p.tie, p.key_at, received_at, None, engine, None, origin) for p in older]
    rows.append((owner, own.status, own.at, own.tie, own.key_at, received_at, event.event_id, engine, limits, origin))
    return rows


def event_of(row: sa.Row[Any]) -> StatusEvent:
    """A row of the log as an event of one point."""
    limits = msgspec.json.decode(row.limits, type=tuple[Limit, ...]) if row.limits else ()
    point, is_end = point_of(row), row.origin in ENDINGS
    origin = None if is_end else row.origin
    return StatusEvent(row.source, row.name, (point,), row.received_at, row.event_id, row.engine, limits, origin=origin)


def changes_of(after: int, end: int | None) -> sa.Select[Any]:
    """The changes after number `after`, up to row `end` if there is one, each with the row that was told more."""
    query = (
        sa.select(
            session.c.source,
            session.c.name,
            session.c.standing,
            session.c.tombstone.label("newest"),
            session.c.buried,
            change.c.session_id.label("owner"),
            change.c.id.label("change"),
            change.c.seq.label("place"),
            change.c.tombstone,
            event,
        )
        .join_from(change, session, session.c.id == change.c.session_id)
        .join(event, event.c.seq == change.c.event_seq, isouter=True)
        .where(change.c.id > after)
        .order_by(change.c.id)
    )
    return query if end is None else query.where(change.c.seq < end)


def change_of(reader: sa.Connection, row: Any) -> Followed | Deleted | Joined | None:
    """A change as a follower needs it; None for one of a name that is over the limit."""
    key = (row.source, row.name)
    if row.tombstone:
        return Deleted(key, row.tombstone, row.place)
    if row.standing == OVER:
        return None
    if row.seq is not None:
        return Followed(-row.seq, event_of(row))
    memory = refold(reader, row.owner, Grave(row.newest, row.buried), None, 0, row.place)
    return Joined(key, memory) if memory else None


def actions_of(reader: sa.Connection, owner: int, since: int, limit: int | None = None) -> list[Action]:
    """A session's actions since then (Unix ms), newest first."""
    query = sa.select(action).where(action.c.session_id == owner, action.c.at >= since)
    rows = reader.execute(query.order_by(action.c.id.desc()).limit(limit))
    return [Action(row.id, row.at, row.kind, row.alert, row.result) for row in rows]


def raw_errors() -> type[Exception]:
    """What PostgreSQL's driver raises when it is used beside SQLAlchemy."""
    import psycopg  # noqa: PLC0415 - an extra: SQLite needs none

    return psycopg.Error
