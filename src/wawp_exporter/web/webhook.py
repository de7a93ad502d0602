"""`POST /webhook`: verifies, decodes and hands over one event. All rules are here, whichever way a request came.

A `Delivery` is one request: whoever carries it says what its head is and what came of its body, and writes the one
answer. The carriers are `connection`, and the ASGI application `Webhook`, for any other server.
"""

import asyncio
import codecs
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import (
    LogUnavailable,
    MethodNotAllowed,
    Refusal,
    TooLarge,
    TooSlow,
    UnknownSource,
    UnsupportedEncoding,
)
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import OtherEvent, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outcome import IGNORED, Outcome
from wawp_exporter.web.access import Access, Caller, Headers, caller_of
from wawp_exporter.web.gate import SUFFIX, Gate

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 256 * 1024
LONG_DIGITS = len(str(MAX_BODY_BYTES))
BODY_TIMEOUT_S = 10.0
DEFAULT_SOURCE = "default"
TOO_LARGE = f"the body is too long, expected at most {MAX_BODY_BYTES} bytes"
TOO_SLOW = f"the request did not arrive within {BODY_TIMEOUT_S:.0f} s"
# A body that is not read to its end is followed by no other request.
CLOSING = frozenset({408, 413, 415})


class Disconnected(Exception):
    """The sender went away before its body was whole; there is nobody to answer."""


class Answer(msgspec.Struct, frozen=True):
    """What is answered. `line` and `rest` are the same as bytes: between them stand the headers of every answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    close: bool
    line: bytes
    rest: bytes


def answer(status: int, content: Mapping[str, str], *more: tuple[bytes, bytes], close: bool = False) -> Answer:
    """An answer in JSON."""
    body = msgspec.json.encode(content)
    last = [(b"connection", b"close")] if close else []
    headers = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more, *last)
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    rest = b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body
    return Answer(status, headers, body, close, line, rest)


def refusal_answer(refusal: Refusal) -> Answer:
    """A refusal in the one shape of errors."""
    more = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    return answer(refusal.status, {"error": refusal.message}, *more, close=refusal.status in CLOSING)


ACCEPTED = {outcome: answer(200, {"outcome": outcome.value}) for outcome in Outcome}


class Webhook:
    """The intake of one listener; as an ASGI application it answers `/webhook` and `/webhook/{source}`."""

    def __init__(self, settings: Settings, access: Access, ingest: Ingest, fleet: Fleet, telemetry: Telemetry) -> None:
        self.access = access
        self.ingest = ingest
        self.fleet = fleet
        self.telemetry = telemetry
        self.gates = {
            name: Gate(name, source, settings.secrets, telemetry.source(name))
            for name, source in settings.config.sources.items()
        }
        self._at = {f"/webhook/{name}".encode(): gate for name, gate in self.gates.items()}
        if DEFAULT_SOURCE in self.gates:
            self._at[b"/webhook"] = self.gates[DEFAULT_SOURCE]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        caller = caller_of(scope)
        delivery = Delivery(self, scope["method"].encode(), path, scope["query_string"], caller, answered.set_result)
        delivery.begin()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await collect(receive, delivery)
        except TimeoutError:
            delivery.refuse(TooSlow(TOO_SLOW))
        except Disconnected:
            return
        given = await answered
        await send({"type": "http.response.start", "status": given.status, "headers": list(given.headers)})
        await send({"type": "http.response.body", "body": given.body})

    def admit(self, method: bytes, path: bytes) -> Gate:
        """The source, by the request line alone; raises UnknownSource, MethodNotAllowed."""
        gate = self._at.get(path) or self._find(path)
        if method != b"POST":
            raise MethodNotAllowed("webhooks are sent with POST", [("Allow", "POST")])
        return gate

    def _find(self, path: bytes) -> Gate:
        """The source of a path that ends with a slash, is percent-encoded, or says more than the name.

        What follows the name is an event's name or a session's, where the dialect has it so.
        """
        path = path.removesuffix(b"/")
        first, slash, rest = path.removeprefix(b"/webhook/").partition(b"/")
        if gate := self._at.get(path):
            return gate
        gate = self.gates.get(unquote_to_bytes(first).decode("utf-8", "replace"))
        if gate and (not slash or (rest and gate.takes(rest))):
            return gate
        default = self.gates.get(DEFAULT_SOURCE)
        if default and default.takes_suffix and SUFFIX.fullmatch(path.removeprefix(b"/webhook")):
            return default
        raise UnknownSource("no such source is configured")

    def read(self, gate: Gate, given: "Delivery", body: bytes) -> StatusEvent | None:
        """Verifies the bytes before anything looks into them; gives what is to be logged, if anything."""
        caller, received_at = given.caller, given.received_at
        caller.check_host()
        gate.check(given.query, caller, body, self.access)
        request_id = caller.headers.get(b"x-webhook-request-id")
        event = gate.parse(
            gate.name,
            body.removeprefix(codecs.BOM_UTF8),
            received_at,
            request_id.decode("latin-1") if request_id else None,
            gate.session(given.path, given.query) if gate.takes_session else "",
        )
        if not isinstance(event, OtherEvent):
            return event
        if event.session is not None:
            key = (gate.name, event.session)
            self.ingest.last_seen.touch(key, received_at)
            if event.messages:
                self.ingest.messages.hear(key, event.messages, received_at)
        return None

    def settle(self, gate: Gate, outcome: Outcome, received_at: int, started: float) -> None:
        """Counts what was accepted."""
        gate.telemetry.accept(outcome, received_at)
        self.telemetry.webhook_duration.observe(time.perf_counter() - started)

    def refuse(self, gate: Gate | None, refusal: Refusal, caller: Caller, received_at: int, started: float) -> None:
        """Counts a refusal; without a source under none."""
        if refusal.reason and gate:
            gate.refuse(refusal.reason, refusal, caller, received_at)
        elif refusal.reason:
            self.telemetry.strays.reject(refusal.reason)
        self.telemetry.webhook_duration.observe(time.perf_counter() - started)


class Delivery(msgspec.Struct, eq=False):
    """One webhook from its head to its answer, which `write` gets once. Implements the Waiter protocol.

    `path` and `query` are as they stand in the URL. `received_at` (Unix ms) is when the head had come.
    """

    webhook: Webhook
    method: bytes
    path: bytes
    query: bytes
    caller: Caller
    write: Callable[[Answer], None]
    received_at: int = msgspec.field(default_factory=unix_now)
    started: float = msgspec.field(default_factory=time.perf_counter)
    gate: Gate | None = None
    answered: bool = False
    pieces: list[bytes] = []  # of the body
    size: int = 0

    def begin(self) -> None:
        """The head is whole: refuses what it alone rules out."""
        try:
            self.gate = self.webhook.admit(self.method, self.path)
            check_length(self.caller.headers)
        except Refusal as refusal:
            self.refuse(refusal)

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        self.size += len(data)
        if self.answered:
            return
        if self.size > MAX_BODY_BYTES:
            self.refuse(TooLarge(TOO_LARGE))
        else:
            self.pieces.append(data)

    def finish(self) -> None:
        """The body is whole."""
        if self.answered or self.gate is None:
            return
        try:
            event = self.webhook.read(self.gate, self, b"".join(self.pieces))
            if event:
                self.webhook.ingest.enqueue(event, self)
            else:
                self.set_result(IGNORED)
        except Refusal as refusal:
            self.refuse(refusal)

    def done(self) -> bool:
        """Whether it was answered."""
        return self.answered

    def set_exception(self, error: LogUnavailable) -> None:
        """The log has refused the event."""
        self.refuse(error)

    def set_result(self, outcome: Outcome) -> None:
        """The event is durable: answers 200."""
        assert self.gate  # noqa: S101 - without one it was refused
        self.webhook.settle(self.gate, outcome, self.received_at, self.started)
        self._answer(ACCEPTED[outcome])

    def refuse(self, refusal: Refusal) -> None:
        """Answers with an error, unless it was answered."""
        if not self.answered:
            self.webhook.refuse(self.gate, refusal, self.caller, self.received_at, self.started)
            self._answer(refusal_answer(refusal))

    def _answer(self, given: Answer) -> None:
        self.answered = True
        self.pieces.clear()
        self.write(given)


def check_length(headers: Headers) -> None:
    """What the headers alone rule out; raises UnsupportedEncoding, TooLarge."""
    encoding = headers.get(b"content-encoding")
    if encoding and encoding.lower() != b"identity":
        raise UnsupportedEncoding("the body is compressed, expected it plain")
    length = headers.get(b"content-length", b"")
    if len(length) >= LONG_DIGITS and length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise TooLarge(TOO_LARGE)


async def collect(receive: Receive, delivery: Delivery) -> None:
    """The body, until it is whole or the answer is there. Raises Disconnected."""
    while not delivery.answered:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        delivery.feed(message.get("body", b""))
        if not message.get("more_body"):
            delivery.finish()
            return
