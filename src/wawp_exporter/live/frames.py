"""What happens, as server-sent events."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from wawp_exporter.model.event import Status
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind, Outage
from wawp_exporter.model.rules import Key
from wawp_exporter.model.verdicts import Verdicts
from wawp_exporter.times import utc

PIECE_BYTES = 16_384  # written at once; bounds the memory of a stuck reader, with what its connection buffers


class Happened(msgspec.Struct, frozen=True, rename={"before": "from"}):
    """A transition as readers get it. Times are RFC 3339; `from` is null for a session's first status."""

    source: str
    session: str
    before: Status | None
    to: Status
    at: datetime
    since: datetime
    ready: bool
    group: str | None
    engine: str


class SessionProblem(msgspec.Struct, frozen=True):
    """Why a session needs somebody, and when that began (RFC 3339)."""

    problem: Problem
    since: datetime


class Judged(msgspec.Struct, frozen=True):
    """The problems of a session as they are now; none: they are over, or an outage mutes them."""

    source: str
    session: str
    problems: list[SessionProblem]
    reason: str | None


class OutageChanged(msgspec.Struct, frozen=True):
    """An outage that began, has another size, or is over. Source and engine are null if it is of several sources."""

    source: str | None
    engine: str | None
    kind: Kind
    since: datetime
    sessions: int
    over: bool = False


def judgement(key: Key, judge: Verdicts) -> bytes:
    """What the judge says of a session, as an event."""
    return sse("problems", Judged(*key, problems_of(key, judge), judge.reason(key) or None))


def problems_of(key: Key, judge: Verdicts) -> list[SessionProblem]:
    """The problems of a session, as the event stream and the API show them."""
    return [SessionProblem(problem, utc(at)) for problem, at in judge.problems(key).items()]


def shown(outage: Outage) -> OutageChanged:
    """An outage as readers get it."""
    return OutageChanged(outage.source or None, outage.engine or None, outage.kind, utc(outage.since), outage.size)


def pieces(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Frames joined to pieces of about PIECE_BYTES."""
    joined = bytearray()
    for each in frames:
        joined += each
        if len(joined) >= PIECE_BYTES:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)


def frame(
    key: Key, before: Status | None, status: Status, at: int, group: str, engine: str, seq: int, *, ready: bool
) -> bytes:
    """A transition as an event whose id is its row in the log; one of a correction has none."""
    when = utc(at)
    event = Happened(*key, before, status, when, when, ready, group or None, engine)
    return (b"id: %d\n" % seq if seq else b"") + sse("transition", event)


def gone(key: Key) -> bytes:
    """A deletion as an event."""
    return sse("deleted", {"source": key[0], "session": key[1]})


def sse(event: str, data: object) -> bytes:
    """An event in the format of the HTML standard. JSON escapes line ends, so that the data are one line."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))
