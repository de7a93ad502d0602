"""What webhooks say of messages: the direction, the time, and how far an own message was acknowledged; nothing else."""

from typing import Any

from wawp_exporter.dialects.reading import instant
from wawp_exporter.model.event import Ack, Direction, Message

MANY = ("@g.us", "@broadcast", "@newsletter")  # how the ids of chats with many people end
MAX_MESSAGES = 1000  # of one event, the first ones
# Events about messages, and whether they say that a message is there, or only how far it was acknowledged.
WAHA = {"message": True, "message.any": True, "message.ack": False, "message.ack.group": False}
EVOLUTION = {"messages.upsert": True, "send.message": True, "messages.update": False}
WPPCONNECT = {"onmessage": True, "onselfmessage": True, "onack": False}
OPENWA = {
    "message.received": True,
    "message.sent": True,
    "message.ack": False,
    "message.failed": False,
    "message.receipt": False,
}
# Evolution's words are Baileys' (in capitals) or those of the Cloud API, which OpenWA's are too.
WORDS = {
    "ERROR": Ack.ERROR,
    "FAILED": Ack.ERROR,
    "PENDING": Ack.PENDING,
    **dict.fromkeys(
        ("SERVER", "DEVICE", "READ", "PLAYED", "SERVER_ACK", "DELIVERY_ACK", "SENT", "DELIVERED"), Ack.SERVER
    ),
}


def waha_messages(kind: str, payload: object, engine: object = None) -> tuple[Message, ...]:
    """`payload` of WAHA and Wawp: `fromMe`, `timestamp` in seconds, `ack` from -1 (error) over 0 (pending) on.

    The engine GOWS reports an own message once WhatsApp's server has acknowledged it, and says no more of that.
    """
    if kind not in WAHA or not isinstance(payload, dict):
        return ()
    key = payload.get("id")
    ack = level(payload.get("ack")) or word(payload.get("ackName"))
    if ack is None and engine == "GOWS" and WAHA[kind]:
        ack = Ack.SERVER
    return said(WAHA[kind], is_own(key, payload.get("fromMe")), payload.get("timestamp"), ack, key, payload.get("to"))


def evolution_messages(kind: str, data: object) -> tuple[Message, ...]:
    """`data` of Evolution: one message or several, with their key beside or around what is said of them."""
    if kind not in EVOLUTION:
        return ()
    found: tuple[Message, ...] = ()
    for item in data[:MAX_MESSAGES] if isinstance(data, list) else [data]:
        if not isinstance(item, dict):
            continue
        key = item["key"] if isinstance(item.get("key"), dict) else item
        update = item["update"] if isinstance(item.get("update"), dict) else item
        status = update.get("status")
        # As a number it is Baileys': one more than the levels of the others.
        ack = word(status) or level(status - 1 if type(status) is int else None)
        own = key.get("fromMe") is True
        name = key.get("keyId") or key.get("id")
        found += said(EVOLUTION[kind], own, item.get("messageTimestamp"), ack, name, key.get("remoteJid"))
    return found


def wppconnect_messages(kind: str, data: dict[str, Any]) -> tuple[Message, ...]:
    """The body of wppconnect-server: the message itself, `t` in seconds, its id perhaps an object."""
    if kind not in WPPCONNECT:
        return ()
    key = data.get("id")
    own = is_own(key, data.get("fromMe"))
    return said(WPPCONNECT[kind], own, data.get("t"), level(data.get("ack")), key, data.get("to"))


def openwa_messages(kind: str, data: object) -> tuple[Message, ...]:
    """`data` of OpenWA: acknowledgements are of own messages, unless whatsapp-web.js' id says that it was received."""
    if kind not in OPENWA or not isinstance(data, dict):
        return ()
    key = data.get("id") or data.get("messageId")
    own = kind != "message.received" and is_own(key, True)
    ack = word(data.get("status")) or level(data.get("ack"))
    return said(OPENWA[kind], own, data.get("timestamp"), ack, key, data.get("chatId"))


def said(there: bool, own: bool, at: object, ack: Ack | None, key: object, chat: object) -> tuple[Message, ...]:
    """What an event says. That an incoming message was acknowledged by us says nothing of WhatsApp's server.

    Nor is an acknowledgement sure to come of what was sent to many, so that it is not waited for.
    """
    if not there:
        return (Message(None, 0, ack, id_of(key)),) if own and ack else ()
    if own and ack in (None, Ack.PENDING):
        ack = None if to_many(key, chat) else Ack.PENDING
    return (Message(Direction.OUT if own else Direction.IN, instant(at), ack if own else None, id_of(key)),)


def to_many(*chats: object) -> bool:
    """Whether a message is in a group, a status or a channel: how the chat's id ends says so."""
    return any(f"{end}_" in f"{spelt(chat)}_" for chat in chats for end in MANY)


def spelt(chat: object) -> str:
    """The id of a chat, perhaps in another id, which gateways write as a text or in objects."""
    while isinstance(chat, dict):
        chat = chat.get("remote") or chat.get("_serialized")
    return chat if isinstance(chat, str) else ""


def is_own(key: object, stated: object) -> bool:
    """Whether a message is an own one: its id says so, if it is an object or begins with true_ or false_.

    It counts more than `fromMe`, which is the opposite of it in message.ack.group of WAHA's engine WEBJS.
    """
    if isinstance(key, dict) and "fromMe" in key:
        stated = key["fromMe"]
    elif isinstance(key, str) and key.startswith(("true_", "false_")):
        return key.startswith("true_")
    return stated is True


def level(value: object) -> Ack | None:
    """The acknowledgement by its number."""
    if type(value) is not int:
        return None
    return Ack.ERROR if value < 0 else Ack.SERVER if value else Ack.PENDING


def word(value: object) -> Ack | None:
    """The acknowledgement by its name."""
    return WORDS.get(value.upper()) if isinstance(value, str) else None


def id_of(key: object) -> str:
    """The id of a message without what events write around it, in several ways; "" if there is none.

    `fromMe` and the chat are before it; behind it the sender, in a group, and `in` or `out`, in the chat with oneself.
    """
    if isinstance(key, dict):
        key = key.get("id") or key.get("_serialized")
    if not isinstance(key, str):
        return ""
    parts = key.split("_")
    if len(parts) < 3 or parts[0] not in ("true", "false"):
        return key
    while len(parts) > 3 and ("@" in parts[-1] or parts[-1] in ("in", "out")):
        parts.pop()
    return "_".join(parts[2:])
