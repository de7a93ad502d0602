"""`wawp-exporter backtest`: which alerts would have fired over the log's past."""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec
from rich.console import Console

from wawp_exporter.audit import backtest_formats as formats
from wawp_exporter.audit.backtest import Query, Tested, backtest
from wawp_exporter.audit.backtest_table import print_comparison, print_firings
from wawp_exporter.audit.comparison import compare
from wawp_exporter.audit.instants import period, zone_of
from wawp_exporter.commands.audit import WIDE
from wawp_exporter.commands.progress import shown
from wawp_exporter.config.load import load
from wawp_exporter.config.schema import Config
from wawp_exporter.errors import BadRequest, ConfigError, WawpExporterError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.place import place_of

YAML_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("backtest")
@click.option("--config", "config_path", type=YAML_FILE, envvar="WAWP_EXPORTER_CONFIG")
@click.option("--compare", "other_path", type=YAML_FILE, help="Show what this configuration would change.")
@click.option("--from", "start", default="30d", show_default=True, help="A date, a time, Unix seconds, or an age.")
@click.option("--to", "end", default="", help="The same.  [default: now]")
@click.option("--source", help="Alerts of this source only.")
@click.option("--session", help="Alerts of this session only, and its outages.")
@click.option("--group", help="Alerts of this group's members only, and their outages.")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def command(
    config_path: Path | None, other_path: Path | None, start: str, end: str, kind: str, **who: str | None
) -> None:
    """Which alerts would have fired over the event log's past, and when they would have ended.

    The past is judged with the thresholds, sessions, groups and maintenance windows of the configuration; the service
    may be running.
    """
    gc.disable()  # one report, then the process ends
    try:
        configs = configurations(config_path, other_path)
        zone = zone_of(configs[0].timezone)
        span = period(start, end, zone, unix_now())
        query = Query(*span, who["source"], who["session"], who["group"])
        with shown("events") as progress:
            tested = backtest(place_of(configs[0].database.url), configs, query, progress)
    except BadRequest as error:
        click.echo(f"--{error}", err=True)
        sys.exit(ConfigError.exit_status)
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    for note in notes(configs, tested):
        click.echo(f"note: {note}", err=True)
    if other_path:
        write_comparison(tested, (str(config_path or "the defaults"), str(other_path)), span, zone, kind)
    else:
        write(tested, span, zone, kind)


def configurations(path: Path | None, other: Path | None) -> list[Config]:
    """The configuration, and the one that it is compared with; that one judges the same sources. Raises ConfigError."""
    config = load(path).config
    if other is None:
        return [config]
    try:
        compared = load(other).config
    except ConfigError as error:
        raise ConfigError([f"--compare: {mistake}" for mistake in error.mistakes]) from None
    return [config, compared.model_copy(update={"sources": config.sources})]


def notes(configs: Sequence[Config], tested: Tested) -> list[str]:
    """What the report does not show."""
    found = [f"source {source} of the log is not in the configuration, its sessions are left out"
             for source in tested.skipped]  # fmt: skip
    if any(config.thresholds.silent or any(rule.thresholds.silent for rule in config.sessions) for config in configs):
        found.append("thresholds.silent: the log has no messages, so a session counts as silent between its statuses")
    return found


def write(tested: Tested, span: tuple[int, int], zone: ZoneInfo, kind: str) -> None:
    """The alerts on standard output."""
    (firings,) = tested.firings
    if kind == "json":
        click.echo(msgspec.json.format(formats.firings_json(firings), indent=2))
    elif kind == "csv":
        click.echo(formats.firings_csv(firings), nl=False)
    else:
        print_firings(firings, span, zone, console())


def write_comparison(tested: Tested, names: tuple[str, str], span: tuple[int, int], zone: ZoneInfo, kind: str) -> None:
    """What changes, on standard output."""
    comparison = compare(*tested.firings)
    if kind == "json":
        click.echo(msgspec.json.format(formats.comparison_json(comparison), indent=2))
    elif kind == "csv":
        click.echo(formats.comparison_csv(comparison), nl=False)
    else:
        print_comparison(comparison, names, span, zone, console())


def console() -> Console:
    """Where the table is printed: as wide as the terminal, if it is one."""
    return Console(width=None if sys.stdout.isatty() else WIDE)
