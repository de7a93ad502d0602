"""A large log in PostgreSQL: how long an append takes while old events go, pages are read and the heatmap is drawn.

The peer of these figures is the same append, alone. Then the same work in a log of a million events and in the large
one (`growth`). `python -m bench.volume [--events 20000000] [--seconds 30] [--only-growth]`.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench import growth
from bench.results import Result, show
from tests import parts
from wawp_exporter.audit.heatmap import read_rows
from wawp_exporter.config.schema import Config
from wawp_exporter.live.cleaning import PURGE_PAUSE_S
from wawp_exporter.live.reader_process import NICENESS
from wawp_exporter.log import partitions
from wawp_exporter.log.history.history import History
from wawp_exporter.log.log import Log
from wawp_exporter.log.retention import LEASE, LEASE_S
from wawp_exporter.model.event import Point, StatusEvent

DAY = 86_400_000
MONTHS = 13  # and one that is over
SESSIONS = 10_000
RESTING = 100  # one session in so many has been in its status since the log began: all of its events must be kept
BATCH, PAUSE_S = 8, 0.02  # events of an append, and between two of them
SMALL, GREAT = 1_000_000, 100_000_000
SETTINGS = {"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
CYCLE = ("WORKING", "FAILED", "STARTING")
STATUS = "(array['WORKING', 'FAILED', 'STARTING'])[1 + k % 3]"


def fill(server: parts.Postgres, name: str, events: int, now: int, sources: int = 1) -> tuple[str, int]:
    """A log of so many events, evenly over its months and sources, each of SESSIONS sessions.

    Returns where it is, and when (Unix ms) the first month was over.
    """
    url = server.create_database(name)
    log = Log(url)
    months = [partitions.month_of(now)]
    while len(months) <= MONTHS:
        months.insert(0, partitions.month_of(partitions.unix_ms(months[0]) - DAY))
    for month in months:
        log.retention.prepare(partitions.unix_ms(month))
    log.close()
    sessions = SESSIONS * sources
    ids = f"generate_series(1, {sessions}) AS i"
    source = f"CASE (i - 1) % {sources} WHEN 0 THEN 'default' ELSE 'other-' || (i - 1) % {sources} END"
    of = f"{source}, 's' || (i - 1) / {sources} + 1"
    server.sql(f"INSERT INTO session (id, source, name) SELECT i, {of} FROM {ids}", name)
    server.sql("SELECT setval('session_id_seq', 100000000)", name)
    first, last = partitions.unix_ms(months[0]), now - 3_600_000
    rounds = max(len(months), events // sessions)
    step, at_once = (last - first) // rounds, max(1, 1_000_000 // sessions)
    for start in range(0, rounds, at_once):
        server.sql(
            "INSERT INTO event (session_id, status, at, tie, key_at, received_at, engine) "
            f"SELECT i, {STATUS}, x, 0, x, x, 'GOWS' "
            f"FROM generate_series({start}, {min(rounds, start + at_once) - 1}) AS k, {ids}, "
            f"LATERAL (SELECT {first} + k::bigint * {step} + i::bigint * {step // sessions} AS x) AS y",
            name,
        )
    server.sql(
        "INSERT INTO state (session_id, oldest, memory, seq) SELECT i, "
        f"CASE WHEN i % {RESTING} = 0 THEN 1 ELSE {last - step} END, '', 0 FROM {ids}",
        name,
    )
    server.sql("VACUUM ANALYZE", name)
    server.sql("CHECKPOINT", name)
    return url, partitions.unix_ms(months[1])


def appends(url: str, seconds: float) -> list[float]:
    """How long each append took, in ms."""
    log, took = Log(url), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        at = time.time_ns() // 1_000_000
        names = (f"s{random.randrange(SESSIONS) + 1}" for _ in range(BATCH))
        batch = [StatusEvent("default", name, (Point(random.choice(CYCLE), at, 0, at),), at) for name in names]
        started = time.perf_counter()
        log.append(batch)
        took.append((time.perf_counter() - started) * 1000)
        time.sleep(PAUSE_S)
    log.close()
    return took


def purge(url: str, before: int, _until: float) -> list[float]:
    """One pass of retention, slice by slice as the service does it, to its end."""
    log, took = Log(url), []
    assert log.leases.take(LEASE, LEASE_S)
    pass_ = log.retention.purging(before)
    doomed, started = pass_.look(), time.perf_counter()
    while doomed is not None:
        if doomed.numbers:
            pass_.take(doomed)
        took.append((time.perf_counter() - started) * 1000)
        time.sleep(PURGE_PAUSE_S)
        started = time.perf_counter()
        doomed = pass_.look()
    print(f"retention: {pass_.gone:,} events gone in {len(took):,} slices")
    log.leases.release()
    log.close()
    return took


def repeated(read: Callable[[], object], pause: float, until: float) -> list[float]:
    """How long something took, at least once, and again and again until then (Unix seconds), in ms."""
    took: list[float] = []
    while not took or time.time() < until:
        started = time.perf_counter()
        read()
        took.append((time.perf_counter() - started) * 1000)
        time.sleep(pause)
    return took


def pages(url: str, now: int, until: float) -> list[float]:
    """Pages of transitions: the newest, of a session, of a time long ago, and what follows each of them."""
    draw = random.Random(1)

    def page() -> None:
        start = now - draw.randrange(1, 390) * DAY
        filters = draw.choice([{}, {"source": "default"}, {"start": start, "end": start + DAY}, {"end": start}])
        session = draw.choice([None, f"s{draw.randrange(SESSIONS) + 1}"])
        with History(url) as history:
            _, cursor = history.transitions(session=session, **filters)
            history.transitions(session=session, cursor=cursor, **filters)

    return repeated(page, 0.1, until)


def heatmaps(url: str, now: int, until: float) -> list[float]:
    """The heatmap of the last hour, with the low priority of the service's process for reports."""
    os.nice(NICENESS)
    return repeated(lambda: read_rows(url, Config(), "1h", now), 2.0, until)


def p99(took: list[float]) -> float:
    """Of a hundred the longest but one."""
    return sorted(took)[int(len(took) * 0.99)]


def measured(url: str, events: int, before: int, now: int, seconds: float) -> Iterator[Result]:
    """Each disturbance, with the same appends before it."""
    disturbances = {
        "pages of transitions": partial(pages, url, now),
        "heatmap of the last hour": partial(heatmaps, url, now),
        "retention": partial(purge, url, before),
    }
    # A process of its own for each, since a low priority cannot be taken back.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        list(pool.map(appends, [url] * 2, [1] * 2))
        for name, disturb in disturbances.items():
            alone = pool.submit(appends, url, seconds).result()
            disturbing = pool.submit(disturb, time.time() + seconds)
            beside: list[float] = []
            while not beside or not disturbing.done():
                beside += pool.submit(appends, url, seconds if name != "retention" else 5.0).result()
            took = disturbing.result()
            print(
                f"{name}: {len(took):,} times, median {statistics.median(took):.1f} ms, p99 {p99(took):.1f} ms; "
                f"appends beside it: median {statistics.median(beside):.1f} ms, p99 {p99(beside):.1f} ms; "
                f"alone: median {statistics.median(alone):.1f} ms, p99 {p99(alone):.1f} ms",
                flush=True,
            )
            if name == "retention":
                slices = GREAT / events * len(took)
                each = statistics.mean(took) / 1000 + PURGE_PAUSE_S
                print(f"of {GREAT:,} events that is {slices:,.0f} slices, {slices * each / 60:.0f} minutes a month")
            title = f"append of {BATCH} events to {events:,}, p99: beside {name}"
            yield Result(title, f"{p99(beside):.1f} ms", f"{p99(alone):.1f} ms", p99(beside) / p99(alone), 2, True)


def run(quick: bool, events: int = 1_000_000, seconds: float = 10) -> list[Result]:
    """Appends beside other work to a log of so many events; and what the same work takes in a larger log."""
    small = 50_000 if quick else SMALL
    events, seconds = (2 * small, 2) if quick else (events, seconds)
    now = time.time_ns() // 1_000_000
    with parts.Postgres(SETTINGS) as server:
        url, before = filled(server, "volume", events, now)
        found = list(measured(url, events, before, now, seconds))
        server.sql("DROP DATABASE volume WITH (FORCE)")
        return found + grown(server, small, max(events, 5 * small), now)


def filled(server: parts.Postgres, name: str, events: int, now: int, sources: int = 1) -> tuple[str, int]:
    """As `fill`; prints how large the log is."""
    started = time.monotonic()
    found = fill(server, name, events, now, sources)
    size = server.sql(f"SELECT pg_size_pretty(pg_database_size('{name}'))")
    print(
        f"{events:,} events of {sources * SESSIONS:,} sessions: {size}, {time.monotonic() - started:.0f} s", flush=True
    )
    return found


def grown(server: parts.Postgres, small: int, large: int, now: int) -> list[Result]:
    """The same work in two logs, one after the other: each has the cache and the disk to itself."""
    found = []
    for events in (small, large):
        url, before = filled(server, f"growth_{events}", events, now, events // small)
        growth.save(server, f"growth_{events}")
        found.append(growth.figures(url, now, before, SESSIONS))
        print({name: round(took, 1) for name, took in found[-1].items()}, flush=True)
    return growth.compared(*found, f"{large:,} events of {large // small} sources against {small:,} of one")


def main() -> int:
    """As large as it is asked for."""
    parser = argparse.ArgumentParser(prog="bench.volume", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only-growth", action="store_true", help="leave out the appends beside other work")
    options = parser.parse_args()
    if options.only_growth:
        with parts.Postgres(SETTINGS) as server:
            return 0 if show(grown(server, SMALL, options.events, time.time_ns() // 1_000_000)) else 1
    return 0 if show(run(False, options.events, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
