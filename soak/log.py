"""The log as another program reads it: its rows, and what they say of each session."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from soak.fold import RESTART_MS, Standing, fold
from soak.ledger import Key

ROWS = (
    "SELECT s.source, s.name, e.seq, e.status, e.at, e.tie, e.key_at, e.received_at, e.event_id "
    "FROM event e JOIN session s ON s.id = e.session_id ORDER BY e.seq"
)
Session = tuple[str, str]
NEVER = 2**62


@dataclass(slots=True)
class Read:
    """The log at one moment."""

    keys: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    ids: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    points: dict[Session, list[tuple[int, int, int, str]]] = field(default_factory=lambda: defaultdict(list))
    tombstones: dict[Session, int] = field(default_factory=dict)
    received: dict[Session, int] = field(default_factory=lambda: defaultdict(int))  # the newest receipt (Unix ms)
    wrong_times: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # of the rows

    @property
    def last(self) -> int:
        """The newest row."""
        return self.numbers[-1] if self.numbers else 0

    def standings(self, restart_ms: int = RESTART_MS) -> dict[Session, Standing]:
        """Where each session stands by its events since its deletion, in the order of (at, tie, arrival)."""
        found = {}
        for session, points in self.points.items():
            tombstone = self.tombstones.get(session, 0)
            standing = fold(((status, at) for at, _, _, status in sorted(points) if at > tombstone), restart_ms)
            if standing:
                found[session] = standing
        return found


def query(url: str, text: str, **values: Any) -> Sequence[Any]:
    """What a statement gives."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as reader:
        return reader.execute(sa.text(text), values).all()


def read(url: str) -> Read:
    """All of it."""
    found = Read()
    for source, name, seq, status, at, tie, key_at, received, event_id in query(url, ROWS):
        session = (source, name)
        found.numbers.append(seq)
        found.points[session].append((at, tie, seq, status))
        found.received[session] = max(found.received[session], received)
        found.keys[source, name, key_at, status] += 1
        if event_id:
            found.ids[event_id] += 1
        if at != (key_at if key_at <= received + 60_000 else received):
            found.wrong_times.append(f"{at} is believed of {key_at}, received at {received}")
    found.tombstones = tombstones(url)
    return found


def tombstones(url: str) -> dict[Session, int]:
    """When sessions were deleted (Unix ms)."""
    rows = query(url, "SELECT source, name, tombstone FROM session WHERE tombstone > 0")
    return {(source, name): tombstone for source, name, tombstone in rows}


def sessions_before(url: str, moment: int) -> list[Session]:
    """The sessions all of whose events are older (Unix ms)."""
    grouped = "SELECT s.source, s.name FROM event e JOIN session s ON s.id = e.session_id GROUP BY s.source, s.name"
    rows = query(url, f"{grouped} HAVING max(e.at) < :moment ORDER BY 1, 2", moment=moment)
    return [(source, name) for source, name in rows]


def rows(url: str, *, above: int = 0, below: int = NEVER) -> tuple[int, int]:
    """How many rows there are between two numbers, both excluded, and the largest of their numbers (0: none)."""
    text = "SELECT count(*), coalesce(max(seq), 0) FROM event WHERE seq > :above AND seq < :below"
    return tuple(query(url, text, above=above, below=below)[0])


def has(url: str, key: Key) -> bool:
    """Whether this event is in the log."""
    text = (
        "SELECT 1 FROM event e JOIN session s ON s.id = e.session_id "
        "WHERE s.source = :source AND s.name = :name AND e.key_at = :key_at AND e.status = :status"
    )
    return bool(query(url, text, **dict(zip(("source", "name", "key_at", "status"), key, strict=True))))


def sound(url: str) -> bool:
    """Whether SQLite finds nothing wrong with its file."""
    return query(url, "PRAGMA integrity_check") == [("ok",)]


def copy(url: str, path: Path) -> None:
    """A copy of a SQLite log as it is at this moment."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as here, closing(sqlite3.connect(path)) as there:
        here.backup(there)
