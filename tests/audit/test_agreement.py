"""Audit, API, command and Prometheus tell the same: a month scraped into a real Prometheus, and its audit."""

import asyncio
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests import parts
from tests.builders import DAY, HOUR, clock, event, make_fleet, ms
from wawp_exporter.audit.audit import Audit, Query, audit
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.fleet import Fleet

MONTH = 30 * DAY
SCRAPE = 21_600  # seconds; the counters hold what was between two scrapes
TICK = 400  # seconds; as the service's once a second, it lets windows begin and end on time
SESSIONS = {"shop": "GOWS", "bakery": "NOWEB", "florist": "WEBJS"}
WINDOW = {
    "source": "*", "session": "bakery", "from": "2026-11-25T00:00:00Z", "to": "2026-11-25T06:00:00Z",
}  # fmt: skip
KEPT = re.compile(
    rb"^(wawp_(?:session_status_seconds|slo_seconds|transitions|status_seconds)_total)(\{.*\}) (\S+)$", re.M
)


@dataclass
class Month:
    """The same month as Prometheus and as the audit tell it."""

    prometheus: parts.Prometheus
    report: Audit

    def grown(self, query: str) -> float:
        """By how much a counter grew; it began at 0, and nothing is extrapolated."""
        return self.prometheus.value(f"sum({query} @ {ms(MONTH) / 1000:.3f})")


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """Thirty days of three sessions, lived by a fleet whose clock is told, logged, and scraped."""
    promtool, folder = parts.require("promtool"), tmp_path_factory.mktemp("month")
    settings = {"maintenance": [WINDOW]}
    lived(folder, settings)
    blocks = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "month.txt", folder / "tsdb"]
    subprocess.run(blocks, check=True, capture_output=True)
    config = {"global": {"scrape_interval": "1h"}}
    report = audit(folder / "wawp.db", make_fleet(**settings).rules.config, Query(ms(0), ms(MONTH)))
    flags = ["--storage.tsdb.retention.time=400d"]
    with parts.Prometheus(config, flags=flags, directory=folder) as prometheus:
        yield Month(prometheus, report)


def lived(folder: Path, settings: dict[str, object]) -> None:
    """Plays the month, scrape by scrape."""
    fleet, log = make_fleet(**settings), Log(folder / "wawp.db")
    exposition = Exposition(fleet, Telemetry())
    told = sorted(story(random.Random(7)), key=lambda each: each[0])
    log.append([event(status, at, key=("default", name), engine=SESSIONS[name]) for at, name, status in told])
    samples: dict[bytes, list[bytes]] = {}
    for scrape in range(0, MONTH + 1, SCRAPE):
        for tick in range(max(0, scrape - SCRAPE), scrape, TICK):
            play(fleet, told, tick)
            fleet.advance(ms(tick), clock(tick))
        play(fleet, told, scrape)
        fleet.advance(ms(scrape), clock(scrape))
        text = b"".join(exposition.scrape(True, False, ms(scrape), clock(scrape)))
        for metric, labels, value in KEPT.findall(text):
            samples.setdefault(metric, []).append(b"%s%s %s %.3f" % (metric, labels, value, ms(scrape) / 1000))
    log.close()
    families = [
        b"# TYPE %s counter\n%s\n" % (name.removesuffix(b"_total"), b"\n".join(found))
        for name, found in samples.items()
    ]
    (folder / "month.txt").write_bytes(b"".join(families) + b"# EOF\n")


def play(fleet: Fleet, told: list[tuple[int, str, str]], until: int) -> None:
    """Takes what has happened up to `until` off the story."""
    while told and told[0][0] <= until:
        at, name, status = told.pop(0)
        item = event(status, at, key=("default", name), engine=SESSIONS[name])
        fleet.apply(item, (1,), ms(at), clock(at))


def story(chance: random.Random) -> Iterator[tuple[int, str, str]]:
    """(seconds, session, status): weeks of WORKING, losses of every length, decisions, logins."""
    for name in SESSIONS:
        at = chance.randrange(10, 60)
        yield at, name, "STARTING"
        yield at + 7, name, "WORKING"
        while at < MONTH - DAY:
            at += 60 + int(chance.expovariate(1 / (9 * HOUR)))
            path = chance.choice(
                [("FAILED", "STARTING"), ("STARTING",), ("STOPPED", "STARTING"), ("DISCONNECTED", "STARTING"),
                 ("STARTING", "SCAN_QR_CODE", "FAILED", "STARTING", "SCAN_QR_CODE"), ("UNHEARD-OF",)]
            )  # fmt: skip
            for status in (*path, "WORKING"):
                yield at, name, status
                at += 1 + int(chance.expovariate(1 / 400))


def test_uptime_is_that_of_prometheus_within_a_second(month: Month) -> None:
    """Good and bad seconds of the whole fleet."""
    total = month.report.total

    assert total.disconnects > 50
    assert month.grown('wawp_slo_seconds_total{result="good"}') == pytest.approx(total.good_seconds, abs=1)
    assert month.grown('wawp_slo_seconds_total{result="bad"}') == pytest.approx(total.downtime_seconds, abs=1)
    assert month.grown('wawp_slo_seconds_total{result="excluded"}') == pytest.approx(total.excluded_seconds, abs=1)


@pytest.mark.parametrize("engine", SESSIONS.values())
def test_so_is_that_of_each_engine(month: Month, engine: str) -> None:
    """Also of the one that was in maintenance."""
    (row,) = [each for each in month.report.engines if each.name == engine]

    for result, seconds in (("good", row.good_seconds), ("bad", row.downtime_seconds)):
        assert month.grown(f'wawp_slo_seconds_total{{engine="{engine}",result="{result}"}}') == pytest.approx(
            seconds, abs=1
        )


@pytest.mark.parametrize("name", SESSIONS)
def test_so_is_the_time_of_each_session_in_each_status(month: Month, name: str) -> None:
    """Every one of them."""
    (row,) = [each for each in month.report.sessions if each.name == name]

    for status, seconds in row.status_seconds.items():
        query = f'wawp_session_status_seconds_total{{session="{name}",status="{status}"}}'
        assert month.grown(query) == pytest.approx(seconds, abs=1), status


def test_so_are_the_disconnects(month: Month) -> None:
    """Leaving WORKING for anything but STOPPED and UNKNOWN; one in maintenance is no disconnect, but a transition."""
    counted = month.grown('wawp_transitions_total{from="WORKING",to!~"STOPPED|UNKNOWN"}')

    assert 0 <= counted - month.report.total.disconnects <= 2


def test_api_and_command_give_the_figures_of_the_audit(tmp_path: Path) -> None:
    """Byte for byte, but for the moment at which they were asked."""
    with parts.Exporter({}, tmp_path) as exporter:
        for status, ago in (("WORKING", 3000), ("FAILED", 1000), ("WORKING", 900)):
            at = parts.now_ms() - ago * 1000
            assert exporter.post(parts.envelope(session="a", status=status, timestamp=at)).status_code == 200
        times = {"from": "2026-01-01", "to": f"{(parts.now_ms() - 60_000) / 1000:.3f}"}

        by_api = exporter.client.get(f"{exporter.url}/api/v1/audit", params=times).content
        options = [f"--{name}={value}" for name, value in times.items()]
        by_command = asyncio.run(command(exporter, *options))

    one, other = (msgspec.json.decode(told) for told in (by_api, by_command))
    assert one["sessions"][0]["disconnects"] == 1
    assert {**one, "prometheus_saw_ratio": 0} == {**other, "prometheus_saw_ratio": 0}


async def command(exporter: parts.Exporter, *options: str) -> bytes:
    """`wawp-exporter audit` on the same log."""
    args = ["audit", "--config", str(exporter.config_file), "--format", "json", *options]
    process = await asyncio.create_subprocess_exec(*exporter.command()[:3], *args, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told
