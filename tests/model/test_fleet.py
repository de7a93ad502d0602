"""The fold of all sessions: outcomes, counts, and what time alone changes."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.builders import (
    DAY,
    HOUR,
    KEY,
    MINUTE,
    apply,
    capping,
    clock,
    config,
    event,
    live,
    make_fleet,
    ms,
    only,
    point,
    timelock,
)
from wawp_exporter.model.bucket import ORDINAL, Bucket, Histogram, Slo
from wawp_exporter.model.event import LOGIN, Point, Restriction, Status, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import fold
from wawp_exporter.model.outcome import Outcome, WaitOutcome
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.session import Rank
from wawp_exporter.model.sessions import group_counts

S, Q, W, F, X = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"


def bucket_of(fleet: Fleet, at: float = 0) -> Bucket:
    """The one bucket of a fleet, `at` seconds after T0."""
    (bucket,) = fleet.buckets.up_to(clock(at))
    return bucket


def window(start: float, end: float, **more: str) -> dict[str, Any]:
    """A window of maintenance from `start` to `end` seconds after T0."""
    first, last = (datetime.fromtimestamp(ms(at) / 1000, UTC) for at in (start, end))
    return {"from": first, "to": last, **more}


def observed(histograms: dict[Any, Histogram]) -> dict[str, tuple[int, float]]:
    """(count, sum) of those histograms that hold something."""
    return {str(k): (sum(h.counts), round(h.total, 3)) for k, h in histograms.items() if sum(h.counts)}


def transitions(fleet: Fleet, key: Key = KEY) -> dict[str, int]:
    """A session's counted entries to each status, those at 0 left out."""
    counts = zip(Status, fleet.sessions[key].transitions, strict=True)
    return {status.value: count for status, count in counts if count}


# -- outcomes


def test_a_first_status_is_a_transition() -> None:
    """A session appears, and counts as having entered its status."""
    fleet = make_fleet()

    assert apply(fleet, event(S)) == (Outcome.TRANSITION, False)
    assert only(fleet).state.status is Status.STARTING
    assert transitions(fleet) == {S: 1}
    assert bucket_of(fleet).transitions == {(None, Status.STARTING): 1}


def test_another_status_is_a_transition() -> None:
    """It counts once for the session and once by from and to."""
    fleet = live((S, 0))

    assert apply(fleet, event(W, 5)) == (Outcome.TRANSITION, False)
    assert only(fleet).state.since == ms(5)
    assert bucket_of(fleet).transitions[Status.STARTING, Status.WORKING] == 1


def test_the_same_status_is_a_repeat() -> None:
    """It counts nothing and moves no since-time; the session was heard of."""
    fleet = live((W, 0))

    assert apply(fleet, event(W, 40)) == (Outcome.REPEAT, False)
    assert only(fleet).state.since == ms(0)
    assert only(fleet).last_event == ms(40)
    assert transitions(fleet) == {W: 1}


def test_what_the_log_holds_already_is_a_duplicate() -> None:
    """Only the time of hearing moves."""
    fleet = live((S, 0), (W, 5))

    assert apply(fleet, event(S, 0, received=9), fresh=(False,)) == (Outcome.DUPLICATE, False)
    assert only(fleet).state.status is Status.WORKING
    assert only(fleet).last_event == ms(9)
    assert transitions(fleet) == {S: 1, W: 1}


def test_an_older_status_is_late() -> None:
    """The live status stays, and the session must be folded anew from the log."""
    fleet = live((S, 0), (X, 60))

    assert apply(fleet, event(W, 5, received=61)) == (Outcome.LATE, True)
    assert only(fleet).state.status is Status.STOPPED
    assert only(fleet).last_event == ms(61)
    assert transitions(fleet) == {S: 1, X: 1}


def test_of_two_in_one_millisecond_the_one_sent_first_is_late() -> None:
    """STOPPED and STARTING of WAHA up to 2026.1.1 arrive on two connections in either order."""
    fleet = make_fleet()
    newer = event(S, 10, tie=1, before=[point(X, 10)])

    assert apply(fleet, newer) == (Outcome.TRANSITION, False)
    assert apply(fleet, event(X, 10), fresh=(False,)) == (Outcome.DUPLICATE, False)
    assert only(fleet).state.status is Status.STARTING


def test_at_the_same_time_and_tie_the_later_arrival_wins() -> None:
    """Without a word of the gateway there is no better order."""
    fleet = live((X, 10))

    assert apply(fleet, event(S, 10)) == (Outcome.TRANSITION, False)


def test_a_late_event_may_correct_a_since_time() -> None:
    """Gauges equal the fold in the order of the gateway's times; counters are left alone."""
    fleet = live((F, 0), (F, 60))
    apply(fleet, event(W, 30, received=61))
    folded = fold([point(F, 0), point(W, 30), point(F, 60)])
    assert folded

    assert fleet.correct(KEY, folded, ms(61), clock(61))
    assert only(fleet).state.since == ms(60)
    assert transitions(fleet) == {F: 1}
    assert only(fleet).slo is Slo.BAD


def test_a_correction_that_was_overtaken_is_refused() -> None:
    """Newer points came between the reading of the log and now."""
    fleet = live((S, 0), (F, 60), (W, 70))
    folded = fold([point(S, 0), point(F, 60)])
    assert folded

    assert not fleet.correct(KEY, folded, ms(71), clock(71))
    assert only(fleet).state.status is Status.WORKING


def test_a_correction_of_a_deleted_session_is_void() -> None:
    """It must not come back."""
    fleet = live((S, 0))
    folded = only(fleet).state
    fleet.forget(KEY, ms(10), clock(10))

    assert fleet.correct(KEY, folded, ms(11), clock(11))
    assert not fleet.sessions


def test_sessions_of_two_sources_are_two() -> None:
    """Every WAHA server has a `default`."""
    fleet = make_fleet(sources={"a": {}, "b": {}})

    live((S, 0), key=("a", "default"), fleet=fleet)
    live((W, 0), key=("b", "default"), fleet=fleet)

    assert {key: s.state.status for key, s in fleet.sessions.items()} == {("a", "default"): S, ("b", "default"): W}


def test_each_transition_is_announced() -> None:
    """Those who follow live hear of changes only."""
    fleet = make_fleet()
    heard = []
    fleet.on_transition = lambda session, transition, _seq: heard.append((session.name, transition.after.status))

    live((S, 0), (S, 2), (W, 4), fleet=fleet)

    assert heard == [("sales-uk", S), ("sales-uk", W)]


# -- back-fill


def test_missed_transitions_are_counted_by_back_fill() -> None:
    """One event brings three points, of which the log knew none."""
    fleet = live((W, 0))

    outcome = apply(fleet, event(W, 20, before=[point(X, 5), point(S, 10)]))

    assert outcome == (Outcome.TRANSITION, False)
    assert transitions(fleet) == {W: 2, X: 1, S: 1}
    assert only(fleet).state.since == ms(20)


def test_known_points_are_not_counted_again() -> None:
    """Each event repeats the last three."""
    fleet = live((S, 0), (W, 5))

    apply(fleet, event(X, 20, before=[point(S, 0), point(W, 5)]), fresh=(False, False, True))

    assert transitions(fleet) == {S: 1, W: 1, X: 1}


def test_the_outcome_is_of_the_events_own_point() -> None:
    """A retry whose history was news is still a duplicate; what it brought late is for the log's fold."""
    fleet = live((W, 20))

    outcome = apply(fleet, event(W, 20, before=[point(S, 10)]), fresh=(True, False))

    assert outcome == (Outcome.DUPLICATE, True)
    assert transitions(fleet) == {W: 1}


def test_back_fill_between_two_repeats_of_one_status_is_late() -> None:
    """The live status is newer already."""
    fleet = live((W, 0), (W, 30))

    outcome = apply(fleet, event(W, 40, before=[point(F, 10)]))

    assert outcome == (Outcome.REPEAT, True)


# -- deletion


def test_a_deleted_session_is_gone() -> None:
    """It leaves the counts too."""
    fleet = live((W, 0))

    assert fleet.forget(KEY, ms(10), clock(10))
    assert not fleet.sessions
    assert sum(bucket_of(fleet, 10).counts) == 0


def test_an_unknown_session_cannot_be_deleted() -> None:
    """The caller is told."""
    assert not make_fleet().forget(KEY, ms(0), clock(0))


@pytest.mark.parametrize("at", [0, 5, 10])
def test_an_event_up_to_the_deletion_does_not_bring_a_session_back(at: float) -> None:
    """A retry that was under way is late, and nothing need be folded for it."""
    fleet = live((W, 0))
    fleet.forget(KEY, ms(10), clock(10))

    assert apply(fleet, event(F, at, received=11)) == (Outcome.LATE, False)
    assert not fleet.sessions


def test_an_event_after_the_deletion_starts_the_session_afresh() -> None:
    """Nothing of its former life is left."""
    fleet = live((S, 0), (Q, 2))
    fleet.forget(KEY, ms(10), clock(10))

    assert apply(fleet, event(S, 10.001)) == (Outcome.TRANSITION, False)
    assert only(fleet).state.down_since == ms(10.001)
    assert only(fleet).state.auth_since == 0
    assert transitions(fleet) == {S: 1}


def test_history_from_before_the_deletion_stays_deleted() -> None:
    """The back-fill of the new life's first event is partly of the old one."""
    fleet = live((Q, 0))
    fleet.forget(KEY, ms(10), clock(10))

    outcome = apply(fleet, event(S, 12, before=[point(Q, 5), point(X, 11)]))

    assert outcome == (Outcome.TRANSITION, False)
    assert transitions(fleet) == {X: 1, S: 1}


def test_a_late_word_of_the_former_life_restricts_nothing() -> None:
    """The session that began afresh has no restriction that was said of the old one."""
    fleet = live((W, 0))
    fleet.forget(KEY, ms(10), clock(10))
    live((W, 20), fleet=fleet)

    apply(fleet, event(W, 5, received=21, limits=[capping()]))

    assert not only(fleet).limits


def test_a_tombstone_never_moves_back() -> None:
    """Two deletions leave the later."""
    fleet = live((W, 0))

    fleet.forget(KEY, ms(10), clock(10))
    fleet.forget(KEY, ms(5), clock(11))

    assert fleet.grave(KEY).at == ms(10)


# -- other events


def test_another_event_is_a_sign_of_life() -> None:
    """A message shows that a session is there."""
    fleet = live((W, 0))

    assert fleet.touch(KEY, ms(40), clock(40))
    assert only(fleet).last_event == ms(40)


def test_another_event_creates_no_session() -> None:
    """Its status would be a guess."""
    fleet = make_fleet()

    assert not fleet.touch(KEY, ms(0), clock(0))
    assert not fleet.sessions


# -- maintenance, restrictions, silence: time alone


def test_maintenance_begins_and_ends_by_time_alone() -> None:
    """From the first millisecond of the window up to, not including, the last."""
    fleet = live((W, 0), maintenance=[window(100, 200)])

    seen = []
    for at in (99.999, 100, 199.999, 200):
        fleet.changed.clear()
        fleet.advance(ms(at), clock(at))
        seen.append((only(fleet).maintenance, bool(fleet.changed)))

    assert seen == [(False, False), (True, True), (True, False), (False, True)]


def test_overlapping_windows_are_one_maintenance() -> None:
    """It lasts until the last of them ends."""
    fleet = live((W, 0), maintenance=[window(100, 200), window(150, 300)])

    seen = []
    for at in (100, 150, 200, 300):
        fleet.advance(ms(at), clock(at))
        seen.append(only(fleet).maintenance)

    assert seen == [True, True, True, False]


def test_a_session_that_appears_during_maintenance_is_in_it() -> None:
    """Windows are looked at when a session appears, too."""
    assert only(live((S, 150), maintenance=[window(100, 200)])).maintenance


def test_maintenance_stops_no_clock() -> None:
    """What is still broken at its end has been broken since it broke."""
    fleet = live((W, 0), (F, 150), maintenance=[window(100, 200)])

    fleet.advance(ms(200), clock(200))

    assert only(fleet).state.down_since == ms(150)


def test_a_timelock_ends_at_its_end() -> None:
    """No event is needed."""
    fleet = make_fleet()
    apply(fleet, event(W, 0, limits=[timelock(until=60)]))
    session = only(fleet)

    assert session.restricted(Restriction.REACHOUT_TIMELOCK, ms(59.999))
    assert not session.restricted(Restriction.REACHOUT_TIMELOCK, ms(60))
    fleet.changed.clear()
    fleet.advance(ms(60), clock(60))
    assert fleet.changed == {KEY}
    assert not session.troubled(ms(60))


def test_a_timelock_ends_when_it_is_said_to() -> None:
    """`isActive` false, in a WORKING while it is WORKING."""
    fleet = make_fleet()
    apply(fleet, event(W, 0, limits=[timelock()]))

    outcome = apply(fleet, event(W, 10, limits=[timelock(active=False)]))

    assert outcome == (Outcome.REPEAT, False)
    assert not only(fleet).restricted(Restriction.REACHOUT_TIMELOCK, ms(10))


def test_an_absent_restriction_changes_nothing() -> None:
    """A re-issue names only the one that changed."""
    fleet = make_fleet()
    apply(fleet, event(W, 0, limits=[timelock()]))

    apply(fleet, event(W, 10, limits=[capping()]))
    apply(fleet, event(W, 20))

    assert all(only(fleet).restricted(restriction, ms(20)) for restriction in Restriction)


def test_an_older_word_about_a_restriction_does_not_undo_a_newer() -> None:
    """Words are ordered by the gateway's time, as statuses are."""
    fleet = make_fleet()
    apply(fleet, event(W, 20, limits=[timelock(active=False)]))

    apply(fleet, event(W, 10, limits=[timelock()], received=21))

    assert not only(fleet).restricted(Restriction.REACHOUT_TIMELOCK, ms(21))


@pytest.mark.parametrize("story", [[(W, 0)], [(F, -HOUR), (W, 0)]], ids=["new", "recovered"])
@pytest.mark.parametrize("heard", ["message", "repeat"])
def test_a_silent_session_is_in_trouble(story: list[tuple[str, float]], heard: str) -> None:
    """WORKING and unheard of for longer than its limit; any event ends that, and silence may begin again."""
    fleet = live(*story, thresholds={"silent": "10m"})
    session = only(fleet)

    assert session.rank is Rank.WORKING
    for at, rank in ((600, Rank.WORKING), (601, Rank.TROUBLED)):
        fleet.advance(ms(at), clock(at))
        assert session.rank is rank
    if heard == "message":
        fleet.touch(KEY, ms(700), clock(700))
    else:
        apply(fleet, event(W, 700))
    assert session.rank is Rank.WORKING
    fleet.advance(ms(1301), clock(1301))
    assert session.rank is Rank.TROUBLED


def test_silence_is_longer_than_its_limit() -> None:
    """Exactly ten minutes are not silence yet."""
    session = only(live((W, 0), thresholds={"silent": "10m"}))

    assert (session.silent(ms(600)), session.silent(ms(600.001))) == (False, True)


def test_silence_has_overrides() -> None:
    """A session's own limit goes before the default."""
    fleet = live(
        (W, 0), thresholds={"silent": "10m"}, sessions=[{"session": "sales-*", "thresholds": {"silent": "0s"}}]
    )

    assert not only(fleet).silent(ms(DAY))


def test_a_session_stopped_for_long_is_to_be_forgotten() -> None:
    """Its series vanish by themselves; it is named again while nobody has deleted it."""
    fleet = live((X, 0), metrics={"forget_stopped_after": "1d"})

    assert fleet.advance(ms(DAY - 1), clock(DAY - 1)) == []
    assert fleet.advance(ms(DAY), clock(DAY)) == [KEY]
    assert fleet.advance(ms(DAY + 1), clock(DAY + 1)) == []
    assert fleet.advance(ms(DAY + MINUTE), clock(DAY + MINUTE)) == [KEY]


def test_a_session_that_left_stopped_is_not_forgotten() -> None:
    """However late that was."""
    fleet = live((X, 0), (S, DAY - 1), metrics={"forget_stopped_after": "1d"})

    assert fleet.advance(ms(DAY), clock(DAY)) == []


def test_only_stopped_sessions_are_forgotten() -> None:
    """A session that has been FAILED for a year is somebody's problem still."""
    fleet = live((F, 0), metrics={"forget_stopped_after": "1d"})

    assert fleet.advance(ms(365 * DAY), clock(365 * DAY)) == []


# -- groups


def test_groups_count_members_eligible_and_working() -> None:
    """Eligible are members that are neither STOPPED nor in maintenance; unknown ones are members only."""
    names = ("a", "b", "c", "d", "unseen")
    fleet = make_fleet(
        groups={"sales": [f"default/{name}" for name in names], "other": ["default/e"]},
        maintenance=[window(0, 100, session="d")],
    )
    for name, status in zip("abcde", (W, F, X, W, W), strict=True):
        live((status, 1), key=("default", name), fleet=fleet)

    assert list(group_counts(fleet)) == [("sales", 5, 2, 1), ("other", 1, 1, 1)]


# -- objective


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([(S, 0)], Slo.EXCLUDED),
        ([(S, 0), (Q, 1), (F, 2)], Slo.EXCLUDED),
        ([(W, 0)], Slo.GOOD),
        ([(W, 0), (F, 1)], Slo.BAD),
        ([(W, 0), (S, 1)], Slo.BAD),
        ([(W, 0), ("DISCONNECTED", 1)], Slo.BAD),
        ([(W, 0), (Q, 1)], Slo.BAD),
        ([(W, 0), (X, 1)], Slo.EXCLUDED),
        ([(W, 0), ("READY", 1)], Slo.EXCLUDED),
        ([(W, 0), (X, 1), (S, 90)], Slo.BAD),
    ],
)
def test_seconds_count_by_status_and_history(story: list[tuple[str, float]], expected: Slo) -> None:
    """STOPPED, UNKNOWN and all before the first WORKING are excluded."""
    assert only(live(*story)).slo is expected


def test_maintenance_is_excluded_from_the_objective() -> None:
    """Exactly the seconds in the window, given that time is advanced at its edges."""
    fleet = live((W, 0), (F, 50), maintenance=[window(100, 200)])

    for at in (100, 200):
        fleet.advance(ms(at), clock(at))

    assert bucket_of(fleet, 250).slo == {Slo.GOOD: 50, Slo.BAD: 100, Slo.EXCLUDED: 100}


# -- seconds and histograms


def test_seconds_accrue_to_the_status_believed() -> None:
    """On the monotonic clock, up to the instant asked for."""
    fleet = live((S, 0), (W, 10), (X, 70))
    session = only(fleet)
    session.accrue(clock(100))

    assert list(session.seconds[:5]) == [10, 0, 60, 0, 30]
    assert bucket_of(fleet, 100).seconds[:5] == [10, 0, 60, 0, 30]


def test_a_wall_clock_that_jumps_costs_no_seconds() -> None:
    """NTP may set the date back; the monotonic clock goes on."""
    fleet = live((W, 0))

    fleet.apply(event(X, -3600), (True,), ms(-3600), clock(10))
    only(fleet).accrue(clock(20))

    assert sum(only(fleet).seconds) == 20


def test_stays_are_measured_by_the_gateways_clock() -> None:
    """Delays of delivery do not lengthen them; bounds include their own value."""
    fleet = make_fleet()
    apply(fleet, event(S, 0, received=2))
    apply(fleet, event(W, 5, received=20))

    stay = bucket_of(fleet).stays[ORDINAL[Status.STARTING]]
    assert (stay.total, stay.counts[stay.bounds.index(5)]) == (5, 1)
    assert observed(only(fleet).stays) == {S: (1, 5)}


def test_session_histograms_can_be_switched_off() -> None:
    """The fleet's go on."""
    fleet = live((S, 0), (W, 5), metrics={"session_histograms": False})

    assert not only(fleet).stays
    assert sum(bucket_of(fleet).stays[ORDINAL[Status.STARTING]].counts) == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(W, "working"), (Q, "qr"), ("PASSKEY_REQUIRED", "qr"), (F, "failed"), ("DISCONNECTED", "failed"), (X, "stopped")],
)
def test_a_start_has_an_outcome(status: str, outcome: str) -> None:
    """Its length counts under what came of it."""
    assert observed(bucket_of(live((S, 0), (S, 5), (status, 12))).starts) == {outcome: (1, 12)}


def test_a_start_in_maintenance_is_not_counted() -> None:
    """Slow starts are expected there: WawpSlowStarts is not to fire for them."""
    assert not observed(bucket_of(live((S, 0), (W, 50), maintenance=[window(0, 100)])).starts)
    assert observed(bucket_of(live((S, 0), (W, 50), maintenance=[window(100, 200)])).starts) == {"working": (1, 50)}


def test_an_unknown_end_of_a_start_is_no_outcome() -> None:
    """Nobody knows what came of it."""
    assert not observed(bucket_of(live((S, 0), ("READY", 12))).starts)


@pytest.mark.parametrize(("status", "outcome"), [(W, "working"), (X, "stopped")])
def test_a_login_has_an_outcome(status: str, outcome: str) -> None:
    """Its length is that of the whole episode, whatever it went through."""
    fleet = live((S, 0), (Q, 2), (F, 162), (S, 164), (Q, 166), (status, 202))

    assert observed(bucket_of(fleet).qr_waits) == {outcome: (1, 200)}


def test_a_deleted_login_has_an_outcome() -> None:
    """Somebody gave up."""
    fleet = live((S, 0), (Q, 2))

    fleet.forget(KEY, ms(302), clock(302))

    assert observed(bucket_of(fleet).qr_waits) == {WaitOutcome.DELETED: (1, 300)}


def test_a_recovery_lasts_from_leaving_working_to_working() -> None:
    """Whatever lies between; the first WORKING recovers from nothing."""
    bucket = bucket_of(live((S, 0), (W, 5), (F, 100), (S, 102), (Q, 110), (W, 160)))

    assert (sum(bucket.recovery.counts), bucket.recovery.total) == (1, 60)


def test_a_restart_is_a_recovery() -> None:
    """WORKING, STOPPED, STARTING, WORKING within the 30 s."""
    bucket = bucket_of(live((W, 0), (X, 100), (S, 113), (W, 118)))

    assert (sum(bucket.recovery.counts), bucket.recovery.total) == (1, 18)


def test_a_start_after_a_long_stop_is_no_recovery() -> None:
    """It was stopped because somebody wanted that."""
    bucket = bucket_of(live((W, 0), (X, 100), (S, 3700), (W, 3705)))

    assert sum(bucket.recovery.counts) == 0


def test_the_contracts_limits_are_edges() -> None:
    """60 s of starting and 300 s of waiting can be read off the buckets."""
    bucket = bucket_of(live((W, 0)))

    assert all(60 in histogram.bounds for histogram in bucket.starts.values())
    assert all(300 in histogram.bounds for histogram in bucket.qr_waits.values())


# -- engines


def test_a_change_of_engine_moves_the_session_to_its_bucket() -> None:
    """Seconds stay where they were spent."""
    fleet = live((S, 0))

    apply(fleet, event(W, 10, engine="NOWEB"))

    by_engine = {bucket.engine: bucket for bucket in fleet.buckets.up_to(clock(30))}
    assert only(fleet).engine == "NOWEB"
    assert {engine: sum(bucket.counts) for engine, bucket in by_engine.items()} == {"GOWS": 0, "NOWEB": 1}
    assert sum(by_engine["GOWS"].seconds) + sum(by_engine["NOWEB"].seconds) == 30
    assert {engine: sum(b.slo_counts.values()) for engine, b in by_engine.items()} == {"GOWS": 0, "NOWEB": 1}


def test_an_event_without_an_engine_keeps_the_last_known() -> None:
    """And a session that never named one is of OTHER."""
    fleet = live((S, 0))
    apply(fleet, event(W, 10, engine=None))
    apply(fleet, event(S, 10, engine=None, key=("default", "b")))

    assert {name: session.engine for (_, name), session in fleet.sessions.items()} == {"sales-uk": "GOWS", "b": "OTHER"}


@pytest.mark.parametrize("fresh", [True, False])
def test_an_older_event_does_not_bring_the_old_engine_back(fresh: bool) -> None:
    """Neither a late one nor a retry of one that was applied."""
    fleet = live((S, 0))
    apply(fleet, event(W, 10, engine="NOWEB"))

    apply(fleet, event(S, 5 if fresh else 0, engine="GOWS", received=12), fresh=(fresh,))

    assert only(fleet).engine == "NOWEB"


# -- configuration


def test_a_new_configuration_changes_metadata_and_windows() -> None:
    """Counts go on, and every session is rendered anew."""
    fleet = live((S, 0), (W, 10))
    fleet.changed.clear()

    fleet.reconfigure(
        Rules(config(sessions=[{"owner": "ana"}], maintenance=[window(0, 100)], groups={"g": ["default/sales-uk"]})),
        ms(20),
        clock(20),
    )

    assert (only(fleet).meta.owner, only(fleet).meta.group, only(fleet).maintenance) == ("ana", "g", True)
    assert fleet.changed == {KEY}
    assert transitions(fleet) == {S: 1, W: 1}
    fleet.advance(ms(100), clock(100))
    assert not only(fleet).maintenance


def test_a_new_configuration_touches_only_the_sessions_that_it_changes() -> None:
    """Of a hundred thousand sessions the others need no new lines, and the judge need not look at them."""
    fleet = live((S, 0), (W, 10))
    live((S, 0), (W, 10), key=("default", "other"), fleet=fleet)
    fleet.changed.clear()

    fleet.reconfigure(Rules(config(sessions=[{"session": "other", "owner": "ana"}])), ms(20), clock(20))
    assert fleet.changed == {("default", "other")}

    fleet.reconfigure(Rules(config(thresholds={"failed": "1h"})), ms(30), clock(30))
    assert fleet.changed == {KEY, ("default", "other")}


def test_a_removed_source_takes_its_sessions_along() -> None:
    """What nobody can report on any more must not look alive."""
    fleet = make_fleet(sources={"default": {}, "old": {}})
    live((W, 0), fleet=fleet)
    live((W, 0), key=("old", "a"), fleet=fleet)

    fleet.reconfigure(Rules(config()), ms(10), clock(10))

    assert set(fleet.sessions) == {KEY}
    assert sum(sum(bucket.counts) for bucket in fleet.buckets.up_to(clock(10))) == 1


def test_a_shorter_time_to_forget_holds_at_once() -> None:
    """A plan made under the old configuration does not stand."""
    fleet = live((X, 0))

    fleet.reconfigure(Rules(config(metrics={"forget_stopped_after": "1h"})), ms(10), clock(10))

    assert fleet.advance(ms(HOUR), clock(HOUR)) == [KEY]


# -- ranks


@pytest.mark.parametrize(
    ("story", "rank"),
    [
        ([(W, 0)], Rank.WORKING),
        ([(X, 0)], Rank.STOPPED),
        ([(F, 0), (X, 10)], Rank.STOPPED),
        ([(S, 0)], Rank.TROUBLED),
        ([(W, 0), ("READY", 5)], Rank.TROUBLED),
    ],
)
def test_a_session_has_a_rank(story: list[tuple[str, float]], rank: Rank) -> None:
    """By which room is given."""
    assert only(live(*story)).rank is rank


def test_a_restricted_session_is_in_trouble() -> None:
    """Though it is WORKING."""
    fleet = make_fleet()
    apply(fleet, event(W, 0, limits=[capping()]))

    assert only(fleet).rank is Rank.TROUBLED


def test_trouble_lingers_for_an_hour() -> None:
    """In `troubled` mode a session keeps its series that long after, and then loses them by time alone."""
    fleet = live((F, 0), (W, 10), metrics={"sessions": "troubled"})

    ranks = []
    for at in (10, 10 + HOUR - 1, 10 + HOUR):
        fleet.advance(ms(at), clock(at))
        ranks.append(only(fleet).rank)

    assert ranks == [Rank.WORKING, Rank.WORKING, Rank.UNWANTED]


def test_a_session_never_in_trouble_is_unwanted_in_troubled_mode() -> None:
    """It is counted only."""
    assert only(live((W, 0), metrics={"sessions": "troubled"})).rank is Rank.UNWANTED


def test_new_trouble_ends_the_lingering() -> None:
    """The hour begins with the end of the last."""
    fleet = live((F, 0), (W, 10), (F, 1800), (W, 1810), metrics={"sessions": "troubled"})

    fleet.advance(ms(10 + HOUR), clock(10 + HOUR))
    assert only(fleet).rank is Rank.WORKING
    fleet.advance(ms(1810 + HOUR), clock(1810 + HOUR))
    assert only(fleet).rank is Rank.UNWANTED


# -- memory


def test_a_restored_session_is_as_it_was_and_counts_nothing() -> None:
    """State, engine, restrictions and the last event come back; counters begin at 0."""
    fleet = make_fleet()
    apply(fleet, event(S, 0))
    apply(fleet, event(W, 10, limits=[timelock(until=600)]))
    ((key, memory),) = fleet.take_unsaved()

    again = make_fleet()
    again.restore(key, memory, ms(20), clock(20))

    assert only(again).memory == memory
    assert not transitions(again)
    assert sum(bucket_of(again, 20).transitions.values()) == 0
    assert sum(only(again).seconds) == 0


def test_a_dormant_session_is_awakened_by_its_webhook() -> None:
    """The event meets the state that was saved, not an empty session."""
    ((key, memory),) = live((S, 0), (W, 10)).take_unsaved()
    fleet = make_fleet()
    fleet.dormant[key] = msgspec.json.encode(memory).decode()

    outcome, _ = apply(fleet, event(W, 30))

    assert outcome is Outcome.REPEAT
    assert only(fleet).state.since == ms(10)
    assert not fleet.dormant


def test_the_dormant_are_awakened_a_slice_at_a_time() -> None:
    """A slice says whether there is more; each session is there once, and as it was."""
    fleet = make_fleet()
    for name in "abc":
        ((_, memory),) = live((W, 0), key=("default", name)).take_unsaved()
        fleet.dormant["default", name] = msgspec.json.encode(memory).decode()

    more = [fleet.awaken(2, ms(5), clock(5)) for _ in range(2)]

    assert more == [True, False]
    assert {name for _, name in fleet.sessions} == {"a", "b", "c"}
    assert sum(bucket_of(fleet, 5).counts) == 3


def test_the_sessions_are_counted_once_after_a_start_not_at_each_request() -> None:
    """Requests awaken what is dormant: to count 100,000 sessions for each of them would stall the service."""
    fleet = make_fleet()
    apply(fleet, event(W, 0))

    assert not fleet.awaken(9, ms(5), clock(5))
    fleet.judge.outages.population.clear()  # what a second count would fill again
    assert not fleet.awaken(9, ms(6), clock(6))

    assert not fleet.judge.outages.population


def test_a_new_configuration_reaches_dormant_sessions_too() -> None:
    """Those of a source that is gone do not come back."""
    fleet = make_fleet()
    for source in ("default", "gone"):
        ((key, memory),) = live((W, 0), key=(source, "a")).take_unsaved()
        fleet.dormant[key] = msgspec.json.encode(memory).decode()

    fleet.reconfigure(make_fleet().rules, ms(5), clock(5))

    assert set(fleet.sessions) == {("default", "a")}
    assert not fleet.dormant


def test_only_what_changed_is_to_be_saved() -> None:
    """And it is handed out once."""
    fleet = live((W, 0))
    fleet.take_unsaved()
    live((W, 0), key=("default", "b"), fleet=fleet)

    assert [key for key, _ in fleet.take_unsaved()] == [("default", "b")]
    assert fleet.take_unsaved() == []


# -- passkeys


def test_passkey_statuses_show_once_a_session_has_been_in_them() -> None:
    """And they stay, as a counter must."""
    fleet = live((S, 0))
    assert len(only(fleet).statuses()) == 7

    live(("PASSKEY_REQUIRED", 5), (W, 10), fleet=fleet)

    assert Status.PASSKEY_REQUIRED in only(fleet).statuses()
    assert Status.PASSKEY_REQUIRED in bucket_of(fleet, 10).statuses()


def test_what_was_restored_need_not_be_saved_again() -> None:
    """It is in the state table as it is, until something is heard of it."""
    ((key, memory),) = live((W, 0)).take_unsaved()
    fleet = make_fleet()

    fleet.restore(key, memory, ms(10), clock(10))

    assert fleet.take_unsaved() == []
    live((F, 30), fleet=fleet)
    assert [key for key, _ in fleet.take_unsaved()] == [key]


def test_passkey_statuses_show_after_a_restart_too() -> None:
    """The seconds of the stay that was restored are not lost when it ends."""
    ((key, memory),) = live(("PASSKEY_REQUIRED", 0)).take_unsaved()
    fleet = make_fleet()
    fleet.restore(key, memory, ms(10), clock(10))

    live((W, 30), fleet=fleet)

    assert only(fleet).seconds[ORDINAL[Status.PASSKEY_REQUIRED]] == 20
    assert Status.PASSKEY_REQUIRED in only(fleet).statuses()


def test_a_passkey_status_that_was_back_filled_shows_in_the_fleets_counts() -> None:
    """It took no time here, but it was entered and left."""
    fleet = live((S, 0))

    apply(fleet, event(W, 10, before=[point("PASSKEY_REQUIRED", 5)]))

    assert Status.PASSKEY_REQUIRED in bucket_of(fleet, 10).statuses()


def test_all_login_statuses_begin_a_login() -> None:
    """The set is closed: a new one must be decided on."""
    assert {"SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"} == LOGIN


def test_a_clock_set_right_does_not_make_later_events_late() -> None:
    """A point dated by its receipt is followed by those with true times."""
    fleet = make_fleet()
    apply(fleet, StatusEvent(*KEY, (Point(S, ms(0), 0, ms(HOUR)),), ms(0)))

    assert apply(fleet, event(W, 5)) == (Outcome.TRANSITION, False)


def test_plans_that_were_replaced_do_not_pile_up() -> None:
    """A restriction that ends a little earlier with each event makes a plan each time, due in a year."""
    fleet = live((W, 0))
    for number in range(5000):
        apply(fleet, event(W, number + 1, limits=[timelock(until=400 * DAY - number)]))

    assert len(fleet.wakes) < 3000
    fleet.advance(ms(400 * DAY), clock(400 * DAY))
    assert not only(fleet).restricted(Restriction.REACHOUT_TIMELOCK, ms(400 * DAY))
    assert only(fleet).wake == 0
