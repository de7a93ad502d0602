"""From a webhook to a message: simulator, exporter, Prometheus, Alertmanager, receiver; real servers and real HTTP.

Rules and routing are the shipped files. Limits are the exporter's configuration; what has no setting (`group_wait`,
`keep_firing_for`, the minutes that tell a broken feed from a forger) is shortened in a copy. Each story has a source of
its own, and all are played at once over the same servers.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.tests import stack
from tests import parts
from wawp_exporter.simulator import expected, gateway, player, scenarios

KEY, NEW_KEY = b"the key of the gateway", b"another key"
LIMITS = {"starting": "6s", "failed": "3s", "qr_escalate": "12s", "qr_unattended": "24s", "down": "20s"}
QR_ESCALATE = 12.0


@dataclass(frozen=True)
class Play:
    """A scenario, how it is made and how it is sent; virtual seconds are divided by the pace."""

    scenario: str
    engine: str = "GOWS"
    sessions: int = 1
    pace: float = 1.0
    made: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)


# By source. The limits above are the default ones, divided by ten, more or less, as is the pace.
PLAYS = {
    "starting": Play("stuck-start", sessions=3, made={"heartbeat": 0}),
    "answered": Play("qr-answered", pace=5, made={"duration": 40}),
    "escalated": Play("qr-answered", "NOWEB", pace=4, made={"duration": 150}),
    "unscanned": Play("unscanned-qr", pace=20),
    "single": Play("single-disconnect", sessions=5, pace=5, made={"duration": 75}),
    "mass-gows": Play("mass-disconnect", "GOWS", 20, 10, {"duration": 200, "heartbeat": 0}),
    "mass-noweb": Play("mass-disconnect", "NOWEB", 20, 10, {"duration": 200, "heartbeat": 0}),
    # Many, so that three are lost at nearly the same time: each fails four times in its first second.
    "mass-webjs": Play("mass-disconnect", "WEBJS", 40, 10, {"duration": 200, "heartbeat": 0}),
    "stopped": Play("gateway-shutdown", sessions=5, pace=10),
    "maintained": Play("mass-disconnect", sessions=5, pace=10, made={"duration": 300}),
    "loop": Play("restart-loop", sessions=2, pace=20, made={"duration": 600}),
    "forged": Play("steady", sessions=5, made={"duration": 300, "heartbeat": 5}, sent={"forged": 1}),
}
SENTINELS = tuple(f"sentinel-{number}" for number in range(20))
SINGLES = {
    "WawpSessionDisconnected",
    "WawpSessionFailed",
    "WawpSessionStuckStarting",
    "WawpSessionFlapping",
    "WawpSessionNotWorking",
}
WHO = {
    "WawpMassDisconnect": "it-oncall",
    "WawpSessionDisconnected": "it-oncall",
    "WawpSessionFlapping": "ops-chat",
    "WawpSessionQrEscalated": "it-oncall",
    "WawpSessionQrUnattended": "it-lead",
    "WawpSessionQrWaiting": "session-manager",
    "WawpSessionStuckStarting": "ops-chat",
    "WawpWatchdog": "dead-mans-switch",
    "WawpWebhookFeedRejected": "it-oncall",
    "WawpWebhookForged": "security",
}

Message = dict[str, Any]


class Players:
    """Plays scenarios in a thread, each against a running exporter; what is still playing at the end is cut short."""

    def __enter__(self) -> "Players":
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.cut(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def cut(self) -> None:
        """Cancels whatever plays and waits for its end."""
        playing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)

    def play(self, source: str, play: Play, exporter: parts.Exporter) -> "Future[expected.Report]":
        """Begins; the sessions are called after their source."""
        plan = scenarios.scenario(
            play.scenario, sessions=play.sessions, engines={play.engine: 1}, prefix=f"{source}-", **play.made
        )
        key = KEY if source in {"forged", "rotated"} else None
        options = gateway.Options(
            url=f"{exporter.url}/webhook", source=source, pace=play.pace, hmac_key=key, concurrency=4, **play.sent
        )
        return asyncio.run_coroutine_threadsafe(player.Simulation(plan, options).play(), self.loop)


class Inbox(parts.Receiver):
    """Notes when each message came."""

    def record(self, notification: dict[str, Any]) -> None:
        """As the receiver does."""
        super().record({**notification, "at": time.time()})


@dataclass
class Scene:
    """What runs, and what its receivers have been sent. `fragile` is an exporter that a story may kill."""

    exporter: parts.Exporter
    fragile: parts.Exporter
    servers: stack.Stack
    receiver: Inbox
    players: Players
    keys: Path
    played: "dict[str, Future[expected.Report]]" = field(default_factory=dict)
    unused: list[str] = field(default_factory=lambda: list(SENTINELS))
    ended: dict[str, float] = field(default_factory=dict)
    settled: float = 0.0

    def play(self, source: str, play: Play, exporter: parts.Exporter | None = None) -> "Future[expected.Report]":
        """Begins a story of this source."""
        self.played[source] = self.players.play(source, play, exporter or self.exporter)
        self.played[source].add_done_callback(lambda _: self.ended.update({source: time.time()}))
        return self.played[source]

    def truth(self, source: str) -> expected.ExpectedSession:
        """What happened to the source's first session, when its story has been told."""
        report = self.played[source].result()
        parts.wait_until(lambda: source in self.ended)
        return report.expected.sessions[f"{source}-001"]

    def messages(self, source: str, name: str | None = None, status: str = "firing") -> list[Message]:
        """The messages that hold an alert of this source, in the order of arrival."""
        with self.receiver.arrived:
            arrived = list(self.receiver.notifications)
        return [each for each in arrived if alerts_of(each, source, name, status)]

    def alerts(self, source: str, name: str | None = None, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts in those messages."""
        return [
            alert for each in self.messages(source, name, status) for alert in alerts_of(each, source, name, status)
        ]

    def names(self, source: str, until: float | None = None) -> set[str]:
        """Everything of this source that anybody was told, before a time if one is given."""
        told = [each for each in self.messages(source) if until is None or each["at"] < until]
        return {alert["labels"]["alertname"] for each in told for alert in alerts_of(each, source, None, "firing")}

    def wait(self, source: str, name: str, status: str = "firing") -> Message:
        """The first such message, when it has come."""
        self.receiver.wait_for(lambda arrived: any(alerts_of(m, source, name, status) for m in arrived))
        return self.messages(source, name, status)[0]

    def settle(self, after: float) -> None:
        """What happened until then would have been told by now: a session was lost later, and IT has been told.

        Each such session takes some seconds, and tells the same to every story that was over when it was lost.
        """
        if self.settled > after:
            return
        source, at = self.unused.pop(0), time.time()
        event(self.exporter, source, source, "DISCONNECTED", "GOWS")
        self.wait(source, "WawpSessionDisconnected")
        self.settled = at

    def until_firing(self, source: str, name: str) -> None:
        """Prometheus holds such an alert, whether or not anybody is told."""
        selector = f'ALERTS{{alertname="{name}", source="{source}", alertstate="firing"}}'
        parts.wait_until(lambda: self.servers.prometheus.query(selector), selector)


def alerts_of(message: Message, source: str, name: str | None, status: str) -> list[dict[str, Any]]:
    """The alerts of one message that are meant."""
    return [
        alert
        for alert in message["alerts"]
        if alert["status"] == status
        and alert["labels"].get("source") == source
        and name in {None, alert["labels"]["alertname"]}
    ]


def who(message: Message) -> str:
    """The receiver's name, which is the path that it is sent to."""
    return str(message["path"]).strip("/")


def when(text: str) -> float:
    """Alertmanager's time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def event(
    exporter: parts.Exporter, source: str, session: str, status: str, engine: str, key: bytes | None = None
) -> None:
    """A status that no scenario has, now."""
    body = parts.envelope(session=session, status=status, engine=engine, timestamp=parts.now_ms())
    assert exporter.post(body, source=source, key=key).status_code == 200


def impatient(expression: str) -> str:
    """A feed is broken after ten seconds without an accepted webhook; two after a wrong one, it is a forger's."""
    for was, now in ((") > 300", ") > 10"), ("offset 1m", "offset 2s"), (") < 50", ") < 2")):
        expression = expression.replace(was, now)
    return expression


def settings(sources: dict[str, Any]) -> dict[str, Any]:
    """An exporter's. No error budget can be used up: its windows are hours, and the stories are full of trouble."""
    today = datetime.now(UTC)
    window = {
        "source": "maintained",
        "from": (today - timedelta(hours=1)).isoformat(),
        "to": (today + timedelta(hours=1)).isoformat(),
    }
    return {
        "sources": sources,
        "thresholds": LIMITS,
        "maintenance": [window] if "maintained" in sources else [],
        "sessions": [{"source": "answered", "owner": "ana"}] if "answered" in sources else [],
        "slo": {"objective": 0.01},
        "log": {"level": "warning"},
    }


NEWER = [pytest.param(version, marks=pytest.mark.slow) for version in parts.VERSIONS[1:]]


@pytest.fixture(scope="module", params=[parts.VERSIONS[0], *NEWER], ids=str)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The servers of one Debian, and every story of PLAYS on its way; skipped where that Debian's are not there."""
    parts.require("prometheus", request.param)
    keys = tmp_path_factory.mktemp("keys")
    (keys / "gateway").write_bytes(KEY)
    (keys / "rotating").write_bytes(KEY)
    secret = {
        "forged": {"hmac_keys_file": str(keys / "gateway")},
        "rotated": {"hmac_keys_file": str(keys / "rotating")},
    }
    sources: dict[str, Any] = {name: {} for name in (*PLAYS, *SENTINELS)} | secret
    faster = {
        "group_wait": stack.divided_by(5),
        "group_interval": stack.divided_by(30),
        "repeat_interval": stack.divided_by(20),
    }
    rules = stack.shortened_rules(stack.divided_by(15, 1.0), impatient)
    with ExitStack() as started:
        receiver = started.enter_context(Inbox())
        exporter = started.enter_context(parts.Exporter(settings(sources)))
        fragile = started.enter_context(parts.Exporter(settings({"killed": {}})))
        routing = stack.routing(faster, stack.recorded_at(receiver.url))
        players = started.enter_context(Players())
        servers = started.enter_context(stack.running([exporter, fragile], rules, routing, 1.0, request.param))
        found = Scene(exporter, fragile, servers, receiver, players, keys)
        for source, play in PLAYS.items():
            found.play(source, play)
        yield found


# The stories that need a hand, while the others play


def test_an_exporter_killed_in_a_qr_wait_loses_no_escalation_and_gives_no_all_clear(scene: Scene) -> None:
    """SIGKILL when the manager has just been told: IT is told at the time of the QR code, not of the restart."""
    scene.play("killed", Play("unscanned-qr", pace=10), scene.fragile)
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


def test_a_rotated_secret_pages_it_that_the_feed_is_refused(scene: Scene) -> None:
    """One side has a new key: everything is refused, nothing accepted."""
    rotate(scene)

    message = scene.wait("rotated", "WawpWebhookFeedRejected")

    assert who(message) == "it-oncall"
    assert message["commonLabels"]["severity"] == "critical"


def test_a_rotated_secret_is_not_called_a_forgery(scene: Scene) -> None:
    """Not while all is refused, and not when the gateway has the new key too."""
    scene.wait("rotated", "WawpWebhookFeedRejected")

    def mended() -> list[Message]:
        """Again and again: ten seconds after a single one the feed is broken anew, before its end has been told."""
        event(scene.exporter, "rotated", "rotated-001", "WORKING", "GOWS", NEW_KEY)
        time.sleep(2)
        return scene.messages("rotated", "WawpWebhookFeedRejected", "resolved")

    (over, *_) = parts.wait_until(mended, "the end of WawpWebhookFeedRejected")
    scene.settle(over["at"])

    assert scene.names("rotated") == {"WawpWebhookFeedRejected"}


def rotate(scene: Scene) -> None:
    """Some webhooks arrive; then the exporter is given another key and the gateway is not."""
    assert scene.play("rotated", Play("steady", sessions=3, pace=0, made={"heartbeat": 0})).result().ok
    (scene.keys / "rotating").write_bytes(NEW_KEY)
    os.kill(scene.exporter.pid, signal.SIGHUP)
    old = parts.envelope(session="rotated-001")
    parts.wait_until(lambda: scene.exporter.post(old, source="rotated", key=KEY).status_code == 401, "the new key")
    refused = Play("restart", sessions=3, pace=10, sent={"attempts": 2, "retry_delay": 0.2})
    assert scene.play("rotated", refused).result().delivered == 0


# The stories that play by themselves


def test_a_stuck_start_is_told_once_to_the_chat(scene: Scene) -> None:
    """STARTING longer than its limit; that it is also not WORKING is no second message. WORKING ends it."""
    message = scene.wait("starting", "WawpSessionStuckStarting")
    scene.until_firing("starting", "WawpSessionNotWorking")
    scene.settle(time.time())
    told = scene.messages("starting")
    event(scene.exporter, "starting", "starting-001", "WORKING", "GOWS")
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


@pytest.mark.parametrize("engine", ["GOWS", "NOWEB", "WEBJS"])
def test_a_mass_disconnect_is_one_page_with_the_singles_muted(scene: Scene, engine: str) -> None:
    """GOWS says STARTING once, NOWEB again and again, WEBJS FAILED and STARTING in turn: each is one incident."""
    source = f"mass-{engine.lower()}"
    message = scene.wait(source, "WawpMassDisconnect")
    assert scene.truth(source).status == "WORKING"
    over = scene.wait(source, "WawpMassDisconnect", "resolved")

    assert who(message) == who(over) == "it-oncall"
    assert message["commonLabels"].items() >= {"engine": engine, "severity": "critical"}.items()
    assert len(scene.messages(source, "WawpMassDisconnect")) == 1
    assert scene.names(source, until=when(over["alerts"][0]["endsAt"])) == {"WawpMassDisconnect"}
    singles = f'max_over_time(ALERTS{{source="{source}", alertname=~"{"|".join(SINGLES)}"}}[10m])'
    assert scene.servers.prometheus.query(singles), "no single alert fired, so nothing was muted"


@pytest.mark.parametrize("engine", ["GOWS", "NOWEB", "WEBJS"])
def test_when_a_mass_disconnect_is_over_no_single_is_told_late(scene: Scene, engine: str) -> None:
    """The mute ends with the mass alert; what is still firing then would come out as news about sessions that work."""
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
    assert scene.messages("loop", status="resolved") == []


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
    assert receiver == WHO[alert["labels"]["alertname"]], alert


def no_target(_: str, alert: dict[str, Any]) -> None:
    assert not {"instance", "pod"} & alert["labels"].keys(), alert


def says_all(_: str, alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert all(told[name] for name in ("summary", "description", "runbook_url", "dashboard_url")), alert
    assert (stack.ALERTS / "runbooks" / Path(told["runbook_url"]).name).is_file(), alert
