"""The system's clock is set back and forward while the service runs: nothing is hidden, nothing is there twice."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import body
from tests.event_log import transitions_of
from tests.live.test_ingest import ingesting
from wawp_exporter.dialects.waha import parse
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.outcome import Outcome

W, F = "WORKING", "FAILED"
BACK, FORWARD = -50 * 60, 2 * 3600  # seconds

Clock = Callable[[int], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the wall clock of this process so many seconds from the true time; the monotonic one goes on."""
    moved, real = [0], time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + moved[0] * 1_000_000_000)

    def change(seconds: int) -> None:
        moved[0] = seconds

    return change


def received(**more: Any) -> StatusEvent:
    """A webhook that comes now, by the system's clock."""
    item = parse("default", body(**more), unix_now())
    assert isinstance(item, StatusEvent)
    return item


def pages(ingest: Ingest, limit: int) -> Iterator[TransitionRow]:
    """What pages of the log tell, one after another."""
    cursor = None
    with History(ingest.log.place) as history:
        while True:
            found, cursor = history.transitions(limit=limit, cursor=cursor)
            yield from found
            if not cursor:
                return


def test_pages_tell_every_transition_whatever_the_clock_showed(tmp_path: Path, set_clock: Clock) -> None:
    """Events are in the order of their times, not of arrival; no page ends where the clock was set back."""

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            number = 0
            for seconds in (0, BACK, FORWARD, 0):
                set_clock(seconds)
                for _ in range(11):
                    number += 1
                    await ingest.submit(received(session=f"s{number}", status=F, timestamp=unix_now() - number))
                    await ingest.submit(received(session="one", status=(W, F)[number % 2], timestamp=unix_now()))

            for limit in (3, 100):
                told = list(pages(ingest, limit))
                assert {each.session for each in told} == {"one", *(f"s{each}" for each in range(1, number + 1))}
                assert len({each.seq for each in told}) == len(told)
                assert len([each for each in told if each.session == "one"]) == len(
                    transitions_of(ingest.log, "default", "one")
                )

    asyncio.run(play())


@pytest.mark.parametrize("seconds", [BACK, FORWARD])
def test_a_retry_of_an_event_without_a_time_is_known_whatever_the_clock_shows(
    tmp_path: Path, set_clock: Clock, seconds: int
) -> None:
    """Its key is kept for an hour of a clock that nobody sets."""
    untimed = {"session": "old", "leave_out": ["timestamp", "id"], "payload": {"name": "old", "status": F}}

    async def play() -> None:
        async with ingesting(tmp_path) as ingest:
            outcomes = [await ingest.submit(received(**untimed))]
            set_clock(seconds)
            outcomes += [await ingest.submit(received(**untimed)) for _ in range(2)]
            set_clock(0)
            outcomes.append(await ingest.submit(received(**untimed)))

            assert outcomes == [Outcome.TRANSITION, *[Outcome.DUPLICATE] * 3]
            assert len(list(pages(ingest, 10))) == 1

    asyncio.run(play())
