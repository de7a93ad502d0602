"""The JSON API: sessions, the pre-flight check, groups, transitions, audits."""

import asyncio
import heapq
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.audit import Audit, Query, audit
from wawp_exporter.audit.instants import instant, period, zone_of
from wawp_exporter.audit.recovery import Recoveries
from wawp_exporter.audit.spreadsheet import to_csv
from wawp_exporter.cursors import from_cursor, to_cursor
from wawp_exporter.errors import BadRequest, Conflict, GatewayError, Left, NoAnswer, NotFound, TooBusy
from wawp_exporter.gateways.reconcile import Watch
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.reader import Reader
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import Restriction, Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.times import utc
from wawp_exporter.web.access import Access, Caller
from wawp_exporter.web.openapi import Problem

QR_WAIT_S = 30.0
QR_PAUSE_S = 1.0
MAX_SCANNING = 16  # those that wait for a QR code at once
DEFAULT_RETRY_S = 30  # after which to ask again where nothing is known
MAX_RETRY_S = 3600
TIME = "a date, an RFC 3339 time, Unix seconds, or an age such as 24h"

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")
Endpoint = Callable[[Request], Awaitable[Response]]
Check = Callable[[Access, Caller], None]
Limit = Annotated[int, Meta(ge=1, le=1000, description="How many to give at most.")]
Cursor = Annotated[str | None, Meta(description="`next_cursor` of the answer before.")]


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
    """A page of sessions, by source and name; `total` counts all that match."""

    sessions: list[SessionView]
    total: int
    next_cursor: str | None


class Ready(msgspec.Struct, frozen=True):
    """A session that can send now. It may be restricted all the same."""

    ready: bool
    source: str
    session: str
    status: Status
    since: datetime
    restrictions: list[Restriction]


class NotReady(msgspec.Struct, frozen=True):
    """A session that cannot send now; `expected_seconds` is null when nothing is known, and `basis` says why."""

    error: str
    ready: bool
    source: str
    session: str
    status: Status
    since: datetime
    expected_seconds: float | None
    basis: str


class Group(msgspec.Struct, frozen=True):
    """A failover group: the member that serves now (null: none), and its members in failover order."""

    group: str
    active: str | None
    members: list[str]
    eligible: int
    working: int


class Groups(msgspec.Struct, frozen=True):
    """All groups of the configuration."""

    groups: list[Group]


class Active(msgspec.Struct, frozen=True):
    """The member of a group that serves now; `position` is its place in failover order, from 0."""

    group: str
    source: str
    session: str
    status: Status
    since: datetime
    position: int


class TransitionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """Filters; each that is given must match."""

    source: Annotated[str | None, Meta(description="Sessions of this source only.")] = None
    session: Annotated[str | None, Meta(description="Sessions of this name only.")] = None
    start: Annotated[str | None, Meta(description=f"Not before this: {TIME}.")] = None
    end: Annotated[str | None, Meta(description=f"Before this: {TIME}.")] = None
    limit: Limit = 100
    cursor: Cursor = None


class TransitionView(msgspec.Struct, frozen=True, rename={"before": "from"}):
    """A change of status. `from` is null for a session's first; `observed` is the status as the gateway spelt it."""

    source: str
    session: str
    before: Status | None
    to: Status
    observed: str
    at: datetime
    received_at: datetime
    engine: str
    origin: Annotated[
        str, Meta(description="`webhook`, or `reconcile`: the gateway's API told what a webhook did not.")
    ]


class Transitions(msgspec.Struct, frozen=True):
    """A page of transitions, newest first."""

    transitions: list[TransitionView]
    next_cursor: str | None


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """The time and the sessions of an audit; its format, else what Accept prefers."""

    start: Annotated[str, Meta(description=f"The beginning: {TIME}.")] = "30d"
    end: Annotated[str, Meta(description=f"The end: {TIME}; the present if absent.")] = ""
    source: Annotated[str | None, Meta(description="Sessions of this source only.")] = None
    session: Annotated[str | None, Meta(description="Sessions of this name only.")] = None
    group: Annotated[str | None, Meta(description="Members of this group only.")] = None
    timezone: Annotated[str | None, Meta(description="IANA name; that of the configuration if absent.")] = None
    format: Annotated[Literal["json", "csv"] | None, Meta(description="The format of the answer.")] = None


class JSON(Response):
    """A struct, or anything else that msgspec writes, as JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The bytes of the body."""
        return msgspec.json.encode(content)


class Api:
    """The endpoints. Transitions and audits come from the log, everything else from memory."""

    def __init__(self, fleet: Fleet, ingest: Ingest, recoveries: Recoveries, reader: Reader, watch: Watch) -> None:
        self.fleet = fleet
        self.watch = watch
        self._scanning = asyncio.Semaphore(MAX_SCANNING)
        self.ingest = ingest
        self.recoveries = recoveries
        self.reader = reader
        self.place = ingest.log.place

    async def sessions(self, request: Request) -> Response:
        """A page of sessions."""
        query = parameters(request, SessionsQuery)
        found = [session for session in self.fleet.sessions.values() if matches(session, query)]
        after = from_cursor(query.cursor, tuple[str, str]) if query.cursor else None
        rest = [session for session in found if after is None or session.key > after]
        page = heapq.nsmallest(query.limit, rest, key=key_of)
        more = to_cursor(page[-1].key) if len(rest) > len(page) else None
        now = unix_now()
        return JSON(Sessions([view(each, now, self.watch) for each in page], len(found), more))

    async def session(self, request: Request) -> Response:
        """One session."""
        session = await self._session(request)
        return JSON(view(session, unix_now(), self.watch))

    async def delete(self, request: Request) -> Response:
        """Forgets one session."""
        if not await self.ingest.forget(key_in(request)):
            raise NotFound("no such session is known")
        return Response(status_code=204)

    async def ready(self, request: Request) -> Response:
        """The pre-flight check."""
        session = await self._session(request)
        state, now = session.state, unix_now()
        since = utc(state.since)
        if self.watch.ready(session):
            return JSON(Ready(True, *session.key, state.status, since, restrictions(session, now)))
        doubt = self.watch.doubt(session)
        if doubt and (state.status is Status.WORKING or not self.watch.confirmed(session.source)):
            basis = "unknown: the gateway has to bear out the status first"
            return not_ready(NotReady(doubt, False, *session.key, state.status, since, None, basis))
        expected, basis = self._expect(session, now)
        error = f"the session is {state.status}, expected WORKING"
        return not_ready(NotReady(error, False, *session.key, state.status, since, expected, basis))

    def _expect(self, session: Session, now: int) -> tuple[float | None, str]:
        """Seconds until it is WORKING again, and what that rests on."""
        state = session.state
        if state.status is Status.STOPPED:
            return None, "unknown: it was stopped, and somebody has to start it"
        if not state.down_since:
            return None, "unknown: its status is not known"
        login = bool(state.auth_since)
        kind = f"{session.engine} recoveries {'with' if login else 'without'} a login"
        seconds, count = self.recoveries.expected(session.engine, login, (now - state.down_since) / 1000)
        if seconds is None:
            return None, f"unknown: only {count} {kind} in 30 days took longer than it has been down"
        return round(seconds, 3), f"the median of {count} {kind} in 30 days that took longer than it has been down"

    async def qr(self, request: Request) -> Response:
        """The QR image of a session that waits for a scan, as soon as there is one."""
        session = await self._session(request)
        if session.source not in self.watch.gateways:
            raise NotFound("the source has no api, expected it to be configured")
        if self._scanning.locked():
            raise TooBusy(f"{MAX_SCANNING} callers wait for a QR code, which is the limit; try again")
        async with self._scanning:
            image = await while_connected(request, self._wait_for_qr(session.key))
        return Response(image, media_type="image/png", headers={"Cache-Control": "no-store"})

    async def _wait_for_qr(self, key: Key) -> bytes:
        """The image comes some seconds after the status. Raises Conflict, NoAnswer."""
        until = time.monotonic() + QR_WAIT_S
        while time.monotonic() < until:
            session = await self.ingest.find(key)
            status = session.state.status if session else Status.STOPPED
            if status not in (Status.STARTING, Status.SCAN_QR_CODE):
                raise Conflict(f"the session is {status}, expected SCAN_QR_CODE")
            gateway = self.watch.gateways.get(key[0])  # a reload may have replaced it
            if gateway is None:
                raise NoAnswer("the source has no api any more")
            try:
                image = await gateway.qr(key[1])
            except GatewayError as error:
                raise NoAnswer(f"the gateway has no QR code for us: {error}") from None
            if image:
                return image
            await asyncio.sleep(QR_PAUSE_S)
        raise NoAnswer(f"the gateway had no QR code within {QR_WAIT_S:g} s, try again")

    async def groups(self, _request: Request) -> Response:
        """All groups."""
        counts = {name: (eligible, working) for name, _, eligible, working in self.fleet.group_counts()}
        return JSON(
            Groups(
                [
                    Group(name, await self._active_name(members), ["/".join(key) for key in members], *counts[name])
                    for name, members in self.fleet.rules.groups.items()
                ]
            )
        )

    async def active(self, request: Request) -> Response:
        """The first WORKING member in failover order."""
        name = request.path_params["group"]
        members = self.fleet.rules.groups.get(name)
        if members is None:
            raise NotFound("no such group is configured")
        active = await self.serving(members)
        if active is None:
            error = Problem("no member of the group is WORKING outside maintenance" + await self._doubts(members))
            return JSON(error, 503, headers={"Retry-After": str(DEFAULT_RETRY_S)})
        state = active.state
        return JSON(Active(name, *active.key, state.status, utc(state.since), members.index(active.key)))

    async def transitions(self, request: Request) -> Response:
        """A page of the transition log."""
        query, zone = parameters(request, TransitionsQuery), ZoneInfo("UTC")
        now = unix_now()
        start = instant("from", query.start, zone, now) if query.start else None
        end = instant("to", query.end, zone, now) if query.end else None
        span = (query.source, query.session, start, end)
        read = self.reader.light(read_transitions, self.place, *span, query.limit, query.cursor)
        found, more = await while_connected(request, read)
        return JSON(Transitions([transition_view(each) for each in found], more))

    async def audit(self, request: Request) -> Response:
        """The uptime audit, as JSON or CSV."""
        asked = parameters(request, AuditQuery)
        report = await while_connected(request, self.audited(asked))
        accepted = request.headers.get("accept", "")
        if asked.format == "csv" or (asked.format is None and accepted.startswith("text/csv")):
            name = f"wawp-audit-{report.start:%Y%m%d}-{report.end:%Y%m%d}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(to_csv(report), media_type="text/csv", headers=headers)
        return JSON(report)

    async def audited(self, asked: AuditQuery) -> Audit:
        """The report that is asked for, made in another process. Raises BadRequest, LogError."""
        config = self.fleet.rules.config
        zone = zone_of(asked.timezone or config.timezone)
        start, end = period(asked.start, asked.end, zone, unix_now())
        query = Query(start, end, asked.source, asked.session, asked.group, zone.key)
        return await self.reader.heavy(audit, self.place, config, query)

    async def serving(self, members: Iterable[Key]) -> Session | None:
        """The first of a group's members that can take its place."""
        for key in members:
            session = await self.ingest.find(key)
            if session and self.watch.serves(session):
                return session
        return None

    async def _doubts(self, members: Iterable[Key]) -> str:
        """What speaks against the members that are WORKING all the same."""
        found = [session for key in members if (session := await self.ingest.find(key))]
        working = [each for each in found if each.state.status is Status.WORKING and not each.maintenance]
        return "".join(f"; {'/'.join(each.key)}: {doubt}" for each in working if (doubt := self.watch.doubt(each)))

    async def _active_name(self, members: Iterable[Key]) -> str | None:
        active = await self.serving(members)
        return "/".join(active.key) if active else None

    async def _session(self, request: Request) -> Session:
        session = await self.ingest.find(key_in(request))
        if session is None:
            raise NotFound("no such session is known")
        return session


def read_transitions(
    place: Place, source: str | None, session: str | None, start: int | None, end: int | None, limit: int,
    cursor: str | None,
) -> tuple[list[TransitionRow], str | None]:  # fmt: skip
    """A page of transitions, and the cursor of the next."""
    with History(place) as history:
        return history.transitions(source=source, session=session, start=start, end=end, limit=limit, cursor=cursor)


def transition_view(told: TransitionRow) -> TransitionView:
    """A transition as the API shows it."""
    at, received = utc(told.at), utc(told.received_at)
    return TransitionView(
        told.source,
        told.session,
        told.before,
        told.status,
        told.observed,
        at,
        received,
        told.engine,
        told.origin or "webhook",
    )


async def while_connected(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """What `work` gives; it is cancelled when the caller closes the connection. Raises Left."""
    task, gone = asyncio.create_task(work), asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Left("the caller has left")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def disconnected(request: Request) -> None:
    """Returns when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def key_in(request: Request) -> Key:
    """The session that a path names."""
    return request.path_params["source"], request.path_params["session"]


def key_of(session: Session) -> Key:
    """The order of a listing."""
    return session.key


def moment_or_none(ms: int) -> datetime | None:
    """0 is none."""
    return utc(ms) if ms else None


def restrictions(session: Session, now: int) -> list[Restriction]:
    """What WhatsApp limits now."""
    return [restriction for restriction in session.limits if session.restricted(restriction, now)]


def view(session: Session, now: int, watch: Watch) -> SessionView:
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


def not_ready(told: NotReady) -> Response:
    """The answer of a pre-flight check that says no."""
    return JSON(told, 503, headers={"Retry-After": str(retry_after(told.expected_seconds))})


def retry_after(expected: float | None) -> int:
    """Whole seconds; never 0, which would be a loop."""
    return DEFAULT_RETRY_S if expected is None else min(MAX_RETRY_S, max(1, math.ceil(expected)))


def parameters(request: Request, kind: type[T]) -> T:
    """The query of a request; raises BadRequest, which names the parameter and what was expected."""
    return converted(dict(request.query_params), kind)


def converted(given: Mapping[str, str], kind: type[T]) -> T:
    """Parameters as they are declared; raises BadRequest, which names the parameter and what was expected."""
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(explain(str(error))) from None


def explain(message: str) -> str:
    """msgspec's ``Expected `int` >= 1 - at `$.limit` `` → ``limit: expected `int` >= 1``."""
    what, at, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what[0].lower()}{what[1:]}" if at else what[0].lower() + what[1:]
