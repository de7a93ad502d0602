"""Laws: the order of arrival does not matter, replay equals live, seconds sum to the time observed."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wawp_exporter.events import Limit, Status, StatusEvent, parse
from wawp_exporter.fleet import Fleet, Key, Memory, Outcome
from wawp_exporter.log import Log
from wawp_exporter.machine import State, fold

from tests.builders import T0, apply, body, capping, clock, event, make_fleet, ms, point, timelock

SOURCE = "default"
SPELLINGS = [*Status, "READY", "PAUSED"]


class Step(NamedTuple):
    """What a gateway does: a session's status, so many milliseconds after its former one, and what goes with it."""

    session: str
    status: str
    pause: int
    engine: str | None = "GOWS"
    limits: tuple[Limit, ...] = ()
    shown: int = 3


STEPS = st.lists(
    st.builds(
        Step,
        session=st.sampled_from("ab"),
        status=st.sampled_from(SPELLINGS),
        # Restarts, QR timeouts and equal milliseconds must all occur.
        pause=st.sampled_from([0, 0, 1, 9, 2000, 13_000, 30_000, 31_000, 160_000]),
        engine=st.sampled_from(["GOWS", "GOWS", "NOWEB", None]),
        limits=st.sampled_from([(), (timelock(),), (timelock(active=False),), (capping(),), (timelock(until=50), capping())]),
        shown=st.integers(0, 3),
    ),
    min_size=1,
    max_size=14,
)


def gateway(steps: Iterable[Step]) -> list[StatusEvent]:
    """The events of a gateway that is consistent: its history, of which each event shows the last points, is one.

    As a real one, it never has one status twice in the same millisecond.
    """
    events: list[StatusEvent] = []
    past: dict[str, list[tuple[str, int]]] = {}
    for step in steps:
        history = past.setdefault(step.session, [])
        at = (history[-1][1] if history else 0) + step.pause
        while (step.status, at) in history:
            at += 1
        history.append((step.status, at))
        first = max(0, len(history) - 1 - step.shown)
        points = [
            point(status, when / 1000, tie=sum(before == when for _, before in history[:index]))
            for index, (status, when) in enumerate(history)
        ]
        limits = step.limits if step.status == "WORKING" else ()
        events.append(
            StatusEvent(SOURCE, step.session, tuple(points[first:]), ms(at / 1000), engine=step.engine, limits=limits)
        )
    return events


class Live:
    """A log and the fleet that folds it, batch by batch, as the service does; its clock goes on with each batch."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.fleet: Fleet = make_fleet()
        self.seconds = 1000.0
        self.seen: dict[Key, float] = {}
        self.applied = 0

    def take(self, batch: Sequence[StatusEvent]) -> list[Outcome]:
        """Appends, applies, and corrects what came late."""
        self.seconds += 1.5
        appended = self.log.append(batch)
        self.applied = appended.seq
        outcomes = []
        for item, fresh in zip(batch, appended.fresh, strict=True):
            outcome, late = apply(self.fleet, item, fresh=fresh, now=self.seconds)
            outcomes.append(outcome)
            if late:
                self.correct(item)
        self.seen = {key: self.seen.get(key, self.seconds) for key in self.fleet.sessions}
        return outcomes

    def correct(self, item: StatusEvent) -> None:
        """Folds a session anew, unless a later event of the batch is in the log and not yet applied."""
        key = (item.source, item.session)
        state = self.log.fold(key, min(p.at for p in item.points), self.fleet.tombstones.get(key, 0))
        if state:
            self.fleet.correct(key, state, ms(self.seconds), clock(self.seconds))

    def settle(self) -> None:
        """What the service repeats until it holds: a correction that was overtaken."""
        for key in list(self.fleet.sessions):
            state = self.log.fold(key, 0)
            assert state
            assert self.fleet.correct(key, state, ms(self.seconds), clock(self.seconds))

    def delete(self, key: Key) -> None:
        """Forgets a session, durably first."""
        self.seconds += 1
        if key in self.fleet.sessions:
            self.log.forget(key, ms(self.seconds))
            self.fleet.forget(key, ms(self.seconds), clock(self.seconds))

    def save(self) -> None:
        """Keeps what the fold knows."""
        self.log.save(self.fleet.take_unsaved(), self.applied)

    def states(self) -> dict[Key, State]:
        """What the fleet believes."""
        return {key: session.state for key, session in self.fleet.sessions.items()}


@contextmanager
def opened() -> Iterator[Log]:
    """A log on a disk of its own; `tmp_path` is one for all examples of a property."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "wawp.db")
        yield log
        log.close()


def views(log: Log) -> dict[str, list[tuple[object, ...]]]:
    """The transitions view of both sessions."""
    return {name: [(r.from_status, r.status, r.at) for r in log.transitions(SOURCE, name)] for name in "ab"}


def expected_states(events: Sequence[StatusEvent]) -> dict[Key, State]:
    """Each session's points, once each, in the gateway's order, folded in memory."""
    points = {(e.source, e.session): {p for o in events if o.session == e.session for p in o.points} for e in events}
    folded = {key: fold(sorted(mine, key=lambda p: (p.at, p.tie))) for key, mine in points.items()}
    return {key: state for key, state in folded.items() if state}


def batches(events: Sequence[StatusEvent], size: int) -> Iterator[Sequence[StatusEvent]]:
    """Cut as requests that wait at the same moment are."""
    for start in range(0, len(events), size):
        yield events[start : start + size]


# -- order and repetition of arrival


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=STEPS, data=st.data(), size=st.integers(1, 6))
def test_order_and_repetition_of_arrival_do_not_matter(steps: list[Step], data: st.DataObject, size: int) -> None:
    """Any permutation with any duplicates gives the same view and the same final states, live and by the log."""
    events = gateway(steps)
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    arrival = data.draw(st.permutations([*events, *again]))

    with opened() as straight, opened() as shuffled:
        straight.append(events)
        service = Live(shuffled)
        for batch in batches(arrival, size):
            service.take(batch)

        assert views(shuffled) == views(straight)
        assert {key: s.status for key, s in service.states().items()} == {
            key: s.status for key, s in expected_states(events).items()
        }
        service.settle()
        assert service.states() == expected_states(events)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(steps=STEPS, data=st.data())
def test_one_by_one_a_late_event_is_corrected_at_once(steps: list[Step], data: st.DataObject) -> None:
    """Where no two events wait at the same moment, the fleet equals the fold after each of them."""
    events = data.draw(st.permutations(gateway(steps)))

    with opened() as log:
        service = Live(log)
        for count, item in enumerate(events, 1):
            service.take([item])

            assert service.states() == expected_states(events[:count])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS, data=st.data(), size=st.integers(1, 6))
def test_what_was_taken_once_is_a_duplicate_ever_after(steps: list[Step], data: st.DataObject, size: int) -> None:
    """Deduplication is idempotent: a second delivery changes neither view, nor states, nor counts."""
    events = gateway(steps)

    with opened() as log:
        service = Live(log)
        for batch in batches(events, size):
            service.take(batch)
        before = (views(log), service.states(), counts(service.fleet))
        outcomes = [o for batch in batches(data.draw(st.permutations(events)), size) for o in service.take(batch)]

        assert set(outcomes) == {Outcome.DUPLICATE}
        assert (views(log), service.states(), counts(service.fleet)) == before


def counts(fleet: Fleet) -> dict[Key, list[int]]:
    """Each session's entries to each status."""
    return {key: list(session.transitions) for key, session in fleet.sessions.items()}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS, size=st.integers(1, 6))
def test_in_order_the_counters_are_the_views(steps: list[Step], size: int) -> None:
    """Where nothing came late, PromQL agrees with the audit."""
    events = gateway(steps)

    with opened() as log:
        service = Live(log)
        for batch in batches(events, size):
            service.take(batch)

        for (_, name), entries in counts(service.fleet).items():
            told = [row[1] for row in views(log)[name]]
            assert entries == [told.count(status.value) for status in Status]


# -- replay


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    steps=STEPS,
    data=st.data(),
    size=st.integers(1, 6),
    saved=st.integers(0, 14),
    deleted=st.none() | st.integers(0, 14),
)
@example(steps=[Step("a", "WORKING", 0, limits=(timelock(),))], data=None, size=1, saved=9, deleted=None)
def test_replay_equals_live(
    steps: list[Step], data: st.DataObject | None, size: int, saved: int, deleted: int | None
) -> None:
    """From the state table and the tail after it, in whatever order all came, and with a deletion in between.

    State, engine and restrictions are those of the live fleet; the tail after the last save is what a crash leaves.
    """
    events = gateway(steps)
    arrival = data.draw(st.permutations(events)) if data else events

    with opened() as log:
        service = Live(log)
        for number, batch in enumerate(batches(arrival, size)):
            service.take(batch)
            if number == saved:
                service.settle()
                service.save()
            if number == deleted:
                service.delete((SOURCE, "a"))
        service.settle_all = None  # type: ignore[attr-defined]
        restored = dict(log.restore([SOURCE]).memories)

        assert {key: kept(memory) for key, memory in restored.items()} == {
            key: kept(session.memory) for key, session in service.fleet.sessions.items()
        }


def kept(memory: Memory) -> tuple[object, ...]:
    """What a restart must not change; the last event's time may be that of a duplicate, which is in no log."""
    return memory.state, memory.engine, dict((limit.restriction, limit.active) for limit, _ in memory.limits)
