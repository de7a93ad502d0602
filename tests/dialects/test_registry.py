"""Gateways that speak otherwise: Evolution API and wppconnect-server, over real HTTP and byte by byte."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.builders import ms
from wawp_exporter.config.schema import Source
from wawp_exporter.dialects import evolution, openwa, wppconnect
from wawp_exporter.dialects.registry import DIALECTS
from wawp_exporter.errors import InvalidEvent, Malformed
from wawp_exporter.model.event import OtherEvent, Status, StatusEvent
from wawp_exporter.model.machine import fold

SAMPLES = Path(__file__).parents[1] / "samples"
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
        (update(event="instance.delete"), X),
        (update(event="status.instance", data={"status": "closed"}), F),
        (update(event="status.instance", data={"status": "removed"}), F),
        (update("close", data={"statusReason": 403}), F),
        (update(event="qrcode.updated", data={"message": "QR code limit reached", "statusCode": 500}), F),
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


@pytest.mark.parametrize("zone", [-5, -3, 0, 1, 3, 8, 13])
@pytest.mark.parametrize("ahead", [61, 90, 240, 600])
def test_a_clock_that_is_ahead_is_dated_when_it_comes(zone: float, ahead: float) -> None:
    """And counted: not taken for a retry from another time zone, which would have the session stuck for minutes."""
    local = datetime.fromtimestamp(ms(ahead) / 1000, UTC) + timedelta(hours=zone)
    told = read("evolution", update("connecting", date_time=local.isoformat().replace("+00:00", "Z")), ms(0))

    assert isinstance(told, StatusEvent)
    assert (told.own.at, told.skewed, told.timeless_key) == (ms(0), True, None)


@pytest.mark.parametrize("zone", [-3, 0, 1, 8])
@pytest.mark.parametrize("ago", [900, 1215, 1499])
def test_the_last_retry_keeps_its_place_too(zone: float, ago: float) -> None:
    """Evolution tries for 25 minutes; where time zones are whole hours, that can be told from a clock that is ahead."""
    local = datetime.fromtimestamp(ms(-ago) / 1000, UTC) + timedelta(hours=zone)

    assert evolution.instant_of(local.isoformat().replace("+00:00", "Z"), ms(0)) == ms(-ago)


@pytest.mark.parametrize("offset", ["-03:00", "-0300", "+0530", "+05:45", "+00:00", "-12"])
@pytest.mark.parametrize("ago", [-3600, -90, 0, 1000, 86_400])
def test_an_offset_that_is_given_is_used(offset: str, ago: float) -> None:
    """Nothing is guessed then: however late it is, and however far ahead."""
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or "0")
    zone = timezone(timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1))
    local = datetime.fromtimestamp(ms(-ago) / 1000, zone).replace(tzinfo=None).isoformat()

    assert evolution.instant_of(local + offset, ms(0)) == ms(-ago)


@pytest.mark.parametrize("days", [-400, -3, -1])
def test_a_clock_that_is_days_behind_dates_nothing(days: int) -> None:
    """No time zone explains it, and Evolution does not try again for so long."""
    local = datetime.fromtimestamp(ms(0) / 1000, UTC) + timedelta(days=days)

    assert evolution.instant_of(local.isoformat().replace("+00:00", "Z"), ms(0)) == 0


@pytest.mark.parametrize("text", [None, "", "yesterday", 5, 20261126, [], {}, "0001-01-01T00:00:00+23:59", "9" * 9999])
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


def test_an_evolution_whose_clock_is_ahead_is_watched_all_the_same(service: parts.Exporter) -> None:
    """What its clock says is counted; what comes later is later, and the session is not taken for ready."""
    told = [outcome(service, update(state, ago=ago), "evo") for state, ago in [("connecting", -90), ("open", -58)]]
    lost = update("close", ago=-62, data={"statusReason": 428})

    assert [*told, outcome(service, lost, "evo")] == ["transition", "transition", "transition"]
    assert status_of(service, "evo", "my-instance") == D
    assert 'wawp_exporter_clock_skew_events_total{source="evo"} 2.0' in service.metrics()


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
    assert parse("wpp", parts.encode({**other, "session": None}), ms(0), None, "shop").session == "shop"
    with pytest.raises(InvalidEvent, match=r"^session: "):
        parse("wpp", parts.encode(without), ms(0), None, "")


# -- what is not as it should be

ODD = [
    None,
    True,
    0,
    -1,
    1e300,
    2**63,
    "",
    "\ud800",
    "\0",
    PHONE * 9,
    "x" * 100_000,
    [],
    [PHONE],
    {},
    {"a": {"b": [1]}},
]
FIELDS = {
    "evolution": ["event", "instance", "data", "date_time", "data.state", "data.statusReason", "data.status"],
    "wppconnect": ["event", "session", "status"],
}
WHOLE = [
    ("evolution", update("close", data={"status": "closed", "statusReason": 401})),
    ("evolution", update(event="status.instance", data={"status": "closed"})),
    ("evolution", update(event="qrcode.updated", data={"qrcode": {"code": PHONE}, "statusCode": 500})),
    ("evolution", update(event="logout.instance")),
    ("wppconnect", {"event": "status-find", "session": "s", "status": "inChat"}),
    ("wppconnect", {"event": "qrcode", "session": "s", "qrcode": PHONE}),
    ("wppconnect", {"event": "logoutsession", "session": "s"}),
]


def refusal_of(dialect: str, body: dict[str, Any]) -> str:
    """What is said of a body, "" if it is taken."""
    try:
        DIALECTS[dialect]("default", json.dumps(body).encode(), ms(0), None, "")
    except (InvalidEvent, Malformed) as refusal:
        return refusal.message
    return ""


@pytest.mark.parametrize(("dialect", "whole"), WHOLE)
def test_what_is_odd_is_read_or_refused_by_name(dialect: str, whole: dict[str, Any]) -> None:
    """Whatever stands in a field: an event, another event, or 422 that names the field and repeats nothing of it."""
    for field in FIELDS[dialect]:
        for value in ODD:
            body = json.loads(json.dumps(whole))
            *above, name = field.split(".")
            (body[above[0]] if above and isinstance(body.get(above[0]), dict) else body)[name] = value

            said = refusal_of(dialect, body)

            assert said in ("", "the body is not JSON") or said.partition(":")[0] in FIELDS[dialect]
            assert PHONE not in said


@pytest.mark.parametrize("dialect", ["evolution", "wppconnect"])
def test_an_event_that_is_nested_too_deeply_is_refused(dialect: str) -> None:
    """As in any other dialect."""
    body = b'{"event": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with pytest.raises(Malformed):
        DIALECTS[dialect]("default", body, ms(0), None, "")


def test_where_the_url_could_help_the_error_says_so() -> None:
    """An operator of wppconnect-server reads how to go on."""
    with pytest.raises(InvalidEvent, match=r"/webhook/\{source\}\?session=NAME"):
        read("wppconnect", json.loads((SAMPLES / "wppconnect-status-find-real-no-session.json").read_text()))


# -- why it was lost


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        *((update("close", data={"statusReason": code}), reason) for code, reason in (
            (401, "logged_out"), (402, "banned"), (403, "banned"), (406, "banned"), (408, "timed_out"),
            (411, "other"), (428, "connection_lost"), (440, "replaced"), (500, "other"), (503, "connection_lost"),
            (515, "restart_required"), ("401", "logged_out"), (200, ""), (None, ""), (10**30, ""),
        )),
        (update("open", data={"statusReason": 200}), ""),
        (update("connecting", data={"statusReason": 200}), ""),
        (update("refused", data={"statusReason": 428}), "qr_expired"),
        (update(event="qrcode.updated", data={"message": "QR code limit reached", "statusCode": 500}), "qr_expired"),
        (update(event="qrcode.updated", data={"qrcode": {"base64": "data:image/png;base64,AAAA"}}), ""),
        (update(event="status.instance", data={"status": "closed", "disconnectionReasonCode": 403,
                                               "statusReason": None}), "banned"),
        (update(event="logout.instance", data={"statusReason": None}), ""),
    ],
)  # fmt: skip
def test_evolution_gives_the_codes_of_baileys(event: dict[str, Any], reason: str) -> None:
    """Why, in the contract's words; what has no word of its own there is `other`, and 200 is no reason."""
    told = read("evolution", event)

    assert isinstance(told, StatusEvent)
    assert told.own.reason == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("disconnectedMobile", "logged_out"),
        ("desconnectedMobile", "logged_out"),
        ("autocloseCalled", "qr_expired"),
        ("phoneNotConnected", "connection_lost"),
        ("serverClose", "connection_lost"),
        ("browserClose", "other"),
        ("qrReadFail", "other"),
        ("qrReadError", "other"),
        ("notLogged", ""),
        ("inChat", ""),
        ("deleteToken", ""),
    ],
)
def test_wppconnect_gives_a_reason_by_its_word(status: str, reason: str) -> None:
    """An unlinked phone is something else than a browser that crashed."""
    told = read("wppconnect", {"event": "status-find", "session": "s", "status": status})

    assert isinstance(told, StatusEvent)
    assert told.own.reason == reason


@pytest.mark.parametrize("order", [("disconnectedMobile", "browserClose"), ("browserClose", "disconnectedMobile")])
def test_the_browser_that_closes_after_an_unlinked_phone_is_no_reason(order: tuple[str, str]) -> None:
    """Both are sent at once, in any order, and the one that says more is kept."""
    told = [read("wppconnect", {"event": "status-find", "session": "s", "status": each}) for each in order]

    state = fold(each.own for each in told if isinstance(each, StatusEvent))

    assert state
    assert state.reason == "logged_out"


# -- adding another one


@pytest.mark.parametrize("module", [evolution, openwa, wppconnect])
def test_an_adapter_is_a_page(module: Any) -> None:
    """One file of less than sixty lines, which knows nothing of ours but events, and how dialects read them."""
    text = Path(module.__file__).read_text()

    assert len(text.splitlines()) < 60
    assert set(re.findall(r"from wawp_exporter\.(\S+)", text)) <= {
        "dialects.localtime",
        "dialects.messages",
        "dialects.reading",
        "model.event",
    }


def test_a_dialect_is_named_in_one_table() -> None:
    """And in the configuration's own list, which is what documents it."""
    listed = Source.model_fields["dialect"].annotation

    assert set(DIALECTS) == set(listed.__args__)  # type: ignore[union-attr]  # a Literal
