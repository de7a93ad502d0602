"""What the log says of each session, by the contract alone: nothing of the service is used here."""

from collections.abc import Iterable
from typing import NamedTuple

STATUSES = (
    "STARTING",
    "SCAN_QR_CODE",
    "WORKING",
    "FAILED",
    "STOPPED",
    "DISCONNECTED",
    "UNKNOWN",
    "PASSKEY_REQUIRED",
    "PASSKEY_CONFIRMATION_REQUIRED",
)
LOGIN = frozenset({"SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"})
RESTART_MS = 30_000  # at pace 1


class Standing(NamedTuple):
    """A session's status and since-times (Unix ms, 0 is "none"), as its three gauges tell them."""

    status: str
    since: int
    auth: int = 0
    down: int = 0


def fold(points: Iterable[tuple[str, int]], restart_ms: int = RESTART_MS) -> Standing | None:
    """(status as sent, Unix ms) in the order of (at, tie, arrival) → where the session stands."""
    now: Standing | None = None
    held = Standing("STOPPED", 0)  # the episodes that the last STOPPED ended, and when
    for sent, at in points:
        status = sent if sent in STATUSES else "UNKNOWN"
        if now and status == now.status:
            continue
        before = now or Standing("", 0)
        now = entered(before, held, status, at, restart_ms)
        if status == "STOPPED":
            held = Standing(status, at, before.auth, before.down)
        elif status != "UNKNOWN":
            held = Standing("STOPPED", 0)
    return now


def entered(before: Standing, held: Standing, status: str, at: int, restart_ms: int) -> Standing:
    """Where a session stands that enters another status."""
    if status == "UNKNOWN":
        return Standing(status, at, before.auth, before.down)
    if status in ("WORKING", "STOPPED"):
        return Standing(status, at)
    auth, down = before.auth, before.down
    if status == "STARTING" and held.since and at - held.since <= restart_ms:
        auth, down = held.auth, held.down
    return Standing(status, at, auth or (at if status in LOGIN else 0), down or at)
