"""A pause of the exporter, or of a source, is no silence of a session: what was sent meanwhile is not known."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.builders import make_fleet
from wawp_exporter.config.load import check
from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.judgements import Judgement
from wawp_exporter.log.log import Log
from wawp_exporter.log.messages import News, Traffic
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.service.service import Service

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
A, B, TWO = ("default", "a"), ("default", "b"), ("two", "a")
SILENT = {"thresholds": {"silent": "1h"}}
BOTH = {"sources": {"default": {}, "two": {}}}

Problems = dict[Key, dict[str, int]]


class Past:
    """What exporters left in a log, told in minutes before now."""

    def __init__(self, place: Path | str) -> None:
        self.now = unix_now()
        self.database = {"database": {"url": place if isinstance(place, str) else f"sqlite:///{place}"}}
        self.log = Log(place)
        self.log.messages.key()

    def ago(self, minutes: float) -> int:
        """Unix ms."""
        return self.now - round(minutes * MINUTE)

    def event(self, key: Key, minutes: float) -> StatusEvent:
        """WORKING."""
        at = self.ago(minutes)
        return StatusEvent(*key, (Point("WORKING", at, 0, at),), at, engine="GOWS")

    def run(self, begin: float, end: float, events: dict[Key, float], **sections: Any) -> None:
        """An exporter ran, whose sessions each had an event and a message; it saved what it judged at its end."""
        fleet = make_fleet(**sections)
        for key, minutes in events.items():
            event = self.event(key, minutes)
            fleet.apply(event, self.log.append([event]).rows[0], event.received_at, 0.0)
            self.log.messages.store(News([Traffic(key, 1, 0, event.received_at)]), event.received_at, 0)
        fleet.advance(self.ago(end), 0.0)
        sources, cases, mark = list(fleet.rules.config.sources), fleet.judge.cases, self.log.append([]).mark
        judgement = Judgement(fleet.judge.dump(sources), {key: fleet.judge.saved(key) for key in cases}, mark)
        self.log.save(fleet.take_unsaved(), mark.seq, sources=sources, judgement=judgement)
        self.ran(begin, end)

    def ran(self, begin: float, end: float) -> None:
        """An exporter ran."""
        self.log.runs.beat(self.ago(begin))
        self.log.runs.beat(self.ago(end))
        self.log.runs = type(self.log.runs)(self.log.database)

    def start(self, look: Callable[[Service], None] | None = None, ahead: float = 0.4, **sections: Any) -> Problems:
        """The problems that a service exports that starts now, so many minutes ahead."""
        self.log.close()
        return asyncio.run(self._start(look, ahead, self.database | SILENT | sections))

    async def _start(self, look: Callable[[Service], None] | None, ahead: float, sections: dict[str, Any]) -> Problems:
        service = Service(check(sections))
        await service.start()
        try:
            await service.jobs.awaken()
            if look:
                look(service)
            service.fleet.advance(unix_now() + round(ahead * MINUTE), 0.0)
            return {key: dict(case.problems) for key, case in service.fleet.judge.cases.items() if case.problems}
        finally:
            await service.stop()


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """A log of the past."""
    return Past(tmp_path / "wawp.db")


@pytest.fixture
def anywhere(place: Path | str) -> Past:
    """The same in either database."""
    return Past(place)


def test_a_session_that_was_quiet_before_a_pause_is_not_silent_after_it(past: Past) -> None:
    """It was heard 5 minutes before a pause of 70."""
    past.run(120, 70, {A: 75}, **SILENT)

    assert past.start() == {}


def test_a_start_that_was_killed_before_it_saved_leaves_the_pause_known(anywhere: Past) -> None:
    """What it received comes after the pause: the judge does not let the pause pass with it. The same is true of a
    replica that starts soon after the first one."""
    anywhere.run(120, 70, {A: 75}, **SILENT)
    anywhere.ran(0.05, 0.05)
    anywhere.log.append([anywhere.event(B, 0.03)])

    assert anywhere.start() == {}


def test_each_of_several_pauses_is_one(anywhere: Past) -> None:
    """An exporter that crashes again and again before it saves: what it received ends no pause but its own."""
    anywhere.run(120, 80, {A: 85, TWO: 85}, **SILENT, **BOTH)
    for minutes in (10, 5):
        anywhere.ran(minutes, minutes - 0.01)
        anywhere.log.append([anywhere.event(B, minutes - 0.01)])

    assert anywhere.start(**BOTH) == {}


def test_a_silence_stays_while_another_source_is_judged_from_an_earlier_place(past: Past) -> None:
    """Its source comes back with a row that was never judged: time goes back for all, and on again before the pause."""
    past.run(3000, 2900, {TWO: 2950}, **SILENT, **BOTH)
    past.log.append([past.event(("two", "late"), 2899)])
    past.run(2800, 80, {A: 1000}, **SILENT)

    assert past.start(**BOTH)[A] == {"silent": past.ago(1000)}


def test_a_start_is_known_before_it_takes_its_first_event(past: Past) -> None:
    """Also if it is killed at once: else the end of the pause would not be known."""
    past.run(120, 70, {A: 75}, **SILENT)
    past.log.close()
    service = Service(check(past.database | SILENT))

    async def start() -> int:
        await service.start()
        try:
            return service.log.runs.last_seen()
        finally:
            await service.stop()

    assert asyncio.run(start()) >= past.now


def test_rows_of_before_a_pause_are_judged_before_it(past: Past) -> None:
    """A kill left them behind the judgement: what was too long silent by them was a problem, and stays one."""
    past.run(300, 200, {A: 200}, **SILENT)
    past.log.append([past.event(B, 130)])
    past.ran(300, 129)

    assert past.start() == {A: {"silent": past.ago(200)}}


def test_no_silence_becomes_too_long_in_a_pause_within_maintenance(past: Past) -> None:
    """At the end of its window a session is not silent, since nobody listened."""
    first, last = (datetime.fromtimestamp(past.ago(minutes) / 1000, UTC) for minutes in (100, -0.1))
    sections = SILENT | {"maintenance": [{"from": first, "to": last}]}
    past.run(120, 70, {A: 110}, **sections)

    assert past.start(**sections) == {}


def test_a_threshold_that_comes_with_a_start_counts_from_the_end_of_a_pause(past: Past) -> None:
    """The judge knew nothing of the session until then. It is not shown as troubled either."""
    past.run(120, 70, {A: 75})

    def look(service: Service) -> None:
        assert service.fleet.sessions[A].rank == "working"
        assert not service.fleet.sessions[A].silent(unix_now())

    assert past.start(look) == {}


def test_a_silence_of_before_a_pause_stays_a_problem(past: Past) -> None:
    """With its begin, also after a reload that has it judged anew."""
    past.run(300, 70, {A: 200}, **SILENT)

    def look(service: Service) -> None:
        session = service.fleet.sessions[A]
        assert session.rank == "troubled"
        config = check(past.database | {"thresholds": {"silent": "65m"}}).config
        rules = service.fleet.rules.renewed(config, frozenset(), {})
        service.fleet.reconfigure(rules, unix_now(), 0.0)

    assert past.start(look) == {A: {"silent": past.ago(200)}}


def test_a_start_soon_after_a_pause_goes_on_with_what_the_one_before_knew(past: Past) -> None:
    """The end of a pause is saved for sessions of which nothing has been heard since."""
    past.run(120, 70, {A: 75, B: 75}, **SILENT)
    assert past.start() == {}

    past.log = Log(past.log.place)
    assert past.start() == {}


def test_a_source_that_a_start_brings_back_is_not_silent(anywhere: Past) -> None:
    """As after a reload: what was sent to it while it was not configured is not known."""
    anywhere.run(5 * DAY / MINUTE, 4000, {A: 4001, TWO: 4001}, **BOTH, **SILENT)
    anywhere.run(4000, 0, {A: 5}, **SILENT)

    assert anywhere.start(**BOTH) == {}


def test_a_source_is_not_silent_by_what_came_from_others_in_its_absence(past: Past) -> None:
    """Nor if the exporter paused too, and was killed before it saved their last events."""
    past.run(5 * DAY / MINUTE, 4000, {A: 4001, TWO: 4001}, **BOTH, **SILENT)
    past.run(4000, 75, {A: 76}, **SILENT)
    past.log.append([past.event(B, 74)])
    past.ran(4000, 73)

    assert past.start(**BOTH) == {}


def test_a_source_that_was_configured_all_the_time_stays_silent(past: Past) -> None:
    """All sources are saved together, however long nothing came from one of them."""
    past.run(300, 0, {A: 200, TWO: 10}, **BOTH, **SILENT)

    assert past.start(**BOTH) == {A: {"silent": past.ago(200)}}


def test_a_source_that_is_heard_again_forgets_the_silences_of_before() -> None:
    """They ended when nothing came from it any more."""
    known = Rules(make_fleet().rules.config, heard={"default": 5}, hushed=frozenset([A]))

    again = known.renewed(known.config, frozenset(), {"default": 9})

    assert known.meta(*A).heard == 0
    assert known.meta(*B).heard == 5
    assert again.meta(*A).heard == 9
