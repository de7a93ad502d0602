"""Who is told: each alert, with the labels that its rule really produces, through the shipped routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from cases import ALERTS, texts
from promtool import RELEASES, find, run
from rulefiles import ALERT_RULES

CONFIG = ALERTS / "alertmanager.yml"

# Alert and severity → receiver. A new alert without a line here fails.
RECEIVERS = {
    ("WawpMassDisconnect", "critical"): "it-oncall",
    ("WawpMassReauth", "critical"): "it-oncall",
    ("WawpMassSilence", "warning"): "ops-chat",
    ("WawpSessionQrWaiting", "warning"): "session-manager",
    ("WawpSessionQrEscalated", "critical"): "it-oncall",
    ("WawpSessionQrEscalated", "warning"): "session-manager",
    ("WawpSessionQrUnattended", "warning"): "it-lead",
    ("WawpSessionDisconnected", "critical"): "it-oncall",
    ("WawpSessionFailed", "warning"): "ops-chat",
    ("WawpSessionStuckStarting", "warning"): "ops-chat",
    ("WawpSessionFlapping", "warning"): "ops-chat",
    ("WawpSessionNotWorking", "warning"): "ops-chat",
    ("WawpSessionRestricted", "warning"): "ops-chat",
    ("WawpSessionSilent", "warning"): "ops-chat",
    ("WawpSessionUndelivered", "warning"): "ops-chat",
    ("WawpSessionUnresponsive", "warning"): "ops-chat",
    ("WawpSessionRecurringDisconnect", "info"): "audit-mail",
    ("WawpFailoverGroupExhausted", "critical"): "it-oncall",
    ("WawpFailoverGroupDegraded", "warning"): "ops-chat",
    ("WawpSlowStarts", "warning"): "ops-chat",
    ("WawpErrorBudgetBurn", "critical"): "it-oncall",
    ("WawpErrorBudgetBurn", "warning"): "ops-chat",
    ("WawpWebhookFeedRejected", "critical"): "it-oncall",
    ("WawpWebhookFeedRejected", "warning"): "ops-chat",
    ("WawpWebhookFeedUnreadable", "warning"): "ops-chat",
    ("WawpWebhookForged", "warning"): "security",
    ("WawpWebhookFeedSilent", "warning"): "ops-chat",
    ("WawpWebhookMissed", "warning"): "ops-chat",
    ("WawpExporterDown", "critical"): "it-oncall",
    ("WawpExporterEmpty", "critical"): "it-oncall",
    ("WawpExporterRestarting", "warning"): "ops-chat",
    ("WawpLogAppendErrors", "critical"): "it-oncall",
    ("WawpLogDiskFilling", "warning"): "ops-chat",
    ("WawpLogDiskFilling", "critical"): "it-oncall",
    ("WawpSessionLimitReached", "warning"): "ops-chat",
    ("WawpClockSkew", "warning"): "ops-chat",
    ("WawpConfigReloadFailed", "warning"): "ops-chat",
    ("WawpUnknownStatus", "warning"): "ops-chat",
    ("WawpGatewayApiDown", "warning"): "ops-chat",
    ("WawpRestartsGivenUp", "warning"): "ops-chat",
    ("WawpWatchdog", "none"): "dead-mans-switch",
}
FIRED = [
    {"alertname": entry["alertname"], **alert["exp_labels"]} for entry in texts().values() for alert in entry["alerts"]
]


def expected(labels: Mapping[str, str]) -> str:
    """Who gets an alert with these labels; what waits for too long goes to the lead."""
    if labels.get("escalation") == "lead":
        return "it-lead"
    return RECEIVERS[labels["alertname"], labels["severity"]]


def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return found


def test_every_alert_has_a_receiver_and_a_text() -> None:
    """texts.yml holds the labels that promtool saw each rule produce, so none is tested with labels it never has."""
    ruled = {(r.name, r.body["labels"]["severity"]) for r in ALERT_RULES}

    assert ruled == set(RECEIVERS)
    assert ruled == {(f["alertname"], f["severity"]) for f in FIRED}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("labels", FIRED, ids=lambda f: f"{f['alertname']}-{f['severity']}")
def test_each_alert_reaches_its_receiver(labels: dict[str, str], release: str) -> None:
    """Routed by amtool with all labels that the rule really produces."""
    words = [f"{k}={v}" for k, v in labels.items()]
    done = run(find(release).amtool, "config", "routes", "test", f"--config.file={CONFIG}", *words)

    assert done.stdout.split() == [expected(labels)]


@pytest.mark.parametrize("release", RELEASES)
def test_the_shipped_file_is_accepted(release: str) -> None:
    """Placeholders and all, by each Alertmanager."""
    done = run(find(release).amtool, "check-config", str(CONFIG))

    assert done.returncode == 0, done.stderr
    assert "1 templates" in done.stdout


def routes(route: dict[str, Any]) -> list[dict[str, Any]]:
    return [route, *[deeper for child in route.get("routes", []) for deeper in routes(child)]]


def test_only_critical_alerts_are_grouped_by_session() -> None:
    """Thirty warnings are one message; a critical alert must not join an incident that somebody has already taken."""
    (own,) = [r for r in routes(config()["route"]) if "session" in r.get("group_by", [])]

    assert "severity = critical" in own["matchers"]
    assert own["group_wait"] == "0s"


def test_a_step_of_an_outage_is_told_within_ten_seconds() -> None:
    """By source and engine: the steps of one outage are one group."""
    mass = next(r for r in routes(config()["route"]) if r.get("matchers") == ["category = mass"])

    assert mass["group_by"] == ["alertname", "source", "engine"]
    assert mass["group_interval"] == "10s"


def test_no_alert_inhibits_another() -> None:
    """An alert that ends while it is inhibited is never resolved, and its next firing is not sent."""
    assert "inhibit_rules" not in config()


def test_no_repeat_is_longer_than_alertmanager_remembers() -> None:
    """A repeat_interval beyond --data.retention (120h) is cut to it."""
    assert (
        max(
            int(r["repeat_interval"].rstrip("hms"))
            for r in routes(config()["route"])
            if r.get("repeat_interval", "")[-1:] == "h"
        )
        <= 120
    )
