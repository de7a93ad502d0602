"""One connection of a listener: reads its requests one after another, and writes their answers.

A webhook is answered in here, without a task or ASGI messages, which halves its cost; anything else is an ASGI request.
One request is in progress at a time; what a peer sends meanwhile stays in the socket, but for one piece.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from wawp_exporter.errors import Refusal, TooSlow
from wawp_exporter.web.access import Caller
from wawp_exporter.web.channel import Channel
from wawp_exporter.web.crowd import Crowd
from wawp_exporter.web.exchange import LOGGER, App, Exchange, asks_first, scope_of
from wawp_exporter.web.heads import Head
from wawp_exporter.web.webhook import TOO_SLOW, Answer, Delivery, refusal_answer

TURN_S = 0.02  # for others, while a body of very many small chunks is read
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Channel):
    """The protocol of one connection."""

    def __init__(self, app: App, state: ServerState, crowd: Crowd) -> None:
        super().__init__(state, crowd)
        self.app = app
        self.method = b""
        self.keep_alive = True
        self.last = False  # no request after this one
        # The headers of every answer as bytes, and uvicorn's list that they were made of: it makes another each second.
        self.common = b""
        self.common_of: list[tuple[bytes, bytes]] | None = None

    def data_received(self, data: bytes) -> None:
        """Takes what came; while a request is in progress, or answers are not taken, no more is read."""
        if self.closing:
            self.discard(len(data))
            return
        self.reader.feed(data)
        if self.blocked:
            self.pause_reading()
        else:
            self._read()

    # -- requests -------------------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether the next request has to wait."""
        return self.write_paused or (self.request is not None and self.reader.whole)

    def advance(self) -> None:
        """Reads the next request, unless the connection ends or has to wait."""
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
        if self.ended:
            self.transport.close()
            return
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
            waits = b"expect" in head.headers and not (delivery.answered or self.reader.whole or self.reader.waiting)
            if waits and asks_first(head):
                self.write(CONTINUE)

    def _exchange(self, head: Head) -> None:
        """Starts the ASGI application."""
        self.request = exchange = Exchange(
            scope=scope_of(head, self.client, self.server, self.transport, self.tls),  # type: ignore[arg-type]  # a dict, as ASGI has it
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

    def _take_body(self, request: Delivery | Exchange) -> None:
        piece = self.reader.body()
        if self.reader.unread:
            self.pause_reading()
            self.loop.call_later(TURN_S, self.advance)
        elif not self.reader.whole:
            self._wait()
        if piece:
            request.feed(piece)
        if self.closing:
            return
        if request.answered:
            self.discard(len(piece))
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
            self.loop.call_soon(self.advance)
        elif self.ended:
            self.transport.close()
        else:
            self.idle = self.loop.time()
            self.crowd.idle(self)
            if not self.reading:
                self._resume()

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

    # -- the end --------------------------------------------------------------------------------------------------

    def end_slow(self) -> None:
        """A request that does not become whole; nobody waits for an answer to one without a head."""
        if self.request is None:
            self.close()
        else:
            self._refuse(TooSlow(TOO_SLOW))

    def shutdown(self) -> None:
        """The service stops: a request in progress is answered. An idle TLS client is not waited for to say goodbye."""
        self.last = True
        self.keep_alive = False
        if isinstance(self.request, Exchange):
            self.request.keep_alive = False
        if self.closing or self.request is None:
            (self.transport.abort if self.tls or self.closing else self.transport.close)()
