"""The figures at the head of the dashboards are those of the story, though two replicas tell it."""

from collections.abc import Callable

import pytest

from grafana.tests import boards, story
from grafana.tests.story import MONTH, Truth
from tests import parts
from tests.builders import DAY

Shown = Callable[..., dict[str, float]]
UP = ("STARTING", "FAILED", "DISCONNECTED", "SCAN_QR_CODE", "WORKING")


@pytest.fixture
def shown(month: parts.Prometheus) -> Shown:
    """What a panel shows at the end of the month (or at another time): its last values by their labels' values."""

    def ask(board: str, title: str, at: float = story.END, session: str | None = None) -> dict[str, float]:
        values = boards.values_of(board, month, at) | ({"session": session} if session else {})
        query = next(each for each in boards.queries(board) if each.panel["title"] == title)
        answer = boards.ask(query, values, month, at)
        return {
            " ".join(value for _, value in sorted(series["metric"].items())): float(series["values"][-1][1])
            for series in answer
        }

    return ask


def test_the_fleet_counts_each_session_once(shown: Shown) -> None:
    """Seven sessions: one is STOPPED, one wants a scan, one has failed; four work."""
    assert shown("fleet", "How many sessions are there?") == {"": 7}
    assert shown("fleet", "How many sessions are not working?") == {"": 2}
    assert shown("fleet", "How much of the fleet works?") == {"": pytest.approx(4 / 6)}
    assert shown("fleet", "How many wait for somebody to log in?") == {"": 1}
    assert shown("fleet", "How many alerts fire?") == {"": 3}
    assert shown("fleet", "How many groups have no working member?") == {"": 1}


def test_the_fleet_says_who_needs_a_human(shown: Shown) -> None:
    """By session, with the age of the trouble in seconds."""
    down = shown("fleet", "Which sessions are down, and for how long?")
    waiting = shown("fleet", "Who waits for a login, and for how long?")

    assert sorted(down.values()) == pytest.approx([MONTH - story.LOST, MONTH - story.QR], abs=1)
    assert list(waiting.values()) == pytest.approx([MONTH - story.QR], abs=1)


def test_a_mass_failure_is_a_stripe(month: parts.Prometheus) -> None:
    """In the middle of it, every session of the engine has the colour of DISCONNECTED, and no other."""
    at = story.START + story.MASS[0] + 1800
    values = boards.values_of("fleet", month, at)
    query = next(each for each in boards.queries("fleet") if each.panel["title"].startswith("Status heatmap"))
    column = {one["metric"]["session"]: one["values"] for one in boards.ask(query, values, month, at)}

    # Scraped every half hour, 10 s after it: the scrape in the middle of the mass is what holds now.
    hit = {session for session, points in column.items() if points[-1][1] == "9"}
    assert hit == {"sales-1", "sales-2", "sales-3"}


def test_changes_are_counted_by_pair(shown: Shown) -> None:
    """In the last day the phone went FAILED, SCAN_QR_CODE, STARTING, WORKING; counts are extrapolated a little."""
    pairs = shown("fleet", "What changes into what?")

    assert set(pairs) == {
        "WORKING FAILED",
        "FAILED SCAN_QR_CODE",
        "SCAN_QR_CODE STARTING",
        "STARTING WORKING",
        "WORKING SCAN_QR_CODE",
    }
    assert pairs["WORKING FAILED"] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(("words", "days"), [("the last day", 1), ("the last week", 7), ("the last month", 30)])
def test_the_uptime_of_a_session_is_that_of_its_story(shown: Shown, words: str, days: int) -> None:
    """To a thousandth, though Prometheus looked every half hour and the exporter restarted in between."""
    truth = Truth(since=MONTH - days * DAY)
    expected = truth.seconds("phone", "WORKING") / truth.seconds("phone", *UP)

    assert shown("session", f"How reliable was it in {words}?") == {"": pytest.approx(expected, abs=0.001)}
    assert shown("session", f"How much of {words} is known?") == {"": pytest.approx(1, abs=0.002)}


def test_repair_and_failure_times_are_those_of_the_story(shown: Shown) -> None:
    """MTTR and MTBF of the last day: one failure of twenty minutes."""
    assert shown("session", "How long did it take to come back?")[""] == pytest.approx(story.STAY + 5, rel=0.1)
    assert shown("session", "How long did it work between failures?")[""] == pytest.approx(DAY - story.STAY, rel=0.1)
    assert shown("session", "How often was it lost?")[""] == pytest.approx(1, rel=0.05)


def test_a_session_that_is_down_says_since_when(shown: Shown) -> None:
    """Status, its age and the login episode of the one that is to be scanned."""
    assert shown("session", "Which status is it in?", session="new") == {"new default": 5}
    assert shown("session", "Since when?", session="new") == {"": pytest.approx((story.START + story.QR) * 1000)}
    assert shown("session", "For how long has it waited for a login?", session="new")[""] == MONTH - story.QR
    assert shown("session", "For how long has it waited for a login?", session="phone")[""] == 0


def test_availability_and_budget_are_those_of_the_story(shown: Shown) -> None:
    """Of a month; the objective is 99 %."""
    expected = story.availability()

    assert shown("slo", "How available were we?") == {"default": pytest.approx(expected, abs=0.0005)}
    left = 1 - (1 - expected) / 0.01
    assert shown("slo", "How much of the error budget is left?") == {"default": pytest.approx(left, abs=0.05)}
    assert shown("slo", "How much of the range is known?") == {"": pytest.approx(1, abs=0.01)}


def test_the_exporter_counts_what_each_replica_heard(shown: Shown) -> None:
    """Webhooks reach one replica each: here they add up, and both of the story heard a forged one in two days."""
    assert shown("exporter", "How many exporters answer?") == {"": 2}
    assert shown("exporter", "How many webhooks were refused?")[""] == pytest.approx(2 * 2, rel=0.1)
    assert shown("exporter", "How often did writing the log fail?") == {"": 0}
