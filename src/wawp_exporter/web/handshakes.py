"""TLS connections from the moment they are made: until their handshake is done they count as well, and can be closed.

The event loop's own server tells of a connection only after its handshake: strangers who never begin one could use up
all file descriptors.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from wawp_exporter.web.crowd import Crowd

HANDSHAKE_S = 10.0
GOODBYE_S = 5.0  # for the other side to agree that a TLS connection ends
AT_ONCE = 100  # connections taken before others get their turn
PAUSE_S = 0.5  # while there are no file descriptors left


class Handshake:
    """A connection that is no `Connection` yet."""

    def __init__(self, made: socket.socket) -> None:
        self.made = made

    def evict(self) -> None:
        """Another connection needs the place: the handshake fails at once."""
        with contextlib.suppress(OSError):
            self.made.shutdown(socket.SHUT_RDWR)


class TlsServer:
    """Takes the connections of a bound socket; it has what uvicorn asks of an asyncio.Server."""

    def __init__(
        self,
        bound: socket.socket,
        certificate: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        crowd: Crowd,
    ) -> None:
        self.sockets = (bound,)
        self._certificate = certificate
        self._make = make
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._running: dict[asyncio.Task[None], Handshake] = {}
        self._paused: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Takes no more connections, and ends the handshakes under way."""
        if self._paused:
            self._paused.cancel()
        self._loop.remove_reader(self.sockets[0])
        for handshake in self._running.values():
            handshake.evict()

    async def wait_closed(self) -> None:
        """Returns when no handshake is under way."""
        while self._running:
            await asyncio.wait(list(self._running))

    def _listen(self) -> None:
        self._paused = None
        self._loop.add_reader(self.sockets[0], self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                made, _ = self.sockets[0].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No file descriptors: the connection waits in the queue of the system.
                self._loop.remove_reader(self.sockets[0])
                self._paused = self._loop.call_later(PAUSE_S, self._listen)
                return
            made.setblocking(False)
            handshake = Handshake(made)
            task = self._loop.create_task(self._shake(handshake))
            self._running[task] = handshake
            task.add_done_callback(lambda done: self._running.pop(done, None))

    async def _shake(self, handshake: Handshake) -> None:
        """Until the connection stands, or its handshake has failed."""
        self._crowd.enter(handshake)
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                handshake.made,
                ssl=self._certificate,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except OSError:
            handshake.made.close()
        finally:
            self._crowd.leave(handshake)
