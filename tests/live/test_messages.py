"""What becomes of messages: counts, times, what is not acknowledged, and nothing else, on a running service."""

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import parts
from tests.builders import DAY, HOUR, KEY, event, ms
from tests.dialects.test_messages import (
    CHAT,
    ID,
    NAME,
    PHONE,
    TEXT,
    evolution,
    openwa,
    openwa_ack,
    update,
    waha,
    wppconnect,
)
from tests.live.test_ingest import ingesting
from wawp_exporter.errors import LogError
from wawp_exporter.live.counting import DIGEST_BYTES, Recent
from wawp_exporter.live.early import EARLY_MS, MAX_EARLY, Early
from wawp_exporter.live.heeding import HEARD_MS, UNPROVEN, Heard
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.unwritten import MAX_GONE, Unwritten
from wawp_exporter.log.log import Log
from wawp_exporter.model.activity import MAX_PENDING, Activity, Sent
from wawp_exporter.model.event import Ack, Direction, Message
from wawp_exporter.simulator.gateway import Options
from wawp_exporter.simulator.player import Simulation
from wawp_exporter.simulator.scenarios import scenario

SESSION = 'source="default",session="s"'
COUNT = "wawp_session_messages_total"
LAST = "wawp_session_last_message_timestamp_seconds"
SINCE = "wawp_session_unacknowledged_since_timestamp_seconds"
PROBLEM = "wawp_session_problem_since_timestamp_seconds"
PACE = 0.05
IN, OUT = Direction

Start = Callable[..., parts.Exporter]


def values(exporter: parts.Exporter, name: str) -> dict[str, float]:
    """The samples of a metric, by the labels after those of the session."""
    found = re.findall(rf"^{name}\{{{SESSION},?([^}}]*)\}} (\S+)$", exporter.metrics(), re.M)
    return {labels: float(value) for labels, value in found}


def problems(exporter: parts.Exporter) -> set[str]:
    """The exported problems."""
    return set(re.findall(rf'^{PROBLEM}\{{.*problem="(\w+)"', exporter.metrics(), re.M))


def send(exporter: parts.Exporter, kind: str = "message.any", ago: float = 0, **payload: Any) -> None:
    """An event about a message, sent `ago` seconds ago."""
    told = waha(kind, **{"timestamp": round(time.time() - ago), **payload})
    answer = exporter.post(told)
    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})


def incoming(exporter: parts.Exporter, key: str = ID) -> None:
    """An incoming message."""
    send(exporter, "message", fromMe=False, id=f"false_1@c.us_{key}")


@pytest.fixture
def working(exporter: Start) -> parts.Exporter:
    """A service that knows of one WORKING session; time for the judge passes fast."""
    made = exporter({"thresholds": {"undelivered": "2s"}}, pace=PACE)
    made.post(parts.envelope(session="s", status="WORKING")).raise_for_status()
    return made


@pytest.mark.parametrize(
    ("name", "expected"), [("zombie", {"undelivered"}), ("half-dead", set()), ("quiet-holiday", set())]
)
def test_the_exporter_knows_of_simulated_messages_what_was_sent(exporter: Start, name: str, expected: set[str]) -> None:
    """Counts, last times, and what is not acknowledged are those of the plan; only a session that is dead is named."""
    service = exporter({"thresholds": {"undelivered": "1s"}}, pace=PACE)
    options = Options(url=f"{service.url}/webhook", pace=0, start_at=time.time() - 900, concurrency=8)
    report = asyncio.run(Simulation(scenario(name, 1, sessions=3), options).play())
    found = re.findall(
        r'^(wawp_session_\w+)\{source="default",session="([^"]+)"([^}]*)\} (\S+)$', service.metrics(), re.M
    )
    known = {(metric, session, labels): float(value) for metric, session, labels, value in found}

    assert report.ok
    for session, its in report.expected.sessions.items():
        said = its.messages
        assert known[COUNT, session, ',direction="in"'] == said.received
        assert known[COUNT, session, ',direction="out"'] == said.sent
        assert known[LAST, session, ',direction="in"'] == said.last_received
        assert known[LAST, session, ',direction="out"'] == said.last_sent
        assert known[SINCE, session, ""] == said.unacknowledged
    if expected:
        parts.wait_until(lambda: problems(service) == expected)
    assert problems(service) == expected


def test_messages_are_counted_once_they_are_seen(working: parts.Exporter) -> None:
    """By direction; an event that reports one again, or a retry, counts nothing."""
    assert (values(working, COUNT), values(working, LAST), values(working, SINCE)) == ({}, {}, {})

    incoming(working)
    send(working, "message.any", fromMe=False, id=f"false_1@c.us_{ID}")
    incoming(working, "another")

    assert values(working, COUNT) == {'direction="in"': 2}
    assert set(values(working, LAST)) == {'direction="in"'}
    assert values(working, SINCE) == {}
    send(working, id="true_1@c.us_own", ago=60)
    send(working, id="true_1@c.us_own", ago=60)
    assert values(working, COUNT) == {'direction="in"': 2, 'direction="out"': 1}
    assert 55 < time.time() - values(working, SINCE)[""] < 10_000
    send(working, "message.ack", id="true_1@c.us_own", ack=1)
    assert values(working, SINCE) == {"": 0}


def test_an_own_message_and_an_incoming_one_are_two(working: parts.Exporter) -> None:
    """Also if both have the same id, as in the examples of WAHA's documentation."""
    send(working, fromMe=False, id="false_11111111111@c.us_AAAAAAAAAAAAAAAAAAAA")

    send(working, fromMe=True, id="true_11111111111@c.us_AAAAAAAAAAAAAAAAAAAA")

    assert values(working, COUNT) == {'direction="in"': 1, 'direction="out"': 1}


def test_a_message_of_an_unknown_session_creates_nothing(working: parts.Exporter) -> None:
    """Only a status makes a session."""
    working.post(waha() | {"session": "unknown"}).raise_for_status()

    assert 'session="unknown"' not in working.metrics()


@pytest.mark.parametrize(
    "end",
    [{"id": "true_1@c.us_other", "ack": 3}, {"id": "true_1@c.us_lost", "ack": -1}],
    ids=["any acknowledgement", "an error"],
)
def test_a_message_that_nobody_acknowledges_is_a_problem(working: parts.Exporter, end: dict[str, Any]) -> None:
    """While the session says WORKING; the check before a send says so too, and what ends it."""
    ready = f"{working.url}/api/v1/sessions/default/s/ready"
    assert working.client.get(ready).status_code == 200

    send(working, id="true_1@c.us_lost", ago=30)

    parts.wait_until(lambda: problems(working) == {"undelivered"})
    answer = working.client.get(ready)
    assert answer.status_code == 503
    assert "does not acknowledge" in answer.json()["error"]
    send(working, "message.ack", **end)
    parts.wait_until(lambda: problems(working) == set())
    assert working.client.get(ready).status_code == 200


def test_the_session_page_says_what_came_and_what_does_not_leave(working: parts.Exporter) -> None:
    """In words, with the limits; so does the API, and the page of the fleet."""
    incoming(working)
    send(working, id="true_1@c.us_lost", ago=30)
    parts.wait_until(lambda: problems(working) == {"undelivered"})

    page = re.sub(r"<[^>]+>", "", working.get("/sessions/default/s").text)
    assert "messages are not delivered since" in page
    assert re.search(r"1 received, the last \S+ ago; 1 sent, the last \S+ ago", page)
    assert re.search(r"Unacknowledgeda message of \S+ ago", page)
    assert "undelivered 2s, quiet 50 messages" in page
    assert "messages are not delivered" in working.get("/").text
    (found,) = working.get("/api/v1/problems").json()["problems"]
    assert (found["session"], found["problem"]) == ("s", "undelivered")


def test_an_acknowledgement_may_come_before_its_message(working: parts.Exporter) -> None:
    """Gateways send webhooks side by side, and again when one fails; then nothing is missing."""
    send(working, "message.ack", id="true_1@c.us_fast", ack=1)

    send(working, id="true_1@c.us_fast")

    assert values(working, SINCE) == {"": 0}


def test_an_acknowledgement_before_a_later_message_does_not_count_for_it(working: parts.Exporter) -> None:
    """It says that the server was heard until then."""
    send(working, id="true_1@c.us_first", ago=10)
    send(working, "message.ack", id="true_1@c.us_first", ack=2)

    send(working, id="true_1@c.us_second")

    assert values(working, SINCE)[""] > 0


def test_a_restart_goes_on_with_what_was_known(working: parts.Exporter) -> None:
    """Counters do not fall, and an alert is not withdrawn."""
    incoming(working)
    send(working, id="true_1@c.us_lost", ago=30)
    parts.wait_until(lambda: problems(working) == {"undelivered"})
    before = values(working, SINCE)
    working.stop()

    working.start()

    assert problems(working) == {"undelivered"}
    assert values(working, COUNT) == {'direction="in"': 1, 'direction="out"': 1}
    assert values(working, SINCE) == before
    send(working, "message.ack", id="true_1@c.us_lost", ack=1)
    parts.wait_until(lambda: problems(working) == set())


def test_what_was_sent_before_a_pause_is_not_waited_for(exporter: Start) -> None:
    """Its acknowledgement may have come meanwhile; what was a problem before stays one."""
    service = exporter({"thresholds": {"undelivered": "1h"}}, pace=PACE)
    for session in ("s", "lost"):
        long_ago = parts.now_ms() - 3 * HOUR * 1000
        service.post(parts.envelope(session=session, status="WORKING", timestamp=long_ago)).raise_for_status()
    send(service)
    service.post(waha(timestamp=round(time.time()) - HOUR - 60) | {"session": "lost"}).raise_for_status()
    parts.wait_until(lambda: problems(service) == {"undelivered"})
    service.stop()
    with closing(sqlite3.connect(service.directory / "wawp.db", isolation_level=None)) as log:
        log.execute("UPDATE run SET started_at = started_at - 120000, seen_at = seen_at - 120000")

    service.start()

    assert values(service, SINCE) == {"": 0}
    assert problems(service) == {"undelivered"}


def test_a_deleted_session_takes_its_messages_along(working: parts.Exporter) -> None:
    """Afterwards it starts afresh."""
    incoming(working)
    send(working, id="true_1@c.us_lost", ago=30)
    parts.wait_until(lambda: problems(working) == {"undelivered"})

    assert working.client.delete(f"{working.url}/api/v1/sessions/default/s").status_code == 204

    assert (values(working, COUNT), problems(working)) == ({}, set())
    working.post(parts.envelope(session="s", status="WORKING", timestamp=parts.now_ms() + 1000)).raise_for_status()
    incoming(working, "new")
    assert values(working, COUNT) == {'direction="in"': 1}


def everything_told(exporter: parts.Exporter) -> Iterator[str]:
    """All that anybody can read of the service: log lines, metrics, pages, API and stream."""
    yield exporter.stderr
    yield exporter.metrics()
    yield exporter.client.get(f"{exporter.url}/metrics", headers={"Accept": "application/openmetrics-text"}).text
    for path in (
        "/", "/sessions/default/s", "/sessions/evolution/s", "/sessions/openwa/s", "/sessions/wppconnect/s", "/audit",
        "/api/v1/sessions",
        "/api/v1/problems", "/api/v1/transitions", "/api/v1/audit", "/api/v1/sessions/default/s",
    ):  # fmt: skip
        answer = exporter.get(path)
        assert answer.status_code == 200, path
        yield answer.text
    yield exporter.client.get(f"{exporter.url}/api/v1/sessions/default/s/ready").text
    yield "\n".join(streamed(exporter))


def streamed(exporter: parts.Exporter) -> Iterator[str]:
    """The lines of the event stream up to the last transition."""
    stream = exporter.client.stream("GET", f"{exporter.url}/api/v1/events", headers={"Last-Event-ID": "0"})
    with stream as answer:
        lines = answer.iter_lines()
        while True:
            line = next(lines)
            yield line
            if '"wppconnect"' in line:
                return


KINDS = {
    "waha": [
        waha(), waha("message", fromMe=False), waha("message.ack", ack=1), waha("message.ack", ack=-1),
        waha("message.reaction"), waha("presence.update"), waha("message.any", ack="x", timestamp=None),
        waha(id=f"true_{CHAT}_{ID}B", timestamp=None),
    ],
    "evolution": [
        evolution(), evolution("send.message"), evolution("messages.update", update()), evolution("presence.update"),
        evolution("messages.update", update(status="ERROR")), evolution("contacts.upsert", [{"pushName": NAME}]),
    ],
    "wppconnect": [
        wppconnect(), wppconnect("onmessage", fromMe=False), wppconnect("onack", ack=1), wppconnect("onack", ack=-3),
        wppconnect("onpresencechanged"), wppconnect("onreactionmessage"),
    ],
    "openwa": [
        openwa(), openwa("message.received", fromMe=False), openwa_ack(), openwa_ack("message.failed", status="failed"),
        openwa_ack("message.receipt", participant=CHAT), openwa("message.edited"), openwa("message.reaction"),
    ],
}  # fmt: skip


def test_nothing_of_a_message_is_found_anywhere(exporter: Start, tmp_path: Path) -> None:
    """A marked text, number, name and id through every kind of event: not in a log line, a row, a label, a page."""
    sources = {"default": {}, **{name: {"dialect": name} for name in ("evolution", "openwa", "wppconnect")}}
    config = {"sources": sources, "log": {"level": "debug"}, "thresholds": {"undelivered": "1s"}}
    service = exporter(config, pace=PACE)
    started = {"event": "status-find", "session": "s", "status": "inChat"}
    ready = {"event": "session.status", "sessionId": "s", "data": {"status": "ready"}}
    service.post(parts.envelope(session="s", status="WORKING")).raise_for_status()
    service.post({"event": "connection.update", "instance": "s", "data": {"state": "open"}}, source="evolution")
    service.post(ready, source="openwa")
    service.post(started, source="wppconnect")
    for dialect, bodies in KINDS.items():
        for body in bodies:
            answer = service.post(body, source=None if dialect == "waha" else dialect)
            assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
            for broken in (body | {"event": 7}, body | {"session": None, "instance": None, "sessionId": None}):
                answer = service.post(broken, source=None if dialect == "waha" else dialect)
                assert not [each for each in (TEXT, PHONE, NAME, ID) if each in answer.text]
    parts.wait_until(lambda: problems(service) == {"undelivered"})
    told = list(everything_told(service))
    for source in ("openwa", "wppconnect"):
        assert f'wawp_session_messages_total{{source="{source}",session="s",direction="out"}} 1' in told[1]

    service.stop()

    kept = [path.read_bytes().decode("latin-1") for path in service.directory.rglob("*") if path.is_file()]
    found = [each for each in (TEXT, PHONE, NAME, ID) if any(each in text for text in (*told, *kept))]
    assert found == []
    assert any("traffic" in text for text in kept)  # the database was among them


def test_ids_are_remembered_for_a_minute_or_two() -> None:
    """Long enough for retries, and no longer."""
    recent = Recent()

    recent.add("a", 100.0)
    assert "a" in recent
    recent.add("b", 161.0)
    assert "a" in recent
    recent.add("c", 222.0)

    assert ("a" in recent, "b" in recent, "c" in recent) == (False, True, True)


def alone(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test on an event loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


class Full(Log):
    """A log on a disk that is full for a while."""

    full = False

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        store = self.messages.store

        def stored(*args: Any) -> None:
            if self.full:
                raise LogError("the disk is full")
            store(*args)

        self.messages.store = stored  # type: ignore[method-assign]  # a fault that cannot be had otherwise


async def hear(ingest: Ingest, *messages: Message, now: int = 0) -> None:
    """Messages of the one session."""
    ingest.messages.hear(KEY, messages, now or parts.now_ms())


@asynccontextmanager
async def known(folder: Path, **config: Any) -> AsyncIterator[Ingest]:
    """The write path of a log with one WORKING session."""
    async with ingesting(folder, Full, **config) as ingest:
        await ingest.submit(event("WORKING", received=0))
        yield ingest


def rows(ingest: Ingest, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table, without who and when they were written."""
    with ingest.log.database.reading() as reader:
        return [tuple(row)[1:] for row in reader.execute(sa.text(f"SELECT * FROM {table}"))]


@alone
async def test_counts_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    """Nothing is lost, and nothing counts twice."""
    now = parts.now_ms()
    async with known(tmp_path) as ingest:
        await hear(ingest, Message(IN), Message(OUT, now, Ack.PENDING, "a"), Message(OUT, now, Ack.PENDING, "b"))
        Full.full = True
        await ingest.messages.share()
        Full.full = False
        await hear(ingest, Message(IN), Message(None, 0, Ack.ERROR, "a"))

        await ingest.messages.share()

        ((_, received, sent),) = rows(ingest, "activity")
        assert (received, sent) == (2, 2)
        assert rows(ingest, "traffic")[0][:2] == (2, 2)
        ((digest, *times),) = rows(ingest, "pending")
        assert now == times[0] <= times[1]
        assert len(digest) == 2 * DIGEST_BYTES


@alone
async def test_a_stop_amid_the_writing_counts_nothing_twice(tmp_path: Path) -> None:
    """The thread writes to the end whatever becomes of the task that waits for it."""
    async with known(tmp_path) as ingest:
        await hear(ingest, *[Message(IN)] * 5)
        begun, cancelled, store = threading.Event(), threading.Event(), ingest.log.messages.store

        def slowly(*args: Any) -> None:
            begun.set()
            cancelled.wait()
            store(*args)

        ingest.log.messages.store = slowly  # type: ignore[method-assign]  # so that the stop comes in the middle
        sharing = asyncio.create_task(ingest.messages.share())
        await asyncio.to_thread(begun.wait)
        sharing.cancel()
        await asyncio.sleep(0)
        cancelled.set()
        await asyncio.gather(sharing, return_exceptions=True)

        await ingest.messages.share()

        assert rows(ingest, "traffic")[0][:2] == (5, 0)


@alone
async def test_so_many_messages_of_a_session_wait_for_an_acknowledgement(tmp_path: Path) -> None:
    """The oldest is what counts; all of them are counted, and one acknowledgement ends them."""
    now = parts.now_ms()
    async with known(tmp_path) as ingest:
        sent = [Message(OUT, now, Ack.PENDING, f"{number}") for number in range(MAX_PENDING + 50)]
        await hear(ingest, *sent, now=now)
        await ingest.messages.share()

        assert len(ingest.fleet.activity[KEY].pending) == len(rows(ingest, "pending")) == MAX_PENDING
        assert ingest.fleet.activity[KEY].sent == MAX_PENDING + 50
        await hear(ingest, Message(None, 0, Ack.SERVER, "unknown"), now=now + 1)
        await ingest.messages.share()
        assert rows(ingest, "pending") == []


def test_an_acknowledgement_that_was_heard_early_ends_nothing_that_was_sent_after_it() -> None:
    """It waited for its session, while a later message came to another replica. Without this nobody waits for that."""
    activity = Activity()
    for digest, heard_at in (("before", 90), ("after", 200)):
        activity.await_ack(digest, Sent(heard_at, heard_at))

    assert set(activity.acknowledge(100)) == {"before"}

    assert (set(activity.pending), activity.acked_at) == ({"after"}, 100)


def test_an_acknowledgement_in_the_millisecond_of_the_one_before_ends_the_message_between_them() -> None:
    """The message between them got the next millisecond, so that the times tell the order."""
    activity = Activity()
    activity.acknowledge(100)
    activity.await_ack("between", Sent(100, 101))

    assert set(activity.acknowledge(100)) == {"between"}

    assert activity.acked_at == 101


def test_what_a_source_has_sent_last_is_the_newest_whatever_the_order() -> None:
    """What waited for its session is heard later than what came after it."""
    heard = Heard()
    for now in (200, 100):
        heard.count(OUT, now)
        heard.hear_of_ack(now)

    assert (heard.message_at, heard.acked_at) == (200, 200)


def test_so_many_messages_wait_for_sessions_that_are_not_known_yet() -> None:
    """Not so many webhooks: each may bring a thousand."""
    early, large = Early(), [Message(IN)] * (MAX_EARLY - 1)

    early.add(KEY, large, 1)
    early.add(("default", "another"), large, 1)
    early.add(KEY, [Message(IN)], EARLY_MS)

    assert (len(early), list(early)) == (MAX_EARLY, [KEY])
    early.expire(EARLY_MS + 1)
    assert len(early) == 1
    assert early.take(KEY) == [([Message(IN)], EARLY_MS)]
    assert (len(early), list(early)) == (0, [])


def test_what_waits_to_be_written_is_bounded() -> None:
    """While the database is away somebody could send errors of messages that do not exist."""
    unwritten, activity = Unwritten(), Activity()

    for number in range(MAX_GONE + 5):
        unwritten.end(KEY, activity, f"{number}")

    assert len(unwritten.news({KEY: activity}, 0).gone) == MAX_GONE


@alone
async def test_counts_of_hours_are_kept_as_long_as_a_habit_is_remembered(tmp_path: Path) -> None:
    """Five weeks, and the hour in which they begin."""
    now = parts.now_ms()
    async with known(tmp_path) as ingest:
        for days in (40, 34, 0):
            await hear(ingest, Message(IN), now=now - days * DAY * 1000)
        await ingest.messages.share()
        assert len(rows(ingest, "activity")) == 3

        await ingest.cleaning.purge_hours(now)

        assert len(rows(ingest, "activity")) == 2


@alone
async def test_hours_are_those_of_the_time_zone(tmp_path: Path) -> None:
    """In India they begin at half past, by the world's clock."""
    async with known(tmp_path, timezone="Asia/Kolkata") as ingest:
        await hear(ingest, Message(IN), now=ms(0))  # 11:06:40 in Greenwich
        await hear(ingest, Message(IN), now=ms(1800))  # 11:36:40
        await ingest.messages.share()

        assert [hour % HOUR for hour, _, _ in rows(ingest, "activity")] == [1800, 1800]


@alone
async def test_a_source_that_never_acknowledges_is_not_waited_for(tmp_path: Path) -> None:
    """Somebody may subscribe to messages alone: then each of them would be missing. The first few do not show it."""
    async with known(tmp_path) as ingest:
        judge, sent = ingest.fleet.judge, parts.now_ms() - 60_000
        for number in range(UNPROVEN - 1):
            await hear(ingest, Message(OUT, sent, Ack.PENDING, f"{number}"))
        await ingest.messages.share()
        assert judge.cases[KEY].unacknowledged == sent

        await hear(ingest, Message(OUT, sent, Ack.PENDING, "one too many"))
        await ingest.messages.share()
        assert KEY not in judge.cases

        await hear(ingest, Message(None, 0, Ack.SERVER, "0"), Message(OUT, sent + 1, Ack.PENDING, "later"))
        await ingest.messages.share()
        assert judge.cases[KEY].unacknowledged == sent + 1


@alone
async def test_a_message_is_given_up_after_a_day(tmp_path: Path) -> None:
    """What was never acknowledged by then never will be."""
    async with known(tmp_path) as ingest:
        old = parts.now_ms() - DAY * 1000
        await hear(ingest, Message(OUT, old + 500, Ack.PENDING, "old"), Message(OUT, old - 500, Ack.PENDING, "older"))
        assert [sent.at for sent in ingest.fleet.activity[KEY].pending.values()] == [old + 500]
        ingest.fleet.activity[KEY].expire(old + DAY * 1000 + 1000)

        assert ingest.fleet.activity[KEY].unacknowledged == 0


@alone
async def test_a_silence_ends_when_its_source_sends_no_messages_any_more(tmp_path: Path) -> None:
    """After a week; and at a replica that was away when a message came to another one."""
    async with known(tmp_path) as ingest:
        fleet, now = ingest.fleet, parts.now_ms()
        await hear(ingest, Message(IN, now - 7200_000))
        fleet.hearing.overhear(KEY, quiet=now - 7200_000)
        await ingest.messages.share()
        assert fleet.judge.cases[KEY].quiet

        ingest.messages.heeding.source("default").message_at -= HEARD_MS
        ingest.messages.heeding.listen()
        await ingest.messages.share()
        assert KEY not in fleet.judge.cases

        await hear(ingest, Message(IN))
        await ingest.messages.share()
        fleet.hearing.overhear(KEY, quiet=now - 7200_000)
        await ingest.messages.share()
        assert KEY not in fleet.judge.cases


@alone
async def test_a_source_without_messages_for_a_week_is_deaf(tmp_path: Path) -> None:
    """Who sends `session.status` alone is silent for days, and is well."""
    config = {"thresholds": {"silent": "60s"}}
    async with known(tmp_path, **config) as ingest:
        fleet = ingest.fleet
        ingest.messages.restore(["default"])
        assert fleet.sessions[KEY].meta.limits.silent == 0
        assert fleet.sessions[KEY].meta.silent == 0

        await hear(ingest, Message(IN))
        await ingest.messages.share()
        assert fleet.sessions[KEY].meta.limits.silent == 60_000

        ingest.messages.heeding.source("default").message_at -= HEARD_MS
        ingest.messages.heeding.listen()
        assert fleet.sessions[KEY].meta.limits.silent == 0


@alone
async def test_no_silence_is_older_than_the_first_message_of_its_source(tmp_path: Path) -> None:
    """Until then only `session.status` came: whoever subscribes to messages must not be paged for all sessions."""
    async with known(tmp_path, thresholds={"silent": "60s"}) as ingest:
        ingest.messages.restore(["default"])
        await ingest.submit(event("WORKING", key=("default", "another")))
        now = parts.now_ms()

        ingest.messages.hear(("default", "another"), [Message(IN)], now)
        await ingest.messages.share()

        heard = ingest.fleet.judge.cases[KEY].heard
        assert now <= heard <= parts.now_ms()
        assert not ingest.fleet.sessions[KEY].silent(heard + 60_000)
        ingest.fleet.advance(heard + 60_001, time.monotonic())
        assert ingest.fleet.sessions[KEY].silent(heard + 60_001)
