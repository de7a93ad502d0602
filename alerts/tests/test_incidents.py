"""What people on call found wrong, as stories over real servers: each counts the messages that it ends in.

Everything is twenty times faster (alerts/tests/scene.py), but for the judge in stories that tell the exporter what
happened minutes ago: these have an exporter that keeps its own pace.
"""

import time
from collections.abc import Iterator

import pytest

from alerts.tests import scene as stage
from alerts.tests.scene import KEY, SENTINELS, Message, Scene, event, when, who
from tests import parts

NEWER = [pytest.param(version, marks=pytest.mark.slow) for version in parts.VERSIONS[1:]]
STORIES = ("gap", "chronic", "growing", "second", "paired")


@pytest.fixture(scope="module", params=[parts.VERSIONS[0], *NEWER], ids=str)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The servers of one Debian, and scanners that have found one of the sources."""
    parts.require("prometheus", request.param)
    key = tmp_path_factory.mktemp("keys") / "gateway"
    key.write_bytes(KEY)
    sources = {name: {} for name in ("failover", *SENTINELS)} | {"scanned": {"hmac_keys_file": str(key)}}
    exporter = stage.settings(sources, groups={"pair": ["failover/one", "failover/two"]})
    patient = {**stage.settings({name: {} for name in STORIES}), "thresholds": {}}
    with stage.staged(request.param, exporter, stage.settings({"away": {}}), patient) as found:
        scan(found.exporter)
        yield found


def scan(exporter: parts.Exporter) -> None:
    """A genuine webhook, then a scanner's: many without a signature, and some with a wrong one, all at once."""
    event(exporter, "scanned", "one", "WORKING", key=KEY)
    for number in range(20):
        assert exporter.post(b'{"scan": %d}' % number, source="scanned").status_code == 401
    for number in range(4):
        assert exporter.post(b'{"scan": %d}' % number, source="scanned", key=b"a guess").status_code == 401


def works(exporter: parts.Exporter, source: str, count: int, ago: float = 0.0) -> list[str]:
    """So many sessions of a source are WORKING; gives their names."""
    names = [f"{source}-{number}" for number in range(count)]
    for name in names:
        event(exporter, source, name, "WORKING", ago=ago)
    return names


def steps(message: Message) -> set[str]:
    """The steps of an outage that a message holds."""
    return {alert["labels"].get("step", "") for alert in message["alerts"]}


def sessions(message: Message) -> list[str]:
    """The sessions that a message is about."""
    return sorted(alert["labels"]["session"] for alert in message["alerts"])


def lose(exporter: parts.Exporter, source: str, numbers: range, ago: float = 0.0) -> None:
    """These sessions are DISCONNECTED, a second after each other."""
    for number in numbers:
        event(exporter, source, f"{source}-{number}", "DISCONNECTED", ago=ago - (number - numbers.start))


# First, since Prometheus is away for all of them


def test_what_was_lost_while_monitoring_and_gateway_were_away_is_one_outage(scene: Scene) -> None:
    """Eight of twenty within eight minutes, of which everybody hears at once: eight single messages until now."""
    exporter, prometheus = scene.patient, scene.servers.prometheus
    works(exporter, "gap", 20, ago=1200)
    known = 'count(wawp_session_status{source="gap", status="WORKING"} == 1) == 20'
    parts.wait_until(lambda: prometheus.query(known), known)

    prometheus.stop()
    exporter.stop()
    exporter.start()
    for number in range(8):
        event(exporter, "gap", f"gap-{number}", "DISCONNECTED", ago=500 - 60 * number)
    prometheus.start()
    message = scene.wait("gap", "WawpMassDisconnect")
    scene.settle(message["at"])

    assert who(message) == "it-oncall"
    assert scene.messages("gap") == [message]
    assert [alert["annotations"]["summary"] for alert in message["alerts"]] == [
        "Mass disconnect: 8 GOWS sessions of gap are lost"
    ]


def test_nothing_is_over_while_the_exporter_is_away(scene: Scene) -> None:
    """DISCONNECTED before and after its five minutes: one page, and one end when it works again."""
    event(scene.fragile, "away", "one", "WORKING")
    event(scene.fragile, "away", "one", "DISCONNECTED")
    scene.wait("away", "WawpSessionDisconnected")

    scene.fragile.kill()
    missed = f'count_over_time((up{{instance="{scene.fragile.address}"}} == 0)[5m:1s]) >= 15'
    parts.wait_until(lambda: scene.servers.prometheus.query(missed), missed)
    scene.fragile.start()
    synced = 'wawp_source_synced{source="away"} == 1'
    parts.wait_until(lambda: scene.servers.prometheus.query(synced), synced)
    scene.settle(time.time())
    told, over = scene.messages("away"), scene.messages("away", status="resolved")
    event(scene.fragile, "away", "one", "WORKING")
    scene.wait("away", "WawpSessionDisconnected", "resolved")

    assert (len(told), over) == (1, [])
    assert scene.messages("away") == told


def test_sessions_that_are_chronically_lost_do_not_mute_a_new_one(scene: Scene) -> None:
    """Three of ten have been lost for twenty minutes: an outage of its members only."""
    works(scene.patient, "chronic", 10, ago=3600)
    lose(scene.patient, "chronic", range(3), ago=1200)
    outage = scene.wait("chronic", "WawpMassDisconnect")
    lose(scene.patient, "chronic", range(5, 6))
    single = scene.wait("chronic", "WawpSessionDisconnected")

    assert who(outage) == who(single) == "it-oncall"
    assert sessions(single) == ["chronic-5"]
    assert scene.messages("chronic") == [outage, single]


def test_an_outage_that_grows_is_a_message_a_step(scene: Scene) -> None:
    """3 → 10 → 30 of 30: whoever was told of six must hear of thirty; never of single sessions."""
    works(scene.patient, "growing", 30)
    for count, numbers in enumerate((range(6), range(6, 10), range(10, 30)), 1):
        lose(scene.patient, "growing", numbers)
        messages = scene.wait_for_messages("growing", count)

    assert [sorted(steps(each), key=int) for each in messages] == [["3"], ["3", "10"], ["3", "10", "30"]]
    assert len({each["groupKey"] for each in messages}) == 1
    assert scene.names("growing") == {"WawpMassDisconnect"}


def test_a_second_disconnected_session_is_an_incident_of_its_own(scene: Scene) -> None:
    """The first is taken; whoever is on call must be called again."""
    works(scene.patient, "second", 10)
    lose(scene.patient, "second", range(1))
    scene.wait("second", "WawpSessionDisconnected")
    lose(scene.patient, "second", range(1, 2))
    first, second = scene.wait_for_messages("second", 2)

    assert (sessions(first), sessions(second)) == (["second-0"], ["second-1"])
    assert first["groupKey"] != second["groupKey"]


def test_pairing_new_sessions_pages_nobody(scene: Scene) -> None:
    """Three new ones in a fleet of ten: the manager scans them, and nobody is told of a mass logout."""
    works(scene.patient, "paired", 7)
    for number in (7, 8, 9):
        for status in ("STARTING", "SCAN_QR_CODE"):
            event(scene.patient, "paired", f"paired-{number}", status)
    message = scene.wait("paired", "WawpSessionQrWaiting")
    scene.settle(message["at"])

    assert scene.names("paired") == {"WawpSessionQrWaiting"}
    assert {who(each) for each in scene.messages("paired")} == {"session-manager"}
    assert {alert["labels"]["session"] for alert in scene.alerts("paired")} == {"paired-7", "paired-8", "paired-9"}


def test_scanners_page_nobody(scene: Scene) -> None:
    """Wrong and missing signatures all at once, and a gateway that has nothing to say for half an hour."""
    begun = 'time() - wawp_exporter_refused_since_timestamp_seconds{source="scanned", reason="bad_signature"} > 90'
    parts.wait_until(lambda: scene.servers.prometheus.query(begun), begun)
    scene.settle(time.time())

    assert scene.messages("scanned") == []


def test_a_failover_group_that_is_degraded_for_a_moment_is_no_message(scene: Scene) -> None:
    """A member that restarts; one that stays away is told, once."""
    one_left = 'wawp_group_working_sessions{group="pair"} == 1'
    for status in ("WORKING", "STARTING"):
        event(scene.exporter, "failover", "one", "WORKING")
        event(scene.exporter, "failover", "two", status)
    parts.wait_until(lambda: scene.servers.prometheus.query(one_left), one_left)
    event(scene.exporter, "failover", "two", "WORKING")
    both = 'wawp_group_working_sessions{group="pair"} == 2'
    parts.wait_until(lambda: scene.servers.prometheus.query(both), both)
    again = time.time()
    event(scene.exporter, "failover", "two", "STARTING")
    (told,) = scene.receiver.wait_for(degraded)

    assert who(told) == "ops-chat"
    assert all(when(alert["startsAt"]) > again for alert in told["alerts"])


def degraded(arrived: list[Message]) -> list[Message]:
    """The messages about a group with one member left."""
    return [each for each in arrived if each["groupLabels"].get("alertname") == "WawpFailoverGroupDegraded"]
