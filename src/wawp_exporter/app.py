"""Routes and lifespan: the parts wired together, in one place."""

import asyncio
import codecs
import contextlib
import errno
import gc
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401 - the first long answer imports it, which takes a file descriptor
import structlog
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Match, Route

from wawp_exporter import logs
from wawp_exporter.access import Access, caller_of
from wawp_exporter.api import JSON, Api, Check, Endpoint
from wawp_exporter.assets import Assets
from wawp_exporter.audit import patterns
from wawp_exporter.config import Settings, load
from wawp_exporter.crowd import connection_limit
from wawp_exporter.database import place_of
from wawp_exporter.errors import (
    ConfigError,
    Forbidden,
    ListenError,
    LogError,
    NotFound,
    Refusal,
    TooBusy,
    TooLarge,
    WawpExporterError,
)
from wawp_exporter.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition, negotiate
from wawp_exporter.fleet import Fleet, Key, Rules, Session
from wawp_exporter.follow import Follower
from wawp_exporter.ingest import Ingest, describe, refill, restore, unix_now
from wawp_exporter.listener import Server, address_of, bind, make_server
from wawp_exporter.log import Log, Restored
from wawp_exporter.machine import Transition
from wawp_exporter.openapi import document
from wawp_exporter.operations import OPERATIONS, SESSION, WEBHOOKS
from wawp_exporter.pages import Pages
from wawp_exporter.reader import Reader
from wawp_exporter.reconcile import Watch
from wawp_exporter.recovery import Recoveries, recoveries, recovery_of
from wawp_exporter.remedy import Remedies, parse
from wawp_exporter.retention import LEASE, LEASE_S
from wawp_exporter.stream import Hub
from wawp_exporter.telemetry import Telemetry
from wawp_exporter.tls import Certificate, load_pair
from wawp_exporter.upkeep import Job, Upkeep
from wawp_exporter.webhook import Receive, Scope, Send, Webhook

OUTAGE_MS = 45_000  # heartbeat interval (15 s) plus retry window of senders (30 s)
MAX_NOTIFICATION_BYTES = 4 << 20
HOUR_S = 3600
STUCK_S = 30  # until a write that does not end makes the service unready
REFRESH_PAGES = 8  # pages rendered before others get their turn
AWAKEN = 256  # sessions made before others get their turn

DOCUMENT = document([*OPERATIONS, *WEBHOOKS])

logger = structlog.get_logger()
Started = Callable[["Service", list[str]], None]


class Service:
    """The running exporter: its parts, its upkeep, and what a reload replaces."""

    def __init__(self, settings: Settings, config_path: Path | None = None) -> None:
        self.settings = settings
        self.config_path = config_path
        self.telemetry = Telemetry()
        self.fleet = Fleet(Rules(settings.config))
        shard = settings.config.shard
        self.log = Log(place_of(settings.config.database.url), (shard.ordinal, shard.total))
        self.ingest = Ingest(self.fleet, self.log, self.telemetry)
        self.exposition = Exposition(self.fleet, self.telemetry)
        self.reader = Reader()
        self.recoveries = Recoveries()
        self.hub = Hub(self.fleet, self.log.place, self.reader)
        self.fleet.on_transition = self._heard
        self.fleet.on_forget = self.hub.deleted
        self.follower: Follower | None = None
        self.watch = Watch(self.ingest, self.telemetry)
        self.hub.ready = self.watch.ready
        self.remedies = self._make_remedies(settings)
        self.oldest_event = 0
        self.log_bytes = 0
        self._reloading = asyncio.Lock()
        self._began = unix_now()
        self._learned = False
        self._stopping = False
        self._stale: set[Key] = set()  # stopped for so long that they are to be forgotten
        self.faces: list[Face] = []
        self.certificate: Certificate | None = None
        self.upkeep = Upkeep(self._jobs(), self.telemetry)
        self._register()
        self._loaded(settings)

    def _jobs(self) -> list[Job]:
        """All that is done again and again: name, period and first time in seconds, and what it is."""
        shared = [Job("share", 5, 5, self.ingest.tell)] if self.log.shared else []
        return [
            Job("time", 1, 1, self._advance),
            Job("forget", 1, 1, self._forget_stale),
            Job("save", 5, 5, self.ingest.save),
            *shared,
            Job("beat", 15, 1, self.ingest.beat),
            Job("restarts", 15, 15, self.remedies.settle),
            Job("look", 60, 60, self._look),
            Job("learn", HOUR_S, 1, self._learn),
            Job("purge", HOUR_S, 1, self._purge),
        ]

    def _make_remedies(self, settings: Settings) -> Remedies:
        return Remedies(settings.config.remedy, lambda: self.watch.gateways, self.ingest, self.telemetry)

    def _register(self) -> None:
        """The gauges that are read off the parts at each scrape."""
        read = self.telemetry.read
        read("wawp_exporter_queue_depth", "Events that wait to be appended.", lambda: self.ingest.depth)
        read("wawp_exporter_log_size_bytes", "Bytes that the log takes on disk.", self._size)
        if self.log.shared:
            read(
                "wawp_exporter_log_follow_lag_seconds",
                "For how long this replica has not been known to hold all of the log.",
                lambda: self.follower.lag if self.follower else 0,
            )
        else:
            log = self.log
            read("wawp_exporter_log_free_bytes", "Bytes that are left for the log.", lambda: log.free_bytes() or 0)
            read("wawp_exporter_log_disk_bytes", "Bytes of the disk under the log.", lambda: log.disk_bytes() or 0)
        read(
            "wawp_exporter_log_oldest_event_timestamp_seconds",
            "When the oldest logged event was received (Unix seconds), 0 for an empty log.",
            lambda: self.oldest_event / 1000,
        )
        read("wawp_exporter_time_seconds", "The exporter's clock (Unix seconds).", time.time)

    def _size(self) -> int:
        # A scrape must not wait for another machine.
        return self.log_bytes if self.log.shared else self.log.size_bytes()

    def _heard(self, session: Session, transition: Transition, seq: int) -> None:
        """What the parts learn from each transition as it is applied."""
        self.hub.transition(session, transition, seq)
        recovery = recovery_of(transition)
        if recovery:
            self.recoveries.add(session.engine, *recovery, transition.after.since)

    def _loaded(self, settings: Settings) -> None:
        """Marks a configuration as the one in force."""
        self.settings = settings
        self.telemetry.keep_sources(settings.config.sources)
        self.telemetry.reload_ok.set(1)
        self.telemetry.reload_time.set_to_current_time()

    async def start(self) -> None:
        """Restores the fleet from the log and begins the upkeep."""
        await self.ingest.prepare()
        restored = self._restore()
        if self.log.shared:
            self.follower = Follower(self.ingest, restored)
        await self.remedies.conclude_cut_off(starting=True)
        last_seen = await asyncio.to_thread(self.log.last_seen)
        # Senders have given up by then; what they sent meanwhile is lost.
        confirmed = not last_seen or unix_now() - last_seen < OUTAGE_MS
        await self.watch.configure(self.settings, confirmed=confirmed)
        await self._look()
        self.upkeep.start()
        self.upkeep.spawn("warm", self._warm)

    def _restore(self) -> Restored:
        started = time.perf_counter()
        restored = restore(self.fleet, self.log, list(self.settings.config.sources))
        self.ingest.restored(restored.mark)
        self.hub.newest = restored.seq
        took = round(time.perf_counter() - started, 3)
        logger.info("log restored", sessions=len(self.fleet.sessions) + len(self.fleet.dormant), seconds=took)
        return restored

    async def wind_down(self) -> None:
        """Ends what would keep requests open: streams, restarts, waits for a gateway, reports. Webhooks go on."""
        self._stopping = True
        self.hub.close()
        self.reader.close()
        # While the gateways can be asked.
        await self.remedies.close()
        async with self._reloading:  # a reload that has begun may still make some
            await self.watch.close()

    async def stop(self) -> None:
        """Ends the upkeep, finishes what is under way, saves and closes the log."""
        await self.upkeep.close()
        await self.wind_down()
        if self.follower:
            await self.follower.close()
        await self.ingest.close()
        self.log.close()

    @property
    def ready(self) -> bool:
        """Whether nothing is against it; the log is replayed before anything listens."""
        return not self.unready

    @property
    def unready(self) -> str:
        """Why what is told here cannot be relied on, "" if it can."""
        if not self.ingest.healthy:
            return "the event log cannot be written"
        # A small write: the writer stands still if it takes this long, and refuses nothing meanwhile.
        if self.upkeep.running_for("beat") > STUCK_S:
            return f"the event log has not answered for {STUCK_S} s"
        if self.follower and not self.follower.ready:
            return "the event log cannot be followed: what is told here is old"
        return ""

    @property
    def ended(self) -> list[str]:
        """What should go on for ever, and has ended: only a new process brings it back."""
        if self._stopping:
            return []
        parts = {"upkeep": not self.upkeep.alive, "following the log": bool(self.follower and self.follower.ended)}
        return [name for name, over in parts.items() if over] + [f"gateway of {name}" for name in self.watch.ended]

    async def reload(self) -> None:
        """Reads the configuration again; a bad one is refused: ConfigError, ListenError, LogError. TooBusy in a stop.

        All of it takes effect, or nothing. One after another: the last that was asked for has the last word.
        """
        async with self._reloading:
            if self._stopping:
                raise TooBusy("the exporter is stopping, the configuration is not read any more")
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one goes on
                raise self._refused(error) from None
        logger.info("configuration loaded")

    def _refused(self, error: Exception) -> WawpExporterError:
        """Counts and logs a refused configuration; what nobody has foreseen is named by its type only."""
        self.telemetry.reload_ok.set(0)
        if not isinstance(error, WawpExporterError):
            error = ConfigError([f"the configuration cannot be read: {type(error).__name__}, expected readable files"])
        logger.error("configuration refused, the old one stays", mistakes=str(error).splitlines())
        return error

    async def _reload(self) -> None:
        settings = await asyncio.to_thread(load, self.config_path)
        self._refuse_rebind(settings)
        pair = load_pair(settings.config.web.tls) if self.certificate else None
        rules = Rules(settings.config)
        admissions = [face.make_admission(settings) for face in self.faces]
        # What leaves the fleet must be kept first: it comes back from the log when its source does.
        await self.ingest.save()
        added = sorted(set(settings.config.sources) - set(self.settings.config.sources))
        # What is restored and what is folded must meet at one place of the log.
        async with self.follower.folding if self.follower and added else contextlib.nullcontext():
            restored = await asyncio.to_thread(self.log.restore, added) if added else None
            await self.watch.configure(settings)
            # From here on nothing waits and nothing can fail: no webhook meets one half of it.
            logs.configure(settings.config.log.level, settings.config.log.format)
            self.fleet.reconfigure(rules, unix_now(), time.monotonic())
            if restored:
                refill(self.fleet, restored)
            self._loaded(settings)
            self.remedies.configure(settings.config.remedy)
            for face, made in zip(self.faces, admissions, strict=True):
                face.admission = made
            if self.certificate and pair:
                self.certificate.current = pair
        if restored:
            self.upkeep.spawn("warm", self._warm)
        self.upkeep.spawn("look", self._look)  # there may be room for more names now

    def _refuse_rebind(self, settings: Settings) -> None:
        """What only a restart can change must not be taken as changed."""
        old, new = self.settings.config, settings.config
        fixed = {
            "web.listen": (old.web.listen, new.web.listen),
            "web.ingress_listen": (old.web.ingress_listen, new.web.ingress_listen),
            "web.tls": (bool(old.web.tls.cert_file), bool(new.web.tls.cert_file)),
            "database.url": (old.database.url, new.database.url),
            "shard": (old.shard, new.shard),
        }
        changed = [f"{key}: changed, expected the old value until a restart" for key, (a, b) in fixed.items() if a != b]
        if changed:
            raise ConfigError(changed)

    async def _advance(self) -> None:
        """Lets time pass in the fleet, and says how many log lines were left out."""
        logs.tell_left_out()
        self._stale.update(self.fleet.advance(unix_now(), time.monotonic()))

    async def _warm(self) -> None:
        """Awakens and renders what was restored, so that the first scrape need not."""
        # Nothing of what is made here is garbage, and looking for some would hold up webhooks.
        gc.disable()
        try:
            await self.awaken()
            while self.exposition.refresh(unix_now(), REFRESH_PAGES):  # noqa: ASYNC110 - work in slices, not waiting
                await asyncio.sleep(0)
            gc.freeze()
        finally:
            gc.enable()

    async def awaken(self) -> None:
        """Returns when no session is dormant; webhooks get their turn meanwhile."""
        while self.fleet.awaken(AWAKEN, unix_now(), time.monotonic()):  # noqa: ASYNC110 - work in slices, not waiting
            await asyncio.sleep(0)

    async def _forget_stale(self) -> None:
        """Forgets sessions that were stopped for long; what the log refuses is tried again when the fleet says so."""
        stale, self._stale = self._stale, set()
        for key in stale:
            try:
                await self.ingest.forget(key)
            except Refusal:
                logger.warning("stopped session not forgotten yet, the log cannot be written")

    async def _look(self) -> None:
        """Looks up what a scrape must not wait for."""
        try:
            self.oldest_event = await asyncio.to_thread(self.log.oldest_event)
            await self.ingest.admit()
            if self.log.shared:
                self.log_bytes = await asyncio.to_thread(self.log.size_bytes)
        except LogError as error:
            logger.error("log not readable", error=describe(error))

    async def _learn(self) -> None:
        """Looks in the log for what recurs weekly and, once, for how long recoveries took."""
        now, config, place = unix_now(), self.settings.config, self.log.place
        try:
            if not self._learned:
                for each in await self.reader.background(recoveries, place, now, self._began):
                    self.recoveries.add(*each)
                self._learned = True
            self.fleet.recur(await self.reader.background(patterns, place, config, now))
        except LogError as error:
            if not self._stopping:
                logger.error("log not readable", error=describe(error))
        except TooBusy:
            return  # the service stops, or the log is too large to be read within the limit

    async def _purge(self) -> None:
        await self.ingest.prepare()
        before = unix_now() - int(self.settings.config.database.retention * 1000)
        try:
            if not await self.ingest.lease(LEASE, LEASE_S):
                await self.ingest.forget_tombstones(before)
                return
            count = await self.ingest.purge(before)
            await self.ingest.purge_names(before)
            await self.ingest.forget_tombstones(before)
        except LogError as error:
            logger.error("old events not purged", error=describe(error))
        else:
            logger.info("old events purged", events=count)
        await self.remedies.conclude_cut_off()
        await self._look()


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
        self.server: Server | None = None
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
        try:
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


async def serve(settings: Settings, config_path: Path | None, started: Started, until: asyncio.Event) -> None:
    """Runs the service until `until` is set, then stops it gracefully. Raises ListenError, LogError.

    `started` is called with the service and the addresses as bound, once it answers.
    """
    web = settings.config.web
    sockets = [bind(web.listen)] + ([bind(web.ingress_listen)] if web.ingress_listen else [])
    failed = None
    try:
        service = make_service(settings, config_path)
        try:
            await start(service, until)
        except BaseException:
            service.log.close()
            raise
        if not until.is_set():
            failed = await run(service, sockets, started, until)
    finally:
        for bound in sockets:
            bound.close()
    await service.stop()
    if failed:
        raise ListenError(f"a listener has ended ({describe(failed)}), so the service was stopped")
    logger.info("stopped")


def make_service(settings: Settings, config_path: Path | None) -> Service:
    """The service and its listeners. Raises ListenError, LogError."""
    web = settings.config.web
    certificate = Certificate(load_pair(web.tls)) if web.tls.cert_file else None
    service = Service(settings, config_path)
    service.certificate = certificate
    service.faces = [Face(service, web.listen, webhooks=not web.ingress_listen, others=True)]
    if web.ingress_listen:
        service.faces.append(Face(service, web.ingress_listen, webhooks=True, others=False))
    for face in service.faces:
        face.server = make_server(face, certificate, connection_limit(len(service.faces)))
    return service


async def start(service: Service, until: asyncio.Event) -> None:
    """Starts the service, unless `until` is set meanwhile."""
    starting, stopped = asyncio.create_task(service.start()), asyncio.create_task(until.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    starting.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled():
        starting.result()


async def run(
    service: Service, sockets: list[socket.socket], started: Started, until: asyncio.Event
) -> BaseException | None:
    """Serves on the bound sockets until `until` is set or a listener ends; open requests are answered.

    Returns what a listener ended with, if it did not end well.
    """
    running = []
    for face, bound in zip(service.faces, sockets, strict=True):
        assert face.server  # noqa: S101 - made by the caller
        running.append(asyncio.create_task(face.server.serve([bound])))
    started(service, [address_of(bound) for bound in sockets])
    stopped = asyncio.create_task(until.wait())
    await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for face in service.faces:
        if face.server:
            face.server.should_exit = True
    await service.wind_down()
    ended = await asyncio.gather(*running, return_exceptions=True)
    return next((each for each in ended if isinstance(each, BaseException)), None)
