"""The page of the fleet: how all of it stands, who needs a human, the groups, the heatmap, the sessions."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
import structlog
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.heatmap import Heatmaps
from wawp_exporter.errors import LogError, TooBusy
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.stream import Hub
from wawp_exporter.model.event import Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.session import Session
from wawp_exporter.model.sessions import group_counts
from wawp_exporter.web.api.groups import GroupEndpoints
from wawp_exporter.web.pages.heat import Heat, heat_of
from wawp_exporter.web.pages.problems import WORDS
from wawp_exporter.web.pages.render import LABELLED, PAGE_ROWS, given_in, render
from wawp_exporter.web.pages.standing import Serving, Standing, Standings
from wawp_exporter.web.pages.welcome import doors

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

MASK = 0xFFFFFFFF

logger = structlog.get_logger()


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
    zoom: Annotated[int, Meta(ge=0)] | None = None  # the first session of a part of the heatmap

    def link(self, **changes: object) -> str:
        """The page with some of it changed; from its beginning, unless a page is named."""
        query = msgspec.to_builtins(msgspec.structs.replace(self, **{"page": 1, **changes}))
        return "?" + urlencode({key: int(value) if value is True else value for key, value in query.items()})

    @property
    def filtered(self) -> bool:
        """Whether it leaves sessions out."""
        return bool(self.q or self.status or self.source or self.group or self.engine or self.need)

    def matches(self, session: Session) -> bool:
        """Whether all filters but those of its condition let the session through."""
        return (
            (not self.q or self.q.casefold() in f"{session.source}/{session.name} {session.meta.owner}".casefold())
            and self.source in (None, session.source)
            and self.group in (None, session.meta.group)
            and self.engine in (None, session.engine)
        )


class FleetPage:
    """All but the heatmap's past is in memory."""

    def __init__(
        self,
        fleet: Fleet,
        groups: GroupEndpoints,
        heatmaps: Heatmaps,
        hub: Hub,
        standings: Standings,
        unready: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._standings = standings
        self._unready = unready
        self._groups = groups
        self._heatmaps = heatmaps
        self._hub = hub

    async def get(self, request: Request) -> Response:
        """How all stands, who needs a human, the groups, the heatmap, the sessions; the way to the first one."""
        now, seq, query = unix_now(), self._hub.newest, given_in(request, FleetQuery)
        serving = {name: await self._groups.serving(members) for name, members in self._fleet.rules.groups.items()}
        standing = self._standings.now(now, serving, self._unready())
        if not standing.total:
            found = doors(self._fleet.rules.config, request.url)
            return render(request, "welcome.html", now, seq=seq, standing=standing, doors=found)
        # Of 100,000 sessions each step takes a tenth of a second: webhooks get their turn between them.
        await asyncio.sleep(0)
        view = FleetView(self._fleet, query, standing, serving)
        await asyncio.sleep(0)
        heat = await self._heat(query, view.shown, now, request.headers.get("x-wawp-live", ""))
        choices = {
            "source": sorted(self._fleet.rules.config.sources),
            "group": sorted(self._fleet.rules.groups),
            "engine": sorted({engine for _, engine in self._fleet.buckets}),
        }
        has_api = self._standings.watched
        values: dict[str, Any] = {
            "view": view,
            "query": query,
            "heat": heat,
            "choices": choices,
            "standing": standing,
            "has_api": has_api,
        }
        return render(request, "fleet.html", now, seq=seq, **values)

    async def _heat(self, query: FleetQuery, sessions: list[Session], now: int, have: str) -> Heat:
        """The heatmap of these sessions; without the past if the browser says that it has it."""
        sessions = sorted(sessions, key=lambda each: (each.source, each.meta.group, each.name))
        if query.zoom is not None:
            sessions = sessions[query.zoom : query.zoom + LABELLED]
        keys = tuple(session.key for session in sessions)
        await asyncio.sleep(0)
        try:
            drawing = await self._heatmaps.drawing(query.range, keys, now)
        except LogError as error:
            logger.error("heatmap not drawn", error=str(error))
            drawing = None
        except TooBusy:
            drawing = None
        which = f"{query.range}-{hash(keys) & MASK:x}"
        return heat_of(query.range, sessions, now, drawing, which, have)


class FleetView:
    """What the fleet page shows of the sessions that match its query.

    `serving` has the session of each group that can take its place, as in the API.
    """

    def __init__(self, fleet: Fleet, query: FleetQuery, standing: Standing, serving: Serving | None = None) -> None:
        matching = [session for session in fleet.sessions.values() if query.matches(session)]
        needs = standing.needs
        self.problems = {session.key: needs[session.key] for session in matching if session.key in needs}
        self.hit = {session.key for line in standing.outages for session in line.sessions}
        self.total = standing.total
        self.counts = Counter(session.state.status for session in matching)
        self.shown = [session for session in matching if self._is_shown(session, query)]
        self.pages = max(1, -(-len(self.shown) // PAGE_ROWS))
        self.page = min(max(1, query.page), self.pages)
        first = heapq.nsmallest(self.page * PAGE_ROWS, self.shown, key=self._urgency)
        self.rows = first[(self.page - 1) * PAGE_ROWS :]
        self.needing = sorted((s for s in self.shown if s.key in self.problems), key=self._urgency)
        self.hidden = len(needs) - len(self.needing)
        self.groups = sorted(groups_of(fleet, query.group, serving or {}), key=lambda each: each["active"] is not None)

    def _is_shown(self, session: Session, query: FleetQuery) -> bool:
        needed = session.key in self.problems or session.key in self.hit
        return query.status in (None, session.state.status) and (not query.need or needed)

    def _urgency(self, session: Session) -> tuple[int, int]:
        """The order of the tables: by need, then the longest first."""
        problem = self.problems.get(session.key)
        if problem:
            return problem.rank, problem.since
        return len(WORDS) + URGENCY[session.state.status], session.state.since


def groups_of(fleet: Fleet, wanted: str | None, serving: Serving) -> Iterator[dict[str, Any]]:
    """The failover groups: their members in order, and the one that serves now."""
    for (name, total, eligible, working), members in zip(group_counts(fleet), fleet.rules.groups.values(), strict=True):
        if wanted in (None, name):
            known = [(key, fleet.sessions.get(key)) for key in members]
            yield {"name": name, "total": total, "eligible": eligible, "working": working, "members": known,
                   "active": serving.get(name)}  # fmt: skip
