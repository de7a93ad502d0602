"""Looks once an hour for sessions that are quieter than their habit."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import structlog

from wawp_exporter.audit.quiet import Candidate, quiet_sessions
from wawp_exporter.errors import LogError, TooBusy, describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.hours import HOUR_S, hour_of
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
        candidates = dict(self._candidates(hour * 1000))
        try:
            found = {}
            if candidates:
                found = await parts.reader.background(quiet_sessions, parts.log.place, candidates, now, timezone)
        except LogError as error:
            if not parts.stopping:
                logger.error("habits of sessions not readable", error=describe(error))
            return
        except TooBusy:
            return
        self._looked = hour
        for key, since in found.items():
            if self._still(key, since):
                parts.fleet.hearing.overhear(key, quiet=since)
        parts.ingest.folding.alarm.arm()

    def _candidates(self, hour: int) -> Iterator[tuple[Key, Candidate]]:
        """The sessions that are WORKING, have received messages before, and none since before the last full hour."""
        fleet = self._parts.fleet
        for key, activity in fleet.activity.items():
            session = fleet.sessions.get(key)
            if session is None or session.state.status is not WORKING or not session.meta.quiet:
                continue
            since = max(activity.received_at, session.state.since)
            case = fleet.judge.cases.get(key)
            if activity.received_at and since < hour - HOUR_S * 1000 and not (case and case.muffled):
                yield key, Candidate(since, session.meta.quiet)

    def _still(self, key: Key, since: int) -> bool:
        """Whether nothing has come meanwhile."""
        session, activity = self._parts.fleet.sessions.get(key), self._parts.fleet.activity.get(key)
        working = session is not None and session.state.status is WORKING
        return working and activity is not None and activity.received_at <= since
