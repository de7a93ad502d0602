"""A law: a restart, and another replica, knows of messages exactly what is known here, in each life of a session.

Over messages of both directions, acknowledgements, errors, counts that cannot be written, deletions before, after and
amid the writing, names that are folded anew, and kills.
"""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest

from tests import parts
from tests.builders import make_fleet
from tests.live.test_messages import Full
from tests.live.test_replica_law import Replica, of_now
from tests.log.test_restart import KEYS
from tests.stories import Step, story
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.restoring import restore
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.activity import Sent
from wawp_exporter.model.event import Ack, Direction, Message, Point, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

SEEDS = int(os.environ.get("WAWP_MESSAGE_SEEDS", "40"))
STEPS = 30
SOURCES = ["default"]
NAMES = ("a", "b")
IN, OUT = Direction

Known = dict[Key, tuple[int, int, int, int, int, frozenset[tuple[str, Sent]]]]


def drawn(draw: Random, number: int) -> tuple[Message, int]:
    """A message that came about now, or what is said of one of the last five; and when that came (Unix ms)."""
    now = unix_now() - draw.randrange(3)
    known = f"{draw.randrange(max(1, number - 5), number + 1)}"
    kinds = [
        Message(IN, now, None, f"{number}"),
        Message(OUT, now - draw.choice([0, 0, 500]), Ack.PENDING, f"{number}"),
        Message(OUT, now, Ack.PENDING),
        Message(None, 0, Ack.SERVER, known),
        Message(None, 0, Ack.ERROR, known),
    ]
    return draw.choice(kinds), now


def known_of(fleet: Fleet) -> Known:
    """What is known of the messages of each session that is there."""
    found: Known = {}
    for key in fleet.sessions.keys() & fleet.activity.keys():
        of = fleet.activity[key]
        counts = (of.received, of.sent, of.received_at, of.sent_at, of.acked_at)
        if any(counts):
            found[key] = (*counts, frozenset(of.pending.items()))
    return found


class World:
    """The write path of a service, and what happens to it."""

    def __init__(self, folder: Path, draw: Random) -> None:
        self.folder = folder
        self.draw = draw
        self.lives = self.number = 0
        self.ingest = self.begin(folder / "0")

    def begin(self, folder: Path) -> Ingest:
        """A start from the log in a folder."""
        fleet = make_fleet()
        log = Full(folder / "wawp.db")
        ingest = Ingest(fleet, log, Telemetry())
        ingest.messages.restore(SOURCES)
        ingest.folding.restored(restore(fleet, log, SOURCES).mark)
        fleet.awaken(99, unix_now(), 0)
        return ingest

    async def end(self) -> None:
        """As killed: nothing is saved."""
        self.ingest.log.close()
        for thread in (self.ingest.access.writer, self.ingest.access.reader):
            thread.shutdown()

    @property
    def any(self) -> Key:
        """A session that may be there."""
        return SOURCES[0], self.draw.choice(NAMES)

    # -- what happens

    async def status(self) -> None:
        """A session is there, perhaps again."""
        now = unix_now()
        point = Point(self.draw.choice(("WORKING", "FAILED")), now, 0, now)
        await self.ingest.submit(StatusEvent(*self.any, (point,), now))

    async def messages(self) -> None:
        """Some that came at about the same time, and were taken in another order."""
        for _ in range(self.draw.randrange(1, 5)):
            self.number += 1
            message, now = drawn(self.draw, self.number)
            self.ingest.messages.hear(self.any, [message], now)

    async def share(self) -> None:
        """Is written."""
        await self.ingest.messages.share()

    async def share_fails(self) -> None:
        """Cannot be written, while more comes."""
        Full.full = True
        writing = asyncio.create_task(self.share())
        await asyncio.sleep(0)
        await self.messages()
        await writing
        Full.full = False

    async def delete(self) -> None:
        """What comes next is of another life."""
        await self.ingest.forget(self.any)

    async def share_amid_deletion(self) -> None:
        """Both at once, in either order; the session may be there again at once."""
        both = [self.share, self.delete]
        self.draw.shuffle(both)
        tasks = [asyncio.create_task(each()) for each in both]
        for _ in range(self.draw.randrange(3)):
            await asyncio.sleep(0)
        await self.status()
        await self.messages()
        await asyncio.gather(*tasks)

    async def fold_anew(self) -> None:
        """The log gives the session back, as when a name has room again."""
        key = self.any
        session = self.ingest.fleet.sessions.get(key)
        if session:
            self.ingest.folding.adopt(key, session.memory)

    async def restart(self) -> None:
        """All that was known is known, once it is written."""
        await self.share()
        before = known_of(self.ingest.fleet)
        self.lives += 1
        place = self.folder / f"{self.lives}"
        shutil.copytree(self.folder / f"{self.lives - 1}", place, ignore=shutil.ignore_patterns("*.lock"))
        await self.end()
        self.ingest = self.begin(place)
        assert known_of(self.ingest.fleet) == before


async def play(folder: Path, seed: int) -> None:
    """One story."""
    draw = Random(seed)
    world = World(folder, draw)
    kinds: list[Step] = [
        *[world.messages] * 6,
        *[world.status] * 3,
        *[world.share] * 2,
        world.share_fails,
        world.delete,
        world.share_amid_deletion,
        world.fold_anew,
        world.restart,
    ]
    try:
        await story(seed, draw, kinds, STEPS, world.restart)
    finally:
        Full.full = False
        await world.end()


@pytest.mark.parametrize("part", range(2))
def test_a_restart_knows_of_messages_what_was_known_before(part: int) -> None:
    """Nothing of a former life, nothing twice, and all that is not acknowledged."""
    for seed in range(part, SEEDS, 2):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(play(Path(folder), seed))


class Pair:
    """Two replicas of one log, and what happens to them."""

    def __init__(self, url: str, draw: Random) -> None:
        self.url = url
        self.draw = draw
        self.number = 0
        self.replicas = [self.begin(), self.begin()]

    def begin(self) -> Replica:
        """A process that has restored what the log has."""
        replica = Replica(self.url)
        replica.ingest.messages.restore(["default", "b"])
        return replica

    @property
    def any(self) -> Replica:
        """One of them."""
        return self.draw.choice(self.replicas)

    async def status(self) -> None:
        """A session is there, perhaps again."""
        await self.any.ingest.submit(of_now(self.draw.choice(KEYS)))

    async def messages(self) -> None:
        """To either."""
        for _ in range(self.draw.randrange(1, 5)):
            self.number += 1
            message, now = drawn(self.draw, self.number)
            self.any.ingest.messages.hear(self.draw.choice(KEYS), [message], now)

    async def share(self) -> None:
        """One of them writes and reads."""
        await self.any.ingest.messages.share()

    async def follow(self) -> None:
        """One of them folds a few rows."""
        await self.any.follow(self.draw.randrange(1, 6))

    async def amid(self) -> None:
        """A deletion at one, counts that are written by both, and the session's return."""
        key = self.draw.choice(KEYS)
        steps = [self.any.ingest.forget(key), *(each.ingest.messages.share() for each in self.replicas), self.follow()]
        self.draw.shuffle(steps)
        tasks = [asyncio.create_task(each) for each in steps]
        for _ in range(self.draw.randrange(3)):
            await asyncio.sleep(0)
        await self.any.ingest.submit(of_now(key))
        await self.messages()
        await asyncio.gather(*tasks)

    async def agree(self) -> None:
        """All is followed and written: both know the same, and so does a third that begins now."""
        for replica in self.replicas:
            await replica.settle()
        for _ in range(2):  # what is over at one may be pending at the other until then
            for replica in self.replicas:
                await replica.ingest.messages.share()
        third = self.begin()
        try:
            first, second, anew = (known_of(each.fleet) for each in (*self.replicas, third))
            assert first == second == anew
        finally:
            await third.end_it()


async def play_out(pair: Pair, seed: int) -> None:
    """One story."""
    kinds: list[Step] = [*[pair.messages] * 5, *[pair.status] * 3, *[pair.follow] * 3, *[pair.share] * 3, pair.amid]
    try:
        await story(seed, pair.draw, kinds, STEPS, pair.agree)
    finally:
        for replica in pair.replicas:
            await replica.end_it()


@pytest.mark.parametrize("seed", range(int(os.environ.get("WAWP_REPLICA_SEEDS", "3"))))
def test_replicas_know_the_same_of_messages(postgres: parts.Postgres, seed: int) -> None:
    """Also of sessions that one of them deletes while another writes what it counted before."""
    asyncio.run(play_out(Pair(postgres.create_database(f"message_law_{seed}"), Random(seed)), seed))


def test_what_a_replica_counted_before_a_deletion_elsewhere_is_not_written(postgres: parts.Postgres) -> None:
    """It has not followed the deletion yet, and the session is back: nothing of its former life may come with it."""

    async def run() -> None:
        pair, key = Pair(postgres.create_database("message_deletion"), Random(0)), KEYS[0]
        late, other = pair.replicas
        try:
            await other.ingest.submit(of_now(key))
            for replica in pair.replicas:
                await replica.settle()
            late.ingest.messages.hear(key, [Message(OUT, 0, Ack.PENDING, "1")], unix_now())
            assert await other.ingest.forget(key)
            await other.ingest.submit(of_now(key))

            await late.ingest.messages.share()

            await pair.agree()
            assert known_of(late.fleet) == {}
            assert key in late.fleet.sessions
        finally:
            for replica in pair.replicas:
                await replica.end_it()

    asyncio.run(run())
