"""Which sessions are too quiet, by the counts in a log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests import parts
from tests.builders import event
from wawp_exporter.audit.quiet import Candidate, Wall, quiet_sessions
from wawp_exporter.log.log import Log
from wawp_exporter.log.messages import Hour, News, Traffic
from wawp_exporter.log.tables import run
from wawp_exporter.model.quiet import WEEK
from wawp_exporter.model.rules import Key
from wawp_exporter.simulator.plan import Role, Scenario, dice
from wawp_exporter.simulator.scenarios import find
from wawp_exporter.simulator.talks import messages, usual

HOUR_S = 3600
NOW = 1_795_003_200  # the begin of an hour, in seconds
WEEKS = 5 * 168
ORDINARY_S, TROUBLE_S = 22 * 86_400, 6 * HOUR_S


def counted(sessions: Mapping[Key, tuple[int, int]]) -> News:
    """Sessions with so many messages in each hour, but for the last ones."""
    hours = [
        Hour(key, NOW - ago * HOUR_S, count, 0)
        for key, (count, silent) in sessions.items()
        for ago in range(silent + 1, WEEKS)
    ]
    return News([Traffic(key, 1, 0, 1) for key in sessions], hours)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log is."""
    return tmp_path / "wawp.db"


def fill(
    path: Path,
    sessions: Mapping[Key, tuple[int, int]],
    pause: tuple[float, float] = (0, 0),
    hours: Sequence[Hour] = (),
) -> None:
    """Writes the log of an exporter that has run for long, with a pause from so many hours ago until so many."""
    log = Log(path)
    log.append([event("WORKING", key=key, received=-WEEKS * HOUR_S) for key in sessions])
    news = News([Traffic(key) for key in sessions], hours) if hours else counted(sessions)
    log.messages.store(news, NOW * 1000, 0)
    spans = [(WEEKS + 24, pause[0]), (pause[1], 0)] if pause[0] else [(WEEKS + 24, 0)]
    with log.database.writing() as writer:
        for begun, seen in spans:
            row: dict[str, Any] = {"started_at": (NOW - begun * HOUR_S) * 1000, "seen_at": (NOW - seen * HOUR_S) * 1000}
            writer.execute(sa.insert(run).values(**row))
    log.close()


def candidates(sessions: Mapping[Key, tuple[int, int]], limit: float = 50) -> dict[Key, Candidate]:
    """Those that are silent, since the middle of the hour before."""
    return {
        key: Candidate((NOW - silent * HOUR_S - 1800) * 1000, limit) for key, (_, silent) in sessions.items() if silent
    }


def found(path: Path, sessions: Mapping[Key, tuple[int, int]], minutes: int = 1) -> dict[str, float]:
    """Since how many hours those are silent that are too quiet."""
    quiet = quiet_sessions(path, candidates(sessions), (NOW + minutes * 60) * 1000, "UTC")
    return {name: (NOW * 1000 - since) / HOUR_S / 1000 for (_, name), since in quiet.items()}


def named(**sessions: tuple[int, int]) -> dict[Key, tuple[int, int]]:
    """Sessions of one source."""
    return {("default", name): habit for name, habit in sessions.items()}


def test_a_session_that_stopped_receiving_is_found(path: Path) -> None:
    """And no other: one that receives little, one that has been silent for a moment."""
    sessions = named(dead=(30, 3), rare=(1, 3), busy=(30, 0), other=(30, 0))
    fill(path, sessions)

    assert found(path, sessions) == {"dead": 3.5}


def test_a_whole_source_is_silent_since_one_instant(path: Path) -> None:
    """So that it becomes one outage, those too that alone would not have been noticed yet."""
    sessions = named(a=(30, 3), b=(20, 3), c=(2, 3))
    fill(path, sessions)

    assert found(path, sessions) == dict.fromkeys("abc", 3.5)


def test_a_session_alone_in_its_source_is_compared_with_the_other_sources(path: Path) -> None:
    """They show as well whether it is a holiday; without them more must be missing."""
    sessions = {("one", "dead"): (30, 3), ("two", "well"): (30, 0)}
    fill(path, sessions)
    lone = path.parent / "lone.db"
    fill(lone, {("one", "dead"): (30, 3)})

    assert found(path, sessions) == {"dead": 3.5}
    assert found(lone, sessions) == {}


@pytest.mark.parametrize("change", ["2026-03-29", "2026-10-25"])
def test_the_same_hour_a_week_later_is_by_the_clock_on_the_wall(change: str) -> None:
    """Also where the clock was set forward or back between them: people write by their clocks."""
    zone = ZoneInfo("Europe/Berlin")
    wall, noon = Wall(zone), datetime.fromisoformat(f"{change}T12:00").replace(tzinfo=zone)
    before = (noon - timedelta(days=3), noon + timedelta(days=4))
    first, second = (wall.hour(round(at.timestamp())) for at in before)

    assert before[1].timestamp() - before[0].timestamp() != WEEK * HOUR_S
    assert second - first == WEEK


def test_what_came_while_the_exporter_did_not_run_is_not_known(path: Path) -> None:
    """The silence begins with its return; and a session that was silent in a pause was not silent by itself."""
    sessions = named(dead=(30, 5), busy=(30, 0), other=(30, 0))
    fill(path, sessions, pause=(4.5, 2.2))

    assert found(path, sessions) == {"dead": 2.2}


def test_a_pause_that_goes_on_until_now_leaves_nothing_to_say(path: Path) -> None:
    """An exporter that has just been started knows nothing of the last hours."""
    sessions = named(dead=(30, 5), busy=(30, 0), other=(30, 0))
    fill(path, sessions, pause=(4.5, 0.1))

    assert found(path, sessions) == {}


def received(play: Scenario, number: int) -> list[int]:
    """When a session of a simulated fleet received messages: three weeks as ever, then six hours of the trouble."""
    talks = play.talks if number == 1 or play.share else usual
    assert talks
    role = Role(f"session-{number:03d}", 0, "GOWS", dice(number), 2 * ORDINARY_S, 0)
    until = replace(role, duration=ORDINARY_S + TROUBLE_S)
    begin = NOW - round(until.duration)
    return [begin + each.at_ms // 1000 for each in messages(until, talks(role), 1) if not each.own]


@pytest.mark.parametrize(
    ("name", "expected"), [("zombie", {"session-001"}), ("half-dead", {"session-001"}), ("quiet-holiday", set())]
)
def test_of_a_simulated_fleet_those_are_quiet_that_are_dead(path: Path, name: str, expected: set[str]) -> None:
    """A holiday, on which all of them receive a tenth, is no trouble."""
    times = {("default", f"session-{number:03d}"): received(find(name), number) for number in (1, 2, 3)}
    hours = [
        Hour(key, hour * HOUR_S, count, 0)
        for key, its in times.items()
        for hour, count in Counter(at // HOUR_S for at in its).items()
    ]
    fill(path, dict.fromkeys(times, (0, 0)), hours=hours)

    waiting = {key: Candidate(its[-1] * 1000, 50) for key, its in times.items()}
    assert {session for _, session in quiet_sessions(path, waiting, (NOW + 60) * 1000, "UTC")} == expected


def test_a_source_that_was_silent_is_not_held_against_one_session(path: Path) -> None:
    """Whose messages come in these very hours: nothing is to be expected of it until the same hours of the next day."""
    broken = range(NOW // HOUR_S - 20, NOW // HOUR_S - 8)
    always = [hour for hour in range(NOW // HOUR_S - WEEKS, NOW // HOUR_S) if hour not in broken]
    daily = [hour for hour in always if (NOW // HOUR_S - hour - 1) % 24 in range(8, 20)]
    habits = {("default", name): always for name in "abc"} | {("default", "daily"): daily}
    fill(
        path,
        dict.fromkeys(habits, (0, 0)),
        hours=[Hour(k, h * HOUR_S, 30, 0) for k, its in habits.items() for h in its],
    )
    waiting = {("default", "daily"): Candidate((daily[-1] * HOUR_S + 1800) * 1000, 50)}

    assert quiet_sessions(path, waiting, (NOW + 60) * 1000, "UTC") == {}
    assert quiet_sessions(path, waiting, (NOW + 12 * HOUR_S) * 1000, "UTC").keys() == waiting.keys()


def test_no_candidates_no_result(tmp_path: Path) -> None:
    """As nearly always."""
    fill(tmp_path / "wawp.db", named(busy=(30, 0)))

    assert quiet_sessions(tmp_path / "wawp.db", {}, parts.now_ms(), "UTC") == {}
