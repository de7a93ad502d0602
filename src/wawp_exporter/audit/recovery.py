"""How long a session that is down will take until it is WORKING again, from recent recoveries of its engine."""

from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from heapq import nlargest
from itertools import chain
from operator import itemgetter

from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.machine import Transition, step

WINDOW_MS = 30 * 86_400_000
KEPT = 1000  # the newest of each kind
ENOUGH = 5  # with fewer there is no forecast

Kind = tuple[str, bool]  # (engine, whether somebody had to log in)


def recovery_of(transition: Transition) -> tuple[bool, float] | None:
    """(whether somebody had to log in, seconds from the first moment down until WORKING); None if none ended here."""
    before, after = transition.before, transition.after
    if after.status is not WORKING or before is None or not before.down_since:
        return None
    return bool(before.auth_since), max(0, after.since - before.down_since) / 1000


def recoveries(place: Place, now: int, until: int) -> list[tuple[str, bool, float, int]]:
    """What `Recoveries.learn` takes, of every recovery of the last 30 days before `until` (Unix ms) in the log.

    Oldest first; no more of a kind than are kept.
    """
    found: dict[Kind, list[tuple[str, bool, float, int]]] = {}
    with History(place) as history:
        for past in history.pasts(now - WINDOW_MS, until):
            state = None
            for point in past.points:
                state, transition = step(state, point)
                recovery = recovery_of(transition) if transition else None
                if recovery and point.at > now - WINDOW_MS:
                    found.setdefault((past.engine, recovery[0]), []).append((past.engine, *recovery, point.at))
    kept = (nlargest(KEPT, each, key=itemgetter(3)) for each in found.values())
    return sorted(chain.from_iterable(kept), key=itemgetter(3))


class Recoveries:
    """The recoveries of the last 30 days, by engine and by whether a login was part of them."""

    def __init__(self) -> None:
        self._ended = defaultdict[Kind, deque[tuple[int, float]]](lambda: deque(maxlen=KEPT))
        self._sorted: dict[Kind, list[float]] = {}  # made when they are asked for

    def add(self, engine: str, login: bool, seconds: float, at: int) -> None:
        """Learns one recovery that ended at `at` (Unix ms)."""
        kind = (engine, login)
        ended = self._ended[kind]
        ended.append((at, seconds))
        while ended[0][0] <= at - WINDOW_MS:
            ended.popleft()
        self._sorted.pop(kind, None)

    def learn(self, found: Iterable[tuple[str, bool, float, int]]) -> None:
        """Learns those of the log. One that has been added meanwhile is among them, and counts once."""
        of_log = defaultdict[Kind, Counter[tuple[int, float]]](Counter)
        for engine, login, seconds, at in found:
            of_log[engine, login][at, seconds] += 1
        for kind, ended in of_log.items():
            self._ended[kind] = deque(sorted((ended | Counter(self._ended[kind])).elements()), KEPT)
            self._sorted.pop(kind, None)

    def expected(self, engine: str, login: bool, elapsed: float) -> tuple[float | None, int]:
        """(seconds still to wait, from how many recoveries); None when too few took longer than `elapsed`.

        It is the median of those that took longer, since the session has already been down for `elapsed` seconds.
        """
        lengths = self._lengths((engine, login))
        longer = len(lengths) - (start := bisect_right(lengths, elapsed))
        if longer < ENOUGH:
            return None, longer
        return lengths[start + longer // 2] - elapsed, longer

    def _lengths(self, kind: Kind) -> list[float]:
        if kind not in self._sorted:
            self._sorted[kind] = sorted(seconds for _, seconds in self._ended.get(kind, ()))
        return self._sorted[kind]
