"""A large fleet over shards, one shard at a time: start, memory, scrape, and what a Prometheus needs for it.

`python -m bench.shards [--sessions 1000000] [--shards 20]`.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg

from bench.capacity import resident
from bench.fleets import memory_of, name_of, status_event
from bench.servers import GZIP, timed_get
from bench.usage import cpu_s
from tests import parts
from wawp_exporter.log.log import Log

SCRAPES = 3
INTERVAL_S = 15


def source_of(number: int, shards: int) -> str:
    """One source a shard, and as many sessions of each."""
    return f"source-{number % shards}"


def fill(url: str, sessions: int, shards: int) -> None:
    """A log in which each session has been WORKING since its second event, but one in fifty, which is STARTING."""
    Log(url).close()
    start = parts.now_ms() - 3_600_000
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY session (id, source, name) FROM STDIN") as copy:
            for number in range(sessions):
                copy.write_row((number + 1, source_of(number, shards), name_of(number)))
        with cursor.copy(
            "COPY event (seq, session_id, status, at, tie, key_at, received_at, engine) FROM STDIN"
        ) as copy:
            for seq, row in enumerate(events(sessions, start), 1):
                copy.write_row((seq, *row))
        with cursor.copy("COPY state (session_id, oldest, memory, seq) FROM STDIN") as copy:
            for number in range(sessions):
                memory = memory_of(last_of(number, sessions, start))
                copy.write_row((number + 1, memory.state.oldest, msgspec.json.encode(memory).decode(), 2 * sessions))
        marks = [(source_of(shard, shards), 2 * sessions) for shard in range(shards)]
        cursor.executemany("INSERT INTO watermark VALUES (1, 0, %s, %s, 0)", marks)
        cursor.execute("SELECT setval('event_seq', %s)", (3 * sessions,))
        cursor.execute("SELECT setval('session_id_seq', %s)", (sessions,))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def last_of(number: int, sessions: int, start: int) -> Any:
    """A session's newest event."""
    return status_event(number + (0 if number % 50 == 0 else sessions), sessions, start + number)


def events(sessions: int, start: int) -> Iterator[tuple[object, ...]]:
    """The rows of the event table."""
    for number in range(sessions):
        yield number + 1, "STARTING", start + number, 0, start + number, start + number, "GOWS"
    for number in range(sessions):
        if number % 50:
            yield number + 1, "WORKING", start + number, 1, start + number, start + number, "GOWS"


def measure(url: str, shards: int, mode: str) -> None:
    """One shard in one mode of `metrics.sessions`, with and without a Prometheus."""
    metrics = {"sessions": mode, "session_histograms": False, "max_sessions": 1_000_000}
    sources = {source_of(shard, shards): {"shard": shard} for shard in range(shards)}
    config = {"database": {"url": url}, "shard": {"index": 0, "total": shards}, "sources": sources, "metrics": metrics}
    started = time.perf_counter()
    with parts.Exporter(config) as exporter:
        ready = time.perf_counter() - started
        first, size = timed_get(f"{exporter.url}/metrics", GZIP)
        times = [timed_get(f"{exporter.url}/metrics", GZIP)[0] for _ in range(SCRAPES)]
        held = sum(
            float(line.rpartition(" ")[2])
            for line in exporter.metrics().splitlines()
            if line.startswith("wawp_sessions{")
        )
        print(
            f"{mode:>9}: {held:,.0f} sessions; ready after {ready:.2f} s, first scrape {first:.2f} s, then "
            f"{min(times) * 1000:.0f} ms and {size / 1e6:.2f} MB compressed, memory {resident(exporter) / 1e6:.0f} MB",
            flush=True,
        )
        print(f"{'':>11}{prometheus_needs(exporter)}", flush=True)


def prometheus_needs(exporter: parts.Exporter) -> str:
    """What a real Prometheus takes after a minute of scrapes."""
    config = {
        "global": {"scrape_interval": f"{INTERVAL_S}s", "scrape_timeout": f"{INTERVAL_S - 1}s"},
        "scrape_configs": [{"job_name": "wawp-exporter", "static_configs": [{"targets": [exporter.address]}]}],
    }
    with parts.Prometheus(config) as prometheus:
        parts.wait_until(prometheus.targets_up, timeout=60)
        before = cpu_s(prometheus.pid)
        time.sleep(4 * INTERVAL_S)
        samples = prometheus.value("scrape_samples_scraped")
        took = prometheus.value("scrape_duration_seconds")
        used = (cpu_s(prometheus.pid) - before) / (4 * INTERVAL_S)
        memory = resident(prometheus) / 1e6  # type: ignore[arg-type]  # a process is a process
    return (
        f"Prometheus: {samples:,.0f} samples, scraped in {took:.2f} s, {used:.2f} cores every {INTERVAL_S} s, "
        f"{memory:.0f} MB"
    )


def main() -> None:
    """Fills once, then measures one shard in both modes."""
    parser = argparse.ArgumentParser(prog="bench.shards", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=20)
    options = parser.parse_args()
    with parts.Postgres({"shared_buffers": "1GB", "max_wal_size": "8GB"}) as server:
        url = server.create_database("shards")
        began = time.perf_counter()
        fill(url, options.sessions, options.shards)
        print(
            f"{options.sessions:,} sessions in {options.shards} shards; filled in {time.perf_counter() - began:.0f} s"
        )
        for mode in ("all", "troubled"):
            measure(url, options.shards, mode)


if __name__ == "__main__":
    main()
