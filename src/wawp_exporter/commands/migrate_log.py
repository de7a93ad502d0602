"""`wawp-exporter migrate-log`: moves a log from SQLite to PostgreSQL while the service is stopped."""

import sys
from pathlib import Path

import click

from wawp_exporter.commands.progress import shown
from wawp_exporter.config.values import check_database
from wawp_exporter.errors import ConfigError, WawpExporterError
from wawp_exporter.log.place import place_of
from wawp_exporter.log.transfer import transfer


@click.command("migrate-log")
@click.option("--from", "source", required=True, metavar="URL", help="sqlite:///path/to/wawp.db")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    envvar="WAWP_EXPORTER_DATABASE__URL",
    help="postgresql://user:password@host/name; better in WAWP_EXPORTER_DATABASE__URL: a command line is no secret.",
)
def command(source: str, target: str) -> None:
    """Copy the event log from SQLite to PostgreSQL; stop the service first. Interrupted, it goes on when run again."""
    try:
        old, new = place_of(checked("--from", source)), place_of(checked("--to", target))
        if not isinstance(old, Path) or not isinstance(new, str):
            raise ConfigError(["--from, --to: only from SQLite to PostgreSQL, expected sqlite:///… and postgresql://…"])
        with shown("rows") as progress:
            counts = transfer(old, new, progress)
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    for name, count in counts.items():
        click.echo(f"{name:<10}{count:>12,}")
    click.echo("copied and verified by count and checksum; set database.url to the new place and start the service")


def checked(option: str, url: str) -> str:
    """A database of the forms that the configuration takes."""
    try:
        return check_database(url)
    except ValueError as error:
        raise ConfigError([f"{option}: {error}"]) from None
