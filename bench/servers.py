"""Peers as processes, and plain timed requests to them."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from tests.parts import free_port, wait_until

GZIP = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}


@contextlib.contextmanager
def peer(name: str, env: Mapping[str, str]) -> Iterator[str]:
    """Runs `bench.peers.NAME` on uvicorn with uvloop and httptools; gives its URL."""
    with peer_process(name, env) as (_, port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def peer_process(name: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """The same; gives its process id and port."""
    port = free_port()
    flags = ["--log-level", "error", "--no-access-log", "--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    command = [sys.executable, "-m", "uvicorn", f"bench.peers.{name}:app", "--port", str(port), *flags]
    process = subprocess.Popen(command, env=os.environ | (env or {}))
    try:
        wait_until(lambda: answers(port), f"peer {name}", timeout=120)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether something speaks HTTP there."""
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/nothing")
    except OSError:
        return False
    return True


def timed_get(url: str, headers: Mapping[str, str]) -> tuple[float, int]:
    """Seconds from the request to the last byte, and the bytes as they came (still compressed)."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    started = time.perf_counter()
    connection.request("GET", parts.path, headers=dict(headers))
    size = len(connection.getresponse().read())
    connection.close()
    return time.perf_counter() - started, size
