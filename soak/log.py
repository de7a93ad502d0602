"""The log as another program reads it: its rows, and what they say of each session."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from soak.fold import Standing, fold
from soak.ledger import Key

ROWS = (
    "SELECT s.source, s.name, e.seq, e.status, e.at, e.tie, e.key_at, e.received_at, e.event_id "
    "FROM event e JOIN session s ON s.id = e.session_id ORDER BY e.seq"
)
Session = tuple[str, str]


@dataclass(slots=True)
class Read:
    """The log at one moment."""

    keys: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    ids: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    points: dict[Session, list[tuple[int, int, int, str]]] = field(default_factory=lambda: defaultdict(list))
    tombstones: dict[Session, int] = field(default_factory=dict)
    wrong_times: list[str] = field(default_factory=list)

    def standings(self) -> dict[Session, Standing]:
        """Where each session stands by its events since its deletion, in the order of (at, tie, arrival)."""
        found = {}
        for session, points in self.points.items():
            tombstone = self.tombstones.get(session, 0)
            standing = fold((status, at) for at, _, _, status in sorted(points) if at > tombstone)
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
        found.points[source, name].append((at, tie, seq, status))
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


def count(url: str, name: str) -> int:
    """The events of sessions of this name."""
    rows = query(
        url, "SELECT count(*) FROM event e JOIN session s ON s.id = e.session_id WHERE s.name = :name", name=name
    )
    return int(rows[0][0])
