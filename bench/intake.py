"""Durable intake against a receiver that stores nothing, and against a commit a request."""

import contextlib
import hmac
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.results import Result
from bench.servers import peer
from tests.parts import Exporter, now_ms, require

KEY = b"k" * 32
SESSIONS = 2000
PER_MS = 20  # events of the fleet: about as many as are sent, so that they are of now, as webhooks are
SLOW_FSYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int slowly(const char *name, int fd) {
  struct timespec pause = {0, 2000000};
  nanosleep(&pause, 0);
  return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"""
SCRIPT = """
local requests, count, index = {}, 0, 0
function init(args)
  for line in io.lines("%s") do
    local signature, body = line:match("^(%%S+) (.*)$")
    count = count + 1
    requests[count] = wrk.format("POST", "/webhook",
      {["Content-Type"] = "application/json", ["X-Webhook-Hmac"] = signature}, body)
  end
end
function request() index = index %% count + 1; return requests[index] end
"""


def write_requests(folder: Path, count: int) -> None:
    """Distinct signed bodies as WAHA sends them, one a line, and the script that sends them."""
    began = now_ms()
    with (folder / "requests.txt").open("wb") as file:
        for index in range(count):
            body = body_of(index, began + index // PER_MS)
            file.write(hmac.digest(KEY, body, "sha512").hex().encode() + b" " + body + b"\n")
    (folder / "key").write_bytes(KEY)
    (folder / "send.lua").write_text(SCRIPT % (folder / "requests.txt"))


def body_of(index: int, at: int) -> bytes:
    """About 400 bytes."""
    name, status = f"session-{index % SESSIONS:05d}", ("STARTING", "WORKING")[index // SESSIONS % 2]
    environment = {"version": "2026.2.1", "engine": "NOWEB", "tier": "CORE", "browser": None,
                   "platform": "linux/x64", "worker": {"id": "waha-1"}}  # fmt: skip
    payload = {"name": name, "status": status, "statuses": [{"status": status, "timestamp": at}]}
    envelope = {"id": f"evt_{index:026d}", "timestamp": at, "event": "session.status", "session": name, "me": None,
                "payload": payload, "engine": "NOWEB", "environment": environment}  # fmt: skip
    return json.dumps(envelope, separators=(",", ":")).encode()


def load(folder: Path, url: str, seconds: int) -> float:
    """Requests a second over 64 kept connections; every answer must have been a 200."""
    wrk = str(require("wrk"))
    command = [wrk, "-t1", "-c64", "--timeout", "10s", f"-d{seconds}s", "-s", str(folder / "send.lua"), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))  # type: ignore[union-attr]  # wrk prints it


def ours(folder: Path, seconds: int, env: dict[str, str]) -> float:
    """The exporter, on a fresh log; afterwards the log must hold each acknowledged event once."""
    database = folder / "ours" / "wawp.db"
    config = {
        "database": {"url": f"sqlite:///{database}"},
        "sources": {"default": {"hmac_keys_file": str(folder / "key")}},
        "metrics": {"session_histograms": False},
        "log": {"level": "error"},
    }
    with Exporter(config, env=env) as exporter:
        rate = load(folder, exporter.url, seconds)
        answered = re.findall(
            r'^wawp_exporter_webhooks_total\{outcome="transition".*\} (\S+)$', exporter.metrics(), re.M
        )
        exporter.stop()
    with contextlib.closing(sqlite3.connect(database)) as log:
        (stored,) = log.execute("SELECT count(*) FROM event").fetchone()
    if stored < float(answered[0]):
        raise RuntimeError(f"{answered[0]} events were acknowledged, {stored} are in the log")
    shutil.rmtree(folder / "ours")
    return rate


def plain(folder: Path, seconds: int, env: dict[str, str]) -> float:
    """The receiver that stores nothing."""
    with peer("plain", env | {"BENCH_KEY": str(folder / "key")}) as url:
        return load(folder, url, seconds)


def commit_each(folder: Path, seconds: int, env: dict[str, str]) -> float:
    """A commit a request."""
    database = folder / "each.db"
    with peer("commit_each", env | {"BENCH_KEY": str(folder / "key"), "BENCH_DATABASE": str(database)}) as url:
        rate = load(folder, url, seconds)
    for file in folder.glob("each.db*"):
        file.unlink()
    return rate


@contextlib.contextmanager
def slow_fsync(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which each fsync takes 2 ms longer."""
    (folder / "slow.c").write_text(SLOW_FSYNC)
    library = folder / "slow.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "slow.c", "-ldl"], check=True)
    yield {"LD_PRELOAD": str(library)}


def one_round(folder: Path, seconds: int, env: dict[str, str], count: int) -> list[float]:
    """All three, with requests of now: a STARTING of a minute ago would be an outage of the whole fleet."""
    write_requests(folder, count)
    return [contestant(folder, seconds, env) for contestant in (ours, plain, commit_each)]


def run(quick: bool) -> list[Result]:
    """Rounds of all, in turn; the machine's speed may double within a minute, so that each round has its own ratios."""
    rounds, seconds = (1, 3) if quick else (5, 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = dict(os.environ)
        rates = [one_round(folder, seconds, env, 60_000 if quick else 150_000) for _ in range(rounds)]
        mine, stores_nothing, each = zip(*rates, strict=True)
        with slow_fsync(folder) as slow_env:
            slow = [ours(folder, seconds, env | slow_env)]
            slow_each = [commit_each(folder, seconds, env | slow_env)]
    return [
        result("durable intake, against a receiver that stores nothing", mine, stores_nothing, 1.3),
        result("durable intake, against a commit a request", mine, each, 3),
        result("the same with 2 ms added to each fsync", slow, slow_each, 10),
    ]


def result(name: str, mine: Sequence[float], its: Sequence[float], required: float) -> Result:
    """The rates of each round: their medians, and the median of their ratios."""
    ratio = statistics.median(a / b for a, b in zip(mine, its, strict=True))
    return Result(name, f"{statistics.median(mine):,.0f}/s", f"{statistics.median(its):,.0f}/s", ratio, required)
