"""Why a session was lost, as its gateway says: the contract's closed set, and which of two reasons says more."""

from wawp_exporter.model.event import Word


class Reason(Word):
    """The contract's words. RESTRICTED is the judge's own: no gateway says it."""

    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    BANNED = "banned"
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    RESTART_REQUIRED = "restart_required"
    QR_EXPIRED = "qr_expired"
    RESTRICTED = "restricted"
    OTHER = "other"


NO_REASON = ""
REASONS = (NO_REASON, *map(str, Reason))
# These end a session for good; what a gateway says afterwards (its connection is closed, nobody scans) follows from it.
FINAL = frozenset({Reason.LOGGED_OUT, Reason.REPLACED, Reason.BANNED})


def weight(reason: str) -> int:
    """How much a reason says: none, `other`, something that may pass, something final."""
    if reason in ("", Reason.OTHER):
        return int(bool(reason))
    return 3 if reason in FINAL else 2


def stronger(first: str, later: str) -> str:
    """The one of two reasons of the same loss that says more; of equal ones the first."""
    return later if weight(later) > weight(first) else first
