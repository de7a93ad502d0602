"""What a webhook's bytes say."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import T0, body, ms
from wawp_exporter.dialects.reading import MAX_POINTS, believed, decode
from wawp_exporter.dialects.waha import parse, status_event, usual, usual_event
from wawp_exporter.errors import InvalidEvent, Malformed, Refusal
from wawp_exporter.model.event import (
    Direction,
    Limit,
    Message,
    OtherEvent,
    Point,
    Restriction,
    Status,
    StatusEvent,
    normal,
)

SAMPLES = Path(__file__).parents[1] / "samples"
CAPTURED = Path(__file__).parents[1] / "captured"
NOW = 1_795_000_000_000
LAST_DOC_POINT = 1_700_000_003_000


def read(raw: bytes, received: int = NOW, request_id: str | None = None) -> StatusEvent:
    """A body that must be a status event."""
    event = parse("default", raw, received, request_id)
    assert isinstance(event, StatusEvent)
    return event


def refused(raw: bytes) -> InvalidEvent:
    """Why a body is a status event that cannot be used."""
    with pytest.raises(InvalidEvent) as refusal:
        parse("default", raw, NOW)
    return refusal.value


def statuses(*points: tuple[object, object]) -> list[dict[str, object]]:
    """`payload.statuses`."""
    return [{"status": status, "timestamp": at} for status, at in points]


def payload(status: object = "WORKING", **more: object) -> dict[str, object]:
    """The payload of a status event."""
    return {"name": "sales-uk", "status": status, **more}


# -- published and captured samples: name → (session, own status, its time, engine), the refused field, or another event

SAMPLE_EVENTS: dict[str, tuple[str, str, int | None, str | None]] = {
    "ASSEMBLED-from-openapi-2026.7.1-session.status": ("default", "STOPPED", 1_634_567_890_123, "WEBJS"),
    "CONSTRUCTED-waha-2026.8-working-message-capping": ("default", "WORKING", 1_782_874_801_233, "GOWS"),
    "waha-2024.5.13-real-scan-qr-me-null": (
        "07eda2a6-7a0f-475a-b4b6-6f3376a1f388",
        "SCAN_QR_CODE",
        None,
        "NOWEB",
    ),
    "waha-2024.6.8-real-working-no-pushname": ("default", "WORKING", None, "NOWEB"),
    "waha-2025.11-real-payload-only-stopped-starting": ("17642082614776352", "STARTING", 1_764_222_900_014, None),
    "waha-docs-events-working-statuses": ("default", "WORKING", LAST_DOC_POINT, "WEBJS"),
    "waha-docs-passkey-confirmation-required": ("default", "PASSKEY_CONFIRMATION_REQUIRED", None, "GOWS"),
    "waha-docs-passkey-required": ("default", "PASSKEY_REQUIRED", None, "GOWS"),
    "waha-issue2166-working-reachout-timelock": ("default", "WORKING", None, "GOWS"),
    "wawp-v1-docs-session.status-flat": ("123456789", "SCAN_QR_CODE", 1_722_170_400_000, None),
    "wawp-v2-session.status": ("default", "STOPPED", 1_634_567_890_123, "WEBJS"),
}
# A gateway's answers, if somebody forwards them: those with a name and a status say as much as a bare payload.
SAMPLE_ANSWERS: dict[str, tuple[str, str, int | None, str | None]] = {
    "ASSEMBLED-from-source-waha-api-422-wait-status": ("default", "STARTING", None, None),
    "waha-api-sessions-get-2024.12-real-failed": ("703866", "FAILED", None, None),
    "waha-api-sessions-get-2026.8-real-starting": ("default", "STARTING", None, None),
    "wawp-v2-session-info": ("wawp-84729105", "WORKING", None, None),
}
SAMPLE_OTHERS: dict[str, str | None] = {
    "baileys-api-connection.update-CONSTRUCTED-from-source": None,
    "codechat-connection.update-docs": None,
    "evolution-connection.update-CONSTRUCTED-from-source": None,
    "waha-2024.5.13-real-state.change-noweb-qr": "07eda2a6-7a0f-475a-b4b6-6f3376a1f388",
    "waha-docs-engine.event": "default",
    "wppconnect-status-find": "RecantoBot",
    "wppconnect-status-find-real-no-session": None,
}
SAMPLE_REFUSALS = {
    "ASSEMBLED-from-docs-openwa-session.status": "session",
    "greenapi-stateInstanceChanged-docs": "event",
    "waha-2025.11.2-real-request-headers-and-envelope-message": "event",
    "waha-api-401": "event",
    "waha-capping": "event",
    "waha-health-503": "instance_id",
    "waha-health-ok": "instance_id",
    "waha-hmac-test-vector": "event",
    "waha-ping": "event",
    "waha-server-status": "event",
    "waha-server-version-real-2026.1.5": "event",
    "wasender-session.status-docs": "session",
    "wuzapi-jsonData-CONSTRUCTED-from-source": "event",
    "zapi-disconnected-docs": "event",
}
SAMPLE_MALFORMED = {"waha-api-sessions-list"}


def sample(name: str) -> bytes:
    """A published or captured body."""
    return (SAMPLES / f"{name}.json").read_bytes()


def test_every_sample_has_its_meaning() -> None:
    """No file lies in the folder untested."""
    meanings = (SAMPLE_EVENTS, SAMPLE_ANSWERS, SAMPLE_OTHERS, SAMPLE_REFUSALS, SAMPLE_MALFORMED)

    assert {path.stem for path in SAMPLES.glob("*.json")} == set().union(*meanings)


@pytest.mark.parametrize("name", [*SAMPLE_EVENTS, *SAMPLE_ANSWERS])
def test_a_sample_is_a_status_event(name: str) -> None:
    """Its session, status, time (receipt, where the gateway gives none) and engine are read."""
    session, status, at, engine = (SAMPLE_EVENTS | SAMPLE_ANSWERS)[name]

    event = read(sample(name))

    assert (event.session, event.own.status, event.engine) == (session, status, engine)
    assert event.own.at == event.own.key_at == (at or NOW)
    assert bool(event.timeless_key) is (at is None)


@pytest.mark.parametrize("name", SAMPLE_OTHERS)
def test_a_sample_is_another_event(name: str) -> None:
    """Its kind is not `session.status`; its session, if it names one, is heard."""
    assert parse("default", sample(name), NOW) == OtherEvent(SAMPLE_OTHERS[name])


@pytest.mark.parametrize("name", SAMPLE_REFUSALS)
def test_a_sample_is_refused_by_the_name_of_its_field(name: str) -> None:
    """Events of other gateways and answers without a status are not usable, and the error says why."""
    refusal = refused(sample(name))

    assert refusal.status == 422
    assert refusal.message.startswith(SAMPLE_REFUSALS[name] + ": ")


@pytest.mark.parametrize("name", SAMPLE_MALFORMED)
def test_a_sample_is_malformed(name: str) -> None:
    """A list of sessions is JSON, and no event."""
    with pytest.raises(Malformed) as refusal:
        parse("default", sample(name), NOW)

    assert refusal.value.status == 400


def test_the_message_within_the_captured_request_is_another_event() -> None:
    """A real request of WAHA 2025.11.2, its body taken out of the record."""
    record = json.loads(sample("waha-2025.11.2-real-request-headers-and-envelope-message"))

    came = Message(Direction.IN, 1_763_396_578_000, None, "AC2AB3184AC4AEB3E0527911B838398F")
    assert parse("default", json.dumps(record["body"]).encode(), NOW) == OtherEvent("mysession_waha", (came,))


def test_a_sample_without_its_envelope_back_fills_too() -> None:
    """Some forward the payload alone."""
    event = read(sample("waha-2025.11-real-payload-only-stopped-starting"))

    assert [(p.status, p.at) for p in event.points] == [("STOPPED", 1_764_222_900_005), ("STARTING", 1_764_222_900_014)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"status": "FAILED"}, ""),
        ({"status": "FAILED", "data": None}, ""),
        ({"status": "FAILED", "statusReason": 401}, "logged_out"),
        ({"status": "STARTING", "statusReason": "428"}, "connection_lost"),
        ({"status": "STARTING", "statusReason": 200}, ""),
        ({"status": "FAILED", "reason": "LOGOUT"}, "logged_out"),
        ({"status": "FAILED", "data": {"reason": "events.StreamReplaced"}}, "replaced"),
        ({"status": "FAILED", "error": {"output": {"statusCode": 403}}}, "banned"),
        ({"status": "FAILED", "reason": "something new"}, "other"),
        ({"status": "FAILED", "reason": ["LOGOUT"], "statusReason": True}, ""),
        ({"status": "WORKING", "statusReason": 401}, ""),
        ({"status": "STOPPED", "reason": "LOGOUT"}, ""),
        ({"status": "SCAN_QR_CODE", "statusReason": 401}, "logged_out"),
        ({"status": "FAILED", "data": {"data": {"data": {"data": {"reason": "LOGOUT"}}}}}, ""),
    ],
)
def test_the_reason_of_a_loss_is_read_if_it_is_said(payload: dict[str, Any], reason: str) -> None:
    """WAHA says none so far. Whatever it or Wawp pass on of their engines' reasons is understood."""
    history = statuses(("WORKING", T0 - 5), (payload["status"], T0))

    event = read(body(payload=payload | {"statuses": history}))

    assert [point.reason for point in event.points] == ["", reason]


def test_secrets_of_a_passkey_are_not_kept() -> None:
    """Neither the challenge nor the code is part of the event."""
    for name in ("waha-docs-passkey-required", "waha-docs-passkey-confirmation-required"):
        event = read(sample(name))

        assert "9WVUYm9AsQ" not in repr(event)
        assert "1234" not in repr(event).replace(str(NOW), "").replace(event.timeless_key or "", "")


# -- the time of an event


def test_the_last_point_dates_the_event_when_its_status_matches() -> None:
    """The envelope's time differs from it by some milliseconds in one of four captures."""
    raw = body(
        timestamp=T0 + 8, payload=payload("WORKING", statuses=statuses(("STARTING", T0 - 5000), ("WORKING", T0)))
    )

    event = read(raw)

    assert event.points == (Point("STARTING", T0 - 5000, 0, T0 - 5000), Point("WORKING", T0, 0, T0))
    assert event.own.at == T0


def test_the_envelope_dates_the_event_when_the_last_point_is_another_status() -> None:
    """Points up to the event are still back-filled; what claims to be newer than the event is not believed."""
    history = statuses(("STARTING", T0 - 5000), ("FAILED", T0), ("STOPPED", T0 + 1))

    event = read(body(payload=payload("WORKING", statuses=history)))

    assert [(p.status, p.at, p.tie) for p in event.points] == [
        ("STARTING", T0 - 5000, 0),
        ("FAILED", T0, 0),
        ("WORKING", T0, 1),
    ]


def test_equal_milliseconds_are_ordered_as_sent() -> None:
    """WAHA up to 2026.1.1 stops and starts within one millisecond."""
    history = statuses(("STOPPED", T0), ("STARTING", T0), ("WORKING", T0))

    event = read(body(payload=payload("WORKING", statuses=history)))

    assert [point.tie for point in event.points] == [0, 1, 2]


@pytest.mark.parametrize("form", ["usual", "field by field", "flat"])
@pytest.mark.parametrize("backwards", [False, True])
def test_of_a_long_history_the_newest_points_are_kept(form: str, backwards: bool) -> None:
    """A body of 256 KiB holds thousands: what each of them costs the log and the fold must have a bound."""
    times = [T0 - 1000 + number for number in range(1000)]
    told = statuses(*(("FAILED", at) for at in (times[::-1] if backwards else times)))
    if form == "flat":
        raw = json.dumps({"name": "sales-uk", "status": "WORKING", "timestamp": T0, "statuses": told}).encode()
    else:
        raw = body(timestamp=T0, payload=payload("WORKING", statuses=told), **({} if form == "usual" else {"id": 1}))

    points = read(raw).points

    assert len(points) == MAX_POINTS
    assert points[-1] == Point("WORKING", T0, 0, T0)
    assert sorted(point.at for point in points[:-1]) == times[1 - MAX_POINTS :]


def test_an_event_keeps_its_own_point_though_its_history_is_newer() -> None:
    """The outcome is judged by it."""
    told = statuses(*(("FAILED", T0 + number) for number in range(100)), ("WORKING", T0 - 5000))

    points = read(body(payload=payload("WORKING", statuses=told))).points

    assert (len(points), points[-1].status, points[-1].at) == (MAX_POINTS, "WORKING", T0 - 5000)


def test_ties_are_counted_before_a_long_history_is_cut() -> None:
    """A shorter history of the same millisecond must not be taken for the one that knows more."""
    told = statuses(*((f"S{number}", T0) for number in range(100)), ("WORKING", T0))

    points = read(body(timestamp=T0, payload=payload("WORKING", statuses=told))).points

    assert [point.tie for point in points] == list(range(101 - MAX_POINTS, 101))


class Compared(int):
    """A time that counts how often it is compared."""

    times = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return int.__eq__(self, other)  # type: ignore[no-any-return]  # an int's is a bool


@pytest.mark.parametrize("step", [0, 1])
def test_the_work_of_a_history_grows_with_its_length(step: int) -> None:
    """Not with the square of it: the event loop does this work for everybody."""
    Compared.times = 0

    believed([("FAILED", Compared(T0 + number * step)) for number in range(6000)], NOW)

    assert Compared.times <= 4 * 6000


@pytest.mark.parametrize("ahead", [0, 1, 60_000])
def test_a_clock_up_to_a_minute_ahead_is_believed(ahead: int) -> None:
    """Clocks differ."""
    event = read(body(timestamp=NOW + ahead))

    assert event.own.at == NOW + ahead
    assert not event.skewed


def test_a_clock_further_ahead_is_replaced_by_the_receipt() -> None:
    """One wrong clock must not make everything after it late; the key still tells a retry."""
    event = read(body(timestamp=NOW + 60_001))

    assert event.own == Point("WORKING", NOW, 0, NOW + 60_001)
    assert event.skewed


def test_a_clock_ahead_in_the_history_alone_is_no_skew_of_the_event() -> None:
    """The back-filled point is put right and the event's own time stands."""
    history = statuses(("STARTING", NOW + 3_600_000), ("WORKING", NOW - 5))

    event = read(body(payload=payload("WORKING", statuses=history)))

    assert [(p.status, p.at, p.key_at) for p in event.points] == [
        ("STARTING", NOW, NOW + 3_600_000),
        ("WORKING", NOW - 5, NOW - 5),
    ]
    assert not event.skewed


def test_the_flat_form_counts_in_seconds() -> None:
    """Wawp v1's `ts` is Unix seconds, fractions included."""
    raw = json.dumps({"instance_id": "42", "status": "WORKING", "qr": None, "ts": 1_722_170_400.5}).encode()

    event = read(raw)

    assert (event.session, event.own.at) == ("42", 1_722_170_400_500)


@pytest.mark.parametrize("at", [1_000_000_000, 1_722_170_400, 1_722_170_400.5, 9_999_999_999])
def test_a_time_of_ten_digits_is_in_seconds(at: float) -> None:
    """In milliseconds it would be one of 1970: each event of such a gateway would be late, or 56 years down."""
    now = 9_999_999_999_000
    points = statuses(("STARTING", at - 1), ("WORKING", at))
    enveloped = read(body(timestamp=at, payload=payload()), now)
    with_history = read(body(timestamp=at, payload=payload(statuses=points)), now)
    flat = read(json.dumps({"name": "a", "status": "WORKING", "timestamp": at}).encode(), now)

    assert {event.own.at for event in (enveloped, with_history, flat)} == {round(at * 1000)}
    assert [point.tie for point in with_history.points] == [0, 0]


def test_a_longer_time_is_in_milliseconds_where_seconds_are_usual() -> None:
    """Wawp v1's `ts`, and the end of a restriction, which would never come."""
    flat = read(json.dumps({"instance_id": "42", "status": "WORKING", "ts": T0}).encode())
    lock = {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": T0}}
    limited = read(body(payload=payload(data=lock)))

    assert flat.own.at == T0
    assert [limit.until for limit in limited.limits] == [T0]


@pytest.mark.parametrize("until", [32_503_680_000, 253_402_300_799])
def test_an_end_that_never_comes_is_not_past(until: int) -> None:
    """Whoever means "never" sends the year 3000 or 9999: the restriction would have ended in the seventies."""
    lock = {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": until}}

    assert [limit.until for limit in read(body(payload=payload(data=lock))).limits] == [until * 1000]


def test_without_any_time_the_first_receipt_counts() -> None:
    """The key is the request's id where there is one, which each retry repeats."""
    raw = body(leave_out=["timestamp"])

    first, retry = read(raw, NOW, "5uemwsms5c0"), read(raw, NOW + 2000, "5uemwsms5c0")

    assert first.own.at == NOW
    assert first.timeless_key == retry.timeless_key != read(raw, NOW, "other").timeless_key
    assert not first.key_is_body


def test_without_a_request_id_the_body_is_the_key() -> None:
    """Equal bytes have an equal key, others another."""
    raw = body(leave_out=["timestamp"])

    assert read(raw).key_is_body
    assert read(raw).timeless_key == read(raw, NOW + 1).timeless_key != read(raw + b" ").timeless_key


@pytest.mark.parametrize(
    "timestamp",
    [0, -1, None, "1795000000000", True, [], {}, 1e300, 10**30, 253_402_300_800_000],
    ids=repr,
)
def test_a_useless_timestamp_is_no_timestamp(timestamp: object) -> None:
    """What cannot be an instant is not one; the event counts all the same."""
    event = read(body(timestamp=timestamp))

    assert event.own.at == NOW
    assert event.timeless_key


# -- names


@pytest.mark.parametrize("name", ["a", "x" * 256, "é" * 128, "😀" * 64, 'quo"te\\\n', " ", "\ufeff"])
def test_a_name_is_any_text_of_up_to_256_bytes(name: str) -> None:
    """Bytes of UTF-8 are counted, not characters."""
    assert read(body(session=name)).session == name


@pytest.mark.parametrize("name", ["", "x" * 257, "é" * 129, None, 5, True, ["a"], {"a": 1}, "a\0b"], ids=repr)
def test_another_name_is_refused(name: object) -> None:
    """422 names the field."""
    assert refused(body(session=name)).message.startswith("session: ")


@pytest.mark.parametrize("status", ["", "x" * 257, None, 5, True, ["WORKING"], {"a": 1}, "a\0b"], ids=repr)
def test_an_unusable_status_is_refused(status: object) -> None:
    """422 names the field by its path."""
    assert refused(body(status)).message.startswith("payload.status: ")


@pytest.mark.parametrize("value", [None, "WORKING", [], 5])
def test_an_unusable_payload_is_refused(value: object) -> None:
    """A status event without a payload says nothing."""
    assert refused(body(payload=value)).message.startswith("payload: ")


@pytest.mark.parametrize("kind", [None, 5, ["session.status"], {}])
def test_an_unusable_kind_is_refused(kind: object) -> None:
    """An envelope says what it is."""
    assert refused(body(event=kind)).message.startswith("event: ")


@pytest.mark.parametrize(("status", "expected"), [("READY", "UNKNOWN"), ("working", "UNKNOWN"), ("FAILED", "FAILED")])
def test_a_status_is_kept_verbatim(status: str, expected: str) -> None:
    """The log has what was sent; what it counts as is the contract's."""
    event = read(body(status))

    assert event.own.status == status
    assert normal(status) is Status(expected)


# -- what accompanies a status


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"engine": "NOWEB"}, "NOWEB"),
        ({"engine": "NEWENGINE"}, "OTHER"),
        ({"engine": None}, None),
        ({"engine": ""}, None),
        ({"engine": 5}, None),
        ({"engine": None, "environment": {"engine": "WPP"}}, "WPP"),
        ({"engine": None, "environment": ["WPP"]}, None),
        ({"engine": "WEBJS", "environment": {"engine": "WPP"}}, "WEBJS"),
    ],
)
def test_the_engine_is_of_a_closed_set(more: dict[str, object], expected: str | None) -> None:
    """A label must not hold whatever somebody sends."""
    assert read(body(**more)).engine == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": 1_784_477_333}},
            [Limit(Restriction.REACHOUT_TIMELOCK, True, 1_784_477_333_000)],
        ),
        (
            {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": None}},
            [Limit(Restriction.REACHOUT_TIMELOCK, True)],
        ),
        ({"reachoutTimelock": {"isActive": False}}, [Limit(Restriction.REACHOUT_TIMELOCK, False)]),
        ({"reachoutTimelock": {"isActive": "yes"}}, [Limit(Restriction.REACHOUT_TIMELOCK, False)]),
        ({"messageCapping": {"cappingStatus": "CAPPED"}}, [Limit(Restriction.MESSAGE_CAPPING, True)]),
        ({"messageCapping": {"cappingStatus": "FIRST_WARNING"}}, [Limit(Restriction.MESSAGE_CAPPING, False)]),
        ({"messageCapping": {}}, [Limit(Restriction.MESSAGE_CAPPING, False)]),
        ({"reachoutTimelock": None, "messageCapping": "CAPPED"}, []),
        ({}, []),
        (None, []),
        ([], []),
    ],
)
def test_restrictions_are_read_from_the_data_of_working(data: object, expected: list[Limit]) -> None:
    """Only CAPPED caps, a timelock has its end in seconds, and an absent key says nothing."""
    assert list(read(body(payload=payload("WORKING", data=data))).limits) == expected


def test_data_of_another_status_states_no_restriction() -> None:
    """It may be a passkey's."""
    data = {"reachoutTimelock": {"isActive": True}}

    assert read(body(payload=payload("FAILED", data=data))).limits == ()


@pytest.mark.parametrize("given", [None, 5, "", "x" * 257, "a\0b", ["evt"]], ids=repr)
def test_an_unusable_event_id_costs_nothing(given: object) -> None:
    """It is for people to find an event by, nothing rests on it."""
    assert read(body(id=given)).event_id is None


@pytest.mark.parametrize(
    "history",
    [None, "WORKING", 5, {}, [None], [5], ["WORKING"], [[]], [{}], [{"status": "WORKING"}], [{"timestamp": T0}],
     [{"status": 5, "timestamp": T0}], [{"status": "WORKING", "timestamp": "now"}],
     [{"status": "WORKING", "timestamp": True}], [{"status": "\0", "timestamp": T0}],
     [{"status": "x" * 257, "timestamp": T0}]],
    ids=repr,
)  # fmt: skip
def test_a_useless_history_is_no_history(history: object) -> None:
    """The event itself counts, by its envelope."""
    event = read(body(payload=payload("FAILED", statuses=history)))

    assert event.points == (Point("FAILED", T0, 0, T0),)


# -- hostile bodies


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b"5", b'"text"', b"true", b"\xff", b'{"a": "\xff"}', b'{"a": NaN}', b"{'a': 1}",
     b'{"a": "\\ud80"}', b'"\\ud800"', b"[" * 100_000, b'{"a":' * 100_000, b'{"event": "x"} {}', b"\xef\xbb\xbf{}"],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_what_is_no_json_object_is_malformed(raw: bytes) -> None:
    """400, whatever it is instead."""
    with pytest.raises(Malformed) as refusal:
        parse("default", raw, NOW)

    assert refusal.value.status == 400


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**15, max_value=10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["session.status", "WORKING", "STARTING", "x" * 257, "\0", "GOWS", "CAPPED"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("id", "timestamp", "event", "session", "payload", "engine", "environment", "me", "instance_id", "status",
          "ts", "statuses", "name", "metadata")  # fmt: skip
LIMITS = st.fixed_dictionaries({}, optional={"isActive": JSON, "timeEnforcementEnds": JSON, "cappingStatus": JSON})
DATA = st.fixed_dictionaries({}, optional={"reachoutTimelock": LIMITS | JSON, "messageCapping": LIMITS | JSON})
POINT = st.fixed_dictionaries({}, optional={"status": JSON, "timestamp": JSON})
PAYLOAD = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([*Status]) | JSON,
        "statuses": st.lists(POINT | JSON, max_size=4) | JSON,
        "data": DATA | JSON,
    },
)
ENVELOPE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(FIELDS, JSON) | {"event": st.just("session.status") | JSON, "payload": PAYLOAD | JSON}
)


def told(raw: bytes) -> StatusEvent | OtherEvent | None:
    """What a body says; None where it is refused, by a reason that is counted."""
    try:
        return parse("default", raw, NOW)
    except Refusal as refusal:
        assert refusal.reason in {"malformed", "invalid_event"}  # noqa: PT017 - most bodies are no error
        return None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ENVELOPE | JSON)
@example({"event": "session.status", "session": "a", "payload": {"status": "WORKING"}, "timestamp": 1e308})
@example({"instance_id": "a", "status": "WORKING", "ts": 1e308})
@example({"instance_id": "a", "status": "WORKING", "ts": 10**400})
def test_any_json_is_an_event_or_a_refusal(value: Any) -> None:
    """Nothing that can be sent raises anything else, and what is accepted keeps its promises."""
    event = told(json.dumps(value).encode())

    if isinstance(event, StatusEvent):
        assert 0 < len(event.session.encode()) <= 256
        assert all(0 < point.at <= NOW + 60_000 for point in event.points)
        assert all(0 < len(point.status.encode()) <= 256 for point in event.points)
        assert event.engine in {None, "WEBJS", "NOWEB", "GOWS", "WPP", "VENOM", "NOWEB_MOBILE", "OTHER"}


def mostly(good: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """A good value, and one time in twenty an odd one: with more, hardly any body would be usual."""
    return st.integers(0, 19).flatmap(lambda chance: st.sampled_from(good if chance else odd))


NAMES = mostly(
    ["a", "sales-uk", "x" * 64, "é" * 64, "😀" * 64, 'a"\\/\n\x7f'], ["", "x" * 65, "😀" * 65, "a\0", None, 5]
)
TIMES = mostly([10**10, T0, float(T0), T0 // 1000, 9_999_999_999, NOW + 60_001, 253_402_300_799_999],
               [T0 + 0.5, 253_402_300_800_000, 10**30, 0, -1, True, "5", None])  # fmt: skip
STATUS = mostly([*Status, "NEW"], ["", "x" * 65, None])
POINTS = st.lists(st.fixed_dictionaries({"status": STATUS, "timestamp": TIMES}), max_size=3)
NEARLY_USUAL = st.fixed_dictionaries(
    {
        "event": st.just("session.status"),
        "session": NAMES,
        "timestamp": TIMES,
        "payload": st.fixed_dictionaries(
            {"status": STATUS},
            optional={
                "statuses": POINTS,
                "data": mostly([None], [{}, {"messageCapping": {"cappingStatus": "CAPPED"}}]),
            },
        ),
        "engine": mostly(["GOWS", "WEBJS"], ["NEW", "", None, {}]),
    },
    optional={"id": NAMES, "me": JSON, "environment": JSON, "instance_id": NAMES},
)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(NEARLY_USUAL, st.booleans())
def test_the_usual_is_read_as_field_by_field(value: dict[str, Any], ascii_only: bool) -> None:
    """The fast way says what the long one does, or leaves the body to it."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    envelope = usual(raw)

    if envelope:
        assert usual_event("default", envelope, NOW) == status_event("default", decode(raw), raw, NOW, "id")


@pytest.mark.parametrize("field", ["\xff", "\xed\xa0\x80", "\xc0\x80", "a\\x", "a\x01", "\\ud80", "\\ud800\xff"])
def test_what_is_skipped_must_be_json_too(field: str) -> None:
    """Otherwise whether a body is refused would depend on the fields that one version of a gateway adds."""
    raw = body(surprise="HERE").replace(b"HERE", field.encode("latin-1"))

    assert told(raw) is None


def test_the_captured_is_usual() -> None:
    """Or the fast way would be for nobody: WAHA's own requests, but for those with restrictions or a passkey."""
    lines = [line for path in sorted(CAPTURED.glob("*.jsonl")) for line in path.read_text().splitlines()]
    bodies = [base64.b64decode(json.loads(line)["body_b64"]) for line in lines]

    assert len(bodies) > 200
    assert all(usual(raw) for raw in bodies)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Ana \\ud83d", "Ana \0"),
        ("\\uDE00!", "\0!"),
        ("\\ud83d\\ude00", "😀"),
        ("\\ud83d\\ud83d\\ude00", "\0😀"),
        ("\\ud83d\\ude00\\ude00", "😀\0"),
        ("\\ude00\\ud83d", "\0\0"),
        ("\\\\ud83d \\ud83d", "\\ud83d \0"),
        ("\\\\\\ud83d\\n", "\\\0\n"),
        ("\\\\ud83d\\ude00", "\\ud83d\0"),
        ("\\\\\\ud83d\\\\ude00", "\\\0\\ude00"),
    ],
)
def test_half_a_character_leaves_the_rest_readable(given: str, meant: str) -> None:
    """A name that was cut within an emoji reaches us like this from JavaScript; the session must not vanish by it."""
    raw = body(surprise="HERE").replace(b"HERE", given.encode())

    assert decode(raw)["surprise"] == meant
    assert read(raw).points == read(body()).points


@pytest.mark.parametrize("name", ["a\\ud800", "\\udfff"])
def test_half_a_character_is_no_part_of_a_name(name: str) -> None:
    """A name is UTF-8, and two broken names are not the same session."""
    assert "session" in str(refused(body(session="HERE").replace(b"HERE", name.encode())))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_refusal(raw: bytes) -> None:
    """Noise is refused, not tripped over."""
    with pytest.raises(Refusal):
        parse("default", raw, NOW)


def test_unknown_fields_cost_nothing() -> None:
    """Gateways add fields with each version."""
    assert read(body(surprise={"deep": [1, 2, {"a": None}]})).own.at == ms(0)
