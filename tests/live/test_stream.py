"""Server-sent events on a running service: each transition once, whatever happens to the stream."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import parts
from wawp_exporter.live.stream import MAX_STREAMS

Event = dict[str, Any]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A service whose events are followed."""
    with parts.Exporter({"groups": {"sales": ["default/one"]}}, tmp_path_factory.mktemp("stream")) as exporter:
        yield exporter


def send(exporter: parts.Exporter, status: str, session: str = "one") -> None:
    """A webhook of now."""
    body = parts.envelope(session=session, status=status, timestamp=parts.now_ms())
    assert exporter.post(body).status_code == 200


@contextmanager
def following(exporter: parts.Exporter, after: str | None = None, **more: str) -> Iterator[Iterator[Event]]:
    """The events of a stream, as a browser would read them; it is open when this is entered."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {}), **more}
    url = f"{exporter.url}/api/v1/events"
    with (
        httpx.Client(timeout=None, trust_env=False) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines).startswith("retry: ")
        yield parsed(lines)


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    """Events by the rules of the HTML standard."""
    event: Event = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = json.loads(value) if name == "data" else value
        elif not line and event:
            yield event
            event = {}


def test_a_transition_is_told_as_it_happens(exporter: parts.Exporter) -> None:
    """With where it came from; a repeat is none."""
    send(exporter, "STARTING")
    with following(exporter) as events:
        send(exporter, "STARTING")
        send(exporter, "WORKING")

        told = next(events)

    assert told["event"] == "transition"
    data = told["data"]
    assert (data["source"], data["session"], data["from"], data["to"]) == ("default", "one", "STARTING", "WORKING")
    assert (data["ready"], data["group"]) == (True, "sales")


def test_a_stream_goes_on_where_it_was_cut(exporter: parts.Exporter) -> None:
    """Nothing is missing at the seam and nothing comes twice."""
    with following(exporter) as events:
        send(exporter, "FAILED")
        first = next(events)
    send(exporter, "STARTING")
    send(exporter, "WORKING")

    with following(exporter, first["id"]) as events:
        send(exporter, "FAILED")
        told = [next(events) for _ in range(3)]

    assert [each["data"]["to"] for each in told] == ["STARTING", "WORKING", "FAILED"]
    assert [int(each["id"]) for each in told] == sorted({int(each["id"]) for each in told})


def test_a_reader_that_resumes_is_not_told_that_a_doubtful_session_is_ready(tmp_path: Path) -> None:
    """Its gateway does not answer: an application that reads only the stream would send to a session that is lost."""
    (tmp_path / "key").write_text("k3y\n")
    api = {"url": f"http://127.0.0.1:{parts.free_port()}", "key_file": "key"}
    with parts.Exporter({"sources": {"default": {"api": api}}}, tmp_path) as exporter:
        parts.wait_until(lambda: 'wawp_exporter_api_up{source="default"} 0.0' in exporter.metrics())
        with following(exporter) as events:
            send(exporter, "STARTING")
            first = next(events)
            send(exporter, "WORKING")
            live = next(events)
        with following(exporter, first["id"]) as events:
            resumed = next(events)

    assert not live["data"]["ready"]
    assert resumed == live


def test_a_stream_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What happened in between comes from the log."""
    with parts.Exporter({}, tmp_path) as exporter:
        with following(exporter) as events:
            send(exporter, "WORKING")
            first = next(events)
        send(exporter, "FAILED")
        exporter.stop()
        exporter.start()
        send(exporter, "WORKING")

        with following(exporter, first["id"]) as events:
            told = [next(events)["data"]["to"] for _ in range(2)]

    assert told == ["FAILED", "WORKING"]


def test_a_deletion_is_told(exporter: parts.Exporter) -> None:
    """It is no row of the log, and has no id."""
    send(exporter, "WORKING", "doomed")
    with following(exporter) as events:
        assert exporter.client.delete(f"{exporter.url}/api/v1/sessions/default/doomed").status_code == 204

        told = next(events)

    assert told == {"event": "deleted", "data": {"source": "default", "session": "doomed"}}


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
def test_a_wrong_last_event_id_is_refused(exporter: parts.Exporter, after: str) -> None:
    """It says what was expected."""
    answer = exporter.client.get(f"{exporter.url}/api/v1/events", headers={"Last-Event-ID": after})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Last-Event-ID: is not a number, expected the id of an event")


def test_one_stream_too_many_is_told_to_wait(exporter: parts.Exporter) -> None:
    """And there is room again when one ends."""
    with ExitStack() as stack:
        streams = [stack.enter_context(following(exporter)) for _ in range(MAX_STREAMS)]
        refused = exporter.client.get(f"{exporter.url}/api/v1/events")

        assert len(streams) == MAX_STREAMS
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert "event streams are taken" in refused.json()["error"]

    def room() -> bool:
        with exporter.client.stream("GET", f"{exporter.url}/api/v1/events") as answer:
            return answer.status_code == 200

    assert parts.wait_until(room)


def test_streams_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    """They end with the service."""
    with parts.Exporter({}, tmp_path) as exporter, following(exporter) as events:
        assert exporter.stop(timeout=5) == 0
        assert list(events) == []


def test_streams_need_the_token(tmp_path: Path) -> None:
    """Where one is configured."""
    (tmp_path / "token").write_text("t0ken\n")
    with parts.Exporter({"web": {"api_token_file": "token"}}, tmp_path) as exporter:
        assert exporter.client.get(f"{exporter.url}/api/v1/events").status_code == 401
        with following(exporter, Authorization="Bearer t0ken") as events:
            send(exporter, "WORKING")
            assert next(events)["data"]["to"] == "WORKING"
