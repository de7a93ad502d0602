"""Whether the service keeps what it promises: the log, and what each replica tells, held against each other."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import httpx

from soak import log
from soak.counters import SOURCES, appends_wrong, counters_wrong, remember
from soak.fold import STATUSES, Standing
from soak.problems import outages_wrong, problems_wrong, shared, synced
from soak.series import Series, parse
from soak.twin import twin_wrong
from soak.world import Replica, World
from tests import parts

DEFECTS = re.compile(
    r"Traceback|upkeep failed|request failed|not answered|never retrieved|Exception in|Unhandled|Fatal|critical|assert",
    re.IGNORECASE,
)
SINCE = {
    "wawp_session_status_since_timestamp_seconds": "since",
    "wawp_session_auth_required_since_timestamp_seconds": "auth",
    "wawp_session_down_since_timestamp_seconds": "down",
}
AGREE_S = 60.0  # a busy machine may need some of it; what is really wrong stays so


def judge(world: World, *, twin: bool = False) -> None:
    """Lets all come to rest, then looks at everything; with `twin` also at what a restart would judge."""
    with world.gate.closed():
        if ready(world):
            settled(world)
            if twin and not world.server:
                world.ledger.break_all(twin_wrong(world))
        for replica in world.replicas:
            for line in replica.new_lines():
                if DEFECTS.search(line):
                    world.ledger.break_("defect", line.strip()[:300])


def ready(world: World) -> bool:
    """Whether each replica says so, within a minute: nothing is wrong now."""
    for number, replica in enumerate(world.replicas):
        try:
            parts.wait_until(replica.ready, timeout=60)
        except (TimeoutError, parts.StartError) as error:
            world.ledger.break_("ready", f"replica {number}: {str(error)[:200]}")
            return False
    return True


def settled(world: World) -> None:
    """Compares until nothing is wrong, or some seconds have passed: corrections and other replicas take a moment."""
    end = time.monotonic() + AGREE_S
    while True:
        found = log.read(world.url)
        seen = {replica: scrape(replica) for replica in world.replicas}
        wrong = [*log_wrong(world, found), *seen_wrong(world, seen, found)]
        if not wrong or time.monotonic() > end:
            break
        time.sleep(0.3)
    world.ledger.break_all(wrong)
    world.rows = (len(found.numbers), found.last)
    for replica, series in seen.items():
        if series:
            remember(replica, series)


def scrape(replica: Replica) -> Series:
    """What it exports; empty if that cannot be read."""
    began = time.monotonic()
    try:
        series = parse(replica.metrics())
    except (httpx.HTTPError, ValueError):
        return {}
    replica.life.scraped = (began, time.monotonic())
    return series


def seen_wrong(world: World, seen: dict[Replica, Series], found: log.Read) -> Iterator[tuple[str, str]]:
    """What is wrong with what the replicas export, each by itself and all together."""
    for replica, series in seen.items():
        if series:
            yield from replica_wrong(world, replica, series, found)
        else:
            yield "metrics", "cannot be read"
    told = [shared(series) for series in seen.values()]
    for number, each in enumerate(told[1:], 1):
        if each != told[0]:
            only = dict(each.items() ^ told[0].items())
            yield "replicas", f"0 and {number} differ: {str(only)[:300]}"


def log_wrong(world: World, found: log.Read) -> Iterator[tuple[str, str]]:
    """Each acknowledged event is in the log once, and what its history told too."""
    for name, news in list(world.ledger.news.items()):
        rows = found.ids[name] if isinstance(name, str) else found.keys[name]
        # Without a time of its own, an event may share the ms of its receipt, and so its row, with another one.
        if rows != 1 and not (isinstance(name, str) and not news and not rows):
            yield "log", f"{name} was acknowledged and is in the log {rows} times"
    for key in list(world.ledger.told):
        if found.keys[key] != 1:
            yield "log", f"{key} of an acknowledged history is in the log {found.keys[key]} times"
    rows, last = world.rows
    kept = sum(number <= last for number in found.numbers)
    if kept != rows and not world.server:  # there, a row that is told more gets another number
        yield "log", f"{rows} rows were there, {kept} of them are left"
    for what in found.wrong_times:
        yield "time", what


def replica_wrong(world: World, replica: Replica, series: Series, found: log.Read) -> Iterator[tuple[str, str]]:
    """What a replica exports is the fold of the log, and its counters are what it answered."""
    exported, expected = standings(series), found.standings(world.restart_ms)
    for session in exported.keys() | expected.keys():
        if exported.get(session) != expected.get(session):
            yield "fold", f"{session} is exported as {exported.get(session)}, the log says {expected.get(session)}"
    yield from counts_wrong(series, exported)
    yield from counters_wrong(replica, series, found.tombstones)
    if not world.server:
        yield from appends_wrong(replica, series, world.url)
    if synced(series) == set(SOURCES):
        if time.monotonic() > world.clock.waits_until:
            yield from problems_wrong(world, series, found)
        yield from outages_wrong(world, series)
    else:
        yield "synced", f"{synced(series)}"


def standings(series: Series) -> dict[log.Session, Standing]:
    """What the gauges of the sessions tell."""
    found: dict[log.Session, Standing] = {}
    for (name, labels), value in series.items():
        if name == "wawp_session_status" and value == 1:
            given = dict(labels)
            found[given["source"], given["session"]] = Standing(given["status"], 0)
    for (name, labels), value in series.items():
        if name in SINCE:
            given = dict(labels)
            session = (given["source"], given["session"])
            told = {**found.get(session, Standing("", 0))._asdict(), SINCE[name]: round(value * 1000)}
            found[session] = Standing(**told)
    return found


def counts_wrong(series: Series, exported: dict[log.Session, Standing]) -> Iterator[tuple[str, str]]:
    """The fleet's counts are those of its sessions."""
    counts = Counter(standing.status for standing in exported.values())
    for status in STATUSES:
        told = sum(v for (n, labels), v in series.items() if n == "wawp_sessions" and dict(labels)["status"] == status)
        if told != counts[status]:
            yield "fleet", f"wawp_sessions {status} is {told}, of sessions {counts[status]}"
