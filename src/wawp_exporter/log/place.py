"""Where a log lies: a SQLite file or a PostgreSQL database; engines, migrations, and errors that name the place.

A `Place` is the path of a SQLite file, or the URL of a PostgreSQL database.
"""

import fcntl
import io
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wawp_exporter.errors import LogError

SCHEMA = "0015"  # the newest of `migrations/versions`
BUSY_S = 5.0
PRIVATE = 0o600  # the modes of files and folders that are made here
PRIVATE_FOLDER = 0o700
CACHED = 512  # prepared statements that are kept: each size of a batch has its own
MIN_SQLITE = (3, 38, 0)  # the JSON operators
# While somebody reads, the write-ahead log grows; the limit makes SQLite give that disk space back afterwards.
WRITES = ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "journal_size_limit=67108864")
READS_ONLY = ("query_only=ON", "temp_store=MEMORY")
MIGRATING = 0x57415750  # PostgreSQL's advisory locks, which hold for the whole database
APPENDING = MIGRATING + 1
MESSAGES = MIGRATING + 3  # shared while counts of messages are written; a deletion waits for that
# So a dead server is noticed in seconds; TCP's own keepalive takes two hours.
POSTGRES_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "wawp-exporter",
}
# A replica that is paused during a write must not block the others: hence the timeouts. `jit` is off because compiling
# our short queries takes longer than running them.
POSTGRES_WRITES = (
    "SET idle_in_transaction_session_timeout = '2s'; SET statement_timeout = '15s'; SET lock_timeout = '8s'; "
    "SET jit = off; "
    # The answer 200 means that the event is on disk, whatever the server's setting is.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
# Unix ms by the clock of the database, which all replicas share.
DATABASE_NOW = sa.literal_column("(extract(epoch FROM clock_timestamp()) * 1000)::bigint", sa.BigInteger)
SEVERITY = re.compile(r"\b(?:FATAL|PANIC|ERROR): +")
# A page is read with several statements: what arrives between two of them must not move the place where one goes on.
POSTGRES_READS = (
    "SET default_transaction_read_only = on; SET default_transaction_isolation = 'repeatable read'; "
    "SET statement_timeout = '10min'; SET jit = off"
)

Place = Path | str
Progress = Callable[[int, int], None]  # called with the rows or sessions that are done, and the total


def place_of(url: str) -> Place:
    """`sqlite:///data/wawp.db` → the file's path, relative to the working directory; else the URL as it is."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else url


def name_of(place: Place) -> str:
    """The place as an operator may read it: without user, password and options."""
    if isinstance(place, Path):
        return str(place)
    url = sa.make_url(place)
    return f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


@contextmanager
def naming_errors(doing: str, place: Place) -> Iterator[None]:
    """Turns an error of the database or the system into a LogError that names the operation and the log."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise LogError(f"cannot {doing} the event log {name_of(place)}: {reason_of(error)}") from error
    except OSError as error:
        raise LogError(f"cannot {doing} the event log {name_of(place)}: {error.strerror}") from error


def reason_of(error: Exception) -> str:
    """The message of a database's error; where PostgreSQL's message may quote data, only its kind and code."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlstate", None)
    if code and not code.startswith(("08", "28", "3D", "53", "57")):
        return f"{type(original).__name__} (SQLSTATE {code})"
    said = str(original).splitlines()[0] if str(original) else type(original).__name__
    # PostgreSQL says FATAL also where trying again helps, such as while it starts: that word is left out.
    return SEVERITY.sub("", said)


def take_lock(path: Path) -> io.FileIO:
    """Locks a file for this process: two would each have half of the events. The lock ends with the process."""
    with naming_errors("open", path):
        path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        lock = io.FileIO(path.with_name(path.name + ".lock"), "a", opener=open_private)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LogError(f"cannot open the event log {path}: another process is using it") from None
    with naming_errors("open", path):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
        # SQLite gives its other files the mode of this one. A file that exists keeps its mode.
        if not path.exists():
            io.FileIO(path, "a", opener=open_private).close()
    return lock


def open_private(path: str, flags: int) -> int:
    """Opens a file; if it has to be made, only its owner may read it."""
    return os.open(path, flags, PRIVATE)


def make_engine(place: Place, *, reads_only: bool = False) -> sa.Engine:
    """An engine whose commits are on disk when they return, or one that only reads. Raises LogError."""
    return sqlite(place, reads_only) if isinstance(place, Path) else postgresql(place, reads_only)


def sqlite(path: Path, reads_only: bool) -> sa.Engine:
    """An engine that owns its transactions, in WAL mode, each commit flushed to disk."""
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise LogError(f"SQLite {sqlite3.sqlite_version} is too old, expected 3.38 or newer")
    args = {"timeout": BUSY_S, "check_same_thread": False, "cached_statements": CACHED}
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=args)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in READS_ONLY if reads_only else WRITES:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that begins with a read may be refused the write lock at once, without waiting for it.
        raw: Any = connection.connection.driver_connection
        raw.execute("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def postgresql(url: str, reads_only: bool) -> sa.Engine:
    """An engine whose connections notice a dead server, and do not block other replicas for long."""
    full = sa.make_url(url).set(drivername="postgresql+psycopg")
    args = {key: value for key, value in POSTGRES_ARGS.items() if key not in full.query}
    try:
        engine = sa.create_engine(full, connect_args=args, pool_pre_ping=True)
    except ImportError:
        raise LogError(
            "database.url: PostgreSQL needs its driver, expected wawp-exporter[postgresql] to be installed"
        ) from None

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.execute(POSTGRES_READS if reads_only else POSTGRES_WRITES)
        connection.commit()

    return engine


def version(reader: sa.Connection) -> str | None:
    """The version of the schema of a log, as alembic keeps it; None where there is none."""
    if not sa.inspect(reader).has_table("alembic_version"):
        return None
    found: str | None = reader.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def migrate(connection: sa.Connection, place: Place) -> None:
    """Brings the schema up to date. Raises LogError for a log of a newer version."""
    current = version(connection)
    connection.rollback()
    if current == SCHEMA:
        return
    # Only here: to import alembic takes longer than all else that a start with a current schema does to the log.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    if isinstance(place, str):
        # Replicas that start at once migrate one after another.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
        # An index of a large log takes longer than any write may, and a busy machine from one step to the next.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    alembic.attributes["connection"] = connection
    try:
        command.upgrade(alembic, "head")
        connection.commit()
    except CommandError as error:
        raise LogError(
            f"cannot open the event log {name_of(place)}: {error} (was it written by a newer version?)"
        ) from None
