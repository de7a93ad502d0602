"""How many messages there are: the shipped routes in a real Alertmanager, with waits of a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from cases import texts
from promtool import RELEASES, find

from alerts.tests import grouping, stack
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


# The model


def played(alertmanager: parts.Alertmanager, script: list[tuple[float, str, Labels]]) -> list[grouping.Alert]:
    """Posts each alert, or its end, at its time; gives the alerts with the times at which they were really posted."""
    begun: dict[tuple[tuple[str, str], ...], grouping.Alert] = {}
    done: list[grouping.Alert] = []
    start = time.time()
    for at, what, fired in script:
        time.sleep(max(0.0, start + at - time.time()))
        key, now = tuple(sorted(fired.items())), time.time()
        if what == "fire":
            alertmanager.post_alerts({"labels": fired})
            begun[key] = grouping.Alert(fired, now)
        else:
            alertmanager.post_alerts({"labels": fired, "endsAt": datetime.fromtimestamp(now, UTC).isoformat()})
            done.append(replace(begun.pop(key), ends=now))
    return [*done, *begun.values()]


# Waits: 1 s until the first message, 3 s between two. What happens is never near a flush.
SCRIPT = [
    # Two warnings that are one message, a third that joins, ends one by one.
    (0.0, "fire", labels("WawpSessionFailed", source="a", session="one")),
    (0.1, "fire", labels("WawpSessionFailed", source="a", session="two")),
    (2.5, "fire", labels("WawpSessionFailed", source="a", session="three")),
    (5.5, "end", labels("WawpSessionFailed", source="a", session="one")),
    (8.5, "end", labels("WawpSessionFailed", source="a", session="two")),
    (8.6, "end", labels("WawpSessionFailed", source="a", session="three")),
    # Two critical sessions of one source, one of which comes back and is lost again between two flushes.
    (0.2, "fire", labels("WawpSessionDisconnected", source="a", session="one")),
    (0.3, "fire", labels("WawpSessionDisconnected", source="a", session="two")),
    (1.5, "end", labels("WawpSessionDisconnected", source="a", session="one")),
    (1.7, "fire", labels("WawpSessionDisconnected", source="a", session="one")),
    (5.0, "end", labels("WawpSessionDisconnected", source="a", session="two")),
    # An outage that grows.
    (0.4, "fire", step("b", 3)),
    (2.6, "fire", step("b", 10)),
    (5.8, "end", step("b", 3)),
    (5.9, "end", step("b", 10)),
    # A receiver that wants no ends, and an alert that nobody hears of.
    (0.5, "fire", labels("WawpWatchdog")),
    (0.6, "fire", labels("WawpSessionStuckStarting", source="c", session="brief")),
    (0.9, "end", labels("WawpSessionStuckStarting", source="c", session="brief")),
]


@pytest.mark.parametrize("release", RELEASES)
def test_the_model_sends_what_a_real_alertmanager_sends(release: str) -> None:
    """bench and docs count a month's messages by it: for each group the same messages, in the same order."""
    find(release)
    waits = {"group_wait": lambda given: min(given, 1.0), "group_interval": lambda _: 3.0}
    with parts.Receiver() as receiver:
        routing = stack.routing(waits, stack.recorded_at(receiver.url))
        with parts.Alertmanager(routing, version=release) as alertmanager:
            alerts = played(alertmanager, sorted(SCRIPT, key=lambda each: each[0]))
            modelled = Counter(by_group(grouping.messages(routing, alerts, time.time() + 10)))
            parts.wait_until(lambda: len(receiver.notifications) >= modelled.total(), "all messages")
        real = Counter(
            (each["receiver"], tuple(sorted(each["groupLabels"].items())), *counts(each))
            for each in receiver.notifications
        )

    assert real == modelled
    assert modelled.total() == 11


def by_group(sent: list[grouping.Message]) -> Iterator[tuple[str, Any, int, int]]:
    """A message without its time; labels that are empty are not there."""
    for each in sent:
        yield each.receiver, tuple(sorted(pair for pair in each.group if pair[1])), each.firing, each.resolved


def counts(message: dict[str, Any]) -> tuple[int, int]:
    """How many fire in a message, and how many are over."""
    found = [each["status"] for each in message["alerts"]]
    return found.count("firing"), found.count("resolved")


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((stack.ALERTS / "alertmanager.yml").read_text())
    return found


MONDAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
HOUR = 3600.0


def test_the_model_repeats_what_goes_on() -> None:
    """IT hears of a session that is lost for nine hours three times, and of its end."""
    lost = grouping.Alert(labels("WawpSessionDisconnected"), MONDAY, MONDAY + 9 * HOUR)
    sent = grouping.messages(shipped(), [lost], MONDAY + 24 * HOUR)

    assert [(each.receiver, each.firing, each.resolved) for each in sent] == [
        ("it-oncall", 1, 0), ("it-oncall", 1, 0), ("it-oncall", 1, 0), ("it-oncall", 0, 1)
    ]  # fmt: skip
    assert grouping.a_week(sent, 2 * 604_800) == {"it-oncall": 2.0}


def test_the_model_keeps_office_hours() -> None:
    """What the audit found at night is sent when the office opens."""
    found = grouping.Alert(labels("WawpSessionRecurringDisconnect"), MONDAY + 2 * HOUR, MONDAY + 12 * HOUR)
    (sent,) = grouping.messages(shipped(), [found], MONDAY + 24 * HOUR)

    assert sent.receiver == "audit-mail"
    assert 9 * HOUR <= sent.at - MONDAY < 10 * HOUR + 300
