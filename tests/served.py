"""The whole service inside the test's own process, on a real socket: for what a process of its own would hide."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop
import yaml

from tests import parts
from wawp_exporter.config.load import load
from wawp_exporter.service.service import Service
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
        timeout=20,
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
    async with asyncio.timeout(30):
        while not (value := predicate()):  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)
        return value


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a test on the event loop that the service has in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
