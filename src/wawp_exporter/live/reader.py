"""Reads of the log outside the event loop: small ones in a thread, heavy ones in a process of their own."""

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import PIPE, Popen
from typing import Any, TypeVar

from wawp_exporter.errors import LogError, TooBusy
from wawp_exporter.live.reader_process import SIZE_BYTES, frame

T = TypeVar("T")

MAX_REPORTS = 9  # reads of a fleet: one runs, the others wait for their turn
REPORT_LIMIT_S = 600.0  # as long as PostgreSQL lets a statement take
THREADS = 4
MAX_READS = 64  # reads of one session or page: four run, the others wait
STOPPING = "the exporter is stopping, try again"


class Reader:
    """Runs functions that open the log for themselves; their arguments and results must be picklable.

    A thread that folds a month of history would keep the interpreter busy, and webhooks would wait. So heavy reads
    run in a process, which is started when it is first needed, and again after it has ended.
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
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task and not task.cancelling():  # `close` has cancelled the read, not its caller
                raise TooBusy(STOPPING) from None
            raise

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
            self._worker = self._living()
            try:
                async with asyncio.timeout(REPORT_LIMIT_S):
                    return await self._worker.run(function, *args)
            except TimeoutError:
                limit = f"{REPORT_LIMIT_S:g} s"
                raise TooBusy(
                    f"the report took longer than {limit}, expected a shorter time or fewer sessions"
                ) from None

    def _living(self) -> "Worker":
        if self._worker and not self._worker.broken:
            return self._worker
        if self._worker:
            self._worker.end()
        return Worker()

    def _check_room(self, taken: int, limit: int) -> None:
        if self._closed:
            raise TooBusy(STOPPING)
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
        command = (sys.executable, "-P", "-m", "wawp_exporter.live.reader_process")
        try:
            # In a session of its own: Ctrl-C in a terminal is for the service.
            self._process = Popen(  # noqa: S603 - our own interpreter
                command, stdin=PIPE, stdout=PIPE, start_new_session=True, env=environment()
            )
        except OSError as error:
            raise LogError("cannot read the event log: no process can be started") from error
        self._ended = False

    @property
    def broken(self) -> bool:
        """Whether the process has ended, by itself or not."""
        return self._ended or self._process.poll() is not None

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result. Raises LogError when the process ends; ends it when this is cancelled."""
        try:
            succeeded, value = await asyncio.to_thread(self._ask, frame((function, args)))
        except (OSError, EOFError) as error:
            self.end()
            raise LogError("cannot read the event log: the process that reads it has ended") from error
        except asyncio.CancelledError:
            self.end()
            raise
        if not succeeded:
            raise value
        result: T = value
        return result

    def _ask(self, request: bytes) -> Any:
        """Sends a request and waits for its answer. Raises OSError or EOFError when the process ends."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests  # noqa: S101 - it was started with pipes
        assert answers  # noqa: S101 - same
        requests.write(request)
        requests.flush()
        size = int.from_bytes(answers.read(SIZE_BYTES), "big")
        return pickle.loads(answers.read(size))  # noqa: S301 - from our own process

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        self._ended = True
        self._process.kill()
        with contextlib.suppress(OSError), self._process:
            pass  # leaving it closes the pipes and waits for the end


def environment() -> dict[str, str]:
    """The environment of the process: it finds the same modules as this one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
