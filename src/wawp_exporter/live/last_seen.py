"""When sessions were last heard of, shared with the other replicas through the log."""

import time

from wawp_exporter.errors import LogError
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

MAX_TIMES = 100_000  # last-seen times that wait to be shared
SLICE = 1000  # of them written between two batches


class LastSeen:
    """Belongs to the event loop. Keeps the newest time of each session until it is in the log."""

    def __init__(self, fleet: Fleet, access: LogAccess) -> None:
        self._fleet = fleet
        self._access = access
        self._log = access.log
        self._times: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many sessions' times wait to be shared."""
        return len(self._times)

    def touch(self, key: Key, now: int) -> None:
        """A session was heard of at `now` (Unix ms); an unknown one is not created."""
        self._fleet.touch(key, now, time.monotonic())
        if self._log.shared and len(self._times) < MAX_TIMES:  # while the log cannot be written they wait
            self._times[key] = now

    async def share(self) -> None:
        """Writes them to the log, where the other replicas read them."""
        times, self._times, shared = self._times, {}, False
        try:
            listed = list(times.items())
            for start in range(0, len(listed), SLICE):
                await self._access.write(self._log.last_seen.share, listed[start : start + SLICE])
            shared = True
        except LogError as error:
            self._access.failed("could not share last-seen times with the other replicas", error)
        finally:
            if not shared:
                self._times = times | self._times
