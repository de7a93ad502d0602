"""Memory a session, with the lines of its messages, and the time to start."""

import contextlib
import re
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec

from bench.fleets import fill, lose, talk
from bench.results import Result
from bench.servers import GZIP, timed_get
from bench.usage import resident
from tests.parts import Exporter
from wawp_exporter.model.event import Point
from wawp_exporter.model.machine import fold
from wawp_exporter.model.session import Memory

SETTLED_S = 35  # after a start: the memory that was in use for a moment is given back every half minute


def config_of(path: Path) -> dict[str, object]:
    """An exporter on a log."""
    metrics = {"session_histograms": False, "max_sessions": 1_000_000}
    return {"database": {"url": f"sqlite:///{path}"}, "metrics": metrics}


def read_states(path: Path) -> float:
    """Seconds to read the state table alone: every row decoded into what the fleet keeps, with its names."""
    decode = msgspec.json.Decoder(Memory).decode
    query = "SELECT s.source, s.name, t.memory FROM state t JOIN session s ON s.id = t.session_id"
    started = time.perf_counter()
    with contextlib.closing(sqlite3.connect(path)) as log:
        memories = {(source, name): decode(text) for source, name, text in log.execute(query)}
    assert memories
    return time.perf_counter() - started


def replay(path: Path) -> float:
    """Seconds to fold every event instead."""
    query = "SELECT session_id, status, at, tie, key_at FROM event ORDER BY session_id, at, tie, seq"
    started = time.perf_counter()
    with contextlib.closing(sqlite3.connect(path)) as log:
        states = {}
        for owner, *point in log.execute(query):
            states[owner] = fold([Point(*point)], states.get(owner))
    return time.perf_counter() - started


def start(path: Path) -> float:
    """Seconds in which a service restores what the log has."""
    with Exporter(config_of(path)) as exporter:
        found = re.search(r'event="log restored".* seconds=(\S+)', exporter.stderr)
    assert found  # logged before it is ready
    return float(found.group(1))


def run(quick: bool) -> list[Result]:
    """A small fleet in quick mode."""
    sessions, events = (10_000, 50_000) if quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wawp.db"
        with Exporter(config_of(Path(folder) / "empty.db")) as empty:
            timed_get(f"{empty.url}/metrics", GZIP)
            base = resident(empty.pid)
        fill(path, sessions, events)
        alone = min(read_states(path) for _ in range(3))
        ready = min(start(path) for _ in range(3))
        replayed = replay(path)
        stopped = start(path)  # with what was judged, which the starts before have saved
        lose(path, sessions // 10)
        killed = start(path)
        talk(path, sessions)
        with Exporter(config_of(path)) as exporter:
            timed_get(f"{exporter.url}/metrics", GZIP)
            time.sleep(SETTLED_S)
            timed_get(f"{exporter.url}/metrics", GZIP)
            used = resident(exporter.pid) - base
    kib = used / sessions / 1024
    name = f"{sessions:,} sessions, {events:,} events"
    return [
        Result(f"memory a session of {sessions:,} (KiB)", f"{kib:.2f} KiB", "", kib, 4, at_most=True),
        Result(
            f"start, {name}: against reading the state table",
            f"{ready:.2f} s",
            f"{alone:.2f} s",
            ready / alone,
            2,
            True,
        ),
        Result(f"start, {name}: against replaying the log", f"{ready:.2f} s", f"{replayed:.2f} s", replayed / ready),
        Result(
            f"start after a kill, {sessions // 10:,} of them failed just before: against one after a stop",
            f"{killed:.2f} s",
            f"{stopped:.2f} s",
            killed / stopped,
        ),
    ]
