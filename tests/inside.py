"""A service in this process, on real sockets: for tests that look at what it keeps in memory, or move its clock."""

import asyncio
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop
import yaml

from wawp_exporter.config.load import load
from wawp_exporter.service.service import Service
from wawp_exporter.web.connection import Connection
from wawp_exporter.web.face import Face
from wawp_exporter.web.front import Front, serve

T = TypeVar("T")


class Inside:
    """`serve` in a thread with a loop of its own; a context manager."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = {"database": {"url": f"sqlite:///{folder}/wawp.db"}, **config}
        self.config["web"] = {"listen": "127.0.0.1:0", **config.get("web", {})}
        self.ready: Future[tuple[Front, list[str]]] = Future()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)

    async def _serve(self) -> None:
        path = self.folder / "wawp.yml"
        path.write_text(yaml.safe_dump(self.config))
        self.loop, self.until = asyncio.get_running_loop(), asyncio.Event()
        await serve(load(path), path, lambda *started: self.ready.set_result(started), self.until)

    def __enter__(self) -> Self:
        self.thread.start()
        self.front, addresses = self.ready.result(30)
        self.port = int(addresses[0].rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.until.set)
        self.thread.join(30)
        assert not self.thread.is_alive()

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Calls something in the service's own thread."""

        async def run() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    @property
    def service(self) -> Service:
        """What runs."""
        return self.front.service

    @property
    def face(self) -> Face:
        """The listener."""
        return self.front.faces[0]

    @property
    def server(self) -> Any:
        """What listens."""
        return self.front.servers[0]

    @property
    def connections(self) -> list[Connection]:
        """Those that are open."""
        return self.call(lambda: list(self.server.server_state.connections))

    def connect(self) -> socket.socket:
        """A connection that the service knows of."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        own = made.getsockname()[:2]
        soon(lambda: any(each.client == own for each in self.connections))
        return made

    def expire(self, after: float) -> None:
        """As if it had been quiet for so many seconds, and then it looks at all connections."""
        now = self.loop.time()
        for connection in self.connections:
            self.call(connection.expire, now)
            self.call(connection.expire, now + after)

    def ask(self, data: bytes) -> bytes:
        """All that is answered to some bytes, after which the sender says that it sends no more."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as connection:
            connection.sendall(data)
            return rest(connection)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


def soon(predicate: Callable[[], object]) -> None:
    """As `wait_until`, for what takes a millisecond."""
    deadline = time.monotonic() + 30
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def rest(connection: socket.socket) -> bytes:
    """What comes until the other side closes, a reset included."""
    received = b""
    try:
        while piece := connection.recv(1 << 20):
            received += piece
    except ConnectionResetError:
        received += b"<reset>"
    return received


def statuses(answers: bytes) -> list[int]:
    """The status of each answer in a row of them."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
