"""Whether what a replica judges follows from the log: written from docs/problems.md, without the service's own code."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from soak import log
from soak.fold import Standing
from soak.series import Labels, Series, of
from soak.world import LIMITS_MS, World

PROBLEM = "wawp_session_problem_since_timestamp_seconds"
OUTAGE = "wawp_outage_since_timestamp_seconds"
SHARED = (
    *(PROBLEM, OUTAGE, "wawp_outage_sessions", "wawp_outage_step"),
    *("wawp_session_messages_total", "wawp_session_last_message_timestamp_seconds"),
    "wawp_session_unacknowledged_since_timestamp_seconds",
)
SYNCED = "wawp_source_synced"
# What the constants and the limit of a status are at pace 1, together.
STATUSES_MS = {
    "DISCONNECTED": ("disconnected", 5_000),
    "FAILED": ("failed", LIMITS_MS["failed"] + 10_000),
    "STARTING": ("stuck_starting", LIMITS_MS["starting"] + 10_000),
}
RECOVERED_MS = 60_000
MUTING = ("disconnect", "reauth")
SPARE_MS = 1000  # for a timer on a busy machine
Problems = dict[log.Session, dict[str, float]]  # problem → since (Unix ms)


class Judged(NamedTuple):
    """The problems of each session; outages by source, engine and kind, and since when (Unix ms)."""

    problems: Problems
    outages: dict[tuple[str, str, str], int]
    engines: dict[log.Session, str]

    def mutes(self, session: log.Session) -> bool:
        """Whether an outage says what the session would say by itself."""
        engine = self.engines.get(session, "")
        return any(o[2] in MUTING and o[:2] in (("", ""), (session[0], engine)) for o in self.outages)


def judged(series: Series) -> Judged:
    """What a replica has judged."""
    problems: Problems = {}
    for labels, value in of(series, PROBLEM):
        problems.setdefault((labels["source"], labels["session"]), {})[labels["problem"]] = round(value * 1000)
    outages = {(o["source"], o["engine"], o["kind"]): round(value * 1000) for o, value in of(series, OUTAGE)}
    engines = {(i["source"], i["session"]): i["engine"] for i, _ in of(series, "wawp_session_info")}
    return Judged(problems, outages, engines)


def shared(series: Series) -> dict[tuple[str, Labels], float]:
    """The series of what is judged, and of messages: equal wherever there is the same log."""
    return {name: value for name, value in series.items() if name[0] in SHARED}


def synced(series: Series) -> set[str]:
    """The sources of which the replica knows all."""
    return {labels["source"] for labels, _ in of(series, SYNCED)}


def problems_wrong(world: World, series: Series, found: log.Read) -> Iterator[tuple[str, str]]:
    """What must be a problem by now, and what must not."""
    told, now = judged(series), series["wawp_exporter_time_seconds", ()] * 1000
    standings = found.standings(world.restart_ms)
    for session in told.problems.keys() - standings.keys():
        yield "problem", f"{session} is not there and has {told.problems[session]}"
    for session, standing in standings.items():
        rested = (now - max(found.received[session], standing.since) - SPARE_MS) / world.options.pace
        problems = told.problems.get(session, {})
        wrong = missing(standing, problems, rested, muted=told.mutes(session)) or left(standing, problems, rested)
        if wrong:
            yield "problem", f"{session} is {standing} for {rested:.0f} ms at pace 1: {wrong}, not {problems}"


def missing(standing: Standing, problems: Mapping[str, float], rested: float, *, muted: bool) -> str:
    """The problem that it must have."""
    if standing.auth:
        began = standing.status != "UNKNOWN" and rested > 0
        return "login" if began and problems.get("login") != standing.auth else ""
    problem, limit = STATUSES_MS.get(standing.status, ("", 0))
    due = problem and rested > limit and not muted
    # Since an earlier stay, if it was exported then: it lasts until the spell ends.
    return problem if due and problems.get(problem, math.inf) > standing.since else ""


def left(standing: Standing, problems: Mapping[str, float], rested: float) -> str:
    """What is said of a session that nobody need look at."""
    over = {"WORKING": RECOVERED_MS, "STOPPED": 30_000}.get(standing.status)
    told = set(problems) - ({"flapping", "undelivered"} if standing.status == "WORKING" else set())
    return "nothing" if over and told and rested > over else ""


def outages_wrong(world: World, series: Series) -> Iterator[tuple[str, str]]:
    """An outage that goes on keeps its begin; what comes later has begun later."""
    told = judged(series).outages
    for name, since in told.items():
        if since < world.outages.get("/".join(name), 0):
            yield "outage", f"{name} began at {world.outages['/'.join(name)]}, and now is said to have at {since}"
    world.outages |= {"/".join(name): since for name, since in told.items()}
