"""Spans of time from the log: the statuses and points of each session between two instants."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.history import ordered
from wawp_exporter.log.history.ordered import points_of, selected
from wawp_exporter.log.names import OVER
from wawp_exporter.log.tables import certain, session
from wawp_exporter.model.event import OTHER_ENGINE, Limit, Point, Restriction, Status
from wawp_exporter.model.machine import State, step

# Leaving WORKING for one of these is a disconnect.
WORSE = [status.value for status in Status if status not in (Status.WORKING, Status.STOPPED, Status.UNKNOWN)]

decode_limits = msgspec.json.Decoder(tuple[Limit, ...]).decode

Connect = Callable[[], AbstractContextManager[sa.Connection]]
# From when on (Unix ms) the events of each session (by its row id) are read; all of them where it has no entry.
Since = Callable[[sa.Connection, Sequence[int]], dict[int, int]]


class Timeline(msgspec.Struct, frozen=True):
    """One session in a span of time: the status in force at its start, then each transition, as (Unix ms, status).

    `tombstone` is when the session was last deleted (Unix ms), 0 for never: its statuses before that ended then.
    """

    source: str
    session: str
    engine: str
    tombstone: int
    points: list[tuple[int, Status]]


class Past(msgspec.Struct, frozen=True):
    """One session's points as logged, beginning early enough to know its state at the start of a span."""

    source: str
    session: str
    engine: str
    tombstone: int
    points: list[Point]
    restricted: list[int] = []  # when restrictions began (Unix ms)


def timeline_of(past: Past, start: int) -> Timeline:
    """A past as a timeline from `start` (Unix ms) on."""
    points: list[tuple[int, Status]] = []
    state: State | None = None
    for point in past.points:
        state, transition = step(state, point)
        if point.at < start:
            points = [(point.at, state.status)]
        elif transition:
            points.append((point.at, state.status))
    return Timeline(past.source, past.session, past.engine, past.tombstone, points)


def disconnects_of(past: Past, start: int) -> Iterator[int]:
    """When a session left WORKING for anything but STOPPED and UNKNOWN, from `start` on (Unix ms)."""
    for before, point in pairwise(past.points):
        if before.status == Status.WORKING and point.status in WORSE and point.at >= start:
            yield point.at


def read_pasts(connect: Connect, since: Since, end: int, source: str | None, name: str | None) -> Iterator[Past]:
    """Each session's points from `since` until before `end`. A transaction reads some sessions only, so it is short."""
    asked = sa.select(session.c.id, session.c.source, session.c.name, session.c.tombstone)
    if name is None:
        asked = asked.where(session.c.standing != int(OVER))  # a flood of names must not hide the others
    with connect() as reader:
        known = {row.id: row for row in reader.execute(asked.where(*selected(source, name)))}
    owners = sorted(known)
    for first in range(0, len(owners), ordered.AT_ONCE):
        part = owners[first : first + ordered.AT_ONCE]
        with connect() as reader:
            begun = since(reader, part)
            for owner, rows in ordered.between(reader, [(each, begun.get(each, 0)) for each in part], end):
                yield past_of(known[owner], rows)


def past_of(owner: Any, rows: Sequence[Any]) -> Past:
    """A session's row and its rows of `ordered.between` as its past."""
    engines = [engine for *_, engine, _ in rows if engine]
    engine = engines[-1] if engines else OTHER_ENGINE
    return Past(owner.source, owner.name, engine, owner.tombstone, points_of(rows), list(restrictions_of(rows)))


def restrictions_of(rows: Iterable[Any]) -> Iterator[int]:
    """When restrictions began (Unix ms): gateways repeat those that go on."""
    active: set[Restriction] = set()
    for _, at, *_, limits in rows:
        for limit in decode_limits(limits) if limits else ():
            if limit.active and limit.restriction not in active:
                yield at
            (active.add if limit.active else active.discard)(limit.restriction)


def last_before(start: int) -> Since:
    """From each session's newest event before `start` (Unix ms) whose status is certain without the events before."""
    sure = certain(ordered.prior)
    return lambda reader, owners: ordered.newest(reader, [(owner, start) for owner in owners], sure)


def entry_before(start: int) -> Since:
    """From the last other status before each session's last WORKING before `start` (Unix ms)."""

    def since(reader: sa.Connection, owners: Sequence[int]) -> dict[int, int]:
        asked = [(owner, start) for owner in owners]
        worked = ordered.newest(reader, asked, ordered.prior.c.status == Status.WORKING)
        other = ordered.prior.c.status != Status.WORKING
        return ordered.newest(reader, worked.items(), other, certain(ordered.prior))

    return since
