"""HTML: the landing page with a table of sessions."""

import heapq
from datetime import UTC, datetime
from typing import Any

import jinja2

from wawp_exporter import __version__
from wawp_exporter.events import Status
from wawp_exporter.fleet import STATUSES, Fleet, Session

MAX_ROWS = 500
# Who needs a human stands first.
URGENCY = {
    Status.FAILED: 0,
    Status.DISCONNECTED: 0,
    Status.SCAN_QR_CODE: 1,
    Status.PASSKEY_REQUIRED: 1,
    Status.PASSKEY_CONFIRMATION_REQUIRED: 1,
    Status.STARTING: 2,
    Status.UNKNOWN: 3,
    Status.WORKING: 4,
    Status.STOPPED: 5,
}
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

templates = jinja2.Environment(
    loader=jinja2.PackageLoader("wawp_exporter"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def fleet_page(fleet: Fleet, now: int) -> str:
    """The fleet at `now` (Unix ms): counts by status, and up to MAX_ROWS sessions, the urgent first."""
    counts = dict.fromkeys(STATUSES, 0)
    for bucket in fleet.buckets.values():
        for status, count in zip(STATUSES, bucket.counts, strict=True):
            counts[status] += count
    first = heapq.nsmallest(MAX_ROWS, fleet.sessions.values(), key=urgency)
    return templates.get_template("fleet.html").render(
        total=len(fleet.sessions),
        shown=len(first),
        counts=[(status.value, count) for status, count in counts.items() if count],
        rows=[row(session, now) for session in first],
        version=__version__,
    )


def urgency(session: Session) -> tuple[int, int]:
    """The order of the table: by need, then the longest first."""
    return URGENCY[session.state.status], session.state.since


def row(session: Session, now: int) -> dict[str, Any]:
    """One line of the table."""
    return {
        "source": session.source,
        "name": session.name,
        "status": session.state.status.value,
        "since": datetime.fromtimestamp(session.state.since // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "age": age(now - session.state.since),
        "engine": session.engine,
        "group": session.meta.group,
        "owner": session.meta.owner,
        "maintenance": session.maintenance,
        "restricted": any(session.restricted(restriction, now) for restriction in session.limits),
    }


def age(ms: int) -> str:
    """A duration as people say it: the two largest units."""
    left = max(0, ms) // 1000
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
