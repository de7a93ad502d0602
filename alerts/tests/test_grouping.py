"""How many messages there are: the shipped routes in a real Alertmanager, with waits of a second."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cases import texts
from promtool import RELEASES, find

from alerts.tests import stack
from tests import parts

Labels = dict[str, str]


def labels(name: str, **other: str) -> Labels:
    """The labels that this alert's rule produces, but for `other`."""
    entry = next(entry for entry in texts().values() if entry["alertname"] == name)
    return {"alertname": name, **entry["alerts"][0]["exp_labels"], **other}


def step(source: str, number: int) -> Labels:
    """One step of an outage."""
    mass = {"severity": "critical", "category": "mass", "engine": "GOWS", "kind": "disconnect"}
    return {"alertname": "WawpMassDisconnect", "source": source, "step": str(number), **mass}


class Office:
    """A running Alertmanager, and what its receivers were sent. Each test has a source of its own."""

    def __init__(self, alertmanager: parts.Alertmanager, receiver: parts.Receiver) -> None:
        self.alertmanager, self.receiver = alertmanager, receiver

    def fire(self, *alerts: Labels) -> None:
        """In one batch, as one evaluation sends them."""
        self.alertmanager.post_alerts(*({"labels": each} for each in alerts))

    def end(self, *alerts: Labels) -> None:
        """They are over."""
        now = datetime.now(UTC).isoformat()
        self.alertmanager.post_alerts(*({"labels": each, "endsAt": now} for each in alerts))

    def messages(self, source: str) -> list[dict[str, Any]]:
        """Those about this source, in the order of arrival."""
        with self.receiver.arrived:
            sent = list(self.receiver.notifications)
        return [each for each in sent if each["commonLabels"].get("source") == source]

    def wait(self, source: str, count: int) -> list[dict[str, Any]]:
        """The messages about this source, when there are so many."""
        parts.wait_until(lambda: len(self.messages(source)) >= count, f"{count} messages about {source}")
        return self.messages(source)

    def settle(self, source: str) -> list[dict[str, Any]]:
        """All messages about this source: what fired and was over later than it has been sent."""
        last = labels("WawpSessionFailed", source=f"after-{source}")
        self.fire(last)
        self.wait(last["source"], 1)
        self.end(last)
        self.wait(last["source"], 2)
        return self.messages(source)


@pytest.fixture(scope="module", params=RELEASES)
def office(request: pytest.FixtureRequest) -> Iterator[Office]:
    find(request.param)
    # Not less: the short waits gather what one evaluation sends.
    a_second = stack.divided_by(1000, 1.0)
    with parts.Receiver() as receiver:
        routing = stack.routing(
            dict.fromkeys(("group_wait", "group_interval"), a_second), stack.recorded_at(receiver.url)
        )
        with parts.Alertmanager(routing, version=request.param) as alertmanager:
            yield Office(alertmanager, receiver)


def names(message: dict[str, Any], status: str = "firing") -> list[str]:
    return sorted(each["labels"]["session"] for each in message["alerts"] if each["status"] == status)


@pytest.mark.parametrize("name", ["WawpSessionDisconnected", "WawpSessionQrEscalated"])
def test_a_second_critical_session_is_an_incident_of_its_own(office: Office, name: str) -> None:
    """Somebody has taken the first: a message of the same incident would call nobody."""
    source = f"second-{name}"
    office.fire(labels(name, source=source, session="one"))
    office.wait(source, 1)
    office.fire(labels(name, source=source, session="one"), labels(name, source=source, session="two"))
    first, second = office.wait(source, 2)

    assert (names(first), names(second)) == (["one"], ["two"])
    assert first["groupKey"] != second["groupKey"]


def test_thirty_warnings_are_one_message(office: Office) -> None:
    """Grouped by alert and source, not by session."""
    office.fire(*(labels("WawpSessionFailed", source="thirty", session=f"s{number}") for number in range(30)))

    assert [len(each["alerts"]) for each in office.settle("thirty")] == [30]


def test_logins_that_begin_together_are_one_message_for_each_owner(office: Office) -> None:
    """Thirty codes to scan are one walk to the phones."""
    for owner in ("ana", "ben"):
        waiting = (labels("WawpSessionQrWaiting", source="codes", session=f"{owner}{n}", owner=owner) for n in range(9))
        office.fire(*waiting)
    sent = office.settle("codes")

    assert sorted((each["commonLabels"]["owner"], len(each["alerts"])) for each in sent) == [("ana", 9), ("ben", 9)]


def test_each_step_of_an_outage_is_a_message_of_one_incident(office: Office) -> None:
    """3 → 10 → 30: whoever was told of three must hear of thirty."""
    steps = [step("growing", number) for number in (3, 10, 30)]
    for reached in (1, 2, 3):
        office.fire(*steps[:reached])
        office.wait("growing", reached)
    office.end(*steps)
    sent = office.wait("growing", 4)

    assert [len(each["alerts"]) for each in sent] == [1, 2, 3, 3]
    assert [each["status"] for each in sent] == ["firing", "firing", "firing", "resolved"]
    assert len({each["groupKey"] for each in sent}) == 1


def test_steps_that_are_reached_together_are_one_message(office: Office) -> None:
    """Without a wait, Alertmanager 0.33 sends the first step alone, and the others ten seconds later."""
    office.fire(*(step("sudden", number) for number in (3, 10, 30)))

    assert [len(each["alerts"]) for each in office.settle("sudden")] == [3]


def test_an_outage_does_not_hold_back_another_session(office: Office) -> None:
    """Members of an outage are muted in the exporter; whatever reaches Alertmanager is sent."""
    office.fire(step("both", 3), labels("WawpSessionDisconnected", source="both", engine="GOWS", session="later"))
    sent = office.wait("both", 2)

    assert {each["commonLabels"]["alertname"] for each in sent} == {"WawpMassDisconnect", "WawpSessionDisconnected"}


def test_every_alert_that_was_sent_gets_its_end(office: Office) -> None:
    """A refused feed is silent too: the end of either is sent. If one inhibited the other, that would get none."""
    silent = labels("WawpWebhookFeedSilent", source="ends")
    refused = labels("WawpWebhookFeedRejected", source="ends")
    office.fire(silent)
    office.wait("ends", 1)
    office.fire(silent, refused)
    office.wait("ends", 2)
    office.end(silent)
    sent = office.wait("ends", 3)

    assert sent[-1]["status"] == "resolved"
    assert sent[-1]["commonLabels"]["alertname"] == "WawpWebhookFeedSilent"
