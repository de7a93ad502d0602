"""The event log as a file: what is SQLite's own."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory

from tests.builders import KEY, event, fresh_of, ms, told
from tests.event_log import purge_all
from tests.log.test_log import S, W, story, timeless
from wawp_exporter.errors import LogError
from wawp_exporter.log import place
from wawp_exporter.log.log import Log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "data" / "wawp.db"


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    """An open, empty log."""
    log = Log(path)
    yield log
    log.close()


def test_each_commit_is_flushed(log: Log) -> None:
    """200 means durable: WAL with synchronous FULL."""
    with log.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def statements(log: Log) -> list[str]:
    """What SQLite is asked to do from now on, by the first word of each statement."""
    asked: list[str] = []
    raw: Any = log.database.writer.connection.driver_connection
    raw.set_trace_callback(lambda text: asked.append(text.split()[0]))
    return asked


def test_new_events_of_known_names_are_one_statement(log: Log) -> None:
    """It is a transaction of its own: BEGIN and COMMIT would cost a batch as much as storing 30 events."""
    log.append(story((S, 0)))
    asked = statements(log)

    appended = log.append(story((W, 10), (S, 20)))

    assert asked == ["INSERT"]
    assert (appended.rows, appended.new, appended.seq) == ([(2,), (3,)], 2, 3)


def test_a_batch_with_one_event_that_the_log_has_is_stored_in_one_transaction(log: Log) -> None:
    """The first try stores nothing of it, so that it is whole or not there; numbers go on as if it had not been."""
    log.append(story((S, 0), (W, 10)))
    asked = statements(log)

    appended = log.append(story((S, 20), (W, 10), (W, 30)))

    assert asked == ["INSERT", "BEGIN", "INSERT", "COMMIT"]
    assert [bool(*rows) for rows in appended.rows] == [True, False, True]
    assert appended.new == 2
    assert log.append(story((S, 40))).rows == [(appended.seq + 1,)]


def test_a_refused_batch_leaves_no_key(log: Log, path: Path) -> None:
    """Else the retry of an event that was never stored would pass for a duplicate."""
    log.database.writer.exec_driver_sql("PRAGMA busy_timeout = 10")
    log.database.writer.rollback()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogError):
            log.append([timeless(0)])

    assert fresh_of(log.append([timeless(1)])) == [(True,)]


@pytest.mark.parametrize("gone", ["wawp.db", "wawp.db-wal"])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_to_a_file_that_is_not_there_any_more(
    log: Log, path: Path, gone: str, replaced: bool
) -> None:
    """SQLite would go on writing to it, and after a restart all that was answered 200 would be forgotten."""
    log.append([event(S, 0)])
    away = path.with_name("away")
    path.with_name(gone).rename(away)
    if replaced:
        path.with_name(gone).write_bytes(away.read_bytes())

    for write in (lambda: log.save([], 1), lambda: log.append([event(W, 1)])):
        with pytest.raises(LogError, match="another file is in its place" if replaced else "No such file"):
            write()

    away.rename(path.with_name(gone))
    assert fresh_of(log.append([event(W, 1)])) == [(True,)]


def test_a_second_process_is_refused(log: Log, path: Path) -> None:
    """Two would each hold half of the fleet; closing lets the next one in."""
    with pytest.raises(LogError, match="another process is using it"):
        Log(path)

    log.close()
    Log(path).close()


def modes(folder: Path) -> dict[str, int]:
    """The modes of a folder's files, and its own."""
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """That of most shells, under which files are readable by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_only_its_owner_may_read_a_log(usual_umask: None, path: Path) -> None:
    """Names of sessions are nobody else's business; what SQLite puts beside the file, and the lock, are as private."""
    log = Log(path)
    log.append([event(W, 0)])

    assert modes(path.parent) == {
        "data": 0o700,
        "wawp.db": 0o600,
        "wawp.db-wal": 0o600,
        "wawp.db-shm": 0o600,
        "wawp.db.lock": 0o600,
    }
    log.close()


def test_a_log_that_a_link_leads_to_is_private_too(usual_umask: None, tmp_path: Path) -> None:
    """The link may be there before the file is."""
    (tmp_path / "wawp.db").symlink_to(tmp_path / "elsewhere.db")

    Log(tmp_path / "wawp.db").close()

    assert modes(tmp_path)["elsewhere.db"] == 0o600


def test_the_mode_of_a_log_that_is_there_is_left_alone(usual_umask: None, path: Path) -> None:
    """Somebody may have let a group read it, for backups."""
    path.parent.mkdir()
    Log(path).close()
    path.chmod(0o640)

    log = Log(path)
    log.append([event(W, 0)])

    assert {modes(path.parent)[name] for name in ("wawp.db", "wawp.db-wal", "wawp.db-shm")} == {0o640}
    assert modes(path.parent)["data"] == 0o755
    log.close()


def test_a_corrupt_file_is_refused(path: Path) -> None:
    """And left as it is, and not locked."""
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 1000)

    for _ in range(2):
        with pytest.raises(LogError, match=r"cannot open the event log .*wawp\.db: file is not a database"):
            Log(path)
    assert path.read_bytes().startswith(b"this is not")


def test_a_corrupt_page_is_told_when_it_is_read(path: Path) -> None:
    """As a LogError, not as the database's own."""
    log = Log(path)
    log.append([event(W, at) for at in range(3000)])
    log.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))

    with pytest.raises(LogError), closing(Log(path)) as broken:
        broken.restore(["default"])


def test_a_log_of_a_newer_version_is_refused(path: Path) -> None:
    """It is not guessed at."""
    Log(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(LogError, match="newer version"):
        Log(path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The message names the file that was to be opened."""
    (tmp_path / "data").write_text("a file where a folder should be")

    with pytest.raises(LogError, match=r"cannot open the event log .*data/wawp\.db"):
        Log(tmp_path / "data" / "wawp.db")


def test_a_locked_database_refuses_and_recovers(log: Log, path: Path) -> None:
    """Nothing of the batch is in it, and the next attempt succeeds."""
    log.database.writer.exec_driver_sql("PRAGMA busy_timeout = 10")
    log.database.writer.rollback()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: log.append([event(W, 0)]),
            lambda: log.save([], 1),
            lambda: log.forget(KEY, ms(0)),
            lambda: purge_all(log, ms(0)),
        ):
            with pytest.raises(LogError, match=r"cannot write the event log .*wawp\.db: database is locked"):
                write()

    assert fresh_of(log.append([event(W, 0)])) == [(True,)]


def test_readers_do_not_wait_for_the_writer(log: Log, path: Path) -> None:
    """Nor for another program that writes."""
    log.append(story((S, 0), (W, 10)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert log.states.fold(KEY) == told((S, 0), (W, 10))


def test_sizes_are_those_of_the_files(log: Log, path: Path) -> None:
    """What waits in the write-ahead log counts too."""
    log.append([event(W, at) for at in range(100)])

    assert log.sizes.log_bytes() == path.stat().st_size + path.with_name("wawp.db-wal").stat().st_size
    assert 0 < log.sizes.free_bytes() <= log.sizes.disk_bytes()


def test_the_newest_schema_is_that_of_the_last_migration() -> None:
    """A start compares a log with it, and asks alembic only when they differ."""
    scripts = ScriptDirectory(str(Path(place.__file__).parent / "migrations"))

    assert scripts.get_current_head() == place.SCHEMA
