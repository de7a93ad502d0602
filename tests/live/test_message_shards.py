"""Messages that come to replicas of another shard: their own shard learns of all of them, and of nothing else."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from tests import parts
from tests.builders import config
from tests.live.test_message_law import Known, Pair, known_of, play_out
from tests.live.test_replica_law import Replica, of_now
from wawp_exporter.errors import LogError
from wawp_exporter.live import elsewhere
from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.names import OVER
from wawp_exporter.log.tables import pending, session, traffic
from wawp_exporter.model.activity import MAX_PENDING
from wawp_exporter.model.event import Ack, Direction, Message
from wawp_exporter.model.rules import Rules

KEY = ("default", "a")
NUMBERS = count()
IN, OUT = Direction
SENT = Message(OUT, 0, Ack.PENDING, "1")
ACKED = Message(None, 0, Ack.SERVER, "1")
FAILED = Message(None, 0, Ack.ERROR, "1")

Story = Callable[[Replica, Replica], Coroutine[Any, Any, None]]


def of_shard(url: str, index: int) -> Replica:
    """A replica of one of two shards: the first holds the session's source."""
    sources = {"default": {"shard": 0}, "b": {"shard": 1}}
    replica = Replica(url, Rules(config(sources=sources, shard={"index": index, "total": 2}, database={"url": url})))
    replica.ingest.messages.restore(replica.log.shard.sources)
    return replica


@asynccontextmanager
async def shards(url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two shards, and a session of the first."""
    own, other = of_shard(url, 0), of_shard(url, 1)
    try:
        await own.ingest.submit(of_now(KEY))
        await settle(own, other)
        yield own, other
    finally:
        for each in (own, other):
            await each.end_it()


async def settle(*replicas: Replica) -> None:
    """They follow all of the log."""
    for each in replicas:
        await each.settle()


def hear(replica: Replica, *messages: Message, now: int = 0) -> None:
    """Messages of the session."""
    replica.ingest.messages.hear(KEY, messages, now or unix_now())


async def share(*replicas: Replica) -> None:
    """One after another, as their rounds come."""
    for each in replicas:
        await each.ingest.messages.share()


def rows(replica: Replica, table: sa.Table) -> list[Any]:
    """What the log has."""
    with replica.log.database.reading() as reader:
        return list(reader.execute(sa.select(table)))


@pytest.fixture
def play(postgres: parts.Postgres) -> Callable[[Story], None]:
    """Runs a story of two shards of one log."""

    def run(story: Story) -> None:
        async def told() -> None:
            async with shards(postgres.create_database(f"message_shards_{next(NUMBERS)}")) as (own, other):
                await story(own, other)

        asyncio.run(told())

    return run


Play = Callable[[Story], None]


@pytest.mark.parametrize("end", [ACKED, FAILED], ids=["acknowledged", "an error"])
@pytest.mark.parametrize("first", ["message", "end"])
def test_an_acknowledgement_at_another_shard_ends_its_message_whichever_comes_first(
    play: Play, end: Message, first: str
) -> None:
    """The load balancer brings one here and the other there, side by side."""

    async def story(own: Replica, other: Replica) -> None:
        now = unix_now()
        if first == "message":
            hear(own, SENT, now=now - 10)
            await share(own)
        hear(other, end, now=now)
        await share(other)
        if first == "end":
            hear(own, SENT, now=now + 10)
            await share(own, other, other)
        await share(own)

        assert rows(own, pending) == []
        assert own.fleet.activity[KEY].unacknowledged == 0
        assert not own.ingest.messages.heeding.waiting

    play(story)


def test_what_waits_is_bounded_also_where_another_shard_writes_it(play: Play) -> None:
    """A source that sends no acknowledgements would fill the table."""

    async def story(own: Replica, other: Replica) -> None:
        for number in range(500):
            hear(other, Message(OUT, 0, Ack.PENDING, f"m{number}"))
            if number % 50 == 49:
                await share(other)
        await share(own)

        assert len(rows(own, pending)) == MAX_PENDING
        assert len(own.fleet.activity[KEY].pending) == MAX_PENDING

    play(story)


def test_many_repeated_messages_do_not_keep_others_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to be written of their sessions, but they take a place until the next round."""
    monkeypatch.setattr(elsewhere, "MAX_SESSIONS", 1)

    async def story(own: Replica, other: Replica) -> None:
        other.ingest.messages.hear(("default", "unknown"), [Message(None, 0, Ack.PENDING, "1")], unix_now())
        await share(other)
        hear(other, SENT)
        await share(other, own)

        assert own.fleet.activity[KEY].sent == 1

    play(story)


def test_another_shard_keeps_nothing_of_a_session_once_it_is_written(play: Play) -> None:
    """A large fleet's names would pile up there. What cannot be written waits, and counts once."""

    async def story(own: Replica, other: Replica) -> None:
        store, fails = other.log.messages.store, True

        def stored(*args: Any) -> None:
            if fails:
                raise LogError("the disk is full")
            store(*args)

        other.log.messages.store = stored  # type: ignore[method-assign]  # a fault that cannot be had otherwise
        hear(other, Message(IN), SENT)
        await share(other)
        hear(other, Message(IN))
        assert len(other.ingest.messages._elsewhere) == 1
        fails = False

        await share(other, other, own)

        activity = own.fleet.activity[KEY]
        assert (activity.received, activity.sent, len(activity.pending)) == (2, 1, 1)
        assert (len(other.ingest.messages._elsewhere), other.fleet.activity) == (0, {})

    play(story)


def test_names_that_the_log_does_not_fold_are_not_created_by_messages(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the key may send any name. There is room for so many between two writes."""
    monkeypatch.setattr(elsewhere, "MAX_SESSIONS", 3)

    async def story(own: Replica, other: Replica) -> None:
        with own.log.database.writing() as writer:
            writer.execute(sa.update(session).values(standing=int(OVER)))
        hear(other, Message(IN))
        for number in range(5):
            other.ingest.messages.hear(("default", f"unknown {number}"), [Message(IN)], unix_now())
        assert len(other.ingest.messages._elsewhere) == 3

        await share(other)

        assert [row.name for row in rows(own, session)] == ["a"]
        assert rows(own, traffic) == []

    play(story)


@pytest.mark.parametrize("known", [False, True])
def test_what_came_to_another_shard_before_a_deletion_is_not_of_the_next_life(play: Play, known: bool) -> None:
    """Whether it has followed the deletion already or not; what comes after the next write is."""

    async def story(own: Replica, other: Replica) -> None:
        hear(other, Message(IN), SENT)
        assert await own.ingest.forget(KEY)
        if known:
            await settle(other)
        hear(other, Message(IN))
        await own.ingest.submit(of_now(KEY))
        await settle(own)

        await share(other)

        assert (rows(own, traffic), rows(own, pending)) == ([], [])
        await settle(other)
        hear(other, Message(IN))
        await share(other, own)
        assert own.fleet.activity[KEY].received == 1

    play(story)


def test_what_was_heard_before_the_session_was_followed_comes_before_what_is_heard_after(play: Play) -> None:
    """An acknowledgement ends the messages before it and none after it, also if some of them waited."""

    async def story(own: Replica, _: Replica) -> None:
        key, now = ("default", "new"), unix_now()
        await own.ingest.submit(of_now(key))
        own.ingest.messages.hear(key, [SENT], now - 30)
        await settle(own)
        own.ingest.messages.hear(key, [Message(None, 0, Ack.SERVER, "of another")], now - 20)
        await share(own)
        assert own.fleet.activity[key].unacknowledged == 0

        own.ingest.messages.hear(key, [Message(OUT, now - 10, Ack.PENDING, "later")], now - 10)
        await share(own)
        assert own.fleet.activity[key].unacknowledged == now - 10

    play(story)


def test_a_deletion_at_another_shard_does_not_keep_its_judge_behind(play: Play) -> None:
    """It never follows that deletion, so it must not wait for it: time would not pass for its judge any more."""

    async def story(own: Replica, other: Replica) -> None:
        assert await other.ingest.forget(KEY)

        assert not other.ingest.folding.rehearing.active
        await settle(own)
        assert own.fleet.sessions == {}

    play(story)


class Apart(Pair):
    """The same with a replica of each of two shards: any takes any message."""

    def begin(self) -> Replica:
        """The first is of the first shard, the second of the second, and so on."""
        self.begun = getattr(self, "begun", -1) + 1
        return of_shard(self.url, self.begun % 2)

    async def agree(self) -> None:
        """All is followed and written: what each knows of its own sessions, it would know after a restart."""
        for replica in self.replicas:
            await replica.settle()
        for _ in range(3):  # what is over at one may be pending by the log, until that is read and written
            await share(*self.replicas)
        anew = [self.begin(), self.begin()]
        try:
            before, after = all_of(self.replicas), all_of(anew)
            assert before == after
        finally:
            for each in anew:
                await each.end_it()


def all_of(replicas: list[Replica]) -> Known:
    """What they know of messages, each of its own sessions."""
    return {key: known for each in replicas for key, known in known_of(each.fleet).items()}


@pytest.mark.parametrize("seed", range(int(os.environ.get("WAWP_REPLICA_SEEDS", "3"))))
def test_shards_know_after_a_restart_what_they_knew_before(postgres: parts.Postgres, seed: int) -> None:
    """Whichever shard the messages came to, amid deletions."""
    asyncio.run(play_out(Apart(postgres.create_database(f"message_shard_law_{seed}"), Random(seed)), seed))
