"""What came of messages since it was last written to the log."""

from collections import Counter
from collections.abc import Iterable

from wawp_exporter.log.messages import Hour, News, Pending, Traffic
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.event import Direction
from wawp_exporter.model.rules import Key

MAX_GONE = 100_000  # messages that are pending no more; while the log cannot be written they wait
IN, OUT = Direction


class Unwritten:
    """Belongs to the event loop. Counts are what is to be added to the log, times are the newest."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Key, Direction]] = Counter()
        self.hours: Counter[tuple[Key, int, Direction]] = Counter()
        self.changed: set[Key] = set()
        self.pending: dict[tuple[Key, str], int] = {}
        self.gone: set[tuple[Key, str]] = set()

    def count(self, key: Key, hour: int, direction: Direction) -> None:
        """A message of the clock hour that begins at `hour` (Unix seconds)."""
        self.counts[key, direction] += 1
        self.hours[key, hour, direction] += 1
        self.changed.add(key)

    def end(self, key: Key, digest: str) -> None:
        """A message is pending no more."""
        if self.pending.pop((key, digest), None) is None and len(self.gone) < MAX_GONE:
            self.gone.add((key, digest))

    def news(self, activities: dict[Key, Activity]) -> News:
        """What is to be written; sessions that were deleted meanwhile are left out."""
        hours = {(key, hour) for key, hour, _ in self.hours if key in activities}
        counted = self.hours
        return News(
            [self._traffic(key, activities[key]) for key in self.changed if key in activities],
            [Hour(key, hour, counted[key, hour, IN], counted[key, hour, OUT]) for key, hour in hours],
            [Pending(*name, at) for name, at in self.pending.items() if name[0] in activities],
            [Pending(*name) for name in self.gone if name[0] in activities],
        )

    def _traffic(self, key: Key, activity: Activity) -> Traffic:
        times = activity.received_at, activity.sent_at, activity.acked_at
        return Traffic(key, self.counts[key, IN], self.counts[key, OUT], *times)

    def take_back(self, older: "Unwritten") -> None:
        """Puts what could not be written before what came since."""
        self.counts.update(older.counts)
        self.hours.update(older.hours)
        self.changed |= older.changed
        self.pending = older.pending | self.pending
        for name in self.gone & self.pending.keys():
            del self.pending[name]
        self.gone |= older.gone

    def __len__(self) -> int:
        """How much there is to be written."""
        return len(self.changed) + len(self.pending) + len(self.gone)


def oldest_of(waiting: Iterable[Pending], activities: dict[Key, Activity]) -> dict[Key, int]:
    """When the oldest message of each session was sent that is pending, as it is in the log."""
    oldest: dict[Key, int] = {}
    for each in waiting:
        activity = activities.get(each.key)
        if activity is None or each.at > activity.acked_at:
            oldest[each.key] = min(each.at, oldest.get(each.key, each.at))
    return oldest
