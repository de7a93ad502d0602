"""The pre-flight check: whether a session can send now and, if not, when it probably can again."""

import math
from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.recovery import Recoveries
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.event import Restriction, Status
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.session import Session
from wawp_exporter.times import utc
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.sessions import restrictions, session_in

DEFAULT_RETRY_S = 30  # after which to ask again where nothing is known
MAX_RETRY_S = 3600
UNCONFIRMED = "unknown: the gateway has to confirm the status first"
DEAD = {
    Problem.UNDELIVERED: "unknown: an acknowledgement of any of its messages has to come first",
    Problem.UNRESPONSIVE: "unknown: a probe has to succeed first",
}


class Ready(msgspec.Struct, frozen=True):
    """A session that can send now. It may be restricted all the same."""

    ready: bool
    source: str
    session: str
    status: Status
    since: datetime
    restrictions: list[Restriction]


class NotReady(msgspec.Struct, frozen=True):
    """A session that cannot send now; `expected_seconds` is null when nothing is known, and `basis` says why."""

    error: str
    ready: bool
    source: str
    session: str
    status: Status
    since: datetime
    expected_seconds: float | None
    basis: str


class PreflightEndpoint:
    """Answers from memory: how long recoveries take is learnt from the log beforehand."""

    def __init__(self, ingest: Ingest, recoveries: Recoveries, watch: Watch) -> None:
        self._ingest = ingest
        self._recoveries = recoveries
        self._watch = watch

    async def get(self, request: Request) -> Response:
        """The pre-flight check."""
        session = await session_in(request, self._ingest)
        state, now = session.state, unix_now()
        since = utc(state.since)
        if self._watch.ready(session):
            return JSON(Ready(True, *session.key, state.status, since, restrictions(session, now)))
        doubt = self._watch.doubt(session)
        if doubt and (state.status is Status.WORKING or not self._watch.confirmed(session.source)):
            dead = self._watch.dead(session)
            basis = DEAD[dead] if dead else UNCONFIRMED
            return not_ready(NotReady(doubt, False, *session.key, state.status, since, None, basis))
        expected, basis = self._expect(session, now)
        error = f"the session is {state.status}, expected WORKING"
        return not_ready(NotReady(error, False, *session.key, state.status, since, expected, basis))

    def _expect(self, session: Session, now: int) -> tuple[float | None, str]:
        """Seconds until it is WORKING again, and what that rests on."""
        state = session.state
        if state.status is Status.STOPPED:
            return None, "unknown: it was stopped, and somebody has to start it"
        if not state.down_since:
            return None, "unknown: its status is not known"
        login = bool(state.auth_since)
        kind = f"{session.engine} recoveries {'with' if login else 'without'} a login"
        seconds, count = self._recoveries.expected(session.engine, login, (now - state.down_since) / 1000)
        if seconds is None:
            return None, f"unknown: only {count} {kind} in 30 days took longer than it has been down"
        return round(seconds, 3), f"the median of {count} {kind} in 30 days that took longer than it has been down"


def not_ready(answer: NotReady) -> Response:
    """The answer of a pre-flight check that says no."""
    return JSON(answer, 503, headers={"Retry-After": str(retry_after(answer.expected_seconds))})


def retry_after(expected: float | None) -> int:
    """Whole seconds; never 0, which would be a loop."""
    return DEFAULT_RETRY_S if expected is None else min(MAX_RETRY_S, max(1, math.ceil(expected)))
