"""A gateway's local time that says it is UTC → Unix ms: the time zone is the one that makes it a time shortly ago."""

from datetime import UTC, datetime

from msgspec.structs import replace

from wawp_exporter.dialects.reading import MAX_INSTANT_MS
from wawp_exporter.model.event import MAX_AHEAD_MS, StatusEvent

MINUTE_MS = 60_000
MOMENT_MS = 5000  # a clock that is no more ahead than this still orders events
MAX_LATE_MS = 25 * MINUTE_MS  # after which Evolution has given up trying again
# An offset with half an hour or three quarters lies between two whole hours, which are more common: an event that is
# later than this by the former may as well be one that is not late by the latter.
MAX_LATE_BROKEN_MS = 14 * MINUTE_MS
# The offsets from UTC that time zones have, summer times included, in minutes.
WHOLE = tuple(range(-12 * 60, 14 * 60 + 1, 60))
BROKEN = (-570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765, 825)
OFFSETS = [(minutes * MINUTE_MS, MAX_LATE_MS) for minutes in WHOLE]
OFFSETS += [(minutes * MINUTE_MS, MAX_LATE_BROKEN_MS) for minutes in BROKEN]


def instant_of(text: object, received_at: int) -> int:
    """The time that `text` says, in Unix ms; 0 if it is no time, or so old that no time zone explains it.

    An offset such as `-03:00` is believed. `Z`, or none, is local time, whose offset is guessed by the time of receipt
    (Unix ms). A time that is ahead of receipt by every offset stays ahead, for the caller to refuse.
    """
    try:
        sent = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return 0
    if sent is None:
        return 0
    at = round(sent.replace(tzinfo=sent.tzinfo or UTC).timestamp() * 1000)
    if sent.tzinfo is None or str(text)[-1] in "Zz":
        at = local(at, received_at)
    return at if 0 < at <= MAX_INSTANT_MS else 0


def local(at: int, received_at: int) -> int:
    """A local time, read as UTC, as Unix ms; 0 if it is older than every offset allows."""
    lateness = [(received_at - at + offset, limit) for offset, limit in OFFSETS]
    fitting = [late for late, limit in lateness if -MAX_AHEAD_MS <= late <= limit]
    # By none: the clock is ahead, and by the least that an offset leaves.
    late = min(fitting) if fitting else max((late for late, _ in lateness if late < 0), default=None)
    return 0 if late is None else received_at - late


def not_ahead(event: StatusEvent) -> StatusEvent:
    """The event, dated when it came if its own time is after that.

    Otherwise, with a clock that is nearly MAX_AHEAD_MS ahead, the time of one event would be used, and the next one, a
    little further ahead, would get the time of its receipt and come before the other.
    """
    if event.own.at - event.received_at <= MOMENT_MS:
        return event
    return replace(event, points=(replace(event.own, at=event.received_at),))
