"""Looks once an hour for sessions that are quieter than their habit."""

from collections.abc import Iterable, Iterator, Mapping
from zoneinfo import ZoneInfo

import structlog

from wawp_exporter.audit.quiet import Candidate, quiet_sessions
from wawp_exporter.errors import LogError, TooBusy, describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.hours import HOUR_S, hour_of
from wawp_exporter.model.outage import Kind
from wawp_exporter.model.rules import Key
from wawp_exporter.service.parts import Parts

SETTLED_S = 20  # after the hour: then all replicas have written what they counted in it

logger = structlog.get_logger()


class Habits:
    """Belongs to the event loop. All replicas read the same counts, and come to the same result."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._looked = 0

    async def look(self) -> None:
        """Has judged which sessions are too quiet, once for each clock hour. What is quiet stays so until a message."""
        parts, now = self._parts, unix_now()
        timezone = parts.settings.config.timezone
        hour = hour_of(now, ZoneInfo(timezone))
        if hour == self._looked or now < (hour + SETTLED_S) * 1000 or parts.fleet.dormant:
            return  # after a start not all sessions are known yet
        waiting = dict(candidates(parts.fleet, hour * 1000))
        try:
            found = {}
            if waiting:
                found = await parts.reader.background(quiet_sessions, parts.log.place, waiting, now, timezone)
        except LogError as error:
            if not parts.stopping:
                logger.error("habits of sessions not readable", error=describe(error))
            return
        except TooBusy:
            return
        self._looked = hour
        take(parts.fleet, waiting, found)
        parts.ingest.folding.alarm.arm()


def candidates(fleet: Fleet, hour: int) -> Iterator[tuple[Key, Candidate]]:
    """The sessions that are WORKING, have received messages before, and none since before the last full hour.

    Of those that are quiet already only the ones in a silence of many: it may be over for them without a message.
    """
    for key, activity in fleet.activity.items():
        session = fleet.sessions.get(key)
        if session is None or session.state.status is not WORKING or not session.meta.quiet:
            continue
        since = max(activity.received_at, session.state.since)
        judged = not muffled(fleet, key) or fleet.judge.outages.of(Kind.SILENCE, key)
        if activity.received_at and since < hour - HOUR_S * 1000 and judged:
            yield key, Candidate(since, session.meta.quiet)


def muffled(fleet: Fleet, key: Key) -> bool:
    """Whether it is quiet already."""
    case = fleet.judge.cases.get(key)
    return case is not None and case.muffled > 0


def take(fleet: Fleet, looked_at: Iterable[Key], found: Mapping[Key, int]) -> None:
    """Has judged what was found: who is too quiet, and since when (Unix ms)."""
    for key in looked_at:
        if muffled(fleet, key):
            if key not in found:
                fleet.hearing.overhear(key, quiet=0)
        elif key in found and still(fleet, key, found[key]):
            fleet.hearing.overhear(key, quiet=found[key])


def still(fleet: Fleet, key: Key, since: int) -> bool:
    """Whether nothing has come meanwhile."""
    session, activity = fleet.sessions.get(key), fleet.activity.get(key)
    working = session is not None and session.state.status is WORKING
    return working and activity is not None and activity.received_at <= since
