"""Events of sessions in the order of their times, found by index, so that a larger log costs no more to read.

The time as sent (`key_at`) is part of the table's key. For nearly all events it equals the time of effect (`at`);
events where it differs have an index of their own, `event_skewed`. So each query asks for both kinds.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.tables import certain, event, rows_of, session
from wawp_exporter.model.event import ENDINGS, Point

RECENT_MS = 40 * 86_400_000  # searched first, since PostgreSQL keeps each older month in a table of its own
DETAILS = ("status", "origin", "reason", "engine", "limits")
AT_ONCE = 500  # sessions that one statement asks for

prior = event.alias("prior")
_TRUE_TIME, _SKEWED = prior.c.at == prior.c.key_at, prior.c.at != prior.c.key_at
UNCERTAIN = ""  # stands for a status that depends on the events before it
_status = sa.case((certain(prior), prior.c.status), else_=UNCERTAIN).label("status")
_columns = (_status, prior.c.at, prior.c.tie, prior.c.seq)


def _first(query: sa.Select[Any], row: sa.FromClause, name: str) -> sa.Select[Any]:
    """A part of a UNION that has an order of its own."""
    return sa.select(query.correlate(row).limit(1).subquery(name))


def status_before(row: sa.FromClause) -> Any:
    """The status before an event of a query, as the gateway sent it; UNCERTAIN for an end that needs the fold."""
    # The time of effect is never after the time as sent: this leaves no event of the last days out, and older months.
    recent = prior.c.key_at >= row.c.at - RECENT_MS
    return sa.func.coalesce(_before(row, recent, prior.c.at >= row.c.at - RECENT_MS), _before(row))


def _before(row: sa.FromClause, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    tail = (prior.c.tie.desc(), prior.c.seq.desc())
    earlier = sa.and_(
        prior.c.session_id == row.c.session_id,
        sa.tuple_(prior.c.at, prior.c.tie, prior.c.seq) < sa.tuple_(row.c.at, row.c.tie, row.c.seq),
        *where,
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
    """For each (session id, Unix ms) the time of the session's newest event before that, if there is one.

    `where` are further conditions, on the columns of `prior`.
    """
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
    """For each (session id, Unix ms) the session's events from then until before `end`, in order of (at, tie, seq).

    Sessions come in order of ids; those without events are left out. An event is a tuple of (session id, at, tie, seq,
    *DETAILS).
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
    """The events of each requested session from its time on, session after session."""
    each, (owner, since) = rows_of(postgresql, [event.c.session_id, event.c.at])
    columns = tuple(event.c[name] for name in ("at", "tie", "seq", *DETAILS))
    wanted = sa.and_(event.c.session_id == owner, column >= since, where)
    if postgresql:  # OFFSET makes PostgreSQL read the table session by session
        mine = sa.select(*columns).where(wanted).offset(sa.literal_column("0")).lateral("mine")
        query = sa.select(owner.label("owner"), *mine.c).select_from(each.join(mine, sa.true()))
    else:  # SQLite has no LATERAL, but reads an outer join in order
        query = sa.select(owner.label("owner"), *columns).select_from(each.join(event, wanted, isouter=True))
    return query.order_by(each.c.key).execution_options(yield_per=5000)


def packed(asked: Iterable[tuple[int, int]]) -> dict[str, str]:
    """The parameter of a statement that takes its rows as JSON (`rows_of`)."""
    return {"rows": msgspec.json.encode(list(asked)).decode()}


def shared(reader: sa.Connection) -> bool:
    """Whether the log is in PostgreSQL."""
    return reader.dialect.name == "postgresql"


def points_of(rows: Iterable[Any]) -> list[Point]:
    """Events of `between` as points."""
    return [
        Point(status, at, tie, at, origin if origin in ENDINGS else None, reason or "")
        for _, at, tie, _, status, origin, reason, *_ in rows
    ]


def selected(source: str | None, name: str | None) -> Sequence[sa.ColumnElement[bool]]:
    """The conditions on `session` of a filter by source and name; None matches all."""
    given = ((session.c.source, source), (session.c.name, name))
    return [column == value for column, value in given if value is not None]
