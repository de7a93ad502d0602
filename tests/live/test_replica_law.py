"""Replicas of one log: whatever they take, follow, save and delete, in whatever order, in the end they say the same.

The law of `tests/log/test_restart.py` with two of them: gateways whose clocks are ahead, histories cut within a
millisecond, retries, deletions, saves that fail, and kills.
"""

import asyncio
import os
from random import Random

import pytest

from tests import parts
from tests.live.test_ingest import Failing
from tests.log.test_restart import BRISK, KEYS, Gateway, Told, idle, judged, ordered, rules_of, told
from tests.stories import Step, story
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.restoring import restore
from wawp_exporter.log.database import Mark
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key, Rules

STEPS = 25
SOURCES = ["b", "default"]


class Replica:
    """One process's write path and fold; its follower moves when the story says so."""

    def __init__(self, url: str, rules: Rules | None = None) -> None:
        rules = rules or rules_of(SOURCES)
        self.fleet = Fleet(rules, BRISK)
        self.log = Failing(url, rules.shard)
        self.ingest = Ingest(self.fleet, self.log, Telemetry())
        self.end: Mark = restore(self.fleet, self.log, rules.shard.held(SOURCES)).mark
        self.ingest.folding.restored(self.end)
        self.ingest.folding.horizon = lambda: 0  # it follows when the story says so: for the judge events pass the time
        self.fleet.awaken(99, unix_now(), 0)

    async def follow(self, limit: int) -> bool:
        """Folds so many rows of what is new; whether that was all."""
        entries, self.end, done = await asyncio.to_thread(self.log.feed.after, self.end, limit)
        self.ingest.folding.follow(entries, self.end)
        return done

    async def settle(self) -> None:
        """Folds all there is, late events too."""
        while not await self.follow(100):
            pass
        while self.ingest.folding.corrections._tasks:
            await asyncio.wait(self.ingest.folding.corrections._tasks)
        await idle(self.ingest)

    async def end_it(self) -> None:
        """As killed: nothing is saved."""
        await self.ingest.folding.corrections.close()
        await self.ingest.folding.rehearing.close()
        self.log.close()
        self.ingest.access.close()

    @property
    def live(self) -> Told:
        """What it says of each session."""
        return told({key: each.memory for key, each in self.fleet.sessions.items()})


class World:
    """What happens to two replicas. With `in_order` nothing comes late, and who deletes has followed the log."""

    def __init__(self, url: str, draw: Random, *, in_order: bool) -> None:
        self.url = url
        self.in_order = in_order
        self.draw = draw
        self.replicas = [Replica(url), Replica(url)]
        self.gateways = [Gateway(key, draw, in_order=in_order) for key in KEYS]

    @property
    def any(self) -> Replica:
        """One of them."""
        return self.draw.choice(self.replicas)

    async def events(self) -> None:
        """Some at once, to either."""
        sent = (self.draw.choice(self.gateways).event() for _ in range(self.draw.randrange(1, 6)))
        if self.in_order:
            for each in sent:
                await self.any.ingest.submit(each)
        else:
            await asyncio.gather(*(self.any.ingest.submit(each) for each in sent))

    async def follow(self) -> None:
        """One of them folds a few rows."""
        await self.any.follow(self.draw.randrange(1, 6))

    async def save(self) -> None:
        """One of them keeps what it knows, if the other does not."""
        await self.any.ingest.saving.save()

    async def save_fails(self) -> None:
        """At one of its writes."""
        replica = self.any
        replica.log.fail_after = self.draw.randrange(2)
        await replica.ingest.saving.save()
        replica.log.fail_after = 99

    async def delete(self) -> None:
        """Events come before and after it."""
        if self.in_order:
            await self.agree()
            await self.any.ingest.forget(self.draw.choice(KEYS))
            return
        coming = asyncio.create_task(self.events())
        await self.any.ingest.forget(self.draw.choice(KEYS))
        await coming

    async def kill(self) -> None:
        """Another process takes its place, with what the log gives back, and says the same as the other replica."""
        index = self.draw.randrange(2)
        await self.replicas[index].end_it()
        self.replicas[index] = Replica(self.url)
        await self.agree()

    async def end(self) -> None:
        """They agree, whichever of them began anew."""
        await self.agree()
        for _ in range(2):
            await self.kill()

    async def agree(self) -> None:
        """Both have followed all of the log: they say what its rows say in their order."""
        for replica in self.replicas:
            await replica.settle()
        first, second = (replica.live for replica in self.replicas)
        assert first == second
        assert {key: each[0] for key, each in first.items()} == ordered(self.replicas[0].log)
        now = unix_now()
        one, other = (judged(replica.fleet, now) for replica in self.replicas)
        assert one == other


def of_now(key: Key) -> StatusEvent:
    """A status of this millisecond."""
    now = unix_now()
    return StatusEvent(*key, (Point("WORKING", now, 0, now),), now)


async def play(url: str, seed: int) -> None:
    """One story."""
    draw = Random(seed)
    world = World(url, draw, in_order=seed % 2 == 0)
    kinds: list[Step] = [
        *[world.events] * 6,
        *[world.follow] * 4,
        world.save,
        world.save_fails,
        world.delete,
        world.kill,
    ]
    try:
        await story(seed, draw, kinds, STEPS, world.end)
    finally:
        for replica in world.replicas:
            await replica.end_it()


@pytest.mark.parametrize("seed", range(int(os.environ.get("WAWP_REPLICA_SEEDS", "3"))))
def test_replicas_say_the_same_and_what_the_log_says(postgres: parts.Postgres, seed: int) -> None:
    """Also when one of them has begun anew from what either of them saved."""
    asyncio.run(play(postgres.create_database(f"replica_law_{seed}"), seed))


def test_a_deletion_and_the_return_of_the_session_do_not_lock_each_other_out(postgres: parts.Postgres) -> None:
    """One replica deletes it while another takes its next event: PostgreSQL would end one of two that wait in a circle.

    The name is decided about anew when it comes back, and its row belongs to both.
    """
    names = [("default", name) for name in "abc"]

    async def check(replicas: list[Replica]) -> None:
        for number in range(12):
            taking, deleting = replicas[number % 2], replicas[1 - number % 2]
            for _ in range(2):
                coming = [taking.ingest.submit(of_now(key)) for key in names]
                going = [asyncio.ensure_future(deleting.ingest.forget(key)) for key in names]
                await asyncio.gather(*coming, *going)
            for replica in replicas:
                await replica.settle()

    async def run() -> None:
        url = postgres.create_database("replica_deletions")
        replicas = [Replica(url), Replica(url)]
        try:
            await check(replicas)
        finally:
            for replica in replicas:
                await replica.end_it()

    asyncio.run(run())
