"""Why a session needs somebody: one row of a table for each problem.

Pure: what is remembered of a session and an instant go in. A problem begins when its condition (limit included) has
held for a while, and some problems last longer than their condition, so that an alert is not withdrawn by 20 s of
WORKING.
"""

from collections.abc import Callable, Mapping

import msgspec

from wawp_exporter.model.case import DISCONNECTED, DOWN, FAILED, NEVER, Case
from wawp_exporter.model.event import STARTING, STOPPED, UNKNOWN
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.limits import Constants


def restricted_since(problem: Problem) -> Callable[[Case, int, Constants], int]:
    """When this restriction began; STOPPED for good, nobody sends anything."""

    def since(case: Case, now: int, constants: Constants) -> int:
        if case.status is STOPPED and now > case.since + constants.restart_ms:
            return 0
        return next((limit.since for limit in case.restrictions if limit.problem is problem and limit.holds(now)), 0)

    return since


class Row(msgspec.Struct, frozen=True):
    """One problem: `since` says when its condition began (0: it does not hold), `limit` which threshold that must pass.

    It settles from `learned` (a field of Case; none: from the condition itself) for as long as `settle` says. `lasting`
    ones, once exported, stay until a login begins or the spell ends. `keeps` ones keep the since-time they were first
    exported with. `alone` ones yield to every other.
    """

    problem: Problem
    since: Callable[[Case, int, Constants], int]
    limit: str = ""
    learned: str = ""
    settle: str = "settle_ms"
    lasting: bool = False
    keeps: bool = False
    alone: bool = False

    def reached(self, case: Case, since: int) -> int:
        """When the condition, limit included, begins to hold; NEVER if it does not."""
        return since + case.facts.limits.of(self.limit) if since else NEVER

    def due(self, case: Case, since: int, constants: Constants) -> int:
        """When it is to be exported if nothing changes; NEVER if it is not. UNKNOWN begins nothing."""
        if not since or case.status is UNKNOWN:
            return NEVER
        learned = getattr(case, self.learned) if self.learned else 0
        return max(self.reached(case, since), learned) + (getattr(constants, self.settle) if self.settle else 0)

    def stays(self, case: Case, since: int, now: int) -> bool:
        """Whether it goes on once it was exported."""
        return case.spell is not None if self.lasting else now >= self.reached(case, since)


# In this order they are looked at; `down` comes last, since it yields to all others.
ROWS = (
    Row(Problem.LOGIN, lambda case, _now, _c: case.login, settle=""),
    Row(Problem.LOGIN_OVERDUE, lambda case, _now, _c: case.login, "qr_escalate", "login_learned"),
    Row(Problem.LOGIN_UNATTENDED, lambda case, _now, _c: case.login, "qr_unattended", "login_learned"),
    Row(
        Problem.DISCONNECTED,
        lambda case, _now, _c: case.stay(DISCONNECTED),
        "",
        "learned",
        "disconnected_settle_ms",
        lasting=True,
        keeps=True,
    ),
    Row(Problem.FAILED, lambda case, _now, _c: case.stay(FAILED), "failed", "learned", lasting=True, keeps=True),
    Row(
        Problem.STUCK_STARTING,
        lambda case, _now, _c: case.stay(STARTING),
        "starting",
        "learned",
        lasting=True,
        keeps=True,
    ),
    Row(Problem.FLAPPING, lambda case, _now, _c: case.flaps, "", "flaps_learned"),
    Row(Problem.REACHOUT_TIMELOCK, restricted_since(Problem.REACHOUT_TIMELOCK)),
    Row(Problem.MESSAGE_CAPPING, restricted_since(Problem.MESSAGE_CAPPING)),
    Row(Problem.SILENT, lambda case, _now, _c: case.hushed, "silent"),
    Row(Problem.SILENT, lambda case, _now, _c: case.muffled, "", "quiet_learned"),
    Row(
        Problem.UNDELIVERED,
        lambda case, now, constants: case.undelivered(now, constants),
        "undelivered",
        "unacknowledged_learned",
    ),
    Row(Problem.UNRESPONSIVE, lambda case, _now, _c: case.unanswered, settle=""),
    Row(
        Problem.DOWN,
        lambda case, _now, _c: case.spell.since if case.spell and case.status in DOWN else 0,
        "down",
        "alone",
        lasting=True,
        keeps=True,
        alone=True,
    ),
)
LOGIN_ROWS = ROWS[:3]
OTHER_ROWS = ROWS[3:]
# As nearly always nothing but its status is against a session: then these rows can apply, by status, and no other.
STATUS_PROBLEMS = {DISCONNECTED: Problem.DISCONNECTED, FAILED: Problem.FAILED, STARTING: Problem.STUCK_STARTING}
STATUS_ROWS = {
    status: tuple(row for row in ROWS if row.problem in (problem, Problem.DOWN))
    for status, problem in STATUS_PROBLEMS.items()
}


def rows_for(case: Case, before: Mapping[Problem, int]) -> tuple[Row, ...]:
    """The rows that can apply to a session."""
    if case.login:
        return LOGIN_ROWS
    silenced = case.facts.limits.silent or case.unheard or case.unresponsive
    if before or case.flaps or case.restrictions or silenced:
        return OTHER_ROWS
    return STATUS_ROWS.get(case.status, ())


def review(case: Case, now: int, constants: Constants, muted: frozenset[Problem]) -> int:
    """Brings the exported problems up to `now`; returns when to look again (NEVER: time alone adds none)."""
    before, case.problems = case.problems, {}
    if case.facts.maintenance or not (before or case.troubled):
        return NEVER
    again = NEVER
    for row in rows_for(case, before):
        since, told = row.since(case, now, constants), before.get(row.problem, 0)
        if row.alone and not case.problems and before.keys() - {row.problem}:
            case.alone = now
        if not (since or told) or (row.alone and case.problems):
            continue
        if told and row.stays(case, since, now):
            case.problems[row.problem] = min(told, since or told) if row.keeps else since
            continue
        due = row.due(case, since, constants)
        if due > now:
            again = min(again, due)
        elif row.problem not in muted:
            case.problems[row.problem] = since
    return again


def unsaid(case: Case, now: int, constants: Constants, muted: frozenset[Problem]) -> set[Problem]:
    """The problems that hold, but are not exported, since an outage stands for them."""
    if case.facts.maintenance or not muted:
        return set()
    rows = [row for row in rows_for(case, case.problems) if row.problem in muted]
    return {row.problem for row in rows if row.due(case, row.since(case, now, constants), constants) <= now}
