"""`wawp-exporter serve`: the service under its signals, from the start to a graceful stop."""

import asyncio
import contextlib
import gc
import sys
from pathlib import Path

import click
import structlog
import uvloop

from wawp_exporter import __version__
from wawp_exporter.commands.signals import Signals
from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import WawpExporterError
from wawp_exporter.service.service import Service
from wawp_exporter.web.front import Front, serve

EXAMPLE = '{"event":"session.status","session":"demo","engine":"GOWS","payload":{"status":"WORKING"}}'
# Each scrape allocates much and frees it at once; the default of 700 would look at every session several times.
GC_THRESHOLDS = (20_000, 50, 100)

logger = structlog.get_logger()


def run(settings: Settings, config_path: Path | None, signals: Signals) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError, ListenError, LogError."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Attended(settings, config_path, signals).serve())


class Attended:
    """A service that does what signals ask for: a first stop is graceful, a second one does not wait for open requests.

    SIGHUP reloads; what is asked for while the service starts is done when it has started.
    """

    def __init__(self, settings: Settings, config_path: Path | None, signals: Signals) -> None:
        self.settings = settings
        self.config_path = config_path
        self.signals = signals
        self.front: Front | None = None
        self.until = asyncio.Event()
        self._reloading: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Returns when the service has stopped."""
        loop = asyncio.get_running_loop()
        self.signals.listen(lambda: loop.call_soon_threadsafe(self.act))
        self.act()
        try:
            await serve(self.settings, self.config_path, self._started, self.until)
        finally:
            self.signals.listen(None)

    def _started(self, front: Front, addresses: list[str]) -> None:
        self.front = front
        announce(front.service.settings, addresses)
        self.act()

    def act(self) -> None:
        """Does what signals have asked for so far."""
        if self.signals.stops:
            self.until.set()
        if self.front is None:
            return
        for server in self.front.servers:
            server.force_exit = self.signals.stops > 1
        if not self.until.is_set() and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(self._reload(self.front.service))

    async def _reload(self, service: Service) -> None:
        """A refused configuration is logged and shown in the metric by the service itself."""
        while self.signals.take_reload() and not self.until.is_set():
            with contextlib.suppress(WawpExporterError):
                await service.reload()


def announce(settings: Settings, addresses: list[str]) -> None:
    """Logs and prints the addresses, and logs which sources accept unsigned webhooks."""
    scheme = "https" if settings.config.web.tls.cert_file else "http"
    page, ingress = f"{scheme}://{addresses[0]}", f"{scheme}://{addresses[-1]}"
    logger.info("listening", page=page, webhook=f"{ingress}/webhook", version=__version__)
    for name, source in settings.config.sources.items():
        if not source.authenticated:
            whence = "anywhere" if source.allow_unsigned else "this machine only"
            logger.warning("unsigned webhooks are accepted", source=name, **{"from": whence})
    with contextlib.suppress(OSError):  # standard output may be closed
        show_addresses(settings, page, ingress)


def show_addresses(settings: Settings, page: str, ingress: str) -> None:
    """Prints the addresses and an example on standard output."""
    click.echo(f"Fleet page       {settings.config.web.external_url or page}/")
    click.echo(f"Metrics          {page}/metrics")
    first = next(iter(settings.config.sources.items()))
    if not first[1].authenticated:
        path = "/webhook" if first[0] == "default" else f"/webhook/{first[0]}"
        curl = "curl -k" if ingress.startswith("https:") else "curl"
        click.echo(f"First webhook    {curl} -d '{EXAMPLE}' {ingress}{path}")
    sys.stdout.flush()
