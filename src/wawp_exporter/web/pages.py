"""HTML for operators: the fleet with its heatmap, one session, the audit; made on the server, without a build."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import jinja2
import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from wawp_exporter import __version__, times
from wawp_exporter.audit.audit import covered
from wawp_exporter.audit.figures import tally
from wawp_exporter.audit.heatmap import RANGES, Heatmaps, Paths, Range, draw, draw_live, read_rows
from wawp_exporter.audit.rows import Row, row
from wawp_exporter.audit.words import lasting, percent
from wawp_exporter.config.schema import Config, Thresholds
from wawp_exporter.errors import BadRequest, LogError, TooBusy
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.stream import Hub
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.log import Action
from wawp_exporter.log.place import Place
from wawp_exporter.model.bucket import STATUSES
from wawp_exporter.model.event import Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import WEEKDAYS, Session
from wawp_exporter.web.api import Api, AuditQuery, converted, while_connected

RUNBOOKS = "https://github.com/wawp/wawp-exporter/blob/main/alerts/runbooks/{alert}.md"
PAGE_ROWS = 100
NEEDS_SHOWN = 10
GROUPS_SHOWN = 20
TOLD_ROWS = 50
LABELLED = 40  # rows of the heatmap up to which each has its name beside it
SPANS = {"24 hours": 86_400_000, "7 days": 604_800_000, "30 days": 2_592_000_000}
ROW_PX = 22  # as in wawp.css
HEAT_PX = (160, 480)  # the height of a heatmap without names
# In the order in which a person should look; the words say why.
ALERTS = {
    "WawpSessionDisconnected": "disconnected",
    "WawpSessionQrUnattended": "nobody logs in",
    "WawpSessionQrEscalated": "login is overdue",
    "WawpSessionQrWaiting": "waits for a login",
    "WawpSessionFailed": "failed",
    "WawpSessionStuckStarting": "stuck starting",
    "WawpSessionNotWorking": "down for long",
    "WawpSessionRestricted": "restricted by WhatsApp",
    "WawpSessionSilent": "silent",
}
RANK = {alert: rank for rank, alert in enumerate(ALERTS)}
# Among those who need nobody (yet).
URGENCY = {
    Status.FAILED: 10,
    Status.DISCONNECTED: 10,
    Status.SCAN_QR_CODE: 11,
    Status.PASSKEY_REQUIRED: 11,
    Status.PASSKEY_CONFIRMATION_REQUIRED: 11,
    Status.STARTING: 12,
    Status.UNKNOWN: 13,
    Status.WORKING: 14,
    Status.STOPPED: 15,
}
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


T = TypeVar("T", bound=msgspec.Struct)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a session: the alert that says so, and since when (Unix ms)."""

    alert: str
    since: int

    @property
    def words(self) -> str:
        """For people."""
        return ALERTS[self.alert]

    @property
    def runbook(self) -> str:
        """Where it says what to do."""
        return RUNBOOKS.format(alert=self.alert)


class FleetQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the fleet page shows; each filter that is given must match."""

    q: str = ""
    status: Status | None = None
    source: str | None = None
    group: str | None = None
    engine: str | None = None
    need: bool = False
    range: Literal["1h", "24h", "7d", "30d"] = "24h"
    page: int = 1

    def link(self, **changes: object) -> str:
        """The page with some of it changed; from its beginning, unless a page is named."""
        query = msgspec.to_builtins(msgspec.structs.replace(self, **{"page": 1, **changes}))
        return "/?" + urlencode({key: int(value) if value is True else value for key, value in query.items()})

    def matches(self, session: Session) -> bool:
        """Whether all filters but those of its condition let the session through."""
        return (
            (not self.q or self.q.casefold() in f"{session.source}/{session.name} {session.meta.owner}".casefold())
            and self.source in (None, session.source)
            and self.group in (None, session.meta.group)
            and self.engine in (None, session.engine)
        )


class SessionQuery(msgspec.Struct, frozen=True):
    """Where the table of transitions goes on, and the session's name where it is not in the path."""

    cursor: str | None = None
    session: str = ""


@dataclass(frozen=True, slots=True)
class Heat:
    """A heatmap ready to be written: the past and, beside it, what is true now. Times are Unix ms.

    `past` is None while it is not drawn yet; `stamp` names it, so that a browser need not load it again.
    """

    span: Range
    height: int
    px: int
    start: int
    end: int
    stamp: str
    past: Paths | None
    live: Paths
    names: Sequence[Session]

    @property
    def ticks(self) -> list[str]:
        """Four times along the axis, evenly spaced; the fifth would be now."""
        length = self.end - self.start
        form = "%H:%M" if length < 2 * 86_400_000 else "%d %b"
        return [utc(self.start + part * length // 4, form) for part in range(4)]


def problem_of(session: Session, limits: Thresholds, now: int) -> Problem | None:
    """Why a session needs a human at `now`: the first of ALERTS whose condition holds, unless it is excused."""
    if session.maintenance:
        return None
    found = [Problem(alert, since) for alert, since in conditions(session, limits, now) if since]
    return min(found, key=lambda each: RANK[each.alert], default=None)


def conditions(session: Session, limits: Thresholds, now: int) -> Iterator[tuple[str, int]]:
    """Each alert's condition: since when it holds (Unix ms), 0 if it does not."""
    state = session.state
    if state.status is Status.WORKING:
        held = [at for kind, (_, at) in session.limits.items() if session.restricted(kind, now)]
        yield "WawpSessionRestricted", min(held, default=0)
        yield "WawpSessionSilent", session.last_event if session.silent(now) else 0
    elif state.status not in (Status.STOPPED, Status.UNKNOWN):
        yield from down_conditions(state, {**dict(limits), **dict(session.meta.thresholds)}, now)


def down_conditions(state: State, limits: Mapping[str, float], now: int) -> Iterator[tuple[str, int]]:
    """Those of a session that is neither WORKING nor STOPPED."""

    def longer(kind: str, since: int) -> int:
        return since if now - since > limits[kind] * 1000 else 0

    if state.status is Status.DISCONNECTED:
        yield "WawpSessionDisconnected", state.since
    if state.auth_since:
        yield "WawpSessionQrUnattended", longer("qr_unattended", state.auth_since)
        yield "WawpSessionQrEscalated", longer("qr_escalate", state.auth_since)
        yield "WawpSessionQrWaiting", state.auth_since
    elif state.status is Status.FAILED:
        yield "WawpSessionFailed", longer("failed", state.since)
    elif state.status is Status.STARTING:
        yield "WawpSessionStuckStarting", longer("starting", state.since)
    yield "WawpSessionNotWorking", longer("down", state.down_since)


class Pages:
    """The endpoints that answer with HTML. What the log tells is asked of the reader, the rest is in memory."""

    def __init__(self, fleet: Fleet, api: Api, hub: Hub) -> None:
        self._fleet = fleet
        self._hub = hub
        self._api = api
        self._place = api.place
        self._reader = api.reader
        self.heatmaps = Heatmaps(api.place, api.reader)
        # Now, since to read one later takes a file descriptor.
        for name in templates.list_templates():
            templates.get_template(name)

    @property
    def _config(self) -> Config:
        return self._fleet.rules.config

    async def fleet(self, request: Request) -> Response:
        """Who needs a human, the groups, the heatmap, the sessions."""
        now, seq, query = unix_now(), self._hub.newest, given_in(request, FleetQuery)
        serving = {name: await self._api.serving(members) for name, members in self._fleet.rules.groups.items()}
        view = FleetView(self._fleet, query, now, serving)
        heat = await self._heat(query, view.shown, now, request.headers.get("x-wawp-live", ""))
        choices = {
            "source": sorted(self._config.sources),
            "group": sorted(self._fleet.rules.groups),
            "engine": sorted({engine for _, engine in self._fleet.buckets}),
        }
        return render("fleet.html", now, seq=seq, view=view, query=query, heat=heat, choices=choices)

    async def session(self, request: Request) -> Response:
        """One session; one that is not known (any more) is a 404 with what the log still tells of it."""
        now, query = unix_now(), given_in(request, SessionQuery)
        key = (request.path_params["source"], request.path_params.get("session", query.session))
        # Before the rest: what happens while that is read is told by the stream, which goes on from here.
        seq = self._hub.newest
        session = await self._api.ingest.find(key)
        told, older = await self._reader.light(read_told, self._place, key, query.cursor)
        values: dict[str, Any] = {"seq": seq, "key": key, "told": told, "older": older}
        values["actions"] = await self._reader.light(read_actions, self._place, key)
        values["has_api"] = key[0] in self._api.watch.gateways
        values["confirmed"] = self._api.watch.confirmed(key[0])
        values["doubt"] = self._api.watch.doubt(session) if session else ""
        if session is None:
            return render("missing.html", now, 404, **values)
        bars, uptimes = await asyncio.gather(
            self._reader.light(read_bars, self._place, key, now),
            self._reader.light(read_uptimes, self._place, self._config, key, now),
        )
        live = draw_live([session.state.status])
        values["heats"] = [(name, heat_of(name, 1, now, row, live)) for name, row in bars.items()]
        limits = self._config.thresholds
        values["limits"] = {**dict(limits), **dict(session.meta.thresholds)}
        problem = problem_of(session, limits, now)
        return render("session.html", now, session=session, problem=problem, uptimes=uptimes, **values)

    async def audit(self, request: Request) -> Response:
        """The uptime audit, by form; a mistake in it is shown beside it."""
        now, given = unix_now(), {key: value for key, value in request.query_params.items() if value}
        asked, report, error, status = AuditQuery(start="7d"), None, "", 200
        try:
            asked = msgspec.structs.replace(told_query(given), format=None)
            report = await while_connected(request, self._api.audited(asked))
        except (BadRequest, TooBusy) as refusal:
            error, status = refusal.message, refusal.status
        values: dict[str, Any] = {"asked": asked, "zone": self._config.timezone, "error": error, "report": report}
        if report:
            worst = sorted(report.sessions, key=lambda row: -row.downtime_seconds)
            values["tables"] = [("All", [report.total]), ("Groups", report.groups), ("Engines", report.engines),
                                ("Sources", report.sources), ("Sessions", worst)]  # fmt: skip
            values["most"] = max(map(max, report.hour_of_week))
            values["link"] = urlencode({key: value for key, value in given.items() if key != "format"})
        return render("audit.html", now, status, **values)

    async def _heat(self, query: FleetQuery, sessions: list[Session], now: int, have: str) -> Heat:
        """The heatmap of these sessions; without the past if the browser says that it has it."""
        sessions = sorted(sessions, key=lambda each: (each.source, each.meta.group, each.name))
        keys = tuple(session.key for session in sessions)
        try:
            drawing = await self.heatmaps.drawing(query.range, keys, now)
        except LogError as error:
            logger.error("heatmap not drawn", error=str(error))
            drawing = None
        except TooBusy:
            drawing = None
        read_at, past = drawing or (now, None)
        stamp = f"{query.range}-{read_at}-{hash(keys) & 0xFFFFFFFF:x}" if drawing else ""
        live = draw_live(session.state.status for session in sessions)
        names = sessions if len(sessions) <= LABELLED else []
        return heat_of(query.range, len(keys), read_at, {} if stamp and stamp == have else past, live, stamp, names)


class FleetView:
    """What the fleet page tells of the sessions that match its query, at `now` (Unix ms).

    `serving` has the session of each group that can take its place, as the API tells it.
    """

    def __init__(
        self, fleet: Fleet, query: FleetQuery, now: int, serving: Mapping[str, Session | None] | None = None
    ) -> None:
        limits = fleet.rules.config.thresholds
        matching = [session for session in fleet.sessions.values() if query.matches(session)]
        found = ((session, problem_of(session, limits, now)) for session in matching)
        self.problems = {session.key: problem for session, problem in found if problem}
        self.total = len(fleet.sessions)
        self.counts = Counter(session.state.status for session in matching)
        self.shown = [session for session in matching if self._is_shown(session, query)]
        self.pages = max(1, -(-len(self.shown) // PAGE_ROWS))
        self.page = min(max(1, query.page), self.pages)
        first = heapq.nsmallest(self.page * PAGE_ROWS, self.shown, key=self._urgency)
        self.rows = first[(self.page - 1) * PAGE_ROWS :]
        self.needing = sorted((s for s in self.shown if s.key in self.problems), key=self._urgency)
        self.groups = sorted(groups_of(fleet, query.group, serving or {}), key=lambda each: each["active"] is not None)

    def _is_shown(self, session: Session, query: FleetQuery) -> bool:
        return query.status in (None, session.state.status) and (not query.need or session.key in self.problems)

    def _urgency(self, session: Session) -> tuple[int, int]:
        """The order of the tables: by need, then the longest first."""
        problem = self.problems.get(session.key)
        if problem:
            return RANK[problem.alert], problem.since
        return len(RANK) + URGENCY[session.state.status], session.state.since

    @property
    def summary(self) -> str:
        """The page in a sentence."""
        count = len(self.problems)
        return f"{count} of {self.total} sessions {'needs' if count == 1 else 'need'} a human"


def groups_of(fleet: Fleet, wanted: str | None, serving: Mapping[str, Session | None]) -> Iterator[dict[str, Any]]:
    """The failover groups: their members in order, and the one that serves now."""
    for (name, total, eligible, working), members in zip(
        fleet.group_counts(), fleet.rules.groups.values(), strict=True
    ):
        if wanted in (None, name):
            known = [(key, fleet.sessions.get(key)) for key in members]
            yield {"name": name, "total": total, "eligible": eligible, "working": working, "members": known,
                   "active": serving.get(name)}  # fmt: skip


def heat_of(
    name: str,
    height: int,
    now: int,
    past: Paths | None,
    live: Paths,
    stamp: str = "",
    names: Sequence[Session] = (),
) -> Heat:
    """A heatmap of the range `name` that was read at `now` (Unix ms)."""
    span = RANGES[name]
    px = height * ROW_PX if height <= LABELLED else min(max(height * 2, HEAT_PX[0]), HEAT_PX[1])
    return Heat(span, height, px, span.start(now), now, stamp, past, live, names)


def given_in(request: Request, kind: type[T]) -> T:
    """The query of a page; a form sends what was left empty too. Raises BadRequest, which names the parameter."""
    return converted({key: value for key, value in request.query_params.items() if value}, kind)


def told_query(given: Mapping[str, str]) -> AuditQuery:
    """What a form asks of an audit, a week unless it says otherwise. Raises BadRequest."""
    return converted({"from": "7d", **given}, AuditQuery)


def render(template: str, now: int, status: int = 200, **values: Any) -> Response:
    """A page, as of `now` (Unix ms)."""
    body = templates.get_template(template).render(now=now, version=__version__, **values)
    return HTMLResponse(body, status, headers=SECURITY_HEADERS)


def read_told(place: Place, key: Key, cursor: str | None) -> tuple[list[TransitionRow], str | None]:
    """A page of a session's transitions, newest first, and where the next one begins."""
    with History(place) as history:
        return history.transitions(source=key[0], session=key[1], start=None, end=None, limit=TOLD_ROWS, cursor=cursor)


def read_actions(place: Place, key: Key) -> list[Action]:
    """What was done about a session lately."""
    with History(place) as history:
        return history.actions(key, 10)


def read_uptimes(place: Place, config: Config, key: Key, now: int) -> list[tuple[str, Row, float]]:
    """One session's figures of a day, a week and a month, each with the share that Prometheus can have seen."""
    windows = Rules(config).meta(*key).windows
    with History(place) as history:
        past = next(history.pasts(now - max(SPANS.values()), now, source=key[0], session=key[1]), None)
        if past is None:
            return []
        return [
            (words, row("session", key[1], tally(past, windows, now - span, now)),
             covered(history.runs(now - span, now)) / span)
            for words, span in SPANS.items()
        ]  # fmt: skip


def read_bars(place: Place, key: Key, now: int) -> dict[str, Paths]:
    """One session's heatmaps of a day, a week and a month."""
    return {name: draw(list(read_rows(place, name, now, key).values())) for name in ("24h", "7d", "30d")}


def shade(count: int, most: int) -> int:
    """How dark a cell is, from 0 for nothing to 4 for the most."""
    return -(-4 * count // most) if count else 0


def day(moment: datetime, zone: str) -> str:
    """A date and time of day in a time zone."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def age(ms: int) -> str:
    """A duration as people say it: the two largest units."""
    left = max(0, ms) // 1000
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def utc(ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Unix ms as a date and time of day in UTC."""
    return times.utc(ms).strftime(form)


def session_link(key: Key, cursor: str = "") -> str:
    """Where a session's page is; its name may be anything. Browsers resolve `.` and `..` in a path, encoded or not."""
    source = f"/sessions/{quote(key[0], safe='')}"
    link = f"{source}?session={key[1]}" if key[1] in (".", "..") else f"{source}/{quote(key[1], safe='')}"
    return f"{link}{'&' if '?' in link else '?'}cursor={quote(cursor, safe='')}" if cursor else link


def qr_link(key: Key) -> str:
    """Where the QR code of a session is."""
    return f"/api/v1/sessions/{quote(key[0], safe='')}/{quote(key[1], safe='')}/qr"


templates = jinja2.Environment(
    loader=jinja2.PackageLoader("wawp_exporter.web"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    auto_reload=False,
)
templates.filters.update(
    age=age, utc=utc, day=day, shade=shade, session_link=session_link, qr_link=qr_link, percent=percent, lasting=lasting
)
templates.globals.update(
    statuses=STATUSES,
    ranges=RANGES,
    weekdays=WEEKDAYS,
    needs_shown=NEEDS_SHOWN,
    groups_shown=GROUPS_SHOWN,
    rows_shown=PAGE_ROWS,
)
