"""`wawp-exporter setup`: asks, writes the folder, and says what to paste into the gateway and what to start."""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from wawp_exporter.config.values import is_loopback
from wawp_exporter.errors import WawpExporterError
from wawp_exporter.setup import contents, fields, folder, histograms, monitoring
from wawp_exporter.setup.answers import Answers
from wawp_exporter.setup.fields import Field
from wawp_exporter.setup.gateways import GATEWAYS
from wawp_exporter.setup.interview import Interview
from wawp_exporter.setup.receivers import KINDS

FORM = "KIND[:ADDRESS]"
FLAGS = (*fields.GENERAL, *(field for kind in KINDS.values() for field in kind.fields))


class Person:
    """Asks on the terminal; secrets are not echoed."""

    def value(self, field: Field, default: str) -> str:
        """Asks until the text is usable."""

        def usable(text: str) -> str:
            try:
                field.parse(text)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            return text

        shown = default if default or field.default is not None else None
        answer: str = click.prompt(
            field.asks, default=shown, show_default=bool(default), hide_input=field.secret, value_proc=usable
        )
        return answer

    def choice(self, text: str, choices: Sequence[str]) -> str:
        """One of the words."""
        answer: str = click.prompt(text, type=click.Choice(choices))
        return answer

    def sure(self, text: str, default: bool) -> bool:
        """Yes or no."""
        return click.confirm(text, default=default)


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each field."""
    for field in reversed(FLAGS):
        default = f"  [default: {field.default}]" if field.default else ""
        secret = "; @FILE reads it from a file" if field.secret else ""
        command = click.option(f"--{field.name}", metavar="TEXT", help=f"{field.asks}{secret}.{default}")(command)
    return command


@click.command("setup")
@click.argument("directory", metavar="[DIR]", default="wawp", type=click.Path(path_type=Path))
@click.option("--gateway", type=click.Choice(list(GATEWAYS)), help="Which gateway sends the webhooks.")
@click.option("--receiver", metavar=FORM, help=f"Who gets all messages; KIND is one of {', '.join(KINDS)}.")
@click.option("--manager", metavar=FORM, help="Who is asked to scan a QR code, if not --receiver.")
@click.option("--it", metavar=FORM, help="Who gets everything else, if not --receiver.")
@click.option("--lead", metavar=FORM, help="Who is told when a login is left waiting for an hour, if not --receiver.")
@flags
@click.option("--alertmanager-version", metavar="TEXT", help="[default: what is found, else the one of compose.yml]")
@click.option("--prometheus-version", metavar="TEXT", help="[default: what is found, else the one of compose.yml]")
@click.option(
    "--native-histograms/--classic-histograms",
    default=None,
    help="How Prometheus stores histograms: one series each (from 3.0 on), or 15.  [default: native from 3.5 on]",
)
@click.option("--yes", is_flag=True, help="Ask nothing: use defaults, and fail if something necessary is missing.")
def command(directory: Path, yes: bool, native_histograms: bool | None, **flags: str | None) -> None:
    """Write a folder DIR with everything between a gateway and a phone.

    Asks for what its flags do not say. Nothing that is there is overwritten.
    """
    given = {name.replace("_", "-"): value for name, value in flags.items() if value is not None}
    if native_histograms is not None:
        given["native-histograms"] = "yes" if native_histograms else "no"
    try:
        answers = Interview(directory.absolute(), given, None if yes else Person()).answers()
        files = contents.contents(answers)
        result = folder.write(answers.folder, files, contents.FOLDERS)
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    click.echo("\n".join(report(answers, result, files[contents.PASTE].text)))


def report(answers: Answers, result: folder.Result, paste: str) -> Iterator[str]:
    """What was done and what to do next."""
    yield from outcome(answers, result)
    yield from warnings(answers)
    yield from steps(answers, paste)


def outcome(answers: Answers, result: folder.Result) -> Iterator[str]:
    """Which files were written, and which were left alone."""
    if result.written:
        versions = f"Prometheus {answers.prometheus} and Alertmanager {answers.alertmanager}"
        yield f"Written to {answers.folder}, for {versions}:"
        yield from (f"  {path}" for path in result.written)
    else:
        yield f"{answers.folder}: nothing was changed, all files are there."
    if result.left:
        yield "Left alone, although they would be written otherwise (rename a file to have it written anew):"
        yield from (f"  {path}" for path in result.left)


def warnings(answers: Answers) -> Iterator[str]:
    """What the operator should know before relying on it."""
    general = answers.general
    if any(receiver.kind.name == "whatsapp" for receiver in answers.receivers.values()):
        yield ""
        yield "Note: a gateway cannot report its own death. Use a WAHA for messages that is not one of those watched,"
        yield "or give --it a receiver of another kind."
    local = [general[name] for name in ("external-url", "grafana") if is_local(general[name])]
    if local:
        yield ""
        yield f"Note: only this machine can open {' and '.join(local)}, so links in messages work on no phone:"
        yield "--external-url and --grafana say other addresses, or --grafana='' that there is none."
    yield from about_histograms(answers)
    if not general["dead-mans-switch"]:
        yield ""
        yield "Note: nobody is told when Prometheus or Alertmanager itself stops: --dead-mans-switch URL is for that."
    if answers.gateway.name == "wawp" and not general["ingress-url"].startswith("https:"):
        yield ""
        yield f"Note: Wawp cannot reach {general['ingress-url']}; expected --ingress-url https://… of a proxy"
        yield "in front of the exporter."


def about_histograms(answers: Answers) -> Iterator[str]:
    """What histograms need, or cost, with this Prometheus."""
    version, flags = answers.prometheus, histograms.flags(answers.prometheus)
    if not answers.native_histograms:
        native = "setup --native-histograms" if version >= histograms.SOUND_SINCE else "use Prometheus 3.8 or newer"
        yield ""
        yield f"Note: Prometheus {version} stores the histograms of a session as 105 series. Above 500 sessions set"
        yield f"metrics.session_histograms: false, or let it store them as 7 native histograms: {native}."
    elif flags:
        yield ""
        yield f"Note: prometheus.yml stores histograms as native ones. Prometheus {version} needs {flags[0]}"
        yield "for it, as in the command below; without that flag it drops them. Else: setup --classic-histograms."


def steps(answers: Answers, paste: str) -> Iterator[str]:
    """The way from here to a message, in order."""
    general, program = answers.general, how_started()
    config = shlex.quote(str(answers.folder / "wawp-exporter.yml"))
    yield ""
    yield "1. Start everything in containers (Docker Compose):"
    yield f"  docker compose -f {shlex.quote(str(answers.folder / 'compose.yml'))} up --detach"
    yield "or with the programs of this machine, each in a terminal or a service of its own:"
    yield f"  {program} serve --config {config}"
    for name, arguments in monitoring.flags(answers).items():
        yield f"  {shlex.join([installed(name), *arguments])}"
    yield "Programs that run as another user need that user to read the files of mode 0600 and to write into data/."
    yield ""
    yield f"2. Tell the gateway (also in {answers.folder / contents.PASTE}):"
    yield from (f"  {line}".rstrip() for line in paste.splitlines())
    ingress = contents.ingress_listen(general)
    if ingress:
        yield f"  Webhooks are taken at {ingress} and nothing else is; {general['ingress-url']} must lead there."
    yield ""
    yield "3. Check each link, then send a test message:"
    urls = [f"--{name}={general[name]}" for name in ("prometheus", "alertmanager", "grafana") if general[name]]
    yield f"  {program} doctor --config {config} {shlex.join(urls)}"
    yield f"  {program} test-alert --alertmanager {general['alertmanager']}"


def is_local(url: str) -> bool:
    """Whether a URL leads to the machine that opens it."""
    return bool(url) and is_loopback(urlsplit(url).hostname or "")


def how_started() -> str:
    """`wawp-exporter`, or its full path where that is not on PATH."""
    here = Path(sys.argv[0]).absolute()
    found = shutil.which("wawp-exporter")
    if found and (here.name != "wawp-exporter" or Path(found).resolve() == here.resolve()):
        return "wawp-exporter"
    return shlex.quote(str(here)) if here.name == "wawp-exporter" else f"{shlex.quote(sys.executable)} -m wawp_exporter"


def installed(program: str) -> str:
    """The name of a program on this machine; Debian calls Alertmanager prometheus-alertmanager."""
    return next((name for name in (program, f"prometheus-{program}") if shutil.which(name)), program)
