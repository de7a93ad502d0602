#!/usr/bin/env python3
"""`make demo`: a day in the life of a fleet in two minutes, through the shipped rules and the shipped routing.

Starts the exporter, Prometheus and Alertmanager, plays `day-in-the-life`, and prints each message as its receiver
gets it: Alertmanager really sends the mail, the chat message and the page, though to this script. An hour is played, so
every time in rules and routing is divided by the pace; limits are the exporter's configuration, divided likewise.
"""

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alerts.tests import recorder, stack
from tests import parts

HOUR = 60.0  # minutes that the scenario lasts
LIMITS = {"starting": 60, "failed": 10, "qr_escalate": 300, "qr_unattended": 3600, "down": 900}
SETTLE = 30.0  # seconds until all is over; a demo ends even if something goes on
GROUP_INTERVAL = 300.0  # the longest until the last "resolved" is sent
LASTING = {"watchdog", "slo"}
ABOUT = """
An hour of ten sessions in {minutes:g} minutes: one second is {pace:g} s of the hour, in limits and ages too. A message
lists alerts that fire, then resolved ones. Prometheus sends a resolved alert again for 15 minutes (no setting changes
this), so the next message of its group lists it again. Of the dead-man's switch only the first message is shown.
"Session page" leads to the exporter while this runs; Grafana has no address here, so there is no link to it."""
MISSING = """make demo needs a real Prometheus and a real Alertmanager; not found: {names}.
Install Debian's packages prometheus and prometheus-alertmanager, or run `make tools`."""


# The receivers


class Phones:
    """Prints what the receivers get."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.lock = threading.Lock()

    def show(self, letter: recorder.Letter) -> None:
        """Prints a message; of those that only say "alive" the first."""
        channel, title, text = posted(letter.body)
        with self.lock:
            self.told[letter.receiver] += 1
            if letter.receiver == "dead-mans-switch" and self.told[letter.receiver] > 1:
                return
            print(f"\n{time.strftime('%H:%M:%S')}  to {letter.receiver} ({channel})\n  {title}")
            for line in text.strip().splitlines():
                print(f"  | {line}".rstrip())
            sys.stdout.flush()


def posted(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """Channel, title and text of what somebody was sent."""
    if "subject" in body:
        return f"mail to {body['to']}", body["subject"], body["text"]
    if "attachments" in body:
        message = body["attachments"][0]
        return f"chat {body.get('channel', '')}", message["title"], message["text"]
    if "event_action" in body:
        payload = body.get("payload") or {}
        text = (payload.get("custom_details") or {}).get("text", "")
        return f"pager, {body['event_action']}", payload.get("summary", body["dedup_key"]), text
    annotations = body["commonAnnotations"]
    return f"webhook, {body['status']}", annotations.get("summary", ""), annotations.get("description", "")


# What is shown


def main() -> int:
    """Exit status 0, 2 without the servers, 130 after Ctrl-C."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    version = next((version for version in parts.VERSIONS if not missing(version)), None)
    if version is None:
        print(MISSING.format(names=", ".join(missing(parts.VERSIONS[0]))), file=sys.stderr)
        return 2
    try:
        return demonstrate(HOUR / options.minutes, version)
    except KeyboardInterrupt:
        print("\nStopped. Nothing is left running.")
        return 130


def parser() -> argparse.ArgumentParser:
    """`--minutes` is how long the hour takes."""
    given = argparse.ArgumentParser(description="A day in the life of a fleet, and the notifications of each receiver.")
    given.add_argument("--minutes", type=float, default=2.0, help="how long the hour takes (default 2)")
    return given


def missing(version: str) -> list[str]:
    """The servers that this version lacks."""
    return [name for name in ("prometheus", "alertmanager") if parts.find(name, version) is None]


def demonstrate(pace: float, version: str) -> int:
    """Starts all, plays, waits for the last message, stops all."""
    phones = Phones()
    shorter = stack.divided_by(pace)
    rules = stack.shortened_rules(stack.divided_by(pace, 1.0), stack.ranges_divided_by(pace))
    with ExitStack() as started:
        receivers = started.enter_context(recorder.Recorder(phones.show))
        exporter = started.enter_context(parts.Exporter(settings(pace), pace=1 / pace))
        routing = stack.routing(dict.fromkeys(stack.ROUTE_TIMES, shorter), receivers.connect)
        routing["templates"] = [stack.filled_templates(exporter.directory, external_url=exporter.url)]
        interval = min(1.0, 30 / pace)
        print("Starting exporter, Prometheus and Alertmanager (a few seconds) …", flush=True)
        servers = started.enter_context(stack.running([exporter], rules, routing, interval, version))
        print(f"Fleet page    {exporter.url}/")
        print(f"Prometheus    {servers.prometheus.url}/alerts")
        print(f"Alertmanager  {servers.alertmanager.url}/#/alerts")
        print(ABOUT.format(minutes=HOUR / pace, pace=pace), flush=True)
        status = play(exporter, pace)
        settle(servers.alertmanager, GROUP_INTERVAL / pace)
    told = ", ".join(f"{name} {count}" for name, count in sorted(phones.told.items()))
    print(f"\nThe day is over. Messages: {told}. Nothing is left running.")
    return status


def settings(pace: float) -> dict[str, Any]:
    """The exporter's configuration: the default limits, so many times shorter."""
    return {
        "thresholds": {kind: stack.duration(limit / pace) for kind, limit in LIMITS.items()},
        "sessions": [{"session": "*", "owner": "ana"}],
        "log": {"level": "warning"},
    }


def play(exporter: parts.Exporter, pace: float) -> int:
    """The simulator, to its end; its exit status."""
    arguments = [
        "simulate",
        "day-in-the-life",
        "--url",
        f"{exporter.url}/webhook",
        "--pace",
        str(pace),
        "--no-progress",
    ]
    with (exporter.directory / "simulate.log").open("wb") as log:
        player = subprocess.Popen([sys.executable, "-m", "wawp_exporter", *arguments], stdout=log, stderr=log)
        try:
            status = player.wait()
        finally:
            player.kill()
            player.wait()
    if status:
        print((exporter.directory / "simulate.log").read_text(), file=sys.stderr)
    return status


def settle(alertmanager: parts.Alertmanager, last: float) -> None:
    """Waits until Alertmanager has only alerts that always or long fire, and has sent the last "resolved"."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        if all(alert["labels"].get("category") in LASTING for alert in alertmanager.alerts()):
            break
        time.sleep(0.5)
    time.sleep(last)


if __name__ == "__main__":
    sys.exit(main())
