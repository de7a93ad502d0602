"""Reads of the log that the event loop must not wait for: small ones in a thread, heavy ones in a process."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from wawp_exporter.errors import LogError

T = TypeVar("T")

NICENESS = 10  # webhooks go first


class Reader:
    """Runs functions that open the log for themselves; their arguments and results must be picklable.

    A thread that folds a month of history would hold the interpreter, and webhooks would wait for it: hence the
    process, which is started when it is first needed.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def light(self, function: Callable[..., T], *args: object) -> T:
        """In a thread: for reads of one session."""
        return await asyncio.to_thread(function, *args)

    async def heavy(self, function: Callable[..., T], *args: object) -> T:
        """In the process, one after another: for reads of a fleet. Raises LogError when the process dies."""
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # a fork would inherit the lock of the log
            self._pool = ProcessPoolExecutor(1, spawn, initializer=settle)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        except BrokenProcessPool:
            self._pool = None
            raise LogError("cannot read the event log: the process that reads it has ended") from None

    def close(self) -> None:
        """Ends the process; what it was reading is of no use any more."""
        if self._pool:
            for process in multiprocessing.active_children():
                process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def settle() -> None:
    """Gives way to the service, leaves signals to it, and ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """A parent that was killed sends nothing; its child would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(0)
