"""A bound address and the uvicorn server behind it, without uvicorn's own signals, logs and trust in proxies."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wawp_exporter.config import Tls, split_listen
from wawp_exporter.errors import ListenError

HEADERS_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75
GRACE_S = 20
BACKLOG = 2048


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit for senders that open a connection and never finish their headers."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Starts the clock."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_TIMEOUT_S, transport.close)

    def on_message_begin(self) -> None:
        """Starts the clock anew for a later request on the same connection."""
        super().on_message_begin()
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_TIMEOUT_S, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stops it."""
        self._stop_clock()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def bind(listen: str) -> socket.socket:
    """Binds `host:port`; raises ListenError, which says why not."""
    host, port = split_listen(listen)
    try:
        info = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = info[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {listen}: {error.strerror}") from None
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> str:
    """`host:port` as it was bound, the port known even where 0 was asked for."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def make_server(app: Callable[..., Any], tls: Tls) -> Server:
    """A server for one listener."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=tls.cert_file,
        ssl_keyfile=tls.key_file,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise ListenError(f"cannot use web.tls: {error}") from None
    return Server(config)


def reload_tls(server: Server, tls: Tls) -> None:
    """Reads certificate and key again, for connections to come; raises ListenError."""
    if server.config.ssl is None or tls.cert_file is None:
        return
    try:
        server.config.ssl.load_cert_chain(tls.cert_file, tls.key_file)
    except (ssl.SSLError, OSError) as error:
        raise ListenError(f"cannot use web.tls: {error}") from None
