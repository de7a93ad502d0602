"""Answers to senders: what became of an event, or that it was not logged."""

from collections.abc import Sequence
from typing import Protocol

from wawp_exporter.errors import LogUnavailable
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import step
from wawp_exporter.model.outcome import DUPLICATE, IGNORED, LATE, REPEAT, TRANSITION, Outcome


class Waiter(Protocol):
    """Waits for what becomes of an event: an asyncio.Future, or an object with these methods of one."""

    def done(self) -> bool:
        """Whether it has its answer, or needs none any more."""

    def set_result(self, outcome: Outcome, /) -> None:
        """The event is durable and applied."""

    def set_exception(self, error: LogUnavailable, /) -> None:
        """It is neither."""


def answer(waiter: Waiter, what: Outcome | LogUnavailable, defects: Defects) -> None:
    """Answers one sender; an error in doing so must not keep the others of its batch waiting."""
    if waiter.done():
        return
    try:
        if isinstance(what, LogUnavailable):
            waiter.set_exception(what)
        else:
            waiter.set_result(what)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect of one answer
        defects("answer", error)


def unfolded(rows: Sequence[int]) -> Outcome:
    """What becomes of an event whose name is over the limit: it is logged, once."""
    return IGNORED if rows[-1] > 0 else DUPLICATE


def foresee(fleet: Fleet, event: StatusEvent, rows: Sequence[int], newest: Point | None, defects: Defects) -> Outcome:
    """What will become of an event in a shared log, by the newest point that the log held before it.

    The live state cannot say: it may lag behind the log, or hold this very event already. If nothing can say (a
    defect), the event is answered as one that came late: it is in the log, and the others of its batch wait.
    """
    if rows[-1] <= 0:
        return DUPLICATE
    try:
        return foreseen(fleet, event, newest)
    except Exception as error:  # noqa: BLE001 - a defect with one event must not keep the others waiting
        defects("answer", error)
        return LATE


def foreseen(fleet: Fleet, event: StatusEvent, newest: Point | None) -> Outcome:
    """As `foresee`, of an event that is new to the log."""
    place = (newest.at, newest.tie) if newest else (0, 0)
    deleted_at = fleet.grave((event.source, event.session)).at
    if (event.own.at, event.own.tie) < place or event.own.at <= deleted_at:
        return LATE
    state = step(None, newest)[0] if newest else None
    return TRANSITION if step(state, event.own)[1] else REPEAT
