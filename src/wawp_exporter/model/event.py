"""What a webhook says: a `StatusEvent` with its back-filled points, or an event of another kind."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, get_args

import msgspec

MAX_AHEAD_MS = 60_000
Engine = Literal["WEBJS", "NOWEB", "GOWS", "WPP", "VENOM", "NOWEB_MOBILE"]
ENGINES = frozenset(get_args(Engine))
OTHER_ENGINE = "OTHER"


class Word(StrEnum):
    """An enumeration whose members are keys on the hot path: it hashes as a string, since Enum's hash is slow."""

    __hash__ = str.__hash__


class Status(Word):
    """The statuses of the contract; whatever else a gateway says is UNKNOWN."""

    STARTING = "STARTING"
    SCAN_QR_CODE = "SCAN_QR_CODE"
    WORKING = "WORKING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    DISCONNECTED = "DISCONNECTED"
    UNKNOWN = "UNKNOWN"
    PASSKEY_REQUIRED = "PASSKEY_REQUIRED"
    PASSKEY_CONFIRMATION_REQUIRED = "PASSKEY_CONFIRMATION_REQUIRED"


# Each event is compared with these. Looking a member up on its class would take longer than the comparison.
STARTING, WORKING, STOPPED, UNKNOWN = Status.STARTING, Status.WORKING, Status.STOPPED, Status.UNKNOWN
ALWAYS = tuple(Status)[:7]  # the statuses whose series every session has
PASSKEYS = tuple(Status)[7:]
LOGIN = frozenset({Status.SCAN_QR_CODE, *PASSKEYS})
BY_NAME = {status.value: status for status in Status}


# How a session ended, by a gateway that reports one end with several webhooks, the weakest first: it is closed, for
# whatever reason; it was lost; somebody stopped it. The webhooks may come in any order; `machine.end` compares them.
ENDINGS = CLOSED, LOST, DECIDED = "closed", "lost", "decided"
# How a session ended by its status alone, where the dialect says nothing else.
USUAL_ENDINGS = {Status.FAILED: LOST, Status.DISCONNECTED: LOST, STOPPED: DECIDED}


class Restriction(Word):
    """What WhatsApp may do to an account that is WORKING."""

    REACHOUT_TIMELOCK = "reachout_timelock"
    MESSAGE_CAPPING = "message_capping"


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A restriction as one event states it: `until` is the end in Unix ms, 0 when none is given."""

    restriction: Restriction
    active: bool
    until: int = 0


class Point(msgspec.Struct, frozen=True, gc=False):
    """One observed status. `status` is as sent; times are Unix ms by the gateway's clock.

    `key_at` is the time as sent and identifies the point in the log. `at` is the time that is used: the same, or the
    time of receipt if that was more than a minute ahead. `(at, tie)` orders the points of one session.
    `ending` is one of ENDINGS if the gateway reports one end with several webhooks. `reason` (of `reasons.Reason`, ""
    for none) is why the session is lost, if the gateway says so with this status.
    """

    status: str
    at: int
    tie: int
    key_at: int
    ending: str | None = None
    reason: str = ""


class StatusEvent(msgspec.Struct, frozen=True, gc=False):
    """One `session.status` webhook. `points` ends with the event's own point, older ones are back-fill.

    `timeless_key` is set where the gateway gave no time: then a retry is recognized by this key instead of the time.
    `key_is_body`: the key is made of the body alone. `renews`: the session has been in another status since, so that
    the same body is a new event. `origin` is set where the event did not come as a webhook.
    """

    source: str
    session: str
    points: tuple[Point, ...]
    received_at: int
    event_id: str | None = None
    engine: str | None = None
    limits: tuple[Limit, ...] = ()
    timeless_key: str | None = None
    key_is_body: bool = False
    renews: bool = False
    origin: str | None = None

    @property
    def own(self) -> Point:
        """The point that the event itself is about."""
        return self.points[-1]

    @property
    def skewed(self) -> bool:
        """Whether its time was so far ahead that the time of receipt was taken instead."""
        return self.own.key_at - self.received_at > MAX_AHEAD_MS


class Direction(Word):
    """Whether a message came to the account, or was sent from it."""

    IN = "in"
    OUT = "out"


class Ack(Word):
    """What is known of WhatsApp's acknowledgement of an own message."""

    PENDING = "pending"
    SERVER = "server"  # or more: delivered, read, played
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """All that is read of a message: `direction` is None where the event only states the acknowledgement of an own one.

    An own message with `ack` None is one of which no acknowledgement is sure to come.
    `at` is Unix ms, 0 where the gateway gave no time. `id` is only compared, as a keyed hash, and never shown.
    """

    direction: Direction | None
    at: int = 0
    ack: Ack | None = None
    id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A webhook of another kind (`message`, …): a sign of life of its session, and what it says of messages."""

    session: str | None
    messages: tuple[Message, ...] = ()


def normal(status: str) -> Status:
    """A status as the gateway spells it → the contract's, UNKNOWN for what is not in it."""
    return BY_NAME.get(status, UNKNOWN)
