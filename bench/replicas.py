"""Several replicas over one PostgreSQL: appends a second, how far followers are behind, and a storm of disasters.

The peer of one replica is psycopg's plain `executemany`, of two replicas it is one.
`python -m bench.replicas [--seconds 5]`, `python -m bench.replicas --storm 600`.
"""

import argparse
import asyncio
import multiprocessing
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain
from threading import Barrier
from typing import Any

import psycopg

from bench.fleets import status_event
from bench.results import Result, show
from tests import parts, storm
from wawp_exporter.log.append import rows_for
from wawp_exporter.log.feed import Followed
from wawp_exporter.log.log import Log
from wawp_exporter.log.statements import EVENT_COLUMNS
from wawp_exporter.model.event import StatusEvent

SPAWN = multiprocessing.get_context("spawn")
BATCH = 64  # what a replica under load finds waiting for its next commit
SESSIONS = 10_000
WIDE = 1_000_000  # numbers of events between two writers
OF_ALL = "the same rows, columns and indexes"
OF_THREE = "three columns and one index"
TABLES = {
    OF_ALL: "LIKE event INCLUDING DEFAULTS INCLUDING INDEXES",
    OF_THREE: "session text, at bigint, status text, UNIQUE (session, at, status)",
}


def batch(start: int, first: int, count: int = BATCH) -> list[StatusEvent]:
    """Events from number `first` on, each of its own ms."""
    return [status_event(index, SESSIONS, start + index) for index in range(first, first + count)]


def append(url: str, first: int, ready: Barrier, seconds: float) -> float:
    """Appends batches of distinct events, to known names, from when all are ready; events a second."""
    log, start = Log(url), time.time_ns() // 1_000_000
    for each in range(0, SESSIONS, 1000):
        log.append(batch(start, first + each, 1000))
    first, count = first + SESSIONS, 0
    ready.wait()
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        log.append(batch(start, first + count))
        count += BATCH
    took = time.monotonic() - begun
    log.close()
    return count / took


def plain(url: str, table: str, first: int, ready: Barrier, seconds: float) -> float:
    """The peer: psycopg's executemany on one connection, into a table that nobody follows; rows a second."""
    start, count = time.time_ns() // 1_000_000, 0
    names = EVENT_COLUMNS if table == OF_ALL else ("session", "at", "status")
    insert = f"INSERT INTO plain_{first} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE plain_{first} ({TABLES[table]})")
        connection.commit()
        ready.wait()
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            rows = [rows_for(each, 1 + count % SESSIONS)[0] for each in batch(start, first + count)]
            if table == OF_THREE:
                rows = [(f"s-{row[0]}", row[2], row[1]) for row in rows]
            with connection.cursor() as cursor:
                cursor.executemany(f"{insert} ON CONFLICT DO NOTHING", rows)
            connection.commit()
            count += BATCH
        return count / (time.monotonic() - begun)


def follow(url: str, ready: Barrier, seconds: float) -> list[float]:
    """Seconds from each event's birth to its being read by a follower."""
    log = Log(url)
    place, lags = log.restore([]).mark, []
    ready.wait()
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        rows, place, done = log.feed.after(place, 500)
        now = time.time() * 1000
        lags += [(now - row.event.received_at) / 1000 for row in rows if isinstance(row, Followed)]
        if done:
            log.feed.listen(0.1)
    log.close()
    return lags


def probe(url: str, ready: Barrier, seconds: float) -> list[float]:
    """Appends single events that bear the time at which they were sent, a hundred a second."""
    log, count = Log(url), 0
    ready.wait()
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        log.append([status_event(count, SESSIONS, time.time_ns() // 1_000_000)])
        count += 1
        time.sleep(0.01)
    log.close()
    return []


def together(workers: Sequence[Callable[[Barrier, float], Any]], seconds: float) -> list[Any]:
    """What processes return that begin together, when each is ready."""
    with SPAWN.Manager() as manager, ProcessPoolExecutor(len(workers), SPAWN) as pool:
        ready = manager.Barrier(len(workers))
        running = [pool.submit(work, ready, seconds) for work in workers]
        return [each.result() for each in running]


def run(quick: bool, seconds: float = 5, rounds: int = 3) -> list[Result]:
    """Each writer in turn, several times; a ratio is the median of those of the rounds."""
    seconds, rounds = (1, 1) if quick else (seconds, rounds)
    found: list[dict[str, float]] = []
    with parts.Postgres({"fsync": "on", "shared_buffers": "256MB"}) as server:
        url = server.create_database("replicas")
        log = Log(url)
        log.retention.prepare(time.time_ns() // 1_000_000)
        log.close()
        for number in range(rounds):
            first = number * 10 * WIDE
            found.append(
                {
                    OF_ALL: sum(together([partial(plain, url, OF_ALL, first)], seconds)),
                    "one": sum(together([partial(append, url, first + WIDE)], seconds)),
                    "two": sum(together([partial(append, url, first + each * WIDE) for each in (2, 3)], seconds)),
                    OF_THREE: sum(together([partial(plain, url, OF_THREE, first + 4 * WIDE)], seconds)),
                }
            )
            print({name: round(each) for name, each in found[-1].items()}, flush=True)
        if not quick:
            lags(server, seconds)
    title = f"PostgreSQL, {BATCH} events a commit, appends of"
    return [
        ratio(f"{title} one replica, against psycopg's executemany: {OF_ALL}", found, "one", OF_ALL, 0.5),
        ratio(f"{title} one replica, against psycopg's executemany: {OF_THREE}", found, "one", OF_THREE, 0.5),
        ratio(f"{title} two replicas, against one", found, "two", "one", 1),
    ]


def ratio(title: str, found: Sequence[Mapping[str, float]], ours: str, peer: str, required: float) -> Result:
    """The medians of both, and of their ratios."""
    middle = {name: statistics.median(each[name] for each in found) for name in (ours, peer)}
    ratios = [each[ours] / each[peer] for each in found]
    return Result(title, f"{middle[ours]:,.0f}/s", f"{middle[peer]:,.0f}/s", statistics.median(ratios), required)


def lags(server: parts.Postgres, seconds: float) -> None:
    """How long after its receipt each of several replicas reads an event; one line for each number of replicas."""
    for replicas in (1, 2, 4):
        url = server.create_database(f"replicas_{replicas}")
        Log(url).close()
        found = sorted(chain(*together([partial(follow, url)] * replicas + [partial(probe, url)], seconds)))
        print(
            f"{replicas} replicas: follow lag median {statistics.median(found) * 1000:.1f} ms, "
            f"p99 {found[int(len(found) * 0.99)] * 1000:.1f} ms"
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


def main() -> int:
    """Measures, or endures."""
    parser = argparse.ArgumentParser(prog="bench.replicas", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--storm", type=float, help="seconds of disasters instead")
    options = parser.parse_args()
    if options.storm:
        endure(options.storm)
        return 0
    return 0 if show(run(False, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
