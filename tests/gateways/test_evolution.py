"""The client of the Evolution API: what it reads of an instance's state, which says less than the webhooks do."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests import parts
from tests.gateway import KEY, QR, Running
from tests.other_gateways import Evolution as Answers
from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.evolution import reading_of
from wawp_exporter.gateways.gateway import Gateway, Reading
from wawp_exporter.gateways.kinds import make_gateway
from wawp_exporter.model.event import Status

T = TypeVar("T")
IMAGE = base64.b64decode(str(QR["data"]))
W, S, Q, F, X, D = "WORKING", "STARTING", "SCAN_QR_CODE", "FAILED", "STOPPED", "DISCONNECTED"


@pytest.fixture
def running() -> Iterator[Running]:
    """An Evolution API."""
    with Running(Answers) as running:
        yield running


def asked(running: Running, call: Callable[[Gateway], Awaitable[T]]) -> T:
    """What one call gives; the client is closed."""

    async def ask() -> T:
        gateway = make_gateway(GatewayApi(kind="evolution", url=running.url), KEY)
        try:
            return await call(gateway)
        finally:
            await gateway.close()

    return asyncio.run(ask())


def listed(running: Running) -> dict[str, str]:
    """The statuses by name."""
    found = asked(running, lambda gateway: gateway.sessions())
    return {reading.names[0]: reading.status for reading in found}


def test_the_state_in_memory_counts_not_that_of_the_database(running: Running) -> None:
    """The list says "open" of an instance that reconnects, for as long as it does; its key travels in a header."""
    running.gateway.sessions = {"a": "open", "b/ü?": "connecting", "c": "close"}

    assert listed(running) == {"a": W, "b/ü?": S, "c": D}
    assert {call.headers["apikey"] for call in running.gateway.calls} == {KEY}
    assert not any(call.query for call in running.gateway.calls)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_for_each_instance(running: Running, status: int) -> None:
    """It is the key of all: a gateway with thousands of instances would refuse it as often in each look."""
    running.gateway.sessions = {f"s{number}": "open" for number in range(50)}
    running.gateway.broken = dict.fromkeys(running.gateway.sessions, status)

    with pytest.raises(GatewayError, match="refuses the key"):
        listed(running)

    assert len(running.gateway.calls) < 20


def test_the_older_list_has_the_state_itself(running: Running) -> None:
    """Evolution 1.x: nothing more is asked for."""
    answers: Any = running.gateway
    answers.sessions, answers.old = {"a": "open", "b": "close"}, True

    assert listed(running) == {"a": W, "b": D}
    assert [call.path for call in answers.calls] == ["/instance/fetchInstances"]


def test_many_instances_are_asked_a_few_at_a_time(running: Running) -> None:
    """A gateway is not flooded; one of them that is gone by then is left out."""
    running.gateway.sessions = {f"s{number}": "open" for number in range(20)}
    running.gateway.delay = 0.01

    assert len(listed(running)) == 20
    assert running.gateway.busiest <= 8


@pytest.mark.parametrize(
    ("state", "row", "status", "fitting"),
    [
        ("open", {}, W, {W}),
        ("connecting", {}, S, {S, Q, "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"}),
        ("close", {"ownerJid": "1@s"}, D, {D, F, X}),
        ("close", {"ownerJid": "1@s", "connectionStatus": "close", "disconnectionReasonCode": 401}, F, {D, F, X}),
        ("close", {"ownerJid": "1@s", "connectionStatus": "open", "disconnectionReasonCode": 401}, D, {D, F, X}),
        ("close", {"ownerJid": None, "connectionStatus": "close"}, X, {D, F, X}),
        ("", {"ownerJid": "1@s", "connectionStatus": "close", "disconnectionReasonCode": 403}, F, {D, F, X}),
        ("", {"ownerJid": "1@s", "connectionStatus": "open"}, "", {"UNKNOWN"}),
        ("hatching", {}, "hatching", {"UNKNOWN"}),
    ],
)
def test_a_state_is_read_as_the_status_that_it_most_likely_is(
    state: str, row: dict[str, Any], status: str, fitting: set[str]
) -> None:
    """`connecting` goes on while a QR code is shown, `close` is all that is said of every end."""
    reading = reading_of("s", state, row)

    assert (reading.names, reading.status) == (("s",), status)
    assert {each.value for each in Status if reading.fits(each)} == fitting


@pytest.mark.parametrize(("code", "reason"), [(401, "logged_out"), (403, "banned"), (None, "")])
def test_the_reason_of_the_end_is_read(code: int | None, reason: str) -> None:
    """Evolution keeps the code of the last disconnection."""
    row = {"ownerJid": "1@s", "connectionStatus": "close", "disconnectionReasonCode": code}

    assert reading_of("s", "close", row).reason == reason


def test_an_instance_that_is_not_there_is_unknown(running: Running) -> None:
    """In Evolution's own words only."""
    running.gateway.sessions = {"s": "open"}

    assert asked(running, lambda gateway: gateway.status("s")) == W
    assert asked(running, lambda gateway: gateway.status("gone")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>404 Not Found</html>",
        b'{"status": 404, "error": "Not Found", "response": {"message": ["Cannot GET /instance/x"]}}',
        b'{"response": {"message": "The \\"s\\" instance does not exist"}}',
        b'{"response": ["instance does not exist"]}',
        b'{"message": "Session not found", "statusCode": 404}',
        b"[]",
    ],
)
def test_a_404_of_something_else_says_nothing_of_an_instance(running: Running, body: bytes) -> None:
    """A proxy, a wrong address, another version."""
    running.gateway.page = (404, body)

    with pytest.raises(GatewayError):
        asked(running, lambda gateway: gateway.status("s"))


@pytest.mark.parametrize(("state", "path"), [("open", "restart"), ("connecting", "restart"), ("close", "connect")])
def test_a_closed_instance_is_connected_and_another_restarted(running: Running, state: str, path: str) -> None:
    """`restart` refuses an instance that is closed."""
    running.gateway.sessions = {"s": state}

    asked(running, lambda gateway: gateway.restart("s"))

    assert running.gateway.calls[-1].path == f"/instance/{path}/s"
    assert running.gateway.sessions["s"] in ("open", "connecting")


def test_an_error_with_status_200_is_an_error(running: Running) -> None:
    """Evolution answers so when its restart fails."""
    running.gateway.page = (200, b'{"error": true, "message": "Error: secret"}')

    async def restart(gateway: Gateway) -> None:
        gateway._state = lambda _: asyncio.sleep(0, "open")  # type: ignore[attr-defined]  # the page answers this too
        await gateway.restart("s")

    with pytest.raises(GatewayError, match="it says that the restart failed"):
        asked(running, restart)


def test_the_code_is_had_while_it_connects_only(running: Running) -> None:
    """To ask for the code of a closed instance would connect it."""
    running.gateway.sessions = {"s": "connecting", "closed": "close", "open": "open"}

    assert asked(running, lambda gateway: gateway.qr("s")) == IMAGE
    assert asked(running, lambda gateway: gateway.qr("closed")) is None
    assert asked(running, lambda gateway: gateway.qr("open")) is None
    running.gateway.qr_image = ""
    assert asked(running, lambda gateway: gateway.qr("s")) is None
    assert running.gateway.sessions == {"s": "connecting", "closed": "close", "open": "open"}


@pytest.mark.parametrize("method", ["status", "restart", "qr"])
@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_ask_for_another_path_is_refused(running: Running, name: str, method: str) -> None:
    """As with every gateway."""
    with pytest.raises(GatewayError, match="cannot stand in a URL"):
        asked(running, lambda gateway: getattr(gateway, method)(name))

    assert running.gateway.calls == []


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"instance": "open"}', b"[1]"])
def test_an_odd_answer_is_an_error(running: Running, body: bytes) -> None:
    """It says nothing of the instance."""
    running.gateway.page = (200, body)

    with pytest.raises(GatewayError):
        asked(running, lambda gateway: gateway.status("s"))


def test_items_of_the_list_that_name_nothing_are_left_out(running: Running) -> None:
    """The others count."""
    running.gateway.page = (200, b'[1, {}, {"name": ""}, {"instance": {}}, {"instance": {"instanceName": "s"}}]')

    assert asked(running, lambda gateway: gateway.sessions()) == [Reading(("s",), "")]


def test_a_lost_webhook_is_corrected_and_one_that_waits_for_a_scan_is_left(
    running: Running, exporter: Callable[..., parts.Exporter], tmp_path: Path
) -> None:
    """The exporter knows more of `waiting` (its QR code came as a webhook) than Evolution's API says."""
    (tmp_path / "key").write_text(KEY)
    api = {"kind": "evolution", "url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "300ms"}
    made = exporter({"sources": {"default": {"dialect": "evolution", "api": api}}})
    for name, event, data in (
        ("waiting", "qrcode.updated", {"qrcode": {"code": "2@x"}}),
        ("lost", "connection.update", {"state": "open"}),
    ):
        body = {"event": event, "instance": name, "data": data}
        assert httpx.post(f"{made.url}/webhook", json=body, trust_env=False).is_success
    running.gateway.sessions = {"waiting": "connecting", "lost": "close"}
    running.gateway.rows = {  # type: ignore[attr-defined]  # an Evolution
        "lost": {"connectionStatus": "close", "disconnectionReasonCode": 401}
    }

    def session(name: str) -> dict[str, Any]:
        return made.get(f"/api/v1/sessions/default/{name}").json()  # type: ignore[no-any-return]

    parts.wait_until(lambda: session("lost")["status"] == F)

    assert session("waiting")["status"] == Q
    (transition, *_) = made.get("/api/v1/transitions?session=lost").json()["transitions"]
    assert (transition["origin"], transition["reason"]) == ("reconcile", "logged_out")


def test_an_instance_that_cannot_be_asked_hides_no_other(
    running: Running, exporter: Callable[..., parts.Exporter], tmp_path: Path
) -> None:
    """One odd name or one broken instance would blind the exporter for a whole gateway, or page somebody for ever.

    The log says what is wrong, the errors are counted, and not all sessions have been read.
    """
    (tmp_path / "key").write_text(KEY)
    api = {"kind": "evolution", "url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "300ms"}
    running.gateway.sessions = {"..": "open", "s": "open"}

    made = exporter({"sources": {"default": {"dialect": "evolution", "api": api}}})
    parts.wait_until(lambda: made.get("/api/v1/sessions/default/s").json().get("status") == W)
    parts.wait_until(lambda: 'wawp_exporter_api_errors_total{source="default"} 2.0' in made.metrics())
    running.gateway.sessions["s"] = "close"
    parts.wait_until(lambda: made.get("/api/v1/sessions/default/s").json()["status"] == D)

    assert made.get("/api/v1/sessions").json()["total"] == 1
    metrics = made.metrics()
    assert 'wawp_exporter_api_up{source="default"} 1.0' in metrics
    assert 'wawp_exporter_reconcile_last_success_timestamp_seconds{source="default"}' not in metrics
    assert "1 of 2 sessions: the name of the session cannot stand in a URL" in made.log.read_text()
