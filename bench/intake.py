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
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from bench.results import Result
from bench.servers import peer
from tests.parts import Exporter, now_ms, require

KEY = b"k" * 32
SESSIONS = 2000
CORES = os.sched_getaffinity(0)
PER_MS = 20  # events of the fleet: about as many as are sent, so that they are of now, as webhooks are
MAX_P99_MS = 20
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


class Load(NamedTuple):
    """How a load was answered: requests a second, and the time within which 99 of 100 had their answer."""

    rate: float
    p99_ms: float


def load(folder: Path, url: str, seconds: int) -> Load:
    """64 kept connections, from the cores that the server is not pinned to; every answer must have been a 200."""
    wrk = str(require("wrk"))
    arguments = ["-t1", "-c64", "--latency", "--timeout", "10s", f"-d{seconds}s", "-s", str(folder / "send.lua"), url]
    with pinned(CORES - os.sched_getaffinity(0) or CORES):
        output = subprocess.run([wrk, *arguments], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    rate, p99 = (found(pattern, output) for pattern in (r"Requests/sec:\s+([\d.]+)", r"99%\s+([\d.]+[mu]?s)"))
    return Load(float(rate), milliseconds(p99))


def found(pattern: str, output: str) -> str:
    """What wrk prints there."""
    match = re.search(pattern, output)
    if match is None:
        raise RuntimeError(output)
    return match[1]


def milliseconds(written: str) -> float:
    """A duration as wrk writes it: `980.00us`, `7.21ms`, `1.05s`."""
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if written.endswith(unit):
            return float(written.removesuffix(unit)) * factor
    raise ValueError(written)


@contextlib.contextmanager
def pinned(cores: Set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ours(folder: Path, seconds: int, env: dict[str, str]) -> Load:
    """The exporter, on a fresh log; afterwards the log must hold each acknowledged event once."""
    database = folder / "ours" / "wawp.db"
    config = {
        "database": {"url": f"sqlite:///{database}"},
        "sources": {"default": {"hmac_keys_file": str(folder / "key")}},
        "metrics": {"session_histograms": False},
        "log": {"level": "error"},
    }
    with Exporter(config, env=env) as exporter:
        answer = load(folder, exporter.url, seconds)
        answered = re.findall(
            r'^wawp_exporter_webhooks_total\{outcome="transition".*\} (\S+)$', exporter.metrics(), re.M
        )
        exporter.stop()
    with contextlib.closing(sqlite3.connect(database)) as log:
        (stored,) = log.execute("SELECT count(*) FROM event").fetchone()
    if stored < float(answered[0]):
        raise RuntimeError(f"{answered[0]} events were acknowledged, {stored} are in the log")
    shutil.rmtree(folder / "ours")
    return answer


def plain(folder: Path, seconds: int, env: dict[str, str]) -> Load:
    """The receiver that stores nothing."""
    with peer("plain", env | {"BENCH_KEY": str(folder / "key")}) as url:
        return load(folder, url, seconds)


def commit_each(folder: Path, seconds: int, env: dict[str, str]) -> Load:
    """A commit a request."""
    database = folder / "each.db"
    with peer("commit_each", env | {"BENCH_KEY": str(folder / "key"), "BENCH_DATABASE": str(database)}) as url:
        answer = load(folder, url, seconds)
    for file in folder.glob("each.db*"):
        file.unlink()
    return answer


@contextlib.contextmanager
def slow_fsync(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which each fsync takes 2 ms longer."""
    (folder / "slow.c").write_text(SLOW_FSYNC)
    library = folder / "slow.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "slow.c", "-ldl"], check=True)
    yield {"LD_PRELOAD": str(library)}


Contestant = Callable[[Path, int, dict[str, str]], Load]


def one_round(folder: Path, seconds: int, env: dict[str, str], count: int, *contestants: Contestant) -> list[Load]:
    """Each in turn, with requests of now: a STARTING of a minute ago would be an outage of the whole fleet."""
    write_requests(folder, count)
    return [contestant(folder, seconds, env) for contestant in contestants]


def run(quick: bool) -> list[Result]:
    """Rounds of all, in turn; the machine's speed may double within a minute, so that each round has its own ratios."""
    rounds, seconds, count = (1, 3, 60_000) if quick else (5, 4, 150_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = dict(os.environ)
        free = [one_round(folder, seconds, env, count, ours, plain, commit_each) for _ in range(rounds)]
        with pinned({min(CORES)}):
            on_one = [one_round(folder, seconds, env, count, ours, plain) for _ in range(rounds)]
        with slow_fsync(folder) as slow_env:
            slow = [one_round(folder, seconds, env | slow_env, count, ours, commit_each)]
    mine, stores_nothing, each = zip(*free, strict=True)
    mine_on_one, stores_nothing_on_one = zip(*on_one, strict=True)
    return [
        rates("durable intake, against a receiver that stores nothing", mine, stores_nothing, 1.3),
        rates("the same, each pinned to one core", mine_on_one, stores_nothing_on_one, 1.3),
        p99s("answers at 64 connections, two cores, p99", mine, stores_nothing),
        p99s("the same, each pinned to one core", mine_on_one, stores_nothing_on_one),
        rates("durable intake, against a commit a request", mine, each, 3),
        rates("the same with 2 ms added to each fsync", *zip(*slow, strict=True), 10),
    ]


def rates(name: str, mine: Sequence[Load], its: Sequence[Load], required: float) -> Result:
    """The rates of each round: their medians, and the median of their ratios."""
    ratio = statistics.median(a.rate / b.rate for a, b in zip(mine, its, strict=True))
    medians = (statistics.median(each.rate for each in loads) for loads in (mine, its))
    return Result(name, *(f"{rate:,.0f}/s" for rate in medians), ratio, required)


def p99s(name: str, mine: Sequence[Load], its: Sequence[Load]) -> Result:
    """The medians of what 99 of 100 waited for at most; the figure is ours, in ms."""
    own, other = (statistics.median(each.p99_ms for each in loads) for loads in (mine, its))
    return Result(name, f"{own:.1f} ms", f"{other:.1f} ms", own, MAX_P99_MS, at_most=True)
