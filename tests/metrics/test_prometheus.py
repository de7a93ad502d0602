"""A real Prometheus scrapes the exporter, and its queries give what was sent."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests import parts

# What Prometheus 2.x asks for, and 3.x does.
ACCEPT = {
    "2": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
}
HOSTILE = 'quo"te\\back\nline 😀 {a="b"} # EOF'
JOB = '{test="figures"}'


class Story:
    """Sends statuses of now and remembers when each began, by the clock of this process."""

    def __init__(self, exporter: parts.Exporter) -> None:
        self.exporter = exporter
        self.entered: dict[str, list[tuple[str, float]]] = {}

    def tell(self, session: str, status: str, **more: Any) -> None:
        """One webhook; the answer is awaited."""
        at = time.time()
        body = parts.envelope(session=session, status=status, timestamp=int(at * 1000), **more)
        assert self.exporter.post(body).json() == {"outcome": "transition"}
        self.entered.setdefault(session, []).append((status, at))

    def seconds(self, session: str, until: float) -> dict[str, float]:
        """How long the session was in each status."""
        told = self.entered[session]
        ends = [at for _, at in told[1:]] + [until]
        spent: dict[str, float] = {}
        for (status, began), end in zip(told, ends, strict=True):
            spent[status] = spent.get(status, 0) + end - began
        return spent


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """With something of every kind: a group, thresholds, an owner, a window of maintenance."""
    config = {
        "groups": {"sales": ["default/uk", "default/global"]},
        "sessions": [{"session": "uk", "owner": "ana", "tier": "gold", "thresholds": {"starting": "3m"}}],
        "maintenance": [{"session": "night-*", "from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}],
    }
    with parts.Exporter(config, tmp_path_factory.mktemp("scraped")) as running:
        yield running


@pytest.fixture(scope="module")
def story(exporter: parts.Exporter, prometheus: parts.Prometheus) -> Iterator[Story]:
    """A few seconds in the life of a fleet, scraped every second from before its first webhook."""
    prometheus.add_target(exporter.address, test="figures")
    parts.wait_until(lambda: prometheus.query('up{test="figures"} == 1'), "the first scrape")
    story = Story(exporter)
    timelock = {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": int(time.time()) + 3600}}
    story.tell("uk", "STARTING")
    story.tell("global", "STARTING", engine="GOWS")
    story.tell("night-1", "STARTING")
    story.tell(HOSTILE, "SCAN_QR_CODE")
    scraped(prometheus, time.time() + 1)
    story.tell("uk", "WORKING", payload={"data": timelock})
    story.tell("global", "PASSKEY_REQUIRED", engine="GOWS")
    scraped(prometheus, time.time() + 2)
    story.tell("uk", "DISCONNECTED")
    scraped(prometheus, time.time() + 1)
    story.tell("uk", "WORKING")
    story.tell("global", "STOPPED", engine="GOWS")
    scraped(prometheus, time.time() + 2)
    yield story
    prometheus.remove_target(exporter.address)


def scraped(prometheus: parts.Prometheus, after: float) -> None:
    """Waits for a scrape that began after that instant."""
    parts.wait_until(lambda: prometheus.value(f"timestamp(up{JOB})") > after, "a scrape")


def by(prometheus: parts.Prometheus, expr: str, *labels: str) -> dict[Any, float]:
    """An instant vector by one label, or by several."""
    found = {}
    for series in prometheus.query(expr):
        key = tuple(series["metric"].get(label, "") for label in labels)
        found[key if len(labels) > 1 else key[0]] = float(series["value"][1])
    return found


def test_each_session_is_in_the_status_that_was_sent_last(story: Story, prometheus: parts.Prometheus) -> None:
    """Exactly one series of `wawp_session_status` is 1, and since-times are the gateway's."""
    current = by(prometheus, f"wawp_session_status{JOB} == 1", "session", "status")
    since = by(prometheus, f"wawp_session_status_since_timestamp_seconds{JOB}", "session")

    assert set(current) == {(session, told[-1][0]) for session, told in story.entered.items()}
    assert since == pytest.approx({session: told[-1][1] for session, told in story.entered.items()}, abs=0.002)


def test_seconds_are_exact_to_a_second(story: Story, prometheus: parts.Prometheus) -> None:
    """Uptime by the last value; every status of every session, at the moment that the exporter tells beside them."""
    seconds = by(prometheus, f"wawp_session_status_seconds_total{JOB}", "session", "status")
    at = prometheus.value(f"wawp_exporter_time_seconds{JOB}")

    for session in story.entered:
        spent = story.seconds(session, at)
        assert seconds[session, "WORKING"] == pytest.approx(spent.get("WORKING", 0), abs=1)
        for status in {status for name, status in seconds if name == session}:
            assert seconds[session, status] == pytest.approx(spent.get(status, 0), abs=1)


def test_a_session_gains_a_second_in_every_second(story: Story, prometheus: parts.Prometheus) -> None:
    """Whatever it goes through: the sum over its statuses grows like the exporter's clock, from scrape to scrape."""
    (clock,) = prometheus.query(f"wawp_exporter_time_seconds{JOB}[1m]")
    shown = {at: float(value) for at, value in clock["values"]}
    sums: dict[str, dict[float, float]] = {}
    for series in prometheus.query(f"wawp_session_status_seconds_total{JOB}[1m]"):
        of_session = sums.setdefault(series["metric"]["session"], {})
        for at, value in series["values"]:
            of_session[at] = of_session.get(at, 0) + float(value)

    assert set(sums) == set(story.entered)
    for totals in sums.values():
        assert len(totals) > 5
        grown = [(shown[later] - shown[at], totals[later] - totals[at]) for at, later in pairwise(sorted(totals))]
        assert [gain for _, gain in grown] == pytest.approx([passed for passed, _ in grown], abs=0.05)


def test_the_increase_of_a_status_is_the_time_in_it(story: Story, prometheus: parts.Prometheus) -> None:
    """As an uptime panel asks; time is the exporter's."""
    steady = f'{JOB[:-1]},session="night-1",status="STARTING"}}'
    increase = f"sum(increase(wawp_session_status_seconds_total{steady}[5s]))"

    assert prometheus.value(f"{increase} / sum(delta(wawp_exporter_time_seconds{JOB}[5s]))") == pytest.approx(
        1, abs=0.02
    )


def test_transitions_are_counted(story: Story, prometheus: parts.Prometheus) -> None:
    """A session's first status counts as one; those of the fleet say from where."""
    counted = by(prometheus, f"wawp_session_transitions_total{JOB} > 0", "session", "to")
    fleet = by(prometheus, f"sum by (from, to) (wawp_transitions_total{JOB}) > 0", "from", "to")
    told = [status for statuses in story.entered.values() for status, _ in statuses]

    assert counted == {
        (session, status): sum(status == other for other, _ in statuses)
        for session, statuses in story.entered.items()
        for status, _ in statuses
    }
    assert sum(fleet.values()) == len(told)
    assert fleet["NONE", "STARTING"] == 3
    assert fleet["WORKING", "DISCONNECTED"] == 1
    accepted = by(prometheus, f"wawp_exporter_webhooks_total{JOB} > 0", "outcome")
    assert accepted == {"transition": len(told)}


def test_the_fleet_is_the_sum_of_its_sessions(story: Story, prometheus: parts.Prometheus) -> None:
    """`wawp_sessions` by engine and status; groups by members."""
    fleet = by(prometheus, f"wawp_sessions{JOB} > 0", "engine", "status")

    assert fleet == {
        ("NOWEB", "WORKING"): 1,
        ("NOWEB", "STARTING"): 1,
        ("NOWEB", "SCAN_QR_CODE"): 1,
        ("GOWS", "STOPPED"): 1,
    }
    assert by(prometheus, f"wawp_group_sessions{JOB}", "group") == {"sales": 2}
    assert by(prometheus, f"wawp_group_working_sessions{JOB}", "group") == {"sales": 1}
    assert by(prometheus, f"wawp_group_eligible_sessions{JOB}", "group") == {"sales": 1}


def test_episodes_restrictions_and_maintenance_arrive(story: Story, prometheus: parts.Prometheus) -> None:
    """As timestamps and as 0 or 1, for rules to compare."""
    login = by(prometheus, f"wawp_session_auth_required_since_timestamp_seconds{JOB} > 0", "session")
    down = by(prometheus, f"wawp_session_down_since_timestamp_seconds{JOB} > 0", "session")

    assert login == pytest.approx({HOSTILE: story.entered[HOSTILE][0][1]}, abs=0.002)
    assert set(down) == {HOSTILE, "night-1"}
    assert by(prometheus, f"wawp_session_restricted{JOB} == 1", "session", "restriction") == {
        ("uk", "reachout_timelock"): 1
    }
    assert by(prometheus, f"wawp_session_maintenance{JOB} == 1", "session") == {"night-1": 1}


def test_nothing_was_lost_between_two_scrapes(story: Story, prometheus: parts.Prometheus) -> None:
    """Prometheus dropped no sample as double or out of order."""
    dropped = f"scrape_samples_scraped{JOB} - scrape_samples_post_metric_relabeling{JOB}"
    assert prometheus.value(dropped) == 0
    log = prometheus.stderr
    assert "duplicate" not in log.lower()
    assert "out-of-order" not in log.lower()


def test_prometheus_scrapes_openmetrics_by_itself(story: Story, prometheus: parts.Prometheus) -> None:
    """By its default Accept: the family of a counter has no `_total` then."""
    metadata = prometheus.api("targets/metadata", match_target=JOB, metric="wawp_session_transitions")
    unaware = prometheus.api("targets/metadata", match_target=JOB, metric="wawp_session_transitions_total")

    assert [entry["type"] for entry in metadata] == ["counter"]
    assert unaware == []


@pytest.mark.parametrize("accept", ACCEPT.values(), ids=ACCEPT)
def test_the_default_accept_of_prometheus_gets_openmetrics(exporter: parts.Exporter, accept: str) -> None:
    """In the version that it names."""
    answer = exporter.get("/metrics", {"Accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")


def test_newer_versions_of_prometheus_scrape_it_too(story: Story, exporter: parts.Exporter) -> None:
    """The same figures from all of them."""
    names = [version for version in parts.VERSIONS[1:] if parts.find("prometheus", version)]
    if not names:
        parts.require("prometheus", "trixie")
    with ExitStack() as stack:
        servers = {name: stack.enter_context(parts.Prometheus(version=name)) for name in names}
        for server in servers.values():
            server.add_target(exporter.address, test="figures")
        for server in servers.values():
            parts.wait_until(lambda server=server: server.query(f"up{JOB} == 1"), "the first scrape")
        found = {
            name: by(server, f"wawp_session_status{JOB} == 1", "session", "status") for name, server in servers.items()
        }

    current = {(session, told[-1][0]): 1 for session, told in story.entered.items()}
    assert found == dict.fromkeys(servers, current)


def test_promtool_has_nothing_to_say_about_the_metrics(story: Story, exporter: parts.Exporter, promtool: Path) -> None:
    """Names, help and types are as its linter wants them."""
    text = exporter.metrics({"Accept": "text/plain"})
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "wawp_session_restricted{" in text


def test_a_deleted_session_is_stale_at_the_next_scrape(
    story: Story, exporter: parts.Exporter, prometheus: parts.Prometheus
) -> None:
    """No alert lives on for five minutes with the dead."""
    story.tell("doomed", "FAILED")
    here = 'count({test="figures",session="doomed"})'
    assert parts.wait_until(lambda: prometheus.query(here))
    assert exporter.client.delete(f"{exporter.url}/api/v1/sessions/default/doomed").status_code == 204
    del story.entered["doomed"]

    parts.wait_until(lambda: not prometheus.query(here), "stale")


def test_a_restart_is_no_false_increase(exporter: parts.Exporter, story: Story, prometheus: parts.Prometheus) -> None:
    """Counters begin at 0 with the process, which Prometheus takes for the reset it is."""
    counted = prometheus.value(f"sum(wawp_transitions_total{JOB})")
    exporter.kill()
    exporter.start()
    scraped(prometheus, time.time() + 1)
    with pytest.raises(RuntimeError, match="gives 0 series"):
        prometheus.value(f"sum(increase(wawp_transitions_total{JOB}[2s])) > 0")

    assert prometheus.value(f"sum(wawp_transitions_total{JOB})") == 0
    assert prometheus.value(f"sum(resets(wawp_transitions_total{JOB}[10m])) > bool 0") == 1
    assert prometheus.value(f"sum(increase(wawp_transitions_total{JOB}[30s]))") <= 2 * counted
    assert by(prometheus, f"wawp_session_status{JOB} == 1", "session", "status").keys() == {
        (session, told[-1][0]) for session, told in story.entered.items()
    }
