"""`step(state, point) → (state, transition or None)`: what one observed status means for a session; pure."""

from collections.abc import Iterable

import msgspec

from wawp_exporter.events import LOGIN, STARTING, STOPPED, UNKNOWN, WORKING, Point, Status, normal

RESTART_MS = 30_000  # a restart is STOPPED for 3 to 13 s; longer is somebody's decision


class State(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One session as the points up to `(at, tie)` tell it. Times are Unix ms by the gateway's clock; 0 is "none".

    `since` is the entry into `status`; `auth_since` and `down_since` begin the login and the down episode;
    `held_*` keep both through a STOPPED that may turn out to be a restart, which began at `stopped_at`.
    `left_working` is when it left WORKING, until it is WORKING again or stays STOPPED.
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

    def outdates(self, point: Point) -> bool:
        """Whether `point` is older than the live status: `(at, tie)` decides, then arrival."""
        return (self.at, self.tie) > (point.at, point.tie)

    @property
    def oldest(self) -> int:
        """The oldest instant on which anything here rests: what is logged after it must be kept."""
        times = (
            self.since,
            self.auth_since,
            self.down_since,
            self.held_auth,
            self.held_down,
            self.left_working,
        )
        return min(time for time in times if time)


BLANK = State(UNKNOWN, 0, 0, 0)  # of a session that nothing is known of


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of status at `at` (Unix ms). `before` is None for a session's first status."""

    before: State | None
    after: State

    @property
    def stay_ms(self) -> int:
        """How long the status lasted that now ended."""
        return max(0, self.after.since - self.before.since) if self.before else 0


def step(state: State | None, point: Point) -> tuple[State, Transition | None]:
    """Applies the newest point: a repeat only moves the head, another status is a transition.

    The caller has checked that `state.outdates(point)` is false.
    """
    status = normal(point.status)
    if state and state.status is status:
        return msgspec.structs.replace(state, at=point.at, tie=point.tie), None
    after = enter(state or BLANK, status, point.at, point.tie)
    return after, Transition(state, after)


def enter(before: State, status: Status, at: int, tie: int) -> State:
    """What entering `status` does to the episodes. UNKNOWN opens none and closes none."""
    if status is UNKNOWN:
        return msgspec.structs.replace(before, status=status, since=at, at=at, tie=tie)
    if status is WORKING:
        return State(status, at, at, tie, worked=True)
    left = at if before.status is WORKING else before.left_working
    if status is STOPPED:
        held = before.auth_since, before.down_since
        return State(status, at, at, tie, 0, 0, *held, stopped_at=at, left_working=left, worked=before.worked)
    auth, down, left = resume(before, status, at) if before.stopped_at else (before.auth_since, before.down_since, left)
    # A status that is neither WORKING nor STOPPED is down; one that waits for a human begins a login.
    auth = auth or (at if status in LOGIN else 0)
    return State(status, at, at, tie, auth, down or at, left_working=left, worked=before.worked)


def resume(before: State, status: Status, at: int) -> tuple[int, int, int]:
    """Leaves a STOPPED: STARTING within 30 s continues the held episodes, anything else forgets them."""
    if status is STARTING and at - before.stopped_at <= RESTART_MS:
        return before.held_auth, before.held_down, before.left_working
    return 0, 0, 0


def fold(points: Iterable[Point], state: State | None = None) -> State | None:
    """All points of one session, in the order of `(at, tie)`, then arrival."""
    for point in points:
        state, _ = step(state, point)
    return state
