"""The log as the event loop uses it: one thread writes it, another reads it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from wawp_exporter.errors import LogError, describe
from wawp_exporter.log.log import Log

T = TypeVar("T")

logger = structlog.get_logger()


class LogAccess:
    """Belongs to the event loop. `healthy` is False from a failed write until something has reached the disk again."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.healthy = True
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="log-writer")
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="log-reader")

    async def write(self, call: Callable[..., T], *args: object) -> T:
        """Runs a call in the thread that writes the log, after what was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, call, *args)

    async def read(self, call: Callable[..., T], *args: object) -> T:
        """Runs a call in the thread that reads the log, after what was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self.reader, call, *args)

    def failed(self, message: str, error: BaseException, **more: object) -> None:
        """Logs a failed write, and notes that the log is not healthy."""
        self.healthy = False
        logger.error(message, **more, error=describe(error))

    async def lease(self, name: str, seconds: float) -> bool | None:
        """Whether this replica holds the named lease, for so long; None when the log could not be asked."""
        try:
            return await self.write(self.log.leases.take, name, seconds)
        except LogError as error:
            self.failed("cannot take a lease, the log did not answer", error)
            return None

    def close(self) -> None:
        """Ends both threads."""
        self.writer.shutdown()
        self.reader.shutdown()
