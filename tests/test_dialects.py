"""Gateways that speak otherwise: Evolution API and wppconnect-server, over real HTTP and byte by byte."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.builders import ms
from wawp_exporter import evolution, wppconnect
from wawp_exporter.config import Source
from wawp_exporter.dialects import DIALECTS
from wawp_exporter.errors import InvalidEvent
from wawp_exporter.events import OtherEvent, Status, StatusEvent

SAMPLES = Path(__file__).parent / "samples"
SRC = parts.ROOT / "src" / "wawp_exporter"
W, F, X, S, Q, D = "WORKING", "FAILED", "STOPPED", "STARTING", "SCAN_QR_CODE", "DISCONNECTED"
SECRET = "the-secret-apikey"
PHONE = "5511999999999"

Start = Callable[..., parts.Exporter]


def update(state: str = "open", ago: float = 10, zone_h: float = 0, **more: Any) -> dict[str, Any]:
    """A connection.update as Evolution sends it, by a server whose clock shows another zone."""
    at = datetime.now(UTC) - timedelta(seconds=ago) + timedelta(hours=zone_h)
    told = json.loads((SAMPLES / "evolution-connection.update-CONSTRUCTED-from-source.json").read_text())
    told["data"] |= {"state": state, **more.pop("data", {})}
    return {**told, "apikey": SECRET, "date_time": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z", **more}


def read(dialect: str, told: object, received_at: int = ms(0)) -> StatusEvent | OtherEvent:
    """The event that a body is."""
    return DIALECTS[dialect]("default", parts.encode(told), received_at, None)  # type: ignore[arg-type]  # anything


def status_in(told: StatusEvent | OtherEvent) -> str:
    """What the event says."""
    assert isinstance(told, StatusEvent)
    return told.own.status


# -- what the words mean


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (update("open"), W),
        (update("connecting"), S),
        (update("close", data={"statusReason": 428}), D),
        (update("close", data={"statusReason": 401}), F),
        (update("refused"), F),
        (update(event="CONNECTION_UPDATE"), W),
        (update(event="qrcode.updated", data={"qrcode": {"base64": "data:image/png;base64,AAAA"}}), Q),
        (update(event="logout.instance"), X),
        (update(event="remove.instance"), X),
        (update("paused"), "paused"),
    ],
)
def test_evolution_states_are_our_statuses(event: dict[str, Any], status: str) -> None:
    """What is not known is kept as it is, and exported as UNKNOWN."""
    assert status_in(read("evolution", event)) == status


@pytest.mark.parametrize("text", list(wppconnect.STATUSES))
def test_wppconnect_statuses_are_ours(text: str) -> None:
    """Each of them, by the table."""
    told = read("wppconnect", {"event": "status-find", "session": "s", "status": text})

    assert status_in(told) == wppconnect.STATUSES[text]
    assert wppconnect.STATUSES[text] in Status


@pytest.mark.parametrize(
    ("dialect", "event", "field"),
    [
        ("evolution", update(instance=None), "instance"),
        ("evolution", update(data={"state": None}), "data.state"),
        ("evolution", {**update(), "data": []}, "data.state"),
        ("evolution", {"data": {}}, "event"),
        ("wppconnect", json.loads((SAMPLES / "wppconnect-status-find-real-no-session.json").read_text()), "session"),
        ("wppconnect", {"event": "status-find", "session": "s"}, "status"),
        ("wppconnect", {"event": ["status-find"]}, "event"),
    ],
)
def test_what_is_missing_is_named(dialect: str, event: dict[str, Any], field: str) -> None:
    """422 with the field."""
    with pytest.raises(InvalidEvent, match=f"^{field}: missing"):
        read(dialect, event)


@pytest.mark.parametrize("dialect", ["evolution", "wppconnect"])
def test_other_events_are_signs_of_life(dialect: str) -> None:
    """Of the session that they name, if they do."""
    named = {"event": "messages.upsert", "instance": "s", "session": "s"}

    assert read(dialect, named) == OtherEvent("s")
    assert read(dialect, {"event": "messages.upsert"}) == OtherEvent(None)


# -- Evolution's time


@pytest.mark.parametrize("zone", [-9.5, -3, 0, 5.75, 13])
@pytest.mark.parametrize("ago", [-30, 0, 5, 600, 839])
def test_local_time_that_says_it_is_utc_is_understood(zone: float, ago: float) -> None:
    """Whatever the zone, for fourteen minutes of retries, and with a clock that is half a minute ahead."""
    local = datetime.fromtimestamp(ms(0) / 1000 - ago, UTC) + timedelta(hours=zone)

    assert evolution.instant_of(local.isoformat().replace("+00:00", "Z"), ms(0)) == ms(-ago)


@pytest.mark.parametrize("text", [None, "", "yesterday", 5])
def test_an_event_without_a_time_is_dated_when_it_comes(text: object) -> None:
    """And known by its body."""
    told = read("evolution", update(date_time=text), ms(7))

    assert isinstance(told, StatusEvent)
    assert told.own.at == ms(7)
    assert told.key_is_body


# -- over HTTP


@pytest.fixture
def service(exporter: Start) -> parts.Exporter:
    """A source of each kind."""
    return exporter({"sources": {"evo": {"dialect": "evolution"}, "wpp": {"dialect": "wppconnect"}}})


def outcome(exporter: parts.Exporter, body: dict[str, Any], source: str) -> str:
    """What the webhook is answered."""
    return str(exporter.post(body, source=source).raise_for_status().json()["outcome"])


def status_of(exporter: parts.Exporter, source: str, session: str) -> str:
    """The status by the API."""
    return str(exporter.get(f"/api/v1/sessions/{source}/{session}").json().get("status"))


def test_an_evolution_instance_is_watched(service: parts.Exporter) -> None:
    """Retries are duplicates; one that comes after a newer status undoes nothing; no key reaches the log."""
    first, second = update("connecting", ago=40, zone_h=-3), update("open", ago=20, zone_h=-3)
    stale = update("close", ago=30, zone_h=-3)

    told = [outcome(service, body, "evo") for body in (first, first, second, stale, second)]

    assert told == ["transition", "duplicate", "transition", "late", "duplicate"]
    assert status_of(service, "evo", "my-instance") == W
    everything = service.stderr + service.metrics() + service.get("/api/v1/transitions").text
    everything += (service.directory / "wawp.db").read_bytes().decode("latin-1")
    assert SECRET not in everything
    assert PHONE not in everything


def test_evolutions_webhook_by_events_has_its_own_paths(service: parts.Exporter) -> None:
    """`/connection-update` is appended to the URL; other dialects have no such paths."""
    assert service.post(update(), source="evo/connection-update").status_code == 200
    assert service.post(update(), source="wpp/connection-update").status_code == 404
    assert service.post(update(), source="none/connection-update").status_code == 404


def test_a_wppconnect_session_is_watched(service: parts.Exporter) -> None:
    """The same bytes come each time that a status comes back, and mean it."""

    def say(status: str) -> str:
        return outcome(service, {"event": "status-find", "session": "s", "status": status}, "wpp")

    told = [say("notLogged"), say("inChat"), say("inChat"), say("phoneNotConnected"), say("inChat")]

    assert told == ["transition", "transition", "duplicate", "transition", "transition"]
    assert status_of(service, "wpp", "s") == W
    assert outcome(service, {"event": "onmessage", "session": "s"}, "wpp") == "ignored"


def test_a_wppconnect_event_without_a_session_takes_the_urls() -> None:
    """`status-find` may leave it out; where the body has one, that is the session."""
    without, other = {"event": "status-find", "status": "inChat"}, {"event": "onmessage"}
    parse = DIALECTS["wppconnect"]

    assert parse("wpp", parts.encode(without), ms(0), None, "shop").session == "shop"
    assert parse("wpp", parts.encode({**without, "session": "own"}), ms(0), None, "shop").session == "own"
    assert parse("wpp", parts.encode(other), ms(0), None, "shop").session == "shop"
    with pytest.raises(InvalidEvent, match=r"^session: "):
        parse("wpp", parts.encode(without), ms(0), None, "")


# -- adding another one


@pytest.mark.parametrize("module", [evolution, wppconnect])
def test_an_adapter_is_a_page(module: Any) -> None:
    """One file of less than sixty lines, which imports nothing of ours but `events`."""
    text = (SRC / f"{module.__name__.rpartition('.')[2]}.py").read_text()

    assert len(text.splitlines()) < 60
    assert text.count("from wawp_exporter") == 1


def test_a_dialect_is_named_in_one_table() -> None:
    """And in the configuration's own list, which is what documents it."""
    listed = Source.model_fields["dialect"].annotation

    assert set(DIALECTS) == set(listed.__args__)  # type: ignore[union-attr]  # a Literal
