"""What each gateway says of messages: only the direction, the time, and how far own ones were acknowledged."""

from typing import Any

import pytest

from tests import parts
from tests.builders import ms
from wawp_exporter.dialects.messages import MAX_MESSAGES
from wawp_exporter.dialects.registry import DIALECTS
from wawp_exporter.model.event import Ack, Direction, Message, OtherEvent

IN, OUT = Direction
SENT = 1_767_571_200  # seconds
AT = SENT * 1000
TEXT, PHONE, NAME, ID = "the secret text", "5511987654321", "Maria Silva", "3EB0C127D7BACC83D6A1"
CHAT = f"{PHONE}@c.us"


def waha(kind: str = "message.any", **payload: Any) -> dict[str, Any]:
    """An event of WAHA or Wawp, as in its documentation and its webhooks.dto.ts."""
    told = {"id": f"true_{CHAT}_{ID}", "timestamp": SENT, "from": CHAT, "fromMe": True, "to": CHAT, "body": TEXT,
            "hasMedia": False, "ack": 0, "ackName": "PENDING", "_data": {"notifyName": NAME}, **payload}  # fmt: skip
    me = {"id": CHAT, "pushName": NAME}
    engine = told.pop("engine", "WEBJS")
    return {"id": "evt_1", "timestamp": AT, "event": kind, "session": "s", "engine": engine, "me": me, "payload": told}


def evolution(kind: str = "messages.upsert", data: Any = None, **more: Any) -> dict[str, Any]:
    """An event of Evolution 2, as whatsapp.baileys.service.ts makes it."""
    key = {"remoteJid": f"{PHONE}@s.whatsapp.net", "fromMe": True, "id": ID}
    told = data or {"key": key, "pushName": NAME, "status": "PENDING", "message": {"conversation": TEXT},
                    "messageType": "conversation", "messageTimestamp": SENT, **more}  # fmt: skip
    return {"event": kind, "instance": "s", "data": told, "sender": PHONE, "date_time": "2026-01-05T00:00:00.000Z"}


def update(**more: Any) -> dict[str, Any]:
    """The data of Evolution's messages.update: 2.x has keyId, 1.x has id."""
    return {"keyId": ID, "remoteJid": f"{PHONE}@s.whatsapp.net", "fromMe": True, "status": "SERVER_ACK", **more}


def wppconnect(kind: str = "onselfmessage", **more: Any) -> dict[str, Any]:
    """An event of wppconnect-server: the message itself, as createSessionUtil.ts passes it on."""
    key = {"fromMe": True, "remote": CHAT, "id": ID, "_serialized": f"true_{CHAT}_{ID}"}
    return {"event": kind, "session": "s", "id": key, "body": TEXT, "t": SENT, "notifyName": NAME, "from": CHAT,
            "to": CHAT, "ack": 0, "type": "chat", **more}  # fmt: skip


def openwa(kind: str = "message.sent", **more: Any) -> dict[str, Any]:
    """A delivery of OpenWA, as webhook-delivery.service.ts makes it of what message-projector.service.ts dispatches."""
    told = {"id": ID, "from": CHAT, "to": CHAT, "chatId": CHAT, "body": TEXT, "type": "text", "timestamp": SENT,
            "fromMe": True, "isGroup": False, "contact": {"pushName": NAME}, **more}  # fmt: skip
    return openwa_delivery(kind, told)


def openwa_ack(kind: str = "message.ack", **more: Any) -> dict[str, Any]:
    """How far an own message was acknowledged: `id` and `messageId` are the same."""
    key = more.pop("key", ID)
    return openwa_delivery(kind, {"id": key, "messageId": key, "status": "sent", "ack": 1, **more})


def openwa_delivery(kind: str, told: dict[str, Any]) -> dict[str, Any]:
    """The envelope."""
    return {"event": kind, "timestamp": "2026-01-05T00:00:01.000Z", "sessionId": "s", "deliveryId": "dlv_1",
            "idempotencyKey": f"msg_s_{ID}_6f9a0b1c", "data": told}  # fmt: skip


def read(dialect: str, told: object) -> tuple[Message, ...]:
    """What is read of it."""
    found = DIALECTS[dialect]("default", parts.encode(told), ms(0), None)  # type: ignore[arg-type]  # anything
    assert isinstance(found, OtherEvent)
    assert found.session == "s"
    return found.messages


def message(direction: Direction = OUT, ack: Ack | None = Ack.PENDING, at: int = AT, key: str = ID) -> Message:
    """A message."""
    return Message(direction, at, ack, key)


def acknowledged(ack: Ack = Ack.SERVER, key: str = ID) -> Message:
    """How far an own message was acknowledged."""
    return Message(None, 0, ack, key)


@pytest.mark.parametrize(
    ("dialect", "told", "expected"),
    [
        ("waha", waha(), message()),
        ("waha", waha(ack=1), message(ack=Ack.SERVER)),
        ("waha", waha(ack=-1), message(ack=Ack.ERROR)),
        ("waha", waha(ack=None, ackName="DEVICE"), message(ack=Ack.SERVER)),
        ("waha", waha(ack=None, ackName=None), message()),
        ("waha", waha("message", fromMe=False, id=f"false_{CHAT}_{ID}"), message(IN, None)),
        ("waha", waha(timestamp=AT), message()),
        ("waha", waha(timestamp="soon"), message(at=0)),
        ("waha", waha(id={"fromMe": True, "id": ID}), message()),
        ("waha", waha(id=f"true_{CHAT}_{ID}_7"), message(key=f"{ID}_7")),
        ("waha", waha(id=f"true_{CHAT}_{ID}_out"), message()),
        ("waha", waha(id=f"false_1203@g.us_{ID}_7_{PHONE}@lid", fromMe=False), message(IN, None, key=f"{ID}_7")),
        ("waha", waha(id=f"true_1203@g.us_{ID}_{PHONE}@c.us"), message(ack=None)),
        ("waha", waha(to="1203@g.us"), message(ack=None)),
        ("waha", waha(id=f"true_status@broadcast_{ID}"), message(ack=None)),
        ("waha", waha(id={"fromMe": True, "remote": "1203@newsletter", "id": ID}), message(ack=None)),
        ("waha", waha(id=f"true_1203@g.us_{ID}_{PHONE}@c.us", ack=1), message(ack=Ack.SERVER)),
        ("waha", waha(id=None), message(key="")),
        ("waha", {"event": "message", "session": "s", "payload": {}}, Message(IN)),
        ("waha", waha("message.ack", ack=3, ackName="READ"), acknowledged()),
        ("waha", waha("message.ack", ack=0), acknowledged(Ack.PENDING)),
        ("waha", waha("message.ack", ack=-1, ackName="ERROR"), acknowledged(Ack.ERROR)),
        ("waha", waha("message.ack.group", ack=1), acknowledged()),
        ("waha", waha("message.ack.group", id=f"true_1203@g.us_{ID}_{CHAT}", fromMe=False, ack=3), acknowledged()),
        ("waha", waha(engine="GOWS", ack=None, ackName="UNKNOWN"), message(ack=Ack.SERVER)),
        ("waha", waha(engine="GOWS", ack=1, ackName="SERVER"), message(ack=Ack.SERVER)),
        ("waha", waha(engine="GOWS", fromMe=False, id=f"false_{CHAT}_{ID}", ack=None), message(IN, None)),
        ("waha", waha("message.ack", engine="GOWS", ack=2, ackName="DEVICE"), acknowledged()),
        ("evolution", evolution(), message()),
        ("evolution", evolution("MESSAGES_UPSERT", status="DELIVERY_ACK"), message(ack=Ack.SERVER)),
        ("evolution", evolution("send.message"), message()),
        ("evolution", evolution(key={"remoteJid": "1203@g.us", "fromMe": True, "id": ID}), message(ack=None)),
        ("evolution", evolution(key={"remoteJid": CHAT, "fromMe": False, "id": ID}), message(IN, None)),
        ("evolution", evolution("messages.update", update()), acknowledged()),
        ("evolution", evolution("messages.update", update(status="ERROR")), acknowledged(Ack.ERROR)),
        ("evolution", evolution("messages.update", update(keyId=None, id=ID, status="READ")), acknowledged()),
        (
            "evolution",
            evolution("messages.update", [{"key": {"fromMe": True, "id": ID}, "update": {"status": 2}}]),
            acknowledged(),
        ),
        ("wppconnect", wppconnect(), message()),
        ("wppconnect", wppconnect("onmessage", id=f"false_{CHAT}_{ID}", fromMe=False), message(IN, None)),
        ("wppconnect", wppconnect(to={"_serialized": "1203@g.us"}), message(ack=None)),
        ("wppconnect", wppconnect("onack", ack=1), acknowledged()),
        ("wppconnect", wppconnect("onack", ack=-1), acknowledged(Ack.ERROR)),
        ("openwa", openwa(), message()),
        ("openwa", openwa(id=f"true_{CHAT}_{ID}"), message()),
        ("openwa", openwa(chatId="1203@g.us", to="1203@g.us"), message(ack=None)),
        ("openwa", openwa("message.received", fromMe=False), message(IN, None)),
        ("openwa", openwa("message.received", fromMe=False, id=f"false_{CHAT}_{ID}"), message(IN, None)),
        ("openwa", openwa_ack(), acknowledged()),
        ("openwa", openwa_ack(key=f"true_{CHAT}_{ID}", status="read", ack=3), acknowledged()),
        ("openwa", openwa_ack(status="pending", ack=0), acknowledged(Ack.PENDING)),
        ("openwa", openwa_ack(status="failed", ack=-1), acknowledged(Ack.ERROR)),
        ("openwa", openwa_ack("message.failed", status="failed", ack=-1), acknowledged(Ack.ERROR)),
        ("openwa", openwa_ack("message.receipt", status="delivered", participant=CHAT, ack=None), acknowledged()),
        ("openwa", openwa_delivery("message.ack", {"messageId": ID, "ack": 2}), acknowledged()),
    ],
)
def test_a_message_has_a_direction_a_time_and_an_acknowledgement(
    dialect: str, told: dict[str, Any], expected: Message
) -> None:
    """The same for every gateway; an id is read without the chat that stands around it in some events."""
    assert read(dialect, told) == (expected,)


@pytest.mark.parametrize(
    ("dialect", "told"),
    [
        ("waha", waha("presence.update")),
        ("waha", waha("message.reaction")),
        ("waha", waha("message.ack", fromMe=False, id=ID, ack=3)),
        ("waha", waha("message.ack", fromMe=True, id=f"false_{CHAT}_{ID}", ack=3)),
        ("waha", waha("message.ack", engine="GOWS", ack=None, ackName="UNKNOWN")),
        ("waha", waha("message.ack", ack="many", ackName=7)),
        ("waha", waha() | {"payload": [1]}),
        ("evolution", evolution("presence.update", {"id": CHAT})),
        ("evolution", evolution("messages.update", update(fromMe=False))),
        ("evolution", evolution("messages.update", update(status="DELETED"))),
        ("evolution", evolution("messages.upsert", ["x"])),
        ("wppconnect", wppconnect("onpresencechanged")),
        ("wppconnect", wppconnect("onack", id={"fromMe": False, "id": ID}, ack=3)),
        ("openwa", openwa("message.reaction", messageId=ID)),
        ("openwa", openwa("message.revoked")),
        ("openwa", openwa_ack(key=f"false_{CHAT}_{ID}", status="read")),
        ("openwa", openwa_ack() | {"data": None}),
    ],
)
def test_everything_else_is_a_sign_of_life_only(dialect: str, told: dict[str, Any]) -> None:
    """Also that we have read somebody's message: that says nothing of what the server knows of ours."""
    assert read(dialect, told) == ()


def test_of_an_event_with_many_messages_so_many_are_read() -> None:
    """A body of 256 KiB has room for 80,000: other webhooks would wait for them."""
    assert len(read("evolution", evolution("messages.upsert", [{}] * (MAX_MESSAGES + 1)))) == MAX_MESSAGES


@pytest.mark.parametrize(
    ("dialect", "told"),
    [("waha", waha()), ("evolution", evolution()), ("wppconnect", wppconnect()), ("openwa", openwa())],
)
def test_nothing_of_a_message_can_be_seen_in_what_is_read(dialect: str, told: dict[str, Any]) -> None:
    """Whoever logs or shows an event by mistake shows no text, no number, no name and no id."""
    shown = repr(read(dialect, told))

    assert not [secret for secret in (TEXT, PHONE, NAME, ID) if secret in shown]
