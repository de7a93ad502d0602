"""What the service does again and again goes on, whatever goes wrong with one of it; and what cannot go on is seen."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests import parts
from tests.served import eventually, run, served
from wawp_exporter.errors import LogError
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import place_of
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.service import upkeep
from wawp_exporter.service.upkeep import Job, Upkeep

FAILURES = "wawp_exporter_upkeep_failures_total"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of the upkeep is a hundredth of one."""
    monkeypatch.setattr(upkeep, "TICK_S", 0.01)


def counted(telemetry: Telemetry, job: str) -> float | None:
    """How often a job has failed."""
    return telemetry.registry.get_sample_value(FAILURES, {"job": job})


def keeping(jobs: Sequence[Job], test: Callable[[Upkeep, Telemetry], Awaitable[None]]) -> None:
    """Runs a test while jobs are being started."""

    async def body() -> None:
        telemetry = Telemetry()
        kept = Upkeep(jobs, telemetry)
        kept.start()
        try:
            await test(kept, telemetry)
        finally:
            await kept.close()

    run(body())


@pytest.mark.parametrize(
    "error", [LogError("full"), ValueError("a defect"), RecursionError(), MemoryError(), OSError()]
)
def test_a_job_that_fails_is_counted_and_started_again(error: Exception) -> None:
    """And the others go on: a defect in one of them must not end saving for ever."""
    runs: list[str] = []

    async def bad() -> None:
        runs.append("bad")
        raise error

    async def good() -> None:
        runs.append("good")

    async def test(kept: Upkeep, telemetry: Telemetry) -> None:
        await eventually(lambda: runs.count("bad") > 2 and runs.count("good") > 2)
        assert (counted(telemetry, "bad") or 0) > 1
        assert counted(telemetry, "good") == 0
        assert kept.alive

    keeping([Job("bad", 1, 1, bad), Job("good", 1, 1, good)], test)


def test_a_job_that_takes_longer_than_its_period_does_not_pile_up() -> None:
    """The log is slow: a hundred saves that wait for each other would make it slower."""
    begun, others, end = [0], [0], asyncio.Event()

    async def slow() -> None:
        begun[0] += 1
        await end.wait()

    async def other() -> None:
        others[0] += 1

    async def test(_kept: Upkeep, _telemetry: Telemetry) -> None:
        await eventually(lambda: others[0] > 10)
        assert begun == [1]
        end.set()
        await eventually(lambda: begun[0] > 2)

    keeping([Job("slow", 1, 1, slow), Job("other", 1, 1, other)], test)


def test_jobs_are_started_at_their_times() -> None:
    """First and period are seconds after the start."""

    async def nothing() -> None:
        pass

    jobs = [Job("a", 1, 1, nothing), Job("b", 5, 5, nothing), Job("c", 15, 1, nothing)]

    due = {job.name: [second for second in range(1, 32) if job.due(second)] for job in jobs}

    assert due == {"a": list(range(1, 32)), "b": [5, 10, 15, 20, 25, 30], "c": [1, 16, 31]}


def test_what_is_done_once_is_guarded_as_well() -> None:
    """A failure is counted under its name."""

    async def bad() -> None:
        raise ValueError

    async def test(kept: Upkeep, telemetry: Telemetry) -> None:
        kept.spawn("once", bad)
        await eventually(lambda: counted(telemetry, "once") == 1)

    keeping([], test)


@pytest.mark.parametrize("dead", ["upkeep", "gateway of default"])
def test_a_part_that_has_ended_makes_the_process_unhealthy(tmp_path: Path, dead: str) -> None:
    """It answers, and would do so for ever without it: its supervisor is to restart it."""
    config = {"sources": {"default": {"api": {"url": "http://127.0.0.1:9"}}}}

    async def test() -> None:
        async with served(tmp_path, config) as service:
            assert (await service.client.get("/-/healthy")).status_code == 200
            inside = service.service
            task = inside.upkeep._ticker if dead == "upkeep" else inside.watch._made["default"][1]._task
            assert task
            task.cancel()
            await eventually(task.done)

            answer = await service.client.get("/-/healthy")
            assert answer.status_code == 503
            assert answer.json()["error"].startswith(f"{dead}: has ended")

    run(test())


def test_a_write_that_does_not_end_makes_the_service_unready(tmp_path: Path) -> None:
    """The disk stands still: nothing is refused, and nothing is answered either, but for scrapes."""
    go = threading.Event()

    async def test() -> None:
        async with served(tmp_path) as service:
            assert (await service.client.get("/-/ready")).status_code == 200
            service.service.ingest.access.writer.submit(go.wait)
            try:
                await eventually(lambda: service.service.health.unready)
                answer = await service.client.get("/-/ready")
                assert (answer.status_code, "has not answered" in answer.text) == (503, True)
                assert (await service.client.get("/metrics")).status_code == 200
            finally:
                go.set()
            await eventually(lambda: not service.service.health.unready)

    run(test())


def test_a_log_that_is_not_followed_any_more_makes_the_process_unhealthy(
    tmp_path: Path, postgres: parts.Postgres
) -> None:
    """As above, for a log that replicas share."""
    url = postgres.create_database(f"unfollowed_{os.getpid()}")

    async def test() -> None:
        async with served(tmp_path, {"database": {"url": url}}) as service:
            follower = service.service.follower
            assert follower
            follower._task.cancel()
            await eventually(lambda: follower.ended)

            assert "following the log" in (await service.client.get("/-/healthy")).json()["error"]

    run(test())


def test_without_a_word_from_the_log_statuses_stay_unconfirmed(tmp_path: Path, postgres: parts.Postgres) -> None:
    """Whether another replica asks the gateway is not known while the log does not answer."""
    name = f"unconfirmed_{os.getpid()}"
    url = postgres.create_database(name)
    log = Log(place_of(url))
    log.runs.beat(1)  # an outage, up to now
    log.close()
    api = {"url": "http://127.0.0.1:9", "poll_interval": "10ms"}

    async def test() -> None:
        async with served(tmp_path, {"database": {"url": url}, "sources": {"default": {"api": api}}}) as service:
            access, asked = service.service.ingest.access, list[bool | None]()
            lease = access.lease

            async def noted(lease_name: str, seconds: float) -> bool | None:
                held = await lease(lease_name, seconds)
                if lease_name.startswith("gateway"):
                    asked.append(held)
                return held

            access.lease = noted  # type: ignore[method-assign]  # as it is, and counted
            postgres.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            await eventually(lambda: asked.count(None) > 1)

            assert not service.service.watch.confirmed("default")
            postgres.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    run(test())
