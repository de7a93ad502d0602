"""How many messages came in each clock hour, and when a session was not WORKING."""

from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from wawp_exporter.log.tables import activity, event, session, traffic
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.rules import Key

AT_ONCE = 500  # sessions of one query


def incoming(reader: sa.Connection, keys: Collection[Key], start: int, end: int) -> Iterator[tuple[Key, int, int]]:
    """(session, begin of the hour, messages received) of hours with `start` <= begin < `end`, in Unix seconds."""
    query = sa.select(session.c.source, session.c.name, activity.c.hour, activity.c.received).join_from(
        activity, session, session.c.id == activity.c.session_id
    )
    query = query.where(activity.c.received > 0, activity.c.hour >= start, activity.c.hour < end)
    by_source: dict[str, list[str]] = {}
    for source, name in keys:
        by_source.setdefault(source, []).append(name)
    for source, names in by_source.items():
        for some in chunks(names):
            for row in reader.execute(query.where(session.c.source == source, session.c.name.in_(some))):
                yield (row.source, row.name), row.hour, row.received


def totals(reader: sa.Connection, start: int) -> Iterator[tuple[str, int, int]]:
    """(source, begin of the hour, messages received by all of its sessions) from `start` on, in Unix seconds."""
    query = sa.select(session.c.source, activity.c.hour, sa.func.sum(activity.c.received)).join_from(
        activity, session, session.c.id == activity.c.session_id
    )
    for source, hour, received in reader.execute(
        query.where(activity.c.hour >= start).group_by(session.c.source, activity.c.hour)
    ):
        yield source, hour, int(received)


def heard(reader: sa.Connection) -> dict[str, int]:
    """When the last message of each source came or was sent (Unix ms)."""
    newest = sa.func.max(traffic.c.received_at), sa.func.max(traffic.c.sent_at)
    query = sa.select(session.c.source, *newest).join_from(traffic, session, session.c.id == traffic.c.session_id)
    return {source: max(times) for source, *times in reader.execute(query.group_by(session.c.source))}


def absences(reader: sa.Connection, keys: Collection[Key], start: int) -> Iterator[tuple[Key, int]]:
    """When sessions said another status than WORKING from `start` on (Unix ms, by receipt)."""
    query = sa.select(session.c.source, session.c.name, event.c.received_at).join_from(
        event, session, session.c.id == event.c.session_id
    )
    query = query.where(event.c.key_at >= start, event.c.status != WORKING)
    for source, name in keys:
        for row in reader.execute(query.where(session.c.source == source, session.c.name == name)):
            yield (row.source, row.name), row.received_at


def chunks(names: list[str]) -> Iterator[list[Any]]:
    """So many names at once."""
    yield from (names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE))
