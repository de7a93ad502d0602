"""Laws of the judge over random histories: what a slow one sees that looks at every second; what changes nothing."""

from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.plays import FleetOfPlay, ms, said
from tests.model.slow_judge import SlowJudge
from wawp_exporter.model.facts import LOGINS, Problem
from wawp_exporter.model.judge import Judge
from wawp_exporter.model.limits import Constants, Limits
from wawp_exporter.model.outage import Kind
from wawp_exporter.model.rules import Key

SECOND = 1000
# Short, so that much happens in a short history.
BRISK = Constants(
    disconnected_settle_ms=2 * SECOND,
    settle_ms=4 * SECOND,
    flap_window_ms=60 * SECOND,
    recovered_ms=12 * SECOND,
    restart_ms=31 * SECOND - 1,  # over at a whole second, at which the slow one looks
    burst_ms=30 * SECOND,
    outage_settle_ms=3 * SECOND,
    low_ms=20 * SECOND,
    share=0.4,
    burst_least=4,
    low_share=0.4,
)
LIMITS = Limits(
    starting=12 * SECOND,
    failed=4 * SECOND,
    qr_escalate=20 * SECOND,
    qr_unattended=40 * SECOND,
    down=45 * SECOND,
    silent=50 * SECOND,
)
CALM = 100  # seconds after the last event
KEYS: tuple[Key, ...] = (*(("a", f"x{n}") for n in range(6)), *(("b", f"x{n}") for n in range(3)), ("c", "x"))
STATUSES = ("WORKING", "STARTING", "SCAN_QR_CODE", "FAILED", "STOPPED", "DISCONNECTED", "UNKNOWN")
WORDS = (*STATUSES, *STATUSES[:2], "maintenance", "expected", "deleted", "heard", "restricted", "free")
BOUNDED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
Happening = tuple[float, tuple[Key, ...], str]  # seconds since the one before, to whom, what

whom = st.one_of(
    st.sampled_from([(key,) for key in KEYS]),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=6, unique=True).map(tuple),
    st.sampled_from([tuple(key for key in KEYS if key[0] == source) for source in "abc"] + [KEYS]),
)
gaps = (0, 1, 2, 3, 5, 8, 13, 30)
histories = st.lists(st.tuples(st.sampled_from(gaps), whom, st.sampled_from(WORDS)), max_size=40)


def timeline(history: Sequence[Happening], begin: int = 100) -> dict[int, list[tuple[Key, str]]]:
    """What happens in each second; all sessions work at first."""
    found = {begin: [(key, "WORKING") for key in KEYS]}
    now = begin + 1
    for gap, keys, word in history:
        now += int(gap)
        found.setdefault(now, []).extend((key, word) for key in keys)
    return found


def engine_of(key: Key) -> str:
    """All sessions of a source have one engine."""
    return f"E{key[0]}"


class Both:
    """The judge and the slow one, told of the same."""

    def __init__(self) -> None:
        self.fleet = FleetOfPlay(Judge(BRISK), LIMITS)
        self.slow = SlowJudge(BRISK, LIMITS)

    def happen(self, key: Key, word: str, second: int) -> None:
        """Words that mean nothing for a session that is not there are left out."""
        if word not in STATUSES and key not in self.fleet.facts:
            return
        self.fleet.engine = engine_of(key)
        self.fleet.act(key, [word], ms(second))
        self.slow.event(key, engine_of(key), word, second)

    def compare(self, second: int) -> None:
        """Both say the same."""
        assert said(self.fleet.judge) == self.slow.said(), f"at {second}"


def play_both(history: Sequence[Happening]) -> None:
    """Every second of a history, and some time after."""
    happenings, both = timeline(history), Both()
    for second in range(min(happenings), max(happenings) + CALM):
        both.fleet.judge.wake(ms(second))
        both.slow.tick(second)
        both.compare(second)
        for key, word in happenings.get(second, ()):
            both.happen(key, word, second)
        both.compare(second)


@settings(BOUNDED, max_examples=60)
@given(histories)
def test_the_judge_sees_what_a_slow_judge_sees_every_second(history: list[Happening]) -> None:
    """Deadlines miss nothing that time alone changes, and what is kept by each event is what the past says."""
    play_both(history)


# -- what changes nothing

late_words = st.one_of(
    st.sampled_from(WORDS),
    st.tuples(st.sampled_from(STATUSES), st.integers(0, 60)).map(lambda told: f"{told[0]} {told[1]}"),
)
late_histories = st.lists(st.tuples(st.sampled_from((0.25, *gaps)), whom, late_words), min_size=1, max_size=40)


def play(fleet: FleetOfPlay, history: Sequence[Happening], between: Callable[[int], None]) -> list[set[str]]:
    """What is said after each happening; `DISCONNECTED 7` is one of 7 s ago. `between` comes before each of them."""
    now, told = 100.0, []
    for gap, keys, words in [(0, KEYS, "WORKING"), *history, (CALM, (), "")]:
        now += gap
        between(ms(now))
        fleet.judge.wake(ms(now))
        for key in keys:
            word, *ago = words.split()
            if word in STATUSES or key in fleet.facts:
                fleet.engine = engine_of(key)
                fleet.act(key, [word, "at", str(now - int(ago[0]))] if ago else [word], ms(now))
        told.append(said(fleet.judge))
    return told


@BOUNDED
@given(late_histories, st.integers(1, 7))
def test_to_save_and_load_at_any_moment_changes_nothing(history: list[Happening], every: int) -> None:
    """A restart goes on with what was decided before it: outages with members and steps, and what was said."""
    fleet, told = FleetOfPlay(Judge(BRISK), LIMITS), FleetOfPlay(Judge(BRISK), LIMITS)
    table: dict[Key, bytes] = {}
    count = iter(range(1000))

    def restart(_now: int) -> None:
        judge = fleet.judge
        for key in judge.unsaved:
            table.pop(key, None)
            saved = judge.saved(key)
            if saved:
                table[key] = saved
        judge.unsaved.clear()
        if next(count) % every == 0:
            fleet.judge = Judge(BRISK)
            fleet.judge.load(judge.dump("abc"), table.values())

    assert play(fleet, history, restart) == play(told, history, lambda _now: None)


@BOUNDED
@given(late_histories)
def test_to_look_more_often_changes_nothing(history: list[Happening]) -> None:
    """When a timer fires must not matter: everything that is due happens at its own instant, or replay is not live."""
    often, seldom = FleetOfPlay(Judge(BRISK), LIMITS), FleetOfPlay(Judge(BRISK), LIMITS)

    def look(now: int) -> None:
        for instant in range(often.judge.now or now, now, 700):
            often.judge.wake(instant)

    assert play(often, history, look) == play(seldom, history, lambda _now: None)


@BOUNDED
@given(late_histories)
def test_what_was_said_of_an_outage_stands(history: list[Happening]) -> None:
    """Begin and steps are never changed by what comes later, a late event or another."""
    fleet = FleetOfPlay(Judge(BRISK), LIMITS)
    known: dict[tuple[str, str, str, int], tuple[int, int]] = {}

    def look(_now: int) -> None:
        for outage in fleet.judge.exported():
            since, largest = known.get((*outage.name, outage.begun), (outage.since, 0))
            assert outage.since == since
            assert outage.largest >= max(largest, outage.size, BRISK.least)
            known[*outage.name, outage.begun] = since, outage.largest

    play(fleet, history, look)


@BOUNDED
@given(late_histories)
def test_what_is_said_of_one_session_fits_together(history: list[Happening]) -> None:
    """`down` is said alone, nothing but logins in a login, nothing in maintenance; one outage at a time."""
    fleet = FleetOfPlay(Judge(BRISK), LIMITS)

    def look(_now: int) -> None:
        judge = fleet.judge
        for key, facts in fleet.facts.items():
            problems = judge.problems(key).keys()
            assert Problem.DOWN not in problems or len(problems) == 1
            assert not (problems & LOGINS) or problems <= LOGINS
            assert not (problems and facts.maintenance)
            assert not (judge.outages.of(Kind.DISCONNECT, key) and judge.outages.of(Kind.REAUTH, key))
        expected = sum(facts.expected for facts in fleet.facts.values())
        assert judge.outages.population.total() == expected

    play(fleet, history, look)
