"""What the service does again and again: a table of jobs with their periods, and the ticker that starts them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from wawp_exporter.errors import describe
from wawp_exporter.metrics.telemetry import Telemetry

TICK_S = 1.0
SLOW_S = 300  # a job that runs for longer is logged, once

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done every `every` seconds, for the first time `first` seconds after the start."""

    name: str
    every: int
    first: int
    run: Callable[[], Awaitable[None]]

    def due(self, second: int) -> bool:
        """Whether it is to be started in this second after the start."""
        return second >= self.first and (second - self.first) % self.every == 0


class Upkeep:
    """Starts each job when it is due, unless its last run has not ended yet: a slow one does not pile up.

    Whatever a job raises is logged by its type and counted, and the job is started again when it is due.
    """

    def __init__(self, jobs: Sequence[Job], telemetry: Telemetry) -> None:
        self.jobs = jobs
        self._failures = telemetry.upkeep_failures
        for job in jobs:
            self._failures.labels(job.name)
        self._second = 0
        self._ticker: asyncio.Task[None] | None = None
        self._running: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self._others: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether jobs are being started; False before `start` and after `close` too."""
        return self._ticker is not None and not self._ticker.done()

    def running_for(self, name: str) -> int:
        """For how many seconds a job has been running; 0 while it does not."""
        began, task = self._running.get(name, (0, None))
        return self._second - began if task and not task.done() else 0

    def start(self) -> None:
        """Begins to start jobs."""
        self._ticker = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Starts no more jobs, and ends those that run."""
        tasks = [task for _, task in self._running.values()] + list(self._others)
        if self._ticker:
            tasks.append(self._ticker)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Does something once, under the same rules."""
        task = asyncio.create_task(self._guarded(name, run))
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._second += 1
            for job in self.jobs:
                if job.due(self._second):
                    self._begin(job)

    def _begin(self, job: Job) -> None:
        began, last = self._running.get(job.name, (0, None))
        if last is None or last.done():
            self._running[job.name] = (self._second, asyncio.create_task(self._guarded(job.name, job.run)))
        elif SLOW_S <= self._second - began < SLOW_S + job.every:
            logger.warning("upkeep delayed", job=job.name, seconds=self._second - began)

    async def _guarded(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - a defect of one job must end neither the others nor its next run
            self._failures.labels(name).inc()
            logger.error("upkeep failed", job=name, error=describe(error))
