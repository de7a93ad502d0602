"""Follows a log that replicas share: folds what any of them has appended, in the log's order, each row once.

A notification says that there is something; a look every POLL_S finds what was not announced.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from wawp_exporter.errors import describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.log.log import Restored

T = TypeVar("T")

POLL_S = 0.5
LIMIT = 500  # rows folded before webhooks get their turn
HEAR_S = 5.0
OVERLAP_MS = 10_000  # signs of life whose transaction was slow are read twice rather than never
BACKOFF_S = (0.1, 5.0)
READY_S = 10.0  # a replica that is further behind answers for a fleet of the past

logger = structlog.get_logger()


class Follower:
    """Belongs to the event loop; the log is read by a thread of its own."""

    def __init__(self, ingest: Ingest, restored: Restored) -> None:
        self.ingest = ingest
        self._log = ingest.log
        self._end = restored.mark
        self._heard = 0
        self._heard_at = 0.0
        self._caught_up = time.monotonic()
        self.folding = asyncio.Lock()  # whoever holds it, for a moment nothing is folded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-follower")
        self._task = asyncio.create_task(self._run())

    @property
    def lag(self) -> float:
        """For how many seconds the fold has not been known to hold all of the log."""
        return time.monotonic() - self._caught_up

    @property
    def ready(self) -> bool:
        """Whether what is told here is true enough."""
        return self.lag < READY_S

    @property
    def ended(self) -> bool:
        """Whether the log is not followed any more."""
        return self._task.done()

    async def close(self) -> None:
        """Ends the following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # The thread may still wait for a notification, no longer than POLL_S.
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        pause, deaf = BACKOFF_S[0], False
        while True:
            try:
                await self._catch_up()
                if not deaf:
                    await self._read(self._log.listen, POLL_S)
                pause, deaf = BACKOFF_S[0], False
            except Exception as error:  # noqa: BLE001 - whatever it is, what is told here must not stand still for ever
                logger.error("log not followed", error=describe(error), lag=round(self.lag, 1))
                # Looks on, even where nothing can be listened to.
                deaf = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S[1])

    async def _catch_up(self) -> None:
        """Folds all there is."""
        done = False
        while not done:
            asked = time.monotonic()
            async with self.folding:
                rows, self._end, done = await self._read(self._log.follow, self._end, LIMIT)
                self.ingest.folding.follow(rows, self._end)
            await asyncio.sleep(0)
        self._caught_up = asked
        if time.monotonic() - self._heard_at > HEAR_S:
            await self._hear()

    async def _hear(self) -> None:
        """Learns of the signs of life that other replicas were given."""
        self._heard_at = time.monotonic()
        heard, newest = await self._read(self._log.heard, max(0, self._heard - OVERLAP_MS))
        for number, (key, at) in enumerate(heard):
            self.ingest.fleet.touch(key, min(at, unix_now()), time.monotonic())
            if number % LIMIT == LIMIT - 1:
                await asyncio.sleep(0)
        self._heard = newest

    async def _read(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
