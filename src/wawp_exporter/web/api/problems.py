"""Which sessions need somebody, and the outages: as the judge says, so as metrics, alerts and pages say."""

import asyncio
import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.cursors import from_cursor, to_cursor
from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import Kind, Outage
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.times import utc
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.parameters import parameters
from wawp_exporter.web.api.sessions import SessionsQuery, ShardView, matches, shard_view

SLICE = 500  # sessions that are looked at before others get their turn
Place = tuple[str, str, str]  # source, session, problem: the order of the list


class ProblemView(msgspec.Struct, frozen=True):
    """Why a session needs somebody. Times are RFC 3339, null for none."""

    source: str
    session: str
    engine: str
    group: str | None
    owner: str | None
    tier: str | None
    problem: Problem
    reason: Annotated[str | None, Meta(description="Why it was lost, as far as its gateway says.")]
    since: Annotated[datetime, Meta(description="When it began, not when its limit passed.")]
    alert: Annotated[str, Meta(description="The alert that reads this problem.")]


class OutageView(msgspec.Struct, frozen=True):
    """Many sessions lost for one cause; their own problems are muted. Source and engine are null if it is of several
    sources.
    """

    source: str | None
    engine: str | None
    kind: Kind
    since: Annotated[datetime, Meta(description="The time of its first loss.")]
    sessions: Annotated[int, Meta(description="How many of its sessions are still lost.")]
    largest: Annotated[int, Meta(description="How many they were at most at once.")]
    alert: Annotated[str, Meta(description="The alert that reads this outage.")]


class Problems(msgspec.Struct, frozen=True):
    """A page of problems, by source, session and problem, and all outages; `total` counts the problems that match."""

    problems: list[ProblemView]
    outages: list[OutageView]
    total: int
    next_cursor: str | None
    shard: ShardView | None


class ProblemsEndpoint:
    """Answers from memory."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def get(self, request: Request) -> Response:
        """A page of problems, and the outages. An outage matches if one of its sessions does."""
        query = parameters(request, SessionsQuery)
        after = from_cursor(query.cursor, tuple[str, str, str]) if query.cursor else None
        found = await self._places(query)
        rest = [place for place in found if after is None or place > after]
        page = heapq.nsmallest(query.limit, rest)
        more = to_cursor(page[-1]) if len(rest) > len(page) else None
        outages = sorted(self._outages(query), key=lambda each: (each.since, each.kind))
        return JSON(Problems(list(self._views(page)), outages, len(found), more, shard_view(self._fleet)))

    async def _places(self, query: SessionsQuery) -> list[Place]:
        """Those that match, in no order."""
        judge, found = self._fleet.judge, list[Place]()
        for number, key in enumerate(list(judge.cases), 1):
            problems, session = judge.problems(key), self._fleet.sessions.get(key)
            if problems and session and matches(session, query):
                found += ((*key, problem.value) for problem in problems)
            if number % SLICE == 0:
                await asyncio.sleep(0)  # webhooks get their turn
        return found

    def _views(self, page: Iterable[Place]) -> Iterator[ProblemView]:
        judge = self._fleet.judge
        for *name, word in page:
            key, problem = (name[0], name[1]), Problem(word)
            session, since = self._fleet.sessions.get(key), judge.problems(key).get(problem)
            if session and since is not None:
                yield view(session, problem, since, judge.reason(key))

    def _outages(self, query: SessionsQuery) -> Iterator[OutageView]:
        for outage in self._fleet.judge.exported():
            sessions = list(self._sessions(outage.members))
            if any(matches(each, query) for each in sessions) or not (sessions or differs(outage, query)):
                yield outage_view(outage)

    def _sessions(self, keys: Iterable[Key]) -> Iterator[Session]:
        return (session for key in keys if (session := self._fleet.sessions.get(key)))


def differs(outage: Outage, query: SessionsQuery) -> bool:
    """Whether a filter leaves out an outage whose sessions are all back: it is over only some minutes later."""
    given = (query.source, query.engine, query.status, query.group)
    return any(
        value not in (None, own) for value, own in zip(given, (outage.source, outage.engine, None, None), strict=True)
    )


def view(session: Session, problem: Problem, since: int, reason: str) -> ProblemView:
    """A problem of a session."""
    meta = session.meta
    return ProblemView(
        source=session.source,
        session=session.name,
        engine=session.engine,
        group=meta.group or None,
        owner=meta.owner or None,
        tier=meta.tier or None,
        problem=problem,
        reason=reason or None,
        since=utc(since),
        alert=ALERTS[problem],
    )


def outage_view(outage: Outage) -> OutageView:
    """An outage as the API shows it."""
    source, engine, since = outage.source or None, outage.engine or None, utc(outage.since)
    return OutageView(source, engine, outage.kind, since, outage.size, outage.largest, MASS_ALERTS[outage.kind])
