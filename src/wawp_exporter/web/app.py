"""The routes of everything but webhooks, each with the check that its caller has to pass."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wawp_exporter.audit.heatmap import Heatmaps
from wawp_exporter.service.service import Service
from wawp_exporter.web.access import Access, Caller, caller_of
from wawp_exporter.web.alertmanager import AlertmanagerEndpoint
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.audits import AuditEndpoint
from wawp_exporter.web.api.groups import GroupEndpoints
from wawp_exporter.web.api.preflight import PreflightEndpoint
from wawp_exporter.web.api.problems import ProblemsEndpoint
from wawp_exporter.web.api.qr import QrEndpoint
from wawp_exporter.web.api.restart import RestartEndpoint
from wawp_exporter.web.api.sessions import SessionEndpoints
from wawp_exporter.web.api.transitions import TransitionEndpoint
from wawp_exporter.web.assets import Assets
from wawp_exporter.web.failures import HANDLERS
from wawp_exporter.web.management import ManagementEndpoints
from wawp_exporter.web.mount import Mounted
from wawp_exporter.web.openapi import document
from wawp_exporter.web.operations import OPERATIONS, SESSION, WEBHOOKS
from wawp_exporter.web.pages.audit import AuditPage
from wawp_exporter.web.pages.fleet import FleetPage
from wawp_exporter.web.pages.render import load_templates
from wawp_exporter.web.pages.runbooks import RunbookPages
from wawp_exporter.web.pages.session import SessionPage
from wawp_exporter.web.pages.standing import Standings
from wawp_exporter.web.scrape import ScrapeEndpoint

DOCUMENT = document([*OPERATIONS, *WEBHOOKS])

Endpoint = Callable[[Request], Awaitable[Response]]
Check = Callable[[Access, Caller], None]


def make_app(service: Service, access: Callable[[], Access]) -> Mounted:
    """The application; `access` gives the rules that are in force, which a reload replaces."""
    load_templates()
    fleet, ingest, watch, place = service.fleet, service.ingest, service.watch, service.log.place
    sessions, groups = SessionEndpoints(fleet, ingest, watch), GroupEndpoints(fleet, ingest, watch)
    audits, management = AuditEndpoint(fleet, service.reader, place), ManagementEndpoints(service)
    read, change = Access.check_read, Access.check_change
    bound: dict[tuple[str, str], tuple[Endpoint, Check]] = {
        ("GET", "/api/v1/sessions"): (sessions.sessions, read),
        ("GET", f"{SESSION}/ready"): (PreflightEndpoint(ingest, service.recoveries, watch).get, read),
        ("GET", f"{SESSION}/qr"): (QrEndpoint(ingest, watch).get, Access.check_qr),
        ("POST", f"{SESSION}/restart"): (RestartEndpoint(ingest, service.remedies).post, Access.check_remedy),
        ("POST", "/alertmanager"): (AlertmanagerEndpoint(service.remedies).post, Access.check_remedy),
        ("GET", SESSION): (sessions.session, read),
        ("DELETE", SESSION): (sessions.delete, change),
        ("GET", "/api/v1/problems"): (ProblemsEndpoint(fleet).get, read),
        ("GET", "/api/v1/groups"): (groups.groups, read),
        ("GET", "/api/v1/groups/{group:name}/active"): (groups.active, read),
        ("GET", "/api/v1/transitions"): (TransitionEndpoint(service.reader, place).get, read),
        ("GET", "/api/v1/audit"): (audits.get, read),
        ("GET", "/api/v1/events"): (events_of(service), read),
        ("GET", "/api/openapi.json"): (openapi_of(service), read),
        ("GET", "/metrics"): (ScrapeEndpoint(service.exposition).get, Access.check_metrics),
        ("GET", "/-/healthy"): (management.healthy, Access.check_nothing),
        ("GET", "/-/ready"): (management.ready, Access.check_nothing),
        ("POST", "/-/reload"): (management.reload, change),
    }
    runbooks, heatmaps = RunbookPages(), Heatmaps(place, service.reader, lambda: service.settings.config)

    def may_restart(request: Request) -> bool:
        """Whether the reader of a page may press its button."""
        return access().may_restart(caller_of(request.scope))

    session_page = SessionPage(ingest, watch, service.hub, service.reader, runbooks, may_restart).get
    standings = Standings(fleet, watch, service.telemetry)
    pages = {
        "/": FleetPage(fleet, groups, heatmaps, service.hub, standings, lambda: service.health.unready).get,
        "/audit": AuditPage(fleet, audits).get,
        "/runbooks": runbooks.all,
        "/runbooks/{alert:name}": runbooks.get,
        "/sessions/{source}/{session:name}": session_page,
        "/sessions/{source}": session_page,  # ?session=, for what a path cannot hold
    }

    def guarded(method: str, path: str, endpoint: Endpoint, check: Check) -> Route:
        """A route that first asks whether the caller may."""

        async def guard(request: Request) -> Response:
            caller = caller_of(request.scope)
            caller.check_host()
            check(access(), caller)
            if check is not Access.check_nothing:
                await service.jobs.awaken()
            return await endpoint(request)

        return Route(path, guard, methods=[method])

    routes = [
        *(guarded(each.method, each.path, *bound[each.method, each.path]) for each in OPERATIONS),
        *(guarded("GET", path, page, read) for path, page in pages.items()),
        Route("/static/{name}", Assets().get),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)  # type: ignore[arg-type]  # handlers of subclasses
    return Mounted(app, lambda: service.settings.config)


def events_of(service: Service) -> Endpoint:
    """Each transition as it happens."""

    async def events(request: Request) -> Response:
        return service.hub.open(request)

    return events


def openapi_of(service: Service) -> Endpoint:
    """What is answered here, as an OpenAPI document."""

    async def openapi(_request: Request) -> Response:
        url = service.settings.config.web.external_url
        return JSON({**DOCUMENT, "servers": [{"url": url}]} if url else DOCUMENT)

    return openapi


class NameConvertor(Convertor[str]):
    """A session's name in a path: anything at all, slashes and newlines included."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("name", NameConvertor())
