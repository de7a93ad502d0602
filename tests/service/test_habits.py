"""Silence against a session's habit, on a running service whose log has the counts of five weeks."""

import re
from collections.abc import Callable

from tests import parts
from tests.builders import live, make_fleet, ms
from tests.habits import HOUR_S, Habit, take_up
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.event import Direction
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key
from wawp_exporter.service.habits import candidates, muffled, take

PROBLEM = re.compile(
    r'^wawp_session_problem_since_timestamp_seconds\{.*session="(\w+)".*problem="silent".*\} (\S+)$', re.M
)
OUTAGE = re.compile(r'^wawp_outage_sessions\{.*kind="silence"\} (\d+)$', re.M)


def test_a_quiet_session_is_silent_until_a_message_comes(exporter: Callable[..., parts.Exporter]) -> None:
    """Without any configuration. An own message is no end of it: such a session may be able to send alone."""
    service = exporter(pace=0.05)
    take_up(
        service, {("default", "dead"): Habit(silent=4), ("default", "well"): Habit(), ("default", "other"): Habit()}
    )

    ((name, since),) = parts.wait_until(lambda: PROBLEM.findall(service.metrics()))
    assert name == "dead"
    assert abs(parts.now_ms() / 1000 - 4 * HOUR_S - float(since)) < HOUR_S
    own = {"event": "message.any", "session": "dead", "payload": {"fromMe": True, "id": "own", "ack": 1}}
    service.post(own).raise_for_status()
    assert PROBLEM.findall(service.metrics())
    service.post({"event": "message", "session": "dead", "payload": {"id": "in"}}).raise_for_status()
    parts.wait_until(lambda: not PROBLEM.findall(service.metrics()))


def test_a_source_that_is_silent_as_a_whole_is_one_outage(exporter: Callable[..., parts.Exporter]) -> None:
    """Nobody is told of each of its sessions."""
    service = exporter(pace=0.05)
    take_up(service, {("default", name): Habit(silent=4) for name in "abcd"})

    assert parts.wait_until(lambda: OUTAGE.findall(service.metrics())) == ["4"]
    assert PROBLEM.findall(service.metrics()) == []


def test_a_silence_of_many_ends_for_those_that_nobody_writes_to_at_night() -> None:
    """When the source is heard again: else its outage would last until each of them has received something."""
    fleet = make_fleet(thresholds={"silent": "0s"})
    keys = [("default", name) for name in "abcd"]
    for key in keys:
        live(("WORKING", 0), key=key, fleet=fleet)
        fleet.activity[key] = Activity()
        fleet.activity[key].count(Direction.IN, ms(60))
    night = ms(6 * HOUR_S)
    fleet.hearing.wake(night)
    take(fleet, dict(candidates(fleet, night)), dict.fromkeys(keys, ms(60)))
    fleet.hearing.wake(night + 60_000)
    assert [(outage.kind, outage.size) for outage in fleet.judge.exported()] == [("silence", 4)]

    fleet.activity[keys[0]].count(Direction.IN, night + 70_000)
    fleet.hearing.arrived(keys[0])
    waiting = dict(candidates(fleet, night + 2 * HOUR_S * 1000))
    assert waiting.keys() == {*keys}
    take(fleet, waiting, {keys[1]: ms(60)})
    fleet.hearing.wake(night + 2 * HOUR_S * 1000)

    assert [key for key in keys if muffled(fleet, key)] == [keys[1]]
    assert [key for key in keys if fleet.judge.problems(key)] == [keys[1]]
    assert candidates_of(fleet, night) == {*keys} - {keys[1]}


def candidates_of(fleet: Fleet, at: int) -> set[Key]:
    """Those that a look two hours later is for."""
    return {key for key, _ in candidates(fleet, at + 4 * HOUR_S * 1000)}


def test_a_holiday_of_a_whole_source_is_no_problem(exporter: Callable[..., parts.Exporter]) -> None:
    """A tenth comes, and to one session nothing for four hours: the others show that it is no wonder."""
    service = exporter({"sources": {"default": {}, "holiday": {}}}, pace=0.05)
    dead = {("default", name): Habit(silent=4 if name == "dead" else 0) for name in ("dead", "a", "b", "c", "d", "e")}
    holiday = {("holiday", f"h{number}"): Habit(holiday=9) for number in range(6)}
    take_up(service, dead | holiday | {("holiday", "h9"): Habit(silent=4, holiday=9)})

    parts.wait_until(lambda: PROBLEM.findall(service.metrics()))
    assert [name for name, _ in PROBLEM.findall(service.metrics())] == ["dead"]
    assert OUTAGE.findall(service.metrics()) == []
