"""What one evaluation of the shipped rules costs on a real Prometheus: `python -m bench.rules [--quick]`.

An exporter is filled with a fleet, some of it in trouble; Prometheus scrapes it and evaluates the rules at the
recommended 5 s. Each group may take 50 ms, and 1.5 ms more for each alert that fires in it, since Prometheus writes the
texts of each anew. Beside the times stands their ratio to a yardstick of the same run, one metric of all sessions read
once: it holds on a machine that others use too. `--quick` measures a small fleet for a minute, which shows that the
benchmark works.
"""

import argparse
import asyncio
import math
import re
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field

from alerts.tests import stack
from tests import parts
from wawp_exporter.simulator import gateway, player, scenarios
from wawp_exporter.simulator.plan import Plan

INTERVAL = 5.0
REST = 15.0  # seconds between two reads of the yardstick: more often, the watcher would slow what it watches
LIMIT, EACH = 0.05, 0.0015  # seconds for one evaluation of one group, and for each alert that fires
PATTERN = re.compile(r'^prometheus_rule_group_(\w+)\{rule_group="[^"]*;([^"]+)"\} (\S+)$', re.MULTILINE)
CONFIG = {"metrics": {"session_histograms": False, "max_sessions": 20_000}, "log": {"level": "warning"}}
# What those in trouble are in, by weight.
TROUBLES = {"stuck-start": 3, "unscanned-qr": 3, "phone-unlinked": 3, "restart-loop": 1}


@dataclass
class Group:
    """One rule group: its interval, how long each evaluation took, in seconds, how many were missed, and what fires."""

    interval: float
    durations: list[float] = field(default_factory=list)
    missed: float = 0.0
    latest: float = 0.0
    firing: int = 0

    @property
    def worst(self) -> float:
        """Infinite where no evaluation has ended: the limit is missed."""
        return max(self.durations, default=math.inf)

    @property
    def limit(self) -> float:
        """How long an evaluation may take, in seconds."""
        return LIMIT + EACH * self.firing

    @property
    def median(self) -> float:
        """The same without any."""
        return statistics.median(self.durations or [math.inf])


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its servers go with it
    options = parser().parse_args()
    sessions, minutes = (1000, 1.0) if options.quick else (options.sessions, options.minutes)
    routing = stack.routing({}, lambda receiver: {"name": receiver["name"]})
    with parts.Exporter(CONFIG) as exporter:
        fill(exporter, sessions, options.troubled / 100)
        with stack.running([exporter], stack.RULE_FILES, routing, INTERVAL) as servers:
            groups, yardstick = watch(servers.prometheus, minutes * 60)
            print(f"{options.troubled:g} % of the sessions are in trouble.")
            report(servers.prometheus, groups, yardstick, sessions, minutes)
    return 0 if all(group.median <= group.limit for group in groups.values()) else 1


def parser() -> argparse.ArgumentParser:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--sessions", type=int, default=10_000)
    given.add_argument("--minutes", type=float, default=5.0)
    given.add_argument("--troubled", type=float, default=1.0, help="percent of the sessions that are in trouble")
    given.add_argument("--quick", action="store_true", help="1,000 sessions, one minute")
    return given


def fill(exporter: parts.Exporter, sessions: int, share: float) -> None:
    """The whole fleet boots; then each trouble is played over sessions of its own, as fast as it goes."""
    quiet = sessions
    for name, weight in TROUBLES.items():
        count = max(1, round(sessions * share * weight / sum(TROUBLES.values())))
        quiet -= count
        send(exporter, scenarios.scenario(name, sessions=count, share=1, prefix=f"{name}-", engines=mixture()))
    send(exporter, scenarios.scenario("steady", sessions=quiet, heartbeat=0, engines=mixture()))


def mixture() -> dict[str, float]:
    """The mixture of a fleet that runs the three engines of WAHA."""
    return {"GOWS": 5, "NOWEB": 3, "WEBJS": 2}


def send(exporter: parts.Exporter, plan: Plan) -> None:
    """At full pace, dated so that the plan has just ended."""
    options = gateway.Options(url=f"{exporter.url}/webhook", pace=0, timestamps=gateway.Timestamps.VIRTUAL_NOW)
    answer = asyncio.run(player.Simulation(plan, options).play())
    if not answer.ok:
        raise RuntimeError(f"{plan.name}: {answer.delivered} of {answer.sent} events were accepted")


def watch(prometheus: parts.Prometheus, length: float) -> tuple[dict[str, Group], float]:
    """Every group's evaluations, each once, and the median of the yardstick in seconds."""
    groups: dict[str, Group] = {}
    reads = []
    end = time.monotonic() + length
    while time.monotonic() < end:
        for name, told in read(prometheus).items():
            group = groups.setdefault(name, Group(told["interval_seconds"]))
            group.missed = told["iterations_missed_total"]
            if told["last_duration_seconds"] and told["last_evaluation_timestamp_seconds"] > group.latest:
                group.latest = told["last_evaluation_timestamp_seconds"]
                group.durations.append(told["last_duration_seconds"])
        if time.monotonic() >= end - length + len(reads) * REST:
            began = time.perf_counter()
            prometheus.query("count(wawp_session_info)")
            reads.append(time.perf_counter() - began)
        time.sleep(1)
    for found in prometheus.api("rules", type="alert")["groups"]:
        groups[found["name"]].firing = sum(len(rule["alerts"]) for rule in found["rules"])
    return groups, statistics.median(reads)


def read(prometheus: parts.Prometheus) -> dict[str, dict[str, float]]:
    """What Prometheus says about its groups; not by its API, which waits for a running evaluation."""
    groups: dict[str, dict[str, float]] = {}
    for measure, name, value in PATTERN.findall(prometheus.client.get(f"{prometheus.url}/metrics", timeout=60).text):
        groups.setdefault(name, {})[measure] = float(value)
    return groups


def report(
    prometheus: parts.Prometheus, groups: dict[str, Group], yardstick: float, sessions: int, minutes: float
) -> None:
    series = prometheus.value('scrape_samples_scraped{job="wawp-exporter"}')
    scrape = prometheus.value('scrape_duration_seconds{job="wawp-exporter"}')
    print(f"{sessions} sessions, {series:.0f} series, a scrape in {scrape:.2f} s; {minutes:g} minutes of history")
    print(f"One metric of all sessions is read in {yardstick * 1000:.1f} ms.")
    print("| rule group | interval | evaluations | missed | alerts firing | median | worst | limit | median in reads |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, group in sorted(groups.items()):
        took = " | ".join(f"{seconds * 1000:.1f} ms" for seconds in (group.median, group.worst))
        limit = f"{group.limit * 1000:.0f} ms"
        reads = f"{group.median / yardstick:.1f}"
        counts = f"{len(group.durations)} | {group.missed:.0f} | {group.firing}"
        print(f"| `{name}` | {group.interval:g} s | {counts} | {took} | {limit} | {reads} |")


if __name__ == "__main__":
    sys.exit(main())
