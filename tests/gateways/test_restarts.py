"""Restarts on Alertmanager's word: which, when not, how often, and what is told of them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests import parts
from tests.gateway import KEY, Running
from wawp_exporter.config.schema import Remedy
from wawp_exporter.errors import BadRequest
from wawp_exporter.gateways.notification import parse, wanted
from wawp_exporter.gateways.restarts import judge, must_not
from wawp_exporter.log.actions import Action
from wawp_exporter.model.event import Status

W, F, X, S, Q = "WORKING", "FAILED", "STOPPED", "STARTING", "SCAN_QR_CODE"
ALERTS = ["WawpSessionStuckStarting", "WawpSessionFailed"]
PACE = 0.02  # a problem settles for 0.2 s
TOKEN = "the-token-of-alertmanager"
NOW = 1_000_000_000

Start = Callable[..., parts.Exporter]


# -- the decision


def tried(*ago: float, result: str = "restarted") -> list[Action]:
    """Restarts so many seconds before NOW, newest first."""
    return [Action(number, NOW - round(each * 1000), "restart", "A", result) for number, each in enumerate(ago)]


@pytest.mark.parametrize(
    ("recent", "decision"),
    [
        ([], ""),
        (tried(61), ""),
        (tried(59), "backoff"),
        (tried(119, 300), "backoff"),
        (tried(121, 300), ""),
        (tried(239, 600), ""),
        (tried(300, 600, 900), "given_up"),
        (tried(5, 600, 900), "given_up"),
        (tried(3601, 3700, 3800, 3900), ""),
        (tried(61, result="failed"), ""),
        (tried(59, result="failed"), "backoff"),
        (tried(1, 2, 3, 4, result="recovered"), ""),
        (tried(119, result="running"), "under_way"),
        (tried(121, result="running"), ""),
    ],
)
def test_a_session_is_restarted_a_few_times_with_growing_pauses(recent: Sequence[Action], decision: str) -> None:
    """Three an hour, at least 60 s, then 120 s after the one before; what was no attempt does not count."""
    assert judge(Remedy(alerts=ALERTS), NOW)(recent) == decision


def test_a_dry_run_says_so_where_it_would_restart() -> None:
    """And nothing else."""
    decide = judge(Remedy(alerts=ALERTS, dry_run=True), NOW)

    assert [decide([]), decide(tried(1))] == ["dry_run", "backoff"]


@pytest.mark.parametrize("status", list(Status))
def test_only_what_a_restart_can_help_is_restarted(status: Status) -> None:
    """Never STOPPED, never who waits for a human, nothing that is not understood; WORKING only if it seems dead."""
    allowed = {Status.STARTING, Status.FAILED, Status.DISCONNECTED}

    assert (must_not(status, "WawpSessionFailed") == "") == (status in allowed)
    for alert in ("WawpSessionSilent", "WawpSessionUndelivered", "WawpSessionUnresponsive"):
        assert (must_not(status, alert) == "") == (status in {*allowed, Status.WORKING})


def test_a_notification_names_each_session_once() -> None:
    """Firing alerts of the configured names only; `wawp-exporter test-alert` restarts nothing."""
    labels = {"source": "a", "session": "s"}
    given = [
        {"status": "resolved", "labels": {"alertname": ALERTS[0], **labels}},
        {"status": "firing", "labels": {"alertname": "WawpMassDisconnect", **labels}},
        {"status": "firing", "labels": {"alertname": ALERTS[1], **labels}},
        {"status": "firing", "labels": {"alertname": ALERTS[0], **labels}},
        {"status": "firing", "labels": {"alertname": ALERTS[0], "source": "a", "session": "t", "test": "true"}},
    ]

    found = list(wanted(parse(parts.encode({"version": "4", "alerts": given})), ALERTS, lambda _: [("b", "t")]))

    assert found == [(("a", "s"), ALERTS[1])]


def test_an_alert_of_an_outage_stands_for_its_members() -> None:
    """Each of them once, though a step of the outage has an alert of its own."""
    labels = {"alertname": "WawpMassDisconnect", "source": "a", "engine": "GOWS"}
    given = [{"status": "firing", "labels": {**labels, "step": step}} for step in ("3", "10")]
    members = {"a": [("a", "s"), ("a", "t")]}

    found = wanted(
        parse(parts.encode({"version": "4", "alerts": given})),
        ["WawpMassDisconnect"],
        lambda labels: members[labels["source"]],
    )

    assert [key for key, _ in found] == members["a"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"alerts":{}}', b'{"alerts":[{"labels":{"a":1}}]}', b"\xff"])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    """With what was expected."""
    with pytest.raises(BadRequest, match="expected the webhook format of Alertmanager"):
        parse(body)


# -- the service


@pytest.fixture
def running() -> Iterator[Running]:
    """A gateway whose restarts bring a session back."""
    with Running() as running:
        running.gateway.on_restart = lambda name: running.gateway.set(name, W)
        yield running


@pytest.fixture
def start(running: Running, exporter: Start, tmp_path: Path) -> Start:
    """Starts an exporter that may restart."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "token").write_text(TOKEN)

    def begin(remedy: dict[str, Any] | None = None, **config: Any) -> parts.Exporter:
        api = {"url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "1h"}
        given = {"alerts": ALERTS, "token_file": str(tmp_path / "token"), **(remedy or {})}
        made = exporter({"sources": {"default": {"api": api}}, "remedy": given, **config}, pace=PACE)
        running.gateway.webhook = f"{made.url}/webhook"
        return made

    return begin


def broken(
    running: Running, exporter: parts.Exporter, status: str = F, name: str = "s", *, excused: bool = False
) -> None:
    """A session gets into this status, a minute ago, and is a problem if it is FAILED and not `excused`."""
    running.gateway.set(name, status, at=parts.now_ms() - 60_000)
    known(exporter, status, name, excused=excused)


def known(exporter: parts.Exporter, status: str, name: str = "s", *, excused: bool = False) -> None:
    """Returns when the exporter has this status, and the problem of FAILED."""

    def session() -> dict[str, Any]:
        return exporter.get(f"/api/v1/sessions/default/{name}").json()  # type: ignore[no-any-return]

    parts.wait_until(lambda: session().get("status") == status and (status != F or excused or session()["problems"]))


def notify(exporter: parts.Exporter, *names: str, alert: str = ALERTS[1], token: str | None = TOKEN) -> httpx.Response:
    """Sends what Alertmanager sends."""
    alerts = [
        {"status": "firing", "labels": {"alertname": alert, "source": "default", "session": name}, "annotations": {}}
        for name in names
    ]
    body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "x", "alerts": alerts}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return exporter.client.post(f"{exporter.url}/alertmanager", json=body, headers=headers)


def restarts(exporter: parts.Exporter, result: str) -> float:
    """How often a notification ended so."""
    series = f'wawp_exporter_restarts_total{{result="{result}",source="default"}} '
    return sum(float(line.removeprefix(series)) for line in exporter.metrics().split("\n") if line.startswith(series))


def test_a_failed_session_is_restarted(running: Running, start: Start) -> None:
    """It is in the metrics, in the log and on the session's page."""
    exporter = start()
    broken(running, exporter)

    assert notify(exporter, "s").json() == {"restarting": 1, "left": {}}

    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s").json()["status"] == W)
    assert running.gateway.restarted == ["s"]
    parts.wait_until(lambda: restarts(exporter, "restarted") == 1)
    page = exporter.get("/sessions/default/s").text
    assert "WawpSessionFailed" in page
    assert "restarted" in page


def test_a_gateway_behind_a_proxy_that_compresses_is_read_and_restarts(running: Running, start: Start) -> None:
    """Its sessions are found, and what comes of a restart is known."""
    running.gateway.compresses = True
    exporter = start()
    broken(running, exporter)
    parts.wait_until(lambda: 'wawp_exporter_api_up{source="default"} 1.0' in exporter.metrics())

    assert notify(exporter, "s").json()["restarting"] == 1

    parts.wait_until(lambda: restarts(exporter, "restarted") == 1)
    assert running.gateway.restarted == ["s"]


@pytest.mark.parametrize("page", [(200, b"<html>back soon</html>"), (404, b"<html>nginx</html>"), (201, b"")])
def test_a_restart_that_something_else_answers_has_failed(
    running: Running, start: Start, page: tuple[int, bytes]
) -> None:
    """It is counted and told, whatever the answer is."""
    exporter = start()
    broken(running, exporter)
    running.gateway.page = page

    assert notify(exporter, "s").json()["restarting"] == 1

    parts.wait_until(lambda: restarts(exporter, "failed") == 1)
    assert 'event="restart failed"' in exporter.stderr


def test_a_notification_that_comes_again_does_not_restart_again(running: Running, start: Start) -> None:
    """Alertmanager repeats itself, and so do two of them."""
    running.gateway.on_restart = None
    exporter = start()
    broken(running, exporter)
    notify(exporter, "s")
    parts.wait_until(lambda: restarts(exporter, "restarted") == 1)

    assert notify(exporter, "s").json() == {"restarting": 0, "left": {"backoff": 1}}
    assert running.gateway.restarted == ["s"]


def test_it_gives_up_loudly(running: Running, start: Start) -> None:
    """An error in the log and a count; the alert itself goes on."""
    running.gateway.on_restart = None
    exporter = start({"max_per_hour": 2, "backoff": "0s"})
    broken(running, exporter)
    for number in (1, 2):
        notify(exporter, "s")
        parts.wait_until(lambda number=number: restarts(exporter, "restarted") == number)

    assert notify(exporter, "s").json()["left"] == {"given_up": 1}

    assert len(running.gateway.restarted) == 2
    assert restarts(exporter, "given_up") == 1
    parts.wait_until(lambda: 'level=error event="restarts given up, a human is needed"' in exporter.stderr)


@pytest.mark.parametrize(("status", "reason"), [(X, "stopped"), (Q, "waits_for_login"), (W, "recovered")])
def test_who_needs_no_restart_is_left_alone(running: Running, start: Start, status: str, reason: str) -> None:
    """STOPPED is somebody's decision, a QR code wants a human."""
    exporter = start()
    broken(running, exporter, status)

    assert notify(exporter, "s").json() == {"restarting": 0, "left": {reason: 1}}
    assert running.gateway.restarted == []


def test_a_login_that_turned_failed_still_waits_for_a_human(running: Running, start: Start) -> None:
    """WAHA ends an unscanned QR code as FAILED."""
    exporter = start()
    broken(running, exporter, Q)
    running.gateway.set("s", F)
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s").json()["status"] == F)

    assert notify(exporter, "s").json()["left"] == {"waits_for_login": 1}


def test_a_session_in_maintenance_is_left_alone(running: Running, start: Start) -> None:
    """Somebody works on it."""
    now = datetime.now(UTC)
    window = {"session": "s", "from": str(now - timedelta(hours=1)), "to": str(now + timedelta(hours=1))}
    exporter = start(maintenance=[window])
    broken(running, exporter, excused=True)

    assert notify(exporter, "s").json()["left"] == {"maintenance": 1}


def test_the_gateway_has_the_last_word_before_a_restart(running: Running, start: Start) -> None:
    """What has recovered, or was stopped, since the alert is left alone."""
    exporter = start({"backoff": "0s"})
    for name, status in (("a", W), ("b", X), ("c", Q)):
        broken(running, exporter, F, name)
        running.gateway.shown[name] = status

    assert notify(exporter, "a", "b", "c").json()["restarting"] == 3

    parts.wait_until(lambda: restarts(exporter, "recovered") == restarts(exporter, "stopped") == 1)
    parts.wait_until(lambda: restarts(exporter, "waits_for_login") == 1)
    assert running.gateway.restarted == []


def test_a_restart_is_decided_by_the_problem_that_the_alert_is_about(running: Running, start: Start) -> None:
    """The session has failed since; the alert about its start is over."""
    exporter = start()
    broken(running, exporter)

    assert notify(exporter, "s", alert=ALERTS[0]).json()["left"] == {"other_problem": 1}


def test_an_outage_restarts_its_members(running: Running, start: Start) -> None:
    """Those that are still lost, and nobody else."""
    exporter = start({"alerts": ["WawpMassDisconnect"]})
    lost = ["a", "b", "c"]
    for name in (*lost, "d"):
        broken(running, exporter, W, name)
    for name in lost:
        running.gateway.set(name, F)
    parts.wait_until(lambda: exporter.get("/api/v1/problems").json()["outages"])
    labels = {"alertname": "WawpMassDisconnect", "source": "default", "engine": "NOWEB", "step": "3"}
    body = {"version": "4", "alerts": [{"status": "firing", "labels": labels}]}

    taken = exporter.client.post(
        f"{exporter.url}/alertmanager", json=body, headers={"Authorization": f"Bearer {TOKEN}"}
    )

    assert taken.json() == {"restarting": 3, "left": {}}
    parts.wait_until(lambda: sorted(running.gateway.restarted) == lost)


def test_a_restart_that_fails_is_told(running: Running, start: Start) -> None:
    """And counts as an attempt."""
    running.gateway.restart_trouble = 500
    exporter = start()
    broken(running, exporter)

    notify(exporter, "s")

    parts.wait_until(lambda: restarts(exporter, "failed") == 1)
    assert notify(exporter, "s").json()["left"] == {"backoff": 1}
    assert "it answered 500" in exporter.stderr
    assert KEY not in exporter.stderr


def test_a_dry_run_touches_nothing(running: Running, start: Start) -> None:
    """And says what it would do."""
    exporter = start({"dry_run": True})
    broken(running, exporter)

    assert notify(exporter, "s").json() == {"restarting": 0, "left": {"dry_run": 1}}
    assert running.gateway.restarted == []


def test_not_all_are_restarted_at_once(running: Running, start: Start) -> None:
    """A gateway with a hundred failed sessions is not to be knocked over."""
    running.gateway.on_restart = None
    exporter = start({"max_concurrent": 2})
    parts.wait_until(lambda: running.gateway.asked("/api/server/status"))  # the first look is over
    running.gateway.delay = 0.3
    names = [f"s{number}" for number in range(6)]
    for name in names:
        broken(running, exporter, F, name)
    running.gateway.busiest = 0

    assert notify(exporter, *names).json()["restarting"] == 6

    parts.wait_until(lambda: restarts(exporter, "restarted") == 6)
    assert running.gateway.busiest == 2
    assert sorted(running.gateway.restarted) == names


def test_it_needs_its_token(running: Running, start: Start) -> None:
    """Bearer or Basic; nobody else makes sessions restart."""
    exporter = start()
    broken(running, exporter)

    assert [notify(exporter, "s", token=token).status_code for token in (None, "wrong")] == [401, 401]
    assert running.gateway.restarted == []


def test_without_a_token_only_this_machine_may(running: Running, start: Start) -> None:
    """A proxy makes everybody look like it."""
    exporter = start({"token_file": None})
    broken(running, exporter)
    url, proxied = f"{exporter.url}/alertmanager", {"X-Forwarded-For": "192.0.2.1"}

    assert exporter.client.post(url, json={"alerts": []}, headers=proxied).status_code == 403
    assert exporter.client.post(url, json={"alerts": []}).json() == {"restarting": 0, "left": {}}


def test_it_is_off_unless_it_is_configured(exporter: Start) -> None:
    """404, with what is expected."""
    answer = notify(exporter(), "s", token=None)

    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "nothing is restarted here, expected remedy.alerts to be configured",
    )


def test_a_silence_silences_restarts_too(running: Running, start: Start) -> None:
    """A real Alertmanager sends what is not silenced, and nothing else."""
    exporter = start({"token_file": None})
    for name in ("quiet", "loud"):
        broken(running, exporter, F, name)
    hook = {"url": f"{exporter.url}/alertmanager", "send_resolved": False}
    route = {"receiver": "restart", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s"}
    config = {"route": route, "receivers": [{"name": "restart", "webhook_configs": [hook]}]}
    with parts.Alertmanager(config) as alertmanager:
        now = datetime.now(UTC)
        matcher = {"name": "session", "value": "quiet", "isRegex": False, "isEqual": True}
        silence = {
            "matchers": [matcher],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ana",
            "comment": "at work on it",
        }
        alertmanager.client.post(f"{alertmanager.url}/api/v2/silences", json=silence).raise_for_status()
        alerts = [
            {"labels": {"alertname": ALERTS[1], "source": "default", "session": name}} for name in ("quiet", "loud")
        ]
        alertmanager.client.post(f"{alertmanager.url}/api/v2/alerts", json=alerts).raise_for_status()
        parts.wait_until(lambda: running.gateway.restarted == ["loud"])
        time.sleep(2)  # two more intervals, in which nothing may come

    assert running.gateway.restarted == ["loud"]


def test_two_replicas_restart_once(running: Running, postgres: parts.Postgres, exporter: Start, tmp_path: Path) -> None:
    """Alertmanagers tell each of them."""
    running.gateway.on_restart = None
    (tmp_path / "key").write_text(KEY)
    url = postgres.create_database("remedy")
    api = {"url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "1h"}
    config = {"database": {"url": url}, "sources": {"default": {"api": api}}, "remedy": {"alerts": ALERTS}}
    replicas = [exporter(config, pace=PACE), exporter(config, pace=PACE)]
    running.gateway.webhook = f"{replicas[0].url}/webhook"
    broken(running, replicas[0])
    known(replicas[1], F)

    threads = [threading.Thread(target=notify, args=(replica, "s"), kwargs={"token": None}) for replica in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    parts.wait_until(lambda: sum(restarts(replica, "restarted") for replica in replicas) == 1)
    assert running.gateway.restarted == ["s"]


# -- by hand


def press(exporter: parts.Exporter, name: str = "s", token: str | None = TOKEN, **headers: str) -> httpx.Response:
    """What the button of the session's page sends."""
    given = {"Authorization": f"Bearer {token}"} if token else {}
    return exporter.client.post(f"{exporter.url}/api/v1/sessions/default/{name}/restart", headers=given | headers)


def test_a_person_restarts_with_the_limits_of_the_remedies(running: Running, start: Start) -> None:
    """Counted and recorded with theirs, so that two people and an alert together ask three times an hour at most."""
    exporter = start({"alerts": []})
    broken(running, exporter)

    assert (press(exporter).status_code, press(exporter, "unheard").status_code) == (202, 404)

    parts.wait_until(lambda: restarts(exporter, "restarted") == 1)
    assert running.gateway.restarted == ["s"]
    assert "by hand" in exporter.get("/sessions/default/s").text
    running.gateway.set("s", F)
    known(exporter, F, excused=True)
    again = press(exporter)
    assert (again.status_code, again.json()["error"]) == (
        409,
        "the session was not restarted: it was restarted a moment ago, expected the pause of remedy.backoff to be over",
    )


def test_a_person_may_restart_a_login_that_nobody_scanned(running: Running, start: Start) -> None:
    """FAILED within a login shows no code; only a restart brings one. A code that waits needs none."""
    exporter = start()
    broken(running, exporter, Q)
    assert press(exporter).json()["error"].endswith("it waits for a login, expected somebody to scan its QR code")
    broken(running, exporter, F, excused=True)

    assert press(exporter).status_code == 202


def test_the_button_needs_the_token_and_no_page_of_another_site(running: Running, start: Start) -> None:
    """A browser sends a password by itself; its realm is not that of the pages, so that it keeps both."""
    exporter = start()
    broken(running, exporter)
    url = f"{exporter.url}/api/v1/sessions/default/s/restart"

    refused = press(exporter, token=None)
    foreign = exporter.client.post(url, auth=("me", TOKEN), headers={"Origin": "https://evil.example"})

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="wawp-exporter restarts"')
    assert foreign.status_code == 403
    assert running.gateway.restarted == []
    own = exporter.client.post(url, auth=("me", TOKEN), headers={"Origin": exporter.url, "Accept": "text/html"})
    assert (own.status_code, own.headers["location"]) == (303, "/sessions/default/s")


def test_without_a_token_the_button_is_for_this_machine(running: Running, start: Start) -> None:
    """And the page does not show it to anybody else."""
    exporter = start({"token_file": None})
    broken(running, exporter)
    page, proxied = "/sessions/default/s", {"X-Forwarded-For": "192.0.2.1"}

    assert press(exporter, token=None, **proxied).status_code == 403
    assert 'id="restart"' not in exporter.get(page, proxied).text
    assert "remedy.token_file" in exporter.get(page, proxied).text
    assert 'id="restart"' in exporter.get(page).text
    assert f"{running.url}/api/sessions/s/restart" in exporter.get(page).text


def test_the_button_works_in_a_browser(running: Running, start: Start, open_page: Callable[..., Page]) -> None:
    """With the headers that a browser adds; afterwards it is on the session's page again, which says so."""
    exporter = start({"token_file": None})
    broken(running, exporter)
    page = open_page()
    page.goto(f"{exporter.url}/sessions/default/s")

    page.get_by_role("button", name="Restart this session").click()

    expect(page.locator("[data-live=actions]")).to_contain_text("by hand")
    assert page.url == f"{exporter.url}/sessions/default/s"
    parts.wait_until(lambda: running.gateway.restarted == ["s"])
