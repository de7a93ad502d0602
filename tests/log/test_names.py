"""How many names of a source are folded: replay tells the same as live, and what is over the limit stays in the log."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import parts
from tests.builders import DAY, event, fresh_of, make_fleet, memories_of, ms, timelock
from tests.event_log import purge_all
from tests.live.test_replicas import Replicas, database, post, replicas, status_of, url  # noqa: F401 - fixtures
from wawp_exporter.live import last_seen
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.restoring import restore
from wawp_exporter.log.history.history import History
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.outcome import DUPLICATE, IGNORED, LATE, TRANSITION
from wawp_exporter.model.rules import Key

S, W, F, X = "STARTING", "WORKING", "FAILED", "STOPPED"


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    """An open, empty log, in either database."""
    log = Log(place)
    yield log
    log.close()


def of(names: str, status: str = W, at: float = 0) -> list[StatusEvent]:
    """An event of each name, one letter each."""
    return [event(status, at, key=("default", name)) for name in names]


def folded(log: Log) -> str:
    """The names that a start would fold."""
    return "".join(sorted(name for _, name in memories_of(log.restore(["default"]))))


def over(keys: Sequence[Key] | frozenset[Key]) -> str:
    """The names of keys."""
    return "".join(sorted(name for _, name in keys))


# -- the log decides


def test_the_first_names_of_a_source_are_folded_and_the_others_logged(log: Log, place: Place) -> None:
    """Within a batch too, in its order; the answer to a sender is the same 200."""
    appended = log.append(of("bacd"), max_names=3)

    assert over(appended.over) == "d"
    assert all(map(all, fresh_of(appended)))
    assert folded(log) == "abc"
    with History(place) as history:
        assert len(history.transitions()[0]) == 4


def test_a_source_that_is_full_takes_nothing_from_another(log: Log) -> None:
    """The limit is each source's own."""
    log.append(of("ab"), max_names=1)

    assert not log.append([event(W, 0, key=("other", "x"))], max_names=1).over


def test_a_name_that_is_folded_stays_so_under_a_lower_limit(log: Log) -> None:
    """New names are turned away, never old ones: a reload must not end what is watched."""
    log.append(of("abc"), max_names=3)

    assert not log.append(of("abc", F, 10), max_names=1).over
    assert over(log.append(of("d"), max_names=1).over) == "d"
    assert folded(log) == "abc"


def test_a_decision_outlives_a_restart_with_another_limit(place: Place) -> None:
    """Who is folded is read from the log, not counted anew."""
    first = Log(place)
    first.append(of("abcd"), max_names=2)
    first.close()
    second = Log(place)

    assert folded(second) == "ab"
    assert over(second.append(of("abcd", F, 10), max_names=9).over) == "cd"
    second.close()


def test_a_deletion_makes_room_for_the_name_that_came_first(log: Log) -> None:
    """With all that it has gone through meanwhile; a state that is kept with it survives a crash."""
    log.append(of("abc"), max_names=1)
    log.append([*of("b", F, 10), *of("b", S, 20), event(W, 30, key=("default", "b"), limits=[timelock()])], max_names=1)
    log.save([], log.append([], max_names=1).seq)
    log.forget(("default", "a"), ms(5))

    joined = log.admission.admit("default", 1)

    (state,) = (memory.state for memory in joined.values())
    assert list(joined) == [("default", "b")]
    assert (state.status, state.since) == (W, ms(30))
    assert memories_of(log.restore(["default"])) == joined
    assert log.admission.admit("default", 1) == {}
    assert log.admission.over_limit() == {"default": 1}


def test_a_name_that_was_deleted_needs_room_to_come_back(log: Log) -> None:
    """Else deleting and coming back would be a way around the limit."""
    log.append(of("ab"), max_names=2)
    log.forget(("default", "a"), ms(5))
    log.append(of("c", at=6), max_names=2)

    appended = log.append([*of("a", F, 4), *of("b", F, 10)], max_names=2)
    back = log.append(of("a", F, 11), max_names=2)

    assert not appended.over  # late, and no coming back
    assert over(back.over) == "a"
    assert folded(log) == "bc"


def test_what_was_over_the_limit_and_purged_takes_no_room_from_others(log: Log) -> None:
    """Its events are gone, so there is nothing to fold."""
    log.append([*of("ab", at=0), *of("c", at=50 * DAY)], max_names=1)
    log.forget(("default", "a"), ms(1))
    purge_all(log, ms(10))

    assert over(frozenset(log.admission.admit("default", 1) or log.admission.admit("default", 1))) == "c"


# -- what nothing is left of goes


def test_names_of_which_nothing_is_left_are_purged(log: Log) -> None:
    """A flood of names must not stay for ever: the name goes when retention has taken its events and its deletion."""
    log.append(of("abcd"), max_names=3)
    log.append(of("e", at=50 * DAY), max_names=3)
    log.save([(key, memory) for key, memory in memories_of(log.restore(["default"])).items()], log.append([]).seq)
    log.forget(("default", "a"), ms(5))
    log.forget(("default", "b"), ms(30 * DAY))
    while purge_all(log, ms(10 * DAY)):
        pass

    gone, place, total = 1, 0, 0
    while gone or place:
        gone, place = log.retention.purge_names(ms(10 * DAY), place, limit=2)
        total += gone

    assert total == 2  # a, long deleted, and d, over the limit
    assert log.deletions.names() == {("default", "b")}
    assert folded(log) == "c"
    assert log.admission.over_limit() == {"default": 1}  # e, which has an event still


def test_an_event_of_a_former_life_that_is_dated_after_the_deletion_brings_nothing_back(log: Log) -> None:
    """A gateway's clock was ahead; the name takes no room, and goes with its events."""
    log.append(of("a", at=20))
    log.forget(("default", "a"), ms(5))

    assert log.retention.purge_names(ms(10))[0] == 0

    assert not log.append(of("b"), max_names=1).over
    while purge_all(log, ms(30)):
        pass
    assert log.retention.purge_names(ms(30))[0] == 1


def test_a_name_that_was_purged_comes_back_as_a_new_one(log: Log) -> None:
    """With a row of its own again."""
    log.append(of("a"))
    log.forget(("default", "a"), ms(5))
    purge_all(log, ms(10))
    assert log.retention.purge_names(ms(10)) == (1, 1)

    log.append(of("a", F, 20))

    assert folded(log) == "a"
    assert log.deletions.names() == set()


# -- the live fleet agrees


@asynccontextmanager
async def ingesting(folder: Path, limit: int) -> AsyncIterator[Ingest]:
    """The write path of the log in `folder`, with what it holds."""
    fleet = make_fleet(metrics={"max_names_per_source": limit})
    ingest = Ingest(fleet, log := Log(folder / "wawp.db"), Telemetry())
    ingest.folding.restored(restore(fleet, log, ["default"]).mark)
    yield ingest
    await ingest.close()
    log.close()


def names(ingest: Ingest) -> str:
    """The names in the live fleet."""
    return "".join(sorted(name for _, name in {*ingest.fleet.sessions, *ingest.fleet.dormant}))


def reported(ingest: Ingest) -> float | None:
    """The metric."""
    return ingest.telemetry.registry.get_sample_value("wawp_exporter_names_over_limit", {"source": "default"})


def test_the_live_fleet_holds_what_a_start_would(tmp_path: Path) -> None:
    """An event over the limit is answered and logged; a retry of it is a duplicate; and the metric says so at once."""

    async def play() -> None:
        async with ingesting(tmp_path, 2) as ingest:
            outcomes = [await ingest.submit(each) for each in [*of("abc"), *of("c")]]
            assert outcomes == [TRANSITION, TRANSITION, IGNORED, DUPLICATE]
            assert (names(ingest), reported(ingest)) == ("ab", 1)
        async with ingesting(tmp_path, 5) as ingest:
            assert names(ingest) == "ab"

    asyncio.run(play())


def test_room_is_given_to_names_that_waited_and_a_restart_agrees(tmp_path: Path) -> None:
    """A raised limit or a deletion: nothing is lost of what came while they were over it."""

    async def play() -> None:
        async with ingesting(tmp_path, 1) as ingest:
            for each in [*of("abc"), *of("b", F, 10), *of("c", F, 10)]:
                await ingest.submit(each)
            await ingest.cleaning.admit()
            assert (names(ingest), reported(ingest)) == ("a", 2)
            await ingest.forget(("default", "a"))
            await ingest.cleaning.admit()
            assert (names(ingest), reported(ingest)) == ("b", 1)
            assert await ingest.submit(event(S, 5, key=("default", "b"))) is LATE
            assert await ingest.submit(event(S, 20, key=("default", "b"))) is TRANSITION
            live = ingest.fleet.sessions["default", "b"].state
            assert (live.since, live.down_since) == (ms(20), ms(5))
        async with ingesting(tmp_path, 2) as ingest:
            ingest.fleet.awaken(9, ms(30), 0)
            assert ingest.fleet.sessions["default", "b"].state == live
            await ingest.cleaning.admit()
            assert (names(ingest), reported(ingest)) == ("bc", 0)

    asyncio.run(play())


def test_a_deletion_that_retention_has_taken_is_let_go(tmp_path: Path) -> None:
    """Else every name that ever was would stay in memory."""

    async def play() -> None:
        async with ingesting(tmp_path, 9) as ingest:
            for each in of("ab"):
                await ingest.submit(each)
            for name in "ab":
                await ingest.forget(("default", name))
            far = max(grave.at for grave in ingest.fleet.graves.values()) + 1
            await ingest.cleaning.purge(far)
            await ingest.cleaning.purge_names(far)
            await ingest.cleaning.forget_tombstones(far)
            assert ingest.fleet.graves == {}

    asyncio.run(play())


def test_signs_of_life_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log of replicas cannot be written they wait in memory, also those of names that nobody knows."""
    monkeypatch.setattr(last_seen, "MAX_TIMES", 2)

    async def play() -> None:
        async with ingesting(tmp_path, 9) as ingest:
            ingest.log.shared = True
            for name in "abc":
                ingest.last_seen.touch(("default", name), ms(0))
            ingest.log.shared = False
            assert len(ingest.last_seen) == 2
            ingest.last_seen._times.clear()

    asyncio.run(play())


# -- replicas


def test_replicas_fold_the_same_names(replicas: Replicas) -> None:  # noqa: F811 - the fixture
    """Whichever of them took the event; and all of them fold a name that room was made for."""
    both = replicas(2, metrics={"max_names_per_source": 2})
    outcomes = [post(both[number % 2], name) for number, name in enumerate(("a", "b", "c", "d"))]
    assert outcomes == ["transition", "transition", "ignored", "ignored"]
    for replica in both:
        parts.wait_until(lambda replica=replica: [status_of(replica, name) for name in "abcd"] == [W, W, None, None])

    both[0].client.delete(f"{both[0].url}/api/v1/sessions/default/a").raise_for_status()
    os.kill(both[1].pid, signal.SIGHUP)  # looks for room at once, as each replica does every minute

    for replica in both:
        parts.wait_until(lambda replica=replica: [status_of(replica, name) for name in "abcd"] == [None, W, W, None])
