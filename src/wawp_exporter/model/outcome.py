"""The words for how something ended: a webhook, a start, a login episode."""

from wawp_exporter.model.event import STOPPED, WORKING, Status, Word


class Outcome(Word):
    """What became of an accepted webhook; the contract's word for it."""

    TRANSITION = "transition"
    REPEAT = "repeat"
    DUPLICATE = "duplicate"
    LATE = "late"
    IGNORED = "ignored"


TRANSITION, REPEAT, DUPLICATE, LATE, IGNORED = Outcome


class StartOutcome(Word):
    """How a STARTING ended."""

    WORKING = "working"
    QR = "qr"
    FAILED = "failed"
    STOPPED = "stopped"


class WaitOutcome(Word):
    """How a login episode ended."""

    WORKING = "working"
    STOPPED = "stopped"
    DELETED = "deleted"


# The status that ends a STARTING, or a login episode → how it ended. What is not here ends none.
START_OUTCOMES = {
    WORKING: StartOutcome.WORKING,
    Status.SCAN_QR_CODE: StartOutcome.QR,
    Status.PASSKEY_REQUIRED: StartOutcome.QR,
    Status.PASSKEY_CONFIRMATION_REQUIRED: StartOutcome.QR,
    Status.FAILED: StartOutcome.FAILED,
    Status.DISCONNECTED: StartOutcome.FAILED,
    STOPPED: StartOutcome.STOPPED,
}
WAIT_OUTCOMES = {WORKING: WaitOutcome.WORKING, STOPPED: WaitOutcome.STOPPED}
