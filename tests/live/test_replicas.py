"""Replicas over one PostgreSQL: any of them takes a webhook, all of them tell the same, any of them may die."""

import asyncio
import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from tests import parts, storm
from tests.builders import DAY, KEY, capping, event, fresh_of, make_fleet, memories_of, ms, point
from tests.event_log import purge_all
from tests.gateway import KEY as API_KEY
from tests.gateway import Running
from wawp_exporter.config.load import check
from wawp_exporter.errors import LogError
from wawp_exporter.live import answers
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.log import partitions
from wawp_exporter.log.actions import Action
from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Deleted, Followed
from wawp_exporter.log.insertion import RECENT_MS, Insertion
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.machine import State, Transition
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.shard import shard_of
from wawp_exporter.service.jobs import SHARED_S

S, Q, W, F, X = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"
NUMBERS = count()

Replicas = Callable[..., list[parts.Exporter]]


@pytest.fixture
def database(postgres: parts.Postgres) -> str:
    """The name of an empty database."""
    name = f"replicas_{next(NUMBERS)}"
    postgres.create_database(name)
    return name


@pytest.fixture
def url(postgres: parts.Postgres, database: str) -> str:
    """Where it is."""
    return postgres.database_url(database)


@pytest.fixture
def open_log(url: str) -> Iterator[Callable[..., Log]]:
    """Opens the log as replicas do."""
    with ExitStack() as opened:

        def start() -> Log:
            log = Log(url)
            opened.callback(log.close)
            return log

        yield start


@pytest.fixture
def replicas(url: str, exporter: Callable[..., parts.Exporter]) -> Replicas:
    """Starts so many exporters over the database, or one for each shard given."""

    def start(number: int = 2, shards: Sequence[tuple[int, int]] = (), **config: Any) -> list[parts.Exporter]:
        chosen = list(shards) or [(0, 1)] * number
        made = [{"index": index, "total": total} for index, total in chosen]
        return [exporter({"database": {"url": url}, "shard": shard, **config}) for shard in made]

    return start


def post(replica: parts.Exporter, session: str, status: str = W, ago: float = 60, **more: Any) -> str:
    """Sends a webhook of `ago` seconds before now; the outcome."""
    at = parts.now_ms() - round(ago * 1000)
    body = parts.envelope(session=session, status=status, timestamp=at, statuses=[], **more)
    return str(replica.post(body).raise_for_status().json()["outcome"])


def status_of(replica: parts.Exporter, session: str) -> str | None:
    """The status by the API, None for an unknown session."""
    return replica.get(f"/api/v1/sessions/default/{session}").json().get("status")  # type: ignore[no-any-return]


def series(replica: parts.Exporter, prefix: str) -> dict[str, float]:
    """The samples whose line begins so."""
    lines = [line.rpartition(" ") for line in replica.metrics().splitlines() if line.startswith(prefix)]
    return {name: float(value) for name, _, value in lines}


# -- the log of several


def followed(entries: Sequence[object]) -> list[Followed]:
    """Those that are rows."""
    return [entry for entry in entries if isinstance(entry, Followed)]


def test_rows_become_visible_in_the_order_of_their_numbers(open_log: Callable[..., Log]) -> None:
    """A replica that is slow to commit holds up the next one; whoever follows sees both, each once, none skipped."""
    slow, fast, reader = open_log(), open_log(), open_log()
    begun, done = threading.Event(), threading.Event()

    def append_fast() -> None:
        begun.wait()
        fast.append([event(W, 20, key=("default", "b"))])
        done.set()

    other = threading.Thread(target=append_fast)
    other.start()
    with slow.database.writing() as writer:
        owner = slow.names.settle(writer, {KEY: ms(10)}, 1).ids[KEY]
        slow._appender._store(writer, [(owner, S, ms(10), 0, ms(10), ms(10), None, None, None, None)])
        begun.set()
        assert not done.wait(0.3)
        assert reader.feed.after(Mark(), 10) == ([], Mark(), True)
    other.join()

    rows, place, _ = reader.feed.after(Mark(), 10)

    assert [row.event.session for row in followed(rows)] == [KEY[1], "b"]
    assert [row.rows for row in followed(rows)] == sorted(row.rows for row in followed(rows))
    assert reader.feed.after(place, 10) == ([], place, True)


def test_a_replica_that_stands_still_while_it_writes_is_put_aside(open_log: Callable[..., Log]) -> None:
    """The others append after seconds, and the one that stood still is told that its batch is not in the log."""
    slow, fast = open_log(), open_log()

    with pytest.raises(LogError), slow.database.writing() as writer:  # noqa: PT012 - the transaction is the statement
        slow._appender._store(writer, [(1, S, ms(10), 0, ms(10), ms(10), None, None, None, None)])
        assert fresh_of(fast.append([event(W, 20)])) == [(True,)]
        writer.exec_driver_sql("SELECT 1")

    assert fresh_of(slow.append([event(W, 20), event(F, 30)])) == [(False,), (True,)]


def test_a_point_whose_tie_is_corrected_is_followed_again(open_log: Callable[..., Log]) -> None:
    """A longer history counts more ties; the live state of every replica must know, before it meets what is new.

    The row stays where it was: its number says when it came.
    """
    log, reader = open_log(), open_log()
    (first,) = log.append([event(S, 0)]).rows[0]
    _, place, _ = reader.feed.after(Mark(), 10)

    log.append([event(S, 0, tie=1, before=[point(X, 0)])])

    rows, place, _ = reader.feed.after(place, 10)
    told = [(row.event.own.status, row.event.own.tie, row.rows == (-first,)) for row in followed(rows)]
    assert told == [(S, 1, True), (X, 0, False)]
    assert reader.feed.after(place, 10) == ([], place, True)


@pytest.mark.parametrize("limit", range(1, 6))
def test_what_only_adds_to_a_row_is_followed_after_the_rows_before_it(open_log: Callable[..., Log], limit: int) -> None:
    """It has no row of its own: its place is behind all rows that are there, and ahead of what comes next."""
    log, reader = open_log(), open_log()
    (first,) = log.append([event(S, 0), event(W, 10)]).rows[0]
    assert log.append([event(S, 0, limits=[capping()])]).rows == [(-first,)]
    log.append([event(F, 20), event(F, 20, limits=[capping()])])

    seen, place, done = [], Mark(), False
    while not done:
        rows, place, done = reader.feed.after(place, limit)
        seen += [(row.event.own.status, row.rows[0] > 0, bool(row.event.limits)) for row in followed(rows)]

    assert seen == [(S, True, False), (W, True, False), (S, False, True), (F, True, True)]


DATED_AHEAD = replace(point(S, 10), key_at=ms(400))


@pytest.mark.parametrize(
    ("earlier", "newest"),
    [
        ([event(S, 0), event(Q, 5)], Q),
        ([event(Q, 5, tie=1, before=[point(S, 5)])], Q),
        ([event(S, -30 * DAY)], S),
        ([replace(event(S, 10), points=(DATED_AHEAD,)), event(Q, 20)], Q),
        ([event(S, 0, key=("default", "other"))], None),
    ],
    ids=["recent", "same-millisecond", "a-month-ago", "dated-ahead", "first"],
)
def test_an_append_knows_what_was_newest_of_a_session(
    open_log: Callable[..., Log], earlier: Sequence[StatusEvent], newest: str | None
) -> None:
    """The answer to a sender depends on it, whichever replica stored it and however long ago."""
    first, second = open_log(), open_log()
    first.append(earlier)
    second.restore(["default"])

    before = second.append([event(W, 100)]).before

    assert {key: each.status for key, each in before.items()} == ({KEY: newest} if newest else {})
    assert first.append([event(F, 110)]).before[KEY].status == W
    assert first.append([event(F, 110)]).before == {}


def test_a_defect_with_one_event_of_a_shared_log_costs_the_others_nothing(
    open_log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is answered before this replica follows the log; no defect of it can be had otherwise."""
    step = answers.step

    def broken(state: State | None, item: Point) -> tuple[State, Transition | None]:
        if item.status == F:
            raise RuntimeError
        return step(state, item)

    async def play() -> tuple[list[Outcome], float | None]:
        ingest = Ingest(make_fleet(), open_log(), Telemetry())
        waiting = [ingest.submit(event(status, at, key=("default", status))) for at, status in enumerate((W, F, S))]
        told = await asyncio.gather(*waiting)
        await ingest.close()
        return told, ingest.telemetry.registry.get_sample_value("wawp_exporter_defects_total", {"part": "answer"})

    monkeypatch.setattr(answers, "step", broken)
    assert asyncio.run(play()) == ([Outcome.TRANSITION, Outcome.LATE, Outcome.TRANSITION], 1)


def test_a_defect_with_a_deletion_keeps_nothing_behind_it_from_being_folded(
    open_log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica reads each row once: what it skipped would be wrong until its next start."""

    def broken(*_: object) -> None:
        raise RuntimeError

    async def play() -> tuple[set[Key], float | None]:
        ingest = Ingest(make_fleet(), open_log(), Telemetry())
        monkeypatch.setattr(ingest.fleet, "forget", broken)
        news = [Deleted(KEY, ms(10), 1, change=1), Followed((2,), event(W, 20, key=("default", "behind")))]
        ingest.folding.follow(news, Mark(2, 1))
        known = set(ingest.fleet.sessions)
        await ingest.close()
        return known, ingest.telemetry.registry.get_sample_value("wawp_exporter_defects_total", {"part": "fold"})

    assert asyncio.run(play()) == ({("default", "behind")}, 1)


@pytest.mark.parametrize("after", [[], [event(W, 30)]], ids=["nothing after it", "an event after it"])
def test_a_deletion_that_failed_is_done_by_what_the_log_holds(
    open_log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch, after: list[StatusEvent]
) -> None:
    """A defect must not keep a session alive until the next start; what came after the deletion is kept."""

    async def play() -> dict[Key, str]:
        log = open_log()
        log.append([event(F, 10)])
        ingest = Ingest(make_fleet(), log, Telemetry())
        ingest.folding.follow(*log.feed.after(Mark(), 10)[:2])
        log.forget(KEY, ms(20))
        log.append(after)
        with monkeypatch.context() as patch:
            patch.setattr(ingest.fleet, "_drop", broken)
            ingest.folding.follow(*log.feed.after(ingest.folding.applied, 10)[:2])
        await ingest.close()
        assert ingest.telemetry.registry.get_sample_value("wawp_exporter_defects_total", {"part": "fold"}) == 1
        return {key: session.state.status for key, session in ingest.fleet.sessions.items()}

    def broken(*_: object) -> None:
        raise RuntimeError

    assert asyncio.run(play()) == ({KEY: W} if after else {})


def test_a_session_is_deleted_where_its_first_event_was_not_followed_yet(open_log: Callable[..., Log]) -> None:
    """Whoever was answered 200 by one replica is not answered 404 by another; what is nowhere is."""

    async def play() -> tuple[bool, bool, set[Key]]:
        log = open_log()
        log.append([event(W, 10)])
        ingest = Ingest(make_fleet(), open_log(), Telemetry())
        deleted, unknown = await ingest.forget(KEY), await ingest.forget(("default", "nobody"))
        again = await ingest.forget(KEY)
        ingest.folding.follow(*log.feed.after(Mark(), 10)[:2])
        await ingest.close()
        return deleted, unknown or again, set(ingest.fleet.sessions)

    assert asyncio.run(play()) == (True, False, set())


def test_a_batch_of_known_names_is_one_statement(open_log: Callable[..., Log]) -> None:
    """Each further one would be a round trip, and while the others wait for the lock."""
    log, asked = open_log(), list[str]()
    log.append([event(S, 0)])
    sa.event.listen(log.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    log.append([event(W, 10), event(F, 20), event(F, 20, limits=[capping()])])
    log.append([event(W, 10, limits=[capping()])])

    assert [statement[:10] for statement in asked] == ["WITH given"] * 2


def test_an_append_opens_the_tables_of_the_last_days_only(open_log: Callable[..., Log]) -> None:
    """A log of a year has a table for each month, and opening all of them took most of the time of a batch."""
    log = open_log()
    for month in range(12):
        log.retention.prepare(ms(-month * 30 * DAY))
    log.append([event(S, -200 * DAY), event(W, 0)])

    rows = [(1, F, ms(10), 0, ms(10), ms(10), None, None, None, None, None)]
    given = {"rows": json.dumps(rows), "recent": ms(10) - RECENT_MS}
    with log.database.writing() as writer:
        plan = "\n".join(writer.exec_driver_sql(f"EXPLAIN {Insertion(log.database.statements).text}", given).scalars())

    assert set(re.findall(r" on (event_\w+)", plan)) <= {"event_2026_11", "event_2026_12", "event_default", "event_seq"}


def test_an_append_knows_nothing_of_a_session_before_its_deletion(open_log: Callable[..., Log]) -> None:
    """It begins anew with its next event."""
    log = open_log()
    log.append([event(F, 10)])
    log.forget(KEY, ms(20))

    assert log.append([event(W, 30)]).before == {}
    assert log.append([event(F, 40)]).before[KEY].status == W


def test_a_batch_that_was_refused_leaves_the_next_one_as_it_should_be(
    open_log: Callable[..., Log], postgres: parts.Postgres, database: str
) -> None:
    """Known names are appended without BEGIN; a lost connection must not leave that way of writing to others."""
    log = open_log()
    log.append([event(S, 0)])
    gone = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'"
    postgres.sql(gone)

    with pytest.raises(LogError):
        log.append([event(W, 10)])
    with pytest.raises(LogError), log.database.writing() as writer:  # noqa: PT012 - the transaction is the statement
        log._appender._store(writer, [(1, F, ms(20), 0, ms(20), ms(20), None, None, None, None, None)])
        raise LogError("nothing of it may stay")

    assert fresh_of(log.append([event(S, 0), event(W, 10), event(F, 20)])) == [(False,), (True,), (True,)]


def test_rows_and_deletions_are_followed_in_the_order_in_which_they_came(open_log: Callable[..., Log]) -> None:
    """In slices of any size: what a clock ahead has dated after a deletion belongs to the life before it."""
    log, reader = open_log(), open_log()
    log.append([event(S, 30)])
    log.forget(KEY, ms(1))
    log.append([event(W, 31)])
    log.forget(KEY, ms(2))

    for limit in range(1, 5):
        kinds, place, done = "", Mark(), False
        while not done:
            rows, place, done = reader.feed.after(place, limit)
            kinds += "".join(type(row).__name__[0] for row in rows)

        assert kinds == "FDFD"


def test_following_in_any_slices_gives_every_row_once(open_log: Callable[..., Log]) -> None:
    """In the order of the log."""
    log, reader = open_log(), open_log()
    log.append([event(W, at) for at in range(100)])

    seen, place, done = [], Mark(), False
    while not done:
        rows, place, done = reader.feed.after(place, 7)
        seen += [row.event.own.at for row in followed(rows)]

    assert seen == [ms(at) for at in range(100)]


def test_a_lease_is_held_by_one_and_taken_over_when_it_ends(open_log: Callable[..., Log]) -> None:
    """Or given back."""
    first, second = open_log(), open_log()

    assert [first.leases.take("a", 60), second.leases.take("a", 60), second.leases.take("b", 60)] == [True, False, True]
    first.leases.release()
    assert second.leases.take("a", 0.001)
    parts.wait_until(lambda: first.leases.take("a", 60))


def test_claims_of_one_session_see_each_other(open_log: Callable[..., Log]) -> None:
    """Ten replicas at once, one restart."""
    logs = [open_log() for _ in range(5)]
    logs[0].append([event(F, 0)])

    def once(recent: Sequence[Action]) -> str:
        return "limit" if recent else ""

    found: list[Action] = []
    threads = [
        threading.Thread(target=lambda log=log: found.append(log.actions.claim(KEY, "restart", "A", ms(1), once)))
        for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(action.result for action in found) == ["limit"] * 4 + ["running"]


# -- months


def test_a_database_that_refuses_is_named_without_its_own_severity(postgres: parts.Postgres) -> None:
    """PostgreSQL calls each refusal of a connection FATAL; to the service it is something to try again."""
    with pytest.raises(LogError, match='failed: database "nowhere" does not exist') as refused:
        Log(postgres.database_url("nowhere"))

    assert "FATAL" not in str(refused.value)


def test_events_lie_in_the_partition_of_their_month(open_log: Callable[..., Log], postgres: Any, database: str) -> None:
    """A month that is made later takes what waited for it in the default partition."""
    log = open_log()
    log.append([event(W, 0)])
    log.retention.prepare(ms(0))
    log.append([event(F, 1), event(W, 90 * 86_400)])

    query = "SELECT tableoid::regclass, count(*) FROM event GROUP BY 1 ORDER BY 1"
    assert postgres.sql(query, database) == "event_default|1\nevent_2026_11|2"


def test_a_month_is_dropped_when_all_of_it_is_old(open_log: Callable[..., Log], postgres: Any, database: str) -> None:
    """What was received later, and what a live state rests on, stays."""
    log = open_log()
    log.retention.prepare(ms(0))
    log.append([event(S, 0), event(W, 10), event(F, 20, key=("default", "late"), received=40 * 86_400)])
    log.save(list(memories_of(log.restore(["default"])).items()), 3)
    log.append([event(X, 5, key=("default", "gone"))])
    log.forget(("default", "gone"), ms(60))
    next_month = partitions.unix_ms(partitions.after(partitions.month_of(ms(0))))

    assert purge_all(log, next_month - 1) == 0
    assert purge_all(log, next_month) == 1
    assert purge_all(log, next_month) == 0

    assert "event_2026_11" not in postgres.sql("SELECT relname FROM pg_class WHERE relname LIKE 'event_2%'", database)
    assert set(memories_of(log.restore(["default"]))) == {KEY, ("default", "late")}


# -- replicas


def test_what_one_replica_is_told_all_of_them_tell(replicas: Replicas) -> None:
    """Statuses, since-times and episodes are equal; each counts a transition once."""
    a, b = replicas(2)
    assert [post(a, "s", S, 60), post(b, "s", Q, 50), post(a, "s", Q, 40), post(b, "s", Q, 55)] == [
        "transition",
        "transition",
        "repeat",
        "late",
    ]
    parts.wait_until(lambda: status_of(a, "s") == status_of(b, "s") == Q)

    def told(replica: parts.Exporter) -> dict[str, float]:
        names = ("status{", "status_since", "auth_required_since", "down_since", "transitions_total")
        return {line: value for name in names for line, value in series(replica, f"wawp_session_{name}").items()}

    parts.wait_until(lambda: told(a) == told(b))
    assert sum(value for line, value in told(a).items() if "transitions_total" in line) == 2


def test_an_event_that_goes_to_two_replicas_is_one(replicas: Replicas) -> None:
    """The database decides; one answer is `transition`, the other `duplicate`."""
    a, b = replicas(2)
    at = parts.now_ms() - 5000
    body = parts.encode(parts.envelope(session="s", timestamp=at, statuses=[]))

    assert sorted(replica.post(body).json()["outcome"] for replica in (a, b)) == ["duplicate", "transition"]

    parts.wait_until(lambda: status_of(a, "s") and status_of(b, "s"))
    for replica in (a, b):
        assert storm.transitions_of(replica) == 1


def test_a_late_event_corrects_the_since_time_of_every_replica(replicas: Replicas) -> None:
    """Whichever of them it goes to."""
    a, b = replicas(2)
    post(a, "s", W, 30)
    parts.wait_until(lambda: status_of(b, "s"))

    assert post(b, "s", W, 90) == "late"

    since = 'wawp_session_status_since_timestamp_seconds{source="default",session="s"}'
    for replica in (a, b):
        parts.wait_until(lambda replica=replica: series(replica, since)[since] < time.time() - 80)


def test_a_deletion_holds_everywhere_and_newer_events_begin_anew(replicas: Replicas) -> None:
    """Its series vanish from every replica; a late event does not bring it back."""
    a, b = replicas(2)
    post(a, "s", F, 60)
    parts.wait_until(lambda: status_of(b, "s"))

    assert b.client.delete(f"{b.url}/api/v1/sessions/default/s").status_code == 204
    parts.wait_until(lambda: status_of(a, "s") is None)
    assert post(a, "s", W, 30) == "late"
    assert status_of(a, "s") is status_of(b, "s") is None

    assert post(a, "s", W, 0) == "transition"
    parts.wait_until(lambda: status_of(a, "s") == status_of(b, "s") == W)


def test_a_sign_of_life_reaches_every_replica(replicas: Replicas) -> None:
    """Else a session whose messages go elsewhere would be taken for silent."""
    a, b = replicas(2)
    post(a, "s", W, 600)
    heard = 'wawp_session_last_event_timestamp_seconds{source="default",session="s"}'
    parts.wait_until(lambda: series(b, heard))  # it has followed the log to there
    before = series(b, heard)[heard]
    time.sleep(1.1)  # seconds are what is exported, and the next sign must be another one

    a.post({"event": "message", "session": "s", "payload": {}}).raise_for_status()

    parts.wait_until(lambda: series(b, heard)[heard] > before)


def test_a_probe_reaches_every_replica(replicas: Replicas, running: Running, tmp_path: Path) -> None:
    """One of them probes; the problem, its end and the metrics are everywhere within seconds."""
    (tmp_path / "key").write_text(API_KEY)
    (tmp_path / "number").write_text("447700900123")
    running.gateway.sessions, running.gateway.whatsapp = {"s": W}, False
    api = {"url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "1h"}
    probe = {"interval": "1s", "number_file": str(tmp_path / "number")}
    both = replicas(2, sources={"default": {"allow_unsigned": True, "api": api, "probe": probe}})
    problem = 'problem="unresponsive"'
    success = 'wawp_session_probe_success{source="default",session="s"}'

    for replica in both:
        parts.wait_until(lambda replica=replica: problem in replica.metrics())
        assert series(replica, success)[success] == 0
    running.gateway.whatsapp = True
    for replica in both:
        parts.wait_until(lambda replica=replica: problem not in replica.metrics())
        parts.wait_until(lambda replica=replica: series(replica, success)[success] == 1)


def test_what_is_known_of_messages_is_shared_within_5_seconds() -> None:
    """One replica writes at its next round, then the other one reads at its own: at most two whole periods."""
    assert 2 * SHARED_S < 5


def test_messages_are_counted_by_all_replicas_together(replicas: Replicas) -> None:
    """Each of them says the same within seconds, also of what was acknowledged at another one."""
    a, b = replicas(2)
    post(a, "s", W, 600)
    parts.wait_until(lambda: status_of(b, "s"))
    count = 'wawp_session_messages_total{{source="default",session="s",direction="{}"}}'
    since = 'wawp_session_unacknowledged_since_timestamp_seconds{source="default",session="s"}'
    first, second = (
        {"event": "message.any", "session": "s", "payload": {"id": f"true_1@c.us_{key}", "fromMe": True, "ack": 0}}
        for key in "AB"
    )

    a.post(first).raise_for_status()
    b.post(second).raise_for_status()
    b.post({"event": "message", "session": "s", "payload": {"id": "false_1@c.us_C"}}).raise_for_status()

    for each in (a, b):
        parts.wait_until(lambda: series(each, count.format("out")).get(count.format("out")) == 2)  # noqa: B023 - at once
        parts.wait_until(lambda: series(each, count.format("in")).get(count.format("in")) == 1)  # noqa: B023 - same
        parts.wait_until(lambda: series(each, since)[since] > 0)  # noqa: B023 - same
    # An error ends one message only, an acknowledgement all of them.
    for key, ack in (("A", -1), ("A", 1)):
        told = {"id": f"true_1@c.us_{key}", "fromMe": True, "ack": ack}
        b.post({"event": "message.ack", "session": "s", "payload": told}).raise_for_status()
    parts.wait_until(lambda: series(a, since)[since] == series(b, since)[since] == 0)


def test_a_message_that_comes_before_its_session_was_followed_is_counted(replicas: Replicas) -> None:
    """A session's first event is known here at once only as a row of the log: a message may come in between."""
    a, b = replicas(2)
    count = 'wawp_session_messages_total{source="default",session="s",direction="in"}'

    post(a, "s", W, 600)
    for each, key in ((a, "A"), (b, "B"), (b, "C")):
        told = {"event": "message", "session": "s", "payload": {"id": f"false_1@c.us_{key}"}}
        each.post(told).raise_for_status()

    parts.wait_until(lambda: all(series(each, count).get(count) == 3 for each in (a, b)))


def test_an_acknowledgement_at_one_replica_ends_a_problem_at_both(replicas: Replicas) -> None:
    """The judge uses only what is shared."""
    a, b = replicas(2, thresholds={"undelivered": "1s"})
    post(a, "s", W, 600)
    parts.wait_until(lambda: status_of(a, "s") and status_of(b, "s"))  # a message of an unknown session is not counted
    told = {"id": "true_1@c.us_A", "fromMe": True, "timestamp": round(time.time()) - 60}
    problem = re.compile(r'problem="undelivered"')

    a.post({"event": "message.any", "session": "s", "payload": {**told, "ack": 0}}).raise_for_status()
    parts.wait_until(lambda: all(problem.search(each.metrics()) for each in (a, b)))

    b.post({"event": "message.ack", "session": "s", "payload": {**told, "ack": 1}}).raise_for_status()
    parts.wait_until(lambda: not any(problem.search(each.metrics()) for each in (a, b)))


def test_a_message_at_one_replica_ends_a_silence_at_both(
    replicas: Replicas, postgres: parts.Postgres, database: str
) -> None:
    """Both find it by the counts that they share; five weeks of 30 an hour, and for four hours none."""
    a, b = replicas()
    for name in ("dead", "v", "w", "x", "y", "z"):
        post(a, name, W, 48 * 3600)
    parts.wait_until(lambda: status_of(a, "z") and status_of(b, "z"))
    a.stop()
    b.stop()
    now = parts.now_ms()
    hour, long_ago = now // 3_600_000 * 3600, now - 36 * 86_400_000
    counts = f"SELECT id, {hour} - 3600 * ago, 30, 0 FROM session, generate_series(0, 839) AS ago"
    postgres.sql(f"INSERT INTO activity {counts} WHERE name <> 'dead' OR ago >= 4", database)
    last = f"{now} - CASE name WHEN 'dead' THEN 14400000 ELSE 0 END"
    postgres.sql(f"INSERT INTO traffic SELECT id, 900, 0, {last}, 0, 0, {now} FROM session", database)
    postgres.sql(f"INSERT INTO run (started_at, seen_at) VALUES ({long_ago}, {now})", database)

    a.start()
    b.start()
    silent = re.compile(r'session="dead".*problem="silent"')
    parts.wait_until(lambda: all(silent.search(each.metrics()) for each in (a, b)))
    b.post({"event": "message", "session": "dead", "payload": {"id": "false_1@c.us_A"}}).raise_for_status()

    parts.wait_until(lambda: not any(silent.search(each.metrics()) for each in (a, b)))


def test_a_gateway_that_another_replica_accepts_is_not_refused(replicas: Replicas) -> None:
    """While keys are changed one replica may know the new one before the other does."""
    first, second = replicas()
    refused = 'wawp_exporter_refused_since_timestamp_seconds{reason="malformed",source="default"}'
    second.post(b"[]")
    assert series(second, refused)[refused] > 0

    post(first, "a")

    parts.wait_until(lambda: series(second, refused)[refused] == 0, "the acceptance at the other replica")


def test_each_transition_is_streamed_once_whichever_replica_is_asked(replicas: Replicas) -> None:
    """Also to a reader who goes on at another one."""
    a, b = replicas(2)

    def streamed(replica: parts.Exporter, wanted: int, after: str = "") -> list[str]:
        headers = {"Last-Event-ID": after} if after else {}
        ids: list[str] = []
        url = f"{replica.url}/api/v1/events"
        with (
            httpx.Client(timeout=None, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            for line in answer.iter_lines():
                ids += [line.removeprefix("id: ")] if line.startswith("id: ") else []
                if not ids and not after and not line:
                    threading.Thread(target=send).start()
                if len(ids) == wanted:
                    return ids
        raise AssertionError("the stream ended")

    def send() -> None:
        for number in range(6):
            post((a, b)[number % 2], f"s{number % 3}", (W, F)[number // 3], 60 - number)

    first = streamed(a, 3)
    rest = streamed(b, 3, first[-1])

    assert len({*first, *rest}) == 6


# -- shards

SOURCES = ("eu", "us", "br", "in")
ON_TWO = {"eu": 0, "us": 1, "br": 0, "in": 1}


def placed(on: Mapping[str, int | None]) -> dict[str, Any]:
    """Sources, each on the shard that is chosen for it."""
    return {source: {"allow_unsigned": True, "shard": shard} for source, shard in on.items()}


def send(replica: parts.Exporter, source: str, session: str, status: str) -> None:
    """A webhook of a minute ago."""
    body = parts.envelope(session=session, status=status, timestamp=parts.now_ms() - 60_000, statuses=[])
    replica.post(body, source=source).raise_for_status()


def exported(replica: parts.Exporter) -> dict[tuple[str, str], str]:
    """The status of every session that has series, by source and name."""
    lines = [line for line, value in series(replica, "wawp_session_status{").items() if value]
    return {(label(line, "source"), label(line, "session")): label(line, "status") for line in lines}


def reload(replica: parts.Exporter, sources: Mapping[str, Any]) -> None:
    """Puts other sources in force."""
    replica.write({**replica.config, "sources": sources})
    os.kill(replica.pid, signal.SIGHUP)


def label(line: str, name: str) -> str:
    """The value of a label."""
    return line.split(f'{name}="')[1].split('"', maxsplit=1)[0]


def test_a_source_is_whole_on_one_shard(replicas: Replicas) -> None:
    """So one replica sees how many of its sessions are lost at once; any replica takes any webhook and answers."""
    a, b = shards = replicas(shards=[(0, 2), (1, 2)], sources=placed(ON_TWO))
    for number in range(20):
        send(shards[number % 2], SOURCES[number % 4], f"s{number}", W)

    parts.wait_until(lambda: len(exported(a)) + len(exported(b)) == 20)

    for index, replica in enumerate(shards):
        assert {source for source, _ in exported(replica)} == {source for source in SOURCES if ON_TWO[source] == index}
        assert all(f'shard="{index}"' in line for line in series(replica, "wawp_sessions{"))
        answers = {replica.get(f"/api/v1/sessions/{SOURCES[n % 4]}/s{n}/ready").status_code for n in range(20)}
        assert answers == {200}


def test_without_a_choice_its_name_decides_where_a_source_is() -> None:
    """The same on every replica and after every restart."""
    sections = {"sources": placed(dict.fromkeys(SOURCES)), "shard": {"total": 3}}
    config = check({**sections, "database": {"url": "postgresql://db/wawp"}}).config

    assert shard_of(config).held(SOURCES) == [source for source in SOURCES if crc32(source.encode()) % 3 == 0]


def test_a_source_that_a_reload_brings_comes_to_its_shard_with_its_past(replicas: Replicas) -> None:
    """The other shards do not take it; what came before is in the log."""
    a, b = replicas(shards=[(0, 2), (1, 2)], sources=placed({"eu": 0, "us": 1}))
    send(a, "us", "old", F)
    parts.wait_until(lambda: exported(b))
    for replica in (a, b):
        reload(replica, placed({"eu": 0}))
    parts.wait_until(lambda: not exported(b))
    for replica in (a, b):
        reload(replica, placed({"eu": 0, "us": 1, "in": 1}))
    parts.wait_until(lambda: exported(b) == {("us", "old"): F})
    send(a, "in", "new", W)

    parts.wait_until(lambda: exported(b) == {("us", "old"): F, ("in", "new"): W})
    assert exported(a) == {}


def test_messages_are_counted_whichever_shard_they_come_to(replicas: Replicas) -> None:
    """Any replica takes any webhook: what it hears of another shard's sessions it hands on through the log."""
    own, other = replicas(shards=[(0, 2), (1, 2)], sources={"default": {"shard": 0}}, thresholds={"undelivered": "1s"})
    post(own, "s", W, 600)
    parts.wait_until(lambda: series(own, "wawp_session_status{"))
    count = 'wawp_session_messages_total{{source="default",session="s",direction="{}"}}'
    problem = 'problem="undelivered"'

    def message(replica: parts.Exporter, event: str = "message.any", **payload: Any) -> None:
        told = {"id": "true_1@c.us_A", "fromMe": True, "timestamp": round(time.time()) - 60, **payload}
        replica.post({"event": event, "session": "s", "payload": told}).raise_for_status()

    message(own, ack=0)
    message(other, ack=0, id="true_1@c.us_B")
    message(other, "message", fromMe=False, id="false_1@c.us_C")
    parts.wait_until(lambda: series(own, count.format("out")).get(count.format("out")) == 2)
    parts.wait_until(lambda: series(own, count.format("in")).get(count.format("in")) == 1)
    parts.wait_until(lambda: problem in own.metrics())

    message(other, "message.ack", ack=1)
    parts.wait_until(lambda: problem not in own.metrics())
    assert 'session="s"' not in other.metrics()


def test_a_group_is_right_when_its_members_are_on_several_shards(replicas: Replicas) -> None:
    """The counts add up over the shards, and any replica knows who serves."""
    members = [f"{SOURCES[number % 4]}/m{number}" for number in range(6)]
    shards = replicas(shards=[(0, 2), (1, 2)], groups={"g": members}, sources=placed(ON_TWO))
    for number in range(6):
        send(shards[number % 2], SOURCES[number % 4], f"m{number}", F if number < 4 else W)

    def total(name: str) -> float:
        return sum(sum(series(replica, f"wawp_group_{name}{{").values()) for replica in shards)

    parts.wait_until(lambda: total("working_sessions") == 2)
    assert [total("sessions"), total("eligible_sessions")] == [6, 6]
    for replica in shards:
        assert series(replica, "wawp_group_configured_sessions{") == {'wawp_group_configured_sessions{group="g"}': 6}
        assert replica.get("/api/v1/groups/g/active").json()["session"] == "m4"


def test_a_shard_of_another_count_begins_with_what_the_old_ones_kept(replicas: Replicas) -> None:
    """Resharding is a restart."""
    old = replicas(shards=[(0, 2), (1, 2)], sources=placed(ON_TWO))
    for number in range(20):
        send(old[0], SOURCES[number % 4], f"s{number}", (W, F, X)[number % 3])
    parts.wait_until(lambda: sum(len(exported(replica)) for replica in old) == 20)
    before = {key: status for replica in old for key, status in exported(replica).items()}
    for replica in old:
        replica.stop()

    new = replicas(shards=[(0, 3), (1, 3), (2, 3)], sources=placed({"eu": 2, "us": 1, "br": 0, "in": 0}))

    assert {key: status for replica in new for key, status in exported(replica).items()} == before
    assert {source for source, _ in exported(new[2])} == {"eu"}


MARKS = "SELECT total, shard, source, seq FROM watermark ORDER BY total, shard"


@pytest.fixture
def older(postgres: parts.Postgres, database: str, url: str) -> str:
    """A log of the version before, which spread each source over its shards: two have saved, of three only one."""
    Log(url).close()
    postgres.sql("DROP TABLE judged, judge, activity, traffic, pending, hash_key", database)
    postgres.sql("DROP INDEX session_standing", database)
    postgres.sql("CREATE INDEX session_folded ON session (source, standing) WHERE standing = 0", database)
    postgres.sql("ALTER TABLE event DROP COLUMN former", database)
    postgres.sql("ALTER TABLE change DROP COLUMN revision", database)
    for name in ("probed_at", "probe_took_ms", "probe_failures", "probe_failing"):
        postgres.sql(f"ALTER TABLE heard DROP COLUMN {name}", database)
    postgres.sql("UPDATE alembic_version SET version_num = '0008'", database)
    marks = ["(1, 0, 'a', 4, 1)", "(2, 0, 'a', 9, 2)", "(2, 1, 'a', 7, 3)", "(3, 0, 'a', 99, 9)"]
    postgres.sql(f"INSERT INTO watermark (total, shard, source, seq, change) VALUES {', '.join(marks)}", database)
    return url


def test_marks_of_older_shards_become_the_least_of_them(older: str, postgres: parts.Postgres, database: str) -> None:
    """The mark of one shard would cover sessions that another one has not saved yet."""
    Log(older).close()

    assert postgres.sql(MARKS, database).split() == ["1|0|a|4", "2|0|a|7", "2|1|a|7"]


def test_shards_are_not_rearranged_while_older_replicas_run(
    older: str, postgres: parts.Postgres, database: str
) -> None:
    """They follow a part of each source only, and would save marks for all of it."""
    seen = parts.now_ms() - 20_000
    postgres.sql(f"INSERT INTO run (started_at, seen_at) VALUES (0, {seen})", database)

    with pytest.raises(LogError, match=r"older version.*: stop all of them"):
        Log(older)

    assert len(postgres.sql(MARKS, database).split()) == 4
    postgres.sql(f"UPDATE run SET seen_at = {seen - 40_000}", database)
    Log(older).close()


# -- faults


def test_nothing_is_lost_or_counted_twice_while_things_break(
    replicas: Replicas, postgres: parts.Postgres, database: str
) -> None:
    """Kills, a crashing database, cut connections and a pause, under load."""
    three = replicas(3)
    gateways = storm.Gateways(three, 40, seed=1)
    disasters = storm.Disasters(three, postgres, database, seed=2)
    order = random.Random(3).sample(disasters.all, k=4)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(gateways.run())
            for number, disaster in enumerate(order, 1):
                await gateways.until(100 * number)
                await asyncio.to_thread(disaster)
            await gateways.until(500)
            gateways.done = True

    asyncio.run(run())

    assert gateways.retries
    steady = [replica for index, replica in enumerate(three) if index not in disasters.restarted]
    storm.judge(gateways, postgres, database, steady)


def test_readiness_tells_the_truth(replicas: Replicas, postgres: parts.Postgres) -> None:
    """Without the database nobody is ready, nothing is acknowledged, and metrics go on; with it all are again."""
    two = replicas(2)
    post(two[0], "s", W, 60)
    parts.wait_until(lambda: status_of(two[0], "s") == status_of(two[1], "s") == W)
    postgres.stop("immediate")
    try:
        assert two[0].post(parts.envelope(session="s", status=F)).status_code == 503
        for replica in two:
            parts.wait_until(lambda replica=replica: replica.get("/-/ready").status_code == 503)
            assert 'session="s"' in replica.metrics()
    finally:
        postgres.start()

    for replica in two:
        parts.wait_until(lambda replica=replica: replica.get("/-/ready").status_code == 200)
    assert post(two[1], "s", F, 0) == "transition"
    parts.wait_until(lambda: status_of(two[0], "s") == F)
