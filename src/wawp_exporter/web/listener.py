"""A bound address and the uvicorn server behind it, without uvicorn's own signals, logs and trust in proxies."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from wawp_exporter.config.values import split_listen
from wawp_exporter.errors import ListenError
from wawp_exporter.web.connection import Connection
from wawp_exporter.web.crowd import MAX_CONNECTIONS, Crowd
from wawp_exporter.web.exchange import App
from wawp_exporter.web.handshakes import TlsServer

GRACE_S = 8  # less than the ten seconds after which containers are killed
BACKLOG = 2048


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them, and whose connections are `Connection`s."""

    def __init__(self, config: uvicorn.Config, app: App, crowd: Crowd) -> None:
        super().__init__(config)
        self.app = app
        self.crowd = crowd

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens on bound sockets."""
        self.servers = [await self._listen(each) for each in sockets or ()]  # type: ignore[misc]  # what uvicorn asks of one
        self.started = True

    async def _listen(self, bound: socket.socket) -> asyncio.Server | TlsServer:
        certificate = self.config.ssl
        if certificate:
            return TlsServer(bound, certificate, self._make, self.crowd)
        return await asyncio.get_running_loop().create_server(self._make, sock=bound, backlog=BACKLOG)

    def _make(self) -> Connection:
        return Connection(self.app, self.server_state, self.crowd)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second, requests that never become whole are ended."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.expire(now)
        return await super().on_tick(counter)


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


def make_server(app: App, certificate: ssl.SSLContext | None, limit: int = MAX_CONNECTIONS) -> Server:
    """A server for one listener of at most `limit` connections; it speaks TLS if there is a certificate."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=(lambda _config, _default: certificate) if certificate else None,
    )
    config.load()
    return Server(config, app, Crowd(limit))
