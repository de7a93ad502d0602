"""Moving a log from SQLite to PostgreSQL, by the command."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests import parts, storm
from tests.builders import DAY, KEY, capping, event, memories_of, ms, state
from tests.event_log import transitions_of
from wawp_exporter.errors import LogError
from wawp_exporter.log import transfer as module
from wawp_exporter.log.log import Log
from wawp_exporter.log.transfer import transfer
from wawp_exporter.model.session import Memory

W, F, X = "WORKING", "FAILED", "STOPPED"
NUMBERS = count()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A log with something in every table, over several months."""
    path = tmp_path / "wawp.db"
    log = Log(path)
    draw = random.Random(1)
    keys = [("default", f"s{number}\N{SNOWMAN}'") for number in range(20)]
    for day in range(0, 90, 3):
        log.append([event(draw.choice([W, F, X]), day * DAY + draw.random() * DAY, key=key) for key in keys])
    log.append([event(W, 90 * DAY, limits=[capping()]), event("READY", 3e9, key=keys[0], reason="other")])
    log.append([event(W, 91 * DAY, timeless_key="body:1")])
    log.save([(KEY, Memory(state(W, 90 * DAY), "GOWS", ms(90 * DAY)))], 100)
    log.forget(keys[1], ms(95 * DAY))
    log.runs.beat(ms(0))
    log.actions.conclude(log.actions.claim(KEY, "restart", "WawpSessionFailed", ms(1), lambda _: "").id, "restarted")
    log.close()
    return path


@pytest.fixture
def target(postgres: parts.Postgres) -> str:
    """An empty database."""
    return postgres.create_database(f"transfer_{next(NUMBERS)}")


def command(source: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Runs `wawp-exporter migrate-log`."""
    given = ["migrate-log", "--from", f"sqlite:///{source}", "--to", target]
    return subprocess.run([sys.executable, "-m", "wawp_exporter", *given], capture_output=True, text=True, check=False)


def test_a_log_is_the_same_in_its_new_place(source: Path, target: str) -> None:
    """A start from either gives the same fleet, with the same numbers."""
    done = command(source, target)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"event +603\n", done.stdout)
    logs = [Log(source), Log(target)]
    old, new = (log.restore(["default"]) for log in logs)
    assert (memories_of(new), new.tombstones, new.seq) == (memories_of(old), old.tombstones, old.seq)
    for key in memories_of(old):
        assert transitions_of(logs[0], *key) == transitions_of(logs[1], *key)
    assert logs[1].append([event(W, 90 * DAY), event(F, 99 * DAY)]).seq > old.seq
    for log in logs:
        log.close()


def test_the_database_may_come_from_the_environment(source: Path, target: str) -> None:
    """Its address holds a password, and a command line can be read by everybody on the machine."""
    given = [sys.executable, "-m", "wawp_exporter", "migrate-log", "--from", f"sqlite:///{source}"]
    env = {**os.environ, "WAWP_EXPORTER_DATABASE__URL": target}

    done = subprocess.run(given, capture_output=True, text=True, check=False, env=env)

    assert (done.returncode, done.stderr) == (0, "")
    assert "copied and verified" in done.stdout


def test_an_interrupted_copy_goes_on_where_it_ended(source: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied twice, and the proof is of the whole."""
    monkeypatch.setattr(module, "SLICE", 100)
    seen: list[int] = []

    def interrupt(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(source, target, interrupt)
    counts = transfer(source, target, lambda done, _total: seen.append(done))

    assert counts["event"] == 603
    assert seen[-1] < sum(counts.values())


def test_a_place_that_holds_another_log_is_refused(source: Path, target: str) -> None:
    """Nothing of it is touched."""
    log = Log(target)
    log.append([event(W, 5, key=("default", "other"))])
    log.close()

    done = command(source, target)

    assert done.returncode == 1
    assert "holds another log, expected an empty database" in done.stderr


def test_a_copy_that_differs_is_told(source: Path, target: str) -> None:
    """By the table."""
    transfer(source, target)
    log = Log(target)
    log.database.writer.exec_driver_sql("UPDATE event SET engine = 'WPP' WHERE seq = 5")
    log.database.writer.commit()
    log.close()

    with pytest.raises(LogError, match="differs from the log in event"):
        transfer(source, target)


def test_the_services_must_be_stopped(source: Path, target: str, exporter: Callable[..., parts.Exporter]) -> None:
    """Both of them."""
    log = Log(source)
    assert "another process is using it" in command(source, target).stderr
    log.close()
    replica = exporter({"database": {"url": target}})
    body = parts.envelope(session="s")
    replica.post(body)
    parts.wait_until(lambda: "a service is using it" in command(source, target).stderr)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("sqlite:///none.db", "postgresql://x@127.0.0.1/x"), "there is no such file"),
        (("sqlite:///none.db", "sqlite:///other.db"), "only from SQLite to PostgreSQL"),
        (("mysql://x", "postgresql://x@127.0.0.1/x"), "--from: is not a database"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(given: tuple[str, str], said: str) -> None:
    """No traceback."""
    command = [sys.executable, "-m", "wawp_exporter", "migrate-log", "--from", given[0], "--to", given[1]]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_goes_on_in_the_new_place(
    source: Path, target: str, exporter: Callable[..., parts.Exporter]
) -> None:
    """With the statuses of the old one."""
    transfer(source, target)
    old, new = exporter({"database": {"url": f"sqlite:///{source}"}}), exporter({"database": {"url": target}})

    told: list[Any] = [storm.states(each) for each in (old, new)]

    assert told[0] == told[1] != {}
