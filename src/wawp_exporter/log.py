"""The event log on SQLAlchemy Core: append a batch, restore, fold one session, retention.

The log is the truth. `append`, `save`, `forget` and `purge` write and are called from one thread at a time; reading
methods may be called from any thread. Times are Unix ms.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import sqlalchemy as sa

from wawp_exporter import names, partitions
from wawp_exporter.database import APPENDING, DATABASE_NOW, Place, make_engine, migrate, name_of, take_lock, told
from wawp_exporter.errors import LogError
from wawp_exporter.events import ENDINGS, OTHER_ENGINE, Limit, Point, Status, StatusEvent, normal
from wawp_exporter.fleet import Key, Memory, decode_memory, learn, slot_of
from wawp_exporter.machine import State, fold
from wawp_exporter.names import FOLDED, FORGOTTEN, NAMING, OVER, UNLIMITED, Names, newest_of
from wawp_exporter.retention import LEASE, LEASE_S, MOST, Purge
from wawp_exporter.tables import (
    Row,
    Statements,
    action,
    certain,
    deletion,
    event,
    heard,
    lease,
    run,
    session,
    state,
    timeless,
    watermark,
)

TIMELESS_MS = 3_600_000  # how long the key of an event without a time tells a retry
RECENT_MS = 86_400_000  # the actions that a claim is judged by
ADMITTED = 100  # names over the limit that are folded in one transaction
CHANNEL = "wawp_log"

REMEMBERED = (
    sa.select(session.c.id, session.c.source, session.c.name, session.c.tombstone, session.c.standing, state.c.memory)
    .join_from(session, state, session.c.id == state.c.session_id, isouter=True)
    .where(session.c.standing != int(OVER))
    .execution_options(yield_per=2000)  # a row at a time takes twice as long
)


@dataclass(frozen=True, slots=True)
class Appended:
    """What a batch left in the log: for each event the row of each point, 0 if it was known; and the newest `seq`.

    `before` has the newest point that a shared log held of each session. `over` are names over the limit of their
    source: they are logged and not folded.
    """

    rows: list[tuple[int, ...]]
    seq: int
    before: dict[Key, Point] = field(default_factory=dict)
    over: frozenset[Key] = frozenset()

    @property
    def fresh(self) -> list[tuple[bool, ...]]:
        """Which points were new."""
        return [tuple(map(bool, rows)) for rows in self.rows]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start needs: every session's memory, the tombstones, and the log's newest `seq`.

    `saved` are memories as the state table has them, not decoded; `refolded` those that it does not hold like this.
    `deletion` is the number of the newest deletion that is part of it.
    """

    saved: dict[Key, str]
    refolded: dict[Key, Memory]
    tombstones: dict[Key, int]
    seq: int
    deletion: int = 0

    @property
    def memories(self) -> dict[Key, Memory]:
        """All of them, decoded."""
        return {key: decode_memory(text) for key, text in self.saved.items()} | self.refolded


class Followed(msgspec.Struct, frozen=True):
    """One row of the log as a follower needs it: an event of one point."""

    seq: int
    event: StatusEvent


class Deleted(msgspec.Struct, frozen=True):
    """A deletion; `memory` is what came after it already, if anything did.

    `tombstone` is 0 where there was none: a name that was over the limit is folded from now on, as `memory` says.
    """

    number: int
    key: Key
    tombstone: int
    memory: Memory | None


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
        self._seq = 0
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
        with told("open", place):
            self._writer = self._engine.connect().execution_options(writes=True)
            migrate(self._writer, place)
            self._seq = self._writer.scalar(sa.select(sa.func.max(event.c.seq))) or 0
            self._writer.rollback()

    # -- writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, *, ordered: bool = False) -> Iterator[sa.Connection]:
        """A transaction of the writer. `ordered` ones of all replicas commit one after another, in order of `seq`.

        Numbers are given out before a commit: without the lock a row could appear behind one that was followed already.
        """
        with told("write", self.place), self._writer.begin():
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
        with told("read", self.place), self._engine.connect() as reader:
            if self.shared:
                reader = reader.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same one
            yield reader

    def append(self, events: Sequence[StatusEvent], max_names: int = UNLIMITED) -> Appended:
        """Appends a batch durably: when this returns, it is on disk; when it raises, nothing of it is.

        A point that the log holds already (same session, time as sent, and status) is not fresh. An event whose
        timeless key was seen within the hour has no fresh points. Of a source at most `max_names` names are folded.
        """
        with self._writing() as writer:
            settled = self._names.settle(writer, newest_of(events), max_names)
            known = settled.ids
            before = self._newest(known) if self.shared else {}
            repeated = self._repeated([e for e in events if e.timeless_key], before)
            fresh = [e for e in events if id(e) not in repeated] if repeated else events
            numbers = self._store(writer, [row for e in fresh for row in rows_for(e, known[e.source, e.session])])
        self._names.remember(settled)
        self._seq = max(self._seq, max(numbers, default=0))
        left = iter(numbers)
        rows = [
            (0,) * len(e.points) if repeated and id(e) in repeated else tuple(islice(left, len(e.points)))
            for e in events
        ]
        return Appended(rows, self._seq, before, settled.over)

    def _store(self, writer: sa.Connection, rows: list[Row]) -> Sequence[int]:
        """Inserts the points that are new, and takes from others what the log did not know of them; the new ones'
        numbers, 0 for the others.
        """
        if not rows:
            return ()
        if self.shared:
            # As late as possible: until the commit the other replicas wait.
            writer.execute(sa.select(sa.func.pg_advisory_xact_lock(APPENDING)))
        numbers, told_more = self._statements.store_events(writer, rows, self._seq)
        # A row that was there before keeps its number in SQLite; what it says now, no saved state covers.
        if told_more and not self.shared:
            uncovered = sa.update(watermark).where(watermark.c.seq >= min(told_more))
            writer.execute(uncovered.values(seq=min(told_more) - 1))
        if any(numbers) or told_more:
            self._announce(writer)
        return numbers

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
            .where(event.c.session_id == owner, event.c.at > session.c.tombstone)
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

    def _repeated(self, events: Sequence[StatusEvent], before: dict[Key, Point]) -> set[int]:
        """The ids (of the objects) of those events whose timeless key the log has seen within the hour."""
        repeated = set()
        for item in events:
            limit = item.received_at - TIMELESS_MS
            self._writer.execute(sa.delete(timeless).where(timeless.c.received_at <= limit))
            row = {"source": item.source, "key": item.timeless_key, "received_at": item.received_at}
            fresh = self._statements.insert(timeless).values(row).on_conflict_do_nothing().returning(timeless.c.key)
            stored = self._writer.execute(fresh).all()
            newest = before.get((item.source, item.session))
            # What a replica has folded may be older than what the log holds, and a retry come to another replica.
            changed = item.key_is_body and newest and normal(newest.status) != normal(item.own.status)
            if not stored and not (changed if self.shared else item.renews):
                repeated.add(id(item))
        return repeated

    def save(self, memories: Sequence[tuple[Key, Memory]], seq: int, *, covers: bool = True) -> None:
        """Keeps what the fold of the log up to `seq` knows of sessions; `covers` if that is all there was to keep."""
        with self._writing() as writer:
            self._keep(writer, memories, seq)
            if covers:
                mark = self._statements.insert(watermark).values(total=self.total, shard=self.index, seq=seq)
                writer.execute(
                    mark.on_conflict_do_update(
                        index_elements=["total", "shard"], set_={"seq": seq}, where=watermark.c.seq < seq
                    )
                )

    def _keep(self, writer: sa.Connection, memories: Sequence[tuple[Key, Memory]], seq: int) -> None:
        """Writes states of the log up to `seq`."""
        known = self._names.known(writer, [key for key, _ in memories])
        rows = [
            (known[key], memory.state.oldest, msgspec.json.encode(memory).decode(), seq)
            for key, memory in memories
            if key in known
        ]
        if rows:
            writer.execute(self._statements.upsert_state, {"rows": msgspec.json.encode(rows).decode()})

    def forget(self, key: Key, tombstone: int) -> None:
        """Marks a session deleted at `tombstone`; its events stay for audits."""
        source, name = key
        with self._writing(ordered=True) as writer:
            where = sa.and_(session.c.source == source, session.c.name == name, session.c.tombstone < tombstone)
            # Not the events: what happened stays true.
            marks = {"tombstone": tombstone, "standing": int(FORGOTTEN)}
            owner = writer.scalar(sa.update(session).where(where).values(marks).returning(session.c.id))
            if owner is None:  # never seen, or deleted by another replica
                return
            writer.execute(sa.delete(state).where(state.c.session_id == owner))
            if self.shared:
                writer.execute(sa.insert(deletion).values(session_id=owner, tombstone=tombstone))
            self._announce(writer)
        self.unlearn(key)

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
            rows = names.waiting(writer, source, min(names.room_of(writer, source, max_names), ADMITTED))
            for owner, name, tombstone in rows:
                memory = refold(writer, owner, tombstone, None, 0)
                if memory:
                    found[source, name] = memory
                # Retention has taken its events: it must not keep the room for others.
                names.set_standing(writer, [owner], FOLDED if memory else FORGOTTEN)
            self._keep(writer, list(found.items()), self._newest_row(writer))
            if self.shared and rows:
                joined = [{"session_id": row.id, "tombstone": 0} for row in rows]
                writer.execute(sa.insert(deletion), joined)
                self._announce(writer)
        return found

    def _lock_names(self, writer: sa.Connection) -> None:
        """Nobody decides about names, nor appends, until the commit."""
        if self.shared:
            for lock in (NAMING, APPENDING):
                writer.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))

    def _newest_row(self, reader: sa.Connection) -> int:
        """The number of the newest row."""
        return reader.scalar(sa.select(sa.func.max(event.c.seq))) or 0 if self.shared else self._seq

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
        with told("write", self.place):
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
                {}, {}, {}, self._newest_row(reader), reader.scalar(sa.select(sa.func.max(deletion.c.id))) or 0
            )
            covered = self._covered(reader)
            stale = self._stale(reader, covered)
            for owner, source, name, tombstone, standing, text in reader.execute(REMEMBERED.where(*self._mine())):
                key = (source, name)
                if standing == FOLDED:
                    self._names.ids[key] = owner
                if tombstone:
                    found.tombstones[key] = tombstone
                if source not in sources:
                    continue
                if owner in stale:
                    memory = refold(reader, owner, tombstone, decode_memory(text) if text else None, covered)
                    if memory and memory.state.at > tombstone:
                        found.refolded[key] = memory
                # A state that was saved while its session was being deleted does not bring it back.
                elif text and (not tombstone or decode_memory(text).state.at > tombstone):
                    found.saved[key] = text
        return found

    def _mine(self) -> list[sa.ColumnElement[bool]]:
        """The condition of this replica's shard."""
        return [session.c.slot % self.total == self.index] if self.total > 1 else []

    def _covered(self, reader: sa.Connection) -> int:
        """Up to where the state table covers the log.

        What shards of another count have kept holds as well, if all of them have.
        """
        marks = {(row.total, row.shard): row.seq for row in reader.execute(sa.select(watermark))}
        totals = {total for total, _ in marks}
        whole = [[marks.get((total, index), 0) for index in range(total)] for total in totals]
        return int(max([marks.get((self.total, self.index), 0), *map(min, whole)]))

    def _stale(self, reader: sa.Connection, covered: int) -> set[int]:
        """The sessions with events that the state table does not cover: those of the last moments before a crash."""
        # Not `distinct`: it would make SQLite walk the index of the whole log.
        return set(reader.scalars(sa.select(event.c.session_id).where(event.c.seq > covered)))

    def fold(self, key: Key, around: int, tombstone: int = 0, seq: int | None = None) -> State | None:
        """One session's state as its events up to row `seq` tell it, in the order of (at, tie), then arrival.

        Only what can matter for a change at `around` is read: WORKING ends everything before it.
        """
        with self._reading() as reader:
            owner = self._names.ids.get(key) or owner_of(reader, key)
            return fold_session(reader, owner, max(tombstone, anchor(reader, owner, around) - 1), seq)

    def look(self, key: Key) -> Memory | None:
        """What the log knows of a session that is not folded here; None for an unknown or deleted one."""
        with self._reading() as reader:
            found = reader.execute(REMEMBERED.where(session.c.source == key[0], session.c.name == key[1])).first()
            if found is None:
                return None
            text, covered = found.memory, sa.select(state.c.seq).where(state.c.session_id == found.id)
            memory = decode_memory(text) if text else None
            told_anew = refold(reader, found.id, found.tombstone, memory, reader.scalar(covered) or 0)
            return told_anew if told_anew and told_anew.state.at > found.tombstone else None

    def follow(self, after: int, limit: int) -> tuple[list[Followed], int, bool]:
        """The rows after number `after` that are of this shard, the number of the last that was read, and whether
        that was the last of all.
        """
        rows = sa.select(event).where(event.c.seq > after).order_by(event.c.seq).limit(limit).subquery()
        query = (
            sa.select(session.c.source, session.c.name, session.c.standing, rows)
            .join_from(rows, session, session.c.id == rows.c.session_id)
            .order_by(rows.c.seq)
        )
        with self._reading() as reader:
            found = reader.execute(query).all()
        folded = (row for row in found if row.standing != OVER and self.holds((row.source, row.name)))
        mine = [Followed(row.seq, event_of(row)) for row in folded]
        return mine, found[-1].seq if found else after, len(found) < limit

    def deletions(self, after: int) -> list[Deleted]:
        """The deletions after number `after`, oldest first, in this shard."""
        query = (
            sa.select(
                deletion, session.c.source, session.c.name, session.c.standing, session.c.tombstone.label("newest")
            )
            .join_from(deletion, session, session.c.id == deletion.c.session_id)
            .where(deletion.c.id > after, *self._mine())
            .order_by(deletion.c.id)
        )
        with self._reading() as reader:
            return [
                Deleted(row.id, (row.source, row.name), row.tombstone, memory_after(reader, row))
                for row in reader.execute(query).all()
            ]

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
        with told("follow", self.place):
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
        with told("read", self.place), self._engine.connect() as reader:
            return list(reader.execute(sa.select(view).where(where)))

    def oldest_event(self) -> int:
        """When the oldest event that is kept was received; 0 for an empty log."""
        with told("read", self.place), self._engine.connect() as reader:
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


def point_of(row: Any) -> Point:
    """A row of the log as a point. The column `origin` has what it says of an end, too: no webhook has both."""
    return Point(row.status, row.at, row.tie, row.key_at, row.origin if row.origin in ENDINGS else None)


def actions_of(reader: sa.Connection, owner: int, since: int, limit: int | None = None) -> list[Action]:
    """A session's actions since then (Unix ms), newest first."""
    query = sa.select(action).where(action.c.session_id == owner, action.c.at >= since)
    rows = reader.execute(query.order_by(action.c.id.desc()).limit(limit))
    return [Action(row.id, row.at, row.kind, row.alert, row.result) for row in rows]


def memory_after(reader: sa.Connection, row: Any) -> Memory | None:
    """What came of a session after its deletion, or is known of one that is folded from now on."""
    if row.standing == OVER:
        return None
    return refold(reader, row.session_id, row.tombstone or row.newest, None, 0)


def owner_of(reader: sa.Connection, key: Key) -> int:
    """The row id of a session; 0 for an unknown one."""
    where = sa.and_(session.c.source == key[0], session.c.name == key[1])
    return reader.scalar(sa.select(session.c.id).where(where)) or 0


def raw_errors() -> type[Exception]:
    """What PostgreSQL's driver raises when it is used beside SQLAlchemy."""
    import psycopg  # noqa: PLC0415 - an extra: SQLite needs none

    return psycopg.Error


def refold(reader: sa.Connection, owner: int, tombstone: int, memory: Memory | None, covered: int) -> Memory | None:
    """What the events say of a session whose memory, of the log up to row `covered`, is older than they are."""
    folded = fold_session(reader, owner, tombstone)
    if folded is None:
        return None
    if memory is None or memory.state.at <= tombstone:
        memory = Memory(msgspec.structs.replace(folded, at=0), OTHER_ENGINE, 0)
    tail = sa.select(event.c.at, event.c.received_at, event.c.engine, event.c.limits).where(
        event.c.session_id == owner, event.c.seq > covered, event.c.at > tombstone
    )
    rows = reader.execute(tail.order_by(event.c.at, event.c.tie, event.c.seq)).all()
    limits = {limit.restriction: (limit, at) for limit, at in memory.limits}
    for row in rows:
        if row.limits:
            learn(limits, msgspec.json.decode(row.limits, type=tuple[Limit, ...]), row.at)
    # Retention may have taken the events that once made it WORKING.
    worked = msgspec.structs.replace(folded, worked=folded.worked or memory.state.worked)
    engines = [row.engine for row in rows if row.engine and row.at >= memory.state.at]
    heard = max([memory.last_event, *(row.received_at for row in rows)])
    return Memory(worked, engines[-1] if engines else memory.engine, heard, tuple(limits.values()))


def fold_session(reader: sa.Connection, owner: int, after: int, seq: int | None = None) -> State | None:
    """Folds the events of one session with `at` > `after`, up to row `seq`."""
    columns = sa.select(event.c.status, event.c.at, event.c.tie, event.c.key_at, event.c.origin)
    where = sa.and_(event.c.session_id == owner, event.c.at > after)
    if seq is not None:
        where = sa.and_(where, event.c.seq <= seq)
    rows = reader.execute(columns.where(where).order_by(event.c.at, event.c.tie, event.c.seq))
    return fold(point_of(row) for row in rows)


def anchor(reader: sa.Connection, owner: int, around: int) -> int:
    """The last other status before the last WORKING before `around`: what lies before it cannot matter."""
    mine = event.c.session_id == owner
    newest = sa.func.max(event.c.at)
    working = reader.scalar(sa.select(newest).where(mine, event.c.status == Status.WORKING, event.c.at < around))
    if working is None:
        return 0
    other = sa.and_(event.c.status != Status.WORKING, certain(event))
    return reader.scalar(sa.select(newest).where(mine, other, event.c.at < working)) or 0
