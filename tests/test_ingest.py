"""The one write path: who shares a commit with whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.builders import event, make_fleet
from wawp_exporter.events import StatusEvent
from wawp_exporter.fleet import Outcome
from wawp_exporter.ingest import Ingest
from wawp_exporter.log import Log
from wawp_exporter.telemetry import Telemetry

SENDERS = 8


@asynccontextmanager
async def ingesting(folder: Path) -> AsyncIterator[Ingest]:
    """The write path of a fresh log."""
    ingest = Ingest(make_fleet(), log := Log(folder / "wawp.db"), Telemetry())
    yield ingest
    await ingest.close()
    log.close()


def commits(ingest: Ingest) -> float:
    """How many batches were written."""
    value = ingest.telemetry.registry.get_sample_value("wawp_exporter_log_append_duration_seconds_count")
    return value or 0


async def together(ingest: Ingest, status: str, at: float) -> list[Outcome]:
    """An event of each sender, all in the same turn of the loop."""
    return await asyncio.gather(*(ingest.submit(event(status, at + n, key=("s", f"{n}"))) for n in range(SENDERS)))


async def one_by_one(ingest: Ingest, status: str, at: float) -> list[Outcome]:
    """An event of each sender, each in a turn of the loop of its own."""
    waiting = []
    for n in range(SENDERS):
        waiting.append(ingest.submit(event(status, at + n, key=("s", f"{n}"))))
        await asyncio.sleep(0)
    return await asyncio.gather(*waiting)


def test_events_of_one_turn_share_a_commit(tmp_path: Path) -> None:
    """A commit costs the same for one event as for eight."""

    async def play() -> tuple[list[Outcome], float]:
        async with ingesting(tmp_path) as ingest:
            return await together(ingest, "STARTING", 0), commits(ingest)

    assert asyncio.run(play()) == ([Outcome.TRANSITION] * SENDERS, 1)


def test_senders_that_were_just_answered_share_their_next_commit(tmp_path: Path) -> None:
    """Their events come one after another, and are written as soon as the last of them is there."""

    async def play() -> tuple[list[Outcome], float]:
        async with ingesting(tmp_path) as ingest:
            await together(ingest, "STARTING", 0)
            return await one_by_one(ingest, "WORKING", 100), commits(ingest)

    assert asyncio.run(play()) == ([Outcome.TRANSITION] * SENDERS, 2)


def test_who_does_not_come_back_is_not_waited_for(tmp_path: Path) -> None:
    """One of the eight sends again: it is answered after a moment, and from then on it is a lone sender."""

    async def play() -> list[tuple[Outcome, bool]]:
        async with ingesting(tmp_path) as ingest:
            await together(ingest, "STARTING", 0)
            answers = []
            for at, status in ((100, "WORKING"), (200, "FAILED")):
                answer = ingest.submit(event(status, at, key=("s", "0")))
                held_up = ingest._gathering is not None
                answers.append((await answer, held_up))
            return answers

    assert asyncio.run(play()) == [(Outcome.TRANSITION, True), (Outcome.TRANSITION, False)]


class Broken:
    """A sender whose connection fails at its answer."""

    def done(self) -> bool:
        """It waits."""
        return False

    def set_result(self, outcome: Outcome) -> None:
        """As a closed transport may."""
        raise RuntimeError(outcome)

    def set_exception(self, error: Exception) -> None:
        """As a closed transport may."""
        raise RuntimeError from error


def test_one_broken_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Who comes after it in the same batch is answered, and so is the next batch."""

    async def play() -> list[Outcome]:
        async with ingesting(tmp_path) as ingest:
            ingest.enqueue(event("WORKING", 0, key=("s", "broken")), Broken())
            answers = await asyncio.wait_for(together(ingest, "STARTING", 0), 5)
            return answers + await asyncio.wait_for(together(ingest, "WORKING", 100), 5)

    assert asyncio.run(play()) == [Outcome.TRANSITION] * 2 * SENDERS


class Watching:
    """A sender that looks at the fleet when it is answered."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self.seen = 0

    def done(self) -> bool:
        """Once it has seen something."""
        return bool(self.seen)

    def set_result(self, _outcome: Outcome) -> None:
        """Counts who is known."""
        self.seen = len(self.ingest.fleet.sessions)

    def set_exception(self, error: Exception) -> None:
        """Not expected here."""
        raise error


def test_a_batch_is_answered_in_one_go(tmp_path: Path) -> None:
    """When the first is told, all of the batch are folded: nobody is woken between two of them."""

    async def play() -> int:
        async with ingesting(tmp_path) as ingest:
            first = Watching(ingest)
            ingest.enqueue(event("WORKING", 0, key=("s", "first")), first)
            await together(ingest, "STARTING", 0)
            return first.seen

    assert asyncio.run(play()) == 1 + SENDERS


def test_who_was_folded_before_a_defect_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next batch is written."""
    defects = []

    async def play() -> list[Outcome]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: defects.append(context["exception"]))
        async with ingesting(tmp_path) as ingest:
            fold = ingest.fleet.apply

            def apply(item: StatusEvent, *more: Any) -> tuple[Outcome, bool]:
                if item.session == "defect":
                    raise RuntimeError(item.session)
                return fold(item, *more)

            monkeypatch.setattr(ingest.fleet, "apply", apply)
            before = ingest.submit(event("STARTING", 0, key=("s", "before")))
            ingest.submit(event("STARTING", 0, key=("s", "defect")))
            answers = [await asyncio.wait_for(before, 5)]
            return answers + await asyncio.wait_for(together(ingest, "WORKING", 100), 5)

    assert asyncio.run(play()) == [Outcome.TRANSITION] * (1 + SENDERS)
    assert [str(defect) for defect in defects] == ["defect"]
