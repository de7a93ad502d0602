"""The commands."""

import gc
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from wawp_exporter import __version__
from wawp_exporter.commands.signals import Signals
from wawp_exporter.errors import ConfigError, ListenError, WawpExporterError

if TYPE_CHECKING:
    from wawp_exporter.config.settings import Settings

LAZY = {
    "audit": "wawp_exporter.commands.audit",
    "backtest": "wawp_exporter.commands.backtest",
    "doctor": "wawp_exporter.commands.doctor",
    "migrate-log": "wawp_exporter.commands.migrate_log",
    "setup": "wawp_exporter.commands.setup",
    "simulate": "wawp_exporter.commands.simulate",
    "test-alert": "wawp_exporter.commands.test_alert",
}


class Commands(click.Group):
    """Commands whose modules are imported only when they are asked for."""

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
    # Before all else: importing the service takes a while, in which SIGHUP would end the process.
    signals = Signals()
    gc.disable()  # until `run`: what is imported stays, and to look for garbage in it takes a seventh of a start
    settings = load_or_exit(config_path)
    from wawp_exporter import log_lines  # noqa: PLC0415 - the other commands write no log lines

    log_lines.configure(settings.config.log.level, settings.config.log.format)
    try:
        importlib.import_module("wawp_exporter.commands.serve").run(settings, config_path, signals)
    except WawpExporterError as error:
        stop_with(error)


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check_config_command(file: Path) -> None:
    """Check FILE; print each mistake as `key: what is wrong, what was expected`."""
    settings = load_or_exit(file)
    tls = settings.config.web.tls
    if tls.cert_file:
        try:
            importlib.import_module("wawp_exporter.web.tls").load_pair(tls)
        except ListenError as error:
            stop_with(ConfigError([str(error)]))
    for note in importlib.import_module("wawp_exporter.commands.notes").notes(settings.config):
        click.echo(f"note: {note}", err=True)
    click.echo(f"{file}: the configuration is good")


def load_or_exit(path: Path | None) -> "Settings":
    """The configuration, or its mistakes on standard error and exit status 2."""
    from wawp_exporter.config.load import load  # noqa: PLC0415 - it takes a while, during which a signal must not be lost

    try:
        return load(path)
    except ConfigError as error:
        stop_with(error)


def stop_with(error: WawpExporterError) -> NoReturn:
    """One clear message, no traceback."""
    click.echo(str(error), err=True)
    sys.exit(error.exit_status)
