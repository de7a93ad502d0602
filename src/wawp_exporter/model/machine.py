"""`step(state, point) → (state, transition or None)`: what one observed status means for a session; pure."""

from collections.abc import Iterable

import msgspec

from wawp_exporter.model.event import (
    BY_NAME,
    CLOSED,
    DECIDED,
    LOGIN,
    LOST,
    STARTING,
    STOPPED,
    UNKNOWN,
    WORKING,
    Point,
    Status,
    normal,
)
from wawp_exporter.model.reasons import stronger

RESTART_MS = 30_000  # a restart is STOPPED for 3 to 13 s; longer is somebody's decision
END_MS = 30_000  # webhooks about one end of a session come within this time, in any order


class State(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One session after the points up to `(at, tie)`. Times are Unix ms by the gateway's clock; 0 is "none".

    `since` is the entry into `status`; `auth_since` and `down_since` begin the login and the down episode;
    `held_*` keep both through a STOPPED that may turn out to be a restart, which began at `stopped_at`.
    `left_working` is when it left WORKING, until it is WORKING again or stays STOPPED. `lost_at` and `decided_at` are
    the times of the last webhooks that called the present end LOST or DECIDED (`event.ENDINGS`). `reason` is why the
    session is lost, the strongest of those that its gateway gave since it was lost; "" if it gave none.
    """

    status: Status
    since: int
    at: int
    tie: int
    auth_since: int = 0
    down_since: int = 0
    held_auth: int = 0
    held_down: int = 0
    stopped_at: int = 0
    left_working: int = 0
    worked: bool = False
    lost_at: int = 0
    decided_at: int = 0
    reason: str = ""

    def outdates(self, point: Point) -> bool:
        """Whether `point` is older than the live status: `(at, tie)` decides, then arrival."""
        return self.at > point.at or (self.at == point.at and self.tie > point.tie)

    @property
    def oldest(self) -> int:
        """The oldest instant that anything here depends on: retention keeps what was logged after it."""
        times = (
            self.since,
            self.auth_since,
            self.down_since,
            self.held_auth,
            self.held_down,
            self.left_working,
        )
        return min(time for time in times if time)


BLANK = State(UNKNOWN, 0, 0, 0)  # of a session that has had no event


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of status at `at` (Unix ms). `before` is None for a session's first status."""

    before: State | None
    after: State

    @property
    def stay_ms(self) -> int:
        """How long the status lasted that now ended."""
        stay = self.after.since - self.before.since if self.before else 0
        return stay if stay > 0 else 0  # `max` would take as long as the rest

    @property
    def recovery_ms(self) -> int | None:
        """How long the session was not WORKING, if this makes it WORKING again; else None.

        None too after a STOPPED that was no restart: that was somebody's decision, not an outage.
        """
        before, after = self.before, self.after
        if after.status is not WORKING or before is None or not before.left_working:
            return None
        if before.status is STOPPED and self.stay_ms > RESTART_MS:
            return None
        down = after.since - before.left_working
        return down if down > 0 else 0


def step(state: State | None, point: Point) -> tuple[State, Transition | None]:
    """Applies the newest point: a repeat only moves the head, another status is a transition.

    The caller has checked that `state.outdates(point)` is false.
    """
    if point.ending is not None:
        return end(state, point, point.ending)
    status = BY_NAME.get(point.status, UNKNOWN)  # as `normal`, without a call: each event passes here
    if state and state.status is status:
        reason = reason_after(state, point)
        return msgspec.structs.replace(state, at=point.at, tie=point.tie, lost_at=0, decided_at=0, reason=reason), None
    after = enter(state or BLANK, status, point)
    return after, Transition(state, after)


def end(state: State | None, point: Point, ending: str) -> tuple[State, Transition | None]:
    """Applies a point about an end of the session that other points may be about too.

    Some gateways report one end with several webhooks, within milliseconds and on several connections, so that any may
    come last. Of those within END_MS the strongest decides: a decision (`closesession`) before a loss
    (`disconnectedMobile`), a loss before a mere closing (`logout.instance`, which follows both). A weaker one that
    comes after a stronger one is a repeat; a stronger one that comes after a weaker one is a transition. Any other
    point (STARTING, WORKING, a QR code) ends this comparison. It is made here and not at the intake, so that a late
    webhook is sorted by its time and a replay of the log gives the same state.
    """
    before, status = state or BLANK, normal(point.status)
    stronger = {CLOSED: max(before.lost_at, before.decided_at), LOST: before.decided_at}.get(ending, 0)
    lost = point.at if ending == LOST else before.lost_at
    decided = point.at if ending == DECIDED else before.decided_at
    if state and (state.status is status or point.at - stronger <= END_MS):
        reason = reason_after(state, point)
        return msgspec.structs.replace(
            state, at=point.at, tie=point.tie, lost_at=lost, decided_at=decided, reason=reason
        ), None
    entered = enter(before, status, point, lost=ending == LOST)
    after = msgspec.structs.replace(entered, lost_at=lost, decided_at=decided)
    return after, Transition(state, after)


def reason_after(state: State, point: Point) -> str:
    """The reason of the present loss after a point that does not begin another one."""
    if not point.reason or state.status is WORKING:
        return state.reason
    return stronger(state.reason, point.reason)


def enter(before: State, status: Status, point: Point, *, lost: bool = False) -> State:
    """What entering `status` does to the episodes. UNKNOWN opens none and closes none.

    `lost`: the STOPPED before it was part of the same loss, not a decision.
    """
    at, tie = point.at, point.tie
    if status is UNKNOWN:
        return msgspec.structs.replace(before, status=status, since=at, at=at, tie=tie, lost_at=0, decided_at=0)
    if status is WORKING:
        return State(status, at, at, tie, worked=True)
    left = at if before.status is WORKING else before.left_working
    if status is STOPPED:
        held = before.auth_since, before.down_since
        return State(
            status, at, at, tie, 0, 0, *held, stopped_at=at, left_working=left, worked=before.worked,
            reason=reason_after(before, point),
        )  # fmt: skip
    auth, down = before.auth_since, before.down_since
    if before.stopped_at:
        auth, down, left = resume(before, at) if status is STARTING or lost else (0, 0, 0)
    # Neither WORKING nor STOPPED: the session is down, and if it waits for a human, a login begins.
    auth = auth or (at if status in LOGIN else 0)
    reason = stronger(before.reason if down else "", point.reason) if before.reason or point.reason else ""
    return State(status, at, at, tie, auth, down or at, left_working=left, worked=before.worked, reason=reason)


def resume(before: State, at: int) -> tuple[int, int, int]:
    """The episodes after a STOPPED: within 30 s it was a restart and they go on, later they are over."""
    if at - before.stopped_at <= RESTART_MS:
        return before.held_auth, before.held_down, before.left_working
    return 0, 0, 0


def fold(points: Iterable[Point], state: State | None = None) -> State | None:
    """All points of one session, in the order of `(at, tie)`, then arrival."""
    for point in points:
        state, _ = step(state, point)
    return state
