"""Pages of transitions: what is read for one is bounded, whatever is asked for and whatever lies between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import plans
from tests.builders import capping, event, ms
from wawp_exporter.log.history import transitions
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.log import Log

S, W, F = "STARTING", "WORKING", "FAILED"
Filters = dict[str, str | int | None]


def walked(history: History, limit: int, **filters: object) -> tuple[list[TransitionRow], int]:
    """All pages, one after another, and how many there were."""
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        more, cursor = history.transitions(limit=limit, cursor=cursor, **filters)  # type: ignore[arg-type]  # as asked
        found += more
        pages += 1
    return found, pages


def fill_repeats(log: Log, sessions: int, events: int) -> None:
    """One FAILED of each session, and WORKING so many times after it, a second apart, the newest at T0."""
    plans.fill(log, sessions, events, every=1)
    first = ms(0) - (events - 1) * 1000
    with log.database.writing() as writer:
        writer.execute(sa.text(f"UPDATE event SET status = 'WORKING' WHERE at > {first}"))
        writer.execute(sa.text(f"UPDATE event SET status = 'FAILED' WHERE at <= {first}"))


@contextmanager
def listening(history: History, call: Callable[..., None]) -> Iterator[None]:
    """Calls something before each statement that is sent to the database."""
    sa.event.listen(history._engine, "before_cursor_execute", call)
    try:
        yield
    finally:
        sa.event.remove(history._engine, "before_cursor_execute", call)


@contextmanager
def counted(history: History) -> Iterator[Callable[[], int]]:
    """Counts the statements that are sent to the database."""
    sent: list[object] = []
    with listening(history, lambda *_: sent.append(None)):
        yield lambda: len(sent)


COMBINATIONS: list[Filters] = [
    {key: value for key, value in zip(("source", "session", "start", "end"), values, strict=True) if value is not None}
    for values in product(("default", None), ("s3", None), (ms(-900 * 3600), None), (ms(-3600), None))
]


@pytest.mark.parametrize("more", [False, True], ids=["first page", "next page"])
@pytest.mark.parametrize(("names", "each"), [(30, 2400), (4, 18_000)], ids=["many sessions", "few sessions"])
def test_a_page_is_found_by_index_whatever_is_asked_for(
    log: Log, history: History, names: int, each: int, more: bool
) -> None:
    """The log has 72,000 events; a page of ten looks at no more of them than a few chunks of some hundred."""
    plans.fill(log, names, each)
    limit = 600_000 if isinstance(log.place, Path) else 7000  # steps of SQLite's machine, or rows of PostgreSQL

    for filters in COMBINATIONS:
        cursor = history.transitions(limit=10, **filters)[1] if more else None  # type: ignore[arg-type]  # as asked
        with plans.visits(history._engine) as seen:
            found, after = history.transitions(limit=10, cursor=cursor, **filters)  # type: ignore[arg-type]  # as asked
            assert len(found) == 10
            assert after
            assert seen() < limit, filters


@pytest.mark.parametrize("filters", [{}, {"session": "s1"}, {"source": "default"}, {"source": "nobody"}], ids=str)
def test_repeats_are_not_looked_at_one_by_one(log: Log, history: History, filters: dict[str, str]) -> None:
    """A gateway that says WORKING again and again does not make pages slow: the status before each is not looked up."""
    fill_repeats(log, sessions=3, events=6000)
    expected = 1 if "session" in filters else 0 if filters.get("source") == "nobody" else 3

    with counted(history) as statements:
        found, cursor = history.transitions(limit=100, **filters)

    assert len(found) == 2 * expected
    assert cursor is None
    assert statements() <= 6


def test_a_source_of_a_hundred_is_found_among_the_events_of_all_at_once(log: Log, history: History) -> None:
    """Its page is read with one statement, however few of the events are its own: each costs a plan for every month."""
    plans.fill(log, sessions=1200, events=12)
    with log.database.writing() as writer:
        writer.execute(sa.text("UPDATE session SET source = 'other' WHERE id % 100 > 0"))

    with counted(history) as statements:
        found, cursor = history.transitions(source="default", limit=100)

    assert len(found) == 100
    assert cursor
    assert statements() == 2  # its sessions, and the page
    assert walked(history, 100, source="default")[0] == walked(history, 7, source="default")[0]


@pytest.mark.parametrize("among", [1, 2, 7, 50])
def test_a_source_is_read_to_its_end_wherever_a_look_ends(
    log: Log, history: History, monkeypatch: pytest.MonkeyPatch, among: int
) -> None:
    """Nothing of a source is told twice or left out between two looks, not even what has the same time."""
    keys = [(source, name) for source in ("gw1", "gw2", "gw3") for name in ("a", "b")]
    log.append([event(status, at // 3, key=key) for at, status in enumerate([S, W, F] * 3) for key in keys])
    expected = [each for each in walked(history, 5)[0] if each.source == "gw2"]
    monkeypatch.setattr(transitions, "MAX_OWNERS", 1)
    monkeypatch.setattr(transitions, "AMONG", among)
    monkeypatch.setattr(transitions, "CHUNK", 3)

    for limit in (1, 4, 100):
        assert walked(history, limit, source="gw2")[0] == expected
        assert walked(history, limit, source="gw2", end=ms(2))[0] == [each for each in expected if each.at < ms(2)]


def test_what_arrives_while_a_page_is_read_is_no_reason_to_tell_something_twice(
    log: Log, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is read with several statements, each of which goes on where the one before has ended."""
    monkeypatch.setattr(transitions, "MAX_OWNERS", 1)
    monkeypatch.setattr(transitions, "AMONG", 3)
    names = [("gw1", "a"), ("gw1", "b"), *[("gw2", name) for name in "abcde"]]
    log.append([event(status, at, key=key) for at, status in enumerate([S, W, F, S]) for key in names])
    expected = history.transitions(source="gw1")[0]
    times = iter(range(100, 200))

    def append(*_: object) -> None:
        log.append([event(W, at, key=(source, f"new-{at}")) for at, source in zip(times, ["gw1", "gw2"], strict=False)])

    with listening(history, append):
        found, _ = history.transitions(source="gw1")

    assert len({each.seq for each in found}) == len(found)
    assert [each for each in found if not each.session.startswith("new")] == expected


def test_a_page_looks_at_so_many_events_and_the_next_goes_on(
    log: Log, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks gets an answer soon, though only repeats lie at the top: a page may be empty and not the last."""
    fill_repeats(log, sessions=2, events=3000)
    expected, _ = walked(history, 100)
    monkeypatch.setattr(transitions, "MAX_EVENTS", 1000)

    for filters in ({}, {"source": "default"}, {"session": "s1"}):
        found, cursor = history.transitions(limit=100, **filters)
        assert found == []
        assert cursor

        every, pages = walked(history, 100, **filters)
        assert every == [each for each in expected if filters.get("session") in (None, each.session)]
        assert 1 < pages < 20


def test_of_many_sources_that_have_the_name_each_is_told(
    log: Log, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions are looked up one by one while they are few; of more the log is read in order of time."""
    log.append([event(status, at, key=(f"gw{number}", "a")) for number in range(5) for at, status in enumerate([S, W])])
    log.append([event(F, 5, key=("gw1", "other"))])
    few, _ = walked(history, 3, session="a")

    monkeypatch.setattr(transitions, "MAX_OWNERS", 2)

    assert walked(history, 3, session="a")[0] == few
    assert {each.source for each in few} == {f"gw{number}" for number in range(5)}
    assert len(few) == 10
    assert walked(history, 3, source="gw1")[0] == history.transitions(source="gw1")[0]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_an_old_point_that_is_told_more_stays_where_it_is(log: Log, history: History, limit: int) -> None:
    """Sent again with a restriction; pages tell all, each once, and from a log with little else none is skipped."""
    statuses = (S, W, F, S, W, F)
    log.append([event(status, at * 60) for at, status in enumerate(statuses)])
    before, _ = walked(history, limit)
    assert len(before) == 6

    log.append([event(W, 60, received=400, limits=[capping()])])

    for filters in ({}, {"source": "default"}, {"session": "sales-uk"}, {"source": "default", "session": "sales-uk"}):
        found, _ = walked(history, limit, **filters)
        assert found == before
