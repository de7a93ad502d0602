"""The clients of the gateways' APIs, over real HTTP: what they send, what they take, and what their errors tell."""

import asyncio
import base64
import contextlib
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeVar

import httpx
import pytest

from tests import parts
from tests.gateway import KEY, QR, Running
from tests.gateway import Gateway as Answers
from wawp_exporter.config import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateway import PNG, Gateway, Reading, image_in, make_gateway, reading_of

W, F, Q = "WORKING", "FAILED", "SCAN_QR_CODE"
IMAGE = base64.b64decode(str(QR["data"]))


T = TypeVar("T")


def asked(api: GatewayApi, call: Callable[[Gateway], Awaitable[T]]) -> T:
    """What one call gives; the client is closed."""

    async def ask() -> T:
        gateway = make_gateway(api, KEY)
        try:
            return await call(gateway)
        finally:
            await gateway.close()

    return asyncio.run(ask())


# -- what is sent


def test_waha_gets_its_key_in_a_header(running: Running) -> None:
    """And nowhere else; stopped sessions are asked for too."""
    running.gateway.sessions = {"a": W, "b": "STOPPED"}

    found = asked(GatewayApi(url=running.url), lambda gateway: gateway.sessions())

    (call,) = running.gateway.calls
    assert [(reading.names, reading.status) for reading in found] == [(("a",), W), (("b",), "STOPPED")]
    assert (call.headers["x-api-key"], call.query) == (KEY, {"all": ["true"]})


def test_wawp_gets_a_bearer_token_and_the_instance(running: Running) -> None:
    """An instance may be called by its id and by its name; one that it does not know is not there."""
    running.gateway.sessions = {"inst1": Q}
    api = GatewayApi(kind="wawp", url=running.url, instances=["inst1", "gone"])

    async def use(gateway: Gateway) -> tuple[list[Reading], str | None, bytes | None]:
        found = await gateway.sessions()
        await gateway.restart("wawp-inst1")
        return found, await gateway.status("gone"), await gateway.qr("inst1")

    assert asked(api, use) == ([Reading(("inst1", "wawp-inst1"), Q)], None, IMAGE)
    assert running.gateway.restarted == ["inst1"]
    assert {call.headers["authorization"] for call in running.gateway.calls} == {f"Bearer {KEY}"}


def test_names_are_quoted(running: Running) -> None:
    """A name may be anything, also a path."""
    running.gateway.sessions = {"../server/status": W, "a/b?c#d%": F}

    async def use(gateway: Gateway) -> list[str | None]:
        return [await gateway.status(name) for name in running.gateway.sessions]

    assert asked(GatewayApi(url=running.url), use) == [W, F]


@pytest.mark.parametrize("name", ["", ".", ".."])
@pytest.mark.parametrize("method", ["status", "restart", "qr"])
def test_a_name_that_would_ask_for_another_path_is_refused(running: Running, name: str, method: str) -> None:
    """`/api/sessions/../restart` is `/api/restart` to every client and proxy; the gateway is not asked at all."""
    with pytest.raises(GatewayError, match="cannot stand in a URL"):
        asked(GatewayApi(url=running.url), lambda gateway: getattr(gateway, method)(name))

    assert running.gateway.calls == []


@pytest.mark.parametrize(
    "name", ["...", ". .", "%2e%2e", "..%2f", "/..", "../..", "..\\", "a\nb", "a\r\nX: y", "é", "?", "#", ";"]
)
def test_an_odd_name_arrives_as_it_is(running: Running, name: str) -> None:
    """Nothing between its caller and the gateway makes another name or another path of it."""
    running.gateway.sessions = {name: W}

    asked(GatewayApi(url=running.url), lambda gateway: gateway.restart(name))

    assert running.gateway.restarted == [name]


# -- what goes wrong


@pytest.mark.parametrize("trouble", ["cut", 401, 500, 301])
def test_an_error_of_the_gateway_tells_neither_key_nor_address(running: Running, trouble: int | str) -> None:
    """What an operator reads in the log."""
    running.gateway.trouble = trouble

    with pytest.raises(GatewayError) as caught:
        asked(GatewayApi(url=running.url), lambda gateway: gateway.sessions())

    assert KEY not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_client_shows_no_key() -> None:
    """Whoever prints it."""

    async def shown(gateway: Gateway) -> str:
        return repr(gateway) + repr(vars(gateway))

    assert KEY not in asked(GatewayApi(url="http://127.0.0.1:1"), shown)


def answering(write: Callable[[BaseHTTPRequestHandler], None]) -> type[BaseHTTPRequestHandler]:
    """A server that ends each GET with `write`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            write(self)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def test_a_redirect_is_not_followed(running: Running) -> None:
    """The key would go with it."""

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{running.url}/api/sessions")
        handler.end_headers()

    with parts.serving(answering(redirect)) as server, pytest.raises(GatewayError, match="it answered 307"):
        asked(GatewayApi(url=f"http://127.0.0.1:{server.server_address[1]}"), lambda gateway: gateway.sessions())

    assert running.gateway.calls == []


def test_an_answer_that_drips_ends_in_time() -> None:
    """The limit is for the whole answer, not from one byte to the next."""
    pause = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not pause.wait(0.05):
                handler.wfile.write(b" ")

    async def use(gateway: Gateway) -> object:
        return await gateway._ask("GET", "/", seconds=0.5)

    with parts.serving(answering(drip)) as server, pytest.raises(GatewayError, match="no answer within"):
        asked(GatewayApi(url=f"http://127.0.0.1:{server.server_address[1]}"), use)


def test_an_answer_without_an_end_is_cut_off(running: Running) -> None:
    """Whatever it is an answer to."""
    running.gateway.sessions = {"s": W}

    async def use(gateway: Gateway) -> object:
        return await gateway._ask("GET", "/api/sessions", limit=10)

    with pytest.raises(GatewayError, match="its answer is over 10 bytes"):
        asked(GatewayApi(url=running.url), use)


# -- what is read


@pytest.mark.parametrize(
    "body",
    [
        IMAGE,
        parts.encode({"mimetype": "image/png", "data": QR["data"]}),
        parts.encode({"qr": f"data:image/png;base64,{QR['data']}"}),
    ],
)
def test_a_code_is_read_in_each_form(body: bytes) -> None:
    """The image itself, WAHA's JSON, and a data URL."""
    assert image_in(httpx.Response(200, content=body)) == IMAGE
    assert IMAGE.startswith(PNG)


@pytest.mark.parametrize("item", [None, [], "s", {}, {"name": ""}, {"name": 1, "status": W}])
def test_what_names_no_session_is_no_reading(item: object) -> None:
    """Whatever else it says."""
    assert reading_of(item) is None


def test_an_unusable_status_is_empty() -> None:
    """The session is there all the same."""
    assert reading_of({"name": "s", "status": None}) == Reading(("s",), "")


def test_the_gateway_of_these_tests_answers_as_the_captured_one() -> None:
    """Its shapes are those of a real WAHA."""
    listed = Answers(sessions={"default": W})._listed("default")

    assert set(listed) == {"name", "status", "config", "me", "presence", "timestamps"}
