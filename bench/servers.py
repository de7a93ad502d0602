"""Peers as processes, and plain timed requests to them."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.parts import ROOT, free_port, wait_until

GOCODE = Path("/usr/share/gocode")  # where Debian's packages put the sources of Go libraries
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
    with serving(command, port, env) as process:
        yield process, port


@contextlib.contextmanager
def serving(command: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Runs a server until the end of the block; gives its process id once it answers."""
    process = subprocess.Popen(command, env=os.environ | (env or {}))
    try:
        wait_until(lambda: answers(port), command[0], timeout=120)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def promhttp(folder: Path, samples: Path) -> Iterator[str | None]:
    """client_golang of Debian's packages with these samples, built without the network; gives its URL.

    None where Go or the library is missing (packages golang-go, golang-github-prometheus-client-golang-dev).
    """
    if not (shutil.which("go") and (GOCODE / "src/github.com/prometheus/client_golang").is_dir()):
        yield None
        return
    binary, port = folder / "promhttp", free_port()
    build = ["go", "build", "-o", str(binary), str(ROOT / "bench/peers/promhttp/main.go")]
    subprocess.run(build, check=True, env=os.environ | {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": ""})
    env = {"BENCH_SAMPLES": str(samples), "BENCH_PORT": str(port)}
    with serving([str(binary)], port, env):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[str | None]:
    """nginx with one process on the files of a folder; gives its URL, None where nginx is missing.

    `/kept/NAME` answers with NAME.gz as it is, `/packed/NAME` compresses NAME at each request, at level 1.
    """
    binary = shutil.which("nginx", path=os.defpath + ":/usr/sbin:" + os.environ.get("PATH", ""))
    if binary is None:
        yield None
        return
    port, config = free_port(), folder / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; sendfile on; default_type text/plain; {temporary}"
        f"server {{ listen 127.0.0.1:{port}; gzip_types *; gzip_comp_level 1; gzip_http_version 1.0;"
        f"location /kept/ {{ alias {folder}/; gzip_static on; }}"
        f"location /packed/ {{ alias {folder}/; gzip on; }} }} }}"
    )
    with serving([binary, "-e", str(folder / "error.log"), "-c", str(config)], port):
        yield f"http://127.0.0.1:{port}"


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
