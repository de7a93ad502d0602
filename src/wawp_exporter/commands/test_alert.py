"""`wawp-exporter test-alert`: one alert marked as a test, from Alertmanager to a phone, and its end."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from wawp_exporter.commands.doctor import address
from wawp_exporter.config.values import parse_duration
from wawp_exporter.doctor.site import Site, Unusable
from wawp_exporter.doctor.trial import Expected, Trial, UnknownAlert, expected, held, muted, requests, trial_of
from wawp_exporter.errors import WawpExporterError

ALERTS = "/api/v2/alerts"
LEAST_S = 1.0  # after group_wait, for the message to leave
PATIENCE_S = 15.0  # beyond the time at which it must have been sent
T = TypeVar("T")
LOG = "Alertmanager's log says why: look for  component=dispatcher"


def duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Seconds."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("test-alert")
@click.option("--alertmanager", metavar="URL", required=True, callback=address)
@click.option("--alert", "name", metavar="NAME", default="WawpSessionDisconnected", show_default=True)
@click.option("--session", metavar="NAME", default="test", show_default=True, help="The session that it names.")
@click.option("--source", metavar="NAME", default="test", show_default=True, help="The source that it names.")
@click.option(
    "--wait", metavar="DURATION", callback=duration, help="How long it lasts, such as 1m.  [default: until it was sent]"
)
def command(alertmanager: str, name: str, session: str, source: str, wait: float | None) -> None:
    """Send one alert that is marked as a test, then its end; say whom it reaches, and when.

    Exit status: 0 if Alertmanager has sent it, 1 if not, 2 for an alert that does not exist.
    """
    try:
        trial = trial_of(name, session, source, datetime.now(UTC))
        with Site("Alertmanager", alertmanager) as site:
            sent = run(site, trial, wait)
    except UnknownAlert as error:
        click.echo("\n  ".join([str(error), *error.names]), err=True)
        sys.exit(error.exit_status)
    except Unusable as error:
        click.echo("\n  ".join([str(error), *error.advice]), err=True)
        sys.exit(error.exit_status)
    except (WawpExporterError, ValueError, KeyError, TypeError) as error:
        click.echo(f"Alertmanager's answer is not understood: {error}", err=True)
        sys.exit(1)
    sys.exit(0 if sent else 1)


def run(site: Site, trial: Trial, wait: float | None) -> bool:
    """Sends it and its end, and says whether Alertmanager has sent its message. Raises Unusable, ValueError."""
    goal = expected(site, trial.labels)
    say(f"{trial.annotations['summary']}")
    say(f"It should reach {' and '.join(goal.receivers())}, {when(goal)}.")
    if not goal.by:
        say("So nobody would get it: give that receiver a way to send, or change the routes.")
        return False
    before = requests(site, goal.by)
    length = max(goal.wait + LEAST_S, wait or 0)
    if wait is not None and wait < length:
        say(f"It lasts {length:g} s: ended before its group_wait ({goal.wait:g} s), it would never be sent.")
    site.send(ALERTS, [trial.firing(max(length, goal.interval))])
    try:
        return follow(site, trial, goal, before, length, wait)
    finally:
        site.send(ALERTS, [trial.over(datetime.now(UTC))])
        say(ending(goal))


def follow(
    site: Site, trial: Trial, goal: Expected, before: tuple[float, float], length: float, wait: float | None
) -> bool:
    """What becomes of it: muted, sent, refused, or nothing yet."""
    alert = until(lambda: held(site, trial), PATIENCE_S)
    if not alert:
        say("Alertmanager has taken it, but does not show it.")
        return False
    names = ", ".join(receiver["name"] for receiver in alert["receivers"])
    say(f"Alertmanager has it, for {names}.")
    reason = muted(alert)
    if reason:
        say(f"No message is sent: it is muted by {reason}.")
        return False
    time.sleep(length)
    # Where others of its group were sent shortly before, it goes out with the group's next message.
    later = 0 if wait else max(goal.interval - length, 0)
    return outcome(site, trial, goal, before, later + PATIENCE_S)


def outcome(site: Site, trial: Trial, goal: Expected, before: tuple[float, float], most: float) -> bool:
    """Whether a message was sent, within `most` seconds."""

    def new() -> tuple[float, float] | None:
        now = requests(site, goal.by)
        return now if now[0] > before[0] else None

    after = until(new, 2)
    if after is None:
        say(f"Waiting for Alertmanager to send it, at most {most:.0f} s …")
        after = until(new, most)
    ways = ", ".join(sorted(goal.by))
    if after is None:
        reason = muted(held(site, trial) or {"status": {}})
        held_back = f": muted by {reason}" if reason else f": only in {', '.join(goal.times)}" if goal.times else ""
        say(f"Alertmanager has not sent it by {ways}{held_back}. {LOG}")
        return False
    if after[1] > before[1]:
        say(f"Alertmanager could not send it by {ways}. {LOG}")
        return False
    say(f"Alertmanager has sent it by {ways}: it must be there now.")
    return True


def until(look: Callable[[], T | None], seconds: float) -> T | None:
    """The first thing that `look` gives, within so many seconds."""
    end = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < end:
        time.sleep(0.5)
    return found


def when(goal: Expected) -> str:
    """When its message is to be expected."""
    soon = f"after {goal.wait:g} s (group_wait)" if goal.wait else "at once"
    later = f"if others of its group were sent shortly before, within {goal.interval:g} s (group_interval)"
    only = f"; only in {', '.join(goal.times)}" if goal.times else ""
    return f"{soon}; {later}{only}"


def ending(goal: Expected) -> str:
    """When the message of its end is to be expected."""
    silent = sorted({way for route in goal.routes for way, told in goal.ways[route.receiver] if not told})
    latest = datetime.now(UTC) + timedelta(seconds=goal.interval)
    none = f" None by {', '.join(silent)} (send_resolved: false)." if silent else ""
    return f"Sent its end. The message of it comes by {latest:%H:%M:%S} UTC (group_interval {goal.interval:g} s).{none}"


def say(line: str) -> None:
    """One line, as soon as it is known."""
    click.echo(line)
