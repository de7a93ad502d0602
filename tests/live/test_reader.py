"""Reads of the log beside the event loop: how many run and wait, what becomes of those that nobody waits for."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.reads import fail, hold, process_id
from tests.served import Served, eventually, run, served
from wawp_exporter.errors import LogError, TooBusy
from wawp_exporter.live import reader as reading
from wawp_exporter.live.reader import MAX_READS, MAX_REPORTS, THREADS, Reader
from wawp_exporter.service import upkeep

Test = Callable[[Reader], Awaitable[None]]


@pytest.fixture(autouse=True)
def without_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own reports would come between those of a test."""
    monkeypatch.setattr(upkeep, "TICK_S", 3600)


def with_reader(test: Test) -> None:
    """Runs a test with a reader of its own."""

    async def body() -> None:
        reader = Reader()
        try:
            await test(reader)
        finally:
            reader.close()

    run(body())


async def running(path: Path) -> None:
    """Returns when a read has begun."""
    await eventually(path.exists)


def test_so_many_reports_wait_and_the_next_is_refused(tmp_path: Path) -> None:
    """A page that is reloaded in impatience must not make a queue of an hour."""

    async def test(reader: Reader) -> None:
        first = asyncio.create_task(reader.heavy(hold, tmp_path, "first"))
        others = [asyncio.create_task(reader.heavy(process_id)) for _ in range(MAX_REPORTS - 1)]
        await running(tmp_path / "first")

        with pytest.raises(TooBusy, match="which is the limit") as refusal:
            await reader.heavy(process_id)
        assert dict(refusal.value.headers)["Retry-After"]

        (tmp_path / "go").touch()
        assert await first == "first"
        assert len(set(await asyncio.gather(*others))) == 1
        assert await reader.heavy(process_id)

    with_reader(test)


def test_the_services_own_reads_wait_however_many_others_do(tmp_path: Path) -> None:
    """What recurs weekly is looked for once an hour: it must not be refused because somebody is impatient."""

    async def test(reader: Reader) -> None:
        waiting = [asyncio.create_task(reader.heavy(hold, tmp_path, str(n))) for n in range(MAX_REPORTS)]
        await running(tmp_path / "0")
        own = asyncio.create_task(reader.background(process_id))
        (tmp_path / "go").touch()

        assert await own
        await asyncio.gather(*waiting)

    with_reader(test)


def test_a_report_that_nobody_waits_for_is_ended_and_the_next_has_a_new_process(tmp_path: Path) -> None:
    """Its caller has left: the one process that makes reports is free for others."""

    async def test(reader: Reader) -> None:
        before = await reader.heavy(process_id)
        left = asyncio.create_task(reader.heavy(hold, tmp_path, "left"))
        await running(tmp_path / "left")
        unbegun = asyncio.create_task(reader.heavy(hold, tmp_path, "unbegun"))
        await asyncio.sleep(0)
        left.cancel()
        unbegun.cancel()
        await asyncio.gather(left, unbegun, return_exceptions=True)

        assert await reader.heavy(process_id) != before
        assert not (tmp_path / "unbegun").exists()
        assert reader.reports == 0

    with_reader(test)


def test_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """By the system when memory is short, while it reads or while it waits for work."""

    async def test(reader: Reader) -> None:
        first = await reader.heavy(process_id)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: reader._worker is None or reader._worker.broken)
        second = await reader.heavy(process_id)
        assert second != first

        reads = asyncio.create_task(reader.heavy(hold, tmp_path, "reads"))
        await running(tmp_path / "reads")
        os.kill(second, signal.SIGKILL)
        with pytest.raises(LogError, match="has ended"):
            await reads
        assert await reader.heavy(process_id) not in {first, second}

    with_reader(test)


def test_a_report_that_the_log_refuses_leaves_its_process(tmp_path: Path) -> None:
    """The next one need not wait for another."""

    async def test(reader: Reader) -> None:
        before = await reader.heavy(process_id)
        with pytest.raises(LogError, match="cannot read"):
            await reader.heavy(fail)
        assert await reader.heavy(process_id) == before

    with_reader(test)


def test_a_report_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log that is too large the others must not wait for ever."""
    monkeypatch.setattr(reading, "REPORT_LIMIT_S", 0.001)

    async def test(reader: Reader) -> None:
        with pytest.raises(TooBusy, match="expected a shorter time"):
            await reader.heavy(hold, tmp_path, "long")
        assert reader.reports == 0

    with_reader(test)


def test_so_many_small_reads_wait_and_the_next_is_refused(tmp_path: Path) -> None:
    """Pages and transitions; one whose caller has left is not begun."""

    async def test(reader: Reader) -> None:
        reads = [asyncio.create_task(reader.light(hold, tmp_path, str(n))) for n in range(MAX_READS)]
        await running(tmp_path / "0")
        with pytest.raises(TooBusy, match="which is the limit"):
            await reader.light(process_id)
        reads[-1].cancel()
        await asyncio.gather(reads.pop(), return_exceptions=True)
        (tmp_path / "go").touch()

        await asyncio.gather(*reads)
        assert not (tmp_path / str(MAX_READS - 1)).exists()
        assert await reader.light(process_id) == os.getpid()

    with_reader(test)


def test_reads_end_with_the_reader(tmp_path: Path) -> None:
    """Those that run and those that wait are answered, not left."""

    async def test(reader: Reader) -> None:
        reads = [asyncio.create_task(reader.heavy(hold, tmp_path, str(n))) for n in range(3)]
        await running(tmp_path / "0")
        reader.close()

        ended = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(each) for each in ended] == [LogError, TooBusy, TooBusy]

    with_reader(test)


def test_small_reads_that_wait_end_with_the_reader(tmp_path: Path) -> None:
    """They are refused: a cancelled one would be an error with a traceback in the request that waits for it."""

    async def test(reader: Reader) -> None:
        begun = [asyncio.create_task(reader.light(hold, tmp_path, str(n))) for n in range(THREADS)]
        await running(tmp_path / str(THREADS - 1))
        waiting, left = [asyncio.create_task(reader.light(process_id)) for _ in range(2)]
        await asyncio.sleep(0)
        left.cancel()
        reader.close()
        (tmp_path / "go").touch()

        ended = await asyncio.gather(waiting, left, *begun, return_exceptions=True)
        assert [type(each) for each in ended] == [TooBusy, asyncio.CancelledError] + THREADS * [str]

    with_reader(test)


# -- over HTTP


async def leave(service: Served, path: str, begun: Path) -> None:
    """Asks, and closes the connection when the answer is being made."""
    asked = asyncio.create_task(service.client.get(path))
    await running(begun)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


@pytest.mark.parametrize("path", ["/api/v1/audit", "/audit"])
def test_an_audit_whose_caller_has_left_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """As `test_a_report_that_nobody_waits_for_is_ended`, from the closed connection on."""

    async def test() -> None:
        async with served(tmp_path) as service:
            reader = service.service.reader
            first = await reader.heavy(process_id)
            heavy = reader.heavy
            monkeypatch.setattr(reader, "heavy", lambda *_: heavy(hold, tmp_path, "audit"))
            await leave(service, path, tmp_path / "audit")

            await eventually(lambda: reader.reports == 0)
            assert await heavy(process_id) != first

    run(test())


@pytest.mark.parametrize("path", ["/api/v1/audit", "/audit", "/"])
def test_an_audit_too_many_is_told_to_wait(tmp_path: Path, path: str) -> None:
    """503 and when to ask again; the fleet page is answered without its heatmap."""

    async def test() -> None:
        async with served(tmp_path) as service:
            reader = service.service.reader
            reads = [asyncio.create_task(reader.heavy(hold, tmp_path, str(n))) for n in range(MAX_REPORTS)]
            await running(tmp_path / "0")
            answer: httpx.Response = await service.client.get(path)
            (tmp_path / "go").touch()
            await asyncio.gather(*reads)

            assert answer.status_code == (200 if path == "/" else 503)
            assert path == "/" or "which is the limit" in answer.text

    run(test())


def test_a_stop_does_not_wait_for_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller is told to try again, and the service saves what it knows."""

    async def test() -> None:
        async with served(tmp_path) as service:
            heavy = service.service.reader.heavy
            monkeypatch.setattr(service.service.reader, "heavy", lambda *_: heavy(hold, tmp_path, "audit"))
            asked = asyncio.create_task(service.client.get("/api/v1/audit"))
            await running(tmp_path / "audit")
            service.until.set()

            assert (await asked).status_code == 503

    run(test())


def test_a_read_fails_by_name_while_no_process_can_be_started() -> None:
    """Out of file descriptors, that is; it is tried again next time."""

    async def play() -> None:
        reader = Reader()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            with pytest.raises(LogError, match="no process can be started"):
                await reader.heavy(os.getpid)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert await reader.heavy(os.getpid) != os.getpid()
        reader.close()

    asyncio.run(play())
