"""Silence against a session's habit, on a running service whose log has the counts of five weeks."""

import re
from collections.abc import Callable

from tests import parts
from tests.habits import HOUR_S, Habit, take_up

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


def test_a_holiday_of_a_whole_source_is_no_problem(exporter: Callable[..., parts.Exporter]) -> None:
    """A tenth comes, and to one session nothing for four hours: the others show that it is no wonder."""
    service = exporter({"sources": {"default": {}, "holiday": {}}}, pace=0.05)
    dead = {("default", name): Habit(silent=4 if name == "dead" else 0) for name in ("dead", "a", "b", "c", "d", "e")}
    holiday = {("holiday", f"h{number}"): Habit(holiday=9) for number in range(6)}
    take_up(service, dead | holiday | {("holiday", "h9"): Habit(silent=4, holiday=9)})

    parts.wait_until(lambda: PROBLEM.findall(service.metrics()))
    assert [name for name, _ in PROBLEM.findall(service.metrics())] == ["dead"]
    assert OUTAGE.findall(service.metrics()) == []
