"""A law: a restart tells exactly what was told before it, and what the log says in its own order.

Over gateways whose clocks are ahead, histories cut within a millisecond, retries, deletions, sources that leave
and return, saves that fail or are cut off, and kills.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from tests.builders import body, config, memories_of
from tests.live.test_ingest import Failing
from tests.stories import Step, story
from wawp_exporter.dialects.reading import ending
from wawp_exporter.dialects.waha import parse
from wawp_exporter.live import saving
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.corrections import Correction
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.restoring import refill, restore
from wawp_exporter.log import judgements
from wawp_exporter.log.database import Mark
from wawp_exporter.log.log import Log
from wawp_exporter.log.replay import point_of
from wawp_exporter.log.tables import event, session, state, watermark
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import ENDINGS, USUAL_ENDINGS, Limit, Point, StatusEvent, normal
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.machine import State, fold
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import Memory

SEEDS = int(os.environ.get("WAWP_RESTART_SEEDS", "24"))
STEPS = 30
KEYS = [("default", "a"), ("default", "b"), ("b", "c")]
STATUSES = ("STARTING", "SCAN_QR_CODE", "WORKING", "WORKING", "FAILED", "STOPPED", "DISCONNECTED", "READY")
CAPPED, FREE = ({"messageCapping": {"cappingStatus": word}} for word in ("CAPPED", "NONE"))
REASONS = tuple({"statusReason": code} for code in (401, 408, 500))
# Minutes are some milliseconds, as long as a story takes; of three sessions two are an outage.
BRISK = replace(Constants().scaled(0.0005), least=2)
Told = dict[Key, tuple[State, str, frozenset[tuple[Limit, int]]]]


class Gateway:
    """A session's history by its gateway's clock; its events show some of it."""

    def __init__(self, key: Key, draw: Random, *, in_order: bool = False) -> None:
        self.key = key
        self.draw = draw
        self.in_order = in_order
        self.ahead = draw.choice([0, 0, 30_000, 400_000])
        self.says_how = draw.random() < 0.3  # a session ends, as Evolution and wppconnect-server do, in several events
        self.history: list[tuple[str, int]] = []

    def event(self) -> StatusEvent:
        """A new status, or one that was sent before, with as much of the history as it likes to show."""
        now = unix_now()
        return self.orderly(now) if self.in_order else self.any(now)

    def orderly(self, now: int) -> StatusEvent:
        """One to three new statuses, the newest is the event's own; or the newest again."""
        draw = self.draw
        new = draw.choice([0, 1, 1, 1, 2, 3]) if self.history else 1
        for age in range(new, 0, -1):
            last = self.history[-1][1] if self.history else 0
            self.history.append((draw.choice(STATUSES), max(last + 1, now - 10 * age)))
        data = draw.choice([None, None, CAPPED, FREE, *REASONS]) if new else None
        return self.sent(self.history[-1], self.history[-max(new, 1) :], data, now)

    def any(self, now: int) -> StatusEvent:
        """Late ones too, and histories that leave something out."""
        draw = self.draw
        if not self.history or draw.random() < 0.6:
            last = self.history[-1][1] if self.history else 0
            at = max(last, now + self.ahead - 40_000) if draw.random() < 0.3 else max(last, now + self.ahead)
            self.history.append((draw.choice(STATUSES), at + draw.choice([0, 0, 0, 1, 9, 2000])))
        end = len(self.history) if draw.random() < 0.6 else draw.randrange(1, len(self.history) + 1)
        shown = self.history[max(0, end - draw.randrange(0, 5)) : end]
        return self.sent(self.history[end - 1], shown, draw.choice([None, None, CAPPED, FREE, *REASONS]), now)

    def sent(
        self, own: tuple[str, int], shown: list[tuple[str, int]], data: dict[str, Any] | None, now: int
    ) -> StatusEvent:
        """The webhook of a status."""
        status, at = own
        told = [{"status": each, "timestamp": when} for each, when in shown]
        engine = self.draw.choice(["GOWS", "NOWEB", None])
        raw = body(
            session=self.key[1], timestamp=at, payload={"status": status, "statuses": told, "data": data}, engine=engine
        )
        item = parse(self.key[0], raw, now)
        assert isinstance(item, StatusEvent)
        if self.says_how and normal(status) in USUAL_ENDINGS:
            item = ending(replace(item, points=(item.own,)), self.draw.choice([None, *ENDINGS]))
        return item


class World:
    """A service's write path, and what happens to it."""

    def __init__(self, folder: Path, draw: Random, *, in_order: bool) -> None:
        self.folder = folder
        self.draw = draw
        self.lives = 0
        self.sources = ["b", "default"]
        self.gateways = [Gateway(key, draw, in_order=in_order) for key in KEYS]
        self.ingest = self.begin(folder / "0")

    def begin(self, folder: Path) -> Ingest:
        """A start from the log in a folder."""
        fleet = Fleet(rules_of(self.sources), BRISK)
        log = Failing(folder / "wawp.db")
        ingest = Ingest(fleet, log, Telemetry())
        ingest.folding.restored(restore(fleet, log, self.sources).mark)
        fleet.awaken(99, unix_now(), 0)
        return ingest

    async def end(self) -> None:
        """As killed: nothing is saved."""
        self.ingest.log.close()
        for thread in (self.ingest.access.writer, self.ingest.access.reader):
            thread.shutdown()

    # -- what happens

    async def events(self) -> None:
        """Some at once, some one after another."""
        there = [each for each in self.gateways if each.key[0] in self.sources]
        number = self.draw.randrange(1, 6)
        if self.draw.random() < 0.5:
            await asyncio.gather(*(self.ingest.submit(self.draw.choice(there).event()) for _ in range(number)))
        else:
            # Each is received when it is submitted: for an older one the judge would not have waited.
            for _ in range(number):
                await self.ingest.submit(self.draw.choice(there).event())

    async def save(self) -> None:
        """The log takes it."""
        await self.ingest.saving.save()

    async def save_amid(self) -> None:
        """While events come, late ones too."""
        coming = asyncio.create_task(self.events())
        while not (coming.done() or self.ingest.folding.rehearing.active):  # noqa: ASYNC110 - the very turn in which it begins
            await asyncio.sleep(0)
        await self.ingest.saving.save()
        await coming

    async def save_fails(self) -> None:
        """At one of its writes."""
        self.ingest.log.fail_after = self.draw.randrange(2)  # type: ignore[attr-defined]  # Failing has it
        await self.ingest.saving.save()
        self.ingest.log.fail_after = 99  # type: ignore[attr-defined]  # Failing has it

    async def save_is_cut_off(self) -> None:
        """In the middle, while events come."""
        saving = asyncio.create_task(self.ingest.saving.save())
        coming = asyncio.create_task(self.events())
        for _ in range(self.draw.randrange(6)):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await coming

    async def delete(self) -> None:
        """Whichever; events come before and after it."""
        coming = asyncio.create_task(self.events())
        await self.ingest.forget(self.draw.choice(KEYS))
        await coming

    async def leave_or_return(self) -> None:
        """A reload takes the source out, or brings it back."""
        coming = asyncio.create_task(self.events())
        await asyncio.sleep(0)
        self.sources = ["default"] if "b" in self.sources else ["b", "default"]
        self.ingest.fleet.reconfigure(rules_of(self.sources), unix_now(), 0)
        await coming
        if "b" in self.sources:
            refill(self.ingest.fleet, self.ingest.log.restore(["b"]))
            self.ingest.fleet.awaken(99, unix_now(), 0)
        await idle(self.ingest)
        await self.ingest.saving.save()

    async def kill(self) -> None:
        """What a start tells is what was told; life goes on from it."""
        place = self.copy()
        await idle(self.ingest)
        now = unix_now()
        before, verdicts = told(self.live), judged(self.ingest.fleet, now)
        await self.end()
        self.ingest = self.begin(place)
        assert told(self.live) == before
        assert judged(self.ingest.fleet, now) == verdicts

    # -- what holds

    @property
    def live(self) -> dict[Key, Memory]:
        """What is told."""
        return {key: each.memory for key, each in self.ingest.fleet.sessions.items()}

    def copy(self) -> Path:
        """The files as a kill leaves them."""
        self.lives += 1
        place = self.folder / f"{self.lives}"
        shutil.copytree(self.folder / f"{self.lives - 1}", place, ignore=shutil.ignore_patterns("*.lock"))
        return place

    async def check(self) -> None:
        """Live, a start from the saved state, a start without any, and the rows in their order."""
        await self.kill()
        log = self.ingest.log
        live, rows = told(self.live), ordered(log)
        assert {key: each[0] for key, each in live.items()} == {
            key: found for key, found in rows.items() if key[0] in self.sources
        }
        tombstones = {key: grave.at for key, grave in self.ingest.fleet.graves.items()}
        with log.database.writing() as writer:
            writer.execute(sa.delete(state))
            writer.execute(sa.delete(watermark))
        anew = log.restore(self.sources)
        assert told(memories_of(anew)) == live
        assert {key: at for key, at in anew.tombstones.items() if key in tombstones} == tombstones
        await self.kill()


def rules_of(sources: Sequence[str]) -> Rules:
    """A configuration with these sources, and limits that a story can pass."""
    limits = dict.fromkeys(["starting", "failed", "qr_escalate", "qr_unattended", "down"], "0s")
    return Rules(config(sources={name: {} for name in sources}, thresholds=limits))


async def idle(ingest: Ingest) -> None:
    """Returns when the judge has heard of everything."""
    if ingest.folding.rehearing.active:
        await asyncio.wait([ingest.folding.rehearing.task])


def judged(fleet: Fleet, now: int) -> tuple[dict[Key, dict[str, int]], list[tuple[Any, ...]]]:
    """What the judge says at an instant: problems by session, and outages with begin, size and largest size."""
    fleet.hearing.wake(now)
    problems = {key: {str(p): at for p, at in case.problems.items()} for key, case in fleet.judge.cases.items()}
    outages = [(each.name, each.since, each.size, each.largest) for each in fleet.judge.exported()]
    return {key: found for key, found in problems.items() if found}, sorted(outages)


def told(memories: dict[Key, Memory]) -> Told:
    """All but the last sign of life, which a retry gives too and no row of the log has."""
    return {key: (each.state, each.engine, frozenset(each.limits)) for key, each in memories.items()}


def ordered(log: Log) -> dict[Key, State]:
    """The fold of all rows of each session's present life, in the order of the log."""
    life = sa.and_(event.c.at > session.c.tombstone, event.c.seq > session.c.buried)
    rows = sa.select(session.c.source, session.c.name, event).join_from(
        event, session, event.c.session_id == session.c.id
    )
    found: dict[Key, list[Any]] = {}
    with log.database.reading() as reader:
        for row in reader.execute(rows.where(life).order_by(event.c.at, event.c.tie, event.c.seq)):
            found.setdefault((row.source, row.name), []).append(point_of(row))
    return {key: folded for key, points in found.items() if (folded := fold(points))}


async def play(folder: Path, seed: int) -> None:
    """One story."""
    draw = Random(seed)
    world = World(folder, draw, in_order=seed % 8 < 4)
    kinds: list[Step] = [
        *[world.events] * 8,
        world.save,
        world.save_amid,
        world.save_fails,
        world.save_is_cut_off,
        world.delete,
        world.leave_or_return,
        world.kill,
    ]
    try:
        await story(seed, draw, kinds, STEPS, world.check)
    finally:
        await world.end()


@pytest.mark.parametrize("part", range(4))
def test_a_restart_tells_what_was_told_and_what_the_log_says(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a start that finds no saved state at all, and when a save takes several slices."""
    for name in ("SAVE_SLICE", "TAKEN"):
        monkeypatch.setattr(saving, name, 1 + part % 2 * 999)
    monkeypatch.setattr(judgements, "AT_ONCE", 1 + part % 2 * 999)
    for seed in range(part, SEEDS, 4):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(play(Path(folder), seed))


@pytest.mark.parametrize("new", [0, 200, 300], ids=["all were saved", "some are new", "all are new"])
def test_a_start_after_an_outage_of_all_asks_the_log_a_few_times(tmp_path: Path, new: int) -> None:
    """Killed before anything of it was saved: to fold the sessions one by one would take minutes for a large fleet."""
    keys = [("default", f"s{number}") for number in range(300)]

    async def run() -> None:
        world = World(tmp_path, Random(0), in_order=True)
        now = unix_now() - 60_000
        await asyncio.gather(*(world.ingest.submit(at(key, "WORKING", now)) for key in keys[new:]))
        if new < len(keys):
            await world.ingest.saving.save()
        await asyncio.gather(*(world.ingest.submit(at(key, "FAILED", now + 1000)) for key in keys))
        asked: list[str] = []
        sa.event.listen(sa.Engine, "before_cursor_execute", record := lambda *args: asked.append(args[2]))
        await world.kill()
        sa.event.remove(sa.Engine, "before_cursor_execute", record)
        assert len(asked) < 60
        assert {each.state.status for each in world.live.values()} == {"FAILED"}
        await world.end()

    asyncio.run(run())


def test_what_is_judged_is_saved_later_if_it_cannot_be_saved_now(tmp_path: Path) -> None:
    """While a late event is to be folded there is no place in the log up to which all is judged."""
    keys = [("default", f"s{number}") for number in range(2 * saving.TAKEN)]

    async def run() -> None:
        world = World(tmp_path, Random(0), in_order=True)
        ingest, now = world.ingest, unix_now() - 60_000
        for status in ("WORKING", "FAILED"):
            await asyncio.gather(*(ingest.submit(at(key, status, now + (status == "FAILED"))) for key in keys))
        ingest.folding.corrections.pending[keys[0]] = Correction(Mark(), now)
        await ingest.saving.save()
        del ingest.folding.corrections.pending[keys[0]]
        await ingest.saving.save()
        kept = ingest.log.judgements.load(["default"]).sessions
        assert kept == {key: ingest.fleet.judge.saved(key) for key in keys}
        await world.end()

    asyncio.run(run())


def at(key: Key, status: str, now: int) -> StatusEvent:
    """A status at a time (Unix ms)."""
    return StatusEvent(*key, (Point(status, now, 0, now),), now)
