"""The socket under a connection: flow control both ways, what takes too long, and an end that loses no answer."""

import asyncio
from typing import Any, cast

from uvicorn.server import ServerState

from wawp_exporter.web.crowd import Crowd
from wawp_exporter.web.exchange import Address, Exchange
from wawp_exporter.web.webhook import BODY_TIMEOUT_S, Delivery
from wawp_exporter.web.wire import Reader

KEEP_ALIVE_S = 75.0
WRITE_TIMEOUT_S = 10.0  # without the peer taking a single byte
HALF_CLOSED_S = 2.0  # for an answer other than a webhook's, when the peer sends no more: it may have gone altogether
LINGER_S = 5.0  # after an answer, for what is still being sent: to close at once would destroy the answer
LINGER_BYTES = 8 * 1024 * 1024
MAX_UNWRITTEN_BYTES = 64 * 1024  # and what one write adds to them


class Channel(asyncio.Protocol):
    """Knows when bytes may be read and written, not what they mean. For an ASGI request it is the transport as well."""

    transport: asyncio.Transport

    def __init__(self, state: ServerState, crowd: Crowd) -> None:
        self.state = state
        self.crowd = crowd
        self.loop = asyncio.get_running_loop()
        self.reader = Reader()
        self.request: Delivery | Exchange | None = None
        # When the request that is coming in began, when the last was answered, when the end began (loop time); 0: not.
        self.began = self.idle = self.closing = 0.0
        self.lost = False
        self.ended = 0.0  # since when the peer sends no more
        self.garbled = False  # what came cannot be read, so that nobody knows where it ends
        self.reading = True
        self.discarded = 0
        self.write_paused = False
        self.writable: asyncio.Event | None = None
        self.written = 0
        self.taken, self.taken_at = -1, 0.0  # bytes of `written` that the peer took, and when it last took some

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

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whichever side."""
        del exc
        self.lost = True
        self.state.connections.discard(self)
        self.crowd.leave(self)
        if isinstance(self.request, Exchange) and not self.request.answered:
            self.request.give_up()
        self.request = None
        self.resume_writing()

    def advance(self) -> None:
        """Reads the next request, unless the connection ends or has to wait."""
        raise NotImplementedError

    def end_slow(self) -> None:
        """Ends a request that does not become whole in time."""
        raise NotImplementedError

    # -- writing --------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The peer does not take its answers."""
        self.write_paused = True
        self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        """The peer takes its answers again."""
        self.write_paused = False
        if self.writable:
            self.writable.set()
        if not self.lost and self.request is None and self.reader.waiting:
            self.loop.call_soon(self.advance)

    def write(self, data: bytes) -> None:
        """Sends bytes, unless the connection is closed."""
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

    # -- reading --------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Stops reading from the socket."""
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

    def eof_received(self) -> bool:
        """The peer sends no more; what it has sent whole is answered first. Whoever leaves a stream has gone."""
        self.ended = self.loop.time()
        if isinstance(self.request, Exchange) and self.request.response_started:
            return False
        if self.request is None and self.reader.waiting:
            self.loop.call_soon(self.advance)  # the connection ends there if the next request is not whole
        waits = self.reader.complete if self.request else self.reader.waiting
        return waits and not self.tls and not self.closing

    def discard(self, size: int) -> None:
        """Counts bytes that come after the answer; a peer that sends too many of them is cut off."""
        self.discarded += size
        if self.discarded > LINGER_BYTES:
            self.transport.abort()

    # -- time, and too many connections ---------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Once a second: ends what takes too long."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting or self.taken != self.written - waiting:
            self.taken, self.taken_at = self.written - waiting, now
        if now - self.taken_at >= WRITE_TIMEOUT_S or (self.closing and not waiting and now - self.closing >= LINGER_S):
            self.transport.abort()
        elif self.ended and now - self.ended >= HALF_CLOSED_S and isinstance(self.request, Exchange):
            self.transport.close()
        elif self.idle and now - self.idle >= KEEP_ALIVE_S:
            self.close()
        elif self.began and now - self.began >= BODY_TIMEOUT_S:
            self.end_slow()

    def evict(self) -> None:
        """Closes the connection, because another one needs its place."""
        self.closing = self.loop.time()
        if self.began or self.tls:
            self.transport.abort()
        else:
            self.transport.close()


def address(given: Any) -> Address:
    """Host and port of a socket's end."""
    return (str(given[0]), int(given[1])) if isinstance(given, tuple) else ("", 0)
