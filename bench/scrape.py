"""A scrape against those of client libraries and of a web server, and what it does to webhooks meanwhile."""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bench.fleets import fill, name_of
from bench.results import Result
from bench.servers import GZIP, nginx, peer, promhttp, timed_get
from tests.parts import ROOT, Exporter, sign

SESSIONS = 10_000
LARGE = 100_000
MILLION = 37_500  # sessions: a million lines
SETTLED_S = 15  # after a start
RATE = 200  # webhooks a second while a large fleet is scraped
SENDERS = 4
REPEATS = 3  # scrapes of one server, before the next one's turn


def exporter_of(folder: Path, sessions: int) -> Exporter:
    """An exporter that starts with a filled log."""
    path = folder / "wawp.db"
    fill(path, sessions, sessions * 2)
    (folder / "key").write_text("bench-key")
    return Exporter(
        {
            "database": {"url": f"sqlite:///{path}"},
            "sources": {"default": {"hmac_keys_file": str(folder / "key")}},
            "metrics": {"session_histograms": False, "max_sessions": sessions * 2},
            "log": {"level": "error"},
        }
    )


def against_others(sessions: int = SESSIONS, rounds: int = 5) -> list[Result]:
    """OpenMetrics, gzip, over HTTP, in turn.

    prometheus_client and client_golang get the same samples, as labelled children. nginx gets the bytes: compressed
    ones as they are, which is the least that any server needs, and text that it compresses itself.
    """
    with tempfile.TemporaryDirectory() as name, exporter_of(folder := Path(name), sessions) as exporter:
        text = folder / "text"
        text.write_bytes(body(exporter.url))
        (folder / "text.gz").write_bytes(body(exporter.url, GZIP))
        with (
            peer("labelled", {"BENCH_SAMPLES": str(text)}) as python,
            promhttp(folder, text) as go,
            nginx(folder) as web,
        ):
            urls = {
                "": f"{exporter.url}/metrics",
                "prometheus_client": f"{python}/",
                "client_golang": go,
                "nginx, the same compressed bytes": web and f"{web}/kept/text",
                "nginx, compressing the same text": web and f"{web}/packed/text",
            }
            times = alternate(urls, rounds)
    ours = statistics.median(times.pop(""))
    named = f"scrape of {sessions:,} sessions"
    return [against(f"{named}, {other}", ours, times[other], *required) for other, required in REQUIRED.items()]


REQUIRED: dict[str, tuple[float | None, bool]] = {
    "prometheus_client": (150, False),
    "client_golang": (100, False),
    "nginx, the same compressed bytes": (10, True),
    "nginx, compressing the same text": (None, False),
}


def alternate(urls: Mapping[str, str | None], rounds: int) -> dict[str, list[float]]:
    """Seconds of each scrape of each URL, one after the other; none where there is no URL."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(rounds):
        for name, url in urls.items():
            times[name] += [timed_get(url, GZIP)[0] for _ in range(REPEATS)] if url else []
    return times


def against(name: str, ours: float, theirs: list[float], required: float | None, at_most: bool) -> Result:
    """The row of one peer: how many times slower it is, or with `at_most` how many times slower we are."""
    if not theirs:
        return Result(name, f"{ours * 1000:.1f} ms", "not installed", None, required, at_most)
    its = statistics.median(theirs)
    ratio = ours / its if at_most else its / ours
    return Result(name, f"{ours * 1000:.1f} ms", f"{its * 1000:.1f} ms", ratio, required, at_most)


def body(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The exposition as it comes."""
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("GET", "/metrics", headers=dict(headers))
    return connection.getresponse().read()


def under_load(sessions: int = LARGE, scrapes: int = 10) -> list[Result]:
    """Scrapes of a large fleet while webhooks come in, and how long those wait."""
    with tempfile.TemporaryDirectory() as folder, exporter_of(Path(folder), sessions) as exporter:
        timed_get(f"{exporter.url}/metrics", GZIP)
        stop, waits = threading.Event(), []
        senders = [threading.Thread(target=send, args=(exporter, i, stop, waits)) for i in range(SENDERS)]
        for sender in senders:
            sender.start()
        times = [timed_get(f"{exporter.url}/metrics", GZIP)[0] for _ in range(scrapes)]
        stop.set()
        for sender in senders:
            sender.join()
    p99 = sorted(waits)[int(len(waits) * 0.99)] * 1000
    median = statistics.median(times)
    return [
        Result(f"scrape of {sessions:,} sessions, {RATE} webhooks/s", f"{median * 1000:.0f} ms", "", median, None),
        Result("webhooks meanwhile, p99 (ms)", f"{p99:.1f} ms of {len(waits)}", "", p99, 100, at_most=True),
    ]


def of_others(sessions: int = MILLION, seconds: float = 10) -> list[Result]:
    """How long others wait while a fleet with a million lines is scraped again and again."""
    with tempfile.TemporaryDirectory() as folder, exporter_of(Path(folder), sessions) as exporter:
        lines = body(exporter.url).count(b"\n")
        timed_get(f"{exporter.url}/metrics", GZIP)
        time.sleep(SETTLED_S)
        port = exporter.address.rpartition(":")[2]
        command = [sys.executable, "-m", "bench.peers.probe", port, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as probe:
            times = []
            while probe.poll() is None:
                times.append(timed_get(f"{exporter.url}/metrics", GZIP)[0])
            assert probe.stdout
            waits = sorted(float(line) * 1000 for line in probe.stdout)
    p99, median = waits[int(len(waits) * 0.99)], statistics.median(times) * 1000
    name = f"others while {lines:,} lines are scraped without a pause, p99 (ms)"
    return [Result(name, f"{p99:.1f} ms of {len(waits)}, {median:.0f} ms a scrape", "", p99, 50, at_most=True)]


def send(exporter: Exporter, offset: int, stop: threading.Event, waits: list[float]) -> None:
    """Signed webhooks at an even pace, one connection."""
    host, port = exporter.address.split(":")
    connection = http.client.HTTPConnection(host, int(port))
    count = 0
    while not stop.is_set():
        count += 1
        now = time.time_ns() // 1_000_000
        status = ("FAILED", "WORKING")[count % 2]
        body = {"event": "session.status", "session": name_of(count * SENDERS + offset), "timestamp": now,
                "engine": "GOWS", "payload": {"status": status}}  # fmt: skip
        data = json.dumps(body).encode()
        started = time.perf_counter()
        connection.request("POST", "/webhook", data, {"X-Webhook-Hmac": sign(data, "bench-key")})
        connection.getresponse().read()
        took = time.perf_counter() - started
        waits.append(took)
        time.sleep(max(0.0, SENDERS / RATE - took))


def run(quick: bool) -> list[Result]:
    """All of them."""
    if quick:
        return [*against_others(2000, 2), *of_others(2000, 2), *under_load(10_000, 3)]
    return [*against_others(), *of_others(), *under_load()]
