"""The clients of the gateways' APIs, over real HTTP: what they send, what they take, and what their errors tell."""

import asyncio
import base64
import codecs
import contextlib
import gzip
import threading
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any, TypeVar

import httpx
import pytest

from tests import parts
from tests.gateway import KEY, NOT_FOUND, QR, Running
from tests.gateway import Gateway as Answers
from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import plain
from wawp_exporter.gateways.bodies import PNG, image_in, reading_of
from wawp_exporter.gateways.gateway import Gateway, Reading
from wawp_exporter.gateways.kinds import make_gateway

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


def test_wawp_names_an_instance_with_trouble_as_it_did_before(running: Running) -> None:
    """Webhooks may use that name, so that the session is not absent."""
    running.gateway.sessions = {"inst1": W, "inst2": F}

    async def twice(gateway: Gateway) -> list[Reading]:
        unnamed = await gateway.sessions()
        running.gateway.broken = {"inst2": 500}
        await gateway.sessions()
        running.gateway.broken = {"inst1": 500}
        return [unnamed[0], (await gateway.sessions())[0]]

    running.gateway.broken = {"inst1": 500}
    first, later = asked(GatewayApi(kind="wawp", url=running.url, instances=["inst1", "inst2"]), twice)

    assert (first.names, first.unnamed, first.trouble) == (("inst1",), True, "it answered 500")
    assert (later.names, later.unnamed, later.trouble) == (("inst1", "wawp-inst1"), False, "it answered 500")


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_wawp_refuses_is_not_tried_for_each_instance(running: Running, status: int) -> None:
    """It is the key of all of them."""
    running.gateway.sessions = {"inst1": W, "inst2": W}
    running.gateway.broken = dict.fromkeys(running.gateway.sessions, status)

    with pytest.raises(GatewayError, match="refuses the key"):
        asked(
            GatewayApi(kind="wawp", url=running.url, instances=["inst1", "inst2"]), lambda gateway: gateway.sessions()
        )

    assert len(running.gateway.calls) == 1


# -- what goes wrong


def test_half_a_character_in_one_session_hides_no_other(running: Running) -> None:
    """A name that was cut within an emoji comes from JavaScript as an escape that is no Unicode."""
    named = b'{"name": "a", "status": "WORKING", "me": {"pushName": "Ana \\ud83d"}}'
    running.gateway.page = (
        200,
        b"[" + named + b', {"name": "b\\ud83d", "status": "FAILED"}, {"name": "c", "status": "FAILED"}]',
    )

    found = asked(GatewayApi(url=running.url), lambda gateway: gateway.sessions())

    assert [(each.names, each.status) for each in found] == [(("a",), W), (("c",), F)]


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


# -- answers that are compressed, of another charset, or of something else

LISTED = parts.encode([{"name": "söl", "status": W}])  # type: ignore[arg-type]  # any JSON


def gzipped(body: bytes) -> bytes:
    """Without the time of day: the tests of two processes must have the same names."""
    return gzip.compress(body, mtime=0)


BOMB = gzipped(b"[" + b" " * (65 << 20) + b"]")


def listing(body: bytes, status: int = 200, **headers: str) -> list[Reading]:
    """What is read of an answer to the list of sessions."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    with parts.serving(answering(write)) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        return asked(GatewayApi(url=url), lambda gateway: gateway.sessions())


def deflated(body: bytes) -> bytes:
    """What some servers call deflate."""
    raw = zlib.compressobj(wbits=-15)
    return raw.compress(body) + raw.flush()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (LISTED, {}),
        (gzipped(LISTED), {"Content_Encoding": "gzip"}),
        (gzipped(LISTED), {"content_encoding": "X-GZip"}),
        (gzipped(LISTED[:9]) + gzipped(LISTED[9:]), {"Content_Encoding": "gzip"}),
        (gzipped(LISTED) + b"\0" * 9, {"Content_Encoding": "gzip"}),
        (zlib.compress(LISTED), {"Content_Encoding": "deflate"}),
        (deflated(LISTED), {"Content_Encoding": "deflate"}),
        (gzipped(gzipped(LISTED)), {"Content_Encoding": "gzip, gzip"}),
        (zlib.compress(gzipped(LISTED)), {"Content_Encoding": "gzip,identity ,deflate"}),
        (LISTED, {"Content_Encoding": "identity"}),
        (codecs.BOM_UTF8 + LISTED, {}),
        (LISTED.decode().encode("utf-16"), {}),
        (LISTED.decode().encode("utf-16-le"), {"Content_Type": "application/json; charset=utf-16"}),
        (LISTED.decode().encode("utf-32"), {}),
        (LISTED.decode().encode("latin-1"), {"Content_Type": 'application/json; charset="ISO-8859-1"; x=y'}),
        (LISTED, {"Content_Type": "application/json; charset=punycode"}),
        (LISTED, {"Content_Type": "text/html"}),
    ],
    ids=map(str, count()),
)
def test_an_answer_is_read_whatever_lies_between(body: bytes, headers: dict[str, str]) -> None:
    """A proxy that compresses, once or twice; a BOM; another charset; a content type that is not true."""
    assert listing(body, **headers) == [Reading(("söl",), W)]


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (LISTED, {"Content_Encoding": "gzip"}, "not compressed as it says"),
        (LISTED, {"Content_Encoding": "deflate"}, "not compressed as it says"),
        (gzipped(LISTED), {}, "not JSON"),
        (gzipped(gzipped(LISTED)), {"Content_Encoding": "gzip"}, "not JSON"),
        (gzipped(LISTED)[:-9], {"Content_Encoding": "gzip"}, "ends too early"),
        (gzipped(LISTED)[:4], {"Content_Encoding": "gzip"}, "ends too early"),
        (zlib.compress(LISTED)[:-5], {"Content_Encoding": "deflate"}, "ends too early"),
        (LISTED, {"Content_Encoding": "br"}, "in a way that was not asked for"),
        (LISTED, {"Content_Encoding": "gzip, gzip, gzip, gzip"}, "too often"),
        (BOMB, {"Content_Encoding": "gzip"}, "is over 67108864 bytes"),
        (gzipped(BOMB), {"Content_Encoding": "gzip, gzip"}, "is over 67108864 bytes"),
        (gzipped(b"") * 100_000, {"Content_Encoding": "gzip"}, "not JSON"),
        (b"", {}, "not JSON"),
        (b"<html>502</html>", {"Content_Type": "text/html"}, "not JSON"),
        (b"\xff\xfe\xff", {}, "not JSON"),
        (b"[" * 200_000 + b"]" * 200_000, {}, "not JSON"),
        (b'{"message": "hello"}', {}, "not what was asked for"),
        (b"null", {}, "not what was asked for"),
    ],
    ids=map(str, count()),
)
def test_an_answer_that_cannot_be_read_is_a_gateway_error(body: bytes, headers: dict[str, str], said: str) -> None:
    """Whatever it is; the message says what is wrong and holds nothing of it."""
    with pytest.raises(GatewayError, match=said):
        listing(body, **headers)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    """What is over the limit is never made: 65 KB of gzip are 65 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(GatewayError, match="over 1000 bytes"):
            plain(BOMB, "gzip", 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def status_by(body: bytes, status: int, api: dict[str, Any]) -> str | None:
    """What is read of an answer about one session."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with parts.serving(answering(write)) as server:
        given = GatewayApi(url=f"http://127.0.0.1:{server.server_address[1]}", **api)
        return asked(given, lambda gateway: gateway.status("s"))


WAWP: dict[str, Any] = {"kind": "wawp", "instances": ["s"]}


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ({}, NOT_FOUND[1]),
        ({}, {"message": "We didn't find a session with name 's'.\nPlease start it first", "statusCode": 404}),
        (WAWP, {"code": "not_found"}),
        (WAWP, {"code": "instance_not_found", "message": "…"}),
    ],
)
def test_a_session_is_unknown_in_the_words_of_its_gateway(api: dict[str, Any], body: Any) -> None:
    """As a real WAHA says it, and as Wawp's documentation has it."""
    assert status_by(parts.encode(body), 404, api) is None


@pytest.mark.parametrize("api", [{}, WAWP])
@pytest.mark.parametrize(
    "body",
    [
        b"<html><head><title>404 Not Found</title></head><body><center>nginx</center></body></html>",
        b"404 page not found",
        b"",
        b"null",
        b"[]",
        b'{"error": "Not Found"}',
        b'{"detail": "Not Found"}',
        b'{"message": "no Route matched with those values"}',
        b'{"message": "Cannot GET /api/sessions/s", "error": "Not Found", "statusCode": 404}',
        b'{"code": "rest_no_route", "message": "No route was found", "data": {"status": 404}}',
        b'{"timestamp": "2026-11-26", "status": 404, "error": "Not Found", "path": "/"}',
        b'{"code": ["not_found"], "message": ["Session not found"], "statusCode": 404}',
    ],
)
def test_a_404_of_something_else_says_nothing_of_a_session(api: dict[str, Any], body: bytes) -> None:
    """A proxy, a wrong address, another service: an error, never a session that is gone."""
    with pytest.raises(GatewayError):
        status_by(body, 404, api)


def test_a_restart_is_one_only_if_the_api_says_so() -> None:
    """A page that a proxy puts in place of it, with 200, is none."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        body = b"<html>back soon</html>"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    handler: Any = answering(write)

    handler.do_POST = handler.do_GET
    with parts.serving(handler) as server, pytest.raises(GatewayError, match="not JSON"):
        asked(GatewayApi(url=f"http://127.0.0.1:{server.server_address[1]}"), lambda gateway: gateway.restart("s"))


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


@pytest.mark.parametrize("engine", [None, 1, [], ["GOWS"], {}, {"engine": ["GOWS"]}, "VENOM2"])
def test_an_odd_engine_is_none(engine: object) -> None:
    """The rest of the reading counts all the same."""
    assert reading_of({"name": "s", "status": W, "engine": engine}) == Reading(("s",), W)


def test_an_unusable_status_is_empty() -> None:
    """The session is there all the same."""
    assert reading_of({"name": "s", "status": None}) == Reading(("s",), "")


def test_the_gateway_of_these_tests_answers_as_the_captured_one() -> None:
    """Its shapes are those of a real WAHA."""
    listed = Answers(sessions={"default": W})._listed("default")

    assert set(listed) == {"name", "status", "config", "me", "presence", "timestamps"}
