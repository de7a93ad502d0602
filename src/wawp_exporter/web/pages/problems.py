"""Why a session needs a human: the conditions of the alerts about one session, as the pages show them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wawp_exporter.config.schema import Thresholds
from wawp_exporter.model.event import Status
from wawp_exporter.model.machine import State
from wawp_exporter.model.session import Session

# In the order in which a person should look; the words say why.
ALERTS = {
    "WawpSessionDisconnected": "disconnected",
    "WawpSessionQrUnattended": "nobody logs in",
    "WawpSessionQrEscalated": "login is overdue",
    "WawpSessionQrWaiting": "waits for a login",
    "WawpSessionFailed": "failed",
    "WawpSessionStuckStarting": "stuck starting",
    "WawpSessionNotWorking": "down for long",
    "WawpSessionRestricted": "restricted by WhatsApp",
    "WawpSessionSilent": "silent",
}
RANK = {alert: rank for rank, alert in enumerate(ALERTS)}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a session: the alert that says so, and since when (Unix ms)."""

    alert: str
    since: int

    @property
    def words(self) -> str:
        """For people."""
        return ALERTS[self.alert]


def problem_of(session: Session, limits: Thresholds, now: int) -> Problem | None:
    """Why a session needs a human at `now`: the first of ALERTS whose condition holds, unless it is excused."""
    if session.maintenance:
        return None
    found = [Problem(alert, since) for alert, since in conditions(session, limits, now) if since]
    return min(found, key=lambda each: RANK[each.alert], default=None)


def conditions(session: Session, limits: Thresholds, now: int) -> Iterator[tuple[str, int]]:
    """Each alert's condition: since when it holds (Unix ms), 0 if it does not."""
    state = session.state
    if state.status is Status.WORKING:
        held = [at for kind, (_, at) in session.limits.items() if session.restricted(kind, now)]
        yield "WawpSessionRestricted", min(held, default=0)
        yield "WawpSessionSilent", session.last_event if session.silent(now) else 0
    elif state.status not in (Status.STOPPED, Status.UNKNOWN):
        yield from down_conditions(state, {**dict(limits), **dict(session.meta.thresholds)}, now)


def down_conditions(state: State, limits: Mapping[str, float], now: int) -> Iterator[tuple[str, int]]:
    """Those of a session that is neither WORKING nor STOPPED."""

    def longer(kind: str, since: int) -> int:
        return since if now - since > limits[kind] * 1000 else 0

    if state.status is Status.DISCONNECTED:
        yield "WawpSessionDisconnected", state.since
    if state.auth_since:
        yield "WawpSessionQrUnattended", longer("qr_unattended", state.auth_since)
        yield "WawpSessionQrEscalated", longer("qr_escalate", state.auth_since)
        yield "WawpSessionQrWaiting", state.auth_since
    elif state.status is Status.FAILED:
        yield "WawpSessionFailed", longer("failed", state.since)
    elif state.status is Status.STARTING:
        yield "WawpSessionStuckStarting", longer("starting", state.since)
    yield "WawpSessionNotWorking", longer("down", state.down_since)
