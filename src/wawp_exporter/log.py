"""The event log on SQLAlchemy Core: append a batch, restore, fold one session, retention.

The log is the truth. `append`, `save`, `forget` and `purge` write and are called from one thread at a time; reading
methods may be called from any thread. Times are Unix ms.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from wawp_exporter.errors import LogError
from wawp_exporter.events import OTHER_ENGINE, Limit, Point, Status, StatusEvent
from wawp_exporter.fleet import Key, Memory, decode_memory, learn
from wawp_exporter.machine import State, fold

TIMELESS_MS = 3_600_000  # how long the key of an event without a time tells a retry
BUSY_S = 5.0
MIN_SQLITE = (3, 38, 0)  # the JSON operators
READS_ONLY = ("query_only=ON", "temp_store=MEMORY")

schema = sa.MetaData()
session = sa.Table(
    "session",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("tombstone", sa.BigInteger),
)
event = sa.Table(
    "event",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("session_id", sa.Integer),
    sa.Column("status", sa.Text),
    sa.Column("at", sa.BigInteger),
    sa.Column("tie", sa.Integer),
    sa.Column("key_at", sa.BigInteger),
    sa.Column("received_at", sa.BigInteger),
    sa.Column("event_id", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("limits", sa.Text),
)
state = sa.Table(
    "state",
    schema,
    sa.Column("session_id", sa.Integer, primary_key=True),
    sa.Column("oldest", sa.BigInteger),
    sa.Column("memory", sa.Text),
)
timeless = sa.Table(
    "timeless",
    schema,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("received_at", sa.BigInteger),
)
watermark = sa.Table(
    "watermark", schema, sa.Column("id", sa.Integer, primary_key=True), sa.Column("seq", sa.BigInteger)
)

run = sa.Table(
    "run",
    schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("seen_at", sa.BigInteger),
)


def rows_of(count: int) -> tuple[Any, list[Any]]:
    """A JSON array of arrays in the parameter `rows` as a table of `count` columns.

    One statement for a whole batch: the driver lets go of the interpreter once, not once a row.
    """
    each = sa.func.json_each(sa.bindparam("rows", type_=sa.Text)).table_valued("key", "value", joins_implicitly=True)
    return each, [each.c.value.op("->>")(sa.literal_column(str(index))) for index in range(count)]


def insert_rows(table: sa.Table, names: Sequence[str]) -> Any:
    """`INSERT INTO table (names) SELECT … FROM rows`, in the order of the rows."""
    each, columns = rows_of(len(names))
    # SQLite reads the ON of an upsert as a join without a WHERE before it.
    return insert(table).from_select(names, sa.select(*columns).select_from(each).where(sa.true()).order_by(each.c.key))


EVENT_COLUMNS = ("session_id", "status", "at", "tie", "key_at", "received_at", "event_id", "engine", "limits")
_insert_event = insert_rows(event, EVENT_COLUMNS)
_again = _insert_event.excluded
INSERT_EVENTS = (
    # A history that was cut short counts fewer ties before a point than a longer one: the longer one is right. And the
    # history of another event tells nothing of restrictions.
    _insert_event.on_conflict_do_update(
        index_elements=["session_id", "key_at", "status"],
        set_={
            "tie": sa.case((_again.tie > event.c.tie, _again.tie), else_=event.c.tie),
            "limits": sa.func.coalesce(event.c.limits, _again.limits),
        },
        where=(_again.tie > event.c.tie) | (event.c.limits.is_(None) & _again.limits.is_not(None)),
    ).returning(event.c.seq, event.c.session_id, event.c.key_at, event.c.status)
)
INSERT_SESSIONS = (
    insert_rows(session, ("source", "name"))
    .on_conflict_do_nothing()
    .returning(session.c.id, session.c.source, session.c.name)
)
_upsert_state = insert_rows(state, ("session_id", "oldest", "memory"))
UPSERT_STATE = _upsert_state.on_conflict_do_update(
    index_elements=["session_id"],
    set_={"oldest": _upsert_state.excluded.oldest, "memory": _upsert_state.excluded.memory},
)
_before = event.alias("before")
# Events from the oldest that a live state rests on, and the one before: what it came from decides what it is. By the
# time as sent, which is the one that is indexed; it is never before `at`, so nothing too much is let go.
_boundary = (
    sa.select(sa.func.max(_before.c.key_at))
    .where(_before.c.session_id == state.c.session_id, _before.c.key_at < state.c.oldest)
    .correlate(state)
    .scalar_subquery()
)
RESTED_ON = sa.exists().where(
    state.c.session_id == event.c.session_id, event.c.key_at >= sa.func.coalesce(_boundary, 0)
)
REMEMBERED = (
    sa.select(session.c.id, session.c.source, session.c.name, session.c.tombstone, state.c.memory)
    .join_from(session, state, session.c.id == state.c.session_id, isouter=True)
    .execution_options(yield_per=2000)  # a row at a time takes twice as long
)


@dataclass(frozen=True, slots=True)
class Appended:
    """What a batch left in the log: for each event the row of each point, 0 if it was known; and the newest `seq`."""

    rows: list[tuple[int, ...]]
    seq: int

    @property
    def fresh(self) -> list[tuple[bool, ...]]:
        """Which points were new."""
        return [tuple(map(bool, rows)) for rows in self.rows]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start needs: every session's memory, the tombstones, and the log's newest `seq`.

    `saved` are memories as the state table has them, not decoded; `refolded` those that it does not hold like this.
    """

    saved: dict[Key, str]
    refolded: dict[Key, Memory]
    tombstones: dict[Key, int]
    seq: int

    @property
    def memories(self) -> dict[Key, Memory]:
        """All of them, decoded."""
        return {key: decode_memory(text) for key, text in self.saved.items()} | self.refolded


class Log:
    """An open event log. Raises LogError for whatever the database refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = take_lock(path)
        self._ids: dict[Key, int] = {}
        self._seq = 0
        self._run: int | None = None
        try:
            self._engine = make_engine(path)
            with told("open", path):
                self._writer = self._engine.connect().execution_options(writes=True)
                migrate(self._writer, path)
                self._seq = self._writer.scalar(sa.select(sa.func.max(event.c.seq))) or 0
                self._writer.rollback()
        except BaseException:
            self._lock.close()
            raise

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[StatusEvent]) -> Appended:
        """Appends a batch durably: when this returns, it is on disk; when it raises, nothing of it is.

        A point that the log holds already (same session, time as sent, and status) is not fresh. An event whose
        timeless key was seen within the hour has no fresh points.
        """
        with told("write", self.path), self._writer.begin():
            known = self._sessions([(e.source, e.session) for e in events])
            repeated = self._repeated([e for e in events if e.timeless_key])
            rows = [row for e in events if id(e) not in repeated for row in rows_for(e, known[e.source, e.session])]
            stored = self._writer.execute(INSERT_EVENTS, {"rows": msgspec.json.encode(rows).decode()}).all()
            # A row that was there before keeps its number; what it says now, no saved state covers.
            told_more = [row.seq for row in stored if row.seq <= self._seq]
            if told_more:
                uncovered = sa.update(watermark).where(watermark.c.seq >= min(told_more))
                self._writer.execute(uncovered.values(seq=min(told_more) - 1))
        self._ids.update(known)
        new = {(row.session_id, row.key_at, row.status): row.seq for row in stored if row.seq > self._seq}
        self._seq = max([self._seq, *new.values()])
        return Appended([self._rows(e, new, id(e) in repeated) for e in events], self._seq)

    def _rows(self, event: StatusEvent, new: dict[tuple[int, int, str], int], repeated: bool) -> tuple[int, ...]:
        """The stored row of each point of the event, given to the first that brought it."""
        if repeated:
            return (0,) * len(event.points)
        owner = self._ids[event.source, event.session]
        return tuple(new.pop((owner, p.key_at, p.status), 0) for p in event.points)

    def _sessions(self, keys: Sequence[Key]) -> dict[Key, int]:
        """The row ids of sessions, new ones inserted; remembered by the caller once the transaction holds."""
        missing = {key for key in keys if key not in self._ids}
        found = {key: self._ids[key] for key in keys if key in self._ids}
        if missing:
            rows = msgspec.json.encode(list(missing)).decode()
            for owner, source, name in self._writer.execute(INSERT_SESSIONS, {"rows": rows}):
                found[source, name] = owner
            for source, name in missing - found.keys():
                where = sa.and_(session.c.source == source, session.c.name == name)
                found[source, name] = self._writer.execute(sa.select(session.c.id).where(where)).scalar_one()
        return found

    def _repeated(self, events: Sequence[StatusEvent]) -> set[int]:
        """The ids (of the objects) of those events whose timeless key the log has seen within the hour."""
        repeated = set()
        for item in events:
            limit = item.received_at - TIMELESS_MS
            self._writer.execute(sa.delete(timeless).where(timeless.c.received_at <= limit))
            row = {"source": item.source, "key": item.timeless_key, "received_at": item.received_at}
            stored = self._writer.execute(insert(timeless).values(row).on_conflict_do_nothing()).rowcount
            if not stored and not item.renews:
                repeated.add(id(item))
        return repeated

    def save(self, memories: Sequence[tuple[Key, Memory]], seq: int | None) -> None:
        """Keeps what the fold knows of sessions; `seq`, if given, says that it covers the log up to there."""
        with told("write", self.path), self._writer.begin():
            rows = [
                (self._ids[key], memory.state.oldest, msgspec.json.encode(memory).decode())
                for key, memory in memories
                if key in self._ids
            ]
            if rows:
                self._writer.execute(UPSERT_STATE, {"rows": msgspec.json.encode(rows).decode()})
            if seq is not None:
                self._writer.execute(sa.update(watermark).values(seq=seq))

    def forget(self, key: Key, tombstone: int) -> None:
        """Marks a session deleted at `tombstone`; its events stay for audits."""
        source, name = key
        with told("write", self.path), self._writer.begin():
            where = sa.and_(session.c.source == source, session.c.name == name)
            # Not the events: what happened stays true.
            self._writer.execute(sa.update(session).where(where).values(tombstone=tombstone))
            owner = sa.select(session.c.id).where(where).scalar_subquery()
            self._writer.execute(sa.delete(state).where(state.c.session_id == owner))

    def beat(self, now: int) -> None:
        """Keeps that this process runs at `now`, and has since the first beat."""
        with told("write", self.path), self._writer.begin():
            if self._run is None:
                row = sa.insert(run).values(started_at=now, seen_at=now)
                self._run = self._writer.execute(row).inserted_primary_key[0]  # type: ignore[index]  # it has a key
            else:
                self._writer.execute(sa.update(run).where(run.c.id == self._run).values(seen_at=now))

    def purge(self, before: int, limit: int = 5000) -> int:
        """Deletes up to `limit` of the oldest events received before `before`; returns how many.

        What a live state still rests on (the entry into its status, the start of an episode) is kept.
        """
        # Found by walking from the oldest: an index on the time of receipt would slow each append.
        young = sa.select(event.c.seq).where(event.c.received_at >= before).order_by(event.c.seq).limit(1)
        end = sa.func.coalesce(young.scalar_subquery(), self._seq + 1)
        doomed = sa.select(event.c.seq).where(event.c.seq < end, sa.not_(RESTED_ON)).order_by(event.c.seq).limit(limit)
        with told("write", self.path), self._writer.begin():
            return self._writer.execute(sa.delete(event).where(event.c.seq.in_(doomed))).rowcount

    # -- reading ------------------------------------------------------------------------------------------------

    def restore(self, sources: Sequence[str]) -> Restored:
        """The memories of all sessions of `sources`, those with events after the watermark folded anew."""
        found = Restored({}, {}, {}, self._seq)
        with told("read", self.path), self._engine.connect() as reader:
            stale = self._stale(reader)
            for owner, source, name, tombstone, text in reader.execute(REMEMBERED):
                key = (source, name)
                self._ids[key] = owner
                if tombstone:
                    found.tombstones[key] = tombstone
                if source not in sources:
                    continue
                if owner in stale:
                    memory = refold(reader, owner, tombstone, decode_memory(text) if text else None)
                    if memory and memory.state.at > tombstone:
                        found.refolded[key] = memory
                # A state that was saved while its session was being deleted does not bring it back.
                elif text and (not tombstone or decode_memory(text).state.at > tombstone):
                    found.saved[key] = text
        return found

    def _stale(self, reader: sa.Connection) -> set[int]:
        """The sessions with events that the state table does not cover: those of the last moments before a crash."""
        covered = sa.select(watermark.c.seq).scalar_subquery()
        # Not `distinct`: it would make SQLite walk the index of the whole log.
        return set(reader.scalars(sa.select(event.c.session_id).where(event.c.seq > covered)))

    def fold(self, key: Key, around: int, tombstone: int = 0) -> State | None:
        """One session's state as its events tell it, in the order of (at, tie), then arrival.

        Only what can matter for a change at `around` is read: WORKING ends everything before it.
        """
        with told("read", self.path), self._engine.connect() as reader:
            return fold_session(reader, self._ids[key], max(tombstone, anchor(reader, self._ids[key], around) - 1))

    def transitions(self, source: str, name: str) -> list[sa.Row[Any]]:
        """The transitions of one session, oldest first, as the view tells them."""
        view = sa.table("transitions", *(sa.column(c) for c in ("source", "session", "from_status", "status", "at")))
        where = sa.and_(view.c.source == source, view.c.session == name)
        with told("read", self.path), self._engine.connect() as reader:
            return list(reader.execute(sa.select(view).where(where)))

    def oldest_event(self) -> int:
        """When the oldest event that is kept was received; 0 for an empty log."""
        with told("read", self.path), self._engine.connect() as reader:
            first = sa.select(event.c.received_at).order_by(event.c.seq).limit(1)
            return reader.scalar(first) or 0

    def size_bytes(self) -> int:
        """The bytes that the log takes on disk, its write-ahead log included."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def free_bytes(self) -> int:
        """The bytes that the file system has left for the log."""
        return shutil.disk_usage(self.path.parent).free

    def close(self) -> None:
        """Ends all connections and lets other processes in."""
        self._writer.close()
        self._engine.dispose()
        self._lock.close()


def rows_for(event: StatusEvent, owner: int) -> list[tuple[int | str | None, ...]]:
    """The rows of an event's points; its id and its restrictions stand beside its own point only."""
    limits = msgspec.json.encode(event.limits).decode() if event.limits else None
    rows: list[tuple[int | str | None, ...]] = []
    for p in event.points:
        event_id, said = (event.event_id, limits) if p is event.own else (None, None)
        rows.append((owner, p.status, p.at, p.tie, p.key_at, event.received_at, event_id, event.engine, said))
    return rows


def database_path(url: str) -> Path:
    """`sqlite:///data/wawp.db` → the file's path, relative to the working directory."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def told(doing: str, path: Path) -> Iterator[None]:
    """Wraps what the database or the system raises, saying what was being done to which file."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise LogError(f"cannot {doing} the event log {path}: {getattr(error, 'orig', None) or error}") from error
    except OSError as error:
        raise LogError(f"cannot {doing} the event log {path}: {error.strerror}") from error


def take_lock(path: Path) -> IO[bytes]:
    """One process a log: two would each hold half of the fleet. The lock goes with the process, whatever ends it."""
    with told("open", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LogError(f"cannot open the event log {path}: another process is using it") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n".encode())
    lock.flush()
    return lock


def make_engine(path: Path, *, reads_only: bool = False) -> sa.Engine:
    """An engine that owns its transactions, in WAL mode, each commit flushed to disk; or one that only reads."""
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise LogError(f"SQLite {sqlite3.sqlite_version} is too old, expected 3.38 or newer")
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in READS_ONLY if reads_only else ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer that began as a reader can be refused the lock without waiting for it.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def migrations() -> AlembicConfig:
    """Where the migrations lie."""
    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return alembic


def newest_schema() -> str | None:
    """The newest version of the schema that is known here."""
    return ScriptDirectory.from_config(migrations()).get_current_head()


def version(reader: sa.Connection) -> str | None:
    """The version of the schema of a log; None where there is none."""
    return MigrationContext.configure(reader).get_current_revision()


def migrate(connection: sa.Connection, path: Path) -> None:
    """Brings the schema up to date; a log of a newer version is refused, not guessed at."""
    alembic = migrations()
    alembic.attributes["connection"] = connection
    try:
        command.upgrade(alembic, "head")
        connection.commit()
    except CommandError as error:
        raise LogError(f"cannot open the event log {path}: {error} (was it written by a newer version?)") from None


def refold(reader: sa.Connection, owner: int, tombstone: int, memory: Memory | None) -> Memory | None:
    """What the events say of a session whose memory is older than they are."""
    folded = fold_session(reader, owner, tombstone)
    if folded is None:
        return None
    if memory is None or memory.state.at <= tombstone:
        memory = Memory(msgspec.structs.replace(folded, at=0), OTHER_ENGINE, 0)
    covered = sa.select(watermark.c.seq).scalar_subquery()
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


def fold_session(reader: sa.Connection, owner: int, after: int) -> State | None:
    """Folds the events of one session with `at` > `after`."""
    columns = sa.select(event.c.status, event.c.at, event.c.tie, event.c.key_at)
    where = sa.and_(event.c.session_id == owner, event.c.at > after)
    rows = reader.execute(columns.where(where).order_by(event.c.at, event.c.tie, event.c.seq))
    return fold(Point(*row) for row in rows)


def anchor(reader: sa.Connection, owner: int, around: int) -> int:
    """The last other status before the last WORKING before `around`: what lies before it cannot matter."""
    mine = event.c.session_id == owner
    newest = sa.func.max(event.c.at)
    working = reader.scalar(sa.select(newest).where(mine, event.c.status == Status.WORKING, event.c.at < around))
    if working is None:
        return 0
    return reader.scalar(sa.select(newest).where(mine, event.c.status != Status.WORKING, event.c.at < working)) or 0
