"""A bound address and the uvicorn server behind it, without uvicorn's own signals, logs and trust in proxies."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from wawp_exporter.direct import Protocol
from wawp_exporter.errors import ListenError
from wawp_exporter.values import split_listen

KEEP_ALIVE_S = 75
GRACE_S = 8  # less than the ten seconds after which containers are killed
BACKLOG = 2048


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second, requests that never become whole are ended."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
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


def make_server(app: Callable[..., Any], certificate: ssl.SSLContext | None) -> Server:
    """A server for one listener; it speaks TLS if there is a certificate."""
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
        ssl_context_factory=(lambda _config, _default: certificate) if certificate else None,
    )
    config.load()
    return Server(config)
