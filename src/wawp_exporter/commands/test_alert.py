"""`wawp-exporter test-alert`: one alert marked as a test, from Alertmanager to a phone, and its end."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from wawp_exporter.commands.doctor import address
from wawp_exporter.config.values import parse_duration
from wawp_exporter.doctor.finding import printable
from wawp_exporter.doctor.site import Site, Unusable
from wawp_exporter.doctor.trial import Expected, Trial, UnknownAlert, expected, held, muted, requests, trial_of
from wawp_exporter.errors import WawpExporterError

ALERTS = "/api/v2/alerts"
LEAST_S = 1.0  # after group_wait, for the message to leave
SOON_S = 2.0
PATIENCE_S = 30.0  # beyond the time at which it must have been sent
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
            sent = Course(site, trial, expected(site, trial.labels), wait).run()
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


@dataclass(frozen=True, slots=True)
class Course:
    """One test from its begin to its end. `wait` is how long it is to last (seconds), None: until it was sent."""

    site: Site
    trial: Trial
    goal: Expected
    wait: float | None

    def run(self) -> bool:
        """Sends it and its end, and says whether its message was sent. Raises Unusable."""
        say(self.trial.annotations["summary"])
        say(f"It should reach {' and '.join(self.goal.receivers())}, {when(self.goal)}.")
        if not self.goal.by:
            say("So nobody would get it: give that receiver a way to send, or change the routes.")
            return False
        if self.wait is not None and self.wait < self.length:
            wait = f"{self.goal.wait:g} s"
            say(f"It lasts {self.length:g} s: ended before its group_wait ({wait}), it would never be sent.")
        before = self.sent()
        self.begin()
        try:
            return self.accepted() and self.arrived(before)
        finally:
            self.end()

    def begin(self) -> None:
        """Sends it. Raises Unusable. Interrupted before the answer, Alertmanager may have it: then its end is sent."""
        try:
            self.site.send(ALERTS, [self.trial.firing(max(self.length, self.goal.interval))])
        except KeyboardInterrupt:
            self.end()
            raise

    def end(self) -> None:
        """Sends its end. Raises Unusable."""
        self.site.send(ALERTS, [self.trial.over(datetime.now(UTC))])
        say(ending(self.goal))

    @property
    def length(self) -> float:
        """How long it lasts at least."""
        return max(self.goal.wait + LEAST_S, self.wait or 0)

    def accepted(self) -> bool:
        """Whether Alertmanager has it and does not mute it. Raises Unusable."""
        alert = until(lambda: held(self.site, self.trial), PATIENCE_S)
        if not alert:
            say("Alertmanager has taken it, but does not show it.")
            return False
        say(f"Alertmanager has it, for {', '.join(receiver['name'] for receiver in alert['receivers'])}.")
        reason = muted(alert)
        if reason:
            say(f"No message is sent: it is muted by {reason}.")
        return not reason

    def arrived(self, before: tuple[float, float] | None) -> bool:
        """Whether its message was sent. Raises Unusable."""
        time.sleep(self.length)
        if before is None:
            say(f"{self.site.url}/metrics cannot be read, so whether it was sent cannot be seen.")
            return True
        ways = ", ".join(sorted(self.goal.by))
        after = self.more_than(before)
        if after is None:
            say(f"Alertmanager has not sent it by {ways}{self.held_back()}. {LOG}")
            return False
        if after[1] > before[1]:
            say(f"Alertmanager could not send it by {ways}. {LOG}")
            return False
        say(f"Alertmanager has sent it by {ways}: it must be there now.")
        return True

    def more_than(self, before: tuple[float, float]) -> tuple[float, float] | None:
        """The counts once more was sent: after `group_interval` at the latest, if its group was sent shortly before."""

        def new() -> tuple[float, float] | None:
            now = self.sent()
            return now if now and now[0] > before[0] else None

        most = PATIENCE_S + (0 if self.wait else max(self.goal.interval - self.length, 0))
        after = until(new, SOON_S)
        if after is None:
            say(f"Waiting for Alertmanager to send it, at most {most:.0f} s …")
            after = until(new, most)
        return after

    def sent(self) -> tuple[float, float] | None:
        """How many messages were sent so far and how many of them failed; None if it cannot be seen."""
        try:
            return requests(self.site, self.goal.by)
        except Unusable:
            return None

    def held_back(self) -> str:
        """Why it was not sent, as far as Alertmanager says. Raises Unusable."""
        reason = muted(held(self.site, self.trial) or {"status": {}})
        if reason:
            return f": muted by {reason}"
        return f": only in {', '.join(self.goal.times)}" if self.goal.times else ""


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
    click.echo(printable(line))
