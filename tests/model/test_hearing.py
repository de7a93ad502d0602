"""What the fleet passes on to its judge: events, late ones, deletions, windows, reloads, and time."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import DAY, KEY, apply, clock, config, event, live, make_fleet, ms, point, state, timelock
from wawp_exporter.model.event import STARTING, Status
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.limits import CONSTANTS
from wawp_exporter.model.rules import Rules
from wawp_exporter.model.session import Memory

W, S, D, F, Q = "WORKING", "STARTING", "DISCONNECTED", "FAILED", "SCAN_QR_CODE"


def problems(fleet: Fleet, at: float) -> dict[str, int]:
    """The problems of the session when the time is `at` seconds after T0, each with its begin in the same way."""
    fleet.advance(ms(at), clock(at))
    return {str(problem): round((since - ms(0)) / 1000) for problem, since in fleet.judge.problems(KEY).items()}


def window(start: float, end: float) -> dict[str, Any]:
    """A window of maintenance of all sessions."""
    first, last = (datetime.fromtimestamp(ms(at) / 1000, UTC) for at in (start, end))
    return {"maintenance": [{"from": first, "to": last}]}


def test_a_session_that_is_lost_has_its_problem_and_then_none() -> None:
    """Deadlines wake the fleet: 5 s after DISCONNECTED, 60 s after WORKING."""
    fleet = live((W, 0), (D, 100))

    assert problems(fleet, 104.9) == {}
    assert fleet.next_deadline == ms(105)
    assert problems(fleet, 105) == {"disconnected": 100}
    apply(fleet, event(W, 110))
    assert problems(fleet, 169) == {"disconnected": 100}
    assert problems(fleet, 170) == {}


def test_limits_are_those_of_the_session() -> None:
    """The defaults, and what the configuration overrides for it."""
    rule = {"session": "sales-*", "thresholds": {"starting": "3m"}}
    fleet = make_fleet(sessions=[rule], thresholds={"down": "1h"})
    limits = fleet.rules.meta(*KEY).limits

    assert (limits.starting, limits.failed, limits.down) == (180_000, 10_000, 3_600_000)


def test_of_points_that_come_at_once_the_last_one_counts() -> None:
    """A history that is received late: what was over when it came is not counted as lost."""
    fleet = live((W, 0))
    apply(fleet, event(W, 60, received=300, before=[point(D, 50)]))

    assert problems(fleet, 400) == {}
    assert fleet.judge.outages.losses == {}


def test_a_late_event_changes_what_is_said() -> None:
    """The fold is corrected from the log, and the judge with it."""
    fleet = live((W, 0), (S, 100))
    apply(fleet, event(W, 90, received=101))
    corrected = state(S, 100, worked=True, down_since=ms(100), left_working=ms(100))
    fleet.correct(KEY, corrected, ms(102), clock(102), ms(101))

    assert problems(fleet, 171) == {"stuck_starting": 100}
    assert fleet.sessions[KEY].state.status is STARTING


def test_a_deleted_session_has_no_problem() -> None:
    """Nor is it counted any more among those that shares are taken of."""
    fleet = live((W, 0), (D, 100))
    assert problems(fleet, 110) == {"disconnected": 100}

    fleet.forget(KEY, ms(111), clock(111))

    assert problems(fleet, 112) == {}
    assert fleet.judge.outages.population.total() == 0


def test_a_window_begins_and_ends_at_its_own_instants() -> None:
    """However late the fleet is advanced: what is still broken at the end settles from there."""
    fleet = live((W, 0), (D, 50), **window(100, 200))
    assert problems(fleet, 99) == {"disconnected": 50}

    assert problems(fleet, 100) == {}
    assert problems(fleet, 204) == {}
    assert problems(fleet, 500) == {"disconnected": 50}
    assert fleet.judge.cases[KEY].learned == ms(200)


def test_a_restriction_is_a_problem_from_its_first_statement() -> None:
    """Gateways repeat it with each status."""
    fleet = live((W, 0))
    for at in (10, 20, 30):
        apply(fleet, event(W, at, limits=[timelock()]))

    assert problems(fleet, 40) == {"reachout_timelock": 10}


def test_a_reload_with_other_limits_counts_at_once() -> None:
    """A limit that is raised takes back what has not been exported; one that is lowered exports it."""
    fleet = live((W, 0), (Q, 100))
    assert problems(fleet, 200) == {"login": 100}

    fleet.reconfigure(Rules(config(thresholds={"qr_escalate": "1m"})), ms(200), clock(200))

    assert problems(fleet, 211) == {"login": 100, "login_overdue": 100}


def test_a_silent_session_is_heard_of_by_messages() -> None:
    """They are not in the log, so no time passes by them; but silence ends."""
    fleet = live((W, 0), thresholds={"silent": "60s"})
    assert problems(fleet, 70) == {"silent": 0}

    fleet.touch(KEY, ms(75), clock(75))

    assert problems(fleet, 80) == {}
    assert problems(fleet, 145) == {"silent": 75}


def test_a_pause_of_the_exporter_is_no_silence_of_a_session() -> None:
    """What came meanwhile is not known. A silence that was too long before goes on."""
    fleet = live((W, 0), thresholds={"silent": "60s"})
    live((W, 50), key=("default", "b"), fleet=fleet)
    assert problems(fleet, 80) == {"silent": 0}

    fleet.hearing.pause({"default": ms(500)})

    assert problems(fleet, 569) == {"silent": 0}
    assert not fleet.judge.problems(("default", "b"))
    problems(fleet, 570)
    assert fleet.judge.problems(("default", "b")) == {"silent": ms(500)}


def test_an_own_message_that_is_not_acknowledged_is_a_problem() -> None:
    """From when it was sent, once it is over the limit and has settled; an acknowledgement ends it."""
    fleet = live((W, 0), thresholds={"undelivered": "60s"})
    fleet.hearing.overhear(KEY, unacknowledged=ms(100))

    assert problems(fleet, 169) == {}
    assert problems(fleet, 170) == {"undelivered": 100}
    fleet.hearing.overhear(KEY, unacknowledged=0)
    assert problems(fleet, 171) == {}


def test_a_message_that_is_heard_of_late_settles_before_it_is_a_problem() -> None:
    """After a pause senders try again: the message and its acknowledgement come some seconds apart, long after both."""
    fleet = live((W, 0), thresholds={"undelivered": "60s"})
    assert problems(fleet, 500) == {}

    fleet.hearing.overhear(KEY, unacknowledged=ms(100))

    assert problems(fleet, 509) == {}
    assert problems(fleet, 510) == {"undelivered": 100}
    fleet.hearing.overhear(KEY, unacknowledged=ms(200))
    assert problems(fleet, 511) == {"undelivered": 200}


def test_in_a_silence_of_all_it_holds_without_being_said() -> None:
    """The outage stands for it; but the check before a send must know."""
    fleet = live((W, 0), thresholds={"undelivered": "60s", "silent": "30s"})
    for name in ("b", "c"):
        live((W, 0), key=("default", name), fleet=fleet)
    fleet.hearing.overhear(KEY, unacknowledged=ms(5))
    fleet.hearing.wake(ms(50))
    assert [outage.kind for outage in fleet.judge.exported()] == ["silence"]
    assert fleet.judge.holding(KEY) == {"silent"}

    assert problems(fleet, 80) == {}
    assert fleet.judge.holding(KEY) == {"silent", "undelivered"}
    fleet.hearing.overhear(KEY, unacknowledged=0)
    assert fleet.judge.holding(KEY) == {"silent"}


def test_it_counts_while_working_only_and_for_a_day() -> None:
    """A session that is lost sends nothing anyway; after a day the message is given up."""
    fleet = live((W, 0), thresholds={"undelivered": "60s"})
    fleet.hearing.overhear(KEY, unacknowledged=ms(100))
    assert problems(fleet, 200) == {"undelivered": 100}

    apply(fleet, event(D, 300))
    assert problems(fleet, 310) == {"disconnected": 300}
    apply(fleet, event(W, 400))
    assert problems(fleet, 461) == {}
    assert problems(fleet, 470) == {"undelivered": 400}
    assert problems(fleet, 100 + DAY - 1) == {"undelivered": 400}
    assert problems(fleet, 100 + DAY) == {}


@pytest.mark.parametrize("limit", ["0s", "2d"])
def test_undelivered_can_be_switched_off(limit: str) -> None:
    """0s is off; so is a limit beyond a day."""
    fleet = live((W, 0), thresholds={"undelivered": limit})
    fleet.hearing.overhear(KEY, unacknowledged=ms(100))

    assert problems(fleet, 2 * DAY + 500) == {}


def test_a_session_that_is_quieter_than_its_habit_is_silent_until_a_message_comes() -> None:
    """Since its last incoming message; what it sends itself, or other events, are no end of it."""
    fleet = live((W, 0))
    fleet.hearing.overhear(KEY, quiet=ms(50))
    assert problems(fleet, 9) == {}
    assert problems(fleet, 3610) == {"silent": 50}

    fleet.touch(KEY, ms(3620), clock(3620))
    assert problems(fleet, 3630) == {"silent": 50}
    fleet.hearing.arrived(KEY)
    assert problems(fleet, 3640) == {}


def test_a_repeat_changes_nothing_that_the_judge_knows() -> None:
    """Heartbeats are most of what comes."""
    fleet = live((W, 0), (W, 30), (W, 60))

    assert fleet.judge.cases[KEY].facts.state.at == ms(0)
    assert fleet.judge.now == ms(0)


def test_another_engine_is_another_scope() -> None:
    """The session is one of the others that shares are taken of."""
    fleet = live((W, 0))
    apply(fleet, event(W, 30, engine="NOWEB"))

    assert {scope: count for scope, count in fleet.judge.outages.population.items() if count} == {
        ("default", "NOWEB"): 1
    }


def test_a_fleet_that_a_new_judge_meets_is_judged_by_its_states() -> None:
    """The first start with a log of an older version: what is broken settles, with its real begin."""
    fleet = make_fleet()
    lost = state(D, 50, worked=True, down_since=ms(50), left_working=ms(50))
    for number in range(4):
        fleet.restore(("default", f"s{number}"), Memory(lost, "GOWS", ms(50)), ms(1000), clock(1000))

    assert fleet.judge.outages.population.total() == 4
    fleet.advance(ms(1000) + CONSTANTS.outage_settle_ms, clock(1005))
    (outage,) = fleet.judge.exported()
    assert (outage.size, outage.since) == (4, ms(50))


def test_the_judge_sees_no_event_twice() -> None:
    """A retry that the log held is a duplicate."""
    fleet = live((W, 0), (F, 100))
    apply(fleet, event(F, 100, received=105), fresh=(False,))

    assert fleet.judge.cases[KEY].learned == ms(100)
    assert Problem.FAILED not in fleet.judge.problems(KEY)
    assert fleet.judge.cases[KEY].status is Status.FAILED


def test_a_clock_that_is_set_back_does_not_keep_the_judge_waiting() -> None:
    """It was half an hour ahead for a moment; what is lost then is a problem after 5 s, and over after 60 s."""
    fleet = live((W, 0))
    problems(fleet, 1800)

    problems(fleet, 10)
    apply(fleet, event(D, 11))
    assert problems(fleet, 15.9) == {}
    assert problems(fleet, 16) == {"disconnected": 11}
    apply(fleet, event(W, 20))
    assert problems(fleet, 80) == {}


def test_what_began_while_the_clock_was_ahead_goes_on_when_it_is_set_back() -> None:
    """A problem that was exported stays, one that settles goes on to settle, and a window is looked at again."""
    fleet = live((W, 0))
    apply(fleet, event(D, 5, received=1800))
    assert problems(fleet, 1804) == {}

    assert problems(fleet, 10) == {}
    assert problems(fleet, 15) == {"disconnected": 5}
    problems(fleet, 1800)
    assert problems(fleet, 16) == {"disconnected": 5}


def test_a_window_that_a_wrong_clock_began_ends_when_the_clock_is_set_back() -> None:
    """Else the session would be in maintenance until its end comes again."""
    fleet = live((W, 0), **window(1000, 2000))
    problems(fleet, 1500)
    problems(fleet, 10)
    apply(fleet, event(D, 11))

    assert problems(fleet, 20) == {"disconnected": 11}
    assert problems(fleet, 1001) == {}
    assert problems(fleet, 2004) == {}
    assert problems(fleet, 2005) == {"disconnected": 11}


def test_a_clock_that_goes_back_by_seconds_changes_nothing() -> None:
    """Replicas' clocks differ, and each of them dates what it receives."""
    fleet = live((W, 0))
    problems(fleet, 100)
    problems(fleet, 41)

    assert fleet.judge.now == ms(100)


def test_a_clock_that_is_behind_for_a_moment_makes_nothing_older_than_it_is() -> None:
    """Gateways have given later times than it shows, so it is wrong now: else logins would be overdue at once."""
    fleet = live((W, 0))
    apply(fleet, event(Q, 4000, received=4001))
    assert problems(fleet, 4002) == {"login": 4000}

    problems(fleet, 400)
    apply(fleet, event(Q, 4001, received=400))
    assert problems(fleet, 4004) == {"login": 4000}
    assert problems(fleet, 4400) == {"login": 4000, "login_overdue": 4000}


def test_a_gateway_whose_own_clock_is_ahead_does_not_speak_for_the_wrong_one() -> None:
    """While the clock was half an hour ahead, the time of a gateway that is 400 s ahead was believed."""
    fleet = live((W, 0))
    apply(fleet, event(W, 410, received=1810, key=("default", "other")))

    problems(fleet, 12)
    apply(fleet, event(D, 13))
    assert problems(fleet, 18) == {"disconnected": 13}


def test_an_event_without_a_time_does_not_speak_for_a_clock() -> None:
    """It has the time of its receipt: what is lost after the clock was set back is a problem all the same."""
    fleet = live((W, 0))
    apply(fleet, event(W, 1800, key=("default", "other")))

    problems(fleet, 10)
    apply(fleet, event(D, 11))
    assert problems(fleet, 16) == {"disconnected": 11}
