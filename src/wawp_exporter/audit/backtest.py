"""The backtest: the log's past, judged with a configuration on a virtual clock."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from wawp_exporter.audit.firings import Firing, Firings
from wawp_exporter.config.schema import Config
from wawp_exporter.log.history.arrivals import Arrivals, Arrived, Deleted, Entry, key_of
from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import Place, Progress
from wawp_exporter.model.event import STOPPED, WORKING, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key, Rules

# From how long before the period on all is judged; of what was before only what a session's state rests on. So the
# judge knows of every problem, and of each outage that is not older than this.
WARM_UP_MS = 7 * 86_400_000
SETTLED_MS = 900_000  # the longest that the judge remembers anything of a session that is well
NEVER_S = 10.0**9
STEPS = 1000  # entries between two reports of progress


class Query(msgspec.Struct, frozen=True):
    """What is asked for: [start, end) in Unix ms, and what is reported; None is all. All sessions are judged."""

    start: int
    end: int
    source: str | None = None
    session: str | None = None
    group: str | None = None

    @property
    def all(self) -> bool:
        """Whether everything is asked for."""
        return self.source is None and self.session is None and self.group is None


class Tested(msgspec.Struct, frozen=True):
    """What each configuration makes of the period, in the order of time; `skipped` are the log's other sources."""

    firings: list[list[Firing]]
    skipped: list[str]


class Replay:
    """One configuration's fleet and judge, on a virtual clock."""

    def __init__(self, config: Config, arrivals: Arrivals) -> None:
        self.rules = Rules(config)
        # What nobody reads here would only cost time; and the log says which sessions were forgotten.
        self.rules.session_histograms = self.rules.troubled_only = False
        self._fleet = Fleet(self.rules)
        self._fleet.wakes.forget_after = NEVER_S
        self._arrivals = arrivals
        self._firings = Firings(self._fleet.judge)

    def take(self, entry: Entry, now: int) -> None:
        """Lets time pass until `now` (Unix ms), then takes what came."""
        if key_of(entry)[0] not in self.rules.config.sources:
            return
        self.wait(now)
        if isinstance(entry, Deleted):
            self._fleet.forget(entry.key, entry.at, now / 1000, entry.place)
        else:
            self._apply(entry, now)
        self._firings.look()

    def wait(self, now: int) -> None:
        """Lets time pass: whatever is due happens at its own instant."""
        hearing = self._fleet.hearing
        while (when := hearing.next_deadline) is not None and when <= now:
            hearing.wake(when)
            self._firings.look()

    def found(self, query: Query) -> list[Firing]:
        """What fired in the period, and is asked for. What began and ended at one instant was never seen."""
        met = (
            each
            for each in self._firings.all
            if each.ended_at is None or each.ended_at > max(query.start, each.firing_at)
        )
        return sorted(
            (each for each in met if query.all or self._asked(each, query)),
            key=lambda each: (each.firing_at, each.alert, each.source, each.session or ""),
        )

    def _apply(self, entry: Arrived, now: int) -> None:
        event, mono = entry.event, now / 1000
        early = event.received_at != now  # of a session that was well before the warm-up
        if early:
            event = msgspec.structs.replace(event, received_at=now)
        _, late = self._fleet.apply(event, entry.rows, now, mono)
        if late:
            self._correct(event, entry, now)
        if early:
            self._fleet.touch(key_of(entry), entry.event.received_at, mono)

    def _correct(self, event: StatusEvent, entry: Arrived, now: int) -> None:
        """Folds a session again from the log, as the service does."""
        key = (event.source, event.session)
        grave, mono = self._fleet.grave(key), now / 1000
        if min(entry.rows) < 0:
            memory = self._arrivals.look(key, grave, entry.place)
            if memory:
                self._fleet.replace(key, memory, now, mono)
            return
        state = self._arrivals.fold(key, grave, entry.place)
        if state:
            self._fleet.correct(key, state, now, mono)

    def _asked(self, firing: Firing, query: Query) -> bool:
        """Whether a problem, or an outage because of one of its sessions, is asked for."""
        keys = firing.members if firing.session is None else [(firing.source, firing.session)]
        return any(self._matches(key, query) for key in keys)

    def _matches(self, key: Key, query: Query) -> bool:
        asked = ((query.source, key[0]), (query.session, key[1]))
        named = all(wanted in (None, name) for wanted, name in asked)
        return named and query.group in (None, self.rules.meta(*key).group)


def backtest(place: Place, configs: Sequence[Config], query: Query, progress: Progress | None = None) -> Tested:
    """What the judge says of the period with each configuration. Raises LogError.

    `progress` is called with how many rows of the log of how many are done.
    """
    with History(place) as history:
        arrivals = history.arrivals(query.start - WARM_UP_MS, query.end)
        replays = [Replay(config, arrivals) for config in configs]
        for entry, now in happened(arrivals, progress):
            for replay in replays:
                replay.take(entry, now)
        for replay in replays:
            replay.wait(query.end - 1)
    known = {source for config in configs for source in config.sources}
    return Tested([replay.found(query) for replay in replays], sorted(arrivals.sources - known))


def happened(arrivals: Arrivals, progress: Progress | None) -> Iterator[tuple[Entry, int]]:
    """Everything that is to be judged, with its instant on the virtual clock (Unix ms)."""
    yield from before(arrivals.before(), arrivals.start - SETTLED_MS)
    yield from ((entry, time_of(entry)) for entry in arrivals.older())
    count = arrivals.last - arrivals.first + 1
    for number, entry in enumerate(arrivals.since()):
        yield entry, time_of(entry)
        if progress and number % STEPS == 0:
            progress(entry.place - arrivals.first, count)


def before(sessions: Iterable[list[Entry]], settled: int) -> Iterator[tuple[Entry, int]]:
    """What was before the warm-up.

    Sessions that have been well since `settled` (Unix ms) are there from the first instant, so that an outage is a
    share of all of them; what was said of the others happens at its own time.
    """
    well: list[Entry] = []
    others: list[Entry] = []
    for entries in sessions:
        (well if is_well(entries[-1]) and time_of(entries[-1]) < settled else others).extend(entries)
    others.sort(key=lambda entry: entry.place)
    first = min(map(time_of, others or well), default=0)
    yield from ((entry, first) for entry in well)
    yield from ((entry, time_of(entry)) for entry in others)


def is_well(entry: Entry) -> bool:
    """Whether a session whose last entry this is needs nobody."""
    return isinstance(entry, Deleted) or entry.event.own.status in (WORKING, STOPPED)


def time_of(entry: Entry) -> int:
    """When the exporter learnt of it (Unix ms)."""
    return entry.at if isinstance(entry, Deleted) else entry.event.received_at
