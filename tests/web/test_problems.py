"""`/api/v1/problems`, and what the API and the streams say of problems and outages."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from tests import parts
from tests.builders import live, make_fleet, ms
from wawp_exporter.web.api.problems import ProblemsEndpoint

W, F, D, Q, X = "WORKING", "FAILED", "DISCONNECTED", "SCAN_QR_CODE", "STOPPED"


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """An outage of one source, and two sessions of another that have problems of their own."""
    config = {
        "sources": {name: {"allow_unsigned": True} for name in ("mass", "single")},
        "sessions": [{"session": "a*", "owner": "ana", "tier": "gold"}],
        "groups": {"sales": ["single/alone"]},
    }
    with parts.Exporter(config, tmp_path_factory.mktemp("problems"), pace=0.02) as exporter:
        now = parts.now_ms()
        for number in range(8):
            send(exporter, now, "mass", f"s{number}", W, 600)
        for name in ("alone", "login", "fine"):
            send(exporter, now, "single", name, W, 600)
        for number in range(4):
            send(exporter, now, "mass", f"s{number}", D, 60 - number / 100)
        send(exporter, now, "single", "alone", D, 50)
        send(exporter, now, "single", "login", Q, 40)
        parts.wait_until(lambda: [each["sessions"] for each in get(exporter)["outages"]] == [4])
        parts.wait_until(lambda: get(exporter)["total"] == 2)
        yield exporter


def send(exporter: parts.Exporter, now: int, source: str, session: str, status: str, ago: float) -> None:
    """A webhook of `ago` seconds before `now` (Unix ms)."""
    at = now - round(ago * 1000)
    body = parts.envelope(session=session, status=status, timestamp=at, statuses=[], engine="GOWS")
    exporter.post(body, source=source).raise_for_status()


def get(exporter: parts.Exporter, **query: Any) -> Any:
    """The answer."""
    return exporter.client.get(f"{exporter.url}/api/v1/problems", params=query).raise_for_status().json()


def test_problems_and_outages_are_listed_as_they_stand(exporter: parts.Exporter) -> None:
    """With the labels of the metric; the sessions of an outage have none of their own."""
    answer = get(exporter)

    first, second = answer["problems"]
    assert {key: first[key] for key in first if key not in ("since", "reason")} == {
        "source": "single",
        "session": "alone",
        "engine": "GOWS",
        "group": "sales",
        "owner": "ana",
        "tier": "gold",
        "problem": "disconnected",
        "alert": "WawpSessionDisconnected",
    }
    assert (second["session"], second["problem"], second["alert"]) == ("login", "login", "WawpSessionQrWaiting")
    (outage,) = answer["outages"]
    assert {key: outage[key] for key in outage if key != "since"} == {
        "source": "mass",
        "engine": "GOWS",
        "kind": "disconnect",
        "sessions": 4,
        "largest": 4,
        "alert": "WawpMassDisconnect",
    }
    assert (answer["next_cursor"], answer["shard"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "listed"),
    [("", 1), ("source=default&engine=GOWS", 1), ("source=other", 0), ("engine=NOWEB", 0), ("status=FAILED", 0)],
)
def test_an_outage_whose_sessions_are_all_back_is_listed_while_it_lasts(query: str, listed: int) -> None:
    """The metric and the page show it too. A filter of sessions leaves it out, since it has none."""
    fleet = make_fleet()
    for status, at in ((W, 0), (F, 100), (W, 300)):
        for number in range(4):
            live((status, at + number), key=("default", f"s-{number}"), fleet=fleet)
        fleet.advance(ms(at + 90), at + 90)

    request = Request({"type": "http", "query_string": query.encode(), "headers": []})
    answer = asyncio.run(ProblemsEndpoint(fleet).get(request))

    assert len(json.loads(answer.body)["outages"]) == listed


def test_metrics_say_the_same(exporter: parts.Exporter) -> None:
    """The alerts read them."""
    lines = [line for line in exporter.metrics().splitlines() if line.startswith("wawp_session_problem_since")]

    listed = {(each["session"], each["problem"]) for each in get(exporter)["problems"]}
    assert len(lines) == len(listed)
    assert all(any(f'session="{s}"' in line and f'problem="{p}"' in line for line in lines) for s, p in listed)
    assert 'wawp_outage_sessions{source="mass",engine="GOWS",kind="disconnect"} 4' in exporter.metrics()


@pytest.mark.parametrize(
    ("query", "sessions", "outages"),
    [
        ({"source": "single"}, ["alone", "login"], 0),
        ({"source": "mass"}, [], 1),
        ({"group": "sales"}, ["alone"], 0),
        ({"status": Q}, ["login"], 0),
        ({"engine": "GOWS"}, ["alone", "login"], 1),
        ({"engine": "WEBJS"}, [], 0),
    ],
)
def test_filters_are_those_of_sessions(
    exporter: parts.Exporter, query: dict[str, str], sessions: list[str], outages: int
) -> None:
    """An outage matches if one of its sessions does."""
    answer = get(exporter, **query)

    assert [each["session"] for each in answer["problems"]] == sessions
    assert len(answer["outages"]) == outages


def test_pages_are_disjoint_and_complete(exporter: parts.Exporter) -> None:
    """The cursor goes on where a page ended."""
    first = get(exporter, limit=1)
    second = get(exporter, limit=1, cursor=first["next_cursor"])

    assert [each["problems"][0]["session"] for each in (first, second)] == ["alone", "login"]
    assert (first["total"], second["next_cursor"]) == (2, None)


def test_a_session_says_its_problems_and_its_outages(exporter: parts.Exporter) -> None:
    """Of one in an outage nothing else needs anybody."""
    alone, lost, fine = (
        exporter.get(f"/api/v1/sessions/{path}").json() for path in ("single/alone", "mass/s0", "single/fine")
    )

    assert [each["problem"] for each in alone["problems"]] == ["disconnected"]
    assert (lost["problems"], lost["outages"]) == ([], ["disconnect"])
    assert (fine["problems"], fine["outages"]) == ([], [])


def test_a_stream_says_what_is_judged_as_it_changes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A problem that begins and ends; an outage that begins, shrinks, and is over."""
    with (
        parts.Exporter({}, tmp_path_factory.mktemp("stream"), pace=0.01) as exporter,
        exporter.client.stream("GET", f"{exporter.url}/api/v1/events", timeout=parts.PATIENCE_S) as stream,
    ):
        lines, now = stream.iter_lines(), parts.now_ms()
        for number in range(5):
            send(exporter, now, "default", f"s{number}", W, 600)
        send(exporter, now, "default", "s0", D, 60)
        assert take(lines, "problems")["problems"][0]["problem"] == "disconnected"
        send(exporter, now, "default", "s0", X, 50)
        assert take(lines, "problems")["problems"] == []
        for number in range(1, 4):
            send(exporter, now, "default", f"s{number}", D, 40 - number / 100)
        begun = take(lines, "outage")
        for number in range(1, 4):
            send(exporter, now, "default", f"s{number}", X, 30)
        over = take(lines, "outage", over=True)

    assert (begun["kind"], begun["sessions"], begun["over"]) == ("disconnect", 3, False)
    assert (over["kind"], over["sessions"]) == ("disconnect", 0)


def take(lines: Iterator[str], event: str, **like: Any) -> Any:
    """The data of the next event of this kind that has these values."""
    for line in lines:
        if line == f"event: {event}":
            data = json.loads(next(lines).removeprefix("data: "))
            if all(data[key] == value for key, value in like.items()):
                return data
    raise AssertionError(f"the stream ended without {event}")
