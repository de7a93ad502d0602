"""Builders: every field has a default, so that a test names only what matters.

Tests count time in seconds after `T0`; `ms(12)` is that instant in Unix ms.
"""

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from wawp_exporter.config.load import check
from wawp_exporter.config.schema import Config
from wawp_exporter.log.append import Appended
from wawp_exporter.log.states import Restored
from wawp_exporter.model.event import Limit, Point, Restriction, Status, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State, Transition, step
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import Memory, Session, decode_memory

T0 = 1_795_000_000_000  # 2026-11-18T11:06:40Z
KEY: Key = ("default", "sales-uk")
MINUTE, HOUR, DAY = 60, 3600, 86_400


def ms(seconds: float) -> int:
    """The instant `seconds` after T0, in Unix ms."""
    return T0 + round(seconds * 1000)


def clock(seconds: float) -> float:
    """What a monotonic clock shows `seconds` after T0; its zero means nothing."""
    return 500.0 + seconds


def point(status: str = "WORKING", at: float = 0, tie: int = 0) -> Point:
    """One observed status, `at` seconds after T0."""
    return Point(status, ms(at), tie, ms(at))


def event(
    status: str = "WORKING",
    at: float = 0,
    *,
    key: Key = KEY,
    tie: int = 0,
    before: Sequence[Point] = (),
    received: float | None = None,
    engine: str | None = "GOWS",
    limits: Sequence[Limit] = (),
    reason: str = "",
    **more: Any,
) -> StatusEvent:
    """A status event whose own point follows the back-filled ones of `before`; received when it happened."""
    heard = ms(at if received is None else received)
    points = (*before, replace(point(status, at, tie), reason=reason))
    return StatusEvent(*key, points, heard, engine=engine, limits=tuple(limits), **more)


def timelock(*, active: bool = True, until: float | None = None) -> Limit:
    """The restriction that forbids writing to strangers, until `until` seconds after T0 or without an end."""
    return Limit(Restriction.REACHOUT_TIMELOCK, active, 0 if until is None else ms(until))


def capping(*, active: bool = True) -> Limit:
    """The restriction of the count of messages."""
    return Limit(Restriction.MESSAGE_CAPPING, active)


def body(status: object = "WORKING", *, leave_out: Sequence[str] = (), **more: Any) -> bytes:
    """A webhook body as WAHA sends it; `more` replaces fields of the envelope, None included."""
    envelope: dict[str, Any] = {
        "id": "evt_01k7rzak2acr7qkc89kk0p85q1",
        "timestamp": T0,
        "event": "session.status",
        "session": KEY[1],
        "payload": {"name": KEY[1], "status": status},
        "engine": "GOWS",
    }
    return json.dumps({k: v for k, v in (envelope | more).items() if k not in leave_out}).encode()


def config(**sections: Any) -> Config:
    """A configuration as the file's sections give it."""
    return check(sections).config


def make_fleet(**sections: Any) -> Fleet:
    """An empty fleet under the configuration that the sections give."""
    return Fleet(Rules(config(**sections)))


def apply(
    fleet: Fleet, item: StatusEvent, *, fresh: Sequence[bool] | None = None, now: float | None = None
) -> tuple[Outcome, bool]:
    """Folds an event that the log did not hold, at the time of its receipt or `now` seconds after T0."""
    seconds = (item.received_at - T0) / 1000 if now is None else now
    return fleet.apply(item, fresh or (True,) * len(item.points), ms(seconds), clock(seconds))


def live(*story: tuple[str, float], key: Key = KEY, fleet: Fleet | None = None, **sections: Any) -> Fleet:
    """A fleet in which one session went through `story`, (status, seconds after T0) by (status, seconds)."""
    fleet = fleet or make_fleet(**sections)
    for status, at in story:
        apply(fleet, event(status, at, key=key))
    return fleet


def only(fleet: Fleet) -> Session:
    """The one session of a fleet."""
    (session,) = fleet.sessions.values()
    return session


def state(status: str = "WORKING", since: float = 0, **more: Any) -> State:
    """A session's state, entered `since` seconds after T0."""
    at = ms(more.pop("at", since))
    return State(Status(status), ms(since), at, more.pop("tie", 0), **more)


def told(*story: tuple[str, float]) -> State:
    """The state that a story of (status, seconds after T0) ends in."""
    return told_all(*story)[-1][0]


def told_all(*story: tuple[str, float]) -> list[tuple[State, Transition | None]]:
    """What each point of a story makes of the state."""
    now: State | None = None
    steps = []
    for status, at in story:
        now, transition = step(now, point(status, at))
        steps.append((now, transition))
    return steps


def fresh_of(appended: Appended) -> list[tuple[bool, ...]]:
    """Which points of a batch were new."""
    return [tuple(row > 0 for row in rows) for rows in appended.rows]


def memories_of(restored: Restored) -> dict[Key, Memory]:
    """What a start restores, decoded."""
    return {key: decode_memory(text) for key, text in restored.saved.items()} | restored.refolded
