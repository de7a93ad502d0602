"""Every captured request of a real WAHA, replayed byte for byte: each is answered 200 and leaves the right history."""

import asyncio
import base64
import http.client
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import parts

CAPTURED = Path(__file__).parents[1] / "captured"
UNSIGNED = "no-hmac-custom-headers"
KEYS = {"capture-key": "capture", "other-key": "other"}
ORDERS = ("arrival", "reverse", "at-once")

# What the scenarios are known to have gone through, written down by hand from their names and the order of events.
BY_HAND = {
    "v2026.1.1-create-metadata-and-delete": "STOPPED STARTING STOPPED STARTING STOPPED",
    "receiver-down-7s-connection-refused": "STARTING STOPPED",
    "noweb-no-dns-reconnect-loop-to-failed": "STARTING FAILED",
    "noweb-restart-from-failed": "STARTING FAILED STOPPED STARTING",
    "always-401-given-up-after-16": "STARTING STOPPED",
    "hang-never-answered-120s": "STARTING STOPPED",
    "injected-first-pairing": "STARTING SCAN_QR_CODE STARTING WORKING",
    "webjs-restart-then-stop": "FAILED STARTING STOPPED STARTING FAILED STARTING FAILED STARTING FAILED STOPPED",
    "webjs-no-network-loop-continued": " ".join(["STARTING FAILED"] * 7 + ["STARTING"]),
    "sigkill-during-retries": "STARTING",
    "no-hmac-custom-headers": "STARTING STOPPED",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One captured request, aimed at a source of ours."""

    stream: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, order: str) -> bytes:
        """The head as it was sent, header for header; only the path names our source."""
        lines = [f"POST /webhook/{order}-{self.stream} HTTP/1.1", *(f"{k}: {v}" for k, v in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def event(self) -> Any:
        """The envelope."""
        return json.loads(self.body)


def read_captures() -> dict[str, list[Sent]]:
    """Requests in order of arrival by stream: a file's requests to one path, as a receiver of that path saw them."""
    streams: dict[str, list[Sent]] = {}
    for file in sorted(CAPTURED.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            path = record["path"].strip("/").replace("/", "-")
            stream = file.stem if path == "hook" else f"{file.stem}-{path}"
            headers = tuple((name, value) for name, value in record["headers"])
            sent = Sent(stream, headers, base64.b64decode(record["body_b64"]))
            streams.setdefault(stream, []).append(sent)
    return streams


STREAMS = read_captures()


def key_file(stream: str, folder: Path) -> str:
    """The key with which the gateway signed on that path."""
    key = "other-key" if "-second" in stream else "capture-key"
    path = folder / key
    path.write_text(f"{key}\n")
    return str(path)


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    """A source of its own for each stream in each order of replay."""
    return {
        f"{order}-{stream}": {"allow_unsigned": True}
        if stream == UNSIGNED
        else {"hmac_keys_file": key_file(stream, folder)}
        for order in ORDERS
        for stream in STREAMS
    }


def points(stream: str) -> list[tuple[int, int, str]]:
    """The distinct (at, tie, status) of a stream, in order, read from the captured bodies alone.

    A point stands in several histories; the tie is its place among equal milliseconds in the longest of them.
    """
    found: dict[tuple[int, str], int] = {}
    for sent in STREAMS[stream]:
        payload = sent.event["payload"]
        history = [(point["timestamp"], point["status"]) for point in payload["statuses"]]
        assert history[-1][1] == payload["status"], "the captured history ends with the event itself"
        for index, (at, status) in enumerate(history):
            tie = sum(earlier == at for earlier, _ in history[:index])
            found[at, status] = max(tie, found.get((at, status), 0))
    return sorted((at, tie, status) for (at, status), tie in found.items())


def expected(stream: str) -> list[str]:
    """The statuses entered, in order: neighbours that say the same are one."""
    statuses = [status for _, _, status in points(stream)]
    return [status for index, status in enumerate(statuses) if index == 0 or statuses[index - 1] != status]


@dataclass(frozen=True)
class Replayed:
    """What the exporter answered, logged and exported after all three replays."""

    answers: Mapping[str, list[tuple[Sent, int, dict[str, str]]]]
    views: Mapping[str, list[tuple[str | None, str, int, int]]]
    samples: Mapping[tuple[str, str, str], float]

    def status(self, source: str) -> list[str]:
        """The labels of the `wawp_session_status` series that are 1."""
        return [s for (name, of, s), v in self.samples.items() if (name, of, v) == ("wawp_session_status", source, 1)]

    def counted(self, source: str) -> float:
        """The sum of `wawp_session_transitions_total`."""
        wanted = ("wawp_session_transitions_total", source)
        return sum(value for (name, of, _), value in self.samples.items() if (name, of) == wanted)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """One exporter that got everything three times: as it came, backwards, and all at once."""
    folder = tmp_path_factory.mktemp("captured")
    newest = max(sent.event["timestamp"] for stream in STREAMS.values() for sent in stream)
    if time.time() * 1000 < newest:
        pytest.skip("the clock of this machine is before the capture: its times would not be believed")
    config = {
        "sources": sources(folder),
        # The capture ages: its stopped sessions must not be forgotten while the test looks at them.
        "metrics": {"forget_stopped_after": "36500d"},
    }
    with parts.Exporter(config, folder) as exporter:
        answers = {
            "arrival": one_by_one(exporter.port, "arrival", [s for stream in STREAMS.values() for s in stream]),
            "reverse": one_by_one(exporter.port, "reverse", [s for stream in STREAMS.values() for s in stream[::-1]]),
            "at-once": asyncio.run(at_once(exporter.port, [s for stream in STREAMS.values() for s in stream])),
        }
        families = list(text_string_to_metric_families(exporter.metrics()))
        views = read_views(folder / "wawp.db")
    samples = {
        (sample.name, sample.labels["source"], sample.labels.get("status", sample.labels.get("to", ""))): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("session") == "default"
    }
    return Replayed(answers, views, samples)


def one_by_one(port: int, order: str, requests: Sequence[Sent]) -> list[tuple[Sent, int, dict[str, str]]]:
    """Sends each after the answer to the one before, on a connection that is kept."""
    answers = []
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.connect()
        for sent in requests:
            connection.sock.sendall(sent.head(order) + sent.body)
            response = http.client.HTTPResponse(connection.sock, method="POST")
            response.begin()
            answers.append((sent, response.status, json.loads(response.read())))
            response.close()
    return answers


async def at_once(port: int, requests: Sequence[Sent]) -> list[tuple[Sent, int, dict[str, str]]]:
    """Sends all at the same moment, each on a connection of its own."""
    everyone = asyncio.Barrier(len(requests))

    async def send(sent: Sent) -> tuple[Sent, int, dict[str, str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await everyone.wait()
        writer.write(sent.head("at-once") + sent.body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()
        return sent, int(head.split(" ")[1]), json.loads(body)

    return await asyncio.gather(*(send(sent) for sent in requests))


def read_views(database: Path) -> dict[str, list[tuple[str | None, str, int, int]]]:
    """The `transitions` view by source, in its order: (from, to, at, tie)."""
    views: dict[str, list[tuple[str | None, str, int, int]]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT source, from_status, status, at, tie FROM transitions ORDER BY at, tie, seq")
        for source, *row in rows:
            views.setdefault(source, []).append(tuple(row))
    return views


def test_the_capture_is_whole() -> None:
    """Nothing is left out of the replay: 243 requests."""
    assert sum(len(stream) for stream in STREAMS.values()) == 243


@pytest.mark.parametrize("order", ORDERS)
def test_every_captured_request_is_answered_200(replayed: Replayed, order: str) -> None:
    """Retries, second copies and stale deliveries are accepted too: any other answer makes WAHA send them again."""
    refused = [(s.stream, status, body) for s, status, body in replayed.answers[order] if status != 200]

    assert refused == []
    assert len(replayed.answers[order]) == 243


@pytest.mark.parametrize("order", ORDERS)
def test_the_final_status_is_that_of_the_newest_point(replayed: Replayed, order: str) -> None:
    """In whatever order the requests come."""
    found = {stream: replayed.status(f"{order}-{stream}") for stream in STREAMS}

    assert found == {stream: [expected(stream)[-1]] for stream in STREAMS}


@pytest.mark.parametrize("order", ORDERS)
def test_the_log_tells_the_captured_transitions(replayed: Replayed, order: str) -> None:
    """The view has each change once, in the gateway's order."""
    found = {stream: [row[:2] for row in replayed.views[f"{order}-{stream}"]] for stream in STREAMS}

    assert found == {stream: list(pairwise([None, *expected(stream)])) for stream in STREAMS}


def test_the_view_is_the_same_in_any_order(replayed: Replayed) -> None:
    """At the same instants, too."""
    by_order = [{stream: replayed.views[f"{order}-{stream}"] for stream in STREAMS} for order in ORDERS]

    assert by_order[0] == by_order[1] == by_order[2]


def test_the_counters_count_what_came_in_order(replayed: Replayed) -> None:
    """As it came, back-fill included, `wawp_session_transitions_total` equals the audit."""
    found = {stream: replayed.counted(f"arrival-{stream}") for stream in STREAMS}

    assert found == {stream: len(expected(stream)) for stream in STREAMS}


@pytest.mark.parametrize(("stream", "statuses"), BY_HAND.items())
def test_the_scenarios_leave_the_history_written_down_by_hand(replayed: Replayed, stream: str, statuses: str) -> None:
    """The computed expectation and the eye agree."""
    assert [to for _, to, *_ in replayed.views[f"arrival-{stream}"]] == statuses.split()


@pytest.mark.parametrize("order", ORDERS)
def test_an_event_is_news_at_most_once(replayed: Replayed, order: str) -> None:
    """Of all deliveries of one event, one at most is a transition or a repeat; after it they are duplicates."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for sent, _, body in replayed.answers[order]:
        outcomes.setdefault((sent.stream, sent.event["id"]), []).append(body["outcome"])

    for event, seen in outcomes.items():
        assert sum(outcome in {"transition", "repeat", "late"} for outcome in seen) <= 1, event
        assert set(seen) <= {"transition", "repeat", "late", "duplicate"}, event
        assert order == "at-once" or set(seen[1:]) <= {"duplicate"}, event


def test_a_starting_that_comes_after_its_stopped_changes_nothing(replayed: Replayed) -> None:
    """STARTING was refused once and came after STOPPED, whose history had told of it already."""
    stream = "receiver-down-7s-connection-refused"
    outcomes = [body["outcome"] for sent, _, body in replayed.answers["reverse"] if sent.stream == stream]

    assert outcomes == ["transition", "duplicate"]
    assert replayed.status(f"reverse-{stream}") == ["STOPPED"]
    assert replayed.counted(f"reverse-{stream}") == 2


def test_a_reconnect_loop_is_one_starting(replayed: Replayed) -> None:
    """Sixty STARTING and a FAILED are two transitions and 59 repeats."""
    stream = "noweb-no-dns-reconnect-loop-to-failed"
    outcomes = [body["outcome"] for sent, _, body in replayed.answers["arrival"] if sent.stream == stream]

    assert outcomes == ["transition", *["repeat"] * 59, "transition"]
