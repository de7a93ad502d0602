"""`wawp-exporter doctor`: which link between a gateway and a phone is broken, and how to repair it."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from wawp_exporter.config import files
from wawp_exporter.config.values import is_web_url
from wawp_exporter.doctor.chain import Asked, examine
from wawp_exporter.doctor.finding import Finding, State, printable

MARKS = {State.OK: ("✓", "ok", "green"), State.BROKEN: ("✗", "XX", "red"), State.SKIPPED: ("–", "--", "yellow")}
INDENT = " " * 4
WIDTH = 20  # of the names of links


def address(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """An address of a service; user and password may stand in it."""
    if url is None:
        return None
    scheme, _separator, rest = url.partition("://")
    user, _at, host = rest.rpartition("@")
    if not is_web_url(f"{scheme}://{host}") or "/" in user:
        raise click.BadParameter("expected http(s)://host[:port][/path], such as http://127.0.0.1:9090")
    return url.rstrip("/")


@click.command("doctor")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WAWP_EXPORTER_CONFIG",
    help="The exporter's YAML file.",
)
@click.option("--prometheus", metavar="URL", callback=address, help="[default: http://127.0.0.1:9090]")
@click.option("--alertmanager", metavar="URL", callback=address, help="[default: where Prometheus sends alerts]")
@click.option("--grafana", metavar="URL", callback=address, help="[default: web.grafana_url]")
@click.option(
    "--grafana-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Token of a service account that may read dashboards.",
)
@click.option("--format", "kind", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    config_path: Path | None,
    prometheus: str | None,
    alertmanager: str | None,
    grafana: str | None,
    grafana_token_file: Path | None,
    kind: str,
) -> None:
    """Follow the chain from a gateway to a phone link by link; say what is broken, and what to do. Changes nothing.

    Exit status: 0 if nothing is broken, else 1. A URL may hold a user and a password.
    """
    token = token_of(grafana_token_file)
    found = examine(Asked(config_path, prometheus, alertmanager, grafana, token))
    findings = list(as_json(found) if kind == "json" else as_text(found))
    sys.exit(1 if any(each.state is State.BROKEN for each in findings) else 0)


def token_of(path: Path | None) -> str | None:
    """The token that a file holds."""
    if path is None:
        return None
    try:
        return files.secrets_in(files.read(path, files.MAX_NAMED_BYTES))[0].decode()
    except OSError as error:
        raise click.BadParameter(
            f"{path}: cannot be read: {error.strerror}", param_hint="--grafana-token-file"
        ) from None
    except ValueError as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--grafana-token-file") from None


def as_text(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Prints each as soon as it is known, and what is to be done first at the end."""
    write = writer()
    first = None
    for finding in findings:
        mark, plain, colour = MARKS[finding.state]
        write(f"{finding.link:<{WIDTH}} {finding.says}", mark, plain, colour)
        for line in finding.advice:
            write(f"{INDENT}{line}")
        if first is None and finding.state is State.BROKEN:
            first = finding
        yield finding
    write("")
    write(f"Begin with: {first.link}" if first else "No link that was looked at is broken.")


def writer() -> Callable[..., None]:
    """Prints a line with its mark, in what standard output can show."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        "✓✗–…".encode(encoding)
        able = True
    except UnicodeEncodeError:
        able = False

    def write(line: str, mark: str = "", plain: str = "", colour: str = "") -> None:
        text = printable(line)
        text = text if able else text.replace("…", "...").encode("ascii", "replace").decode()
        shown = click.style(mark if able else plain, fg=colour) if mark else ""
        click.echo(f"{shown} {text}" if mark else text)

    return write


def as_json(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Prints all of them as one list."""
    found = list(findings)
    rows = [{"link": f.link, "state": f.state, "says": f.says, "advice": f.advice} for f in found]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    yield from found
