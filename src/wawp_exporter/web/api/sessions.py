"""The sessions as they are now: listed, read and forgotten."""

import heapq
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.cursors import from_cursor, to_cursor
from wawp_exporter.errors import NotFound
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.frames import SessionProblem, problems_of
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.event import Restriction, Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import Kind
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.model.verdicts import Verdicts
from wawp_exporter.times import utc
from wawp_exporter.web.api.answers import JSON, moment_or_none
from wawp_exporter.web.api.parameters import Cursor, Limit, parameters


class ShardView(msgspec.Struct, frozen=True):
    """Which part of the fleet this replica has: `index` (from 0) of `total`."""

    index: int
    total: int


class SessionView(msgspec.Struct, frozen=True):
    """One session as it is now. Times are RFC 3339, null for none."""

    source: str
    session: str
    status: Status
    since: datetime
    ready: bool
    engine: str
    group: str | None
    owner: str | None
    tier: str | None
    last_event: datetime | None
    auth_required_since: datetime | None
    down_since: datetime | None
    maintenance: bool
    restrictions: list[Restriction]
    problems: Annotated[list[SessionProblem], Meta(description="Those of a session in an outage are muted.")]
    reason: Annotated[str | None, Meta(description="Why it was lost, as far as its gateway says.")]
    outages: Annotated[list[Kind], Meta(description="The outages to which it belongs.")]
    confirmed: Annotated[bool, Meta(description="False after an outage until the gateway's API has answered.")]


class SessionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Filters; each that is given must match."""

    source: Annotated[str | None, Meta(description="Sessions of this source only.")] = None
    status: Annotated[Status | None, Meta(description="Sessions in this status only.")] = None
    group: Annotated[str | None, Meta(description="Members of this group only.")] = None
    engine: Annotated[str | None, Meta(description="Sessions of this engine only.")] = None
    limit: Limit = 100
    cursor: Cursor = None


class Sessions(msgspec.Struct, frozen=True):
    """A page of sessions, by source and name; `total` counts all that match. `shard` is null if there is only one."""

    sessions: list[SessionView]
    total: int
    next_cursor: str | None
    shard: ShardView | None


class SessionEndpoints:
    """Answer from memory."""

    def __init__(self, fleet: Fleet, ingest: Ingest, watch: Watch) -> None:
        self._fleet = fleet
        self._ingest = ingest
        self._watch = watch

    async def sessions(self, request: Request) -> Response:
        """A page of sessions."""
        query = parameters(request, SessionsQuery)
        found = [session for session in self._fleet.sessions.values() if matches(session, query)]
        after = from_cursor(query.cursor, tuple[str, str]) if query.cursor else None
        rest = [session for session in found if after is None or session.key > after]
        page = heapq.nsmallest(query.limit, rest, key=key_of)
        more = to_cursor(page[-1].key) if len(rest) > len(page) else None
        now = unix_now()
        shown = [view(each, now, self._watch, self._fleet.judge) for each in page]
        return JSON(Sessions(shown, len(found), more, shard_view(self._fleet)))

    async def session(self, request: Request) -> Response:
        """One session."""
        session = await session_in(request, self._ingest)
        return JSON(view(session, unix_now(), self._watch, self._fleet.judge))

    async def delete(self, request: Request) -> Response:
        """Forgets one session."""
        if not await self._ingest.forget(key_in(request)):
            raise NotFound("no such session is known")
        return Response(status_code=204)


async def session_in(request: Request, ingest: Ingest) -> Session:
    """The session that a path names. Raises NotFound."""
    session = await ingest.find(key_in(request))
    if session is None:
        raise NotFound("no such session is known")
    return session


def key_in(request: Request) -> Key:
    """The session that a path names."""
    return request.path_params["source"], request.path_params["session"]


def key_of(session: Session) -> Key:
    """The order of a listing."""
    return session.key


def restrictions(session: Session, now: int) -> list[Restriction]:
    """What WhatsApp limits now."""
    return [restriction for restriction in session.limits if session.restricted(restriction, now)]


def shard_view(fleet: Fleet) -> ShardView | None:
    """Which part of the fleet lists contain; None for all of it."""
    shard = fleet.rules.shard
    return ShardView(shard.index, shard.total) if shard.total > 1 else None


def view(session: Session, now: int, watch: Watch, judge: Verdicts) -> SessionView:
    """A session as the API shows it at `now` (Unix ms)."""
    state, meta = session.state, session.meta
    return SessionView(
        source=session.source,
        session=session.name,
        status=state.status,
        since=utc(state.since),
        ready=watch.ready(session),
        engine=session.engine,
        group=meta.group or None,
        owner=meta.owner or None,
        tier=meta.tier or None,
        last_event=moment_or_none(session.last_event),
        auth_required_since=moment_or_none(state.auth_since),
        down_since=moment_or_none(state.down_since),
        maintenance=session.maintenance,
        restrictions=restrictions(session, now),
        problems=problems_of(session.key, judge),
        reason=judge.reason(session.key) or None,
        outages=[outage.kind for outage in judge.outages_of(session.key)],
        confirmed=watch.confirmed(session.source),
    )


def matches(session: Session, query: SessionsQuery) -> bool:
    """Whether every filter that is given matches."""
    return (
        query.source in (None, session.source)
        and query.status in (None, session.state.status)
        and query.group in (None, session.meta.group)
        and query.engine in (None, session.engine)
    )
