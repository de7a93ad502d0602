"""What mutes what, in a real Alertmanager: amtool tests routes only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import Alertmanager, alertmanager, fired
from promtool import RELEASES, find

MASS = ("WawpMassDisconnect", "WawpMassReauth")
SPECIFIC = (
    "WawpSessionQrWaiting",
    "WawpSessionQrEscalated",
    "WawpSessionQrUnattended",
    "WawpSessionDisconnected",
    "WawpSessionFailed",
    "WawpSessionStuckStarting",
    "WawpSessionFlapping",
)
MUTED_BY_MASS = (*SPECIFIC[1:], "WawpSessionNotWorking")


@pytest.fixture(scope="module", params=RELEASES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    tools = find(request.param)
    with alertmanager(tools.alertmanager, tmp_path_factory.mktemp("alertmanager")) as found:
        yield found


@pytest.mark.parametrize("mass", MASS)
def test_a_mass_alert_mutes_the_singles_of_its_engine_only(running: Alertmanager, mass: str) -> None:
    """In one batch, as one evaluation sends them: the single of the other engine is in the same message."""
    for name in MUTED_BY_MASS:
        running.post(
            fired(mass, source=mass, engine="GOWS"),
            fired(name, source=mass, engine="GOWS", session=f"muted-{name}"),
            fired(name, source=mass, engine="WEBJS", session=f"heard-{name}"),
        )

    assert running.wait_for(alertname=mass, source=mass) == "it-oncall"
    for name in MUTED_BY_MASS:
        running.wait_for(source=mass, session=f"heard-{name}")
        assert not running.was_sent(source=mass, session=f"muted-{name}")


@pytest.mark.parametrize("mass", MASS)
def test_the_manager_is_told_of_a_login_also_during_a_mass_alert(running: Alertmanager, mass: str) -> None:
    """Level 1 is never muted; nor are restrictions and silence."""
    source = f"told-{mass}"
    running.post(fired(mass, source=source), fired("WawpSessionQrWaiting", source=source))

    assert running.wait_for(alertname="WawpSessionQrWaiting", source=source) == "session-manager"


@pytest.mark.parametrize("by", ["WawpSessionQrWaiting", "WawpSessionFlapping"])
def test_a_login_or_a_loop_mutes_failed_and_stuck_of_that_session(running: Alertmanager, by: str) -> None:
    """An unscanned QR turns FAILED, a scanned one passes through STARTING."""
    singles = ("WawpSessionFailed", "WawpSessionStuckStarting")
    running.post(
        fired(by, source=by, session="one"), *[fired(n, source=by, session=s) for n in singles for s in ("one", "two")]
    )

    for name in singles:
        running.wait_for(alertname=name, source=by, session="two")
        assert not running.was_sent(alertname=name, source=by, session="one")


def test_the_specific_alerts_mute_the_general_one(running: Alertmanager) -> None:
    """WawpSessionNotWorking is the safety net, and silent while something catches sooner."""
    for by in SPECIFIC:
        running.post(
            fired(by, source=f"{by}-down", session="one"),
            fired("WawpSessionNotWorking", source=f"{by}-down", session="one"),
            fired("WawpSessionNotWorking", source=f"{by}-down", session="two"),
        )

    for by in SPECIFIC:
        running.wait_for(alertname="WawpSessionNotWorking", source=f"{by}-down", session="two")
        assert not running.was_sent(alertname="WawpSessionNotWorking", source=f"{by}-down", session="one")


def test_a_refused_feed_mutes_forgers_and_silence_of_its_source_only(running: Alertmanager) -> None:
    """A rotated secret looks like both."""
    running.post(
        fired("WawpWebhookFeedRejected", source="rotated"),
        *[fired(n, source=s) for s in ("rotated", "fine") for n in ("WawpWebhookForged", "WawpWebhookFeedSilent")],
    )

    assert running.wait_for(alertname="WawpWebhookForged", source="fine") == "security"
    assert running.muted("rotated") == {"WawpWebhookForged", "WawpWebhookFeedSilent"}
    assert running.muted("fine") == set()


def test_a_dead_exporter_mutes_what_it_cannot_hear(running: Alertmanager) -> None:
    """Of every source: it has no source of its own."""
    running.post(
        *[fired(n, source="unheard") for n in ("WawpWebhookFeedSilent", "WawpWebhookMissed", "WawpWebhookForged")],
        fired("WawpExporterDown"),
    )

    assert running.wait_for(alertname="WawpWebhookForged", source="unheard") == "security"
    assert running.muted("unheard") == {"WawpWebhookFeedSilent", "WawpWebhookMissed"}


def test_thirty_singles_are_one_message(running: Alertmanager) -> None:
    """Grouped by alert and source, never by session."""
    running.post(*[fired("WawpSessionFailed", source="thirty", session=f"s{i}") for i in range(30)])
    running.wait_for(source="thirty")

    assert len([1 for _, labels in running.received if labels.get("source") == "thirty"]) == 30
