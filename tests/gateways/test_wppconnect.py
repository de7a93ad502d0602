"""The client of wppconnect-server's API: a token for each session, and words that say less than the webhooks do."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.gateway import QR, Running
from tests.other_gateways import TOKENS
from tests.other_gateways import Wppconnect as Answers
from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.gateway import Gateway, Reading
from wawp_exporter.gateways.kinds import make_gateway
from wawp_exporter.model.event import Status

T = TypeVar("T")
IMAGE = base64.b64decode(str(QR["data"]))
HOOK = "https://exporter.example/webhook/wpp?token=secret&session=sales"
LINE = f"sales:{TOKENS['sales']}"


@pytest.fixture
def running() -> Iterator[Running]:
    """A wppconnect-server."""
    with Running(Answers) as running:
        yield running


def asked(running: Running, call: Callable[[Gateway], Awaitable[T]], key: str = LINE) -> T:
    """What one call gives; the client is closed."""

    async def ask() -> T:
        gateway = make_gateway(GatewayApi(kind="wppconnect", url=running.url), key)
        try:
            return await call(gateway)
        finally:
            await gateway.close()

    return asyncio.run(ask())


def reading(running: Running) -> Reading:
    """What is read of the one session."""
    (found,) = asked(running, lambda gateway: gateway.sessions())
    return found


@pytest.mark.parametrize(
    ("word", "status", "fitting"),
    [
        ("CLOSED", "FAILED", {"FAILED", "STOPPED", "DISCONNECTED"}),
        ("INITIALIZING", "STARTING", {"STARTING", "SCAN_QR_CODE", "WORKING", "FAILED"}),
        ("QRCODE", "SCAN_QR_CODE", {"SCAN_QR_CODE", "WORKING", "FAILED"}),
        ("PHONECODE", "SCAN_QR_CODE", {"SCAN_QR_CODE", "WORKING", "FAILED"}),
        ("CONNECTED", "WORKING", {"WORKING", "DISCONNECTED"}),
        ("HATCHING", "HATCHING", {"UNKNOWN"}),
    ],
)
def test_a_word_is_read_as_the_status_that_it_most_likely_is(
    running: Running, word: str, status: str, fitting: set[str]
) -> None:
    """And what the webhooks have said is kept where the word may mean that as well."""
    running.gateway.sessions = {"sales": word}

    found = reading(running)

    assert (found.names, found.status) == (("sales",), status)
    assert {each.value for each in Status if found.fits(each)} == fitting


def test_a_wrong_token_concerns_its_own_session_only(running: Running) -> None:
    """Tokens are made one by one; a server that answers for the others is not down."""
    running.gateway.sessions = {"sales": "CONNECTED"}

    found = asked(running, lambda gateway: gateway.sessions(), f"{LINE}\nother:wrong")

    assert [(each.names, each.status, each.trouble) for each in found] == [
        (("sales",), "WORKING", ""),
        (("other",), "", "it refuses the key (401)"),
    ]


def test_connected_without_a_browser_is_lost(running: Running) -> None:
    """The server says CONNECTED for as long as it runs after a browser has crashed."""
    running.gateway.sessions = {"sales": "CONNECTED"}
    running.gateway.crashed = {"sales"}  # type: ignore[attr-defined]  # a Wppconnect

    assert reading(running).status == "FAILED"
    assert asked(running, lambda gateway: gateway.status("sales")) == "FAILED"


def test_the_token_travels_in_a_header_only(running: Running) -> None:
    """The server's own list would take its secret key in the URL."""
    running.gateway.sessions = {"sales": "CONNECTED"}

    reading(running)

    assert all(TOKENS["sales"] not in call.path and not call.query for call in running.gateway.calls)
    assert {call.headers["authorization"] for call in running.gateway.calls} == {f"Bearer {TOKENS['sales']}"}


def test_a_client_shows_no_token_and_no_webhook(running: Running) -> None:
    """Whoever prints it."""

    async def shown(gateway: Gateway) -> str:
        return repr(gateway) + repr(vars(gateway))

    text = asked(running, shown, f"{LINE} {HOOK}")
    assert TOKENS["sales"] not in text
    assert "token=secret" not in text


@pytest.mark.parametrize("method", ["status", "restart", "qr"])
def test_a_session_without_a_token_is_not_asked_for(running: Running, method: str) -> None:
    """An error, which says nothing of the session."""
    with pytest.raises(GatewayError, match="no token of this session"):
        asked(running, lambda gateway: getattr(gateway, method)("other"))

    assert running.gateway.calls == []


@pytest.mark.parametrize(
    ("word", "calls"),
    [
        ("CONNECTED", ["status-session", "close-session", "start-session"]),
        ("CLOSED", ["status-session", "start-session"]),
    ],
)
def test_a_restart_closes_what_is_open_and_starts_it(running: Running, word: str, calls: list[str]) -> None:
    """The server refuses to close what is closed, and to start what is open."""
    running.gateway.sessions = {"sales": word}

    asked(running, lambda gateway: gateway.restart("sales"))

    assert [call.path.rpartition("/")[2] for call in running.gateway.calls] == calls


@pytest.mark.parametrize(("key", "webhook"), [(f"{LINE} {HOOK}", {"webhook": HOOK}), (LINE, {})])
def test_a_session_keeps_its_webhook_over_a_restart(running: Running, key: str, webhook: dict[str, Any]) -> None:
    """A start without it would send the session's webhooks to the server's own URL."""
    asked(running, lambda gateway: gateway.restart("sales"), key)

    assert json.loads(running.gateway.calls[-1].body) == {"waitQrCode": False, **webhook}


def test_the_code_is_an_image_or_none(running: Running) -> None:
    """Both with status 200."""
    running.gateway.sessions = {"sales": "QRCODE"}
    assert asked(running, lambda gateway: gateway.qr("sales")) == IMAGE

    running.gateway.sessions = {"sales": "CONNECTED"}
    assert asked(running, lambda gateway: gateway.qr("sales")) is None


@pytest.mark.parametrize("page", [(200, b"<html>"), (200, b"[]"), (500, b"{}"), (302, b"")])
@pytest.mark.parametrize("method", ["status", "restart", "qr"])
def test_what_something_else_answers_is_an_error(running: Running, page: tuple[int, bytes], method: str) -> None:
    """And holds neither token nor address."""
    running.gateway.page = page

    with pytest.raises(GatewayError) as caught:
        asked(running, lambda gateway: getattr(gateway, method)("sales"))

    assert TOKENS["sales"] not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
