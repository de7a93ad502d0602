"""Laws: the order of arrival does not matter, replay equals live, seconds sum to the time observed."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.builders import T0, apply, body, clock, fresh_of, make_fleet, memories_of, ms
from tests.event_log import transitions_of
from wawp_exporter.dialects.waha import parse
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import Status, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State, fold
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.model.rules import Key

SOURCE = "default"
CAPPED = {"messageCapping": {"cappingStatus": "CAPPED"}}
LOCKED = {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": None}}
# No shrinking: each example opens databases, and a failure is to be told within seconds.
LAW = settings(deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)
FREE = {"reachoutTimelock": {"isActive": False}, "messageCapping": {"cappingStatus": "NONE"}}


class Step(NamedTuple):
    """What a gateway does: a session's status, `pause` ms after its former one, and what its webhook says beside."""

    session: str
    status: str
    pause: int
    shown: int = 0
    engine: str = "GOWS"
    data: dict[str, Any] | None = None


def steps_of(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Step]]:
    """Up to a dozen steps; restarts, QR timeouts and equal milliseconds must all occur."""
    pauses = st.sampled_from([0, 0, 1, 9, 2000, 13_000, 30_000, 31_000, 160_000])
    fields = {
        "session": st.sampled_from("ab"),
        "status": st.sampled_from([*Status, "READY", "PAUSED"]),
        "pause": pauses,
        "shown": st.integers(0, 3),
        "engine": st.just("GOWS"),
        "data": st.none(),
    }
    return st.lists(st.builds(Step, **(fields | more)), min_size=1, max_size=12)


def gateway(steps: Iterable[Step]) -> list[StatusEvent]:
    """The webhooks of a consistent gateway: each shows the end of one history, and never a part of a millisecond.

    As with a real one, a status does not come twice in one millisecond.
    """
    events = []
    past: dict[str, list[tuple[str, int]]] = {}
    for step in steps:
        history = past.setdefault(step.session, [])
        at = (history[-1][1] if history else T0) + step.pause
        if (step.status, at) in history:
            at += 1
        history.append((step.status, at))
        start = max(0, len(history) - max(step.shown, 1))
        oldest = history[start][1]
        shown = [{"status": status, "timestamp": when} for status, when in history if when >= oldest]
        payload = {"status": step.status, "statuses": shown, "data": step.data}
        raw = body(session=step.session, timestamp=at + 3, payload=payload, engine=step.engine)
        event = parse(SOURCE, raw, at + 5)
        assert isinstance(event, StatusEvent)
        events.append(event)
    return events


class Service:
    """A log and the fleet that folds it batch by batch, as the ingest does; the clock goes on with each batch."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.fleet: Fleet = make_fleet()
        self.seconds = 1000.0
        self.first_seen: dict[Key, float] = {}
        self.applied = 0

    def take(self, batch: Sequence[StatusEvent]) -> list[Outcome]:
        """Appends, applies, then corrects what came late."""
        self.seconds += 1.5
        appended = self.log.append(batch)
        self.applied = appended.seq
        told = [apply(self.fleet, e, fresh=f, now=self.seconds) for e, f in zip(batch, fresh_of(appended), strict=True)]
        for item, (_, late) in zip(batch, told, strict=True):
            if late:
                self.correct((item.source, item.session))
        for key in self.fleet.sessions:
            self.first_seen.setdefault(key, self.seconds)
        return [outcome for outcome, _ in told]

    def correct(self, key: Key) -> None:
        """Folds a session anew from the log."""
        state = self.log.states.fold(key, self.fleet.grave(key).at)
        assert state is None or self.fleet.correct(key, state, ms(self.seconds), clock(self.seconds))

    def delete(self, key: Key) -> None:
        """Forgets a session, durably first."""
        self.seconds += 1.5
        if key in self.fleet.sessions:
            self.log.forget(key, ms(self.seconds))
            self.fleet.forget(key, ms(self.seconds), clock(self.seconds))
            del self.first_seen[key]

    def save(self) -> None:
        """Keeps what the fold knows."""
        self.log.save(self.fleet.take_unsaved(), self.applied)

    def states(self) -> dict[Key, State]:
        """What the fleet believes."""
        return {key: session.state for key, session in self.fleet.sessions.items()}

    def views(self) -> dict[str, list[tuple[object, ...]]]:
        """The transitions view of each session."""
        return {
            name: [(r.from_status, r.status, r.at) for r in transitions_of(self.log, SOURCE, name)] for name in "ab"
        }

    def counts(self) -> dict[Key, list[int]]:
        """Each session's entries to each status."""
        return {key: list(session.transitions) for key, session in self.fleet.sessions.items()}


@contextmanager
def running() -> Iterator[Service]:
    """A service with a log of its own: `tmp_path` would be one for all examples of a property."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "wawp.db")
        try:
            yield Service(log)
        finally:
            log.close()


def batches(events: Sequence[StatusEvent], size: int) -> Iterator[Sequence[StatusEvent]]:
    """Cut as requests that wait at the same moment are."""
    return (events[start : start + size] for start in range(0, len(events), size))


def expected(events: Sequence[StatusEvent]) -> dict[Key, State]:
    """Each session's points, once each, in the gateway's order, folded in memory."""
    points = {(e.source, e.session): {p for o in events if o.session == e.session for p in o.points} for e in events}
    folded = {key: fold(sorted(mine, key=lambda p: (p.at, p.tie))) for key, mine in points.items()}
    return {key: state for key, state in folded.items() if state}


SIZES = st.integers(1, 6)


@settings(LAW, max_examples=40)
@given(steps=steps_of(), data=st.data(), size=SIZES)
def test_order_and_repetition_of_arrival_do_not_matter(steps: list[Step], data: st.DataObject, size: int) -> None:
    """Any permutation with any duplicates gives the same view, and the states of the gateway's own order."""
    events = gateway(steps)
    arrival = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=5))]))

    with running() as straight, running() as shuffled:
        straight.take(events)
        for batch in batches(arrival, size):
            shuffled.take(batch)

        assert shuffled.views() == straight.views()
        assert shuffled.states() == straight.states() == expected(events)


@settings(LAW, max_examples=25)
@given(steps=steps_of(), data=st.data())
def test_after_each_event_the_fleet_is_the_fold_of_all(steps: list[Step], data: st.DataObject) -> None:
    """A late one is corrected at once."""
    events = data.draw(st.permutations(gateway(steps)))

    with running() as service:
        for count, item in enumerate(events, 1):
            service.take([item])

            assert service.states() == expected(events[:count])


@settings(LAW, max_examples=25)
@given(steps=steps_of(), data=st.data(), size=SIZES)
def test_what_was_taken_once_is_a_duplicate_ever_after(steps: list[Step], data: st.DataObject, size: int) -> None:
    """A second delivery of everything changes neither view, nor states, nor counts."""
    events = gateway(steps)

    with running() as service:
        for batch in batches(events, size):
            service.take(batch)
        before = (service.views(), service.states(), service.counts())
        outcomes = [o for batch in batches(data.draw(st.permutations(events)), size) for o in service.take(batch)]

        assert set(outcomes) == {Outcome.DUPLICATE}
        assert (service.views(), service.states(), service.counts()) == before


@settings(LAW, max_examples=25)
@given(steps=steps_of(), size=SIZES)
def test_where_nothing_came_late_counters_are_the_views(steps: list[Step], size: int) -> None:
    """PromQL and the audit agree."""
    with running() as service:
        for batch in batches(gateway(steps), size):
            service.take(batch)

        for (_, name), entries in service.counts().items():
            told = [after for _, after, _ in service.views()[name]]
            assert entries == [told.count(status.value) for status in Status]


@settings(LAW, max_examples=40)
@given(steps=steps_of(), data=st.data(), size=SIZES, saved=st.integers(0, 20), deleted=st.integers(0, 20))
def test_replay_equals_live(steps: list[Step], data: st.DataObject, size: int, saved: int, deleted: int) -> None:
    """From the state table and the tail after it, in whatever order all came, with or without a deletion."""
    arrival = data.draw(st.permutations(gateway(steps)))

    with running() as service:
        for number, batch in enumerate(batches(arrival, size)):
            service.take(batch)
            if number == saved:
                service.save()
            if number == deleted:
                service.delete((SOURCE, "a"))

        restored = service.log.restore([SOURCE])
        assert {key: memory.state for key, memory in memories_of(restored).items()} == service.states()
        assert restored.tombstones == {key: grave.at for key, grave in service.fleet.graves.items()}
        for key, state in service.states().items():
            assert service.log.states.fold(key, restored.tombstones.get(key, 0)) == state


@settings(LAW, max_examples=40)
@given(
    steps=steps_of(
        status=st.just("WORKING"),
        pause=st.integers(1, 400_000),
        engine=st.sampled_from(["GOWS", "NOWEB"]),
        data=st.sampled_from([None, CAPPED, LOCKED, FREE]),
        shown=st.just(0),
    ),
    data=st.data(),
    saved=st.integers(0, 14),
    deleted=st.integers(0, 14),
)
def test_replay_equals_live_in_engine_and_restrictions(
    steps: list[Step], data: st.DataObject, saved: int, deleted: int
) -> None:
    """The newest word by the gateway's clock, whenever it arrived, and nothing of a former life."""
    arrival = data.draw(st.permutations(gateway(steps)))

    with running() as service:
        for number, item in enumerate(arrival):
            service.take([item])
            if number == saved:
                service.save()
            if number == deleted:
                service.delete((SOURCE, "a"))

        restored = {key: (m.engine, set(m.limits)) for key, m in memories_of(service.log.restore([SOURCE])).items()}
        live = {key: s.memory for key, s in service.fleet.sessions.items()}
        assert restored == {key: (memory.engine, set(memory.limits)) for key, memory in live.items()}


@settings(LAW, max_examples=25)
@given(steps=steps_of(), data=st.data(), size=SIZES, deleted=st.integers(0, 20))
def test_seconds_sum_to_the_time_observed(steps: list[Step], data: st.DataObject, size: int, deleted: int) -> None:
    """Of each session over all statuses, and of the fleet over all its sessions, late events or not."""
    arrival = data.draw(st.permutations(gateway(steps)))

    with running() as service:
        gone = 0.0
        for number, batch in enumerate(batches(arrival, size)):
            service.take(batch)
            if number == deleted and (SOURCE, "a") in service.first_seen:
                gone = service.seconds + 1.5 - service.first_seen[SOURCE, "a"]
                service.delete((SOURCE, "a"))
        service.seconds += 60

        observed = {key: service.seconds - first for key, first in service.first_seen.items()}
        for key, session in service.fleet.sessions.items():
            session.accrue(clock(service.seconds))
            assert sum(session.seconds) == pytest.approx(observed[key])
        total = sum(sum(bucket.seconds) for bucket in service.fleet.buckets.up_to(clock(service.seconds)))
        assert total == pytest.approx(sum(observed.values()) + gone)
