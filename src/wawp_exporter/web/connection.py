"""One connection of a listener: reads its requests one after another, and writes their answers.

A webhook is answered in here, without a task or ASGI messages, which halves its cost; anything else is an ASGI request.
One request is in progress at a time; what a peer sends meanwhile stays in the socket, but for one piece.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol, cast
from urllib.parse import unquote_to_bytes

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from wawp_exporter.errors import Refusal, TooSlow
from wawp_exporter.web.access import Caller
from wawp_exporter.web.crowd import Crowd
from wawp_exporter.web.webhook import (
    BODY_TIMEOUT_S,
    TOO_SLOW,
    Answer,
    Delivery,
    Receive,
    Scope,
    Send,
    Webhook,
    refusal_answer,
)
from wawp_exporter.web.wire import Head, Reader

KEEP_ALIVE_S = 75.0
WRITE_TIMEOUT_S = 10.0  # without the peer taking a single byte
LINGER_S = 5.0  # after an answer, for what is still being sent: to close at once would destroy the answer
LINGER_BYTES = 8 * 1024 * 1024
TURN_S = 0.02  # for others, while a body of very many small chunks is read
MAX_UNWRITTEN_BYTES = 64 * 1024  # and what one write adds to them
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LOGGER = logging.getLogger("uvicorn.error")


class App(Protocol):
    """What a listener serves."""

    def webhook_at(self, path: bytes) -> Webhook | None:
        """The intake, if it answers at this path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Anything else, as ASGI."""


class Exchange(RequestResponseCycle):
    """An ASGI request, as uvicorn runs it."""

    @property
    def answered(self) -> bool:
        """Whether the answer is complete."""
        return self.response_complete

    def feed(self, data: bytes) -> None:
        """A part of the body; of more than the application takes nothing is read."""
        if self.response_complete:
            return
        self.body += data
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.message_event.set()

    def finish(self) -> None:
        """The body is whole."""
        self.more_body = False
        self.message_event.set()

    def give_up(self) -> None:
        """Nobody hears the answer: the application sees that its caller went away."""
        self.disconnected = True
        self.message_event.set()


class Connection(asyncio.Protocol):
    """The protocol of one connection; for an ASGI request it is the transport and the flow control as well."""

    transport: asyncio.Transport

    def __init__(self, app: App, state: ServerState, crowd: Crowd) -> None:
        self.app = app
        self.state = state
        self.crowd = crowd
        self.loop = asyncio.get_running_loop()
        self.reader = Reader()
        self.request: Delivery | Exchange | None = None
        self.method = b""
        self.keep_alive = True
        # When the request that is coming in began, when the last was answered, when the end began (loop time); 0: not.
        self.began = self.idle = self.closing = 0.0
        self.last = False  # no request after this one
        self.lost = False
        self.garbled = False
        self.reading = True
        self.discarded = 0
        self.write_paused = False
        self.writable: asyncio.Event | None = None
        self.written = 0
        self.taken, self.taken_at = -1, 0.0  # bytes of `written` that the peer took, and when it last took some
        # The headers of every answer as bytes, and uvicorn's list that they were made of: it makes another each second.
        self.common = b""
        self.common_of: list[tuple[bytes, bytes]] | None = None

    # -- from the transport ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock: a connection is made to send something."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(MAX_UNWRITTEN_BYTES)
        self.tls = transport.get_extra_info("sslcontext") is not None
        self.client = address(transport.get_extra_info("peername"))
        self.server = address(transport.get_extra_info("sockname"))
        self.began = self.loop.time()
        self.state.connections.add(self)  # type: ignore[arg-type]  # it has the `shutdown` that uvicorn calls
        self.crowd.enter(self)

    def data_received(self, data: bytes) -> None:
        """Takes what came; while a request is in progress, or answers are not taken, no more is read."""
        if self.closing:
            self._discard(len(data))
            return
        self.reader.feed(data)
        if self.blocked:
            self.pause_reading()
        else:
            self._read()

    def eof_received(self) -> bool:
        """The peer sends no more; a webhook that is whole is answered first."""
        self.last = True
        return isinstance(self.request, Delivery) and self.reader.complete and not self.tls and not self.closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        del exc
        self.lost = True
        self.state.connections.discard(self)
        self.crowd.leave(self)
        if isinstance(self.request, Exchange) and not self.request.answered:
            self.request.give_up()
        self.request = None
        self.resume_writing()

    def pause_writing(self) -> None:
        """The peer does not take its answers."""
        self.write_paused = True
        self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        if self.writable:
            self.writable.set()
        if not self.lost and self.request is None and self.reader.waiting:
            self.loop.call_soon(self._advance)

    # -- requests -------------------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether the next request has to wait."""
        return self.write_paused or (self.request is not None and self.reader.whole)

    def _advance(self) -> None:
        """Reads on, if there is anybody to read for."""
        if not (self.closing or self.lost or self.blocked):
            self._read()

    def _read(self) -> None:
        """Reads to the end of one request at most."""
        try:
            if self.request is None:
                head = self.reader.head()
                if head is None:
                    self._wait()
                    return
                self._begin(head)
            if self.request is not None and not self.closing:
                self._take_body(self.request)
        except Refusal as refusal:
            self.garbled = True
            self._refuse(refusal)

    def _wait(self) -> None:
        """More has to come of a request that has begun."""
        if not self.began:
            self.began, self.idle = self.loop.time(), 0.0
            self.crowd.coming(self)
        self.resume_reading()

    def _begin(self, head: Head) -> None:
        """A head is complete: its request is in progress, unless the head alone decides its answer."""
        self.method = head.method
        self.keep_alive = head.keep_alive and not self.last
        webhook = self.app.webhook_at(head.path)
        if webhook is None:
            self._exchange(head)
        else:
            caller = Caller(self.client[0], head.version, head.lines, head.headers)
            self.request = delivery = Delivery(webhook, head.method, head.path, head.query, caller, self.reply)
            delivery.begin()
            if b"expect" in head.headers and not (delivery.answered or self.reader.whole or self.reader.waiting):
                self._ask_for_body(head)

    def _ask_for_body(self, head: Head) -> None:
        if asks_first(head):
            self.write(CONTINUE)

    def _exchange(self, head: Head) -> None:
        """Starts the ASGI application."""
        self.request = exchange = Exchange(
            scope=self._scope(head),  # type: ignore[arg-type]  # a dict, as ASGI has it
            transport=cast("asyncio.Transport", self),
            flow=cast("FlowControl", self),
            logger=LOGGER,
            access_logger=LOGGER,
            access_log=False,
            default_headers=self.state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=asks_first(head),
            keep_alive=self.keep_alive,
            on_response=self._answered,
        )
        task = self.loop.create_task(exchange.run_asgi(self.app))  # type: ignore[arg-type]  # uvicorn's types are narrower
        task.add_done_callback(self.state.tasks.discard)
        self.state.tasks.add(task)

    def _scope(self, head: Head) -> Mapping[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method.decode(),
            "scheme": "https" if self.tls else "http",
            "path": unquote_to_bytes(head.path).decode("utf-8", "replace"),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.lines,
            "client": self.client,
            "server": self.server,
            "state": {},
            "abort": self.transport.abort,  # for an answer without an end whose reader is stuck
        }

    def _take_body(self, request: Delivery | Exchange) -> None:
        piece = self.reader.body()
        if self.reader.unread:
            self.pause_reading()
            self.loop.call_later(TURN_S, self._advance)
        elif not self.reader.whole:
            self._wait()
        if piece:
            request.feed(piece)
        if self.closing:
            return
        if request.answered:
            self._discard(len(piece))
        if self.reader.whole:
            self._whole(request)

    def _whole(self, request: Delivery | Exchange) -> None:
        """The request is whole: it is answered now, if it was not before."""
        self.began = self.idle = 0.0
        self.crowd.busy(self)
        if request.answered:
            self._next()
        else:
            request.finish()

    def _discard(self, size: int) -> None:
        """Counts bytes that come after the answer; a peer that sends too many of them is cut off."""
        self.discarded += size
        if self.discarded > LINGER_BYTES:
            self.transport.abort()

    # -- answers --------------------------------------------------------------------------------------------------

    def reply(self, given: Answer) -> None:
        """Writes the answer of a webhook."""
        if self.lost:
            return
        headers = self.state.default_headers
        if headers is not self.common_of:
            self.common = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
            self.common_of = headers
        rest = given.rest if self.method != b"HEAD" else given.rest.removesuffix(given.body)
        if given.close:
            self.keep_alive = False
        elif not self.keep_alive:
            rest = b"connection: close\r\n" + rest
        self.write(given.line + self.common + rest)
        self._answered()

    def _answered(self) -> None:
        """The whole answer is written; the request's own body may still be coming."""
        if self.closing or self.lost:
            return
        if self.last or not self.keep_alive:
            self.close()
        elif self.reader.whole:
            self._next()
        else:
            self.resume_reading()

    def _next(self) -> None:
        """Gets ready for the next request. One that is here already waits until others have had their turn."""
        self.request = None
        self.began = 0.0
        self.discarded = 0
        if self.reader.waiting:
            self.pause_reading()
            self.loop.call_soon(self._advance)
        else:
            self.idle = self.loop.time()
            self.crowd.idle(self)
            self.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answers what cannot be read, or came too slowly, and ends the connection."""
        self.keep_alive = False
        request = self.request
        if isinstance(request, Delivery) and not request.answered:
            request.refuse(refusal)
        elif request is None or (isinstance(request, Exchange) and not request.response_started):
            if request:
                request.give_up()
            self.reply(refusal_answer(refusal))
        else:
            self.close()

    # -- as a transport and its flow control ----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends bytes, as long as anybody is there."""
        if not self.lost and not self.transport.is_closing():
            self.written += len(data)
            self.transport.write(data)

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self.closing > 0 or self.lost

    def close(self) -> None:
        """Ends the connection once the answer is out.

        What the peer is still sending is read for a while: else the system would reset the connection, and with it an
        answer that is on its way would be lost.
        """
        if self.closing or self.lost:
            return
        self.closing = self.loop.time()
        self.began = self.idle = 0.0
        self.crowd.busy(self)
        if self.reader.whole and not self.reader.waiting and not self.garbled:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._resume()

    async def drain(self) -> None:
        """Returns when the peer takes its answers again."""
        if self.writable:
            await self.writable.wait()

    def pause_reading(self) -> None:
        """Reads no more."""
        if self.reading and not self.lost:
            self.reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, unless what is here already has to be looked at first."""
        if not self.reader.unread and not (self.reader.whole and self.reader.waiting and self.request is not None):
            self._resume()

    def _resume(self) -> None:
        if not self.reading and not self.lost:
            self.reading = True
            self.transport.resume_reading()

    # -- time, and too many of us ---------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Once a second: ends what takes too long."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting or self.taken != self.written - waiting:
            self.taken, self.taken_at = self.written - waiting, now
        if now - self.taken_at >= WRITE_TIMEOUT_S or (self.closing and not waiting and now - self.closing >= LINGER_S):
            self.transport.abort()
        elif self.idle and now - self.idle >= KEEP_ALIVE_S:
            self.close()
        elif self.began and now - self.began >= BODY_TIMEOUT_S:
            self._end_slow()

    def _end_slow(self) -> None:
        """A request that does not become whole; nobody waits for an answer to one without a head."""
        if self.request is None:
            self.close()
        else:
            self._refuse(TooSlow(TOO_SLOW))

    def evict(self) -> None:
        """Another connection needs the place."""
        self.closing = self.loop.time()
        if self.began or self.tls:
            self.transport.abort()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The service stops: a request in progress is answered. An idle TLS client is not waited for to say goodbye."""
        self.last = True
        self.keep_alive = False
        if isinstance(self.request, Exchange):
            self.request.keep_alive = False
        if self.closing or self.request is None:
            (self.transport.abort if self.tls or self.closing else self.transport.close)()


def asks_first(head: Head) -> bool:
    """Whether the sender waits to be asked for the body."""
    return head.headers.get(b"expect", b"").lower() == b"100-continue" and head.version == "1.1"


def address(given: Any) -> tuple[str, int]:
    """Host and port of a socket's end."""
    return (str(given[0]), int(given[1])) if isinstance(given, tuple) else ("", 0)
