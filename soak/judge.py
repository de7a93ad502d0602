"""Whether the service keeps what it promises: the log, and what each replica tells, held against each other."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import httpx

from soak import log
from soak.fold import STATUSES, Standing
from soak.world import Replica, World
from tests import parts

DEFECTS = re.compile(
    r"Traceback|upkeep failed|request failed|not answered|never retrieved|Exception in|Unhandled|Fatal|critical|assert",
    re.IGNORECASE,
)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPED = {r"\n": "\n", r"\"": '"', r"\\": "\\"}
OUTCOMES = ("transition", "repeat", "duplicate", "late", "ignored")
SINCE = {
    "wawp_session_status_since_timestamp_seconds": "since",
    "wawp_session_auth_required_since_timestamp_seconds": "auth",
    "wawp_session_down_since_timestamp_seconds": "down",
}
AGREE_S = 15.0
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def judge(world: World) -> None:
    """Lets all come to rest, then looks at everything."""
    with world.gate.closed():
        if ready(world):
            settled(world)
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
        wrong = [*log_wrong(world, found), *(each for r in world.replicas for each in replica_wrong(r, found))]
        if not wrong or time.monotonic() > end:
            break
        time.sleep(0.3)
    for kind, what in wrong:
        world.ledger.break_(kind, what)


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
    for what in found.wrong_times:
        yield "time", what


def replica_wrong(replica: Replica, found: log.Read) -> Iterator[tuple[str, str]]:
    """What a replica exports is the fold of the log, and its counters are what it answered."""
    try:
        series = parse(replica.metrics())
    except (httpx.HTTPError, ValueError) as error:
        yield "metrics", f"not readable: {error!r}"
        return
    exported, expected = standings(series), found.standings()
    for session in exported.keys() | expected.keys():
        if exported.get(session) != expected.get(session):
            yield "fold", f"{session} is exported as {exported.get(session)}, the log says {expected.get(session)}"
    yield from counts_wrong(series, exported)
    yield from answers_wrong(replica, series)
    yield from fallen(replica, series)


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


def answers_wrong(replica: Replica, series: Series) -> Iterator[tuple[str, str]]:
    """Each answer was counted once; what became of a request without an answer is not known."""
    for source in ("default", "b", "old"):
        for outcome in OUTCOMES:
            labels = (("outcome", outcome), ("source", source))
            told, seen = series["wawp_exporter_webhooks_total", labels], replica.life.outcomes[source, outcome]
            if not seen <= told <= seen + replica.life.unknown:
                yield "counters", f"{source} {outcome}: {told} counted, {seen} seen, {replica.life.unknown} not known"


def fallen(replica: Replica, series: Series) -> Iterator[tuple[str, str]]:
    """A counter never falls during a life; those of a session may end with it."""
    for (name, labels), value in series.items():
        if name.endswith(("_total", "_bucket", "_count")) and not name.startswith(("wawp_session_", "python_")):
            key = f"{name}{labels}"
            if value < replica.life.counters.get(key, 0) - 1e-6:
                yield "counters", f"{key} fell from {replica.life.counters[key]} to {value}"
            replica.life.counters[key] = value


def parse(text: str) -> Series:
    """Prometheus' text as samples; ValueError for one that is there twice."""
    found: Series = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        head, _, value = line.rpartition(" ")
        name, _, rest = head.partition("{")
        labels = ((key, re.sub(r"\\.", lambda m: ESCAPED[m[0]], text)) for key, text in LABEL.findall(rest))
        series = (name, tuple(sorted(labels)))
        if series in found:
            raise ValueError(f"twice: {series}")
        found[series] = float(value)
    return found
