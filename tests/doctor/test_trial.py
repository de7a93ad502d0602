"""`wawp-exporter test-alert` on a real Alertmanager: the message arrives, and its end; else it says why not."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import parts
from wawp_exporter.doctor.shipped import examples, rules
from wawp_exporter.doctor.trial import UnknownAlert, trial_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TIMES = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
BASE = {"receiver": "chat", "group_by": ["alertname", "session"], **TIMES}


def hook(name: str, url: str) -> dict[str, Any]:
    """A receiver at a recorder, whose path is its name."""
    return {"name": name, "webhook_configs": [{"url": url + name, "send_resolved": True}]}


@pytest.fixture(scope="module")
def recorder() -> Iterator[parts.Receiver]:
    """Whoever is paged."""
    with parts.Receiver() as somebody:
        yield somebody


@pytest.fixture(scope="module")
def alertmanager(recorder: parts.Receiver) -> Iterator[parts.Alertmanager]:
    """Critical alerts to `oncall`, others to `chat`; `nobody` has no way to send, `slow` waits."""
    routes = [
        {"receiver": "nobody", "matchers": ["session=nobody"]},
        {"receiver": "slow", "matchers": ["session=slow"], "group_wait": "2s"},
        {"receiver": "refused", "matchers": ["session=refused"]},
        {"receiver": "oncall", "matchers": ["severity=critical"]},
    ]
    names = ("chat", "oncall", "slow")
    inhibit = {"source_matchers": ["alertname=Mute"], "target_matchers": ["session=inhibited"], "equal": []}
    with parts.Receiver() as other:
        other.answer = 400
        hooks = [*(hook(name, recorder.url) for name in names), hook("refused", other.url), {"name": "nobody"}]
        config = {"route": {**BASE, "routes": routes}, "receivers": hooks, "inhibit_rules": [inhibit]}
        with parts.Alertmanager(config) as server:
            yield server


def command(url: str, *options: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "wawp_exporter", "test-alert", "--alertmanager", url, *options]


def run(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    return subprocess.run(command(url, *options), capture_output=True, text=True, check=False)


def of_session(notifications: list[dict[str, Any]], session: str, status: str) -> dict[str, Any] | None:
    """The first notification of a test about this session with this status."""
    return next((n for n in notifications if n["status"] == status and n["commonLabels"]["session"] == session), None)


def test_a_test_alert_arrives_and_ends(alertmanager: parts.Alertmanager, recorder: parts.Receiver) -> None:
    """At the receiver that was said, looking like the real one, and marked."""
    done = run(alertmanager.url)

    fired = recorder.wait_for(lambda arrived: of_session(arrived, "test", "firing"))
    ended = recorder.wait_for(lambda arrived: of_session(arrived, "test", "resolved"))
    shipped = examples()["WawpSessionDisconnected"]
    assert (done.returncode, done.stderr) == (0, "")
    assert "It should reach oncall (webhook), at once" in done.stdout
    assert "Alertmanager has sent it by webhook" in done.stdout
    assert {fired["path"], ended["path"]} == {"/oncall"}
    identity = {"alertname", "test", "test_id"}
    assert {label for label in fired["commonLabels"] if label not in identity} == set(shipped["labels"])
    assert fired["commonLabels"]["test"] == "true"
    assert fired["commonAnnotations"]["summary"].startswith("TEST: ")


def test_a_named_alert_about_a_named_session_is_sent(
    alertmanager: parts.Alertmanager, recorder: parts.Receiver
) -> None:
    """The routes of a warning, and the words of a person's own fleet."""
    done = run(alertmanager.url, "--alert", "WawpSessionFailed", "--session", "shop/1")

    fired = recorder.wait_for(lambda arrived: of_session(arrived, "shop/1", "firing"))
    assert done.returncode == 0
    assert fired["path"] == "/chat"
    assert "shop/1" in fired["commonAnnotations"]["summary"]
    assert "var-session=shop%2F1" in fired["commonAnnotations"]["dashboard_url"]


def test_it_lasts_longer_than_group_wait(alertmanager: parts.Alertmanager, recorder: parts.Receiver) -> None:
    """Alertmanager sends nothing of an alert that ends before."""
    done = run(alertmanager.url, "--session", "slow", "--wait", "1s")

    assert recorder.wait_for(lambda arrived: of_session(arrived, "slow", "firing"))["path"] == "/slow"
    assert "after 2 s (group_wait)" in done.stdout
    assert "It lasts 3 s" in done.stdout


def test_a_test_that_is_interrupted_ends(alertmanager: parts.Alertmanager, recorder: parts.Receiver) -> None:
    """Ctrl-C leaves no alert behind."""
    options = command(alertmanager.url, "--session", "cut", "--wait", "10m")
    with subprocess.Popen(options, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        recorder.wait_for(lambda arrived: of_session(arrived, "cut", "firing"))
        process.send_signal(signal.SIGINT)
        process.communicate()

    assert recorder.wait_for(lambda arrived: of_session(arrived, "cut", "resolved"))
    assert process.returncode == 1


def silence(server: parts.Alertmanager, session: str) -> None:
    """Silences a session for an hour."""
    now = datetime.now(UTC)
    matcher = {"name": "session", "value": session, "isRegex": False, "isEqual": True}
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    body = {"matchers": [matcher], "createdBy": "test", "comment": "test", **times}
    server.client.post(f"{server.url}/api/v2/silences", json=body).raise_for_status()


def test_a_muted_alert_is_noticed(alertmanager: parts.Alertmanager) -> None:
    """Alertmanager takes it and sends nothing: a forgotten silence, or an inhibition."""
    silence(alertmanager, "silenced")
    alertmanager.post_alerts({"labels": {"alertname": "Mute", "session": "other"}})

    silenced = run(alertmanager.url, "--session", "silenced")
    inhibited = run(alertmanager.url, "--session", "inhibited")

    assert (silenced.returncode, inhibited.returncode) == (1, 1)
    assert "muted by a silence (" in silenced.stdout
    assert "muted by another alert that inhibits it (" in inhibited.stdout


def test_an_alert_that_reaches_nobody_is_not_sent(alertmanager: parts.Alertmanager) -> None:
    """A receiver without an integration swallows what it gets."""
    done = run(alertmanager.url, "--session", "nobody")

    assert done.returncode == 1
    assert "nobody (which sends nothing to anybody)" in done.stdout


def test_a_message_that_is_refused_is_noticed(alertmanager: parts.Alertmanager) -> None:
    """The address is wrong, or the key."""
    done = run(alertmanager.url, "--session", "refused")

    assert done.returncode == 1
    assert "could not send it by webhook" in done.stdout


def test_an_alertmanager_that_is_away_is_said_in_one_line() -> None:
    """No traceback."""
    done = run(f"http://127.0.0.1:{parts.free_port()}")

    assert done.returncode == 1
    assert "nobody listens there" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_alert_is_refused_with_the_names() -> None:
    """Before anything is sent."""
    done = run("http://127.0.0.1:9", "--alert", "WawpNone")

    assert done.returncode == 2
    assert {line.strip() for line in done.stderr.splitlines()} >= {rule.name for rule in rules() if rule.is_alert}


@pytest.mark.parametrize("name", sorted({rule.name for rule in rules() if rule.is_alert}))
def test_every_shipped_alert_can_be_tested(name: str) -> None:
    """With a text that names the session that was asked for, and no other."""
    trial = trial_of(name, "shop", "waha-2", NOW)

    texts: Mapping[str, str] = trial.annotations
    assert trial.labels["alertname"] == name
    assert trial.labels.get("session", "shop") == "shop"
    assert "session" not in trial.labels or not any("sales-uk" in text for text in texts.values())


def test_each_test_is_another_alert() -> None:
    """Alertmanager sends no second message about one that it has sent."""
    first = trial_of("WawpWatchdog", "test", "test", NOW)
    second = trial_of("WawpWatchdog", "test", "test", NOW + timedelta(seconds=1))

    assert first.labels != second.labels
    with pytest.raises(UnknownAlert):
        trial_of("WawpNone", "test", "test", NOW)


@pytest.mark.parametrize("version", ["trixie", "forky"])
def test_newer_alertmanagers_say_too_what_they_have_sent(recorder: parts.Receiver, version: str) -> None:
    """Their counts have more labels, and more ways in which an alert can be muted."""
    config = {"route": BASE, "receivers": [hook("chat", recorder.url)]}
    with parts.Alertmanager(config, version=version) as server:
        done = run(server.url, "--session", version)

    assert (done.returncode, done.stderr) == (0, "")
    assert of_session(recorder.notifications, version, "firing")
