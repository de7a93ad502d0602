"""The log as its readers see it: pages of transitions, what was missed, timelines; beside a service that writes."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import plans
from tests.builders import DAY, HOUR, KEY, event, ms, point
from tests.event_log import transitions_of
from wawp_exporter.errors import BadRequest, LogError
from wawp_exporter.log.database import Mark
from wawp_exporter.log.feed import Followed
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import Point, Status, StatusEvent, normal
from wawp_exporter.model.machine import fold

S, Q, W, F, X = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"


def brief(told: Sequence[object]) -> list[tuple[str | None, str, int]]:
    """(from, to, seconds after T0)."""
    return [
        (each.before and each.before.value, each.status.value, (each.at - ms(0)) // 1000)
        for each in told
        if isinstance(each, TransitionRow)
    ]


def pages(history: History, limit: int, **filters: str) -> list[TransitionRow]:
    """All pages, one after another."""
    found, cursor = history.transitions(limit=limit, **filters)
    while cursor:
        more, cursor = history.transitions(limit=limit, cursor=cursor, **filters)
        found += more
    return found


# -- transitions


def test_transitions_are_told_newest_first(log: Log, history: History) -> None:
    """With what each came from; repeats are none."""
    log.append([event(S, 0), event(W, 10), event(W, 70), event(F, 100)])

    found, cursor = history.transitions()

    assert brief(found) == [(W, F, 100), (S, W, 10), (None, S, 0)]
    assert cursor is None


def test_a_late_event_is_in_its_place(log: Log, history: History) -> None:
    """Whenever it came; what followed it came from it."""
    log.append([event(W, 0), event(W, 5000)])
    log.append([event(F, 100, received=9000)])

    assert brief(history.transitions()[0]) == [(F, W, 5000), (W, F, 100), (None, W, 0)]


def test_points_of_one_millisecond_keep_their_order(log: Log, history: History) -> None:
    """As the gateway's own history gives it."""
    log.append([event(W, 10, tie=1, before=[point(S, 10)])])

    assert brief(history.transitions()[0]) == [(S, W, 10), (None, S, 10)]


def test_filters_are_by_source_session_and_time(log: Log, history: History) -> None:
    """`start` is in, `end` is not."""
    log.append([event(W, at, key=("default", name)) for name in "ab" for at in (0, 50)])
    log.append([event(F, 10, key=("default", "a")), event(W, 20, key=("other", "a"))])

    assert brief(history.transitions(session="a", source="default")[0]) == [(F, W, 50), (W, F, 10), (None, W, 0)]
    assert brief(history.transitions(source="other")[0]) == [(None, W, 20)]
    assert {each.source for each in history.transitions(session="a")[0]} == {"default", "other"}
    assert brief(history.transitions(start=ms(10), end=ms(50))[0]) == [(None, W, 20), (W, F, 10)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([S, W, F]), st.integers(0, 40 * DAY)), max_size=40),
    st.integers(1, 7),
)
def test_pages_are_disjoint_and_complete(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, str, int]], limit: int
) -> None:
    """In whatever order events came: all pages together are the one long page."""
    log = Log(tmp_path_factory.mktemp("log") / "wawp.db")
    for name, status, at in told:
        log.append([event(status, at, key=("default", name), received=40 * DAY)])
    with History(log.place) as history:
        everything, none = history.transitions(limit=1000)

        assert none is None
        assert pages(history, limit) == everything
        assert everything == sorted(everything, key=lambda each: (each.at, each.tie, each.seq), reverse=True)
        assert len(everything) == sum(len(transitions_of(log, "default", name)) for name in "abc")
    log.close()


def test_a_cursor_stays_where_it_is_while_events_arrive(log: Log, history: History) -> None:
    """The next page is what it would have been."""
    log.append([event((S, W)[at % 2], at * 60) for at in range(10)])
    first, cursor = history.transitions(limit=4)
    expected, _ = history.transitions(limit=4, cursor=cursor)

    log.append([event(F, 3600), event(S, 3700)])

    assert history.transitions(limit=4, cursor=cursor)[0] == expected
    assert expected[0].at < first[-1].at


@pytest.mark.parametrize(
    "cursor", ["x", "WzEsMl0=", "bnVsbA==", "WzEsMiwtM10=", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5LDAsMF0="]
)
def test_a_cursor_that_was_not_given_out_is_refused(history: History, cursor: str) -> None:
    """The message names the parameter."""
    with pytest.raises(BadRequest, match=r"^cursor: not one that was given out"):
        history.transitions(cursor=cursor)


def test_an_empty_log_has_nothing_to_tell(history: History) -> None:
    """And nothing goes wrong."""
    assert history.transitions() == ([], None)
    assert history.resume(0, 10) == []
    assert list(history.timelines(ms(0), ms(10))) == []
    assert list(history.pasts(ms(0), ms(10))) == []
    assert list(history.disconnects(ms(0), ms(10))) == []
    assert (history.count(), history.late(0, ms(10)), history.runs(0, ms(10))) == (0, 0, [])


# -- what was missed


def test_what_was_missed_is_told_in_log_order(log: Log, history: History) -> None:
    """From a row on; repeats are left out."""
    seen = log.append([event(S, 0)]).seq
    log.append([event(W, 10), event(W, 20), event(F, 30)])

    missed = history.resume(seen, 10)

    assert missed is not None
    assert brief(missed) == [(S, W, 10), (W, F, 30)]
    assert history.resume(missed[-1].seq, 10) == []


def resumed(history: History, after: int) -> list[tuple[str | None, str] | str]:
    """The statuses from and to, and `gone` for a deletion."""
    missed = history.resume(after, 100)
    assert missed is not None
    return [
        (each.before and each.before.value, each.status.value) if isinstance(each, TransitionRow) else "gone"
        for each in missed
    ]


def test_a_late_event_was_no_news_and_is_none_afterwards(log: Log, history: History) -> None:
    """Who was there was not told of it: whoever was away must not take a session that works for one that starts."""
    log.append([event(F, 0), event(W, 50)])
    log.append([event(S, 10, received=60), event(Q, 55)])

    assert resumed(history, 0) == [(None, F), (F, W), (W, Q)]
    assert resumed(history, 2) == [(W, Q)]


def test_what_came_before_a_late_event_is_told_as_it_was(log: Log, history: History) -> None:
    """Not with what the log knows now."""
    first = log.append([event(F, 0)]).seq
    log.append([event(X, 100), event(W, 50, received=101), event(W, 200)])

    assert resumed(history, first) == [(F, X), (X, W)]


def test_a_deletion_that_was_missed_is_told_in_its_place(log: Log, history: History) -> None:
    """What comes after it is a first status; what a clock ahead has dated after it, and events up to it, are none."""
    last = log.append([event(W, 0), event(F, 30)]).seq
    log.forget(KEY, ms(10))
    log.append([event(S, 5, received=11), event(Q, 20)])

    assert resumed(history, 0) == [(None, W), (W, F), "gone", (None, Q)]
    assert resumed(history, last) == ["gone", (None, Q)]
    assert resumed(history, last + 1) == [(None, Q)]


def test_whoever_missed_that_a_row_was_told_more_looks_at_everything_anew(log: Log, history: History) -> None:
    """It may have changed a status, and has no row of its own."""
    last = log.append([event(F, 0)]).seq
    last = log.append([event(W, 0)]).seq
    log.append([event(F, 0, tie=1, before=[point(W, 0)])])

    assert history.resume(last, 10) is None


def test_too_much_to_catch_up_on_is_said(log: Log, history: History) -> None:
    """Whoever was away for so long looks at everything anew."""
    log.append([event(W, at) for at in range(5)])

    assert history.resume(0, 4) is None
    assert history.resume(0, 5) is not None


# -- spans of time


def test_a_timeline_begins_with_what_was_true_at_its_start(log: Log, history: History) -> None:
    """Then each transition; repeats and what was before are left out."""
    log.append([event(S, 0), event(W, 10), event(W, 500), event(F, 1000), event(F, 1100), event(W, 1200)])

    (line,) = history.timelines(ms(600), ms(1150))

    assert line.points == [(ms(500), Status.WORKING), (ms(1000), Status.FAILED)]
    assert (line.source, line.session, line.engine, line.tombstone) == (*KEY, "GOWS", 0)


def test_a_session_that_began_later_has_no_earlier_status(log: Log, history: History) -> None:
    """Nothing is made up; one that began after the end is not there at all."""
    log.append([event(W, 700), event(W, 5000, key=("default", "later"))])

    assert [line.points for line in history.timelines(ms(600), ms(1000))] == [[(ms(700), Status.WORKING)]]


def test_a_past_reaches_back_to_what_ended_everything(log: Log, history: History) -> None:
    """The last WORKING before the start and the status it was entered from; a session without one is read whole."""
    log.append([event(S, 0), event(W, 10), event(F, 50), event(S, 60), event(W, 70), event(F, 100), event(S, 110)])
    log.append([event(status, at, key=("default", "new")) for status, at in ((S, 0), (Q, 5), (F, 160))])

    found = {past.session: [p.status for p in past.points] for past in history.pasts(ms(1000), ms(2000))}

    assert found == {KEY[1]: [S, W, F, S], "new": [S, Q, F]}


def test_disconnects_are_leaving_working_for_the_worse(log: Log, history: History) -> None:
    """Not for STOPPED, which is a decision, nor for what nobody knows."""
    log.append([event(s, at) for at, s in enumerate([W, F, W, X, W, "READY", W, S, W, "DISCONNECTED", F])])

    assert [(at - ms(0)) // 1000 for _, at in history.disconnects(ms(0), ms(HOUR))] == [1, 7, 9]


def test_the_first_disconnect_in_a_window_counts_though_what_it_ended_began_before(log: Log, history: History) -> None:
    """Else each session's weekly disconnect would be missed by whoever looks from just before it."""
    log.append([event(W, 0), event(F, 100), event(W, 0, key=("default", "b")), event(W, 90, key=("default", "b"))])

    assert list(history.disconnects(ms(50), ms(HOUR))) == [(KEY, ms(100))]


# -- order and work


def wild(draw: Random, now: int) -> StatusEvent:
    """An event of one of three sessions, received `now` seconds after T0: late, or of a time that was not believed."""
    late = draw.random() < 0.6
    at = ms(now - draw.choice([0, draw.randrange(200)]) if late else now)
    sent = at if late else at + draw.randrange(100_000, 900_000)
    own = Point(draw.choice([S, W, F, X, "READY"]), at, draw.randrange(2), sent)
    return StatusEvent("default", draw.choice("abc"), (own,), ms(now), engine="GOWS")


@pytest.mark.parametrize("seed", range(3))
def test_reading_by_index_gives_what_reading_everything_gives(log: Log, history: History, seed: int) -> None:
    """Also where the order of effect is not that of the times as sent."""
    draw = Random(seed)
    for now in range(200):
        log.append([wild(draw, now * 3)])
    followed = [each for each in log.feed.after(Mark(), 1000)[0] if isinstance(each, Followed)]
    newest = {abs(each.rows[0]): each.event for each in followed}
    rows = [newest[seq] for seq in sorted(newest)]
    start, end = ms(300), ms(500)
    lines = {line.session: line.points for line in history.timelines(start, end)}
    pasts = {past.session: past.points for past in history.pasts(start, end)}
    lost = {(key[1], at) for key, at in history.disconnects(start, end)}
    told = [(each.session, each.before, each.at, each.tie) for each in pages(history, 7)]

    expected = set()
    for name in "abc":
        points = sorted((each.own for each in rows if each.session == name), key=lambda p: (p.at, p.tie))
        within = [p for p in points if p.at < end]
        now = [p for p in within if p.at >= start]
        for before, own in zip([None, *points], points, strict=False):
            if before is None or normal(before.status) is not normal(own.status):
                expected.add((name, before and normal(before.status), own.at, own.tie))
        entered = [max(p.at for p in within if p.at < start), *(p.at for p in now)]
        assert {at for at, _ in lines[name]} <= set(entered)
        assert [p for p in pasts[name] if p.at >= start] == [Point(p.status, p.at, p.tie, p.at) for p in now]
        assert pasts[name] == [Point(p.status, p.at, p.tie, p.at) for p in within][-len(pasts[name]) :]
        assert fold(pasts[name]).since == fold(within).since  # type: ignore[union-attr]  # neither is empty
        assert {at for who, at in lost if who == name} == {
            p.at for before, p in pairwise(within) if before.status == W and p.status in (S, F) and p.at >= start
        }
    assert set(told) == expected
    assert len(told) == len(expected)


def test_what_is_read_of_an_hour_does_not_grow_with_the_log(log: Log, history: History) -> None:
    """The heatmap is drawn every 10 s; a log of a year has thousands of events of each session."""
    plans.fill(log, sessions=30, events=1200)
    work = 1000 if isinstance(log.place, Path) else 20  # steps of SQLite's machine, or rows, for each session

    for read in (History.timelines, History.pasts, History.disconnects):
        with plans.visits(history._engine) as seen:
            assert len(list(read(history, ms(-3 * HOUR), ms(1)))) >= 30
            assert seen() < 30 * work


def test_late_events_are_counted_of_what_is_asked_for(log: Log, history: History) -> None:
    """Also one whose clock was ahead, which is dated by a receipt of its own."""
    other = ("other", "a")
    ahead = StatusEvent(*other, (Point(F, ms(200), 0, ms(900)),), ms(300))
    log.append([event(W, 0), event(F, 100, received=300), event(W, 110, key=other, received=300), ahead])

    def late(**asked: str) -> int:
        return history.late(ms(0), ms(1000), **asked)

    assert [late(), late(source="other"), late(source=KEY[0]), late(session=KEY[1])] == [3, 2, 1, 1]
    assert [history.late(ms(101), ms(111)), history.late(ms(200), ms(201)), history.late(ms(201), ms(1000))] == [
        1,
        1,
        0,
    ]
    assert [history.count(), history.count(source="other"), history.count(session=KEY[1])] == [2, 1, 1]


def test_the_late_events_of_one_source_cost_nothing_of_the_others(log: Log, history: History) -> None:
    """A report of one source in a log of many reads what is its own."""
    plans.fill(log, sessions=30, events=1200)
    log.append([event(W, 0, key=("other", "a"))])

    with plans.visits(history._engine) as seen:
        assert history.late(ms(-3 * HOUR), ms(1), source="other") == 0
        assert seen() < 1000


# -- the file


def test_a_log_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A reader makes nothing."""
    with pytest.raises(LogError, match="there is no such file"):
        History(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [("UPDATE alembic_version SET version_num = '9999'", "9999"), ("DROP TABLE alembic_version", "none")],
)
def test_a_log_of_another_version_is_refused(log: Log, change: str, said: str) -> None:
    """With what to do."""
    log.database.writer.exec_driver_sql(change)
    log.database.writer.commit()

    with pytest.raises(LogError, match=f"its schema is {said}, expected .* .start the service once"):
        History(log.place)


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "wawp.db").write_text("not a database, whatever its name says" * 100)

    with pytest.raises(LogError, match="file is not a database"):
        History(tmp_path / "wawp.db")


def test_a_reader_cannot_write(history: History) -> None:
    """Whatever it is asked to do."""
    with pytest.raises(Exception, match=r"read-?only"), history._engine.connect() as reader:
        reader.exec_driver_sql("DELETE FROM event")
