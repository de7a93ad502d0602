"""The whole service inside the test's own process, on a real socket: for what a process of its own would hide.

`served` runs it on the test's own event loop; `Inside` does so in a thread, for tests that block, as on a plain socket.
"""

import asyncio
import http.client
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import uvloop
import yaml

from tests import parts
from wawp_exporter.config.load import load
from wawp_exporter.service.service import Service
from wawp_exporter.web.connection import Connection
from wawp_exporter.web.face import Face
from wawp_exporter.web.front import Front, serve

T = TypeVar("T")


@dataclass
class Served:
    """A service that answers; `until` stops it."""

    front: Front
    address: str
    file: Path
    until: asyncio.Event
    client: httpx.AsyncClient

    @property
    def service(self) -> Service:
        """What runs."""
        return self.front.service

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def write(self, config: Mapping[str, Any]) -> None:
        """Writes another configuration, for a reload to read."""
        self.file.write_text(yaml.safe_dump(completed(self.file.parent, config), allow_unicode=True))

    async def post(self, status: str = "WORKING", session: str = "s", source: str = "default", **more: Any) -> str:
        """Sends a webhook of now; the outcome, or the status of a refusal."""
        body = parts.envelope(session=session, status=status, timestamp=more.pop("at", parts.now_ms()), **more)
        answer = await self.client.post(f"/webhook/{source}", json=body)
        return str(answer.json().get("outcome", answer.status_code))

    async def text(self, path: str = "/metrics") -> str:
        """The body of a GET."""
        return (await self.client.get(path)).text


def completed(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the defaults of tests: any free port, and a log in the folder."""
    web = {"listen": "127.0.0.1:0", **config.get("web", {})}
    database = {"url": f"sqlite:///{folder}/wawp.db", **config.get("database", {})}
    return {**config, "web": web, "database": database}


@asynccontextmanager
async def served(folder: Path, config: Mapping[str, Any] | None = None) -> AsyncIterator[Served]:
    """Runs the service while inside; what it ends with is raised."""
    file, until = folder / "wawp.yml", asyncio.Event()
    file.write_text(yaml.safe_dump(completed(folder, config or {}), allow_unicode=True))
    begun: asyncio.Future[tuple[Front, list[str]]] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(load(file), file, lambda *told: begun.set_result(told), until))
    await asyncio.wait([running, begun], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    front, addresses = begun.result()
    scheme = "https" if front.service.settings.config.web.tls.cert_file else "http"
    async with httpx.AsyncClient(
        base_url=f"{scheme}://{addresses[0]}",
        timeout=None,
        trust_env=False,
        verify=False,
        headers={"Accept-Encoding": "identity"},
    ) as client:
        try:
            yield Served(front, addresses[0], file, until, client)
        finally:
            until.set()
            await running


async def eventually(predicate: Callable[[], T]) -> T:
    """The first true value of `predicate`, as `parts.wait_until`, while the event loop goes on."""
    async with asyncio.timeout(parts.PATIENCE_S):
        while not (value := predicate()):  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)
        return value


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a test on the event loop that the service has in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


class Inside:
    """`served` in a thread with a loop of its own; a context manager."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.ready: Future[Served] = Future()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run(self._serve())
        except BaseException as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with served(self.folder, self.config) as service:
            self.ready.set_result(service)
            await service.until.wait()

    def __enter__(self) -> Self:
        self.thread.start()
        self.served = self.ready.result()
        self.port = self.served.port
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.served.until.set)
        self.thread.join()

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Calls something in the service's own thread."""

        async def run() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()

    @property
    def face(self) -> Face:
        """The listener."""
        return self.served.front.faces[0]

    @property
    def server(self) -> Any:
        """What listens."""
        return self.served.front.servers[0]

    @property
    def connections(self) -> list[Connection]:
        """Those that are open."""
        return self.call(lambda: list(self.server.server_state.connections))

    def connect(self) -> socket.socket:
        """A connection that the service knows of."""
        made = socket.create_connection(("127.0.0.1", self.port))
        own = made.getsockname()[:2]
        soon(lambda: any(each.client == own for each in self.connections))
        return made

    def expire(self, after: float) -> None:
        """As if it had been quiet for so many seconds, and then it looks at all connections."""

        def look() -> None:
            now = self.loop.time()
            for connection in list(self.server.server_state.connections):
                connection.expire(now)
                connection.expire(now + after)

        self.call(look)

    def ask(self, data: bytes) -> bytes:
        """All that is answered to some bytes, after which the sender says that it sends no more."""
        with closing(socket.create_connection(("127.0.0.1", self.port))) as connection:
            connection.sendall(data)
            return rest(connection)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


def soon(predicate: Callable[[], object]) -> None:
    """As `wait_until`, for what takes a millisecond."""
    while not predicate():
        time.sleep(0.001)


def answer(connection: socket.socket) -> bytes:
    """One answer, head and body, however many pieces it comes in."""
    with connection.makefile("rb", buffering=0) as stream:  # unbuffered: what comes after it is left alone
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := stream.read(1)):
            head += byte
        body = b""
        length = re.search(rb"content-length: (\d+)", head.lower())
        while length and len(body) < int(length[1]) and (piece := stream.read(int(length[1]) - len(body))):
            body += piece
    return head + body


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
