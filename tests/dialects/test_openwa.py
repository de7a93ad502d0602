"""OpenWA's webhooks, as its sources send them (docs/gateways.md): one end in two webhooks, restrictions, replays."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from wawp_exporter.dialects import openwa
from wawp_exporter.errors import InvalidEvent
from wawp_exporter.model.event import OtherEvent, Status, StatusEvent
from wawp_exporter.model.machine import fold

ID = "0d4e1a52-7a0e-4f0e-9d0b-0a3c1f6b2c11"
HOOK = "6f9a0b1c-0000-4000-8000-000000000001"
AT = "2026-06-19T01:00:00.000Z"
AT_MS = 1_781_830_800_000
LATER = "2026-06-19T01:00:10.000Z"
PREFIXES = {"session.status": "sess", "session.disconnected": "disc", "session.authenticated": "auth"}
QR = "2@secret-code"
PHONE = "628123456789"


def delivery(event: str, at: str = AT, key_at: str | None = None, **data: Any) -> dict[str, Any]:
    """A body; `at` is when it was sent, `key_at` when it occurred."""
    key = f"{PREFIXES.get(event, 'evt')}_{ID}_x_{key_at or at}_{HOOK}"
    given = {"sessionId": ID, **data}
    return {
        "event": event,
        "timestamp": at,
        "sessionId": ID,
        "idempotencyKey": key,
        "deliveryId": "dlv_1",
        "data": given,
    }


def read(body: dict[str, Any], named: str = "") -> StatusEvent:
    """The event that it is."""
    event = openwa.parse("owa", parts.encode(body), AT_MS + 500, None, named)
    assert isinstance(event, StatusEvent)
    return event


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (delivery("session.status", status="initializing"), "STARTING", ""),
        (delivery("session.status", status="authenticating"), "STARTING", ""),
        (delivery("session.status", status="qr_ready"), "SCAN_QR_CODE", ""),
        (delivery("session.status", status="ready"), "WORKING", ""),
        (delivery("session.status", status="disconnected"), "DISCONNECTED", ""),
        (delivery("session.status", status="action_required"), "FAILED", ""),
        (delivery("session.status", status="failed"), "FAILED", ""),
        (delivery("session.status", status="created"), "STOPPED", ""),
        (delivery("session.status", status="hatching"), "hatching", ""),
        (delivery("session.qr", qr=QR), "SCAN_QR_CODE", ""),
        (delivery("session.authenticated", phone=PHONE, pushName="Ana"), "WORKING", ""),
        (delivery("session.disconnected", reason="LOGOUT"), "DISCONNECTED", "logged_out"),
        (delivery("session.disconnected", reason="logged out"), "DISCONNECTED", "logged_out"),
        (delivery("session.disconnected", reason="UNPAIRED_IDLE"), "DISCONNECTED", "logged_out"),
        (delivery("session.disconnected", reason="CONFLICT"), "DISCONNECTED", "replaced"),
        (delivery("session.disconnected", reason="TIMEOUT"), "DISCONNECTED", "timed_out"),
        (delivery("session.disconnected", reason="TOS_BLOCK"), "DISCONNECTED", "banned"),
        (delivery("session.disconnected", reason="PROXYBLOCK"), "DISCONNECTED", "connection_lost"),
        (delivery("session.disconnected", reason="Page crashed"), "DISCONNECTED", "other"),
        (delivery("session.disconnected"), "DISCONNECTED", ""),
        (delivery("session.reconnect_loop", attempts=5, nextDelayMs=60000), "DISCONNECTED", "connection_lost"),
    ],
)
def test_each_event_says_a_status_and_perhaps_why(body: dict[str, Any], status: str, reason: str) -> None:
    """A status that is not known is kept as it is, and exported as UNKNOWN."""
    event = read(body)

    assert (event.session, event.own.status, event.own.reason) == (ID, status, reason)
    assert event.own.at == AT_MS


@pytest.mark.parametrize("active", [True, False])
def test_a_timelock_is_a_restriction_of_a_session_that_works(active: bool) -> None:
    """The account stays connected; `expiresAt` is when it ends, null where nobody knows."""
    ends = "2026-06-20T01:00:00.000Z" if active else None
    event = read(
        delivery("session.restriction", active=active, kind="reachout_timelock", code="BIZ_QUALITY", expiresAt=ends)
    )

    (limit,) = event.limits
    assert event.own.status == Status.WORKING
    assert (limit.restriction, limit.active) == ("reachout_timelock", active)
    assert limit.until == (AT_MS + 86_400_000 if active else 0)


@pytest.mark.parametrize(
    "body",
    [
        delivery("session.restriction", active=True, kind="tos_block", code="TOS_BLOCK", expiresAt=None),
        delivery("presence.update", chatId="c", participants=[]),
        delivery("test", message="This is a test webhook from OpenWA"),
    ],
)
def test_other_events_are_signs_of_life(body: dict[str, Any]) -> None:
    """A block of the connection is said by `session.disconnected`, which follows."""
    assert openwa.parse("owa", parts.encode(body), AT_MS) == OtherEvent(ID)
    assert openwa.parse("owa", parts.encode(body), AT_MS, None, "sales") == OtherEvent("sales")


def test_a_replay_has_the_time_of_the_event() -> None:
    """It is recognized as the same one: after a crash OpenWA sends it again with a new `timestamp`."""
    first = read(delivery("session.status", status="ready"))
    again = read(delivery("session.status", LATER, AT, status="ready"))

    assert (again.own, again.timeless_key) == (first.own, None)


@pytest.mark.parametrize("key", [None, "", "sess_s_ready", f"qr_{ID}_0123456789ab_{HOOK}", 7])
def test_without_a_time_in_its_key_the_time_of_the_delivery_counts(key: object) -> None:
    """As with QR codes, and in the first versions."""
    assert read({**delivery("session.status", status="ready"), "idempotencyKey": key}).own.at == AT_MS


@pytest.mark.parametrize("at", [None, "", "yesterday", "2026-06-19T01:00:00", 7])
def test_without_any_time_the_receipt_counts(at: object) -> None:
    """A retry is recognized by its body then."""
    event = read({**delivery("session.status", status="ready"), "idempotencyKey": None, "timestamp": at})

    assert event.own.at == AT_MS + 500
    assert event.timeless_key


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_loss_in_two_webhooks_keeps_its_reason(order: Sequence[int]) -> None:
    """One of them has it; they come in any order."""
    both = [
        delivery("session.disconnected", AT, reason="LOGOUT"),
        delivery("session.status", "2026-06-19T01:00:00.004Z", status="disconnected"),
    ]

    state = fold(read(both[index]).own for index in order)

    assert state
    assert (state.status, state.reason) == (Status.DISCONNECTED, "logged_out")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**delivery("session.status", status="ready"), "sessionId": None}, "sessionId"),
        (delivery("session.status"), "data.status"),
        ({**delivery("session.status"), "data": []}, "data.status"),
        ({"data": {}}, "event"),
    ],
)
def test_what_is_missing_is_named(body: dict[str, Any], field: str) -> None:
    """422 with the field."""
    with pytest.raises(InvalidEvent, match=f"^{field}: missing"):
        openwa.parse("owa", parts.encode(body), AT_MS)


def test_signed_webhooks_are_taken_and_named_by_their_url(
    exporter: Callable[..., parts.Exporter], tmp_path: Path
) -> None:
    """As OpenWA sends them, with its header; nothing personal is kept."""
    (tmp_path / "keys").write_text("the-secret")
    source = {
        "dialect": "openwa",
        "hmac_keys_file": str(tmp_path / "keys"),
        "hmac_algorithm": "sha256",
        "hmac_header": "X-OpenWA-Signature",
    }
    made = exporter({"sources": {"owa": source}})
    body = parts.encode(delivery("session.authenticated", phone=PHONE, pushName="Ana"))
    signature = parts.sign(body, "the-secret", "sha256")

    def post(given: str) -> int:
        headers = {"X-OpenWA-Signature": given, "User-Agent": "OpenWA-Webhook/1.0.0"}
        url = f"{made.url}/webhook/owa?session=sales-uk"
        return made.client.post(url, content=body, headers=headers).status_code

    assert [post(f"sha256={signature}"), post("sha256=00")] == [200, 401]
    session = made.get("/api/v1/sessions/owa/sales-uk").json()
    assert session["status"] == "WORKING"
    assert PHONE not in json.dumps(session) + made.metrics()
