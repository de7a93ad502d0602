"""Memories of sessions brought up to the end of the log in one pass over the rows behind them.

After a crash in an outage of all sessions each of them has such rows. To fold them one by one from all their rows takes
several queries each, and would take minutes.
"""

from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Mark
from wawp_exporter.log.replay import Tail, point_of
from wawp_exporter.log.tables import event, rows_of, session
from wawp_exporter.model.machine import step
from wawp_exporter.model.session import Grave, Memory

NAMES = ("session_id", "seq", "status", "at", "tie", "key_at", "received_at", "origin", "reason", "engine", "limits")
COLUMNS = tuple(event.c[name] for name in NAMES)


class Onward:
    """One session. `late`: a row came late, so that its state can only be told by all rows."""

    __slots__ = ("_state", "_tail", "late")

    def __init__(self, memory: Memory | None, grave: Grave) -> None:
        self._state, self._tail, self.late = memory.state if memory else None, Tail(memory, grave), False

    def take(self, row: Any) -> None:
        """Applies a row, as the live fleet does."""
        grave = self._tail.grave
        if row.at > grave.at and row.seq > grave.seq:
            point = point_of(row)
            self.late = self.late or (self._state is not None and self._state.outdates(point))
            self._state, _ = step(self._state, point)
        self._tail.take(row)

    @property
    def memory(self) -> Memory | None:
        """What is known of it by now; None: no row of it counted."""
        tail = self._tail
        if self._state is None:
            return None
        return Memory(self._state, tail.engine, tail.last_event, tuple(tail.limits.values()), tail.engine_at)


def unborn(reader: sa.Connection, owners: list[int], mark: Mark) -> set[int]:
    """Those of some sessions, by row ids, that had no row yet at a place of the log."""
    if not (owners and mark.seq):
        return set(owners)
    each, (owner,) = rows_of(reader.dialect.name == "postgresql", [session.c.id])
    # With `+ 0` the database finds rows by session only: it would look at all earlier numbers too.
    earlier = sa.exists().where(event.c.session_id == owner, event.c.seq + sa.literal_column("0") <= mark.seq)
    rows = msgspec.json.encode([(number,) for number in owners]).decode()
    return set(reader.scalars(sa.select(owner).select_from(each).where(~earlier), {"rows": rows}))


def advance(reader: sa.Connection, memories: dict[int, tuple[Memory | None, Grave]], mark: Mark) -> dict[int, Memory]:
    """What memories of `mark`, by row ids of sessions, have become by the rows behind it, which no later one revised.

    Those with a late row are left out. Raises LogError.
    """
    if not memories:
        return {}
    onward = {number: Onward(*known) for number, known in memories.items()}
    rows = sa.select(event.c.seq.label("place"), sa.literal(0).label("again"), *COLUMNS).where(event.c.seq > mark.seq)
    for row in reader.execute(rows.order_by(event.c.seq).execution_options(yield_per=2000)):
        if row.session_id in onward:
            onward[row.session_id].take(row)
    return {number: memory for number, each in onward.items() if not each.late and (memory := each.memory)}
