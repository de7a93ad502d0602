"""Several replicas over one PostgreSQL: appends a second, how far followers are behind, and a storm of disasters.

`python -m bench.replicas [--seconds 5]`, `python -m bench.replicas --storm 600`.
"""

import argparse
import asyncio
import multiprocessing
import random
import statistics
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import psycopg

from bench.fleets import status_event
from tests import parts, storm
from wawp_exporter.log.feed import Followed
from wawp_exporter.log.log import Log

BATCH = 64  # what a replica under load finds waiting for its next commit
SESSIONS = 10_000
WIDE = 1_000_000  # numbers of events between two writers


def append(url: str, writer: int, until: float) -> int:
    """Appends batches of distinct events until then (Unix seconds); how many events."""
    log = Log(url)
    start, count = time.time_ns() // 1_000_000, 0
    while time.time() < until:
        first = writer * WIDE + count
        log.append([status_event(index, SESSIONS, start + index) for index in range(first, first + BATCH)])
        count += BATCH
    log.close()
    return count


def follow(url: str, until: float) -> list[float]:
    """Seconds from each event's birth to its being read by a follower, until then."""
    log = Log(url)
    place, lags = log.restore([]).mark, []
    while time.time() < until:
        rows, place, done = log.feed.after(place, 500)
        now = time.time() * 1000
        lags += [
            (now - row.event.received_at) / 1000
            for row in rows
            if isinstance(row, Followed) and row.event.source == "lag"
        ]
        if done:
            log.feed.listen(0.1)
    log.close()
    return lags


def probe(url: str, until: float) -> int:
    """Appends single events that bear the time at which they were sent, a hundred a second."""
    log, count = Log(url), 0
    while time.time() < until:
        now = time.time_ns() // 1_000_000
        event = status_event(count, SESSIONS, now)
        log.append([type(event)("lag", event.session, event.points, now)])
        count += 1
        time.sleep(0.01)
    log.close()
    return count


def plain(url: str, until: float) -> int:
    """The peer: the same rows by one connection with psycopg's executemany, into a table without a follower."""
    count = 0
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE plain (session text, at bigint, status text, UNIQUE (session, at, status))")
        while time.time() < until:
            rows = [(f"s-{index % SESSIONS}", index, "WORKING") for index in range(count, count + BATCH)]
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO plain VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", rows)
            connection.commit()
            count += BATCH
    return count


def measure(seconds: float) -> None:
    """One line for each number of replicas."""
    with parts.Postgres({"fsync": "on", "shared_buffers": "256MB"}) as server:
        peer = plain(server.create_database("plain"), time.time() + seconds) / seconds
        print(f"peer: psycopg executemany, one connection, {BATCH} rows a commit: {peer:,.0f} rows/s")
        spawn = multiprocessing.get_context("spawn")
        for replicas in (1, 2, 4):
            url = server.create_database(f"replicas_{replicas}")
            Log(url).close()
            with ProcessPoolExecutor(replicas, spawn) as pool:
                list(pool.map(abs, range(replicas)))
                until = time.time() + 1 + seconds
                counts = list(pool.map(append, [url] * replicas, range(replicas), [until] * replicas))
            with ProcessPoolExecutor(replicas + 1, spawn) as pool:
                until = time.time() + 1 + seconds
                followers = [pool.submit(follow, url, until) for _ in range(replicas)]
                probed = pool.submit(probe, url, until - 0.5)
                lags = sorted(lag for each in followers for lag in each.result())
                assert probed.result()
            rate = sum(counts) / (seconds + 1)
            print(
                f"{replicas} replicas: {rate:,.0f} appends/s ({rate / peer:.2f} of the peer); follow lag "
                f"median {statistics.median(lags) * 1000:.1f} ms, p99 {lags[int(len(lags) * 0.99)] * 1000:.1f} ms"
            )


def endure(seconds: float, count: int = 3) -> None:
    """Disasters in random order under load; every promise is checked at the end."""
    draw = random.Random(time.time_ns())
    with ExitStack() as started:
        server = started.enter_context(parts.Postgres({"max_connections": "200"}))
        url = server.create_database("storm")
        replicas = [started.enter_context(parts.Exporter({"database": {"url": url}})) for _ in range(count)]
        gateways = storm.Gateways(replicas, 60, seed=draw.randrange(1000))
        disasters = storm.Disasters(replicas, server, "storm", seed=draw.randrange(1000))

        async def run() -> None:
            sending = asyncio.create_task(gateways.run())
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(draw.uniform(0.5, 5))
                chosen = draw.choice([*disasters.all, lambda: disasters.pause(60)] if seconds > 300 else disasters.all)
                await asyncio.to_thread(chosen)
            gateways.done = True
            await sending

        asyncio.run(run())
        steady = [each for index, each in enumerate(replicas) if index not in disasters.restarted]
        storm.judge(gateways, server, "storm", steady)
        kinds = Counter(each.partition(" ")[0] for each in disasters.happened)
        print(
            f"{gateways.sent:,} events, {gateways.retries:,} retries, {dict(kinds)}: "
            "nothing lost, nothing twice, all agree"
        )


def main() -> None:
    """Measures, or endures."""
    parser = argparse.ArgumentParser(prog="bench.replicas", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--storm", type=float, help="seconds of disasters instead")
    options = parser.parse_args()
    if options.storm:
        endure(options.storm)
    else:
        measure(options.seconds)


if __name__ == "__main__":
    main()
