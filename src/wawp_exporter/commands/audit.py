"""`wawp-exporter audit`: the uptime audit from the log."""

import gc
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from wawp_exporter.audit.audit import Audit, Query, audit
from wawp_exporter.audit.instants import period, zone_of
from wawp_exporter.audit.spreadsheet import to_csv
from wawp_exporter.audit.table import print_table
from wawp_exporter.commands.progress import shown
from wawp_exporter.config.load import load
from wawp_exporter.errors import BadRequest, ConfigError, WawpExporterError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.place import place_of

WIDE = 160  # columns of the table where standard output is no terminal


@click.command("audit")
@click.option("--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), envvar="WAWP_EXPORTER_CONFIG")
@click.option("--from", "start", default="30d", show_default=True, help="A date, a time, Unix seconds, or an age.")
@click.option("--to", "end", default="", help="The same.  [default: now]")
@click.option("--source", help="Sessions of this source only.")
@click.option("--session", help="This session only.")
@click.option("--group", help="Members of this group only.")
@click.option("--timezone", help="IANA name.  [default: timezone of the configuration]")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def command(config_path: Path | None, start: str, end: str, timezone: str | None, kind: str, **who: str | None) -> None:
    """How reliable sessions were, and when they fail, from the event log; the service may be running."""
    gc.disable()  # one report, then the process ends
    try:
        config = load(config_path).config
        zone = zone_of(timezone or config.timezone)
        since, until = period(start, end, zone, unix_now())
        query = Query(since, until, **who, timezone=zone.key)
        with shown("sessions") as progress:
            report = audit(place_of(config.database.url), config, query, progress)
    except BadRequest as error:
        click.echo(f"--{error}", err=True)
        sys.exit(ConfigError.exit_status)
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    write(report, kind)


def write(report: Audit, kind: str) -> None:
    """The report on standard output."""
    if kind == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    elif kind == "csv":
        click.echo(to_csv(report), nl=False)
    else:
        print_table(report, Console(width=None if sys.stdout.isatty() else WIDE))
