"""A stop while restarts are asked for, and what an earlier end has left: every action has a result in the end."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests import parts
from tests.served import Served, eventually, run, served
from wawp_exporter.errors import LogUnavailable, TooBusy
from wawp_exporter.gateways import restarts
from wawp_exporter.gateways.notification import Alert, Notification
from wawp_exporter.log.log import Log
from wawp_exporter.model import fleet
from wawp_exporter.model.event import Status
from wawp_exporter.model.limits import CONSTANTS

NAMES = [f"s{number}" for number in range(8)]
ALERT = "WawpSessionFailed"
GOOD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that failed is a problem after a tenth of a second, not after ten."""
    monkeypatch.setattr(fleet, "CONSTANTS", CONSTANTS.scaled(0.01))


@dataclass
class SlowGateway:
    """A WAHA whose restarts end when `go` is set; `asked` are those that it was asked for."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        name = path.removeprefix("/api/sessions/").partition("/")[0]
        body: object = {"name": name, "status": "FAILED"}
        if path.endswith("/restart"):
            self.asked.append(name)
            await self.go.wait()
        elif path.startswith("/api/sessions?"):
            body = [{"name": each, "status": "FAILED"} for each in NAMES]
        elif path.endswith("/qr?format=image"):
            await self.go.wait()
        content = msgspec.json.encode(body)
        writer.write(GOOD % len(content) + content)
        writer.close()


@asynccontextmanager
async def gateway() -> AsyncIterator[SlowGateway]:
    """A gateway that runs."""
    slow = SlowGateway()
    server = await asyncio.start_server(slow.answer, "127.0.0.1", 0)
    slow.port = server.sockets[0].getsockname()[1]
    async with server:
        yield slow
        slow.go.set()


def config(slow: SlowGateway, **more: object) -> dict[str, object]:
    """Two restarts at once."""
    api = {"url": f"http://127.0.0.1:{slow.port}", "poll_interval": "1h"}
    return {"sources": {"default": {"api": api}}, "remedy": {"alerts": [ALERT], "max_concurrent": 2, **more}}


async def notify(service: Served, names: Sequence[str] = NAMES) -> None:
    """Asks for restarts of sessions that have failed."""
    for name in names:
        await service.post("FAILED", name, at=parts.now_ms() - 60_000)
    judge = service.service.fleet.judge
    await eventually(lambda: all(judge.problems(("default", name)) for name in names))
    labels = [{"alertname": ALERT, "source": "default", "session": name} for name in names]
    await service.service.remedies.take(Notification([Alert("firing", each) for each in labels]))


def results(folder: Path) -> dict[str, int]:
    """How many actions of the log have which result."""
    with closing(sqlite3.connect(folder / "wawp.db")) as connection:
        return dict(connection.execute("SELECT result, count(*) FROM action GROUP BY 1"))


def test_a_stop_begins_no_restart_and_lets_those_end_that_were_asked_for(tmp_path: Path) -> None:
    """Their gateway can still be asked; the others are noted as not begun."""

    async def test() -> None:
        async with gateway() as slow:
            async with served(tmp_path, config(slow)) as service:
                await notify(service)
                await eventually(lambda: len(slow.asked) == 2)
                service.until.set()
                await eventually(lambda: results(tmp_path).get("not_started"))
                slow.go.set()
            assert len(slow.asked) == 2

    run(test())
    assert results(tmp_path) == {"restarted": 2, "not_started": 6}


def test_a_restart_that_takes_longer_than_a_stop_may_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may have done it: it counts as an attempt."""
    monkeypatch.setattr(restarts, "CLOSE_S", 0.01)

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            await notify(service)
            await eventually(lambda: len(slow.asked) == 2)

    run(test())
    assert results(tmp_path) == {"interrupted": 2, "not_started": 6}
    assert "interrupted" in restarts.TRIED
    assert "not_started" not in restarts.TRIED


def test_while_it_stops_alertmanager_is_told_to_try_again(tmp_path: Path) -> None:
    """Another replica, or the next process, takes the notification."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            await service.service.remedies.close()
            with pytest.raises(LogUnavailable, match="stopping"):
                await notify(service)

    run(test())


def test_what_a_killed_process_left_running_is_interrupted_at_the_next_start(tmp_path: Path) -> None:
    """Nothing is 'running' for ever, in the log and on the session's page."""
    left = Log(tmp_path / "wawp.db")
    left.actions.claim(("default", "s0"), "restart", "A", parts.now_ms() - 1000, lambda _: "")
    left.close()
    assert results(tmp_path) == {"running": 1}

    async def test() -> None:
        async with served(tmp_path):
            assert results(tmp_path) == {"interrupted": 1}

    run(test())


def test_of_a_shared_log_only_what_is_old_is_taken_as_cut_off(place: Path | str) -> None:
    """With PostgreSQL another replica may be at work on it."""
    log, now = Log(place), parts.now_ms()
    for name, ago in (("old", 3_600_001), ("young", 60_000)):
        log.actions.claim(("default", name), "restart", "A", now - ago, lambda _: "")

    assert log.actions.conclude_cut_off(now - 3_600_000) == 1
    assert log.actions.conclude_cut_off(now) == 1
    assert log.actions.conclude_cut_off(now) == 0
    log.close()


def test_more_restarts_at_once_are_allowed_by_a_reload(tmp_path: Path) -> None:
    """And fewer: those that are under way are not cut off."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            await notify(service, NAMES[:5])
            await eventually(lambda: len(slow.asked) == 2)
            service.write(config(slow, max_concurrent=4))
            await service.service.reload()
            await eventually(lambda: len(slow.asked) == 4)
            service.write(config(slow, max_concurrent=1))
            await service.service.reload()
            assert len(slow.asked) == 4
            slow.go.set()
            await eventually(lambda: results(tmp_path) == {"restarted": 5})

    run(test())


def test_a_restart_that_fails_in_an_unforeseen_way_is_counted_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not die unheard and stay 'running'."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            used = service.service.watch.gateways["default"]
            monkeypatch.setattr(used, "restart", None)
            await notify(service, NAMES[:1])
            await eventually(lambda: results(tmp_path) == {"failed": 1})
            counted = 'wawp_exporter_restarts_total{result="failed",source="default"} 1.0'
            assert counted in await service.text()

    run(test())


def test_a_result_that_the_log_could_not_take_is_noted_later(tmp_path: Path) -> None:
    """The log was full for a moment."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            await notify(service, NAMES[:1])
            await eventually(lambda: slow.asked)
            with closing(sqlite3.connect(tmp_path / "wawp.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                slow.go.set()
                await eventually(lambda: service.service.remedies._results)
                other.execute("ROLLBACK")
            await service.service.remedies.settle()
            assert results(tmp_path) == {"restarted": 1}

    run(test())


def test_a_reload_during_a_stop_is_refused(tmp_path: Path) -> None:
    """It would begin to ask gateways that nobody ends any more; one that has begun is waited for."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            inside, settings = service.service, service.service.settings
            service.write({"sources": {"default": {}, "other": config(slow)["sources"]["default"]}})  # type: ignore[index]
            begun = asyncio.create_task(inside.reload())
            await asyncio.sleep(0)
            stopping = asyncio.create_task(inside.wind_down())
            late = asyncio.create_task(inside.reload())
            await asyncio.gather(begun, stopping)
            with pytest.raises(TooBusy, match="stopping"):
                await late

            assert inside.settings is not settings
            assert inside.watch.ended == ["other"]

    run(test())


def test_a_stop_does_not_wait_for_whoever_waits_for_a_qr_code(tmp_path: Path) -> None:
    """Its gateway is not asked any more, and the caller is told so."""

    async def test() -> None:
        async with gateway() as slow, served(tmp_path, config(slow)) as service:
            await service.post(Status.SCAN_QR_CODE, "s0")
            asked = asyncio.create_task(service.client.get("/api/v1/sessions/default/s0/qr"))
            await eventually(lambda: service.service.watch.gateways["default"]._client)
            await asyncio.sleep(0.05)
            service.until.set()

            assert (await asked).status_code == 503

    run(test())
