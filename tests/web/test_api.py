"""The JSON API as programs use it, on a running service."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import parts

GROUPS = {
    "sales": ["default/sales-1", "default/sales-2", "default/never-seen"],
    "empty": ["default/nobody"],
    "resting": ["default/resting"],
}
WINDOW = {"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A small fleet: of each kind one, for tests that only read."""
    config = {
        "groups": GROUPS,
        "sources": {"default": {}, "other": {}},
        "sessions": [{"session": "sales-*", "owner": "ana", "tier": "gold"}],
        "maintenance": [{"session": "resting", **WINDOW}],
    }
    with parts.Exporter(config, tmp_path_factory.mktemp("api")) as exporter:
        exporter.filled_at = fill(exporter)  # type: ignore[attr-defined]  # for the tests of this file
        yield exporter


def fill(exporter: parts.Exporter) -> int:
    """What the tests look at; returns the instant (Unix ms) from which it is counted back."""
    now = parts.now_ms()
    send(exporter, now, "sales-1", ("WORKING", -3000), ("FAILED", -100))
    send(exporter, now, "sales-2", ("WORKING", -2000))
    send(exporter, now, "resting", ("WORKING", -2000))
    send(exporter, now, "stopped", ("WORKING", -2000), ("STOPPED", -1000))
    send(exporter, now, "login", ("STARTING", -60), ("SCAN_QR_CODE", -50))
    send(exporter, now, "odd", ("READY", -50))
    send(exporter, now, 'a/b "c" 😀\n', ("WORKING", -10), engine="WPP")
    send(exporter, now, "default", ("WORKING", -10), source="other")
    for count in range(6):
        # Each was down for 200 s, so that one that has been down for 100 s is expected to take 100 s more.
        send(exporter, now, "history", ("FAILED", -9000 + 1000 * count), ("WORKING", -8800 + 1000 * count))
    return now


def send(
    exporter: parts.Exporter, now: int, name: str, *told: tuple[str, float], source: str | None = None, **more: Any
) -> None:
    """Webhooks of one session, each so many seconds after `now`."""
    for status, at in told:
        body = parts.envelope(session=name, status=status, timestamp=now + round(at * 1000), **more)
        assert exporter.post(body, source=source).status_code == 200


def get(exporter: parts.Exporter, path: str, **query: Any) -> httpx.Response:
    """An answer of the API."""
    return exporter.client.get(f"{exporter.url}/api/v1/{path}", params=query)


def names(answer: httpx.Response) -> list[str]:
    """The sessions of a page."""
    assert answer.status_code == 200, answer.text
    return [each["session"] for each in answer.json()["sessions"]]


def error(answer: httpx.Response, status: int) -> str:
    """The message of an error in the one shape of errors."""
    assert answer.status_code == status, answer.text
    told: str = answer.json()["error"]
    return told


# Sessions


def test_all_sessions_are_listed_by_source_and_name(api: parts.Exporter) -> None:
    """And counted."""
    answer = get(api, "sessions")

    found = [(each["source"], each["session"]) for each in answer.json()["sessions"]]
    assert found == sorted(found)
    assert len(found) == answer.json()["total"] == 9
    assert answer.json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"source": "other"}, ["default"]),
        ({"status": "SCAN_QR_CODE"}, ["login"]),
        ({"group": "sales"}, ["sales-1", "sales-2"]),
        ({"engine": "WPP"}, ['a/b "c" 😀\n']),
        ({"group": "sales", "status": "WORKING"}, ["sales-2"]),
        ({"source": "nobody"}, []),
    ],
)
def test_every_filter_that_is_given_must_match(api: parts.Exporter, query: dict[str, str], expected: list[str]) -> None:
    """Source, status, group, engine."""
    assert names(get(api, "sessions", **query)) == expected


def test_pages_are_disjoint_and_complete(api: parts.Exporter) -> None:
    """Each cursor leads to the next page, the last to none."""
    found, cursor = [], {}
    for _ in range(5):
        answer = get(api, "sessions", limit=2, **cursor)
        found += names(answer)
        cursor = {"cursor": answer.json()["next_cursor"]}

    assert cursor == {"cursor": None}
    assert found == names(get(api, "sessions"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "limit: expected `int` >= 1"),
        ({"limit": "many"}, "limit: expected `int`, got `str`"),
        ({"status": "FINE"}, "status: invalid enum value 'FINE'"),
        ({"cursor": "x"}, "cursor: not one that was given out, expected next_cursor of the answer before"),
        ({"cursor": "WzFd"}, "cursor: not one that was given out, expected next_cursor of the answer before"),
        ({"colour": "red"}, "object contains unknown field `colour`"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(
    api: parts.Exporter, query: dict[str, str], message: str
) -> None:
    """Also one that nobody knows: a filter that is silently ignored lies."""
    assert error(get(api, "sessions", **query), 400) == message


def test_one_session_is_told_whole(api: parts.Exporter) -> None:
    """Status, since, ready, group, owner, last event, episodes."""
    told = get(api, "sessions/default/sales-1").json()

    assert told["status"] == "FAILED"
    assert told["ready"] is False
    assert told["since"] == told["down_since"] == rfc3339(api.filled_at - 100_000)
    assert (told["group"], told["owner"], told["tier"]) == ("sales", "ana", "gold")
    assert told["auth_required_since"] is None
    assert told["last_event"]
    assert told["restrictions"] == []


def rfc3339(ms: int) -> str:
    """As the API writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def test_any_name_can_be_asked_for(api: parts.Exporter) -> None:
    """Slashes, quotes, line ends and emoji, percent-encoded."""
    told = get(api, "sessions/default/a%2Fb%20%22c%22%20%F0%9F%98%80%0A").json()

    assert told["session"] == 'a/b "c" 😀\n'


@pytest.mark.parametrize("path", ["", "/ready"])
def test_an_unknown_session_is_404(api: parts.Exporter, path: str) -> None:
    """A program that asks for it has the wrong name; waiting does not help."""
    assert error(get(api, f"sessions/default/unheard{path}"), 404) == "no such session is known"


# Pre-flight


def test_a_working_session_is_ready(api: parts.Exporter) -> None:
    """200, and nothing to wait for."""
    answer = get(api, "sessions/default/sales-2/ready")

    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert "Retry-After" not in answer.headers


def test_a_session_that_is_down_tells_when_to_ask_again(api: parts.Exporter) -> None:
    """The median of its engine's recoveries that took longer, less what has passed."""
    answer = get(api, "sessions/default/sales-1/ready")

    assert error(answer, 503) == "the session is FAILED, expected WORKING"
    told = answer.json()
    passed = (parts.now_ms() - api.filled_at) / 1000
    assert told["expected_seconds"] == pytest.approx(100 - passed, abs=1)
    assert told["basis"].startswith("the median of 6 NOWEB recoveries without a login")
    assert int(answer.headers["Retry-After"]) in range(int(told["expected_seconds"]), 102)


@pytest.mark.parametrize(
    ("name", "basis"),
    [
        ("login", "unknown: only 0 NOWEB recoveries with a login in 30 days took longer than it has been down"),
        ("stopped", "unknown: it was stopped, and somebody has to start it"),
        ("odd", "unknown: its status is not known"),
    ],
)
def test_it_says_so_when_nothing_is_known(api: parts.Exporter, name: str, basis: str) -> None:
    """No number is made up; a default says when to ask again."""
    answer = get(api, f"sessions/default/{name}/ready")

    assert answer.status_code == 503
    assert answer.json()["expected_seconds"] is None
    assert answer.json()["basis"] == basis
    assert answer.headers["Retry-After"] == "30"


def test_recoveries_are_known_after_a_restart(tmp_path: Path) -> None:
    """They come from the log, not from what this process has seen."""
    with parts.Exporter({"sources": {"default": {}, "other": {}}}, tmp_path) as exporter:
        fill(exporter)
        exporter.stop()
        exporter.start()

        def told() -> float | None:
            expected: float | None = get(exporter, "sessions/default/sales-1/ready").json()["expected_seconds"]
            return expected

        assert parts.wait_until(told) > 0  # type: ignore[operator]  # a number ends the wait


# Groups


def test_the_first_working_member_is_active(api: parts.Exporter) -> None:
    """In the order of the configuration."""
    told = get(api, "groups/sales/active").json()

    assert (told["source"], told["session"], told["position"]) == ("default", "sales-2", 1)


@pytest.mark.parametrize("group", ["empty", "resting"])
def test_a_group_that_nobody_serves_is_503(api: parts.Exporter, group: str) -> None:
    """A member in maintenance does not serve."""
    answer = get(api, f"groups/{group}/active")

    assert error(answer, 503) == "no member of the group is WORKING outside maintenance"
    assert answer.headers["Retry-After"] == "30"


def test_an_unknown_group_is_404(api: parts.Exporter) -> None:
    """It is not in the configuration."""
    assert error(get(api, "groups/nobody/active"), 404) == "no such group is configured"


def test_all_groups_are_listed(api: parts.Exporter) -> None:
    """With who serves now, and how many could."""
    told = {each["group"]: each for each in get(api, "groups").json()["groups"]}

    assert told["sales"] == {
        "group": "sales",
        "active": "default/sales-2",
        "members": GROUPS["sales"],
        "eligible": 2,
        "working": 1,
    }
    assert told["empty"]["active"] is None
