"""What gateways send: events of a few sessions, with history, ties, wrong clocks, and old ones without a time."""

import random
from dataclasses import dataclass
from typing import Any

from soak.ledger import Key, Name
from tests import parts

NAMES = ("sales-uk", 'q"uo\\te', "<b>", "a/b/../c", "line\nfeed", "émoji-🦜", "x" * 250, "default")
ENGINES = ("GOWS", "NOWEB", "WEBJS", "NEWER")
NEXT = {
    "WORKING": ("DISCONNECTED", "STOPPED", "WORKING", "FAILED", "STARTING"),
    "STOPPED": ("STARTING", "STARTING", "UNKNOWN"),
    "STARTING": ("WORKING", "SCAN_QR_CODE", "FAILED", "WORKING"),
    "SCAN_QR_CODE": ("SCAN_QR_CODE", "WORKING", "FAILED", "PASSKEY_REQUIRED"),
}
OTHERS = ("STARTING", "STOPPED", "WORKING", "DISCONNECTED", "CONNECTING", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Sent:
    """A webhook as it goes out, as often as it takes; `name` is None for one that is no status."""

    source: str
    body: bytes
    id: str
    name: Name | None = None
    history: tuple[Key, ...] = ()


class Session:
    """One session as its gateway knows it."""

    def __init__(self, source: str, name: str, engine: str) -> None:
        self.source, self.name, self.engine = source, name, engine
        self.points: list[tuple[str, int]] = []

    @property
    def status(self) -> str:
        """Where it is, "" if nothing has happened yet."""
        return self.points[-1][0] if self.points else ""

    def move(self, rng: random.Random, now: int, ties: float, to: str | None = None) -> None:
        """Goes on to another status, or repeats it; now and then in the millisecond of the one before."""
        before, last = self.points[-1] if self.points else ("", 0)
        point = (to or rng.choice(NEXT.get(before, OTHERS)), max(last + (rng.random() >= ties), now))
        if point != (before, last):
            self.points = [*self.points[-8:], point]

    def event(self, rng: random.Random, event_id: str, *, timeless: bool) -> Sent:
        """The webhook about the newest point, with some of the history."""
        status, at = self.points[-1]
        told = self.points[-rng.randrange(1, 6) :] if rng.random() < 0.8 else [(status, at)]
        statuses = [{"status": s, "timestamp": t} for s, t in told]
        more: dict[str, Any] = {"timestamp": at + rng.randrange(9), "statuses": statuses}
        if timeless:
            more, told = {"timestamp": parts.OMIT, "payload": {"statuses": parts.OMIT}}, []
        body = parts.envelope(id=event_id, session=self.name, status=status, engine=self.engine, **more)
        name: Name = event_id if timeless else (self.source, self.name, at, status)
        return Sent(
            self.source, parts.encode(body), event_id, name, tuple((self.source, self.name, t, s) for s, t in told)
        )


def message(rng: random.Random, session: Session, event_id: str, now: int) -> Sent:
    """What says something of a message: one came, one was sent, or one was acknowledged."""
    kind, own = rng.choice((("message", False), ("message.any", True), ("message.ack", True)))
    chat = f"{rng.randrange(9)}@c.us"
    # Of few numbers, so that an acknowledgement may be of a message that was sent.
    payload = {"id": f"{str(own).lower()}_{chat}_{rng.randrange(40)}", "fromMe": own, "timestamp": now // 1000}
    payload |= {"to" if own else "from": chat, "body": "hello", "ack": int(kind == "message.ack")}
    body = {"id": event_id, "event": kind, "session": session.name, "engine": session.engine, "payload": payload}
    return Sent(session.source, parts.encode(body), event_id)
