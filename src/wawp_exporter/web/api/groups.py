"""The failover groups, and the member of each that serves now."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.errors import NotFound
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.event import Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.model.sessions import group_counts
from wawp_exporter.times import utc
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.preflight import DEFAULT_RETRY_S
from wawp_exporter.web.openapi import ErrorBody


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


class GroupEndpoints:
    """Failover order is the order of the configuration."""

    def __init__(self, fleet: Fleet, ingest: Ingest, watch: Watch) -> None:
        self._fleet = fleet
        self._ingest = ingest
        self._watch = watch

    async def groups(self, _request: Request) -> Response:
        """All groups."""
        counts = {name: (eligible, working) for name, _, eligible, working in group_counts(self._fleet)}
        return JSON(
            Groups(
                [
                    Group(name, await self._name_of_serving(members), ["/".join(key) for key in members], *counts[name])
                    for name, members in self._fleet.rules.groups.items()
                ]
            )
        )

    async def active(self, request: Request) -> Response:
        """The first WORKING member in failover order."""
        name = request.path_params["group"]
        members = self._fleet.rules.groups.get(name)
        if members is None:
            raise NotFound("no such group is configured")
        active = await self.serving(members)
        if active is None:
            error = ErrorBody("no member of the group is WORKING outside maintenance" + await self._doubts(members))
            return JSON(error, 503, headers={"Retry-After": str(DEFAULT_RETRY_S)})
        state = active.state
        return JSON(Active(name, *active.key, state.status, utc(state.since), members.index(active.key)))

    async def serving(self, members: Iterable[Key]) -> Session | None:
        """The first of a group's members that can take its place."""
        for key in members:
            session = await self._ingest.find(key)
            if session and self._watch.serves(session):
                return session
        return None

    async def _doubts(self, members: Iterable[Key]) -> str:
        """What speaks against the members that are WORKING all the same."""
        found = [session for key in members if (session := await self._ingest.find(key))]
        working = [each for each in found if each.available]
        return "".join(f"; {'/'.join(each.key)}: {doubt}" for each in working if (doubt := self._watch.doubt(each)))

    async def _name_of_serving(self, members: Iterable[Key]) -> str | None:
        active = await self.serving(members)
        return "/".join(active.key) if active else None
