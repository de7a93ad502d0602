"""The listeners of a service, which are started, reloaded and stopped together."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import structlog

from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import ListenError, describe
from wawp_exporter.service.service import Service
from wawp_exporter.web.crowd import connection_limit
from wawp_exporter.web.face import Face
from wawp_exporter.web.listener import address_of, bind, make_server
from wawp_exporter.web.tls import Certificate, load_pair

logger = structlog.get_logger()
Started = Callable[["Front", list[str]], None]


class Front:
    """The listeners of one service, and the certificate that they share. Raises ListenError."""

    def __init__(self, service: Service) -> None:
        self.service = service
        web = service.settings.config.web
        self.certificate = Certificate(load_pair(web.tls)) if web.tls.cert_file else None
        self.faces = [Face(service, web.listen, webhooks=not web.ingress_listen, others=True)]
        if web.ingress_listen:
            self.faces.append(Face(service, web.ingress_listen, webhooks=True, others=False))
        limit = connection_limit(len(self.faces))
        self.servers = [make_server(face, self.certificate, limit) for face in self.faces]

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Reads what a new configuration lets in; what is returned puts it in force. Raises ListenError."""
        pair = load_pair(settings.config.web.tls) if self.certificate else None
        admissions = [face.make_admission(settings) for face in self.faces]

        def apply() -> None:
            for face, admission in zip(self.faces, admissions, strict=True):
                face.admission = admission
            if self.certificate and pair:
                self.certificate.current = pair

        return apply

    async def run(self, sockets: list[socket.socket], started: Started, until: asyncio.Event) -> BaseException | None:
        """Serves on the bound sockets until `until` is set or a listener ends; open requests are answered.

        Returns what a listener ended with, if it did not end well.
        """
        running = [
            asyncio.create_task(server.serve([bound])) for server, bound in zip(self.servers, sockets, strict=True)
        ]
        started(self, [address_of(bound) for bound in sockets])
        stopped = asyncio.create_task(until.wait())
        await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for server in self.servers:
            server.should_exit = True
        await self.service.wind_down()
        ended = await asyncio.gather(*running, return_exceptions=True)
        return next((each for each in ended if isinstance(each, BaseException)), None)


async def serve(settings: Settings, config_path: Path | None, started: Started, until: asyncio.Event) -> None:
    """Runs a service until `until` is set, then stops it gracefully. Raises ListenError, LogError.

    `started` is called with its front and the addresses as bound, once it answers.
    """
    async with anyio.create_task_group():
        pass  # anyio reads its modules from the disk when they are first used: later no file descriptor may be left
    web = settings.config.web
    sockets = [bind(web.listen)] + ([bind(web.ingress_listen)] if web.ingress_listen else [])
    failed = None
    try:
        front = make_front(settings, config_path)
        try:
            await start(front.service, until)
        except BaseException:
            front.service.log.close()
            raise
        if not until.is_set():
            failed = await front.run(sockets, started, until)
    finally:
        for bound in sockets:
            bound.close()
    await front.service.stop()
    if failed:
        raise ListenError(f"a listener has ended ({describe(failed)}), so the service was stopped")
    logger.info("stopped")


def make_front(settings: Settings, config_path: Path | None) -> Front:
    """A service and its listeners. Raises ListenError, LogError."""
    service = Service(settings, config_path)
    try:
        service.reloader.front = front = Front(service)
    except BaseException:
        service.log.close()
        raise
    return front


async def start(service: Service, until: asyncio.Event) -> None:
    """Starts a service, unless `until` is set meanwhile."""
    starting, stopped = asyncio.create_task(service.start()), asyncio.create_task(until.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    starting.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled():
        starting.result()
