"""Follows a log that replicas share: folds what any of them has appended, in the log's order, each row once.

The database notifies of new rows; a look every POLL_S finds those whose notification got lost.
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
from wawp_exporter.log.states import Restored
from wawp_exporter.model.sessions import take_probe

T = TypeVar("T")

POLL_S = 0.5
LIMIT = 500  # rows folded in one go; then webhooks get their turn
HEAR_S = 5.0
OVERLAP_MS = 10_000  # read twice, so that a last-seen time whose transaction was slow is not missed
BACKOFF_S = (0.1, 5.0)
COMMIT_MS = 1000  # from the receipt of an event until all replicas can read it, as a rule
READY_S = 10.0  # a replica that is further behind is not ready: its statuses are too old

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
        self._complete = 0
        ingest.folding.horizon = self.horizon
        self.folding = asyncio.Lock()  # while somebody holds it nothing is folded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-follower")
        self._task = asyncio.create_task(self._run())

    @property
    def lag(self) -> float:
        """Seconds since the fold was last known to hold all of the log."""
        return time.monotonic() - self._caught_up

    def horizon(self) -> int:
        """When the oldest event was received that this replica may still have to fold (Unix ms); 0: not known yet.

        Another replica may need a moment from the receipt of an event to its commit.
        """
        return min(self._complete - COMMIT_MS, self.ingest.horizon()) if self._complete else 0

    @property
    def ready(self) -> bool:
        """Whether it is no more than READY_S behind the log."""
        return self.lag < READY_S

    @property
    def ended(self) -> bool:
        """Whether the log is not followed any more."""
        return self._task.done()

    async def close(self) -> None:
        """Ends the following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # The thread may still wait for a notification, but no longer than POLL_S.
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        pause, deaf = BACKOFF_S[0], False
        while True:
            try:
                await self._catch_up()
                if not deaf:
                    await self._read(self._log.feed.listen, POLL_S)
                pause, deaf = BACKOFF_S[0], False
            except Exception as error:  # noqa: BLE001 - whatever it is, the log must be followed again
                logger.error("cannot follow the log, trying again", error=describe(error), lag=round(self.lag, 1))
                # Goes on reading, even if notifications do not work.
                deaf = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S[1])

    async def _catch_up(self) -> None:
        """Folds all rows that are there."""
        done = False
        while not done:
            asked, looked_at = time.monotonic(), unix_now()
            async with self.folding:
                rows, self._end, done = await self._read(self._log.feed.after, self._end, LIMIT)
                self.ingest.folding.follow(rows, self._end)
            await asyncio.sleep(0)
        self._caught_up, self._complete = asked, looked_at
        if time.monotonic() - self._heard_at > HEAR_S:
            await self._hear()

    async def _hear(self) -> None:
        """Takes over the last-seen times and the probes that other replicas have shared."""
        self._heard_at = time.monotonic()
        heard, newest = await self._read(self._log.last_seen.since, max(0, self._heard - OVERLAP_MS))
        for number, (key, at, probe) in enumerate(heard):
            self.ingest.fleet.touch(key, min(at, unix_now()), time.monotonic())
            if probe:
                take_probe(self.ingest.fleet, key, probe, unix_now())
            if number % LIMIT == LIMIT - 1:
                await asyncio.sleep(0)
        self._heard = newest

    async def _read(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
