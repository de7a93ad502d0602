"""The commands."""

import asyncio
import contextlib
import gc
import importlib
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click
import structlog
import uvloop

from wawp_exporter import __version__, logs
from wawp_exporter.app import Service, serve
from wawp_exporter.config import Settings, load
from wawp_exporter.errors import ConfigError, ListenError, LogError, WawpExporterError

EXAMPLE = '{"event":"session.status","session":"demo","engine":"GOWS","payload":{"status":"WORKING"}}'
# Each scrape allocates much and frees it at once; the default of 700 would look at every session several times.
GC_THRESHOLDS = (20_000, 50, 100)

LAZY = {
    "audit": "wawp_exporter.audit_command",
    "migrate-log": "wawp_exporter.transfer_command",
    "simulate": "wawp_exporter.simulate_command",
}

logger = structlog.get_logger()


class Commands(click.Group):
    """Commands whose modules are imported only when they are asked for: a service needs no HTTP client."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted([*super().list_commands(ctx), *LAZY])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name not in LAZY:
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(LAZY[cmd_name]).command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wawp-exporter", message="%(prog)s %(version)s")
def main() -> None:
    """Prometheus exporter and alerting sidecar for WhatsApp sessions (Wawp and WAHA)."""


@main.command("serve")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WAWP_EXPORTER_CONFIG",
    help="YAML file; without it everything has its default.",
)
def serve_command(config_path: Path | None) -> None:
    """Run the service."""
    settings = load_or_exit(config_path)
    logs.configure(settings.config.log.level, settings.config.log.format)
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_until_signal(settings, config_path))
    except (ListenError, LogError) as error:
        stop_with(error)


async def serve_until_signal(settings: Settings, config_path: Path | None) -> None:
    """Serves until SIGTERM or SIGINT; a second one does not wait for open requests. SIGHUP reloads."""
    until = asyncio.Event()
    loop = asyncio.get_running_loop()

    def started(service: Service, addresses: list[str]) -> None:
        loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(reload(service)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, service, until)
        announce(service.settings, addresses)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    await serve(settings, config_path, started, until)


def stop(service: Service, until: asyncio.Event) -> None:
    """Asks for a graceful stop; asked again, the servers stop waiting for open requests."""
    if until.is_set():
        for face in service.faces:
            if face.server:
                face.server.force_exit = True
    until.set()


async def reload(service: Service) -> None:
    """SIGHUP: a refused configuration is logged and shown in the metric by the service itself."""
    with contextlib.suppress(ConfigError, ListenError, LogError):
        await service.reload()


def announce(settings: Settings, addresses: list[str]) -> None:
    """Says where things are, and what is accepted without proof."""
    scheme = "https" if settings.config.web.tls.cert_file else "http"
    page, ingress = f"{scheme}://{addresses[0]}", f"{scheme}://{addresses[-1]}"
    logger.info("listening", page=page, webhook=f"{ingress}/webhook", version=__version__)
    for name, source in settings.config.sources.items():
        if not source.authenticated:
            whence = "anywhere" if source.allow_unsigned else "this machine only"
            logger.warning("unsigned webhooks are accepted", source=name, **{"from": whence})
    click.echo(f"Fleet page       {page}/")
    click.echo(f"Metrics          {page}/metrics")
    first = next(iter(settings.config.sources.items()))
    if not first[1].authenticated:
        path = "/webhook" if first[0] == "default" else f"/webhook/{first[0]}"
        curl = "curl -k" if scheme == "https" else "curl"
        click.echo(f"First webhook    {curl} -d '{EXAMPLE}' {ingress}{path}")
    sys.stdout.flush()


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check_config_command(file: Path) -> None:
    """Check FILE; print each mistake as `key: what is wrong, what was expected`."""
    load_or_exit(file)
    click.echo(f"{file}: the configuration is good")


def load_or_exit(path: Path | None) -> Settings:
    """The configuration, or its mistakes on standard error and exit status 2."""
    try:
        return load(path)
    except ConfigError as error:
        stop_with(error)


def stop_with(error: WawpExporterError) -> NoReturn:
    """One clear message, no traceback."""
    click.echo(str(error), err=True)
    sys.exit(error.exit_status)
