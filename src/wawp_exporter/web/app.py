"""Routes and lifespan: the parts wired together, in one place."""

import asyncio
import codecs
import errno
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Match, Route

from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import (
    ConfigError,
    Forbidden,
    ListenError,
    LogError,
    NotFound,
    Refusal,
    TooBusy,
    TooLarge,
    describe,
)
from wawp_exporter.gateways.restarts import parse
from wawp_exporter.live.clock import unix_now
from wawp_exporter.metrics.exposition import OPENMETRICS_TYPE, REFRESH_PAGES, TEXT_TYPE, Exposition, negotiate
from wawp_exporter.service import Service
from wawp_exporter.web.access import Access, caller_of
from wawp_exporter.web.api import JSON, Api, Check, Endpoint
from wawp_exporter.web.assets import Assets
from wawp_exporter.web.openapi import document
from wawp_exporter.web.operations import OPERATIONS, SESSION, WEBHOOKS
from wawp_exporter.web.pages import Pages
from wawp_exporter.web.webhook import Receive, Scope, Send, Webhook

MAX_NOTIFICATION_BYTES = 4 << 20
MAX_RELOADS = 4  # requests for one at once: one runs, the others wait for it

DOCUMENT = document([*OPERATIONS, *WEBHOOKS])

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Admission:
    """What one configuration lets in on one listener: replaced as a whole by a reload."""

    access: Access
    webhook: Webhook


class Face:
    """What answers on one listener: webhooks, everything else, or both."""

    def __init__(self, service: Service, listen: str, *, webhooks: bool, others: bool) -> None:
        self.service = service
        self.listen = listen
        self.webhooks = webhooks
        self.admission = self.make_admission(service.settings)
        self._others = make_app(service, self) if others else None

    def make_admission(self, settings: Settings) -> "Admission":
        """What the keys, tokens and sources of a configuration let in."""
        service, access = self.service, Access(settings, self.listen)
        return Admission(access, Webhook(settings, access, service.ingest, service.fleet, service.telemetry))

    def webhook_at(self, path: bytes) -> Webhook | None:
        """The intake, if it is what answers at `path` here."""
        if self.webhooks and (path == b"/webhook" or path.startswith(b"/webhook/")):
            return self.admission.webhook
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the listener."""
        webhook = self.webhook_at(scope["raw_path"])
        if webhook:
            await webhook(scope, receive, send)
        elif self._others:
            await self._others(scope, receive, send)
        else:
            await JSONResponse({"error": "nothing but webhooks is answered here"}, 404)(scope, receive, send)


class Endpoints:
    """What answers beside webhooks and the API."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._reloads = asyncio.Semaphore(MAX_RELOADS)

    async def openapi(self, _request: Request) -> Response:
        """What is answered here, as an OpenAPI document."""
        url = self.service.settings.config.web.external_url
        return JSON({**DOCUMENT, "servers": [{"url": url}]} if url else DOCUMENT)

    async def events(self, request: Request) -> Response:
        """Each transition as it happens."""
        return self.service.hub.open(request)

    async def alertmanager(self, request: Request) -> Response:
        """Restarts of stuck sessions, where they are configured."""
        remedies = self.service.remedies
        if not remedies.remedy.alerts:
            raise NotFound("nothing is restarted here, expected remedy.alerts to be configured")
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_NOTIFICATION_BYTES:
                raise TooLarge(f"the body is over {MAX_NOTIFICATION_BYTES} bytes")
        return JSON(await remedies.take(parse(body.removeprefix(codecs.BOM_UTF8))))

    async def healthy(self, _request: Request) -> Response:
        """The process answers, and nothing in it has ended that only a restart brings back."""
        ended = self.service.ended
        if ended:
            return JSONResponse({"error": f"{', '.join(ended)}: has ended, expected the process to be restarted"}, 503)
        return PlainTextResponse("wawp-exporter is healthy.\n")

    async def ready(self, _request: Request) -> Response:
        """The log is replayed and was writable when last tried."""
        problem = self.service.unready
        return JSONResponse({"error": problem}, 503) if problem else PlainTextResponse("wawp-exporter is ready.\n")

    async def metrics(self, request: Request) -> Response:
        """The exposition, in the format and encoding asked for."""
        is_openmetrics = negotiate(request.headers.get("accept", ""))
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Content-Type": OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE, "Vary": "Accept, Accept-Encoding"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return StreamingResponse(scrape(self.service.exposition, is_openmetrics, gzip), headers=headers)

    async def reload(self, _request: Request) -> Response:
        """Reads the configuration again."""
        if not self.service.settings.config.web.enable_lifecycle:
            raise Forbidden("reloading over HTTP is off, expected web.enable_lifecycle: true (SIGHUP always reloads)")
        if self._reloads.locked():
            raise TooBusy(f"{MAX_RELOADS} callers wait for a reload, which is the limit; try again")
        try:
            async with self._reloads:
                await self.service.reload()
        except (ConfigError, ListenError) as error:
            return JSONResponse({"error": "; ".join(str(error).splitlines())}, 400)
        return JSONResponse({"reloaded": True})


def make_app(service: Service, face: Face) -> Starlette:
    """Everything but webhooks, as plain Starlette."""
    endpoints = Endpoints(service)
    api = Api(service.fleet, service.ingest, service.recoveries, service.reader, service.watch)
    pages = Pages(service.fleet, api, service.hub)
    read, change = Access.check_read, Access.check_change
    bound: dict[tuple[str, str], tuple[Endpoint, Check]] = {
        ("GET", "/api/v1/sessions"): (api.sessions, read),
        ("GET", f"{SESSION}/ready"): (api.ready, read),
        ("GET", f"{SESSION}/qr"): (api.qr, Access.check_qr),
        ("POST", "/alertmanager"): (endpoints.alertmanager, Access.check_remedy),
        ("GET", SESSION): (api.session, read),
        ("DELETE", SESSION): (api.delete, change),
        ("GET", "/api/v1/groups"): (api.groups, read),
        ("GET", "/api/v1/groups/{group:name}/active"): (api.active, read),
        ("GET", "/api/v1/transitions"): (api.transitions, read),
        ("GET", "/api/v1/audit"): (api.audit, read),
        ("GET", "/api/v1/events"): (endpoints.events, read),
        ("GET", "/api/openapi.json"): (endpoints.openapi, read),
        ("GET", "/metrics"): (endpoints.metrics, Access.check_metrics),
        ("GET", "/-/healthy"): (endpoints.healthy, Access.check_nothing),
        ("GET", "/-/ready"): (endpoints.ready, Access.check_nothing),
        ("POST", "/-/reload"): (endpoints.reload, change),
    }
    routes = [
        *(guarded(face, each.method, each.path, *bound[each.method, each.path]) for each in OPERATIONS),
        guarded(face, "GET", "/", pages.fleet, read),
        guarded(face, "GET", "/audit", pages.audit, read),
        guarded(face, "GET", "/sessions/{source}/{session:name}", pages.session, read),
        guarded(face, "GET", "/sessions/{source}", pages.session, read),  # ?session=, for what a path cannot hold
        Route("/static/{name}", Assets().get),
    ]
    handlers = {
        Refusal: refused,
        LogError: unreadable,
        HTTPException: failed,
        ClientDisconnect: left,
        OSError: exhausted,
        Exception: broken,
    }
    return Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]  # handlers of subclasses


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


def guarded(face: Face, method: str, path: str, endpoint: Endpoint, check: Check) -> Route:
    """A route that asks the face's access first; a reload may have replaced it since the route was made."""

    async def guard(request: Request) -> Response:
        caller = caller_of(request.scope)
        caller.check_host()
        check(face.admission.access, caller)
        if check is not Access.check_nothing:
            await face.service.awaken()
        return await endpoint(request)

    return Route(path, guard, methods=[method])


async def refused(_request: Request, error: Refusal) -> Response:
    """A refusal in the one shape of errors."""
    return JSONResponse({"error": error.message}, error.status, headers=dict(error.headers))


async def unreadable(_request: Request, error: LogError) -> Response:
    """The log could not be read; what the system said of it, which holds no data, goes to the log."""
    logger.error("log not readable", error=describe(error))
    return JSONResponse({"error": "the event log cannot be read, try again"}, 503, headers={"Retry-After": "5"})


async def left(_request: Request, _error: ClientDisconnect) -> Response:
    """The caller went away before its request was whole: nobody reads this."""
    return Response(status_code=400)


async def exhausted(_request: Request, error: OSError) -> Response:
    """The system has no file descriptor or no memory to spare: that passes. Anything else is a defect."""
    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        raise error
    logger.error("request failed", error=describe(error), reason=os.strerror(error.errno))
    answer = {"error": "the system has no file descriptors or no memory left for this, try again"}
    return JSONResponse(answer, 503, headers={"Retry-After": "5"})


async def failed(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals in the same shape."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Several routes may share the path, and Starlette names the methods of the first.
        there = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers["Allow"] = ", ".join(sorted({method for route in there for method in getattr(route, "methods", ())}))
    return JSONResponse({"error": error.detail.lower()}, error.status_code, headers=headers)


async def broken(_request: Request, error: Exception) -> Response:
    """A defect: its kind goes to the log, nothing of it to the caller."""
    logger.error("request failed", error=type(error).__name__)
    return JSONResponse({"error": "internal error"}, 500)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding asks for gzip, `gzip;q=0` being a no."""
    for item in header.lower().split(","):
        name, _, quality = item.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def scrape(exposition: Exposition, is_openmetrics: bool, gzip: bool) -> AsyncIterator[bytes]:
    """The exposition piece by piece; webhooks get their turn between the pieces."""
    while exposition.refresh(unix_now(), REFRESH_PAGES):  # noqa: ASYNC110 - work in slices, not waiting
        await asyncio.sleep(0)
    for piece in exposition.scrape(is_openmetrics, gzip, unix_now(), time.monotonic()):
        if piece:
            yield piece
            await asyncio.sleep(0)
