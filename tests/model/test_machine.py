"""What sequences of statuses mean: episodes by what real engines send."""

import pytest
from msgspec.structs import replace

from tests.builders import ms, point, state, told, told_all
from wawp_exporter.model.event import Point, Status
from wawp_exporter.model.machine import State, fold, step

S, Q, W, F, X, D = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED"


def episodes(state: State) -> tuple[float, float]:
    """Seconds after T0 at which the login and the down episode began; -1 for none."""
    auth, down = ((start - ms(0)) / 1000 if start else -1 for start in (state.auth_since, state.down_since))
    return auth, down


# -- one step


def test_the_first_point_is_a_transition_from_nothing() -> None:
    """A session appears with its first status, and with no status before it."""
    after, transition = step(None, point(S, at=3))

    assert after.status is Status.STARTING
    assert after.since == ms(3)
    assert transition is not None
    assert transition.before is None
    assert transition.stay_ms == 0


def test_a_repeat_does_not_move_since() -> None:
    """A heartbeat moves the head, by which lateness is judged, and nothing else."""
    after, transition = step(state(W, since=0), point(W, at=40, tie=2))

    assert transition is None
    assert after == state(W, since=0, at=40, tie=2)


def test_another_status_is_a_transition_with_the_length_of_the_stay() -> None:
    """What ended lasted from its own beginning, repeats or not."""
    _, transition = step(state(W, since=10, at=50), point(F, at=70))

    assert transition is not None
    assert transition.stay_ms == 60_000
    assert transition.after.since == ms(70)


@pytest.mark.parametrize(
    ("at", "tie", "outdated"), [(9, 5, True), (10, 0, True), (10, 1, False), (10, 2, False), (11, 0, False)]
)
def test_a_point_is_older_by_time_then_by_tie(at: float, tie: int, outdated: bool) -> None:
    """Of two points with the same millisecond the gateway's own order decides, then arrival."""
    assert state(W, since=10, tie=1).outdates(point(F, at, tie)) is outdated


def test_an_unknown_spelling_is_unknown() -> None:
    """What is not in the contract is a status all the same, and two such spellings are one status."""
    after, _ = step(None, point("READY"))
    again, transition = step(after, Point("PAUSED", ms(1), 0, ms(1)))

    assert after.status is again.status is Status.UNKNOWN
    assert transition is None


def test_folding_nothing_is_no_session() -> None:
    """Without points there is no state."""
    assert fold([]) is None


# -- first pairing


def test_pairing_ends_both_episodes() -> None:
    """GOWS and WEBJS pair by STARTING, SCAN_QR_CODE with each new image, WORKING."""
    steps = told_all((S, 0), (Q, 2), (Q, 62), (Q, 82), (W, 90))

    assert [episodes(after) for after, _ in steps] == [(-1, 0), (2, 0), (2, 0), (2, 0), (-1, -1)]


def test_pairing_of_noweb_keeps_the_login_episode_through_its_second_start() -> None:
    """NOWEB starts anew after the scan; the login episode runs on until WORKING."""
    steps = told_all((S, 0), (Q, 2), (Q, 62), (S, 70), (W, 75))

    assert [episodes(after) for after, _ in steps] == [(-1, 0), (2, 0), (2, 0), (2, 0), (-1, -1)]


def test_a_new_qr_image_is_a_repeat() -> None:
    """SCAN_QR_CODE comes with each image, and its since-time is that of the first."""
    steps = told_all((S, 0), (Q, 2), (Q, 62), (Q, 82))

    assert [transition is not None for _, transition in steps] == [True, True, False, False]
    assert steps[-1][0].since == ms(2)


def test_an_unscanned_qr_stays_one_login_episode() -> None:
    """After about 160 s WAHA says FAILED; WEBJS then starts over for ever: the manager waits since the first image."""
    steps = told_all((S, 0), (Q, 2), (F, 162), (S, 164), (Q, 166), (F, 326), (S, 328), (Q, 330))

    assert {episodes(after) for after, _ in steps[1:]} == {(2, 0)}


def test_passkeys_belong_to_the_login_episode() -> None:
    """GOWS may ask for a passkey and its confirmation between the scan and WORKING."""
    steps = told_all((S, 0), (Q, 2), ("PASSKEY_REQUIRED", 20), ("PASSKEY_CONFIRMATION_REQUIRED", 40), (W, 60))

    assert [episodes(after) for after, _ in steps] == [(-1, 0), (2, 0), (2, 0), (2, 0), (-1, -1)]


def test_a_passkey_alone_begins_a_login_episode() -> None:
    """The QR code's event may have been missed."""
    assert episodes(told((W, 0), ("PASSKEY_REQUIRED", 5))) == (5, 5)


# -- drops and crashes


@pytest.mark.parametrize("lost", [S, F, "DISCONNECTED"])
def test_leaving_working_begins_a_down_episode_but_no_login(lost: str) -> None:
    """Whatever it is lost to, nobody has to scan anything yet."""
    assert episodes(told((W, 0), (lost, 30))) == (-1, 30)


def test_a_reconnect_storm_is_one_down_episode() -> None:
    """NOWEB repeats STARTING with each attempt and FAILS after sixty: down since the first."""
    storm = [(S, 30 + 2 * attempt) for attempt in range(60)]

    after = told((W, 0), *storm, (F, 150))

    assert episodes(after) == (-1, 30)
    assert after.since == ms(150)


def test_a_crash_loop_is_one_down_episode() -> None:
    """WEBJS without a network alternates FAILED (2 s) and STARTING (0.5 s) for ever."""
    loop = [step for n in range(20) for step in ((F, 10 + 2.5 * n), (S, 12 + 2.5 * n))]

    steps = told_all((W, 0), *loop)

    assert {episodes(after) for after, _ in steps[1:]} == {(-1, 10)}
    assert all(transition for _, transition in steps)


def test_a_crash_that_recovers_ends_the_down_episode() -> None:
    """FAILED, STARTING, WORKING within seconds."""
    assert episodes(told((W, 0), (F, 10), (S, 12), (W, 18))) == (-1, -1)


def test_an_unlinked_phone_is_down_until_it_is_paired_again() -> None:
    """FAILED stays; the login episode begins with the QR code of the restart, the down one anew after a long stop."""
    steps = told_all((W, 0), (F, 10), (X, 100), (S, 106), (Q, 108), (W, 150))

    assert [episodes(after) for after, _ in steps] == [(-1, -1), (-1, 10), (-1, -1), (-1, 10), (108, 10), (-1, -1)]


# -- stops


def test_stopped_sets_both_episodes_to_none() -> None:
    """STOPPED is somebody's decision and pages nobody."""
    assert episodes(told((S, 0), (Q, 2), (X, 50))) == (-1, -1)


@pytest.mark.parametrize(
    ("pause", "expected"), [(0, (2, 0)), (13, (2, 0)), (30, (2, 0)), (30.001, (-1, 80.001)), (31, (-1, 81))]
)
def test_starting_within_30_s_of_a_stop_continues_the_episodes(pause: float, expected: tuple[float, float]) -> None:
    """A restart is STOPPED for 3 to 13 s; a session that was stopped for longer begins afresh."""
    assert episodes(told((S, 0), (Q, 2), (X, 50), (S, 50 + pause))) == expected


def test_only_starting_continues_an_episode() -> None:
    """A QR code straight after a stop is a login of its own."""
    assert episodes(told((S, 0), (Q, 2), (X, 50), (Q, 55))) == (55, 55)


# -- why it is lost


def lost(*points: tuple[str, float, str]) -> str:
    """The reason after points, each as (status, at, the reason that its gateway gives)."""
    state = fold(replace(point(status, at), reason=reason) for status, at, reason in points)
    assert state
    return state.reason


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([(W, 0, ""), (F, 1, "logged_out")], "logged_out"),
        ([(W, 0, ""), (F, 1, "")], ""),
        ([(W, 0, ""), (D, 1, "connection_lost"), (S, 2, ""), (D, 3, "other"), (D, 4, "")], "connection_lost"),
        ([(W, 0, ""), (D, 1, "connection_lost"), (D, 4, "timed_out")], "connection_lost"),
        ([(W, 0, ""), (F, 1, "other"), (F, 1.1, "logged_out")], "logged_out"),
        ([(W, 0, ""), (D, 1, "timed_out"), (F, 60, "banned"), (Q, 70, ""), (F, 200, "qr_expired")], "banned"),
        ([(S, 0, ""), (Q, 1, ""), (F, 160, "qr_expired")], "qr_expired"),
    ],
    ids=["given", "none given", "the first", "of equal ones the first", "in a repeat", "a final one", "never worked"],
)
def test_the_reason_of_a_loss_is_the_one_that_says_most(points: list[tuple[str, float, str]], reason: str) -> None:
    """Gateways report one loss several times, and mostly know least at the end."""
    assert lost(*points) == reason


def test_working_ends_the_reason() -> None:
    """The next loss has its own, also where a gateway gives one with WORKING."""
    assert lost((W, 0, ""), (D, 1, "timed_out"), (W, 2, "")) == ""
    assert lost((W, 0, ""), (D, 1, "timed_out"), (W, 2, ""), (W, 3, "other"), (D, 4, "")) == ""


@pytest.mark.parametrize(("pause", "reason"), [(30, "timed_out"), (30.001, "")])
def test_a_reason_lasts_through_a_restart_but_not_through_a_stop(pause: float, reason: str) -> None:
    """As the episodes do: after a decision to stop it, what comes is not the old loss."""
    assert lost((W, 0, ""), (D, 1, "timed_out"), (X, 10, ""), (S, 10 + pause, "")) == reason


def test_unknown_neither_gives_nor_takes_a_reason() -> None:
    """It opens no episode, and closes none."""
    assert lost((W, 0, ""), (D, 1, "timed_out"), ("READY", 2, ""), (S, 3, "")) == "timed_out"


def test_a_restart_of_a_working_session_is_down_from_its_start() -> None:
    """There was no episode to continue."""
    assert episodes(told((W, 0), (X, 50), (S, 63))) == (-1, 63)


def test_a_spurious_stop_before_each_start_changes_no_episode() -> None:
    """WAHA up to 2026.1.1 sends STOPPED some milliseconds before each STARTING."""
    assert episodes(told((W, 0), (F, 10), (X, 12), (S, 12.009), (F, 14), (X, 16), (S, 16.009))) == (-1, 10)


def test_the_first_of_two_stops_counts() -> None:
    """A restart there is STOPPED, STOPPED, STARTING."""
    assert episodes(told((F, 0), (X, 10), (X, 23), (S, 23.002))) == (-1, 0)
    assert episodes(told((F, 0), (X, 10), (X, 41), (S, 41.002))) == (-1, 41.002)


def test_a_logout_begins_a_login_after_the_restart() -> None:
    """Unpairing stops, wipes and starts the session, which then asks for a scan."""
    steps = told_all((W, 0), (X, 10), (S, 23), (Q, 25))

    assert [episodes(after) for after, _ in steps] == [(-1, -1), (-1, -1), (-1, 23), (25, 23)]


# -- unknown


@pytest.mark.parametrize("status", ["UNKNOWN", "READY"])
def test_unknown_opens_no_episode(status: str) -> None:
    """Nobody is paged for a word that nobody knows."""
    assert episodes(told((status, 0))) == (-1, -1)
    assert episodes(told((W, 0), (status, 10))) == (-1, -1)


def test_unknown_closes_no_episode() -> None:
    """What was broken before it is broken still, since the same time."""
    assert episodes(told((S, 0), (Q, 2), ("READY", 10))) == (2, 0)
    assert episodes(told((S, 0), (Q, 2), ("READY", 10), (F, 20))) == (2, 0)


def test_unknown_between_stop_and_start_does_not_hide_a_restart() -> None:
    """The 30 s run from the stop."""
    assert episodes(told((F, 0), (X, 10), ("READY", 12), (S, 20))) == (-1, 0)
    assert episodes(told((F, 0), (X, 10), ("READY", 12), (S, 41))) == (-1, 41)


# -- what histograms and retention need


def test_the_time_of_leaving_working_lasts_until_working() -> None:
    """Recovery is measured over the whole way back, a restart included."""
    steps = told_all((W, 0), (F, 10), (S, 12), (Q, 14), (X, 20), (S, 25), (W, 40))

    assert [after.left_working for after, _ in steps] == [0, *([ms(10)] * 5), 0]


def test_a_long_stop_is_no_recovery() -> None:
    """Somebody stopped it and somebody started it: that is no outage."""
    assert told((W, 0), (X, 10), (S, 3610)).left_working == 0


def test_a_session_that_ever_worked_is_remembered_as_such() -> None:
    """Seconds count towards the objective only from its first WORKING."""
    steps = told_all((S, 0), (Q, 2), (W, 5), (X, 10), (S, 100), (F, 110))

    assert [after.worked for after, _ in steps] == [False, False, True, True, True, True]


def test_a_state_rests_on_its_oldest_time() -> None:
    """The log must keep what began the episodes, not only the present status."""
    assert told((S, 0), (Q, 2), (F, 162)).oldest == ms(0)
    assert told((S, 0), (W, 5), (W, 500)).oldest == ms(5)
    assert told((W, 0), (S, 10), (X, 20)).oldest == ms(10)
