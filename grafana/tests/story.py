"""A month of a small fleet, told by the exporter's own fold and exposition, as blocks for a real Prometheus.

What happens is known to the second, so that figures on dashboards can be compared with what is true. Two replicas say
the same, so that a query that adds replicas up shows twice too much.
"""

import math
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import builders
from tests.builders import DAY, HOUR, MINUTE
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.activity import Activity, Sent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

MONTH = 30 * DAY
START = builders.T0 / 1000
END = START + MONTH
STEP = 60 * MINUTE  # between two scrapes, but for the last hours
RECENT, FINE = 2 * HOUR, 2 * MINUTE
RESTART = 20 * DAY + 7 * MINUTE
PATTERNS: dict[Key, dict[tuple[int, int], int]] = {("default", "phone"): {(2, 17): 4}}
REPLICAS = ("exporter-a:10011", "exporter-b:10011")
CONFIG = {
    "groups": {"sales": ["default/sales-1", "default/sales-2"], "support": ["default/support-1"]},
    "sessions": [{"session": "sales-*", "owner": "ana", "tier": "gold"}],
    "metrics": {"session_histograms": False, "forget_stopped_after": "400d"},
    "slo": {"objective": 0.99},
}
MASS = (12 * DAY, 12 * DAY + 30 * MINUTE)
DAILY, STAY = 6 * HOUR, 20 * MINUTE  # when, each day, the phone is lost, and for how long
SCAN = 29 * DAY + DAILY + 5 * MINUTE  # the last time, somebody has to scan
QR = MONTH - 2 * HOUR  # since then somebody is to scan
LOST = MONTH - 40 * MINUTE  # since then one is lost
VAIN = MONTH - 10 * MINUTE  # since then what the phone sends is not acknowledged
NAME = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{)?", re.MULTILINE)
UNUSED = re.compile(r"^(?:#|python_gc|wawp_status_duration).*\n", re.MULTILINE)
BORN = re.compile(r"^process_start_time_seconds .*$", re.MULTILINE)


def booted(session: str, engine: str, at: float = 0) -> Iterator[tuple[float, str, str, str]]:
    """STARTING for 5 s, then WORKING."""
    yield at, session, engine, "STARTING"
    yield at + 5, session, engine, "WORKING"


def plot() -> list[tuple[float, str, str, str]]:
    """Every event of the month: seconds after the start, session, engine, status."""
    told: list[tuple[float, str, str, str]] = []
    for session in ("sales-1", "sales-2", "sales-3"):
        told += booted(session, "GOWS")
        told += [(MASS[0], session, "GOWS", "DISCONNECTED"), *booted(session, "GOWS", MASS[1])]
    told += [*booted("support-1", "NOWEB"), (LOST, "support-1", "NOWEB", "FAILED")]
    told += booted("phone", "WEBJS")
    for day in range(1, 30):
        lost = day * DAY + DAILY
        told += [(lost, "phone", "WEBJS", "FAILED"), *booted("phone", "WEBJS", lost + STAY)]
    told += [(SCAN, "phone", "WEBJS", "SCAN_QR_CODE")]
    told += [*booted("retired", "GOWS"), (3 * DAY, "retired", "GOWS", "STOPPED")]
    told += [*booted("new", "NOWEB"), (10 * DAY, "new", "NOWEB", "SCAN_QR_CODE")]
    told += [*booted("new", "NOWEB", 10 * DAY + 200), (QR, "new", "NOWEB", "SCAN_QR_CODE")]
    return sorted(told)


@dataclass(frozen=True)
class Truth:
    """Seconds by status of each session between two instants, straight from the plot."""

    since: float = 0
    until: float = MONTH

    def seconds(self, session: str, *statuses: str) -> float:
        """How long it was in any of them."""
        events = [(at, status) for at, name, _, status in plot() if name == session]
        ends = [*(at for at, _ in events[1:]), MONTH]
        return sum(
            max(0.0, min(end, self.until) - max(at, self.since))
            for (at, status), end in zip(events, ends, strict=True)
            if status in statuses
        )


def names() -> list[str]:
    """Every session of the plot."""
    return sorted({session for _, session, _, _ in plot()})


def availability() -> float:
    """Good seconds of those that count; 5 s of STARTING before the first WORKING count as neither."""
    truth = Truth()
    good = sum(truth.seconds(name, "WORKING") for name in names())
    counted = sum(
        truth.seconds(name, "WORKING", "STARTING", "FAILED", "DISCONNECTED", "SCAN_QR_CODE") - 5 for name in names()
    )
    return good / counted


def scrapes() -> Iterator[float]:
    """When Prometheus looked."""
    yield from range(10, MONTH - RECENT, STEP)
    yield from range(MONTH - RECENT, MONTH + 1, FINE)


def talk(at: float) -> Activity:
    """The messages of the phone by then: one a minute comes, every second one is answered; the last ones in vain."""
    activity = Activity()
    activity.received, activity.sent = int(at / MINUTE), int(at / MINUTE / 2)
    activity.received_at = activity.sent_at = builders.ms(at)
    if at > VAIN:
        activity.await_ack("any", Sent(builders.ms(VAIN), builders.ms(VAIN)))
    return activity


class Process:
    """The exporter of one start: its counters begin at 0, what it knew before comes back."""

    def __init__(self, born: float, before: Fleet | None = None, config: Mapping[str, Any] = CONFIG) -> None:
        self.born = born
        self.fleet = builders.make_fleet(**config)
        if before:
            before.unsaved = set(before.sessions)
            for key, memory in before.take_unsaved():
                self.fleet.restore(key, memory, builders.ms(born), builders.clock(born))
        self.telemetry = Telemetry()
        self.exposition = Exposition(self.fleet, self.telemetry)
        self.telemetry.reload_ok.set(1)
        self.telemetry.reload_time.set(START + born)
        read = self.telemetry.read
        read("wawp_exporter_queue_depth", "As in the exporter.", lambda: 0)
        read("wawp_exporter_log_size_bytes", "As in the exporter.", lambda: 5e6)
        read("wawp_exporter_log_free_bytes", "As in the exporter.", lambda: 5e10)
        read("wawp_exporter_log_disk_bytes", "As in the exporter.", lambda: 2e11)
        read("wawp_exporter_log_oldest_event_timestamp_seconds", "As in the exporter.", lambda: START)
        self.telemetry.keep_sources(["default"])

    def hear(self, at: float, session: str, engine: str, status: str) -> None:
        """One webhook, 200 ms on its way, and sent twice; before a scan comes a forged one."""
        reason = "connection_lost" if (session, status) == ("phone", "FAILED") else ""
        event = builders.event(status, at, key=("default", session), engine=engine, reason=reason)
        builders.apply(self.fleet, event)
        self.fleet.recur(PATTERNS)
        own = self.telemetry.source("default")
        own.outcomes["transition"] += 1
        own.outcomes["duplicate"] += 1
        own.last_accepted = START + at
        self.telemetry.appends.inc()
        self.telemetry.webhook_delay.observe(0.2)
        self.telemetry.webhook_duration.observe(0.003)
        self.telemetry.append_duration.observe(0.002)
        if status == "SCAN_QR_CODE":
            own.reject("bad_signature")

    def scrape(self, at: float) -> str:
        """The exposition as text, without what tells a story of this machine."""
        self.fleet.activity["default", "phone"] = talk(at)
        self.fleet.advance(builders.ms(at), builders.clock(at))
        parts = self.exposition.scrape(False, False, builders.ms(at), builders.clock(at))
        text = UNUSED.sub("", b"".join(parts).decode())
        return BORN.sub(f"process_start_time_seconds {START + self.born}", text)


def of_target(text: str, replica: str) -> str:
    """The lines of a scrape with the labels of its target."""
    labels = f'{{job="wawp-exporter",instance="{replica}"'
    return NAME.sub(lambda found: found[1] + labels + ("," if found[2] else "}"), text)


def told(at: float, text: str) -> Iterator[str]:
    """A scrape as OpenMetrics with times, for each replica, and what Prometheus adds by itself."""
    when = f" {START + at:.3f}\n"
    text += f"up 1\nscrape_samples_scraped {text.count(chr(10))}\nscrape_duration_seconds 0.01\n"
    for replica in REPLICAS:
        yield of_target(text, replica).replace("\n", when)
    for alert in alerts(at):
        yield f"ALERTS{{{alert}}} 1{when}"


def alerts(at: float) -> Iterator[str]:
    """What the rules would have said, in a few words."""
    yield 'alertname="WawpWatchdog",alertstate="firing",severity="none",category="watchdog"'
    if at >= 21 * DAY:
        yield (
            'alertname="WawpSessionRecurringDisconnect",alertstate="firing",severity="info",category="audit",'
            'source="default",engine="WEBJS",session="phone"'
        )
    if MASS[0] <= at < MASS[1]:
        yield (
            'alertname="WawpMassDisconnect",alertstate="firing",severity="critical",category="mass",'
            'source="default",engine="GOWS"'
        )
    if at >= QR:
        yield (
            'alertname="WawpSessionQrWaiting",alertstate="firing",severity="warning",category="qr",'
            'source="default",engine="NOWEB",session="new"'
        )
    if at >= LOST:
        yield (
            'alertname="WawpSessionFailed",alertstate="firing",severity="warning",category="session",'
            'source="default",engine="NOWEB",group="support",session="support-1"'
        )


def month() -> Iterator[str]:
    """Everything, in the order of time."""
    process, left = Process(0), plot()
    for at in scrapes():
        if at >= RESTART > process.born:
            while left[0][0] < RESTART:
                process.hear(*left.pop(0))
            process = Process(RESTART, process.fleet)
        while left and left[0][0] <= at:
            process.hear(*left.pop(0))
        yield from told(at, process.scrape(at))
    yield "# EOF\n"


def write_blocks(promtool: Path, folder: Path, text: Iterable[str]) -> None:
    """Makes blocks of OpenMetrics in `folder`/tsdb; RuntimeError with promtool's words when it refuses."""
    given = folder / "month.txt"
    with given.open("w") as file:
        file.writelines(text)
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    span = f"--max-block-duration={math.ceil(MONTH / HOUR)}h"
    done = subprocess.run(
        [*map(str, command), span, str(given), str(folder / "tsdb")], capture_output=True, text=True, check=False
    )
    given.unlink()
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)
