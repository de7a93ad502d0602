"""How long from a webhook to the message about it: `python -m bench.latency [--quick]`.

Exporter, Prometheus with the shipped rules at the recommended 5 s scrape and 5 s evaluation, Alertmanager with the
shipped routing (its `group_wait` included) and a receiver that notes the time. Each event comes at a random moment and
opens an incident of its own (another source): that is what wakes somebody. An event that joins an incident already told
waits for its route's `group_interval` instead.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from alerts.tests import stack
from tests import parts

INTERVAL = 5.0
# Status of the event → the alert that it raises at once, and the route's group_wait that is part of the figure.
RAISES = {"DISCONNECTED": "WawpSessionDisconnected", "SCAN_QR_CODE": "WawpSessionQrWaiting"}
LONGEST = 90.0

Sent = dict[str, tuple[str, float]]


def main() -> int:
    options = parser().parse_args()
    count, spread = (2, 10.0) if options.quick else (options.events, options.spread)
    plan = moments(random.Random(options.seed), count, spread)
    with parts.Receiver() as receiver, parts.Exporter(settings(plan)) as exporter:
        arrivals: dict[tuple[str, str], float] = {}
        receiver.record = noting(receiver, arrivals)  # type: ignore[method-assign,assignment]
        routing = stack.routing({}, stack.recorded_at(receiver.url))
        with stack.running([exporter], stack.RULE_FILES, routing, INTERVAL) as servers:
            # The first evaluations of a fresh Prometheus come at once; a stride later they are at their own pace.
            parts.wait_until(lambda: servers.prometheus.query("wawp_exporter_time_seconds"), timeout=30)
            sent = play(exporter, plan)
            expected = {(source, RAISES[status]) for source, (status, _) in sent.items()}
            parts.wait_until(lambda: expected <= arrivals.keys(), "a message about each event", timeout=LONGEST)
    report(sent, arrivals)
    return 0


def parser() -> argparse.ArgumentParser:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--events", type=int, default=20, help="of each kind")
    given.add_argument("--spread", type=float, default=120.0, help="seconds over which they come")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--quick", action="store_true", help="2 of each kind within 10 s")
    return given


def moments(rng: random.Random, count: int, spread: float) -> list[tuple[float, str, str]]:
    """When which source has which trouble, in order of time."""
    pairs = [(status, number) for status in RAISES for number in range(count)]
    return sorted((rng.uniform(0, spread), f"{status.lower()}-{number}", status) for status, number in pairs)


def settings(plan: list[tuple[float, str, str]]) -> dict[str, Any]:
    return {"sources": {source: {} for _, source, _ in plan}, "log": {"level": "warning"}}


def noting(receiver: parts.Receiver, arrivals: dict[tuple[str, str], float]) -> Callable[[dict[str, Any]], None]:
    """Records as the receiver does, and notes when each alert was told first."""
    record = receiver.record

    def note(notification: dict[str, Any]) -> None:
        now = time.time()
        for key in told(notification):
            arrivals.setdefault(key, now)
        record(notification)

    return note


def told(notification: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(source, alert) of what a message says is firing."""
    alerts: list[dict[str, dict[str, str]]] = notification["alerts"]
    for alert in alerts:
        yield alert["labels"].get("source", ""), alert["labels"]["alertname"]


def play(exporter: parts.Exporter, plan: list[tuple[float, str, str]]) -> Sent:
    """Sends each event at its moment, and says when."""
    began = time.monotonic()
    sent: Sent = {}
    for after, source, status in plan:
        time.sleep(max(0.0, began + after - time.monotonic()))
        body = parts.envelope(session="device", status=status, engine="GOWS", timestamp=parts.now_ms())
        sent[source] = (status, time.time())
        exporter.post(body, source=source).raise_for_status()
    return sent


def report(sent: Sent, arrivals: dict[tuple[str, str], float]) -> None:
    print("| event | alert | events | fastest | median | worst |\n|---|---|---|---|---|---|")
    for kind, alert in RAISES.items():
        took = [arrivals[source, alert] - at for source, (status, at) in sent.items() if status == kind]
        shown = " | ".join(f"{seconds:.1f} s" for seconds in (min(took), statistics.median(took), max(took)))
        print(f"| {kind} | `{alert}` | {len(took)} | {shown} |")


if __name__ == "__main__":
    sys.exit(main())
