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
    assert shown("fleet", "Sessions") == {"": 7}
    assert shown("fleet", "Not working") == {"": 2}
    assert shown("fleet", "Working") == {"": pytest.approx(4 / 6)}
    assert shown("fleet", "Wait for a login") == {"": 1}
    assert shown("fleet", "Alerts") == {"": 3}
    assert shown("fleet", "Groups down") == {"": 1}
    assert shown("fleet", "Need a human") == {"": 2}
    assert shown("fleet", "Outages") == {"": 0}


def test_the_fleet_says_who_needs_a_human(shown: Shown) -> None:
    """By session, with the age of the trouble in seconds."""
    down = shown("fleet", "Sessions that are down")
    found = shown("fleet", "Problems")

    assert sorted(down.values()) == pytest.approx([MONTH - story.LOST, MONTH - story.QR], abs=1)
    assert {name: pytest.approx(age, abs=1) for name, age in found.items()} == {
        "NOWEB support failed support-1 default": MONTH - story.LOST,
        **{
            f"NOWEB {problem} new default": MONTH - story.QR
            for problem in ("login", "login_overdue", "login_unattended")
        },
    }


def test_a_session_shows_what_came_and_went(shown: Shown) -> None:
    """When, how often, and for how long nothing has been acknowledged."""
    assert shown("session", "Last received", session="phone") == {"": story.END * 1000}
    assert shown("session", "Last sent", session="phone") == {"": story.END * 1000}
    assert shown("session", "Unacknowledged for", session="phone") == {"": pytest.approx(MONTH - story.VAIN, abs=1)}
    assert shown("session", "Unacknowledged for", story.END - 1200, session="phone") == {"": 0}
    assert shown("session", "Messages an hour", session="phone") == {
        "in": pytest.approx(60, rel=0.05),
        "out": pytest.approx(30, rel=0.05),
    }


def test_an_outage_is_one_line(shown: Shown) -> None:
    """While it lasts: its sessions that are still lost. They have no problems of their own."""
    at = story.START + story.MASS[0] + 600

    assert shown("fleet", "Outages that last", at) == {"GOWS disconnect default": 3}
    assert shown("fleet", "Need a human", at) == {"": 0}


def test_every_session_has_its_uptime(shown: Shown) -> None:
    """Over the range that is chosen; it is read at 500 moments, so that what happened after the last may be missing."""
    expected = {name: Truth().seconds(name, "WORKING") / Truth().seconds(name, *UP) for name in story.names()}

    assert shown("slo", "Uptime of every session") == {
        f"{name} default": pytest.approx(uptime, abs=1 / 500) for name, uptime in expected.items()
    }


def test_losses_are_counted_by_reason(shown: Shown) -> None:
    """In a month: the phone's, which the gateway explains, and those of the outage and of today, which it does not."""
    found = shown("slo", "Losses by reason")

    assert found == {"connection_lost": pytest.approx(29, rel=0.05), "none given": pytest.approx(4, rel=0.05)}


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
    """In 1 day the phone went FAILED, SCAN_QR_CODE, STARTING, WORKING; counts are extrapolated a little."""
    pairs = shown("fleet", "Changes of status")

    assert set(pairs) == {
        "WORKING FAILED",
        "FAILED SCAN_QR_CODE",
        "SCAN_QR_CODE STARTING",
        "STARTING WORKING",
        "WORKING SCAN_QR_CODE",
    }
    assert pairs["WORKING FAILED"] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(("words", "days"), [("1 day", 1), ("7 days", 7), ("30 days", 30)])
def test_the_uptime_of_a_session_is_that_of_its_story(shown: Shown, words: str, days: int) -> None:
    """To a thousandth, though Prometheus looked every half hour and the exporter restarted in between."""
    truth = Truth(since=MONTH - days * DAY)
    expected = truth.seconds("phone", "WORKING") / truth.seconds("phone", *UP)

    assert shown("session", f"Uptime, {words}") == {"": pytest.approx(expected, abs=0.001)}
    assert shown("session", f"Known, {words}") == {"": pytest.approx(1, abs=0.002)}


def test_repair_and_failure_times_are_those_of_the_story(shown: Shown) -> None:
    """MTTR and MTBF of 1 day: one failure of twenty minutes."""
    assert shown("session", "MTTR")[""] == pytest.approx(story.STAY + 5, rel=0.1)
    assert shown("session", "MTBF")[""] == pytest.approx(DAY - story.STAY, rel=0.1)
    assert shown("session", "Times lost")[""] == pytest.approx(1, rel=0.05)


def test_a_session_that_is_down_says_since_when(shown: Shown) -> None:
    """Status, its age and the login episode of the one that is to be scanned."""
    assert shown("session", "Status now", session="new") == {"new default": 5}
    assert shown("session", "Problems", session="new").keys() == {
        f"{problem} new default" for problem in ("login", "login_overdue", "login_unattended")
    }
    assert shown("session", "In this status", session="new") == {"": pytest.approx((story.START + story.QR) * 1000)}
    assert shown("session", "Waits for a login", session="new")[""] == MONTH - story.QR
    assert shown("session", "Waits for a login", session="phone")[""] == 0


def test_availability_and_budget_are_those_of_the_story(shown: Shown) -> None:
    """Of a month; the objective is 99 %."""
    expected = story.availability()

    assert shown("slo", "Availability") == {"default": pytest.approx(expected, abs=0.0005)}
    left = 1 - (1 - expected) / 0.01
    assert shown("slo", "Error budget left") == {"default": pytest.approx(left, abs=0.05)}
    assert shown("slo", "Known") == {"": pytest.approx(1, abs=0.01)}


def test_the_exporter_counts_what_each_replica_heard(shown: Shown) -> None:
    """Webhooks reach one replica each: here they add up, and both of the story heard a forged one in two days."""
    assert shown("exporter", "Exporters up") == {"": 2}
    assert shown("exporter", "Webhooks refused")[""] == pytest.approx(2 * 2, rel=0.1)
    assert shown("exporter", "Failed log writes") == {"": 0}
