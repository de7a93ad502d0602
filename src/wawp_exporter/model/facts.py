"""What the judge needs to know of a session after an event, and the contract's words for why one needs somebody."""

import msgspec

from wawp_exporter.model.event import OTHER_ENGINE, STOPPED, Word
from wawp_exporter.model.limits import Limits
from wawp_exporter.model.machine import BLANK, State


class Problem(Word):
    """The contract's word for why a session needs somebody."""

    LOGIN = "login"
    LOGIN_OVERDUE = "login_overdue"
    LOGIN_UNATTENDED = "login_unattended"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    STUCK_STARTING = "stuck_starting"
    FLAPPING = "flapping"
    DOWN = "down"
    REACHOUT_TIMELOCK = "reachout_timelock"
    MESSAGE_CAPPING = "message_capping"
    SILENT = "silent"
    UNDELIVERED = "undelivered"
    UNRESPONSIVE = "unresponsive"


LOGINS = frozenset({Problem.LOGIN, Problem.LOGIN_OVERDUE, Problem.LOGIN_UNATTENDED})
RESTRICTIONS = frozenset({Problem.REACHOUT_TIMELOCK, Problem.MESSAGE_CAPPING})


class Restricted(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A restriction that is active since `since`, up to `until` (Unix ms, 0 if no end is given)."""

    problem: Problem
    since: int
    until: int = 0

    def holds(self, now: int) -> bool:
        """Whether it is still active."""
        return not self.until or now < self.until


class Facts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the fleet knows of a session after an event, or at the edge of a maintenance window."""

    state: State = BLANK
    engine: str = OTHER_ENGINE
    maintenance: bool = False
    limits: Limits = Limits()
    restrictions: tuple[Restricted, ...] = ()  # the active ones
    heard: int = 0  # the last event of any kind
    reason: str = ""  # the gateway's reason for the present loss, of the contract's closed set

    @property
    def expected(self) -> bool:
        """Whether it is one of the sessions that shares are taken of."""
        return self.state.status is not STOPPED and not self.maintenance
