"""Webhooks answered inside uvicorn's HTTP protocol: no task, no ASGI messages, half the time of a request.

A `Direct` stands where uvicorn keeps the request in progress, and has the attributes that uvicorn looks at there. A
request that is pipelined behind another takes the ordinary way instead.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wawp_exporter.access import Caller
from wawp_exporter.errors import LogUnavailable, Refusal, TooLarge, TooSlow
from wawp_exporter.fleet import IGNORED, Outcome
from wawp_exporter.ingest import unix_now
from wawp_exporter.webhook import (
    ACCEPTED,
    BODY_TIMEOUT_S,
    MAX_BODY_BYTES,
    TOO_LARGE,
    TOO_SLOW,
    Gate,
    Webhook,
    check_length,
)


class Unheard:
    """uvicorn wakes its request with an event; nobody sleeps here."""

    def set(self) -> None:
        """Wakes nobody."""


UNHEARD = Unheard()


def raw(start: dict[str, Any], body: dict[str, Any]) -> tuple[bytes, bytes]:
    """The two ASGI messages of an answer as bytes: the status line, and all that follows the common headers."""
    status = HTTPStatus(start["status"])
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in start["headers"])
    return line, headers + b"\r\n" + body["body"]


RAW = {outcome: raw(*messages) for outcome, messages in ACCEPTED.items()}


class Direct:
    """One webhook from its headers to its answer; in a batch it stands for itself, where others have a future."""

    __slots__ = ("body", "caller", "disconnected", "gate", "keep_alive", "message_event", "protocol", "query",
                 "received_at", "response_complete", "size", "started", "webhook")  # fmt: skip

    def __init__(self, protocol: "Protocol", webhook: Webhook, caller: Caller, query: bytes) -> None:
        self.protocol = protocol
        self.webhook = webhook
        self.caller = caller
        self.query = query
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = UNHEARD
        self.disconnected = False
        self.response_complete = False
        self.started = time.perf_counter()
        self.received_at = unix_now()
        self.body: list[bytes] = []
        self.size = 0
        self.gate: Gate | None = None

    def begin(self, path: str) -> None:
        """What the path and the headers decide."""
        try:
            self.gate = self.webhook.admit(path, "POST")
            check_length(self.caller.headers)
        except Refusal as refusal:
            self.refuse(refusal)

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        self.body.append(data)
        self.size += len(data)
        if self.size > MAX_BODY_BYTES:
            self.refuse(TooLarge(TOO_LARGE))

    def run(self) -> None:
        """The request is whole."""
        assert self.gate  # noqa: S101 - without one it was refused
        webhook = self.webhook
        try:
            event = webhook.read(self.gate, self.query, self.caller, b"".join(self.body), self.received_at)
            if event:
                webhook.ingest.enqueue(event, self)
                return
        except Refusal as refusal:
            self.refuse(refusal)
            return
        self.set_result(IGNORED)

    def done(self) -> bool:
        """Whether it was answered."""
        return self.response_complete

    def set_exception(self, error: LogUnavailable) -> None:
        """The log has refused the event."""
        self.refuse(error)

    def set_result(self, outcome: Outcome) -> None:
        """The event is durable: answers 200."""
        assert self.gate  # noqa: S101 - without one it was refused
        self.webhook.settle(self.gate, outcome, self.received_at, self.started)
        self.answer(*RAW[outcome])

    def refuse(self, refusal: Refusal) -> None:
        """Answers with an error."""
        start, body = self.webhook.refuse(self.gate, refusal, self.started)
        self.keep_alive &= (b"connection", b"close") not in start["headers"]
        self.answer(*raw(start, body))

    def answer(self, line: bytes, rest: bytes) -> None:
        """Writes the answer, unless nobody is there any more."""
        self.response_complete = True
        if self.disconnected:
            return
        self.protocol.reply(line, rest, self.keep_alive)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a fast way for webhooks, and a limit for requests that never become whole."""

    # When the request that is coming in began (loop time), and when the last webhook was answered; 0 when not.
    began = 0.0
    idle = 0.0
    # The headers of every answer as bytes, and uvicorn's list that they were made of: it makes another each second.
    common = b""
    common_of: list[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Starts the clock: a connection is made to send something."""
        super().connection_made(transport)
        self.began = self.loop.time()

    def on_message_begin(self) -> None:
        """Starts the clock for a later request. A scope is made for those that need one, not for webhooks."""
        self.url = b""
        self.headers = []
        self.began = self.began or self.loop.time()
        self.idle = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of them."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Takes a webhook the short way, if nothing is in progress before it."""
        path, _, query = self.url.partition(b"?")
        webhook = self.app.webhook_at(path)
        other = self.busy or self.parser.get_method() != b"POST"
        if webhook is None or other or b"expect" in (headers := dict(self.headers)):
            self._go_the_long_way()
            return
        peer = self.client[0] if self.client else ""
        caller = Caller(peer, self.parser.get_http_version(), tuple(self.headers), headers)
        self.cycle = direct = Direct(self, webhook, caller, query)  # type: ignore[assignment]  # it has what uvicorn looks at
        direct.begin(path.decode("latin-1"))

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""
        before: Any = self.cycle  # None before the first request, whatever its annotation says
        return before is not None and not before.response_complete

    def _go_the_long_way(self) -> None:
        """As uvicorn does it, from the beginning."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        super().on_url(url)
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        cycle: Any = self.cycle
        if not isinstance(cycle, Direct):
            super().on_body(body)
        elif not cycle.response_complete:
            cycle.feed(body)

    def on_message_complete(self) -> None:
        """Stops the clock."""
        self.began = 0.0
        cycle: Any = self.cycle
        if not isinstance(cycle, Direct):
            super().on_message_complete()
        elif not cycle.response_complete:
            cycle.run()

    def reply(self, line: bytes, rest: bytes, keep_alive: bool) -> None:
        """Writes an answer of the fast way and gets ready for the next request."""
        headers = self.server_state.default_headers
        if headers is not self.common_of:
            self.common = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
            self.common_of = headers
        self.transport.write(line + self.common + rest)
        if not keep_alive:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()
            return
        # What uvicorn does now, but for its timer: `expire` looks after idle connections.
        self.server_state.total_requests += 1
        if self.flow.read_paused:
            self.flow.resume_reading()
        self.idle = self.loop.time()

    def shutdown(self) -> None:
        """As uvicorn's, but an idle TLS client is not waited for to say goodbye."""
        if self.scheme == "https" and not self.busy:
            self.transport.abort()
        else:
            super().shutdown()

    def expire(self, now: float) -> None:
        """Ends a request that has been coming in for too long (a webhook is told why), and idle connections."""
        if self.idle and now - self.idle > self.timeout_keep_alive:
            self.transport.close()
        if not self.began or now - self.began < BODY_TIMEOUT_S:
            return
        self.began = 0.0
        cycle: Any = self.cycle
        if not self.busy:
            self.transport.close()
        elif isinstance(cycle, Direct):
            cycle.refuse(TooSlow(TOO_SLOW))
