"""What a larger log in PostgreSQL costs: the same work in a log of a million events, and in one of many million.

The larger log is that of a larger installation: more sources, each with as many sessions and events as the one of the
small log. The work is of one size: a start with one source, appends to it, its audit over a month, pages of
transitions, slices of retention.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random

from bench.results import Result
from tests import parts
from wawp_exporter.audit.audit import Query, audit
from wawp_exporter.config.schema import Config
from wawp_exporter.live.restoring import restore
from wawp_exporter.log import partitions
from wawp_exporter.log.history.history import History
from wawp_exporter.log.judgements import Judgement
from wawp_exporter.log.log import Log
from wawp_exporter.log.retention import LEASE, LEASE_S
from wawp_exporter.model.event import Point, Status, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State
from wawp_exporter.model.rules import Rules
from wawp_exporter.model.session import Memory

SOURCE = "default"
BATCH = 8  # events of an append
TAIL = 200  # events that came after the last save
APPENDS, PAGES, SLICES = 300, 20, 100
DAY = 86_400_000
STATUSES = ("WORKING", "FAILED", "STARTING")

Figures = dict[str, float]  # in ms


def took(work: Callable[[], object], times: int) -> float:
    """The median of so many times, in ms."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1000)
    return statistics.median(found)


def save(server: parts.Postgres, database: str) -> None:
    """Saves the states of the first source as they are by the last events, as the service would have."""
    newest = "SELECT status, at FROM event WHERE session_id = s.id ORDER BY key_at DESC LIMIT 1"
    mine = f"session AS s, LATERAL ({newest}) AS e WHERE s.source = '{SOURCE}'"
    rows = server.sql(f"SELECT s.name, e.status, e.at FROM {mine}", database)
    log, memories = Log(server.database_url(database)), []
    for name, status, at in (row.split("|") for row in rows.splitlines()):
        down = 0 if status == Status.WORKING else int(at)
        state = State(Status(status), int(at), int(at), 0, down_since=down, worked=True)
        memories.append(((SOURCE, name), Memory(state, "GOWS", int(at))))
    mark = log.restore([]).mark
    judgement = Judgement(Fleet(Rules(Config())).judge.dump([SOURCE]), {}, mark)
    log.save(memories, mark.seq, sources=[SOURCE], judgement=judgement)
    log.close()


def figures(url: str, now: int, before: int, sessions: int) -> Figures:
    """What each kind of work takes. `before` is when (Unix ms) the first month was over."""
    draw = Random(1)
    log = Log(url)
    log.restore([SOURCE])

    def append(size: int = BATCH) -> None:
        at = time.time_ns() // 1_000_000
        names = (f"s{draw.randrange(sessions) + 1}" for _ in range(size))
        log.append([StatusEvent(SOURCE, name, (Point(draw.choice(STATUSES), at, 0, at),), at) for name in names])

    append(TAIL)
    found = {
        f"start with one source, {TAIL} events after the last save": took(lambda: start(url), 5),
        f"append of {BATCH} events": took(append, APPENDS),
        **{f"transitions, two pages: {name}": took(read, PAGES) for name, read in pages(url, now, sessions, draw)},
        "audit of a source over a month": took(lambda: month(url, now), 3),
        "retention, 1,000 events": slices(log, before),
    }
    log.close()
    return found


def start(url: str) -> None:
    """Opens the log and restores the fleet of one source."""
    log = Log(url)
    restore(Fleet(Rules(Config())), log, [SOURCE])
    log.close()


def month(url: str, now: int) -> None:
    """The report of the last month that is over."""
    end = partitions.month_of(now)
    first = partitions.unix_ms(partitions.month_of(partitions.unix_ms(end - timedelta(days=1))))
    report = audit(url, Config(), Query(first, partitions.unix_ms(end), source=SOURCE))
    assert report.total.disconnects


def pages(url: str, now: int, sessions: int, draw: Random) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is asked for, and the reading of a page and of the page after it."""

    def two(**filters: object) -> None:
        with History(url) as history:
            _, cursor = history.transitions(**filters)  # type: ignore[arg-type]  # one of those below
            history.transitions(**filters, cursor=cursor)  # type: ignore[arg-type]

    yield "the newest", two
    yield "of a source", lambda: two(source=SOURCE, end=now - draw.randrange(1, 360) * DAY)
    yield "of a session", lambda: two(source=SOURCE, session=f"s{draw.randrange(sessions) + 1}")
    yield "of a day", lambda: two(start=(day := now - draw.randrange(1, 360) * DAY), end=day + DAY)


def slices(log: Log, before: int) -> float:
    """The time of a thousand events of the oldest month, of the first slices of a pass, in ms."""
    assert log.leases.take(LEASE, LEASE_S)
    purge, spent = log.retention.purging(before), 0.0
    for _ in range(SLICES):
        seen, started = purge.seen, time.perf_counter()
        purge.look()
        if purge.seen > seen:  # else it made a table, or replaced the month
            spent += time.perf_counter() - started
    log.leases.release()
    return spent * 1_000_000 / purge.seen


def compared(small: Figures, large: Figures, title: str) -> list[Result]:
    """A row for each kind of work; the small log is the peer."""
    return [row(f"PostgreSQL, a log of {title}: {name}", large[name], small[name]) for name in small]


def row(name: str, ours: float, peer: float) -> Result:
    """At most twice as long."""
    return Result(name, f"{ours:,.1f} ms", f"{peer:,.1f} ms", ours / peer, 2, True)
