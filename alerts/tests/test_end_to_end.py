"""From a webhook to a message: simulator, exporter, Prometheus, Alertmanager, receiver; real servers and real HTTP.

Rules and routing are the shipped files; everything is twenty times faster (alerts/tests/scene.py). Each story has a
source of its own, and all are played at once over the same servers.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alerts.tests import scene as stage
from alerts.tests import stack
from alerts.tests.scene import KEY, SENTINELS, Message, Play, Scene, event, when, who
from alerts.tests.test_routes import expected
from tests import parts

NEW_KEY = b"another key"
QR_ESCALATE = 15.0 + 5.0  # the limit, and the time to settle
# Losses in three sources of one exporter would be one outage.
OTHERS = ("mass-gows", "mass-noweb")
SAID = ("summary", "description", "action", "lasted", "runbook_url", "dashboard_url")

# By source.
PLAYS = {
    "starting": Play("stuck-start", sessions=3, pace=5, made={"heartbeat": 0}),
    "answered": Play("qr-answered", pace=5, made={"duration": 40}),
    "escalated": Play("qr-answered", "NOWEB", pace=3, made={"duration": 150}),
    "unscanned": Play("logout", pace=20),
    "single": Play("single-disconnect", sessions=5, pace=5, made={"duration": 75}),
    "mass-gows": Play("mass-disconnect", "GOWS", 20, 20, {"duration": 400, "heartbeat": 0}),
    "mass-noweb": Play("mass-disconnect", "NOWEB", 20, 20, {"duration": 400, "heartbeat": 0}),
    # Half as many: a browser that crashes says two things every three seconds, which was most of all webhooks here.
    "mass-webjs": Play("mass-disconnect", "WEBJS", 10, 20, {"duration": 400, "heartbeat": 0}),
    "stopped": Play("gateway-shutdown", sessions=5, pace=10),
    "maintained": Play("mass-disconnect", sessions=5, pace=10, made={"duration": 300}),
    "loop": Play("restart-loop", sessions=2, pace=20, made={"duration": 600}),
    "dead": Play("zombie", sessions=5, pace=20, made={"duration": 1200}),
    "holiday": Play("quiet-holiday", sessions=5, pace=20, made={"duration": 1200}),
    "forged": Play("steady", sessions=5, made={"duration": 300, "heartbeat": 5}, sent={"forged": 1}),
}

NEWER = [pytest.param(version, marks=pytest.mark.slow) for version in parts.VERSIONS[1:]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the keys that webhooks are signed with."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("gateway", "rotating"):
        (folder / name).write_bytes(KEY)
    return folder


@pytest.fixture(scope="module", params=[parts.VERSIONS[0], *NEWER], ids=str)
def scene(request: pytest.FixtureRequest, keys: Path) -> Iterator[Scene]:
    """The servers of one Debian, and every story of PLAYS on its way; skipped where that Debian's are not there."""
    parts.require("prometheus", request.param)
    (keys / "rotating").write_bytes(KEY)
    secret = {
        "forged": {"hmac_keys_file": str(keys / "gateway")},
        "rotated": {"hmac_keys_file": str(keys / "rotating")},
    }
    today = datetime.now(UTC)
    window = {"from": (today - timedelta(hours=1)).isoformat(), "to": (today + timedelta(hours=1)).isoformat()}
    more = {
        "maintenance": [{"source": "maintained", **window}],
        "sessions": [{"source": "answered", "owner": "ana"}],
    }
    sources = {name: {} for name in (*PLAYS, *SENTINELS)} | secret
    other = stage.hasty(stage.settings({name: {} for name in OTHERS}))
    with stage.staged(request.param, stage.settings(sources, **more), stage.settings({"killed": {}}), other) as found:
        for source, play in PLAYS.items():
            found.play(source, play, found.other if source in OTHERS else found.exporter)
        yield found


# The stories that need a hand, while the others play


def test_an_exporter_killed_in_a_qr_wait_loses_no_escalation_and_gives_no_all_clear(scene: Scene) -> None:
    """SIGKILL when the manager has just been told: IT is told at the time of the QR code, not of the restart."""
    scene.play("killed", Play("logout", pace=10), scene.fragile)
    manager = scene.wait("killed", "WawpSessionQrWaiting")
    since = scene.servers.prometheus.value(
        'wawp_session_auth_required_since_timestamp_seconds{source="killed",session="killed-001"}'
    )

    scene.fragile.kill()
    down = f'up{{instance="{scene.fragile.address}"}} == 0'
    parts.wait_until(lambda: scene.servers.prometheus.query(down), down)
    scene.fragile.start()
    restarted = time.time()
    escalated = scene.wait("killed", "WawpSessionQrEscalated")
    lead = scene.wait("killed", "WawpSessionQrUnattended")
    scene.settle(lead["at"])

    assert [who(manager), who(escalated), who(lead)] == ["session-manager", "it-oncall", "it-lead"]
    assert since + QR_ESCALATE < when(escalated["alerts"][0]["startsAt"]) < restarted + QR_ESCALATE
    assert scene.messages("killed", status="resolved") == []
    assert len(scene.messages("killed", "WawpSessionQrWaiting")) == 1
    assert scene.names("killed") == {"WawpSessionQrWaiting", "WawpSessionQrEscalated", "WawpSessionQrUnattended"}


def test_a_rotated_secret_pages_it_that_the_feed_is_refused(scene: Scene, keys: Path) -> None:
    """One side has a new key: everything is refused, nothing accepted."""
    event(scene.exporter, "rotated", "rotated-001", "WORKING", key=KEY)
    (keys / "rotating").write_bytes(NEW_KEY)
    os.kill(scene.exporter.pid, signal.SIGHUP)

    def refused() -> list[Message]:
        """The gateway goes on with the old key."""
        scene.exporter.post(parts.envelope(session="rotated-001"), source="rotated", key=KEY)
        return scene.messages("rotated", "WawpWebhookFeedRejected")

    (message, *_) = parts.wait_until(refused, "WawpWebhookFeedRejected")

    assert who(message) == "it-oncall"
    assert message["commonLabels"]["severity"] == "critical"


def test_a_rotated_secret_is_not_called_a_forgery(scene: Scene) -> None:
    """Not while all is refused, and not when the gateway has the new key too."""
    scene.wait("rotated", "WawpWebhookFeedRejected")
    event(scene.exporter, "rotated", "rotated-001", "WORKING", key=NEW_KEY)
    over = scene.wait("rotated", "WawpWebhookFeedRejected", "resolved")
    scene.settle(over["at"])

    assert scene.names("rotated") == {"WawpWebhookFeedRejected"}


# The stories that play by themselves


def test_a_stuck_start_is_told_once_to_the_chat(scene: Scene) -> None:
    """STARTING longer than its limit; that it is also not WORKING is no second message. WORKING ends it."""
    message = scene.wait("starting", "WawpSessionStuckStarting")
    scene.settle(time.time())
    told = scene.messages("starting")
    event(scene.exporter, "starting", "starting-001", "WORKING")
    over = scene.wait("starting", "WawpSessionStuckStarting", "resolved")

    assert who(message) == who(over) == "ops-chat"
    assert [alert["labels"]["session"] for alert in message["alerts"]] == ["starting-001"]
    assert told == [message]


def test_a_qr_code_scanned_in_time_is_the_managers_business_only(scene: Scene) -> None:
    """Told at once, told that it is over, and nobody else is."""
    message = scene.wait("answered", "WawpSessionQrWaiting")
    over = scene.wait("answered", "WawpSessionQrWaiting", "resolved")
    scene.settle(over["at"])

    assert who(message) == who(over) == "session-manager"
    assert message["groupLabels"]["owner"] == "ana"
    assert len(scene.messages("answered")) == 1
    assert scene.names("answered") == {"WawpSessionQrWaiting"}


def test_an_unanswered_qr_code_climbs_from_manager_to_it_to_lead(scene: Scene) -> None:
    """Each once and in this order, and each is told that it is over when it is, not before."""
    levels = ["WawpSessionQrWaiting", "WawpSessionQrEscalated", "WawpSessionQrUnattended"]
    told = [scene.wait("escalated", level) for level in levels]
    over = [scene.wait("escalated", level, "resolved") for level in levels]

    assert [who(each) for each in told] == [who(each) for each in over] == ["session-manager", "it-oncall", "it-lead"]
    began = [when(each["alerts"][0]["startsAt"]) for each in told]
    assert began == sorted(began)
    assert all(len(scene.messages("escalated", level)) == 1 for level in levels)
    assert scene.names("escalated") == set(levels)


def test_a_qr_code_that_turned_failed_still_climbs(scene: Scene) -> None:
    """WAHA gives up after six images and says FAILED: the escalation comes after that, and no all-clear before."""
    levels = ["WawpSessionQrWaiting", "WawpSessionQrEscalated", "WawpSessionQrUnattended"]
    told = [scene.wait("unscanned", level) for level in levels]
    failed = scene.truth("unscanned")
    scene.settle(max(told[-1]["at"], scene.ended["unscanned"]))

    assert failed.status == "FAILED"
    assert failed.since_ms / 1000 < when(told[1]["alerts"][0]["startsAt"])
    assert [who(each) for each in told] == ["session-manager", "it-oncall", "it-lead"]
    assert scene.messages("unscanned", status="resolved") == []
    assert scene.names("unscanned") == set(levels)


def test_a_single_disconnect_pages_it_once(scene: Scene) -> None:
    """One of five is no mass; its end is told too."""
    message = scene.wait("single", "WawpSessionDisconnected")
    over = scene.wait("single", "WawpSessionDisconnected", "resolved")

    assert who(message) == who(over) == "it-oncall"
    assert message["commonLabels"]["severity"] == "critical"
    assert [alert["labels"]["session"] for alert in message["alerts"]] == ["single-001"]
    assert len(scene.messages("single")) == 1
    assert scene.names("single") == {"WawpSessionDisconnected"}


def test_a_session_that_does_not_do_what_it_says_is_told_once_to_the_chat(scene: Scene) -> None:
    """It says WORKING, but nothing that it sends arrives; the four others are well."""
    message = scene.wait("dead", "WawpSessionUndelivered")
    truth = scene.truth("dead")
    scene.settle(max(message["at"], scene.ended["dead"]))

    assert who(message) == "ops-chat"
    assert [alert["labels"]["session"] for alert in message["alerts"]] == ["dead-001"]
    assert (truth.status, truth.messages.unacknowledged > 0) == ("WORKING", True)
    assert scene.messages("dead") == [message]


def test_a_quiet_holiday_is_told_to_nobody(scene: Scene) -> None:
    """All sessions receive and send a tenth, which arrives."""
    truth = scene.truth("holiday")
    scene.settle(scene.ended["holiday"])

    assert truth.messages.unacknowledged == 0 < truth.messages.sent
    assert scene.messages("holiday") == []


@pytest.mark.parametrize("engine", ["GOWS", "NOWEB", "WEBJS"])
def test_a_mass_disconnect_is_one_page_and_none_about_its_sessions(scene: Scene, engine: str) -> None:
    """GOWS says STARTING once, NOWEB again and again, WEBJS FAILED and STARTING in turn: each is one incident."""
    source = f"mass-{engine.lower()}"
    message = scene.wait(source, "WawpMassDisconnect")
    assert scene.truth(source).status == "WORKING"
    over = scene.wait(source, "WawpMassDisconnect", "resolved")

    assert who(message) == who(over) == "it-oncall"
    assert message["commonLabels"].items() >= {"engine": engine, "severity": "critical"}.items()
    assert scene.names(source) == {"WawpMassDisconnect"}
    steps = [{alert["labels"]["step"] for alert in each["alerts"]} for each in scene.messages(source)]
    assert all(earlier < later for earlier, later in pairwise(steps)), "a message without a new step"


@pytest.mark.parametrize("engine", ["GOWS", "NOWEB", "WEBJS"])
def test_when_a_mass_disconnect_is_over_no_single_is_told_late(scene: Scene, engine: str) -> None:
    """Those who are back are nobody's business any more."""
    source = f"mass-{engine.lower()}"
    over = scene.wait(source, "WawpMassDisconnect", "resolved")
    scene.settle(over["at"])

    assert scene.names(source) == {"WawpMassDisconnect"}


@pytest.mark.parametrize("source", ["stopped", "maintained"])
def test_whoever_stops_or_maintains_sessions_pages_nobody(scene: Scene, source: str) -> None:
    """A whole gateway stopped and booted again; a mass loss inside a window of maintenance."""
    scene.truth(source)
    scene.settle(scene.ended[source])

    assert scene.messages(source) == []


def test_a_restart_loop_is_one_message(scene: Scene) -> None:
    """Ten restarts: flapping, once, to the chat, and no all-clear between two of them."""
    message = scene.wait("loop", "WawpSessionFlapping")
    assert scene.truth("loop").transitions["STOPPED", "STARTING"] == 10
    scene.settle(max(message["at"], scene.ended["loop"]))

    assert who(message) == "ops-chat"
    assert [alert["labels"]["session"] for alert in message["alerts"]] == ["loop-001"]
    assert scene.messages("loop") == [message]
    assert all(when(alert["endsAt"]) > scene.ended["loop"] for alert in scene.alerts("loop", status="resolved"))


def test_forged_webhooks_are_told_to_security_and_change_nothing(scene: Scene) -> None:
    """Each genuine event has a forger; the sessions are as the genuine ones say."""
    message = scene.wait("forged", "WawpWebhookForged")
    scene.settle(message["at"])

    assert who(message) == "security"
    refused = 'wawp_exporter_webhooks_rejected_total{source="forged", reason="bad_signature"}'
    assert scene.servers.prometheus.value(refused) > 5
    assert scene.servers.prometheus.value('count(wawp_session_status{source="forged", status="WORKING"} == 1)') == 5
    assert scene.names("forged") == {"WawpWebhookForged"}


# What holds of everything that was sent


def test_every_message_tells_what_where_and_what_to_do(scene: Scene) -> None:
    """Receiver, labels and annotations of all that the stories have sent; nothing names a pod."""
    checks: tuple[Callable[[str, dict[str, Any]], None], ...] = (right_person, no_target, says_all)
    scene.wait("forged", "WawpWebhookForged")
    scene.receiver.wait_for(lambda arrived: any(who(each) == "dead-mans-switch" for each in arrived))

    for message in list(scene.receiver.notifications):
        for alert in message["alerts"]:
            for check in checks:
                check(who(message), alert)


def right_person(receiver: str, alert: dict[str, Any]) -> None:
    assert receiver == expected(alert["labels"]), alert


def no_target(_: str, alert: dict[str, Any]) -> None:
    assert not {"instance", "pod"} & alert["labels"].keys(), alert


def says_all(_: str, alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert all(told[name] for name in ("summary", "description", "action", "lasted", "runbook_url", "dashboard_url")), (
        alert
    )
    assert (stack.ALERTS / "runbooks" / Path(told["runbook_url"]).name).is_file(), alert
