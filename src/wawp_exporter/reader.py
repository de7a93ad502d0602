"""Reads of the log that the event loop must not wait for: small ones in a thread, heavy ones in a process."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from wawp_exporter.errors import LogError, TooBusy

T = TypeVar("T")

NICENESS = 10  # webhooks go first
MAX_REPORTS = 9  # reads of a fleet: one runs, the others wait for their turn
REPORT_LIMIT_S = 600.0  # as long as PostgreSQL lets a statement take
THREADS = 4
MAX_READS = 64  # reads of one session or page: four run, the others wait


class Reader:
    """Runs functions that open the log for themselves; their arguments and results must be picklable.

    A thread that folds a month of history would hold the interpreter, and webhooks would wait for it: hence the
    process, which is started when it is first needed, and anew when it has ended.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()
        self._reports = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="log-reads")
        self._reads: set[Future[Any]] = set()
        self._closed = False

    @property
    def reports(self) -> int:
        """How many reports run or wait."""
        return self._reports

    async def light(self, function: Callable[..., T], *args: object) -> T:
        """In a thread: for reads of one session. Raises TooBusy; what nobody waits for any more is not begun."""
        self._check_room(len(self._reads), MAX_READS)
        try:
            future = self._threads.submit(function, *args)
        except RuntimeError:
            raise LogError("cannot read the event log: no thread can be started") from None
        self._reads.add(future)
        future.add_done_callback(self._reads.discard)
        return await asyncio.wrap_future(future)

    async def heavy(self, function: Callable[..., T], *args: object) -> T:
        """In the process, one after another: for reads of a fleet that somebody asks for.

        Raises TooBusy, and LogError when the process dies. Cancelled while it waits, the read is not begun; cancelled
        while it runs, its process is ended.
        """
        self._check_room(self._reports, MAX_REPORTS)
        self._reports += 1
        try:
            return await self.background(function, *args)
        finally:
            self._reports -= 1

    async def background(self, function: Callable[..., T], *args: object) -> T:
        """As `heavy`, for the service's own reads: they wait for their turn, however many others do."""
        async with self._turn:
            self._check_room(0, 1)
            if self._worker is None or self._worker.broken:
                self._worker = Worker()
            try:
                async with asyncio.timeout(REPORT_LIMIT_S):
                    return await self._worker.run(function, *args)
            except TimeoutError:
                limit = f"{REPORT_LIMIT_S:g} s"
                raise TooBusy(
                    f"the report took longer than {limit}, expected a shorter time or fewer sessions"
                ) from None

    def _check_room(self, taken: int, limit: int) -> None:
        if self._closed:
            raise TooBusy("the exporter is stopping, try again")
        if taken >= limit:
            raise TooBusy(f"{limit} reads of the log run or wait, which is the limit; try again")

    def close(self) -> None:
        """Ends the process; what it was reading is of no use any more."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._worker:
            self._worker.end()


class Worker:
    """A process that runs one function at a time. Raises LogError where none can be started."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit the lock of the log
        try:
            self._pool = ProcessPoolExecutor(1, spawn, initializer=settle)
        except OSError as error:
            raise LogError("cannot read the event log: no process can be started") from error
        self._pid = 0
        self._ended = False

    @property
    def broken(self) -> bool:
        """Whether the process has ended, by itself or not."""
        return self._ended or bool(self._pid and not self._processes())

    def _processes(self) -> list[BaseProcess]:
        return [process for process in multiprocessing.active_children() if process.pid == self._pid]

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result. Raises LogError when the process ends or cannot be started; ends it when this is cancelled."""
        try:
            self._pid = self._pid or await self._call(os.getpid)
            return await self._call(function, *args)
        except (BrokenProcessPool, OSError, RuntimeError) as error:
            self.end()
            raise LogError("cannot read the event log: the process that reads it has ended") from error
        except asyncio.CancelledError:
            self.end()
            raise

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.wrap_future(self._pool.submit(function, *args))

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        self._ended = True
        for process in self._processes():
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


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
