"""Events of sessions in the order of their times, found by index: what is read does not grow with the log.

The time as sent (`key_at`) is in the key of the table. Of nearly all events it is the time of effect (`at`) too; where
it is not, the event is in the index `event_skewed`. So each question is asked of both.
"""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.tables import certain, event, rows_of
from wawp_exporter.model.event import ENDINGS, Point

RECENT_MS = 40 * 86_400_000  # looked through first: the older months of PostgreSQL are tables of their own
AT_ONCE = 500  # sessions asked for in one statement

prior = event.alias("prior")
_TRUE_TIME, _SKEWED = prior.c.at == prior.c.key_at, prior.c.at != prior.c.key_at
UNCERTAIN = ""  # stands for a status that only what came before it can tell
_status = sa.case((certain(prior), prior.c.status), else_=UNCERTAIN).label("status")
_columns = (_status, prior.c.at, prior.c.tie, prior.c.seq)


def _first(query: sa.Select[Any], row: sa.FromClause, name: str) -> sa.Select[Any]:
    """A part of a UNION that has an order of its own."""
    return sa.select(query.correlate(row).limit(1).subquery(name))


def status_before(row: sa.FromClause) -> Any:
    """The status before an event of a query, as it was sent; UNCERTAIN for an end that something may explain."""
    tail = (prior.c.tie.desc(), prior.c.seq.desc())
    earlier = sa.and_(
        prior.c.session_id == row.c.session_id,
        sa.tuple_(prior.c.at, prior.c.tie, prior.c.seq) < sa.tuple_(row.c.at, row.c.tie, row.c.seq),
    )
    usual = sa.select(*_columns).where(earlier, _TRUE_TIME, prior.c.key_at <= row.c.at)
    skewed = sa.select(*_columns).where(earlier, _SKEWED, prior.c.at <= row.c.at)
    both = sa.union_all(
        _first(usual.order_by(prior.c.key_at.desc(), *tail), row, "usual"),
        _first(skewed.order_by(prior.c.at.desc(), *tail), row, "skewed"),
    ).subquery("both")
    newest = sa.select(both.c.status).order_by(both.c.at.desc(), both.c.tie.desc(), both.c.seq.desc())
    return newest.limit(1).scalar_subquery()


def newest(reader: sa.Connection, asked: Iterable[tuple[int, int]], *where: sa.ColumnElement[bool]) -> dict[int, int]:
    """For each (session id, Unix ms) the time of its newest event before that; `where` is about `prior`."""
    each, (owner, before) = rows_of(shared(reader), [event.c.session_id, event.c.at])

    def latest(column: sa.Column[int], *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        mine = sa.select(column).where(prior.c.session_id == owner, column < before, *conditions, *where)
        return mine.order_by(column.desc()).limit(1).correlate(each).scalar_subquery()

    recent = latest(prior.c.key_at, _TRUE_TIME, prior.c.key_at >= before - RECENT_MS)
    usual = sa.func.coalesce(recent, latest(prior.c.key_at, _TRUE_TIME))
    query = sa.select(owner, usual, latest(prior.c.at, _SKEWED)).select_from(each)
    found = ((row[0], [at for at in row[1:] if at is not None]) for row in reader.execute(query, packed(asked)))
    return {owner: max(times) for owner, times in found if times}


def between(reader: sa.Connection, asked: Iterable[tuple[int, int]], end: int) -> Iterator[tuple[int, list[Any]]]:
    """For each (session id, Unix ms), in order of ids, its events from then until before `end`, in their order.

    Sessions without any are left out. The events are rows of (session id, at, tie, seq, status, engine, origin).
    """
    asked = sorted(asked)
    usual = sa.and_(event.c.at == event.c.key_at, event.c.key_at < end), event.c.key_at
    skewed = sa.and_(event.c.at != event.c.key_at, event.c.at < end), event.c.at
    parts = (reader.execute(_since(shared(reader), *kind), packed(asked)) for kind in (usual, skewed))
    for owner, rows in groupby(merge(*parts, key=itemgetter(0)), itemgetter(0)):
        found = sorted(tuple(row) for row in rows if row.seq is not None)
        if found:
            yield owner, found


def _since(postgresql: bool, where: sa.ColumnElement[bool], column: sa.Column[int]) -> sa.Select[Any]:
    """The events of each session that is asked for from its time on, session after session."""
    each, (owner, since) = rows_of(postgresql, [event.c.session_id, event.c.at])
    columns = (event.c.at, event.c.tie, event.c.seq, event.c.status, event.c.engine, event.c.origin)
    wanted = sa.and_(event.c.session_id == owner, column >= since, where)
    if postgresql:  # OFFSET forbids to read the table otherwise than session by session
        mine = sa.select(*columns).where(wanted).offset(sa.literal_column("0")).lateral("mine")
        query = sa.select(owner.label("owner"), *mine.c).select_from(each.join(mine, sa.true()))
    else:  # SQLite has no LATERAL, but keeps the order of an outer join
        query = sa.select(owner.label("owner"), *columns).select_from(each.join(event, wanted, isouter=True))
    return query.order_by(each.c.key).execution_options(yield_per=5000)


def packed(asked: Iterable[tuple[int, int]]) -> dict[str, str]:
    """The parameter of a statement that reads its rows from JSON."""
    return {"rows": msgspec.json.encode(list(asked)).decode()}


def shared(reader: sa.Connection) -> bool:
    """Whether the log is in PostgreSQL."""
    return reader.dialect.name == "postgresql"


def points_of(rows: Iterable[Any]) -> list[Point]:
    """Rows of `ordered.between` as points."""
    return [
        Point(status, at, tie, at, origin if origin in ENDINGS else None) for _, at, tie, _, status, _, origin in rows
    ]
