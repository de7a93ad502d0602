"""What came of messages since it was last written to the log."""

from collections import Counter
from collections.abc import Iterable, Iterator

from wawp_exporter.log.messages import Hour, News, Pending, Traffic
from wawp_exporter.model.activity import Activity, Sent
from wawp_exporter.model.event import Direction
from wawp_exporter.model.rules import Key

MAX_GONE = 100_000  # messages that are pending no more; while the log cannot be written they wait
IN, OUT = Direction


class Unsaved:
    """Of one life of a session: after a deletion there is another `activity`."""

    __slots__ = ("activity", "gone", "hours", "pending")

    def __init__(self, activity: Activity) -> None:
        self.activity = activity
        self.hours: Counter[tuple[int, Direction]] = Counter()  # messages, by the clock hour that begins at (Unix s)
        self.pending: dict[str, Sent] = {}
        self.gone: set[str] = set()

    def counted(self, direction: Direction) -> int:
        """How many messages."""
        return sum(count for (_, each), count in self.hours.items() if each is direction)

    def take_back(self, older: "Unsaved") -> None:
        """Puts what could not be written before what came since."""
        self.hours.update(older.hours)
        still = {digest: sent for digest, sent in older.pending.items() if digest not in self.gone}
        self.pending = still | self.pending
        self.gone |= older.gone


class Unwritten:
    """Belongs to the event loop. `sessions` has what is to be added to the log, by the sessions' keys."""

    def __init__(self) -> None:
        self.sessions: dict[Key, Unsaved] = {}
        self._gone = 0

    def of(self, key: Key, activity: Activity) -> Unsaved:
        """What is to be written of a session in this life."""
        known = self.sessions.get(key)
        if known is None or known.activity is not activity:
            known = self.sessions[key] = Unsaved(activity)
        return known

    def counted(self, key: Key, activity: Activity, direction: Direction) -> int:
        """How many messages of a session are not written."""
        known = self.sessions.get(key)
        return known.counted(direction) if known and known.activity is activity else 0

    def end(self, key: Key, activity: Activity, digest: str) -> None:
        """A message is pending no more."""
        unsaved = self.of(key, activity)
        if unsaved.pending.pop(digest, None) is None and self._gone < MAX_GONE:
            unsaved.gone.add(digest)
            self._gone += 1

    def living(self, activities: dict[Key, Activity]) -> Iterator[tuple[Key, Unsaved]]:
        """Without sessions that were deleted meanwhile."""
        return ((key, each) for key, each in self.sessions.items() if activities.get(key) is each.activity)

    def news(self, activities: dict[Key, Activity], deleted_to: int) -> News:
        """What is to be written; `deleted_to` is the place in the log of the newest deletion that is known here."""
        living = list(self.living(activities))
        return News(
            [traffic_of(key, each) for key, each in living],
            [hour for key, each in living for hour in hours_of(key, each)],
            [Pending(key, digest, *sent) for key, each in living for digest, sent in each.pending.items()],
            [Pending(key, digest) for key, each in living for digest in each.gone],
            deleted_to,
        )

    def take_back(self, older: "Unwritten") -> None:
        """Puts what could not be written before what came since."""
        for key, each in older.sessions.items():
            mine = self.sessions.setdefault(key, each)
            if mine is not each and mine.activity is each.activity:
                mine.take_back(each)
        self._gone += sum(len(each.gone) for each in older.sessions.values())

    def __bool__(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self.sessions)


def traffic_of(key: Key, unsaved: Unsaved) -> Traffic:
    """The row of a session."""
    activity = unsaved.activity
    times = activity.received_at, activity.sent_at, activity.acked_at
    return Traffic(key, unsaved.counted(IN), unsaved.counted(OUT), *times)


def hours_of(key: Key, unsaved: Unsaved) -> Iterator[Hour]:
    """The rows of its hours with messages."""
    for begin in {begin for begin, _ in unsaved.hours}:
        yield Hour(key, begin, unsaved.hours[begin, IN], unsaved.hours[begin, OUT])


def oldest_of(waiting: Iterable[Pending], activities: dict[Key, Activity]) -> dict[Key, int]:
    """When the oldest message of each session was sent that is pending, as it is in the log."""
    oldest: dict[Key, int] = {}
    for each in waiting:
        activity = activities.get(each.key)
        if activity is None or each.heard_at > activity.acked_at:
            oldest[each.key] = min(each.at, oldest.get(each.key, each.at))
    return oldest
