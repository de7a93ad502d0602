"""What people on call found wrong, as stories over real servers: each counts the messages that it ends in.

Everything is twenty times faster (alerts/tests/scene.py), but for the judge in stories that tell the exporter what
happened minutes ago: these have an exporter that keeps its own pace. After the first story all others go on at once.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from alerts.tests import scene as stage
from alerts.tests.scene import KEY, SENTINELS, Message, Scene, event, when, who
from tests import parts
from tests.habits import Habit, take_up

NEWER = [pytest.param(version, marks=pytest.mark.slow) for version in parts.VERSIONS[1:]]
PATIENT = ("gap", "chronic", "growing", "second", "paired", "zombie", "deaf", "holiday", "hushed")
# What sessions usually receive, and since when less comes: one of six, all of them but less, and none at all.
HABITS = {
    **{("deaf", f"deaf-{number}"): Habit(silent=0 if number else 4) for number in range(6)},
    **{("holiday", f"holiday-{number}"): Habit(silent=0 if number else 4, holiday=9) for number in range(6)},
    **{("hushed", f"hushed-{number}"): Habit(silent=4) for number in range(6)},
}

Stories = tuple[Scene, dict[str, "Future[list[Message]]"]]


@pytest.fixture(scope="module", params=[parts.VERSIONS[0], *NEWER], ids=str)
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """The servers of one Debian, and each story on its way, by the name of its source."""
    parts.require("prometheus", request.param)
    key = tmp_path_factory.mktemp("keys") / "gateway"
    key.write_bytes(KEY)
    sources = {name: {} for name in ("failover", *SENTINELS)} | {"scanned": {"hmac_keys_file": str(key)}}
    exporter = stage.settings(sources, groups={"pair": ["failover/one", "failover/two"]})
    patient = parts.Exporter({**stage.settings({name: {} for name in PATIENT}), "thresholds": {}})
    with (
        stage.staged(request.param, exporter, stage.settings({"away": {}}), patient) as scene,
        ThreadPoolExecutor(len(STORIES) + 1) as pool,
    ):
        scan(scene.exporter)
        take_up(patient, HABITS)
        first = pool.submit(everything_away, scene)
        first.exception()  # Prometheus is away for all
        yield scene, {"gap": first, **{name: pool.submit(story, scene) for name, story in STORIES.items()}}


def works(exporter: parts.Exporter, source: str, count: int, ago: float = 0.0) -> None:
    """So many sessions of a source are WORKING."""
    for number in range(count):
        event(exporter, source, f"{source}-{number}", "WORKING", ago=ago)


def lose(exporter: parts.Exporter, source: str, numbers: range, ago: float = 0.0) -> None:
    """These sessions are DISCONNECTED."""
    for number in numbers:
        event(exporter, source, f"{source}-{number}", "DISCONNECTED", ago=ago)


def scan(exporter: parts.Exporter) -> None:
    """A genuine webhook, then a scanner's: many without a signature, and some with a wrong one, all at once."""
    event(exporter, "scanned", "one", "WORKING", key=KEY)
    for number in range(20):
        assert exporter.post(b'{"scan": %d}' % number, source="scanned").status_code == 401
    for number in range(4):
        assert exporter.post(b'{"scan": %d}' % number, source="scanned", key=b"a guess").status_code == 401


def until(scene: Scene, expression: str) -> None:
    """Prometheus finds something."""
    parts.wait_until(lambda: scene.servers.prometheus.query(expression), expression)


def sessions(message: Message) -> list[str]:
    """The sessions that a message is about."""
    return sorted(alert["labels"]["session"] for alert in message["alerts"])


def messages_about(scene: Scene, source: str, alert: str) -> list[Message]:
    """All messages about a source, some time after the one of an alert."""
    scene.settle(scene.wait(source, alert)["at"])
    return scene.messages(source)


# What happens


def everything_away(scene: Scene) -> list[Message]:
    """Eight of twenty sessions are lost within eight minutes, of which exporter and Prometheus hear at their end."""
    exporter, prometheus = scene.other, scene.servers.prometheus
    works(exporter, "gap", 20, ago=1200)
    until(scene, 'count(wawp_session_status{source="gap", status="WORKING"} == 1) == 20')
    prometheus.stop()
    exporter.stop()
    exporter.start()
    for number in range(8):
        lose(exporter, "gap", range(number, number + 1), ago=500 - 60 * number)
    prometheus.start()
    return messages_about(scene, "gap", "WawpMassDisconnect")


def exporter_away(scene: Scene) -> list[Message]:
    """A session is DISCONNECTED before, during and after the five minutes, then WORKING."""
    for status in ("WORKING", "DISCONNECTED"):
        event(scene.fragile, "away", "one", status)
    scene.wait("away", "WawpSessionDisconnected")
    scene.fragile.kill()
    until(scene, f'count_over_time((up{{instance="{scene.fragile.address}"}} == 0)[5m:1s]) >= 15')
    scene.fragile.start()
    until(scene, f'wawp_source_synced{{source="away", instance="{scene.fragile.address}"}} == 1')
    scene.settle(time.time())
    told = scene.messages("away") + scene.messages("away", status="resolved")
    event(scene.fragile, "away", "one", "WORKING")
    scene.wait("away", "WawpSessionDisconnected", "resolved")
    return told


def chronic_losses(scene: Scene) -> list[Message]:
    """Three of ten have been lost for twenty minutes; then another one."""
    works(scene.other, "chronic", 10, ago=3600)
    lose(scene.other, "chronic", range(3), ago=1200)
    scene.wait("chronic", "WawpMassDisconnect")
    lose(scene.other, "chronic", range(5, 6))
    scene.wait("chronic", "WawpSessionDisconnected")
    return scene.messages("chronic")


def growing_outage(scene: Scene) -> list[Message]:
    """Six of thirty are lost, then ten, then all."""
    works(scene.other, "growing", 30)
    for count, numbers in enumerate((range(6), range(6, 10), range(10, 30)), 1):
        lose(scene.other, "growing", numbers)
        scene.wait_for_messages("growing", count)
    return scene.messages("growing")


def second_loss(scene: Scene) -> list[Message]:
    """One of twenty is lost, and when everybody has heard of it, another one."""
    works(scene.other, "second", 20)
    for count, number in ((1, 0), (2, 1)):
        lose(scene.other, "second", range(number, number + 1))
        scene.wait_for_messages("second", count)
    return scene.messages("second")


def first_pairings(scene: Scene) -> list[Message]:
    """Three sessions are added to seven."""
    works(scene.other, "paired", 7)
    for number in (7, 8, 9):
        for status in ("STARTING", "SCAN_QR_CODE"):
            event(scene.other, "paired", f"paired-{number}", status)
    scene.settle(scene.wait("paired", "WawpSessionQrWaiting")["at"])
    return scene.messages("paired")


def zombie(scene: Scene) -> list[Message]:
    """What one of three has sent for six minutes is not acknowledged; the others' messages are."""
    works(scene.other, "zombie", 3, ago=3600)
    for number in (2, 1, 0):
        own = {"id": f"true_1@c.us_{number}", "fromMe": True, "timestamp": round(time.time()) - 360, "ack": 0}
        told = [("message.any", own)] + ([("message.ack", own | {"ack": 1})] if number else [])
        for kind, payload in told:
            body = {"event": kind, "session": f"zombie-{number}", "payload": payload}
            scene.other.post(body, source="zombie").raise_for_status()
    return messages_about(scene, "zombie", "WawpSessionUndelivered")


def deaf(scene: Scene) -> list[Message]:
    """One of six has received nothing for four hours; the others show that it is no quiet day."""
    return messages_about(scene, "deaf", "WawpSessionSilent")


def holiday(scene: Scene) -> list[Message]:
    """All receive a tenth, and one of them nothing for four hours; another source's silence is told meanwhile."""
    scene.settle(scene.wait("deaf", "WawpSessionSilent")["at"])
    return scene.messages("holiday")


def hushed(scene: Scene) -> list[Message]:
    """None of six has received anything for four hours."""
    return messages_about(scene, "hushed", "WawpMassSilence")


def scanners(scene: Scene) -> list[Message]:
    """The gateway has nothing to say for half an hour after the scan."""
    until(
        scene, 'time() - wawp_exporter_refused_since_timestamp_seconds{source="scanned", reason="bad_signature"} > 90'
    )
    scene.settle(time.time())
    return scene.messages("scanned")


def degraded_group(scene: Scene) -> list[Message]:
    """One of two members is away for a moment, and later for longer."""
    for session in ("one", "two"):
        event(scene.exporter, "failover", session, "WORKING")
    event(scene.exporter, "failover", "two", "STARTING")
    until(scene, 'wawp_group_working_sessions{group="pair"} == 1')
    event(scene.exporter, "failover", "two", "WORKING")
    until(scene, 'wawp_group_working_sessions{group="pair"} == 2')
    event(scene.exporter, "failover", "two", "STARTING")
    return scene.receiver.wait_for(lambda arrived: [each for each in arrived if about_a_group(each)])


def about_a_group(message: Message) -> bool:
    """Whether it says that one member is left."""
    return message["groupLabels"].get("alertname") == "WawpFailoverGroupDegraded"


STORIES: dict[str, Callable[[Scene], list[Message]]] = {
    "away": exporter_away,
    "chronic": chronic_losses,
    "growing": growing_outage,
    "second": second_loss,
    "paired": first_pairings,
    "zombie": zombie,
    "deaf": deaf,
    "holiday": holiday,
    "hushed": hushed,
    "scanned": scanners,
    "failover": degraded_group,
}


# What people are told


def test_what_was_lost_while_monitoring_and_gateway_were_away_is_one_outage(stories: Stories) -> None:
    """Eight single messages until now."""
    (message,) = stories[1]["gap"].result()

    assert who(message) == "it-oncall"
    assert [alert["annotations"]["summary"] for alert in message["alerts"]] == [
        "Mass disconnect: 8 GOWS sessions of gap are lost"
    ]


def test_nothing_is_over_while_the_exporter_is_away(stories: Stories) -> None:
    """One page; neither its end nor another page while it is still DISCONNECTED."""
    (message,) = stories[1]["away"].result()

    assert message["status"] == "firing"


def test_sessions_that_are_chronically_lost_do_not_mute_a_new_one(stories: Stories) -> None:
    """They are an outage of its members only."""
    outage, single = stories[1]["chronic"].result()

    assert who(outage) == who(single) == "it-oncall"
    assert outage["commonLabels"]["alertname"] == "WawpMassDisconnect"
    assert sessions(single) == ["chronic-5"]


def test_an_outage_that_grows_is_a_message_a_step(stories: Stories) -> None:
    """Whoever was told of six must hear of thirty; never of single sessions."""
    scene, told = stories
    messages = told["growing"].result()

    steps = [sorted(int(alert["labels"]["step"]) for alert in each["alerts"]) for each in messages]
    assert steps == [[3], [3, 10], [3, 10, 30]]
    assert len({each["groupKey"] for each in messages}) == 1
    assert scene.names("growing") == {"WawpMassDisconnect"}


def test_a_second_disconnected_session_is_an_incident_of_its_own(stories: Stories) -> None:
    """The first is taken; whoever is on call must be called again."""
    first, second = stories[1]["second"].result()

    assert (sessions(first), sessions(second)) == (["second-0"], ["second-1"])
    assert first["groupKey"] != second["groupKey"]


def test_pairing_new_sessions_pages_nobody(stories: Stories) -> None:
    """The manager scans them; nobody is told of a mass logout."""
    scene, told = stories
    messages = told["paired"].result()

    assert {who(each) for each in messages} == {"session-manager"}
    assert {name for each in messages for name in sessions(each)} == {"paired-7", "paired-8", "paired-9"}
    assert scene.names("paired") == {"WawpSessionQrWaiting"}


def test_what_a_session_sends_in_vain_is_told_once(stories: Stories) -> None:
    """It says WORKING, and no program sees an error; the others of its source are well."""
    (message,) = stories[1]["zombie"].result()

    (alert,) = message["alerts"]
    assert who(message) == "ops-chat"
    assert alert["labels"]["alertname"] == "WawpSessionUndelivered"
    assert alert["annotations"]["summary"] == "zombie-0 is WORKING, but its messages do not leave"
    assert "has not acknowledged a message that session zombie-0" in alert["annotations"]["description"]


def test_a_session_that_is_quiet_against_its_habit_is_told_once(stories: Stories) -> None:
    """With the words of the silence, and for how long it has lasted, not since it was noticed."""
    (message,) = stories[1]["deaf"].result()

    (alert,) = message["alerts"]
    assert who(message) == "ops-chat"
    assert alert["annotations"]["summary"].startswith("deaf-0 is WORKING, but silent for 4h")


def test_nobody_is_told_of_a_quiet_holiday(stories: Stories) -> None:
    """All sessions of the source receive less."""
    assert stories[1]["holiday"].result() == []


def test_a_source_that_is_silent_as_a_whole_is_one_message(stories: Stories) -> None:
    """And none of its sessions has one of its own."""
    scene, told = stories
    (message,) = told["hushed"].result()

    assert who(message) == "ops-chat"
    assert {alert["annotations"]["summary"] for alert in message["alerts"]} == {
        "Mass silence: 6 NOWEB sessions of hushed are silent"
    }
    assert scene.names("hushed") == {"WawpMassSilence"}


def test_scanners_page_nobody(stories: Stories) -> None:
    """Wrong and missing signatures all at once, from whoever scans the internet."""
    assert stories[1]["scanned"].result() == []


def test_a_failover_group_that_is_degraded_for_a_moment_is_no_message(stories: Stories) -> None:
    """A member that restarts; one that stays away is told, once."""
    (message,) = stories[1]["failover"].result()

    (alert,) = message["alerts"]
    assert who(message) == "ops-chat"
    assert alert["labels"]["group"] == "pair"
    assert when(alert["startsAt"]) > stories[1]["gap"].result()[0]["at"]
