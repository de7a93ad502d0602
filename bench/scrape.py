"""A scrape against prometheus_client's, and what it does to webhooks meanwhile."""

import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench.fleets import fill, name_of
from bench.results import Result
from bench.servers import GZIP, peer, timed_get
from tests.parts import Exporter, sign

SESSIONS = 10_000
LARGE = 100_000
RATE = 200  # webhooks a second while a large fleet is scraped
SENDERS = 4


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


def against_client(sessions: int = SESSIONS, rounds: int = 5) -> Result:
    """OpenMetrics, gzip, over HTTP: the same samples from prometheus_client's labelled children."""
    with (
        tempfile.TemporaryDirectory() as folder,
        exporter_of(Path(folder), sessions) as exporter,
    ):
        samples = Path(folder) / "samples.txt"
        samples.write_bytes(raw_text(exporter.url))
        with peer("labelled", {"BENCH_SAMPLES": str(samples)}) as other:
            ours, theirs = [], []
            for _ in range(rounds):
                ours += [timed_get(f"{exporter.url}/metrics", GZIP)[0] for _ in range(3)]
                theirs.append(timed_get(f"{other}/", GZIP)[0])
    mine, its = statistics.median(ours), statistics.median(theirs)
    return Result(f"scrape of {sessions:,} sessions", f"{mine * 1000:.1f} ms", f"{its * 1000:.0f} ms", its / mine, 150)


def raw_text(url: str) -> bytes:
    """The exposition as text."""
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("GET", "/metrics")
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
        return [against_client(2000, 2), *under_load(10_000, 3)]
    return [against_client(), *under_load()]
