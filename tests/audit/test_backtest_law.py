"""The law of the backtest: over random histories it finds what a live exporter exported, and when."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.builders import clock, config, event, ms, timelock
from wawp_exporter.audit import backtest as module
from wawp_exporter.audit.backtest import Query, backtest
from wawp_exporter.audit.firings import Firing
from wawp_exporter.config.schema import Config
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key, Rules

KEYS: tuple[Key, ...] = (*(("a", f"x{n}") for n in range(6)), *(("b", f"x{n}") for n in range(3)), ("c", "x"))
STATUSES = ("WORKING", "STARTING", "SCAN_QR_CODE", "FAILED", "STOPPED", "DISCONNECTED", "UNKNOWN")
WINDOW = {"source": "a", "session": "x1", "from": "2026-11-18T11:12:00Z", "to": "2026-11-18T11:20:00Z"}
LIMITS = {"qr_unattended": "10m", "down": "8m"}
OVERRIDES = [{"source": "*", "session": "x2", "thresholds": {"starting": "5m", "silent": "12m"}}]
CALM = 1200  # seconds after the last event
WARM_UP_MS = 1_000_000

Happening = tuple[int, tuple[Key, ...], str, int]  # seconds since the one before, to whom, what, how late it comes
Interval = tuple[str, str, int, int | None]  # what, whose, fired at, ended at (seconds)

whom = st.one_of(
    st.sampled_from([(key,) for key in KEYS]),
    st.sampled_from([tuple(key for key in KEYS if key[0] == source) for source in "abc"] + [KEYS]),
)
histories = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 3, 8, 20, 61, 150, 400)),
        whom,
        st.sampled_from((*STATUSES, *STATUSES[:2], "deleted", "restricted", "free")),
        st.sampled_from((0, 0, 0, 0, 7, 90)),
    ),
    max_size=40,
)


def configured() -> Config:
    """Overrides, windows, and limits that are reached in a short history."""
    sources = {source: {} for source in "abc"}
    return config(sources=sources, thresholds=LIMITS, sessions=OVERRIDES, maintenance=[WINDOW])


class Lived:
    """A fleet as the service runs one, whose judge somebody looks at every second."""

    def __init__(self, path: Path) -> None:
        self.fleet = Fleet(Rules(configured()))
        self.log = Log(path)
        self.now = 0
        self.seen: dict[tuple[str, str], int] = {}  # what is exported, and since which second
        self.over: list[Interval] = []
        self.sent: set[tuple[str, str, str, int]] = set()

    def wait(self, until: int) -> None:
        """Lets time pass, and looks at each second before `until`."""
        while self.now < until:
            self.fleet.advance(ms(self.now), clock(self.now))
            self.look()
            self.now += 1
        self.fleet.advance(ms(until), clock(until))

    def look(self) -> None:
        """Writes down what has begun and what has ended."""
        judge = self.fleet.judge
        exported = {
            (f"{key[0]}:{key[1]}", str(problem)) for key, case in judge.cases.items() for problem in case.problems
        }
        exported |= {(f"{each.source}/{each.engine}", f"{each.kind} {each.begun}") for each in judge.exported()}
        for each in self.seen.keys() - exported:
            self.over.append((*each, self.seen.pop(each), self.now))
        for each in exported - self.seen.keys():
            self.seen[each] = self.now

    def happen(self, key: Key, word: str, late: int) -> None:
        """One thing that comes now."""
        session = self.fleet.sessions.get(key)
        if word == "deleted":
            if session:
                self.delete(key)
        elif word in ("restricted", "free"):
            if session:
                limits = [timelock(active=word == "restricted")]
                self.receive(event(session.state.status, self.now, key=key, limits=limits, engine=f"E{key[0]}"))
        else:
            at = max(0, self.now - late)
            self.receive(event(word, at, key=key, received=self.now, engine=f"E{key[0]}", event_id=None))

    def delete(self, key: Key) -> None:
        """As the service does it."""
        buried = self.log.deletions.delete(key, ms(self.now))
        self.fleet.forget(key, ms(self.now), clock(self.now), buried)

    def receive(self, item: StatusEvent) -> None:
        """Logs an event, folds it, and folds the session again if it was late.

        What is a duplicate is left out: the log has no trace of it, though it is a sign of life.
        """
        point = (item.source, item.session, item.own.status, item.own.key_at)
        if point in self.sent:
            return
        self.sent.add(point)
        key, fleet = (item.source, item.session), self.fleet
        appended = self.log.append([item])
        _, late = fleet.apply(item, appended.rows[0], item.received_at, clock(self.now))
        grave = fleet.grave(key)
        if late and min(appended.rows[0]) < 0:
            memory = self.log.states.look(key, appended.seq)
            if memory:
                fleet.replace(key, memory, item.received_at, clock(self.now), item.received_at)
        elif late:
            state = self.log.states.fold(key, grave.at, appended.seq, grave.seq)
            if state:
                fleet.correct(key, state, item.received_at, clock(self.now), item.received_at)

    def found(self) -> Counter[Interval]:
        """Everything that was exported, with the seconds from which and until which."""
        return Counter([*self.over, *((*each, since, None) for each, since in self.seen.items())])


def intervals(firings: Sequence[Firing]) -> Counter[Interval]:
    """The same of a backtest, by the first second at which somebody who looks could have seen it."""
    found: Counter[Interval] = Counter()
    for each in firings:
        begins, ends = second(each.firing_at), None if each.ended_at is None else second(each.ended_at)
        if begins != ends:
            found[who(each), what(each), begins, ends] += 1
    return found


def second(moment: int) -> int:
    """A time in Unix ms as the next whole second after T0."""
    return -((ms(0) - moment) // 1000)


def who(firing: Firing) -> str:
    """Whose it is."""
    return f"{firing.source}:{firing.session}" if firing.session else f"{firing.source}/{firing.engine}"


def what(firing: Firing) -> str:
    """A problem, or a kind of outage."""
    return str(firing.problem or firing.kind)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log without events, to be copied: making its tables takes longer than a history."""
    path = tmp_path_factory.mktemp("empty") / "wawp.db"
    Log(path).close()
    return path


def live(empty: Path, history: Sequence[Happening]) -> tuple[Path, Lived]:
    """A history, lived second by second, and its log."""
    path = empty.with_name("lived.db")
    for file in path.parent.glob("lived.db*"):
        file.unlink()
    shutil.copy(empty, path)
    lived = Lived(path)
    for gap, keys, word, late in [(0, KEYS, "WORKING", 0), *history]:
        lived.wait(lived.now + gap)
        for key in keys:
            lived.happen(key, word, late)
        lived.look()
    lived.wait(lived.now + CALM)
    lived.look()
    lived.log.close()
    return path, lived


def unnumbered(found: Counter[Interval]) -> Counter[Interval]:
    """What lasted for a second, without when the judge began an outage, which tells two of one name apart."""
    lasted = (each for each in found.elements() if each[2] != each[3])
    return Counter((whose, words.split()[0], *times) for whose, words, *times in lasted)


BOUNDED = settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # to shrink such a history would take minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@BOUNDED
@given(history=histories)
def test_a_backtest_finds_what_a_live_exporter_exported(empty: Path, history: list[Happening]) -> None:
    """Every problem and outage with the second at which it began to be exported, and the second at which it ended."""
    path, lived = live(empty, history)

    (found,) = backtest(path, [configured()], Query(ms(0), ms(lived.now) + 1)).firings

    assert intervals(found) == unnumbered(lived.found())


@BOUNDED
@given(history=histories, share=st.floats(0, 1))
def test_a_part_of_the_past_is_judged_as_in_the_whole(empty: Path, history: list[Happening], share: float) -> None:
    """What a session's state rests on is read, and a while before the period: nobody waits for a year to be read."""
    path, lived = live(empty, history)
    start = ms(int(lived.now * share))
    span = Query(start, ms(lived.now) + 1)
    (whole,) = backtest(path, [configured()], Query(ms(0), span.end)).firings
    assume(not any(each.kind and each.firing_at < start - WARM_UP_MS for each in whole))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WARM_UP_MS", WARM_UP_MS)
        (part,) = backtest(path, [configured()], span).firings

    assert of_period(part, start) == of_period(whole, start)


def of_period(firings: Sequence[Firing], start: int) -> list[tuple[str, str, int, int, int | None]]:
    """What fired from `start` (Unix ms) on, with its times."""
    return [
        (who(each), what(each), each.started_at, each.firing_at, each.ended_at)
        for each in firings
        if each.ended_at is None or each.ended_at > start
    ]
