"""The gateway's own word, over real HTTP: what webhooks did not tell, false readings, and a gateway in trouble."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.gateway import KEY, Running
from tests.live.test_stream import following

W, F, X, S, Q = "WORKING", "FAILED", "STOPPED", "STARTING", "SCAN_QR_CODE"
SOURCE = 'source="default"'
Start = Callable[..., parts.Exporter]


@pytest.fixture
def start(running: Running, exporter: Start, tmp_path: Path) -> Start:
    """Starts an exporter that asks the gateway, whose webhooks go to it."""
    (tmp_path / "key").write_text(f"{KEY}\n")

    def begin(api: dict[str, Any] | None = None, **config: Any) -> parts.Exporter:
        given = {"url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "500ms", **(api or {})}
        made = exporter({"sources": {"default": {"api": given}}, **config}, directory=tmp_path / "exporter")
        running.gateway.webhook = f"{made.url}/webhook"
        return made

    (tmp_path / "exporter").mkdir()
    return begin


def status_of(exporter: parts.Exporter, session: str = "s") -> str | None:
    """The status by the API, None for an unknown session."""
    return exporter.get(f"/api/v1/sessions/default/{session}").json().get("status")  # type: ignore[no-any-return]


def sample(exporter: parts.Exporter, series: str) -> float | None:
    """The value of a series as it is spelt, None where there is none."""
    lines = [line for line in exporter.metrics().split("\n") if line.startswith(f"{series} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else None


def corrections(exporter: parts.Exporter) -> float | None:
    """How many statuses were corrected."""
    return sample(exporter, f"wawp_exporter_reconcile_corrections_total{{{SOURCE}}}")


def up(exporter: parts.Exporter) -> float | None:
    """Whether the gateway answers."""
    return sample(exporter, f"wawp_exporter_api_up{{{SOURCE}}}")


# -- what webhooks did not tell


def test_sessions_that_no_webhook_told_of_are_found(running: Running, start: Start) -> None:
    """They are no corrections."""
    running.gateway.sessions = {"a": W, "b/ü?": F, "c": X}
    exporter = start()

    names = ("a", "b%2F%C3%BC%3F", "c")
    parts.wait_until(lambda: [status_of(exporter, name) for name in names] == [W, F, X])

    parts.wait_until(lambda: up(exporter) == 1)
    assert corrections(exporter) == 0
    assert (sample(exporter, f"wawp_exporter_reconcile_last_success_timestamp_seconds{{{SOURCE}}}") or 0) > 0


def test_the_sessions_of_a_large_gateway_share_their_commits(running: Running, start: Start) -> None:
    """With a commit for each, a slow disk would take minutes for them, and longer than until the next look."""
    running.gateway.sessions = {f"s{number}": W for number in range(1000)}
    exporter = start()

    parts.wait_until(lambda: up(exporter) == 1)

    assert exporter.get("/api/v1/sessions").json()["total"] == 1000
    assert (sample(exporter, "wawp_exporter_log_append_duration_seconds_count") or 0) < 100


def test_a_missed_webhook_is_corrected_counted_and_marked(running: Running, start: Start) -> None:
    """The status, its time (that of the first reading), and where it came from stand in the log."""
    exporter = start()
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)
    before = time.time()

    running.gateway.set("s", F, tell=False)
    parts.wait_until(lambda: status_of(exporter) == F)
    after = time.time()

    assert corrections(exporter) == 1
    since = sample(exporter, f'wawp_session_status_since_timestamp_seconds{{{SOURCE},session="s"}}')
    assert before - 0.01 <= (since or 0) <= after
    (told, _) = exporter.get("/api/v1/transitions").json()["transitions"]
    assert told["origin"] == "reconcile"


def test_a_killed_gateway_that_boots_is_noticed(running: Running, start: Start) -> None:
    """It sends nothing at all; its sessions are STOPPED after a while, and its start time is told."""
    exporter = start()
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)

    running.gateway.restart()

    parts.wait_until(lambda: status_of(exporter) == X)
    started = sample(exporter, f"wawp_exporter_gateway_start_timestamp_seconds{{{SOURCE}}}")
    assert started == pytest.approx(running.gateway.started_at / 1000, abs=1)


# -- readings that are not true


@pytest.mark.parametrize("shown", [S, X])
def test_a_healthy_session_that_is_shown_otherwise_for_a_moment_stays_healthy(
    running: Running, start: Start, shown: str
) -> None:
    """NOWEB does that; ten seconds of it are believed."""
    exporter = start()
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)

    running.gateway.shown["s"] = shown
    asked = len(running.gateway.asked("/api/sessions"))
    parts.wait_until(lambda: len(running.gateway.asked("/api/sessions")) > asked + 3)
    running.gateway.shown.clear()
    asked = len(running.gateway.asked("/api/sessions"))
    parts.wait_until(lambda: len(running.gateway.asked("/api/sessions")) > asked + 2)

    assert status_of(exporter) == W
    assert corrections(exporter) == 0
    running.gateway.shown["s"] = shown
    parts.wait_until(lambda: status_of(exporter) == shown)
    assert corrections(exporter) == 1


def test_a_reading_is_dropped_when_an_event_came_since(running: Running, start: Start) -> None:
    """A slow answer tells of the past."""
    exporter = start()
    running.gateway.set("s", F)
    parts.wait_until(lambda: status_of(exporter) == F)
    running.gateway.delay = 1.0

    for number in range(6):
        running.gateway.set("s", (W, F)[number % 2])
        time.sleep(0.7)  # faster than the answers

    assert corrections(exporter) == 0


def test_a_session_is_forgotten_when_it_was_absent_twice(running: Running, start: Start) -> None:
    """Never because a call failed; its series are gone."""
    exporter = start()
    running.gateway.set("s", W)
    running.gateway.set("t", W)
    parts.wait_until(lambda: status_of(exporter) == status_of(exporter, "t") == W)
    running.gateway.trouble = 500
    asked = len(running.gateway.calls)
    parts.wait_until(lambda: len(running.gateway.calls) > asked + 4)
    assert status_of(exporter) == W

    del running.gateway.sessions["s"]
    running.gateway.trouble = None

    parts.wait_until(lambda: status_of(exporter) is None)
    assert status_of(exporter, "t") == W
    assert 'session="s"' not in exporter.metrics()


def test_a_deleted_session_that_the_gateway_stopped_stays_deleted(running: Running, start: Start) -> None:
    """Else `forget_stopped_after` would forget for a minute only."""
    exporter = start()
    running.gateway.set("s", X)
    parts.wait_until(lambda: status_of(exporter) == X)
    exporter.client.delete(f"{exporter.url}/api/v1/sessions/default/s").raise_for_status()
    asked = len(running.gateway.calls)
    parts.wait_until(lambda: len(running.gateway.calls) > asked + 4)

    assert status_of(exporter) is None


def test_a_list_alone_forgets_nobody(running: Running, start: Start) -> None:
    """An empty one may be of another service, of a key that sees less, or of a gateway that has just started."""
    exporter = start()
    for name in ("s", "t"):
        running.gateway.set(name, W)
    parts.wait_until(lambda: status_of(exporter) == status_of(exporter, "t") == W)

    running.gateway.unlisted = {"s", "t"}

    looked = len(running.gateway.asked("/api/sessions"))
    parts.wait_until(lambda: len(running.gateway.asked("/api/sessions")) > looked + 5)
    assert status_of(exporter) == status_of(exporter, "t") == W
    assert running.gateway.asked("/api/sessions/s")


@pytest.mark.parametrize("kind", ["waha", "wawp"])
def test_the_404_of_a_proxy_forgets_nobody(running: Running, start: Start, kind: str) -> None:
    """Neither does it confirm anything: the gateway's API is down."""
    exporter = start({"kind": kind, "instances": ["s"] if kind == "wawp" else []})
    running.gateway.set("s", W)
    parts.wait_until(lambda: up(exporter) == 1 and status_of(exporter) == W)

    running.gateway.page = (404, b"<html><center>nginx</center></html>")

    parts.wait_until(lambda: up(exporter) == 0)
    asked = len(running.gateway.calls)
    parts.wait_until(lambda: len(running.gateway.calls) > asked + 4)
    assert status_of(exporter) == W
    assert (sample(exporter, f"wawp_exporter_api_errors_total{{{SOURCE}}}") or 0) > 1
    assert "it answered 404" in exporter.stderr


# -- a gateway in trouble


@pytest.mark.parametrize("trouble", [401, 403, 422, 500, 302, "hang", "cut"])
def test_a_gateway_in_trouble_is_told_and_harms_nothing_else(
    running: Running, start: Start, trouble: int | str
) -> None:
    """`/metrics`, webhooks and readiness go on; the log says what is wrong, without the key."""
    running.gateway.trouble = trouble
    exporter = start()
    if trouble != "hang":
        parts.wait_until(lambda: up(exporter) == 0)

    running.gateway.set("s", W)

    parts.wait_until(lambda: status_of(exporter) == W)
    assert exporter.get("/-/ready").status_code == 200
    if trouble != "hang":
        assert "gateway not reached" in exporter.stderr
    assert KEY not in exporter.stderr + exporter.metrics()
    assert running.url not in exporter.stderr


def test_a_gateway_that_comes_back_is_asked_again(running: Running, start: Start) -> None:
    """`api_up` follows."""
    running.gateway.trouble = 500
    exporter = start()
    parts.wait_until(lambda: up(exporter) == 0)

    running.gateway.trouble = None

    parts.wait_until(lambda: up(exporter) == 1)


def test_an_odd_answer_is_no_reading(running: Running, start: Start) -> None:
    """What has no usable name is left out; what has no usable status is not gone for that."""
    running.gateway.sessions = {"s": W, "": F}
    exporter = start()
    parts.wait_until(lambda: status_of(exporter) == W)

    running.gateway.shown = {"s": ""}

    looked = len(running.gateway.asked("/api/sessions"))
    parts.wait_until(lambda: len(running.gateway.asked("/api/sessions")) > looked + 8)
    assert status_of(exporter) == W
    assert exporter.get("/api/v1/sessions").json()["total"] == 1


def test_a_session_that_is_listed_with_two_statuses_keeps_its_own(running: Running, start: Start) -> None:
    """The last one in the list would be believed, and be another in the next look: a healthy session would be lost."""
    running.gateway.sessions = {"s": W, "other": W}
    exporter = start()
    parts.wait_until(lambda: status_of(exporter) == status_of(exporter, "other") == W)

    listed = [{"name": "s", "status": W}, {"name": "s", "status": F}, {"name": "other", "status": F}]
    running.gateway.page = (200, json.dumps(listed).encode())

    parts.wait_until(lambda: status_of(exporter, "other") == F)
    assert status_of(exporter) == W
    assert corrections(exporter) == 1


# -- after an outage


def test_statuses_are_unconfirmed_after_an_outage_until_the_gateway_has_answered(
    running: Running, start: Start
) -> None:
    """The pre-flight check says so; a source without an API keeps the last known status."""
    exporter = start()
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)
    exporter.stop()
    with sqlite3.connect(exporter.directory / "wawp.db") as log:
        log.execute("UPDATE run SET started_at = started_at - 100000, seen_at = seen_at - 100000")
    running.gateway.trouble = 500
    exporter.start()

    told = exporter.get("/api/v1/sessions/default/s").json()
    ready = exporter.get("/api/v1/sessions/default/s/ready")

    assert (told["status"], told["confirmed"], told["ready"]) == (W, False, False)
    assert (ready.status_code, "not confirmed" in ready.json()["error"]) == (503, True)
    assert "Not confirmed" in exporter.get("/sessions/default/s").text
    running.gateway.trouble = None
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 200)


def test_a_session_that_the_gateway_contradicts_is_not_ready(running: Running, start: Start) -> None:
    """It was stopped while nobody listened: not ready from the first look on, though that is believed only later.

    The API, the group, the pages say the same, and why.
    """
    exporter = start(groups={"g": ["default/s"]})
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 200)
    with sqlite3.connect(exporter.directory / "wawp.db") as log:
        parts.wait_until(lambda: log.execute("SELECT count(*) FROM run").fetchone()[0])
        exporter.stop(signal.SIGKILL)
        log.execute("UPDATE run SET started_at = started_at - 100000, seen_at = seen_at - 100000")
    running.gateway.set("s", X, tell=False)
    exporter.start()

    said = []
    while status_of(exporter) == W:
        told = exporter.get("/api/v1/sessions/default/s/ready").json()
        assert (told["ready"], exporter.get("/api/v1/sessions/default/s").json()["ready"]) == (False, False)
        assert exporter.get("/api/v1/groups/g/active").status_code == 503
        assert exporter.get("/api/v1/groups").json()["groups"][0]["active"] is None
        said.append(told["error"])
        time.sleep(0.1)  # asked all the time, the exporter would need the whole processor for its answers

    assert "the gateway says that the session is STOPPED, and is asked again" in said
    assert status_of(exporter) == X


@pytest.mark.parametrize("shown", [S, X, F])
def test_a_reading_under_suspicion_makes_a_session_not_ready(running: Running, start: Start, shown: str) -> None:
    """Until the gateway, or an event, says otherwise."""
    exporter = start(groups={"g": ["default/s"]})
    running.gateway.set("s", W)
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 200)

    running.gateway.shown["s"] = shown
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 503)
    assert shown in exporter.get("/api/v1/sessions/default/s/ready").json()["error"]
    assert f"default/s: the gateway says that the session is {shown}" in exporter.get("/api/v1/groups/g/active").text
    assert "Not ready." in exporter.get("/sessions/default/s").text
    running.gateway.shown.clear()

    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 200)
    assert corrections(exporter) == 0


@pytest.mark.parametrize("trouble", ["cut", 502, 503])
def test_what_its_gateway_does_not_answer_for_is_not_ready(running: Running, start: Start, trouble: int | str) -> None:
    """Whoever would send through it would fail; an API that refuses the key, or has a defect, is no such reason."""
    exporter = start(groups={"g": ["default/s"]})
    running.gateway.set("s", W)
    parts.wait_until(lambda: up(exporter) == 1 and status_of(exporter) == W)

    running.gateway.trouble = trouble
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 503)
    told = exporter.get("/api/v1/sessions/default/s/ready").json()
    page = exporter.get("/").text

    assert (told["status"], told["error"]) == (W, "the gateway does not answer")
    assert exporter.get("/api/v1/groups/g/active").status_code == 503
    assert "nobody" in page[page.index('id="groups"') :]
    running.gateway.trouble = 401
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s/ready").status_code == 200)


def test_the_event_stream_says_what_the_api_says(running: Running, start: Start) -> None:
    """WORKING by a webhook, of a gateway that does not answer: not ready."""
    running.gateway.trouble = 503
    exporter = start()
    parts.wait_until(lambda: up(exporter) == 0)

    with following(exporter) as events:
        running.gateway.set("s", W)
        told = next(events)

    assert (told["data"]["to"], told["data"]["ready"]) == (W, False)


def test_a_short_restart_leaves_statuses_confirmed(running: Running, start: Start) -> None:
    """The gateway tries again for half a minute: nothing was missed."""
    exporter = start()
    running.gateway.set("s", W)
    parts.wait_until(lambda: status_of(exporter) == W)
    running.gateway.trouble = 500
    exporter.stop()
    exporter.start()

    assert exporter.get("/api/v1/sessions/default/s/ready").status_code == 200


def test_a_reload_takes_another_gateway(running: Running, start: Start) -> None:
    """And lets the old one go."""
    exporter = start()
    parts.wait_until(lambda: up(exporter) == 1)

    exporter.write({})
    assert exporter.process
    exporter.process.send_signal(signal.SIGHUP)

    parts.wait_until(lambda: up(exporter) is None)


# -- Wawp


def test_wawp_is_asked_by_instance(running: Running, start: Start) -> None:
    """With a bearer token; a session is known by the name that its webhooks use."""
    running.gateway.sessions = {"inst1": W, "inst2": F}
    exporter = start({"kind": "wawp", "instances": ["inst1", "inst2", "gone"]})

    parts.wait_until(lambda: [status_of(exporter, f"wawp-inst{number}") for number in (1, 2)] == [W, F])

    assert all(KEY not in str(call.query) for call in running.gateway.calls)


def test_an_instance_of_wawp_with_trouble_is_not_confirmed_by_the_others(running: Running, start: Start) -> None:
    """Its name is not known after a start, only its id: it would count as read, and be ready without any word of it."""
    running.gateway.sessions = {"inst1": W, "inst2": W}
    exporter = start({"kind": "wawp", "instances": ["inst1", "inst2"]})
    parts.wait_until(lambda: [status_of(exporter, f"wawp-inst{number}") for number in (1, 2)] == [W, W])
    exporter.stop()
    with sqlite3.connect(exporter.directory / "wawp.db") as log:
        log.execute("UPDATE run SET started_at = started_at - 100000, seen_at = seen_at - 100000")
    running.gateway.broken = {"inst1": 500}
    exporter.start()

    def ready(session: str) -> int:
        return exporter.get(f"/api/v1/sessions/default/{session}/ready").status_code

    parts.wait_until(lambda: ready("wawp-inst2") == 200)
    assert (ready("wawp-inst1"), up(exporter)) == (503, 1)
    running.gateway.broken.clear()
    parts.wait_until(lambda: ready("wawp-inst1") == 200)
    running.gateway.broken = {"inst1": 500}
    errors = f"wawp_exporter_api_errors_total{{{SOURCE}}}"
    counted = sample(exporter, errors) or 0
    parts.wait_until(lambda: (sample(exporter, errors) or 0) > counted)
    assert ready("wawp-inst1") == 200
