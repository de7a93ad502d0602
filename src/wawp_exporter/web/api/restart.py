"""A restart of one session, because a person asks for it."""

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from wawp_exporter.errors import Conflict, NotFound
from wawp_exporter.gateways.restarts import Remedies
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.sessions import session_in
from wawp_exporter.web.pages.render import root_of, session_link

REASONS = {
    "under_way": "a restart of it is under way",
    "given_up": "it was restarted remedy.max_per_hour times in the last hour, which is the limit",
    "backoff": "it was restarted a moment ago, expected the pause of remedy.backoff to be over",
    "dry_run": "remedy.dry_run is on, so nothing is restarted",
    "maintenance": "it is in maintenance",
    "waits_for_login": "it waits for a login, expected somebody to scan its QR code",
    "stopped": "it is STOPPED, expected somebody to start it in the gateway",
    "recovered": "it works, and nothing is wrong with it",
}


class Restarting(msgspec.Struct, frozen=True):
    """A restart has begun; what comes of it is shown on the session's page."""

    restarting: bool = True


class RestartEndpoint:
    """Has the limits of the restarts that alerts ask for, and is logged, counted and recorded as they are."""

    def __init__(self, ingest: Ingest, remedies: Remedies) -> None:
        self._ingest = ingest
        self._remedies = remedies

    async def post(self, request: Request) -> Response:
        """Begins a restart. Raises NotFound, Conflict."""
        session = await session_in(request, self._ingest)
        reason = await self._remedies.by_hand(session.key)
        if reason == "no_api":
            raise NotFound(f"the source has no api, expected sources.{session.source}.api to be configured")
        if reason:
            raise Conflict(f"the session was not restarted: {REASONS.get(reason, 'its status is not known')}")
        if "text/html" in request.headers.get("accept", ""):  # the button of the session's page
            return RedirectResponse(root_of(request) + session_link(session.key), 303)
        return JSON(Restarting(), 202)
