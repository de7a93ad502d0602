"""Exporters as forks of one process that has imported the libraries: their import takes three fifths of a start.

Each still imports the package itself and runs what its command line says, in a process of its own. What depends on an
interpreter of its own (its memory, signals during the start, a wrapper, variables) is started as users do.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, get_context
from pathlib import Path

LIBRARIES = (
    *("alembic.command", "alembic.context", "anyio.streams.tls", "click", "httptools", "httpx", "isal.igzip_lib"),
    *("jinja2", "markdown_it", "msgspec", "prometheus_client", "psycopg", "pydantic.json_schema", "pydantic.types"),
    *("sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "sqlite3", "starlette.applications"),
    *("structlog", "uvicorn.protocols.http.httptools_impl", "uvloop", "yaml"),
)
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(list(LIBRARIES))
# multiprocessing looks at all its children whenever it starts one, and an exit status can be read once.
LOOKS = threading.Lock()


def can_be_forked(command: Sequence[str]) -> bool:
    """Whether it is `python -m MODULE …`, with nothing before it."""
    return list(command[:2]) == [sys.executable, "-m"]


class Forked:
    """Runs `python -m MODULE …`, with as much of the face of `subprocess.Popen` as tests need."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str], log: Path) -> None:
        given = (list(command[2:]), str(directory), dict(environment), str(log))
        self.command = command
        self.process = SERVER.Process(target=run, args=given, daemon=True)
        with LOOKS:
            self.process.start()
        self.pid: int = self.process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        with LOOKS:
            return self.process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when there is one; subprocess.TimeoutExpired when there is none by then."""
        connection.wait([self.process.sentinel], timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired(list(self.command), timeout or 0)
        return status

    def send_signal(self, sig: int) -> None:
        """Nothing, when it has ended."""
        if self.returncode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(command: Sequence[str], directory: str, environment: Mapping[str, str], log: str) -> None:
    """In the fork: becomes what `python -m` would be."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream
    sys.argv[1:] = command[1:]
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
