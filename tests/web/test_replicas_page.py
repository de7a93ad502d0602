"""Replicas, shards, and whoever is paged: the shipped rules and routing over four exporters of two shards."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from alerts.tests import stack
from tests import parts

SESSIONS = 20
LOST = 12
STEPS = {"3", "10"}
PACE = 0.05  # of the judge: what settles for 10 s settles for half a second


@pytest.fixture(scope="module")
def told(postgres: parts.Postgres) -> Iterator[tuple[stack.Stack, parts.Receiver]]:
    """A mass outage of one shard's source and one lost session of another's, sent to any of the replicas."""
    url = postgres.create_database("paged")
    sources = {name: {"allow_unsigned": True, "shard": shard} for shard, name in enumerate(("mass", "single"))}
    config = {"database": {"url": url}, "sources": sources, "thresholds": {"failed": "3s", "starting": "6s"}}
    with ExitStack() as started:
        replicas = [
            started.enter_context(parts.Exporter({**config, "shard": {"index": index % 2, "total": 2}}, pace=PACE))
            for index in range(4)
        ]
        receiver = started.enter_context(parts.Receiver())
        short = {name: stack.divided_by(30, 1) for name in stack.ROUTE_TIMES}
        servers = started.enter_context(
            stack.running(
                replicas,
                stack.shortened_rules(stack.divided_by(15, 1)),
                stack.routing(short, stack.recorded_at(receiver.url)),
            )
        )
        say(replicas, "mass", "WORKING", SESSIONS)
        say(replicas, "single", "WORKING", 6)
        seen = 'count_over_time(wawp_sessions{engine="GOWS",status="WORKING"}[1h]) >= 4'
        parts.wait_until(lambda: len(servers.prometheus.query(seen)) == len(replicas), "scrapes of a healthy fleet")
        say(replicas, "mass", "FAILED", LOST)
        say(replicas, "single", "FAILED", 1)
        yield servers, receiver


def say(replicas: list[parts.Exporter], source: str, status: str, count: int) -> None:
    """Each session of the source says so to one of the replicas."""
    for number in range(count):
        body = parts.envelope(session=f"s{number}", status=status, timestamp=parts.now_ms(), statuses=[], engine="GOWS")
        replicas[number % len(replicas)].post(body, source=source).raise_for_status()


def firing(servers: stack.Stack, name: str) -> list[dict[str, str]]:
    """The labels of the alerts of this name that fire."""
    return [each["metric"] for each in servers.prometheus.query(f'ALERTS{{alertname="{name}",alertstate="firing"}}')]


def test_a_mass_outage_of_one_shard_is_one_incident(told: tuple[stack.Stack, parts.Receiver]) -> None:
    """Two replicas export it; there is one alert a step, to one receiver, and none for its sessions."""
    servers, receiver = told

    parts.wait_until(lambda: len(firing(servers, "WawpMassDisconnect")) == len(STEPS), "an alert of each step")

    alerts = firing(servers, "WawpMassDisconnect")
    assert {(each["source"], each["engine"]) for each in alerts} == {("mass", "GOWS")}
    assert {each["step"] for each in alerts} == STEPS
    parts.wait_until(lambda: servers.prometheus.value("wawp:outage:sessions") == LOST, "all that are lost, once each")
    parts.wait_until(lambda: ("it-oncall", len(STEPS)) in sent(receiver, "WawpMassDisconnect"), "the page")
    assert {to for to, _ in sent(receiver, "WawpMassDisconnect")} == {"it-oncall"}
    assert [each for each in firing(servers, "WawpSessionFailed") if each["source"] == "mass"] == []


def sent(receiver: parts.Receiver, name: str) -> set[tuple[str, int]]:
    """To whom a message with this alert went, and how many alerts of the name it held."""
    with receiver.arrived:
        arrived = list(receiver.notifications)
    found = set()
    for each in arrived:
        count = sum(alert["labels"]["alertname"] == name for alert in each["alerts"])
        if count and each["status"] == "firing":
            found.add((each["receiver"], count))
    return found


def test_one_lost_session_is_one_alert(told: tuple[stack.Stack, parts.Receiver]) -> None:
    """Two replicas export it, nobody is told twice."""
    servers, receiver = told

    parts.wait_until(lambda: sent(receiver, "WawpSessionFailed"), "the message")

    single = [each for each in firing(servers, "WawpSessionFailed") if each["source"] == "single"]
    assert len(single) == 1
    assert {count for _, count in sent(receiver, "WawpSessionFailed")} == {1}


def test_the_counts_of_the_fleet_add_up(told: tuple[stack.Stack, parts.Receiver]) -> None:
    """`max` over replicas, then `sum` over shards, as the rules and the dashboards have it."""
    servers, _ = told
    total = 'sum by (source) (max by (source, engine, shard, status) (wawp_sessions{source="mass"}))'

    assert servers.prometheus.value(total) == SESSIONS
