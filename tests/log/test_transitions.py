"""Pages of transitions: what is read for one is bounded, whatever is asked for and whatever lies between."""

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
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    sa.event.listen(history._engine, "before_cursor_execute", count)
    found, cursor = history.transitions(limit=100, **filters)

    assert len(found) == 2 * expected
    assert cursor is None
    assert statements <= 6


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
