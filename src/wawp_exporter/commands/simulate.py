"""`wawp-exporter simulate`: plays a scenario to a running exporter, and says what came back."""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from wawp_exporter.config import files
from wawp_exporter.errors import WawpExporterError
from wawp_exporter.simulator.expected import Counts, Report
from wawp_exporter.simulator.gateway import Dialect, Options, Timestamps
from wawp_exporter.simulator.pieces import ENGINES
from wawp_exporter.simulator.plan import Plan
from wawp_exporter.simulator.player import Simulation, SimulationError, reach, reason
from wawp_exporter.simulator.scenarios import CATALOGUE, find, scenario


def engine_mix(_: click.Context, __: click.Parameter, text: str) -> dict[str, float]:
    """`GOWS=5,NOWEB=3` as weights; a bare name weighs 1. Refuses unknown engines and weights not above 0."""
    mix = {}
    for part in text.split(","):
        engine, _equals, weight = part.partition("=")
        mix[engine.strip().upper()] = to_float(weight or "1")
    if not set(mix) <= set(ENGINES) or not all(weight > 0 for weight in mix.values()):
        raise click.BadParameter(f"{text!r}, expected for example GOWS=5,NOWEB=3 of {', '.join(ENGINES)}")
    return mix


def instant(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """ISO 8601 (UTC unless it says otherwise) or Unix seconds → Unix seconds."""
    if text is None:
        return None
    if (number := to_float(text)) >= 0:
        return number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r}, expected for example 2026-11-01T00:00:00Z or Unix seconds"
        raise click.BadParameter(message) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def to_float(text: str) -> float:
    """A finite number, or -1 for anything else."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if math.isfinite(number) else -1.0


def first_line(path: Path | None) -> str | None:
    """The first key or token of a file, as the exporter reads it. Raises SimulationError when there is none."""
    if path is None:
        return None
    try:
        return files.secrets_in(files.read(path, files.MAX_NAMED_BYTES))[0].decode()
    except OSError as error:
        raise SimulationError(f"{path}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise SimulationError(f"{path} {error}") from None


def list_scenarios(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the names, each with its line, and ends."""
    if wanted and not ctx.resilient_parsing:
        width = max(len(each.name) for each in CATALOGUE)
        for each in CATALOGUE:
            click.echo(f"{each.name:{width}}  {each.summary}")
        ctx.exit()


FRACTION = click.FloatRange(0, 1)
SECONDS = click.FloatRange(0)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("simulate")
@click.argument("name", metavar="SCENARIO", type=click.Choice([each.name for each in CATALOGUE]))
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=list_scenarios, help="List the scenarios."
)
@click.option(
    "--url", default=Options.__dataclass_fields__["url"].default, show_default=True, help="The exporter's webhook."
)
@click.option("--source", default="default", show_default=True, help="Sent to URL/SOURCE unless default.")
@click.option("--dialect", type=click.Choice([each.value for each in Dialect]), default="waha", show_default=True)
@click.option("--hmac-key-file", type=FILE, help="Sign with the first key in this file.")
@click.option("--hmac-algorithm", type=click.Choice(["sha512", "sha256"]), default="sha512", show_default=True)
@click.option("--token-file", type=FILE, help="Send the first token in this file as bearer token.")
@click.option("--sessions", type=click.IntRange(1), default=10, show_default=True)
@click.option("--prefix", default="session-", show_default=True, help="What session names begin with.")
@click.option("--engines", callback=engine_mix, default="GOWS=5,NOWEB=3,WEBJS=2", show_default=True)
@click.option("--share", type=FRACTION, help="Part of the sessions in trouble.  [default: the scenario's]")
@click.option("--duration", type=SECONDS, help="Virtual seconds the trouble lasts.  [default: the scenario's]")
@click.option("--heartbeat", type=SECONDS, default=60, show_default=True, help="Virtual seconds; 0: none.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--pace", type=SECONDS, help="1: real time, 60: 60 times faster, 0: no wait.  [default: the scenario's]")
@click.option(
    "--timestamps",
    type=click.Choice([each.value for each in Timestamps]),
    default="real",
    show_default=True,
    help="real: the time of sending; virtual-now: unhurried gaps, ending now.",
)
@click.option("--start-at", callback=instant, help="Back-date: timestamps are this plus virtual time.")
@click.option("--attempts", type=click.IntRange(1), default=16, show_default=True, help="For each event.")
@click.option("--retry-delay", type=SECONDS, help="Real seconds.  [default: 2 / pace]")
@click.option("--duplicates", type=FRACTION, default=0, help="Fraction of events sent twice at once.")
@click.option("--reorder", type=FRACTION, default=0, help="Fraction of events sent after the next of its session.")
@click.option("--forged", type=FRACTION, default=0, help="Fraction of events that a forger imitates without the key.")
@click.option("--messages", type=FRACTION, default=0, help="Fraction of WORKING events that a message follows.")
@click.option("--spurious-stops", is_flag=True, help="As WAHA up to 2026.1.1: STOPPED before each start.")
@click.option("--concurrency", type=click.IntRange(1), default=64, show_default=True, help="Open requests.")
@click.option("--progress/--no-progress", default=None, help="[default: on a terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print the report and the truth as JSON.")
def command(name: str, **given: Any) -> None:
    """Play SCENARIO against a running exporter, as real signed webhooks.

    Ends with exit status 1 when an event was given up or a forged one was accepted.
    """
    try:
        plan, options = plan_of(name, given), options_of(name, given)
        report, interrupted = run(plan, options, given["progress"])
    except WawpExporterError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    if given["as_json"]:
        click.echo(report.to_json())
    else:
        Console().print(table_of(report))
    sys.exit(130 if interrupted else int(not report.ok))


def plan_of(name: str, given: Mapping[str, Any]) -> Plan:
    """The plan that the command line asks for."""
    wanted = ("seed", "sessions", "engines", "share", "duration", "heartbeat", "prefix", "spurious_stops")
    return scenario(name, **{key: given[key] for key in wanted})


def options_of(name: str, given: Mapping[str, Any]) -> Options:
    """How the command line wants it sent. Raises SimulationError for a file without key or token."""
    same = "url source hmac_algorithm attempts retry_delay duplicates reorder forged messages concurrency"
    key, play = first_line(given["hmac_key_file"]), find(name)
    start_at = given["start_at"]
    if start_at is None and play.past:
        start_at = time.time() - (play.duration if given["duration"] is None else given["duration"])
    return Options(
        dialect=Dialect(given["dialect"]),
        timestamps=Timestamps(given["timestamps"]),
        hmac_key=key.encode() if key else None,
        token=first_line(given["token_file"]),
        start_at=start_at,
        pace=play.pace if given["pace"] is None else given["pace"],
        **{name: given[name] for name in same.split()},
    )


def run(plan: Plan, options: Options, progress: bool | None) -> tuple[Report, bool]:
    """Plays to the end or to Ctrl-C, and says whether it was the latter. Raises SimulationError."""
    with progress_of(plan, progress) as on_done:
        simulation = Simulation(plan, options, on_done)
        try:
            return asyncio.run(play(simulation)), False
        except KeyboardInterrupt:
            return simulation.report(), True


async def play(simulation: Simulation) -> Report:
    """Plays once the exporter can be reached."""
    await reach(simulation.options.target)
    return await simulation.play()


@contextmanager
def progress_of(plan: Plan, wanted: bool | None) -> Iterator[Callable[[Counts], None]]:
    """A bar on standard error, if wanted or, unasked, on a terminal."""
    console = Console(stderr=True)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda _: None
        return
    with Progress(console=console) as bar:
        task = bar.add_task(plan.name, total=len(plan.emissions))
        yield lambda counts: bar.update(task, completed=counts.done, total=max(counts.sent, len(plan.emissions)))


def table_of(report: Report) -> Table:
    """The report for people."""
    table = Table(title=f"{report.scenario}: {report.sent} events in {report.elapsed:.1f} s", show_header=False)
    for label, value in rows_of(report):
        table.add_row(label, value)
    return table


def rows_of(report: Report) -> Iterator[tuple[str, str]]:
    """What a person wants to know, nothing that is zero except what was given up."""
    yield "delivered", str(report.delivered)
    yield "given up", str(report.given_up)
    for label, counts in (("outcome", report.outcomes), ("HTTP", report.answers), ("error", report.errors)):
        yield from ((f"{label} {name}", str(count)) for name, count in sorted(counts.items()))
    if report.retries:
        yield "retries", str(report.retries)
    if report.forged:
        yield "forged, accepted of sent", f"{report.forged_accepted} of {report.forged}"
    yield "latency p50, p99", f"{report.p50 * 1000:.1f} ms, {report.p99 * 1000:.1f} ms"
    yield "sessions at the end", ", ".join(f"{name} {n}" for name, n in sorted(report.expected.statuses.items()))
