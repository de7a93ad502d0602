"""The event log, on a real SQLite file and in a real PostgreSQL: one contract."""

from collections.abc import Iterator
from itertools import cycle, islice

import pytest

from tests import plans
from tests.builders import (
    DAY,
    HOUR,
    KEY,
    apply,
    capping,
    event,
    fresh_of,
    live,
    make_fleet,
    memories_of,
    ms,
    only,
    point,
    state,
    timelock,
    told,
)
from tests.event_log import purge_all, transitions_of
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place, make_engine
from wawp_exporter.log.runs import Runs
from wawp_exporter.log.statements import AT_ONCE
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.machine import State, fold
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory, decode_memory

S, Q, W, F, X = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"
NONE = (False,)


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    """An open, empty log, in either database."""
    log = Log(place)
    yield log
    log.close()


def test_the_exporters_ran_since_their_last_pause(log: Log) -> None:
    """Replicas side by side, and starts anew within a minute, are none."""
    assert log.runs.begins(ms(0)) == [ms(0)]
    log.runs.beat(ms(0))
    log.runs.beat(ms(100))
    another = Runs(log.database)
    another.beat(ms(90))
    another.beat(ms(150))

    assert log.runs.begins(ms(160)) == log.runs.begins(ms(210)) == [ms(0)]
    assert log.runs.begins(ms(211)) == [ms(0), ms(211)]


def story(*steps: tuple[str, float], key: Key = KEY) -> list[StatusEvent]:
    """The events of a session that went through (status, seconds after T0)."""
    return [event(status, at, key=key) for status, at in steps]


def tale(log: Log, key: Key = KEY) -> list[tuple[str | None, str, float]]:
    """The transitions view of a session: (from, to, seconds after T0)."""
    return [(row.from_status, row.status, (row.at - ms(0)) / 1000) for row in transitions_of(log, *key)]


def sql(place: Place, statement: str) -> list[tuple[object, ...]]:
    """What another program would read."""
    engine = make_engine(place, reads_only=True)
    with engine.connect() as other:
        rows = [tuple(row) for row in other.exec_driver_sql(statement)]
    engine.dispose()
    return rows


def memory(told: State, **more: object) -> Memory:
    """A memory with this state."""
    engine = str(more.get("engine", "GOWS"))
    return Memory(told, engine, int(str(more.get("last_event", told.at))), (), 0 if engine == "OTHER" else told.at)


def restored(log: Log) -> dict[Key, Memory]:
    """The memories that a start would begin with."""
    return memories_of(log.restore(["default"]))


# -- append


def test_an_appended_point_is_fresh(log: Log) -> None:
    """Each point of each event has its own word, and `seq` is the newest row's number."""
    appended = log.append([event(S, 0), event(W, 10, before=[point(S, 0), point(Q, 5)])])

    assert fresh_of(appended) == [(True,), (False, True, True)]
    assert appended.seq == log.restore(["default"]).seq >= 3


def test_what_was_appended_is_on_disk_when_append_returns(log: Log, place: Place) -> None:
    """Another program reads it while the log is open."""
    log.append([event("READY", 7, received=9, event_id="evt_1", engine="WPP", limits=[capping()])])

    rows = sql(place, "SELECT status, at, tie, key_at, received_at, event_id, engine FROM event")

    assert rows == [("READY", ms(7), 0, ms(7), ms(9), "evt_1", "WPP")]


def test_a_retry_in_a_later_batch_is_no_news(log: Log) -> None:
    """Same session, time and status."""
    log.append([event(W, 0)])

    assert fresh_of(log.append([event(W, 0, received=2)])) == [NONE]
    assert len(tale(log)) == 1


def test_a_restriction_is_kept_though_its_point_came_first_as_history(log: Log, place: Place) -> None:
    """Also when the saved state covers that point: a start folds the session anew."""
    first = log.append([event(F, 20, before=[point(W, 10)])])
    log.save([(KEY, memory(state(F, 20)))], first.seq)

    late = log.append([event(W, 10, limits=[timelock()])])

    assert fresh_of(late) == [NONE]
    assert dict(restored(log)[KEY].limits) == {timelock(): ms(10)}
    assert sql(place, "SELECT count(*) FROM event") == [(2,)]


def test_a_reason_is_kept_though_its_point_came_first_as_history(log: Log, place: Place) -> None:
    """The saved state covers that point: a start folds the session anew. The first reason of a point stays."""
    first = log.append([event(S, 20, before=[point(W, 0), point(F, 10)])])
    log.save([(KEY, memory(state(S, 20)))], first.seq)

    log.append([event(F, 10, reason="logged_out"), event(F, 10, reason="other")])

    assert restored(log)[KEY].state.reason == "logged_out"
    assert sql(place, "SELECT status, reason FROM event ORDER BY at") == [(W, None), (F, "logged_out"), (S, None)]


@pytest.mark.parametrize("saved", [True, False])
def test_the_reason_of_a_loss_comes_back_after_a_restart(log: Log, saved: bool) -> None:
    """From the saved state, and from the events."""
    told = [event(W, 0), event(F, 10, reason="banned"), event(F, 20)]
    appended = log.append(told)
    if saved:
        folded = fold(each.own for each in told)
        assert folded
        log.save([(KEY, memory(folded))], appended.seq)

    assert restored(log)[KEY].state.reason == "banned"


def test_a_state_that_an_older_version_saved_has_no_reason(log: Log) -> None:
    """Its row ends before the field."""
    old = decode_memory('[["FAILED",5,5,0,0,5,0,0,0,5,true,5,0],"GOWS",5,[],5]')

    assert (old.state.reason, old.state.lost_at) == ("", 5)


def test_a_double_delivery_within_a_batch_is_stored_once(log: Log) -> None:
    """The first that brought it has it."""
    assert fresh_of(log.append([event(W, 0), event(W, 0), event(W, 1)])) == [(True,), NONE, (True,)]


def test_a_point_given_twice_in_one_event_is_stored_once(log: Log) -> None:
    """Gateways are not to be trusted with their own history."""
    assert fresh_of(log.append([event(W, 0, before=[point(W, 0)])])) == [(True, False)]


@pytest.mark.parametrize(
    "other",
    [event(F, 0), event(W, 1), event(W, 0, key=("default", "other")), event(W, 0, key=("other", KEY[1]))],
    ids=["status", "time", "session", "source"],
)
def test_anything_that_differs_in_the_key_is_news(log: Log, other: StatusEvent) -> None:
    """Source, session, time as sent, and status."""
    assert fresh_of(log.append([event(W, 0), other])) == [(True,), (True,)]


def test_two_statuses_of_one_millisecond_are_both_kept_in_order(log: Log) -> None:
    """The order in `payload.statuses` stands in the log, whichever arrived first."""
    log.append([event(S, 0, tie=1, before=[point(X, 0)]), event(X, 0)])

    assert tale(log) == [(None, X, 0), (X, S, 0)]


def test_an_empty_batch_is_nothing(log: Log) -> None:
    """It does no harm."""
    assert fresh_of(log.append([])) == []


def test_names_are_kept_as_they_are(log: Log) -> None:
    """Quotes, emoji, JSON and SQL in a name are text."""
    names = [
        "quo\"te'",
        "back\\slash",
        "new\nline",
        "😀" * 64,
        "'; DROP TABLE event; --",
        "%s",
        "[1]",
        "null",
        "1",
        "01",
        " a ",
    ]

    log.append([event(W, 0, key=("default", name)) for name in names])

    assert set(restored(log)) == {("default", name) for name in names}


def test_statuses_that_look_like_numbers_stay_text(log: Log) -> None:
    """A gateway may say anything; `1` and `01` and `1.0` are three."""
    assert fresh_of(log.append([event(status, 0) for status in ("1", "01", "1.0", "true", "null")])) == [(True,)] * 5
    assert [row.status for row in transitions_of(log, *KEY)] == ["UNKNOWN"]


# -- events without a time


def timeless(at: float, key: str = "body:1", **more: bool) -> StatusEvent:
    """An event without any gateway time, received at `at`."""
    return event(W, at, timeless_key=key, **more)


def test_without_a_time_the_key_tells_a_retry(log: Log) -> None:
    """Though the receipt, and so the time, differs."""
    assert fresh_of(log.append([timeless(0), timeless(0.002)])) == [(True,), NONE]
    assert fresh_of(log.append([timeless(2), timeless(2, "body:2")])) == [NONE, (True,)]


def test_a_key_is_kept_for_an_hour(log: Log) -> None:
    """After that the same bytes are news."""
    log.append([timeless(0)])

    assert fresh_of(log.append([timeless(HOUR - 0.001)])) == [NONE]
    assert fresh_of(log.append([timeless(HOUR)])) == [(True,)]


def test_a_key_is_of_its_source(log: Log) -> None:
    """Two gateways may give the same request id."""
    other = event(W, 0, key=("other", "a"), timeless_key="body:1")

    assert fresh_of(log.append([timeless(0), other])) == [(True,), (True,)]


def test_a_body_that_came_back_after_another_status_is_news(log: Log) -> None:
    """Old gateways send the same bytes each time a status comes back."""
    log.append([timeless(0), event(X, 30)])

    assert fresh_of(log.append([timeless(60, key_is_body=True, renews=True)])) == [(True,)]


# -- the view


def test_the_view_tells_transitions_in_the_order_of_the_gateways_times(log: Log) -> None:
    """Repeats are none, and what came late stands where it belongs."""
    log.append(story((S, 0), (W, 30), (W, 40), (X, 60)))
    log.append([event(Q, 10, received=61), event(S, 20, received=62)])

    assert tale(log) == [(None, S, 0), (S, Q, 10), (Q, S, 20), (S, W, 30), (W, X, 60)]


def test_the_view_tells_unknown_statuses_as_one(log: Log, place: Place) -> None:
    """READY and PAUSED are UNKNOWN; what was observed is beside it."""
    log.append(story((W, 0), ("READY", 10), ("PAUSED", 20), (W, 30)))

    assert tale(log) == [(None, W, 0), (W, "UNKNOWN", 10), ("UNKNOWN", W, 30)]
    assert sql(place, "SELECT observed FROM transitions WHERE at = " + str(ms(10))) == [("READY",)]


def test_the_view_keeps_sessions_apart(log: Log) -> None:
    """Each begins from nothing."""
    log.append([*story((S, 0), (W, 10)), *story((F, 5), key=("default", "b"))])

    assert tale(log, ("default", "b")) == [(None, F, 5)]


# -- restore


def test_an_empty_log_restores_nothing(log: Log) -> None:
    """The first start."""
    found = log.restore(["default"])

    assert (memories_of(found), found.tombstones, found.seq) == ({}, {}, 0)


def test_saved_memories_come_back(log: Log) -> None:
    """Without a look at the events when they cover them all."""
    fleet = make_fleet()
    for item in (event(S, 0), event(Q, 5), event(W, 10, limits=[timelock(until=600), capping()])):
        seq = log.append([item]).seq
        apply(fleet, item)
    log.save(fleet.take_unsaved(), seq)

    assert restored(log) == {KEY: only(fleet).memory}


def test_what_was_not_saved_is_folded_from_the_events(log: Log) -> None:
    """The last moments before a crash."""
    seq = log.append(story((S, 0), (Q, 5))).seq
    log.save([(KEY, memory(told((S, 0), (Q, 5))))], seq)
    log.append([event(F, 165, received=166)])

    assert restored(log)[KEY] == memory(told((S, 0), (Q, 5), (F, 165)), last_event=ms(166))


def test_a_log_that_was_never_saved_is_folded_whole(log: Log) -> None:
    """Late ones in their place."""
    log.append(story((S, 0), (W, 10), (X, 60), (F, 50), (Q, 5)))

    assert restored(log)[KEY].state == told((S, 0), (Q, 5), (W, 10), (F, 50), (X, 60))


def test_a_saved_state_does_not_hide_a_late_event_of_the_tail(log: Log) -> None:
    """It is folded with the whole history, not on top of the state."""
    seq = log.append(story((F, 0), (F, 60))).seq
    log.save([(KEY, memory(told((F, 0), (F, 60))))], seq)
    log.append([event(W, 30, received=61)])

    assert restored(log)[KEY].state == told((F, 0), (W, 30), (F, 60))


def test_engine_and_restrictions_come_back_from_the_tail(log: Log) -> None:
    """The last word on each."""
    log.append([event(W, 0, engine="NOWEB", limits=[timelock()]), event(W, 10, engine=None, limits=[capping()])])

    found = restored(log)[KEY]

    assert found.engine == "NOWEB"
    assert dict(found.limits) == {timelock(): ms(0), capping(): ms(10)}


def test_the_last_word_on_a_restriction_is_the_newest_not_the_last_received(log: Log) -> None:
    """As in the live fleet."""
    log.append([event(W, 20, limits=[timelock(active=False)]), event(W, 10, received=21, limits=[timelock()])])

    assert dict(restored(log)[KEY].limits) == {timelock(active=False): ms(20)}


def test_the_engine_of_a_late_event_is_not_the_last_word(log: Log) -> None:
    """As in the live fleet."""
    log.append([event(W, 20, engine="NOWEB"), event(S, 10, received=21, engine="GOWS")])

    assert restored(log)[KEY].engine == "NOWEB"


def test_only_sessions_of_configured_sources_come_back(log: Log) -> None:
    """Those of a source that is gone stay in the log."""
    log.append([event(W, 0), event(W, 0, key=("old", "a"))])

    assert set(restored(log)) == {KEY}
    assert len(memories_of(log.restore(["default", "old"]))) == 2


def test_sessions_that_nobody_logged_are_not_saved(log: Log) -> None:
    """A memory belongs to a logged session."""
    log.save([(("default", "nobody"), memory(state()))], 0)

    assert restored(log) == {}


# -- fold


def test_a_fold_equals_that_of_all_points(log: Log) -> None:
    """Though only what can matter is read, whatever came last and whichever came late."""
    steps = [(S, 0), (Q, 5), (W, 10), (F, 50), (S, 52), (Q, 60), (W, 70), (W, 80), (X, 90), (S, 95), (Q, 100)]
    for number, step in enumerate(steps):
        log.append(story(step))
        assert log.states.fold(KEY) == told(*steps[: number + 1])
    for number in range(len(steps)):
        key = ("default", f"late-{number}")
        log.append([event(status, at, key=key) for status, at in steps[:number] + steps[number + 1 :]])
        log.append([event(steps[number][0], steps[number][1], key=key)])
        assert log.states.fold(key) == told(*steps)


def test_a_late_event_of_a_session_with_many_events_is_folded_from_a_few_rows(log: Log) -> None:
    """A gateway may send a month again, oldest first: each of its events would read all that came after it."""
    plans.fill(log, sessions=2, events=3000)
    key = ("default", "s1")
    log.append([event(F, -2900 * 3600, key=key)])
    limit = 500 if log.shared else 20_000  # rows of PostgreSQL, or steps of SQLite's machine

    with plans.visits(log.database.engine) as seen:
        state = log.states.fold(key)

    assert state
    assert seen() < limit


def test_a_fold_begins_after_the_tombstone(log: Log) -> None:
    """A former life does not count."""
    log.append(story((S, 0), (W, 10), (X, 60), (S, 70)))

    assert log.states.fold(KEY, ms(60)) == told((S, 70))
    assert log.states.fold(KEY, ms(70)) is None


# -- forget


def test_a_forgotten_session_does_not_come_back(log: Log) -> None:
    """Neither from its state nor from its events, which stay for audits."""
    seq = log.append(story((S, 0), (W, 10))).seq
    log.save([(KEY, memory(told((S, 0), (W, 10))))], seq)

    log.forget(KEY, ms(20))

    assert memories_of(log.restore(["default"])) == {}
    assert log.restore(["default"]).tombstones == {KEY: ms(20)}
    assert len(tale(log)) == 2


def test_a_state_saved_while_its_session_was_deleted_does_not_bring_it_back(log: Log) -> None:
    """Both are writes of one moment."""
    seq = log.append(story((W, 10))).seq
    log.forget(KEY, ms(20))
    log.save([(KEY, memory(told((W, 10))))], seq)

    assert restored(log) == {}


def test_a_session_that_began_afresh_comes_back_without_its_former_life(log: Log) -> None:
    """Its episodes, engine and restrictions are those of the new one."""
    log.append([event(F, 0), event(W, 10, engine="NOWEB", limits=[capping()])])
    log.forget(KEY, ms(20))
    log.append([event(S, 30, engine=None, before=[point(F, 15)])])

    assert restored(log)[KEY] == memory(told((S, 30)), engine="OTHER")


# -- retention


def test_purge_deletes_what_was_received_before(log: Log) -> None:
    """Slice by slice, and says how many; the status before the live one stays with it."""
    log.append(story((S, 0), (W, 10), (F, 20), (W, 30)))
    log.save([(KEY, memory(told((W, 30))))], 4)

    assert sum(purge_all(log, ms(DAY), limit=1) for _ in range(3)) == 2
    assert purge_all(log, ms(DAY)) == 0
    assert log.retention.oldest_event() == ms(20)


def test_purge_keeps_what_is_younger(log: Log) -> None:
    """Received at that very instant is young."""
    log.append(story((S, 0), (F, 10), (S, 20)))

    assert purge_all(log, ms(10)) == 1


def test_purge_keeps_what_a_live_state_rests_on(log: Log) -> None:
    """A session that has been waiting for a scan for years still knows since when."""
    log.append(story((W, 0), (S, 10), (Q, 20), (F, 30), (Q, 40)))
    now = told((W, 0), (S, 10), (Q, 20), (F, 30), (Q, 40))
    log.save([(KEY, memory(now))], 5)

    purge_all(log, ms(DAY))

    folded = log.states.fold(KEY)
    assert folded
    assert (folded.since, folded.auth_since, folded.down_since) == (now.since, now.auth_since, now.down_since)


def test_a_fold_after_a_purge_is_what_it_was(log: Log) -> None:
    """That the session once worked is not forgotten with the event that said so."""
    log.append(story((W, 0), (F, 10)))
    log.save([(KEY, memory(told((W, 0), (F, 10))))], 2)

    purge_all(log, ms(DAY))
    log.append([event(S, DAY)])

    assert restored(log)[KEY].state == told((W, 0), (F, 10), (S, DAY))


def test_purge_deletes_all_of_a_forgotten_session(log: Log) -> None:
    """Nothing rests on it."""
    log.append(story((S, 0), (W, 10)))
    log.save([(KEY, memory(told((S, 0), (W, 10))))], 2)
    log.forget(KEY, ms(20))

    assert purge_all(log, ms(DAY)) == 2
    assert log.retention.oldest_event() == 0


def test_a_purged_event_that_is_sent_again_is_news(log: Log) -> None:
    """The log no longer knows it."""
    log.append(story((S, 0), (F, 10)))
    purge_all(log, ms(DAY))

    assert fresh_of(log.append([event(S, 0)])) == [(True,)]


def test_numbers_of_purged_events_are_not_given_again(log: Log) -> None:
    """Else the watermark would cover events that came after it, and a crash would lose them to the fold."""
    seq = log.append(story((S, 0), (W, 10))).seq
    log.forget(KEY, ms(20))
    log.save([], seq)
    purge_all(log, ms(DAY))

    log.append([event(W, DAY, key=("default", "b"))])

    assert set(restored(log)) == {("default", "b")}


# -- opening


def test_a_log_is_as_it_was_when_it_is_opened_again(place: Place) -> None:
    """Events, states, tombstones, keys of timeless events and the newest seq."""
    log = Log(place)
    log.append([*story((S, 0), (W, 10)), event(W, 5, key=("default", "b")), timeless(20)])
    log.save([(KEY, memory(told((S, 0), (W, 10))))], 2)
    log.forget(("default", "b"), ms(30))
    before = log.restore(["default"])
    log.close()

    log = Log(place)

    assert log.restore(["default"]) == before
    assert fresh_of(log.append([event(W, 10), timeless(21)])) == [NONE, NONE]
    assert log.append([event(X, 60)]).seq > before.seq
    log.close()


def test_the_oldest_event_is_the_first_received(log: Log) -> None:
    """0 for an empty log."""
    assert log.retention.oldest_event() == 0

    log.append([event(W, 10, received=50), event(F, 5, received=60)])

    assert log.retention.oldest_event() == ms(50)


def test_the_live_fleet_and_a_restored_one_agree(log: Log) -> None:
    """On everything that is worth keeping."""
    items = [
        event(S, 0),
        event(Q, 2),
        event(W, 60, engine="NOWEB", limits=[timelock(until=HOUR)]),
        event(X, 70),
        event(S, 80, before=[point(X, 70)]),
        event(W, 85, engine=None, limits=[capping()]),
    ]
    fleet = live()
    for item, fresh in zip(items, fresh_of(log.append(items)), strict=True):
        apply(fleet, item, fresh=fresh)

    assert restored(log) == {KEY: only(fleet).memory}


def test_a_batch_of_any_size_is_stored_in_its_order(log: Log) -> None:
    """SQLite takes so many points a statement; a batch of more is several, and one transaction."""
    statuses = list(islice(cycle((S, W)), 2 * AT_ONCE + 3))
    events = [event(status, at) for at, status in enumerate(statuses)]

    numbers = [row for (row,) in log.append(events).rows]

    assert numbers == sorted(set(numbers))
    assert min(numbers) > 0
    assert [row.status for row in transitions_of(log, *KEY)] == statuses
    assert log.append(events).rows == [(0,)] * len(events)


def test_a_point_is_new_once_whichever_statement_of_a_batch_has_it(log: Log) -> None:
    """Known points, repeated ones and such with a restriction stand between new ones; each number is given once."""
    log.append([event(S, 0)])
    first = [event((S, W)[at % 2], at) for at in range(AT_ONCE + 1)]
    second = [event((S, W)[at % 2], at, limits=[capping()] if at == 1 else []) for at in range(AT_ONCE + 3)]

    rows = [row for (row,) in log.append([*first, *second]).rows]

    assert [row > 0 for row in rows] == [False, *[True] * AT_ONCE, *[False] * (AT_ONCE + 1), True, True]
    assert sorted({row for row in rows if row > 0}) == [row for row in rows if row > 0]
    assert len(transitions_of(log, *KEY)) == AT_ONCE + 3
    assert restored(log)[KEY].limits == ((capping(), ms(1)),)
