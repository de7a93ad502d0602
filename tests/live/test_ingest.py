"""The one write path: who shares a commit with whom."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import KEY, capping, clock, event, make_fleet, memories_of, ms, point, told
from tests.served import eventually
from wawp_exporter.errors import LogError, LogUnavailable
from wawp_exporter.live import rejudging
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.restoring import restore
from wawp_exporter.live.saving import SAVE_SLICE
from wawp_exporter.log.log import Log
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.machine import State
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory

S, Q, W, F = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED"
SENDERS = 8


@asynccontextmanager
async def ingesting(folder: Path, kind: type[Log] = Log, **config: Any) -> AsyncIterator[Ingest]:
    """The write path of a fresh log."""
    ingest = Ingest(make_fleet(**config), log := kind(folder / "wawp.db"), Telemetry())
    yield ingest
    await ingest.close()
    log.close()


class Failing(Log):
    """A log that refuses to save after so many writes: a disk that is full just then."""

    fail_after = 99

    def save(self, *args: Any, **more: Any) -> None:
        """Fails when it is its turn."""
        self.fail_after -= 1
        if self.fail_after < 0:
            raise LogError("the disk is full")
        super().save(*args, **more)


class Counting(Log):
    """A log that counts how often a session is folded from it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.folds, fold = 0, self.states.fold

        def counted(*args: Any) -> State | None:
            self.folds += 1
            return fold(*args)

        self.states.fold = counted  # type: ignore[method-assign]  # counted


def killed(ingest: Ingest, folder: Path) -> None:
    """The log as it would be found if the process ended now."""
    shutil.copytree(folder, folder / "killed", ignore=shutil.ignore_patterns("killed", "*.lock"))
    assert ingest


class Full(Log):
    """A log whose disk may be full: what changes nothing succeeds, as it does on a real one."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.full, write = False, self.database.writing

        @contextmanager
        def writing(**how: bool) -> Iterator[sa.Connection]:
            with write(**how) as writer:
                raw: Any = writer.connection.driver_connection
                before = raw.total_changes
                raw.execute("SAVEPOINT full")  # so that nothing is kept where each statement would commit by itself
                try:
                    yield writer
                    if self.full and raw.total_changes != before:
                        raw.execute("ROLLBACK TO full")
                        raise LogError("the disk is full")
                finally:
                    raw.execute("RELEASE full")

        self.database.writing = writing  # type: ignore[method-assign]  # the disk may be full


async def everybody(ingest: Ingest, status: str, at: float, count: int) -> None:
    """An event of each of so many sessions."""
    waiting = [ingest.submit(event(status, at, key=("default", f"{n}"))) for n in range(count)]
    await asyncio.gather(*waiting)


def commits(ingest: Ingest) -> float:
    """How many batches were written."""
    value = ingest.telemetry.registry.get_sample_value("wawp_exporter_log_append_duration_seconds_count")
    return value or 0


async def together(ingest: Ingest, status: str, at: float, source: str = "s") -> list[Outcome]:
    """An event of each sender, all in the same turn of the loop."""
    return await asyncio.gather(*(ingest.submit(event(status, at + n, key=(source, f"{n}"))) for n in range(SENDERS)))


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
            answers = await together(ingest, "STARTING", 0)
            return answers + await together(ingest, "WORKING", 100)

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


DEFECTIVE = ("default", "defect")


def defects(ingest: Ingest, part: str) -> float:
    """How many were counted."""
    return ingest.telemetry.registry.get_sample_value("wawp_exporter_defects_total", {"part": part}) or 0


def break_fold(ingest: Ingest, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The fold of one session fails so often, with data in its message; a defect cannot be had otherwise."""
    fold, left = ingest.fleet.apply, [times]

    def apply(item: StatusEvent, *more: Any) -> tuple[Outcome, bool]:
        if (item.source, item.session) == DEFECTIVE and left[0]:
            left[0] -= 1
            raise RuntimeError("+49 170 1234567")
        return fold(item, *more)

    monkeypatch.setattr(ingest.fleet, "apply", apply)


def test_a_defect_with_one_event_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those before and after it in its batch are folded and answered; it is in the log, and is told so."""

    async def play() -> tuple[list[Outcome], float, set[Key]]:
        async with ingesting(tmp_path) as ingest:
            break_fold(ingest, monkeypatch, 2)
            keys = [("default", "before"), DEFECTIVE, DEFECTIVE, ("default", "after")]
            waiting = [ingest.submit(event(W, at, key=key)) for at, key in enumerate(keys)]
            answers = await asyncio.gather(*waiting)
            return answers, defects(ingest, "fold"), set(ingest.fleet.sessions)

    answers, counted, known = asyncio.run(play())

    assert answers == [Outcome.TRANSITION, Outcome.LATE, Outcome.LATE, Outcome.TRANSITION]
    assert counted == 2
    assert known == {("default", "before"), DEFECTIVE, ("default", "after")}
    logged = capsys.readouterr().out
    assert logged.count("RuntimeError") == 1
    assert "170" not in logged


def test_a_session_that_was_not_folded_is_folded_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a restart would tell is told now."""

    async def play() -> State:
        async with ingesting(tmp_path) as ingest:
            await ingest.submit(event(F, 0, key=DEFECTIVE))
            break_fold(ingest, monkeypatch, 1)
            await ingest.submit(event(W, 10, key=DEFECTIVE))
            return ingest.fleet.sessions[DEFECTIVE].state

    assert asyncio.run(play()) == told((F, 0), (W, 10))


def test_a_deletion_that_failed_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the log: whoever asked for it is answered so, and the session goes when the log is read again."""

    def broken(*_: object) -> None:
        raise RuntimeError

    async def play() -> tuple[bool, float, set[Key]]:
        async with ingesting(tmp_path) as ingest:
            await ingest.submit(event(F, 0, key=DEFECTIVE))
            with monkeypatch.context() as patch:
                patch.setattr(ingest.fleet, "_drop", broken)
                done = await ingest.forget(DEFECTIVE)
            await eventually(lambda: not ingest.folding.corrections.pending)
            return done, defects(ingest, "fold"), set(ingest.fleet.sessions)

    assert asyncio.run(play()) == (True, 1, set())


@pytest.mark.parametrize("listener", ["on_transition", "on_forget"])
def test_a_listener_that_fails_does_not_stop_the_fold(tmp_path: Path, listener: str) -> None:
    """Neither the event's own, nor what follows it."""

    def fail(*_: object) -> None:
        raise RuntimeError

    async def play() -> tuple[list[Outcome], float, int]:
        async with ingesting(tmp_path) as ingest:
            setattr(ingest.fleet, listener, fail)
            answers = await together(ingest, W, 0, source="default")
            await ingest.forget(("default", "0"))
            return answers, defects(ingest, "transition") + defects(ingest, "deletion"), len(ingest.fleet.sessions)

    assert asyncio.run(play()) == ([Outcome.TRANSITION] * SENDERS, SENDERS if listener == "on_transition" else 1, 7)


# -- what a restart tells


async def again(folder: Path) -> dict[Key, str]:
    """The statuses that a fresh start from the log tells."""
    log = Log(folder / "wawp.db")
    try:
        return {key: memory.state.status.value for key, memory in memories_of(log.restore(["default", "b"])).items()}
    finally:
        log.close()


def test_a_save_that_is_cut_off_covers_nothing(tmp_path: Path) -> None:
    """A stop cancels it between two slices; what it had taken is saved by the next."""
    count = 2 * SAVE_SLICE + 10

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            await everybody(ingest, W, 0, count)
            await ingest.saving.save()
            await everybody(ingest, F, 10, count)
            saving = asyncio.create_task(ingest.saving.save())
            while len(ingest.fleet.unsaved) == count:  # noqa: ASYNC110 - the very turn in which it has begun
                await asyncio.sleep(0)
            saving.cancel()

    asyncio.run(play())

    assert set(asyncio.run(again(tmp_path)).values()) == {F}


async def behind(ingest: Ingest) -> asyncio.Event:
    """The judge has still to hear of row 2, a late event, and of row 3 behind it, until the event is set."""
    await ingest.submit(event(W, 10))
    rehearing, free = ingest.folding.rehearing, asyncio.Event()
    read = rehearing._read

    async def gated(*call: Any) -> Any:
        await free.wait()
        return await read(*call)

    rehearing._read = gated
    await ingest.submit(event(S, 5))
    await ingest.submit(event(F, 20))
    return free


def test_what_is_judged_is_saved_though_late_events_never_stop(tmp_path: Path) -> None:
    """The judge is behind as long as they come: else a start would judge again all that came since they began."""

    async def play() -> int:
        async with ingesting(tmp_path) as ingest:
            free = await behind(ingest)
            rehearing = ingest.folding.rehearing
            saving = asyncio.create_task(ingest.saving.save())
            while not rehearing._waiting:  # noqa: ASYNC110 - the very turn in which it waits for the judge
                await asyncio.sleep(0)
            free.set()
            await saving
            return ingest.log.judgements.load(["default"]).marks["default"].seq

    assert asyncio.run(play()) == 2


def test_what_lies_between_the_numbers_of_rows_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers have gaps, several for each event of a gateway that sends its history: a start must not give up early."""
    monkeypatch.setattr(rejudging, "FARTHEST", 3)

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            await ingest.submit(event(W, 10))
            for at in range(11, 21):
                await ingest.submit(event(W, 10, received=at))
            await ingest.submit(event(F, 30))
            killed(ingest, tmp_path)

    asyncio.run(play())

    log = Log(tmp_path / "killed/wawp.db")
    restore(fleet := make_fleet(), log, ["default"])
    assert log.database.end.seq > 3
    assert "default" in fleet.hearing.sources
    log.close()


def test_a_stop_does_not_wait_until_the_judge_has_heard_of_everything(tmp_path: Path) -> None:
    """On a busy machine that would take longer than a stop may; a start goes on from where it was."""

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            free = await behind(ingest)
            closing = asyncio.create_task(ingest.folding.rehearing.close())
            await asyncio.sleep(0)
            free.set()
            await closing

    asyncio.run(play())

    log = Log(tmp_path / "wawp.db")
    assert log.judgements.load(["default"]).marks["default"].seq == 2
    restore(fleet := make_fleet(), log, ["default"])
    fleet.advance(ms(40), clock(40))
    assert {str(problem) for problem in fleet.judge.problems(KEY)} == {"failed"}
    log.close()


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_save_that_fails_covers_nothing(tmp_path: Path, failing: int) -> None:
    """At whichever of its writes: a kill after it must not bring old statuses back."""

    async def play() -> None:
        async with ingesting(tmp_path, Failing) as ingest:
            await everybody(ingest, W, 0, SAVE_SLICE + 10)
            await ingest.saving.save()
            await everybody(ingest, F, 10, SAVE_SLICE + 10)
            ingest.log.fail_after = failing  # type: ignore[attr-defined]  # Failing has it
            await ingest.saving.save()
            killed(ingest, tmp_path)

    asyncio.run(play())

    assert set(asyncio.run(again(tmp_path / "killed")).values()) == {F}


def test_what_is_told_more_while_a_save_is_under_way_is_not_covered(tmp_path: Path) -> None:
    """The state that is being written does not know it."""

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            await everybody(ingest, W, 0, SAVE_SLICE + 10)
            saving = asyncio.create_task(ingest.saving.save())
            while len(ingest.fleet.unsaved):  # noqa: ASYNC110 - the very turn in which it has begun
                await asyncio.sleep(0)
            known = ("default", "0")
            more = ingest.submit(event(W, 0, key=known, tie=1, before=[point(F, 0)], limits=[capping()]))
            await asyncio.gather(saving, more)
            killed(ingest, tmp_path)
            await ingest.submit(event(W, 0, key=known))
            live.append(ingest.fleet.sessions[known].memory)

    live: list[Memory] = []
    asyncio.run(play())
    log = Log(tmp_path / "killed" / "wawp.db")

    assert memories_of(log.restore(["default"]))["default", "0"] == live[0]
    assert live[0].limits
    log.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_source_that_left_and_returns_is_as_the_log_tells_it(tmp_path: Path, fails: bool) -> None:
    """Also when its states could not be saved before it left, and what came late for it while it was away."""

    async def play() -> None:
        async with ingesting(tmp_path, Failing, sources={"default": {}, "b": {}}) as ingest:
            both, one = (make_fleet(sources=s).rules for s in ({"default": {}, "b": {}}, {"default": {}}))
            await ingest.submit(event(W, 0, key=("b", "x")))
            await ingest.saving.save()
            await ingest.submit(event(F, 10, key=("b", "x")))
            ingest.log.fail_after = 0 if fails else 99  # type: ignore[attr-defined]  # Failing has it
            await ingest.saving.save()
            ingest.log.fail_after = 99  # type: ignore[attr-defined]  # Failing has it
            ingest.fleet.reconfigure(one, ms(11), clock(11))
            assert await ingest.submit(event(S, 20, key=("b", "x"))) is Outcome.LATE
            await ingest.saving.save()
            assert not ingest.fleet.sessions
            ingest.fleet.reconfigure(both, ms(21), clock(21))
            assert await ingest.submit(event(Q, 30, key=("b", "x"))) is Outcome.LATE
            await ingest.saving.save()
            restore(ingest.fleet, ingest.log, ["b"])
            ingest.fleet.awaken(9, ms(31), clock(31))
            found.append(ingest.fleet.sessions["b", "x"].state)

    found: list[State] = []
    asyncio.run(play())

    assert found == [told((W, 0), (F, 10), (S, 20), (Q, 30))]


def test_late_events_of_one_session_share_a_reading(tmp_path: Path) -> None:
    """However many came meanwhile, the next reading covers them all."""

    async def play() -> int:
        async with ingesting(tmp_path, Counting) as ingest:
            await ingest.submit(event(F, 1000, key=("default", "a")))
            late = [ingest.submit(event(W, at, key=("default", "a"))) for at in range(50)]
            assert set(await asyncio.gather(*late)) == {Outcome.LATE}
            assert ingest.fleet.sessions["default", "a"].state == told((W, 49), (F, 1000))
            return ingest.log.folds  # type: ignore[attr-defined,no-any-return]  # Counting has it

    assert asyncio.run(play()) <= 3


# -- healthy


def test_only_a_write_shows_that_the_log_is_writable_again(tmp_path: Path) -> None:
    """A disk that takes nothing: neither an empty save, nor a lease, nor a retry that changes nothing heals."""

    async def play() -> list[bool]:
        async with ingesting(tmp_path, Full) as ingest:
            known = event(W, 0, key=("default", "a"))
            await ingest.submit(known)
            await ingest.saving.save()
            ingest.log.full = True  # type: ignore[attr-defined]  # Full has it
            with pytest.raises(LogUnavailable):
                await ingest.submit(event(F, 10, key=("default", "a")))
            seen = []
            lease, save = partial(ingest.access.lease, "any", 5), ingest.saving.save
            for attempt in (save, lease, partial(ingest.submit, known), save):
                await attempt()
                seen.append(ingest.healthy)
            ingest.log.full = False  # type: ignore[attr-defined]  # Full has it
            await ingest.saving.save()
            return [*seen, ingest.healthy]

    assert asyncio.run(play()) == [False, False, False, False, True]
