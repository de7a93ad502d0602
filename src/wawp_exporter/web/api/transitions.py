"""The transition log, a page at a time."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.instants import instant
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.reader import Reader
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import Status
from wawp_exporter.times import utc
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.parameters import TIME, Cursor, Limit, parameters
from wawp_exporter.web.api.waiting import while_connected


class TransitionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """Filters; each that is given must match."""

    source: Annotated[str | None, Meta(description="Sessions of this source only.")] = None
    session: Annotated[str | None, Meta(description="Sessions of this name only.")] = None
    start: Annotated[str | None, Meta(description=f"Not before this: {TIME}.")] = None
    end: Annotated[str | None, Meta(description=f"Before this: {TIME}.")] = None
    limit: Limit = 100
    cursor: Cursor = None


class TransitionView(msgspec.Struct, frozen=True, rename={"before": "from"}):
    """A change of status. `from` is null for a session's first; `observed` is the status as the gateway spelt it."""

    source: str
    session: str
    before: Status | None
    to: Status
    observed: str
    at: datetime
    received_at: datetime
    engine: str
    origin: Annotated[
        str, Meta(description="`webhook`, or `reconcile`: the gateway's API reported what no webhook did.")
    ]
    reason: Annotated[
        str,
        Meta(description="Why the session is lost, if the gateway said so with this event; empty if not."),
    ]


class Transitions(msgspec.Struct, frozen=True):
    """A page of transitions, newest first."""

    transitions: list[TransitionView]
    next_cursor: str | None


class TransitionEndpoint:
    """Reads the log in a thread."""

    def __init__(self, reader: Reader, place: Place) -> None:
        self._reader = reader
        self._place = place

    async def get(self, request: Request) -> Response:
        """A page of the transition log."""
        query, zone = parameters(request, TransitionsQuery), ZoneInfo("UTC")
        now = unix_now()
        start = instant("from", query.start, zone, now) if query.start else None
        end = instant("to", query.end, zone, now) if query.end else None
        span = (query.source, query.session, start, end)
        read = self._reader.light(read_transitions, self._place, *span, query.limit, query.cursor)
        found, more = await while_connected(request, read)
        return JSON(Transitions([transition_view(each) for each in found], more))


def read_transitions(
    place: Place, source: str | None, session: str | None, start: int | None, end: int | None, limit: int,
    cursor: str | None,
) -> tuple[list[TransitionRow], str | None]:  # fmt: skip
    """A page of transitions, and the cursor of the next."""
    with History(place) as history:
        return history.transitions(source=source, session=session, start=start, end=end, limit=limit, cursor=cursor)


def transition_view(row: TransitionRow) -> TransitionView:
    """A transition as the API shows it."""
    at, received = utc(row.at), utc(row.received_at)
    return TransitionView(
        row.source,
        row.session,
        row.before,
        row.status,
        row.observed,
        at,
        received,
        row.engine,
        row.origin or "webhook",
        row.reason,
    )
