"""The judge of a running service: its deadlines, a stop and a start, and what a replica that is not synced says."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests import parts
from tests.metrics.test_exposition import samples, scrape
from wawp_exporter.config.load import check
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.service.service import Service

W, D, Q = "WORKING", "DISCONNECTED", "SCAN_QR_CODE"


def of(service: Service, name: str) -> set[str]:
    """The sessions (or the sources) of the samples of one metric."""
    found = [sample for sample in samples(scrape(service.exposition, 0)) if sample.name == name]
    return {sample.labels.get("session", sample.labels["source"]) for sample in found}


def problems(service: Service) -> set[str]:
    """The sessions whose problems are exported."""
    return of(service, "wawp_session_problem_since_timestamp_seconds")


def synced(service: Service) -> set[str]:
    """The sources that are."""
    return of(service, "wawp_source_synced")


def run(folder: Path, story: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
    """A service from its start to its stop, on the log of that folder."""

    async def whole() -> None:
        service = Service(check({"database": {"url": f"sqlite:///{folder}/wawp.db"}}))
        await service.start()
        try:
            await service.jobs.awaken()
            await story(service)
        finally:
            await service.stop()

    asyncio.run(whole())


async def send(service: Service, status: str, name: str, ago: int = 0) -> None:
    """An event of now, or of so many seconds ago, that was received then."""
    at = unix_now() - ago * 1000
    await service.ingest.submit(StatusEvent("default", name, (Point(status, at, 0, at),), at, engine="GOWS"))


async def until(condition: Callable[[], bool]) -> None:
    """Returns when it holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for is what a scrape says
        await asyncio.sleep(0.02)


def test_a_deadline_wakes_the_service(tmp_path: Path) -> None:
    """Nobody scrapes, nothing comes: 5 s after DISCONNECTED it is a problem."""

    async def story(service: Service) -> None:
        await send(service, W, "a", 100)
        await send(service, D, "a", 4)
        await until(lambda: bool(service.fleet.judge.problems(("default", "a"))))

    run(tmp_path, story)


def test_a_start_goes_on_with_what_was_said(tmp_path: Path) -> None:
    """Problems are there with the first scrape, and losses are not counted again."""

    async def before(service: Service) -> None:
        for name in "abcd":
            await send(service, W, name, 1000)
        for name in "abc":
            await send(service, D, name, 100)
        await send(service, Q, "d", 50)
        await until(lambda: problems(service) == {"d"} and bool(service.fleet.judge.exported()))
        (outage,) = service.fleet.judge.exported()
        assert outage.size == 3

    async def after(service: Service) -> None:
        # What was due meanwhile has happened with the first scrape: a source that is synced resolves what is not there.
        assert service.exposition.judged.wake == service.ingest.folding.alarm.look
        assert problems(service) == {"d"}
        (outage,) = service.fleet.judge.exported()
        assert (outage.size, outage.largest) == (3, 3)
        assert not any(service.exposition.judged.losses.values())

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_replica_that_is_not_synced_says_nothing(tmp_path: Path) -> None:
    """While sessions are dormant, or an event has waited for 10 s to be stored."""

    async def story(service: Service) -> None:
        await send(service, Q, "a", 50)
        assert (problems(service), synced(service)) == ({"a"}, {"default"})
        service.fleet.dormant["default", "b"] = ""
        assert (problems(service), synced(service)) == (set(), set())
        service.fleet.dormant.clear()
        service.ingest.folding.horizon = lambda: unix_now() - 11_000
        assert (problems(service), synced(service)) == (set(), set())
        service.ingest.folding.horizon = unix_now
        assert (problems(service), synced(service)) == ({"a"}, {"default"})

    run(tmp_path, story)


def test_a_deadline_waits_for_an_older_event(tmp_path: Path) -> None:
    """An event that was received before the deadline and is stored after it must find it still to come."""

    async def story(service: Service) -> None:
        await send(service, W, "a", 100)
        await send(service, D, "a", 6)
        before = unix_now()
        waiting = asyncio.create_task(send(service, W, "b", 5))
        await asyncio.sleep(0)
        assert service.ingest.folding.judged_to <= unix_now() - 5000
        await waiting
        assert service.ingest.horizon() >= before

    run(tmp_path, story)


OUTAGE, SYNCED = 'wawp_outage_sessions{source="default",engine="GOWS",kind="disconnect"} 4\n', "wawp_source_synced{"


def test_a_killed_service_says_the_same_with_its_first_synced_scrape() -> None:
    """Nothing was saved yet. A source that is synced and has no outage would resolve its alert, and page again."""
    with parts.Exporter(pace=0.05) as exporter:
        for status in (W, D):
            for name in "abcd":
                body = parts.envelope(session=name, status=status, timestamp=parts.now_ms(), engine="GOWS")
                assert exporter.post(body).status_code == 200
        parts.wait_until(lambda: OUTAGE in exporter.metrics())

        exporter.kill()
        exporter.start()
        text = parts.wait_until(lambda: text if SYNCED in (text := exporter.metrics()) else "")

        assert OUTAGE in text
