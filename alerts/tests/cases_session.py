"""Cases for session.rules.yml: sessions that go through what real engines do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import series as s
from cases import case, counted, firing, group, reads, sessions, silent, value

Group = dict[str, Any]
SINGLES = (
    "WawpSessionQrWaiting",
    "WawpSessionQrEscalated",
    "WawpSessionQrUnattended",
    "WawpSessionDisconnected",
    "WawpSessionFailed",
    "WawpSessionStuckStarting",
    "WawpSessionFlapping",
    "WawpSessionNotWorking",
    "WawpSessionRestricted",
    "WawpSessionSilent",
    "WawpSessionRecurringDisconnect",
)
MASS = ("WawpMassDisconnect", "WawpMassReauth")
FULL = {"engine": "NOWEB", "group": "sales", "owner": "ana", "tier": "gold"}


def uk(*history: tuple[float, str], **more: Any) -> s.Session:
    return s.Session("sales-uk", history, **more)


def many(n: int, *history: tuple[float, str], prefix: str = "s", **more: Any) -> list[s.Session]:
    return [s.Session(f"{prefix}{i}", history, **more) for i in range(n)]


# --- login episodes -------------------------------------------------------------------------------


@case("session", "WawpSessionQrWaiting")
def a_login_episode_is_reported_at_once_and_ends_two_minutes_after_pairing() -> Group:
    one = uk((1, "WORKING"), (30, "SCAN_QR_CODE"), (60, "WORKING"), **FULL)
    return sessions(
        10,
        200,
        [one],
        [
            *silent("WawpSessionQrWaiting", 20),
            *reads("qr-waiting", 30),
            *firing("WawpSessionQrWaiting", 170),
            *silent("WawpSessionQrWaiting", 180),
        ],
    )


@case("session", "WawpSessionQrWaiting", "WawpSessionQrEscalated")
def an_unscanned_qr_that_turns_failed_stays_one_episode() -> Group:
    """WAHA shows six QR codes in 160 s, then FAILED; WEBJS restarts and begins again."""
    loop = [(t + dt, st) for t in (60, 240) for dt, st in ((0, "STARTING"), (10, "SCAN_QR_CODE"), (170, "FAILED"))]
    return sessions(
        10,
        420,
        [uk((1, "WORKING"), *loop)],
        [
            *firing("WawpSessionQrWaiting", 70, 250, 420),
            *silent("WawpSessionQrEscalated", 370),
            *firing("WawpSessionQrEscalated", 380, 420),
        ],
    )


@case("session", "WawpSessionQrWaiting", "WawpSessionQrEscalated", "WawpSessionQrUnattended")
def pairing_in_time_escalates_nothing() -> Group:
    """A first pairing on NOWEB passes through STARTING after the scan."""
    one = uk((1, "STARTING"), (10, "SCAN_QR_CODE"), (70, "SCAN_QR_CODE"), (90, "STARTING"), (100, "WORKING"))
    return sessions(
        10,
        420,
        [one],
        [
            *firing("WawpSessionQrWaiting", 10, 90),
            *silent("WawpSessionQrWaiting", 0, 220, 420),
            *silent("WawpSessionQrEscalated", 100, 310, 420),
            *silent("WawpSessionQrUnattended", 420),
        ],
    )


@case("session", "WawpSessionQrEscalated")
def a_login_episode_longer_than_its_limit_is_escalated() -> Group:
    one = uk((1, "WORKING"), (60, "SCAN_QR_CODE"), (400, "WORKING"), **FULL)
    return sessions(
        10,
        540,
        [one],
        [
            *silent("WawpSessionQrEscalated", 360),
            *reads("qr-escalated", 370),
            *firing("WawpSessionQrEscalated", 510),
            *silent("WawpSessionQrEscalated", 520),
        ],
    )


@case("session", "WawpSessionQrUnattended")
def a_login_episode_of_more_than_an_hour_goes_to_the_lead() -> Group:
    one = uk((1, "WORKING"), (60, "SCAN_QR_CODE"), (3800, "STOPPED"), **FULL)
    return sessions(
        60,
        4020,
        [one],
        [
            *silent("WawpSessionQrUnattended", 3660),
            *reads("qr-unattended", 3720),
            *silent("WawpSessionQrUnattended", 3960),
        ],
    )


@case("session", "WawpSessionQrEscalated", "WawpSessionQrUnattended", "WawpSessionNotWorking")
def a_session_with_its_own_limits_follows_them_and_another_the_defaults() -> Group:
    history = [(1, "WORKING"), (60, "SCAN_QR_CODE")]
    own = uk(*history, thresholds={"qr_escalate": 100, "qr_unattended": 150, "down": 200, "starting": 7, "failed": 8})
    return sessions(
        10,
        330,
        [own, s.Session("other", history)],
        [
            *silent("WawpSessionQrEscalated", 160),
            *firing("WawpSessionQrEscalated", 170, 310, session="sales-uk"),
            *silent("WawpSessionQrUnattended", 210),
            *firing("WawpSessionQrUnattended", 220, 310, session="sales-uk"),
            *silent("WawpSessionNotWorking", 260),
            *firing("WawpSessionNotWorking", 270, 310, session="sales-uk"),
        ],
    )


@case("session", "WawpSessionQrEscalated")
def the_escalation_comes_at_its_time_though_the_exporter_was_killed_in_the_middle() -> Group:
    """The restarted exporter has the episode back from its log; nothing is said to be over meanwhile."""
    one = uk((1, "WORKING"), (60, "SCAN_QR_CODE"))
    target = s.Target(gaps=[(200, 260)], restarts=[255])
    return sessions(
        10,
        380,
        [one],
        [
            *firing("WawpSessionQrWaiting", 190, 210, 250, 270),
            *silent("WawpSessionQrEscalated", 360),
            *firing("WawpSessionQrEscalated", 370),
        ],
        targets=[target],
    )


@case("session", "WawpSessionQrWaiting", "WawpSessionQrEscalated")
def a_passkey_prompt_is_a_login_episode_too() -> Group:
    one = uk((1, "WORKING"), (60, "PASSKEY_REQUIRED"), (100, "PASSKEY_CONFIRMATION_REQUIRED"))
    return sessions(10, 370, [one], [*firing("WawpSessionQrWaiting", 60, 370), *firing("WawpSessionQrEscalated", 370)])


# --- single statuses ------------------------------------------------------------------------------


@case("session", "WawpSessionDisconnected")
def a_disconnected_session_is_reported_at_once() -> Group:
    one = uk((1, "WORKING"), (30, "DISCONNECTED"), (60, "WORKING"), **FULL)
    return sessions(
        10,
        190,
        [one],
        [
            *silent("WawpSessionDisconnected", 20),
            *reads("disconnected", 30),
            *firing("WawpSessionDisconnected", 170),
            *silent("WawpSessionDisconnected", 180),
        ],
    )


@case("session", "WawpSessionDisconnected", "WawpSessionQrWaiting", "WawpSessionFailed")
def a_clock_that_runs_ahead_mutes_nothing_that_is_at_once_and_makes_no_negative_age() -> Group:
    """The exporter's clock is 40 s ahead of Prometheus's: since-times lie in the future."""
    ahead = [(30, "DISCONNECTED"), (70, "SCAN_QR_CODE")]
    rows = s.session_series(uk((1, "WORKING"), *ahead), range(0, 101, 10))
    for row in rows:
        if "since_timestamp" in row["series"]:
            row["values"] = s.values([0] * 3 + [70] * 4 + [110] * 4)
    limits = s.default_series(range(0, 101, 10))
    return group(
        10,
        [*rows, *limits],
        [
            *firing("WawpSessionDisconnected", 30),
            *firing("WawpSessionQrWaiting", 70),
        ],
    )


@case("session", "WawpSessionFailed")
def a_failed_session_is_reported_after_its_limit() -> Group:
    one = uk((1, "WORKING"), (30, "FAILED"), (60, "WORKING"), **FULL)
    return sessions(
        10,
        200,
        [one],
        [
            *silent("WawpSessionFailed", 40),
            *reads("failed", 50),
            *firing("WawpSessionFailed", 170),
            *silent("WawpSessionFailed", 180),
        ],
    )


@case("session", "WawpSessionFailed", "WawpSessionStuckStarting")
def limits_of_their_own_hold_for_failed_and_starting() -> Group:
    limits = {"failed": 40, "starting": 30, "down": 9}
    return sessions(
        10,
        150,
        [
            uk((1, "WORKING"), (30, "FAILED"), thresholds=limits),
            s.Session("starts", [(1, "WORKING"), (30, "STARTING")], thresholds=limits),
        ],
        [
            *silent("WawpSessionFailed", 70),
            *firing("WawpSessionFailed", 80, session="sales-uk"),
            *silent("WawpSessionStuckStarting", 60),
            *firing("WawpSessionStuckStarting", 70, session="starts"),
        ],
    )


@case("session", "WawpSessionFailed", "WawpSessionStuckStarting", "WawpSessionNotWorking")
def a_webjs_crash_that_mends_itself_pages_nobody() -> Group:
    """The captured sequence: FAILED, 2 s later STARTING, WORKING."""
    one = uk((1, "WORKING"), (28, "FAILED"), (30, "STARTING"), (45, "WORKING"), engine="WEBJS")
    return sessions(10, 200, [one], [c for a in SINGLES for c in silent(a, 30, 50, 100, 200)], healthy=2)


@case("session", "WawpSessionFailed", "WawpSessionStuckStarting")
def a_stay_is_as_long_as_the_last_scrape_saw_it() -> Group:
    """Scraped each 15 s, evaluated each 5 s: FAILED for 2 s and STARTING for 59 s are told by nobody, longer stays are.

    A second target is scraped at other times, and so is another job.
    """
    times = range(0, 111, 5)
    members = [
        uk((1, "WORKING"), (29, "FAILED"), (31, "STARTING"), (44, "WORKING"), engine="WEBJS"),
        s.Session("short", [(1, "WORKING"), (29, "FAILED"), (31, "WORKING")], thresholds={"failed": 5}),
        s.Session("starts", [(1, "WORKING"), (16, "STARTING"), (75.5, "WORKING")]),
        s.Session("fails", [(1, "WORKING"), (31, "FAILED")]),
    ]
    rows = [scraped(row, times, 0) for m in members for row in s.session_series(m, times)]
    ups = {("wawp-exporter", "a:1"): (0, 15), ("wawp-exporter", "b:1"): (5, 15), ("other", "c:1"): (0, 5)}
    rows += [
        scraped(s.one("up", [1] * len(times), job=job, instance=instance), times, *when)
        for (job, instance), when in ups.items()
    ]
    early = range(30, 50, 5)
    return group(
        5,
        [*rows, *s.default_series(times)],
        [
            *silent("WawpSessionFailed", *early),
            *firing("WawpSessionFailed", *range(50, 111, 5), session="fails"),
            *silent("WawpSessionStuckStarting", *times),
        ],
    )


def scraped(row: s.Series, times: range, first: int, every: int = 15) -> s.Series:
    """The row with the samples of a target that is scraped each `every` seconds from `first` on."""
    samples = zip(times, expand(row["values"]), strict=True)
    return row | {"values": s.values([v if t % every == first else "_" for t, v in samples])}


@case("session", "WawpSessionStuckStarting")
def a_session_is_stuck_after_its_starting_limit() -> Group:
    one = uk((1, "WORKING"), (30, "STARTING"), (110, "WORKING"), **FULL)
    return sessions(
        10,
        250,
        [one],
        [
            *silent("WawpSessionStuckStarting", 90),
            *reads("stuck-starting", 100),
            *firing("WawpSessionStuckStarting", 220),
            *silent("WawpSessionStuckStarting", 230),
        ],
    )


@case("session", "WawpSessionStuckStarting", "WawpSessionFailed", "WawpSessionNotWorking")
def noweb_repeating_starting_every_two_seconds_is_still_one_start() -> Group:
    """NOWEB re-sends STARTING with each attempt, up to 60 times, then FAILED."""
    loop = [(30 + 2 * i, "STARTING") for i in range(60)]
    return sessions(
        10,
        180,
        [uk((1, "WORKING"), *loop, (150, "FAILED"))],
        [
            *silent("WawpSessionStuckStarting", 90),
            *firing("WawpSessionStuckStarting", 100),
            *silent("WawpSessionFailed", 160),
            *firing("WawpSessionFailed", 170),
        ],
    )


@case("session", "WawpSessionNotWorking")
def a_session_down_for_longer_than_its_limit_is_reported_whatever_it_goes_through() -> Group:
    loop = [(60 + 30 * i, st) for i, st in enumerate(["STARTING", "DISCONNECTED"] * 20)]
    one = uk((1, "WORKING"), *loop, (1260, "WORKING"), **FULL)
    return sessions(
        30,
        1440,
        [one],
        [
            *silent("WawpSessionNotWorking", 960),
            *reads("not-working", 990),
            *firing("WawpSessionNotWorking", 1350),
            *silent("WawpSessionNotWorking", 1380),
        ],
    )


@case("session", "WawpSessionFlapping")
def the_fourth_entry_to_a_status_within_15_minutes_is_flapping() -> Group:
    up_down = [(60 + 120 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 4)]
    return sessions(
        30,
        1920,
        [uk((1, "WORKING"), *up_down, **FULL)],
        [
            *silent("WawpSessionFlapping", 750),
            *reads("flapping", 780),
            *firing("WawpSessionFlapping", 990),
            *silent("WawpSessionFlapping", 1920),
        ],
    )


@case("session", "WawpSessionFlapping")
def a_restart_loop_is_one_flapping_alert_though_the_exporter_restarts_in_it() -> Group:
    loop = [(60 + 60 * i + dt, st) for i in range(8) for dt, st in ((0, "STOPPED"), (10, "STARTING"), (20, "WORKING"))]
    return sessions(
        30,
        540,
        [uk((1, "WORKING"), *loop)],
        [*silent("WawpSessionFlapping", 180), *firing("WawpSessionFlapping", 330, 360, 510, 540)],
        targets=[s.Target(restarts=[200])],
    )


@case("session", "WawpSessionFlapping")
def two_targets_do_not_double_the_entries_and_unknown_does_not_count() -> Group:
    up_down = [(60 + 120 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 2)]
    odd = [(60 + 60 * i, st) for i, st in enumerate(["UNKNOWN", "STARTING", "UNKNOWN", "FAILED"] * 3)]
    return sessions(
        30,
        840,
        [uk((1, "WORKING"), *up_down), s.Session("odd", [(1, "WORKING"), *odd])],
        [*silent("WawpSessionFlapping", 600, 840)],
        targets=[s.Target("a:1"), s.Target("b:1")],
    )


@case("session", "WawpSessionFlapping")
def a_loop_is_one_whichever_status_of_it_is_counted() -> Group:
    """A browser that closes and opens, a code that nobody scans, a phone that is lost again and again."""
    loops = {
        "opens": ("STOPPED", "WORKING"),
        "unscanned": ("SCAN_QR_CODE", "FAILED"),
        "lost": ("UNKNOWN", "DISCONNECTED"),
    }
    members = [
        s.Session(name, [(1, "WORKING"), *((70 + 10 * (i % 2) + 60 * (i // 2), loop[i % 2]) for i in range(16))])
        for name, loop in loops.items()
    ]
    each = {(("session", name),): 1 for name in loops}
    return sessions(
        30,
        540,
        members,
        [*silent("WawpSessionFlapping", 180), *counted("WawpSessionFlapping", each, 360, 540, by="session")],
    )


@case("session", "WawpSessionFlapping")
def whoever_stops_a_flapping_session_is_told_no_more() -> Group:
    up_down = [(60 + 30 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 4)]
    return sessions(
        30,
        540,
        [uk((1, "WORKING"), *up_down, (330, "STOPPED"))],
        [*firing("WawpSessionFlapping", 300, 420), *silent("WawpSessionFlapping", 450, 540)],
    )


def told_by_mass(mass: str, *statuses: str) -> Group:
    """Five loop through these statuses for four minutes, one of them again later; others flap by themselves.

    One of the same engine is taken for a part of it, whatever it was seen in.
    """
    loop = [(60 + 10 * i, statuses[i % len(statuses)]) for i in range(24)]
    again = [(1300 + 10 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 4)]
    flaps = [(60 + 30 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 8)]
    members = many(5, (1, "WORKING"), *loop, (300, "WORKING"), engine="WEBJS")
    members[0] = replace(members[0], history=[*members[0].history, *again])
    others = [
        s.Session("part", [(1, "WORKING"), *flaps], engine="WEBJS"),
        s.Session("alone", [(1, "WORKING"), *flaps], engine="GOWS"),
        s.Session("s1", [(1, "WORKING"), *flaps], "two", engine="WEBJS"),
    ]
    both = {(("source", "default"), ("session", "alone")): 1.0, (("source", "two"), ("session", "s1")): 1.0}
    return sessions(
        10,
        1400,
        [*members, *others],
        [
            *firing(mass, 80, 290, source="default"),
            *silent("WawpSessionFlapping", 140),
            *counted("WawpSessionFlapping", both, 300, 600, 800, 1000, 1140, by="source, session"),
            *firing("WawpSessionFlapping", 1400, session="s0"),
        ],
        healthy=3,
    )


@case("session", "WawpSessionFlapping")
def who_was_lost_in_a_mass_is_not_told_of_as_flapping_when_it_is_over() -> Group:
    """WEBJS in an outage fails and starts again every few seconds."""
    return told_by_mass("WawpMassDisconnect", "FAILED", "STARTING")


@case("session", "WawpSessionFlapping")
def who_was_logged_out_with_many_is_not_told_of_as_flapping_either() -> Group:
    """WEBJS that nobody pairs shows QR codes, fails and starts again."""
    return told_by_mass("WawpMassReauth", "STARTING", "SCAN_QR_CODE")


@case("session", "WawpSessionRestricted")
def a_restricted_account_is_reported_while_working_each_restriction_for_itself() -> Group:
    one = uk(
        (1, "WORKING"),
        (300, "STOPPED"),
        restricted={"reachout_timelock": [(30, 900)], "message_capping": [(90, 900)]},
        **FULL,
    )
    return sessions(
        10,
        440,
        [one],
        [
            *silent("WawpSessionRestricted", 20),
            *reads("restricted", 30),
            *counted("WawpSessionRestricted", {(("session", "sales-uk"),): 2}, 90, 410, by="session"),
            *silent("WawpSessionRestricted", 420),
        ],
        targets=[s.Target("a:1"), s.Target("b:1")],
    )


@case("session", "WawpSessionSilent")
def a_working_session_without_any_event_for_its_limit_is_silent() -> Group:
    one = uk((1, "WORKING"), (30, "WORKING"), (700, "WORKING"), **FULL)
    return sessions(
        30,
        900,
        [one],
        [
            *silent("WawpSessionSilent", 330),
            *reads("silent", 360),
            *firing("WawpSessionSilent", 690),
            *silent("WawpSessionSilent", 840),
        ],
        limits={"silent": 300},
    )


@case("session", "WawpSessionSilent")
def silence_is_nobodys_business_while_off_not_working_or_never_heard() -> Group:
    """Off by default, off for one session by its own 0, and a last event of 0 is none."""
    return sessions(
        30,
        600,
        [
            uk((1, "WORKING"), source="off"),
            s.Session("own-off", [(1, "WORKING")], source="on", thresholds={"silent": 0}),
            s.Session("never", [(1, "WORKING")], source="on", events=[]),
            s.Session("paused", [(1, "STOPPED")], source="on"),
            s.Session("own", [(1, "WORKING")], source="off", thresholds={"silent": 479, "down": 60}),
            s.Session("never-own", [(1, "WORKING")], source="off", events=[], thresholds={"silent": 100}),
        ],
        [*silent("WawpSessionSilent", 480), *firing("WawpSessionSilent", 540, session="own")],
        extra=[
            s.one("wawp_threshold_default_seconds", [300] * 21, source="on", kind="silent", instance="x:1"),
        ],
        limits={"silent": 0},
        targets=[s.Target("a:1"), s.Target("b:1")],
    )


@case("session", "WawpSessionSilent")
def silence_of_a_name_on_one_source_says_nothing_of_another() -> Group:
    """The same names on two sources: with a limit of its own and without, working and not; 1 s is a limit too."""
    members = [
        s.Session("x", [(1, "WORKING")], "one", thresholds={"silent": 600}),
        s.Session("x", [(1, "WORKING")], "two"),
        s.Session("y", [(1, "WORKING")], "one"),
        s.Session("y", [(1, "FAILED")], "two"),
        s.Session("z", [(1, "WORKING")], "one"),
        s.Session("z", [(1, "WORKING")], "two", thresholds={"silent": 1}),
    ]
    both = [s.Target("a:1"), s.Target("b:1")]
    return sessions(
        30,
        150,
        members,
        [
            *counted("WawpSessionSilent", pairs(two="z"), 60, by="source, session"),
            *counted("WawpSessionSilent", pairs(one="yz", two="xz"), 150, by="source, session"),
        ],
        limits={"silent": 100},
        targets=both,
    )


@case("session", "WawpSessionRecurringDisconnect")
def the_same_hour_in_three_weeks_is_a_pattern() -> Group:
    """Three and no two; where targets disagree, for one has just counted another week, the larger number is told."""
    one = uk((1, "WORKING"), recurring=[("Monday", "3", 3), ("Friday", "4", 2)], **FULL)
    more = uk((1, "WORKING"), recurring=[("Monday", "3", 4)], **FULL)
    both = [s.Target("a:1"), s.Target("b:1")]
    late = s.session_series(more, range(0, 21, 10), [s.Target("c:1")])
    return sessions(10, 20, [one], [*reads("recurring", 10)], targets=both, extra=late)


@case("session", "WawpSessionRecurringDisconnect")
def exactly_three_weeks_are_enough() -> Group:
    one = uk((1, "WORKING"), recurring=[("Monday", "3", 3)])
    return sessions(10, 20, [one], firing("WawpSessionRecurringDisconnect", 10, weekday="Monday"))


# --- who is excused -------------------------------------------------------------------------------


@case("session", *SINGLES, *MASS)
def stopped_pages_nobody() -> Group:
    """A restart is STOPPED, STARTING, WORKING within seconds; a stop is somebody's decision."""
    restart = uk((1, "WORKING"), (60, "STOPPED"), (63, "STARTING"), (68, "WORKING"), (200, "STOPPED"))
    return sessions(
        10,
        900,
        [restart, *many(4, (1, "WORKING"), (60, "STOPPED"))],
        [c for a in (*SINGLES, *MASS) for c in silent(a, 60, 70, 130, 200, 400, 900)],
    )


@case("session", *SINGLES, *MASS)
def maintenance_silences_every_alert_and_what_is_still_broken_fires_at_its_end() -> Group:
    """Clocks go on: at the end of the window a session that is overdue by then is reported at once."""
    kinds = ["DISCONNECTED", "FAILED", "STARTING", "SCAN_QR_CODE"]
    limits = {"qr_unattended": 400, "down": 100, "silent": 50}
    window = [(30.0, 490.0)]
    flap = [(100 + 10 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 6)]
    broken = [s.Session(f"is-{k}", [(1, "WORKING"), (60, k)], maintenance=window, thresholds=limits) for k in kinds]
    quiet = [
        s.Session("restricted", [(1, "WORKING")], maintenance=window, restricted={"message_capping": [(40, 999)]}),
        s.Session("mute", [(1, "WORKING")], maintenance=window, thresholds={"silent": 50}),
        s.Session("again", [(1, "WORKING")], maintenance=[(0, 490)], recurring=[("Monday", "3", 4)]),
        s.Session("flaps", [(1, "WORKING"), *flap], maintenance=window),
    ]
    return sessions(
        10,
        490,
        [*broken, *quiet],
        [
            *[c for a in (*SINGLES, *MASS) for c in silent(a, 60, 300, 480)],
            *firing("WawpSessionDisconnected", 490, session="is-DISCONNECTED"),
            *firing("WawpSessionFailed", 490, session="is-FAILED"),
            *firing("WawpSessionStuckStarting", 490, session="is-STARTING"),
            *firing("WawpSessionQrWaiting", 490, session="is-SCAN_QR_CODE"),
            *firing("WawpSessionQrEscalated", 490, session="is-SCAN_QR_CODE"),
            *firing("WawpSessionQrUnattended", 490, session="is-SCAN_QR_CODE"),
            *counted("WawpSessionNotWorking", {(): 4}, 490, by=""),
            *firing("WawpSessionRestricted", 490, session="restricted"),
            *firing("WawpSessionSilent", 490, session="mute"),
            *firing("WawpSessionRecurringDisconnect", 490, session="again"),
            *firing("WawpSessionFlapping", 490, session="flaps"),
        ],
        targets=[s.Target("a:1")],
    )


@case("session", *SINGLES, *MASS)
def unknown_pages_nobody_here() -> Group:
    members = many(5, (1, "WORKING"), (60, "UNKNOWN"))
    return sessions(10, 400, members, [c for a in (*SINGLES, *MASS) for c in silent(a, 60, 130, 400)])


@case("session", "WawpSessionNotWorking", "WawpMassDisconnect")
def unknown_within_an_outage_is_never_lost_but_ends_no_episode() -> Group:
    members = many(3, (1, "WORKING"), (60, "STARTING"), (65, "UNKNOWN"))
    return sessions(
        10,
        250,
        members,
        [*silent("WawpMassDisconnect", 130, 250), *counted("WawpSessionNotWorking", {(): 3}, 250, by="")],
        limits={"down": 100},
    )


# --- targets, gaps, restarts ----------------------------------------------------------------------


@case("session", *SINGLES)
def two_targets_page_once() -> Group:
    """While a pod moves both are scraped; engine and owner may differ between them for a moment."""
    a, b = s.Target("a:1"), s.Target("b:1")
    limits = {"qr_escalate": 50, "qr_unattended": 60, "down": 70, "failed": 10, "starting": 20, "silent": 0}
    members = [
        s.Session(k, [(1, "WORKING"), (30, k)], thresholds=limits, **FULL)
        for k in ("DISCONNECTED", "FAILED", "STARTING", "SCAN_QR_CODE")
    ]
    loop = [(30 + 10 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 4)]
    members += [
        s.Session("flaps", [(1, "WORKING"), *loop], **FULL),
        s.Session("quiet", [(1, "WORKING")], thresholds={"silent": 50}, **FULL),
        s.Session("weekly", [(1, "WORKING")], recurring=[("Monday", "3", 3)], **FULL),
        s.Session("limited", [(1, "WORKING")], restricted={"message_capping": [(30, 999)]}, **FULL),
    ]
    times = range(0, 151, 10)
    other = [row for m in members for row in s.session_series(replace(m, engine="GOWS", owner="bob"), times, [b])]
    return sessions(
        10,
        150,
        members,
        [
            *firing("WawpSessionDisconnected", 100, session="DISCONNECTED"),
            *firing("WawpSessionFailed", 100, session="FAILED"),
            *firing("WawpSessionStuckStarting", 100, session="STARTING"),
            *firing("WawpSessionQrWaiting", 100, session="SCAN_QR_CODE"),
            *firing("WawpSessionQrEscalated", 100, session="SCAN_QR_CODE"),
            *firing("WawpSessionQrUnattended", 100, session="SCAN_QR_CODE"),
            *counted("WawpSessionNotWorking", {(("session", m.name),): 1 for m in members[:4]}, 150, by="session"),
            *firing("WawpSessionFlapping", 150, session="flaps"),
            *firing("WawpSessionSilent", 150, session="quiet"),
            *firing("WawpSessionRecurringDisconnect", 150, session="weekly"),
            *firing("WawpSessionRestricted", 150, session="limited"),
        ],
        targets=[a],
        extra=other,
        healthy=40,
    )


@case("session", *SINGLES)
def a_moved_pod_changes_no_alert() -> Group:
    """The old pod's series end, the new one's begin, with an overlap: the same alert goes on firing."""
    moved = [s.Target("old:1", up=(0, 120)), s.Target("new:1", up=(100, 999))]
    one = uk((1, "WORKING"), (30, "DISCONNECTED"))
    seen = list(range(30, 201, 10))
    return sessions(10, 200, [one], [*firing("WawpSessionDisconnected", *seen)], targets=moved)


@case("session", "WawpSessionDisconnected", "WawpMassDisconnect")
def a_gap_in_scraping_resolves_nothing() -> Group:
    members = many(3, (1, "WORKING"), (30, "DISCONNECTED"))
    return sessions(
        10,
        600,
        members,
        [
            *counted("WawpSessionDisconnected", {(): 3}, 90, 200, 220, 600, by=""),
            *firing("WawpMassDisconnect", 90, 210, 230, 400, 600),
        ],
        targets=[s.Target(gaps=[(100, 200)], restarts=[150])],
    )


@case("session", "WawpSessionDisconnected", "WawpSessionFailed", "WawpSessionStuckStarting", "WawpSessionQrWaiting")
def one_missing_series_silences_only_what_it_is_needed_for() -> Group:
    down = ("wawp_session_down_since_timestamp_seconds", "wawp_session_auth_required_since_timestamp_seconds")
    members = [s.Session(k, [(1, "WORKING"), (30, k)], without=down) for k in ("DISCONNECTED", "FAILED", "STARTING")]
    qr = s.Session("qr", [(1, "WORKING"), (30, "SCAN_QR_CODE")], without=down[:1])
    since = ("wawp_session_status_since_timestamp_seconds",)
    undated = s.Session("undated", [(1, "WORKING"), (30, "FAILED")], without=(*down, *since))
    return sessions(
        10,
        120,
        [*members, qr, undated],
        [
            *firing("WawpSessionDisconnected", 120, session="DISCONNECTED"),
            *firing("WawpSessionFailed", 120, session="FAILED"),
            *firing("WawpSessionStuckStarting", 120, session="STARTING"),
            *firing("WawpSessionQrWaiting", 120, session="qr"),
            *silent("WawpSessionNotWorking", 120),
        ],
    )


@case("session", *SINGLES)
def sessions_of_the_same_name_on_two_sources_are_two() -> Group:
    limits = {"failed": 10}
    a = s.Session("default", [(1, "WORKING"), (30, "FAILED")], source="one", engine="GOWS", thresholds=limits)
    b = s.Session("default", [(1, "WORKING")], source="two", engine="WEBJS")
    return sessions(10, 60, [a, b], [*firing("WawpSessionFailed", 60, source="one", session="default", engine="GOWS")])


KINDS = {"D": "DISCONNECTED", "F": "FAILED", "S": "STARTING", "Q": "SCAN_QR_CODE"}
OWN = {"failed": 20.0, "starting": 30.0, "qr_escalate": 40.0, "qr_unattended": 50.0, "down": 60.0, "silent": 70.0}


def household(source: str, **more: Any) -> list[s.Session]:
    """A session in each kind of trouble since 30 s, named by it."""
    loop = [(30 + 10 * i, st) for i, st in enumerate(["STARTING", "WORKING"] * 4)]
    return [
        *[s.Session(k, [(1, "WORKING"), (30, st)], source, **more) for k, st in KINDS.items()],
        s.Session("W", [(1, "WORKING")], source, **more),
        s.Session("R", [(1, "WORKING")], source, restricted={"message_capping": [(30, 999)]}, **more),
        s.Session("P", [(1, "WORKING")], source, recurring=[("Monday", "3", 3)], **more),
        # Of another engine: the others together are a mass loss, which excuses who flaps.
        s.Session("X", [(1, "WORKING"), *loop], source, engine="GOWS", **more),
    ]


def pairs(**names: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {(("source", source), ("session", name)): 1.0 for source, found in names.items() for name in found}


@case("session", *SINGLES)
def every_session_is_judged_by_its_own_source_limits_and_maintenance() -> Group:
    """The same names on four sources: with limits of their own, without, in maintenance, and stopped."""
    stopped = [s.Session(m.name, [*m.history, (105, "STOPPED")], "four") for m in household("four")]
    members = [
        *household("one", thresholds=OWN),
        s.Session("M", [(1, "WORKING"), (30, "DISCONNECTED")], "one", maintenance=[(0, 999)]),
        s.Session("Z", [(1, "WORKING"), (30, "STOPPED")], "one", thresholds=OWN),
        *household("two"),
        *household("three", maintenance=[(0, 999)], thresholds=OWN),
        *stopped,
    ]
    by = "source, session"
    return sessions(
        10,
        240,
        members,
        [
            *counted("WawpSessionDisconnected", pairs(one="D", two="D"), 240, by=by),
            *counted("WawpSessionFailed", pairs(one="F", two="F"), 240, by=by),
            *counted("WawpSessionStuckStarting", pairs(one="S", two="S"), 240, by=by),
            *counted("WawpSessionQrWaiting", pairs(one="Q", two="Q"), 240, by=by),
            *counted("WawpSessionQrEscalated", pairs(one="Q"), 240, by=by),
            *counted("WawpSessionQrUnattended", pairs(one="Q"), 240, by=by),
            *counted("WawpSessionNotWorking", pairs(one="DFSQ"), 240, by=by),
            *counted("WawpSessionRestricted", pairs(one="R", two="R"), 240, by=by),
            *counted("WawpSessionRecurringDisconnect", pairs(one="P", two="P"), 240, by=by),
            *counted("WawpSessionFlapping", pairs(one="X", two="X"), 240, by=by),
            *counted("WawpSessionSilent", pairs(one="WRPX"), 240, by=by),
        ],
    )


def disagreeing(
    name: str, status: str, kind: str, seconds: float, end: int, instances: tuple[str, ...]
) -> list[s.Series]:
    """A session with a limit, seen alike by some targets; one is stuck in the past, one dates the trouble earlier."""
    times = range(0, end + 1, 10)
    early = s.Session(name, [(10, status)], "odd", thresholds={kind: seconds})
    one = s.Session(name, [(1, "WORKING"), (30, status)], "odd", thresholds={kind: seconds})
    old = s.Session(name, [(1, "WORKING")], "odd", thresholds={kind: seconds / 4})
    return [
        *s.session_series(one, times, [s.Target(i) for i in instances]),
        *s.session_series(old, times, [s.Target("stuck:1")]),
        *s.session_series(early, times, [s.Target("early:1")]),
    ]


@case("session", *SINGLES)
def targets_that_disagree_neither_hide_a_session_nor_add_up() -> Group:
    """The longest limit and the newest time count: one target is stuck in the past, two say the same."""
    wanted = (
        ("WawpSessionFailed", "F", "FAILED", "failed", 40),
        ("WawpSessionStuckStarting", "S", "STARTING", "starting", 50),
        ("WawpSessionQrEscalated", "Q", "SCAN_QR_CODE", "qr_escalate", 60),
        ("WawpSessionQrUnattended", "U", "SCAN_QR_CODE", "qr_unattended", 70),
        ("WawpSessionNotWorking", "N", "DISCONNECTED", "down", 80),
    )
    rows = [r for _, n, st, kind, t in wanted for r in disagreeing(n, st, kind, t, 140, ("a:1", "b:1"))]
    checks = [c for alert, n, _, _, t in wanted for c in (*silent(alert, 30 + t), *firing(alert, 40 + t, session=n))]
    limits = s.default_series(range(0, 141, 10), "odd", failed=999, starting=999)
    return group(10, [*rows, *limits], checks)


@case("session", *SINGLES)
def default_limits_of_targets_that_disagree_do_not_add_up_either() -> Group:
    """While a new default is rolled out the longer one counts."""
    kinds = {"F": ("FAILED", 40.0), "S": ("STARTING", 50.0), "Q": ("SCAN_QR_CODE", 60.0), "D": ("DISCONNECTED", 80.0)}
    times = range(0, 141, 10)
    rows = [
        r for n, (st, _) in kinds.items() for r in s.session_series(s.Session(n, [(1, "WORKING"), (30, st)]), times)
    ]
    limits = {"failed": 40.0, "starting": 50.0, "qr_escalate": 60.0, "qr_unattended": 70.0, "down": 80.0}
    for n, share in (("a:1", 1.0), ("b:1", 1.0), ("c:1", 0.5)):
        rows += [
            s.one("wawp_threshold_default_seconds", [v * share] * 15, source="default", kind=k, instance=n)
            for k, v in limits.items()
        ]
    return group(
        10,
        rows,
        [
            *silent("WawpSessionFailed", 70),
            *firing("WawpSessionFailed", 80, session="F"),
            *silent("WawpSessionStuckStarting", 80),
            *firing("WawpSessionStuckStarting", 90, session="S"),
            *silent("WawpSessionQrEscalated", 90),
            *firing("WawpSessionQrEscalated", 100, session="Q"),
            *silent("WawpSessionQrUnattended", 100),
            *firing("WawpSessionQrUnattended", 110, session="Q"),
            *silent("WawpSessionNotWorking", 110),
            *counted("WawpSessionNotWorking", {(): 4}, 120, by=""),
        ],
    )


@case("session", "WawpSessionSilent")
def silence_is_measured_by_the_newest_target_and_the_longest_limit() -> Group:
    times = range(0, 301, 30)
    new = s.Session("own", [(1, "WORKING"), (91, "WORKING")], thresholds={"silent": 100})
    old = s.Session("own", [(1, "WORKING")], thresholds={"silent": 25})
    plain_new, plain_old = (s.Session("plain", m.history) for m in (new, old))
    rows = [
        *[r for m in (new, plain_new) for r in s.session_series(m, times, [s.Target("a:1"), s.Target("b:1")])],
        *[r for m in (old, plain_old) for r in s.session_series(m, times, [s.Target("c:1")])],
        *[
            s.one("wawp_threshold_default_seconds", [v] * 11, source="default", kind="silent", instance=n)
            for n, v in (("a:1", 130), ("b:1", 130), ("c:1", 30))
        ],
    ]
    return group(
        30,
        rows,
        [
            *silent("WawpSessionSilent", 180),
            *firing("WawpSessionSilent", 210, session="own"),
            *counted("WawpSessionSilent", {(("session", "own"),): 1, (("session", "plain"),): 1}, 240, by="session"),
        ],
    )


# --- mass -----------------------------------------------------------------------------------------


@case("session", "WawpMassDisconnect")
def three_of_fifteen_lost_within_five_minutes_are_a_mass_disconnect() -> Group:
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 + 120 * i, "DISCONNECTED"), (700, "WORKING")]) for i in range(3)]
    return sessions(
        10,
        900,
        lost,
        [
            *silent("WawpMassDisconnect", 290),
            *reads("mass-disconnect", 300),
            *firing("WawpMassDisconnect", 690, 870),
            *silent("WawpMassDisconnect", 880),
        ],
        healthy=12,
    )


@case("session", "WawpMassDisconnect")
def three_of_sixteen_are_not() -> Group:
    return sessions(
        10, 400, many(3, (1, "WORKING"), (60, "DISCONNECTED")), [*silent("WawpMassDisconnect", 60, 300)], healthy=13
    )


@case("session", "WawpMassDisconnect")
def two_of_two_are_not() -> Group:
    return sessions(10, 100, many(2, (1, "WORKING"), (60, "DISCONNECTED")), [*silent("WawpMassDisconnect", 60, 100)])


@case("session", "WawpMassDisconnect")
def three_lost_over_more_than_five_minutes_are_not() -> Group:
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 + 160 * i, "DISCONNECTED")]) for i in range(3)]
    return sessions(10, 500, lost, [*silent("WawpMassDisconnect", 380, 500)])


@case("session", "WawpMassDisconnect")
def the_first_and_the_third_exactly_five_minutes_apart_are() -> Group:
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 + 150 * i, "DISCONNECTED")]) for i in range(3)]
    return sessions(10, 370, lost, [*silent("WawpMassDisconnect", 350), *firing("WawpMassDisconnect", 360)])


@case("session", "WawpMassDisconnect")
def twenty_five_are_a_mass_however_large_the_fleet() -> Group:
    only = (
        "wawp_session_info",
        "wawp_session_status",
        "wawp_session_status_since_timestamp_seconds",
        "wawp_session_down_since_timestamp_seconds",
        "wawp_session_maintenance",
    )
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 if i < 24 else 90, "FAILED")], only=only) for i in range(25)]
    return sessions(30, 90, lost, [*silent("WawpMassDisconnect", 60), *firing("WawpMassDisconnect", 90)], healthy=200)


def _network_lost(engine: str, *history: tuple[float, str], at: float, before: float) -> Group:
    """Seen by two targets, and beside them one that is stuck in the time when all was well."""
    times = range(0, int(at) + 101, 10)
    stuck = [
        row for m in many(5, (1, "WORKING"), engine=engine) for row in s.session_series(m, times, [s.Target("old:1")])
    ]
    return sessions(
        10,
        int(at) + 100,
        many(5, (1, "WORKING"), *history, engine=engine),
        [
            *silent("WawpMassDisconnect", before),
            *firing("WawpMassDisconnect", at, at + 100, source="default", engine=engine),
        ],
        healthy=5,
        targets=[s.Target("a:1"), s.Target("b:1")],
        extra=stuck,
    )


@case("session", "WawpMassDisconnect")
def a_network_lost_on_gows_is_seen_after_the_starting_limit() -> Group:
    """GOWS says STARTING once and reconnects without limit."""
    return _network_lost("GOWS", (60, "STARTING"), before=120, at=130)


@case("session", "WawpMassDisconnect")
def a_network_lost_on_noweb_is_seen_in_starting_and_stays_seen_in_failed() -> Group:
    loop = [(60 + 2 * i, "STARTING") for i in range(60)]
    return _network_lost("NOWEB", *loop, (180, "FAILED"), before=120, at=130)


@case("session", "WawpMassDisconnect")
def a_network_lost_on_webjs_is_seen_though_it_restarts_itself() -> Group:
    """WEBJS fails, restarts after 2 s, and hangs in STARTING."""
    return _network_lost("WEBJS", (68, "FAILED"), (69, "STARTING"), before=120, at=130)


@case("session", "WawpMassDisconnect")
def a_loss_of_all_at_once_is_seen_at_once_whatever_a_stuck_target_says() -> Group:
    return _network_lost("WEBJS", (60, "FAILED"), before=50, at=60)


@case("session", "WawpMassDisconnect")
def sessions_that_have_never_worked_are_not_lost_while_they_start() -> Group:
    return sessions(10, 300, many(5, (1, "STARTING")), [*silent("WawpMassDisconnect", 70, 200, 300)])


@case("session", "WawpMassDisconnect")
def a_gateway_that_comes_back_without_its_sessions_is_a_mass_disconnect() -> Group:
    """STOPPED for longer than any history of the status that rules look at; the seconds counter remembers WORKING."""
    members = many(3, (1, "WORKING"), (60, "STOPPED"), (1200, "STARTING"))
    return sessions(30, 1290, members, [*silent("WawpMassDisconnect", 1260), *firing("WawpMassDisconnect", 1290)])


@case("session", "WawpMassDisconnect")
def having_been_working_survives_the_restart_of_the_exporter() -> Group:
    """They went down while the exporter was down: its new counters know nothing of WORKING."""
    members = many(3, (1, "WORKING"), (100, "STARTING"))
    return sessions(
        10,
        1400,
        members,
        [
            *silent("WawpMassDisconnect", 160),
            *firing("WawpMassDisconnect", 170, 600, 1100, 1400),
            *value("count(wawp:session_worked:bool)", 1400, ("{}", 3)),
        ],
        targets=[s.Target(gaps=[(90, 130)], restarts=[120])],
    )


@case("session", "WawpMassDisconnect")
def having_been_working_is_remembered_for_a_quarter_of_an_hour_without_the_counter() -> Group:
    """The exporter restarts while they are STOPPED, so that its counters know nothing of WORKING."""
    soon = many(3, (1, "WORKING"), (100, "STOPPED"), (930, "STARTING"), source="soon")
    late = many(3, (1, "WORKING"), (100, "STOPPED"), (1080, "STARTING"), source="late")
    return sessions(
        30,
        1260,
        [*soon, *late],
        [*firing("WawpMassDisconnect", 1020, 1260, source="soon"), *silent("WawpMassDisconnect", 990)],
        targets=[s.Target(restarts=[110])],
    )


@case("session", "WawpMassDisconnect")
def one_target_that_saw_it_working_is_enough() -> Group:
    """The other one has lost its log, and met the session when it was STOPPED already."""
    times = range(0, 301, 10)
    seen = s.Session("x", [(1, "WORKING"), (100, "STOPPED")])
    rows = [
        *s.session_series(seen, times, [s.Target("a:1", restarts=[110])]),
        *s.session_series(s.Session("x", [(1, "STOPPED")]), times, [s.Target("b:1")]),
        *s.default_series(times),
    ]
    record = "wawp:session_worked_lately:bool"
    return group(10, rows, value(record, 300, (s.selector(record, source="default", session="x"), 1)))


@case("session", "WawpMassDisconnect")
def an_outage_is_remembered_through_a_gap_of_less_than_an_hour_and_no_longer() -> Group:
    """Nothing was scraped for 45 or 75 minutes, and the exporter was restarted meanwhile."""
    times = list(range(0, 4921, 60))
    short = many(3, (1, "WORKING"), (100, "STARTING"), source="short")
    long = many(3, (1, "WORKING"), (100, "STARTING"), source="long")
    rows = []
    failed = many(3, (1, "WORKING"), (100, "FAILED"), source="failed")
    for members, until in ((short, 3000), (long, 4800), (failed, 4800)):
        target = [s.Target(gaps=[(300, until)], restarts=[until - 10])]
        rows += [r for m in members for r in s.session_series(m, times, target)]
        rows += s.fleet_series(members, times, target)
        rows += s.default_series(times, members[0].source)
    return group(
        60,
        rows,
        [
            *counted(
                "WawpMassDisconnect", {(("source", n),): 1 for n in ("short", "long", "failed")}, 240, by="source"
            ),
            *silent("WawpMassDisconnect", 2940),
            *firing("WawpMassDisconnect", 3000, 4920, source="short"),
            *value("count by (source) (wawp:session_worked:bool)", 4860, ('{source="short"}', 3)),
            *value(
                "count by (source) (wawp:session_lost:since_timestamp_seconds)",
                4860,
                ('{source="failed"}', 3),
                ('{source="short"}', 3),
            ),
        ],
    )


@case("session", "WawpMassReauth")
def a_mass_reauth_is_remembered_through_a_gap_of_less_than_an_hour_and_no_longer() -> Group:
    times = list(range(0, 4921, 60))
    rows = []
    for source, until in (("short", 3000), ("long", 4800)):
        members = many(3, (1, "WORKING"), (100, "SCAN_QR_CODE"), source=source)
        target = [s.Target(gaps=[(300, until)])]
        rows += [r for m in members for r in s.session_series(m, times, target)]
        rows += s.fleet_series(members, times, target)
        rows += s.default_series(times, source)
    return group(60, rows, [*silent("WawpMassReauth", 2940), *firing("WawpMassReauth", 3000, 4920, source="short")])


@case("session", "WawpMassDisconnect", "WawpMassReauth")
def the_same_names_on_two_sources_are_lost_separately() -> Group:
    """On one all fail, log out or hang; on the other the same names start for the first time, or are UNKNOWN."""
    members = [
        *many(3, (1, "WORKING"), (60, "STARTING"), source="one", thresholds={"starting": 30}),
        *many(3, (1, "STOPPED"), (50, "STARTING"), source="two"),
        *many(3, (1, "WORKING"), (60, "FAILED"), source="one", prefix="f"),
        *many(3, (1, "WORKING"), (60, "SCAN_QR_CODE"), source="two", prefix="f"),
        *many(3, (1, "WORKING"), (60, "SCAN_QR_CODE"), source="one", prefix="q"),
        *many(3, (1, "WORKING"), (55, "STARTING"), (60, "UNKNOWN"), source="two", prefix="q"),
    ]
    never = [(1, "STOPPED"), (20, "STARTING")]
    members += [
        s.Session("n", [*never, (190, "FAILED")], "one"),
        s.Session("n", never, "two"),
        s.Session("n", [(1, "WORKING"), (20, "STARTING")], "three"),
        s.Session("m", never, "one"),
        s.Session("m", [*never, (190, "DISCONNECTED")], "two"),
        s.Session("q0", [(1, "WORKING"), (20, "STARTING")], "three"),
    ]
    names = {(("session", f"s{i}"), ("source", "one")): 1.0 for i in range(3)}
    names |= {
        (("session", n), ("source", on)): 1.0 for n, on in (("n", "one"), ("n", "three"), ("m", "two"), ("q0", "three"))
    }
    names |= {(("session", f"f{i}"), ("source", "one")): 1.0 for i in range(3)}
    logins = {(("session", f"{p}{i}"), ("source", n)): 1.0 for p, n in (("q", "one"), ("f", "two")) for i in range(3)}

    def listed(record: str, want: dict[Any, float]) -> list[Any]:
        samples = [{"labels": s.selector("", **dict(k)), "value": v} for k, v in want.items()]
        expr = f"count by (session, source) ({record})"
        return [("promql_expr_test", {"expr": expr, "eval_time": "200s", "exp_samples": samples})]

    return sessions(
        10,
        200,
        members,
        [
            *listed("wawp:session_lost:since_timestamp_seconds", names),
            *listed("wawp:session_login:since_timestamp_seconds", logins),
            *firing("WawpMassDisconnect", 200, source="one"),
            *counted("WawpMassReauth", {(("source", n),): 1 for n in ("one", "two")}, 200, by="source"),
        ],
    )


def _grid(status: str, record: str) -> Group:
    """Sources and engines, each with a story of its own, and what is remembered of each at 600 s."""
    new = [(1, "WORKING"), (600, status)]
    stories = {
        ("one", "GOWS"): (60, many(3, (1, "WORKING"), (60, status))),
        ("one", "NOWEB"): (600, many(3, *new)),
        ("one", "WEBJS"): (0, many(3, (1, "WORKING"))),
        ("two", "GOWS"): (
            0,
            [*many(2, (1, "WORKING"), (60, status), (390, "WORKING")), s.Session("x", [(60, status)])],
        ),
        ("two", "NOWEB"): (600, [*many(25, *new), *many(130, (1, "WORKING"), prefix="ok")]),
        ("two", "WEBJS"): (0, [*many(3, *new), *many(17, (1, "WORKING"), prefix="ok")]),
        ("two", "WPP"): (0, [s.Session(f"w{i}", [(1, "WORKING"), (30 + 160 * i, status)]) for i in range(3)]),
        ("two", "OTHER"): (600, many(3, *new)),
        ("two", "VENOM"): (60, many(3, (1, "WORKING"), (60, status))),
        ("four", "GOWS"): (600, many(3, *new)),
        ("four", "WEBJS"): (600, many(3, *new)),
        ("four", "NOWEB"): (0, many(1, (1, "WORKING"))),
    }
    everybody = [
        replace(m, source=source, engine=engine, name=f"{engine}-{m.name}")
        for (source, engine), (_, members) in stories.items()
        for m in members
    ]
    times = range(0, 631, 30)
    troubled = [m for m in everybody if len(m.history) > 1 or m.history[0][1] == status]
    rows = [
        *[r for m in troubled for r in s.session_series(replace(m, only=ENOUGH), times)],
        *s.fleet_series(everybody, times),
        *[r for source in ("one", "two", "four") for r in s.default_series(times, source)],
    ]
    want = [
        (s.selector(record, source=source, engine=engine), since) for (source, engine), (since, _) in stories.items()
    ]
    return group(30, rows, value(record, 600, *want))


ENOUGH = (
    "wawp_session_info",
    "wawp_session_status",
    "wawp_session_status_since_timestamp_seconds",
    "wawp_session_down_since_timestamp_seconds",
    "wawp_session_auth_required_since_timestamp_seconds",
)


@case("session", *MASS)
def each_source_and_engine_has_a_loss_and_a_memory_of_its_own() -> Group:
    return _grid("FAILED", "wawp:mass_disconnect:since_timestamp_seconds")


@case("session", *MASS)
def each_source_and_engine_has_logins_and_a_memory_of_its_own() -> Group:
    return _grid("SCAN_QR_CODE", "wawp:mass_reauth:since_timestamp_seconds")


@case("session", *MASS)
def maintenance_of_a_name_on_one_source_takes_nothing_from_another() -> Group:
    """The same name: in maintenance, in maintenance but STOPPED, only STOPPED, and working; a replica lags."""
    times = range(0, 61, 30)
    working, stopped, window = [(1, "WORKING")], [(1, "STOPPED")], [(0.0, 999.0)]
    members = [
        s.Session("m", working, "one", maintenance=window),
        *many(3, *working, source="one"),
        s.Session("m", working, "two"),
        s.Session("m", stopped, "three", maintenance=window),
        *many(2, *working, source="three"),
        s.Session("m", stopped, "four"),
        s.Session("n", working, "four"),
        *many(2, *working, source="one", engine="WEBJS", prefix="w"),
    ]
    both = [s.Target("a:1"), s.Target("b:1")]
    rows = [
        *[r for m in members for r in s.session_series(m, times, both)],
        *s.fleet_series(members, times, both),
        *s.fleet_series(members[:1] + members[4:5], times, [s.Target("old:1")]),
    ]
    want = {("one", "NOWEB"): 3, ("one", "WEBJS"): 2, ("two", "NOWEB"): 1, ("three", "NOWEB"): 2, ("four", "NOWEB"): 1}
    record = "wawp:sessions:expected"
    named = [(s.selector(record, source=a, engine=e), n) for (a, e), n in want.items()]
    return group(30, rows, value(record, 60, *named))


@case("session", *MASS)
def the_newest_of_what_targets_say_is_when_it_began() -> Group:
    """Two targets agree, a third is older; the two are not added."""
    times = range(0, 121, 10)
    rows = [
        r
        for status in ("FAILED", "SCAN_QR_CODE")
        for at, instances in ((90, ("a:1", "b:1")), (50, ("c:1",)))
        for r in s.session_series(
            s.Session(status, [(1, "WORKING"), (at, status)]), times, [s.Target(i) for i in instances]
        )
    ]
    lost, login = "wawp:session_lost:since_timestamp_seconds", "wawp:session_login:since_timestamp_seconds"
    names = {lost: "FAILED", login: "SCAN_QR_CODE"}
    checks = [
        c
        for record, name in names.items()
        for c in value(record, 120, (s.selector(record, source="default", session=name, engine="NOWEB"), 90))
    ]
    return group(10, [*rows, *s.default_series(times)], checks)


@case("session", "WawpMassDisconnect")
def the_deadline_is_that_of_the_newest_episode_that_a_target_knows() -> Group:
    """Two targets agree, a third has lost its log and saw the outage begin earlier."""
    times = range(0, 201, 10)
    new, old = (s.Session("x", [(1, "STOPPED"), (t, "STARTING")]) for t in (90, 30))
    rows = [
        *s.session_series(new, times, [s.Target("a:1"), s.Target("b:1")]),
        *s.session_series(old, times, [s.Target("c:1")]),
        *s.default_series(times),
    ]
    want = ('wawp:session_down:deadline_timestamp_seconds{session="x",source="default"}', 150)
    return group(10, rows, value("wawp:session_down:deadline_timestamp_seconds", 200, want))


@case("session", "WawpMassDisconnect")
def the_starting_limit_of_a_session_counts_for_being_lost_too() -> Group:
    members = many(3, (1, "WORKING"), (60, "STARTING"), thresholds={"starting": 100, "down": 5})
    return sessions(10, 170, members, [*silent("WawpMassDisconnect", 130, 160), *firing("WawpMassDisconnect", 170)])


@case("session", "WawpMassDisconnect")
def a_mass_is_remembered_while_three_of_it_are_lost_and_no_longer() -> Group:
    """Ten are lost, seven come back: the rest would be no burst, but they are still the same trouble."""
    lost = [
        *many(7, (1, "WORKING"), (360, "DISCONNECTED"), (500, "WORKING"), prefix="back"),
        *many(2, (1, "WORKING"), (360, "DISCONNECTED"), prefix="late"),
        s.Session("third", [(1, "WORKING"), (360, "DISCONNECTED"), (900, "WORKING")]),
        s.Session("old", [(1, "DISCONNECTED")]),
    ]
    return sessions(
        30,
        1170,
        lost,
        [
            *firing("WawpMassDisconnect", 360, 510, 600, 1050),
            *silent("WawpMassDisconnect", 1080, 1170),
            *value(
                "wawp:mass_disconnect:since_timestamp_seconds",
                870,
                ('wawp:mass_disconnect:since_timestamp_seconds{source="default", engine="NOWEB"}', 360),
            ),
        ],
        healthy=30,
    )


@case("session", "WawpMassDisconnect")
def after_a_mass_is_over_single_losses_are_single_again() -> Group:
    lost = [
        *many(10, (1, "WORKING"), (60, "DISCONNECTED"), (120, "WORKING"), prefix="back"),
        *[s.Session(f"x{i}", [(1, "WORKING"), (300 + 400 * i, "DISCONNECTED")]) for i in range(4)],
    ]
    return sessions(
        30, 1620, lost, [*firing("WawpMassDisconnect", 60), *silent("WawpMassDisconnect", 330, 1110, 1590)], healthy=30
    )


@case("session", "WawpMassDisconnect")
def a_mass_survives_an_exporter_that_begins_empty() -> Group:
    """For a scrape the restarted exporter knows no session yet: a latch that wrote 0 then would have forgotten."""
    times = list(range(0, 601, 10))
    members = many(3, (1, "WORKING"), (60, "DISCONNECTED"))
    target = s.Target(gaps=[(400, 430)])
    empty = [
        s.one(
            "wawp_sessions",
            ["_" if t < 400 else "stale" if t >= 430 else 0 for t in times if t < 440],
            source="default",
            engine="NOWEB",
            status="WORKING",
            instance="new:1",
        )
    ]
    return sessions(
        10, 600, members, [*firing("WawpMassDisconnect", 390, 420, 440, 600)], targets=[target], extra=empty
    )


@case("session", "WawpMassDisconnect")
def who_was_lost_while_the_exporter_was_down_is_known_to_have_worked_if_any_target_says_so() -> Group:
    """Two replicas were down when it happened, and count from 0 again; a third has only just begun."""
    members = many(3, (1, "WORKING"), (95, "STARTING"))
    down = {"gaps": [(90, 110)], "restarts": [100]}
    late = [row for m in members for row in s.session_series(m, range(0, 201, 10), [s.Target("new:1", up=(110, 999))])]
    return sessions(
        10,
        200,
        members,
        [*silent("WawpMassDisconnect", 150), *firing("WawpMassDisconnect", 160, 200)],
        targets=[s.Target("a:1", **down), s.Target("b:1", **down)],
        extra=late,
    )


@case("session", "WawpMassDisconnect")
def sick_sessions_that_fail_again_and_again_are_no_burst() -> Group:
    """Three of ten have failed and restarted for long, in step: each FAILED is new, the outage is not."""
    loops = [(60 + 400 * i, "FAILED") for i in range(3)]
    sick = []
    for i, (began, _) in enumerate(loops):
        loop = [(began + 30 * n, st) for n, st in enumerate(["FAILED", "STARTING"] * 30)]
        sick.append(s.Session(f"sick{i}", [(1, "STOPPED"), *loop]))
    return sessions(30, 1290, sick, [*silent("WawpMassDisconnect", 870, 900, 930, 960, 1260, 1290)], healthy=7)


@case("session", "WawpMassDisconnect")
def the_sick_of_one_source_neither_hide_nor_join_a_burst_on_another() -> Group:
    """The same names: on one they fail again and again, on the other freshly. Two targets agree, one is stuck."""
    loop = [(60 + 30 * n, st) for n, st in enumerate(["FAILED", "STARTING"] * 20)]
    sick = [s.Session(f"s{i}", [(1, "WORKING"), *[(t + 420 * i, st) for t, st in loop]], "one") for i in range(3)]
    fresh = many(3, (1, "WORKING"), (900, "FAILED"), source="two")
    also = s.Session(
        "sick", [(1, "WORKING"), *[(60 + 30 * n, st) for n, st in enumerate(["FAILED", "STARTING"] * 20)]], "two"
    )
    times = range(0, 1021, 30)
    stuck = [
        row
        for m in (*sick, *fresh, also)
        for row in s.session_series(s.Session(m.name, [(1, "WORKING")], m.source), times, [s.Target("old:1")])
    ]
    return sessions(
        30,
        1020,
        [*sick, *fresh, also],
        [
            *silent("WawpMassDisconnect", 870),
            *firing("WawpMassDisconnect", 900, 930, 960, 990, 1020, source="two"),
            *value(
                "count by (source) (wawp:session_lost:since_timestamp_seconds)",
                900,
                ('{source="one"}', 3),
                ('{source="two"}', 4),
            ),
        ],
        targets=[s.Target("a:1"), s.Target("b:1")],
        extra=stuck,
    )


@case("session", *SINGLES)
def a_limit_of_one_session_is_that_of_no_neighbour_and_no_namesake() -> Group:
    """On one source a session with a longer limit and one without, on another a namesake without."""
    alerts = {
        "WawpSessionFailed": ("FAILED", "failed"),
        "WawpSessionStuckStarting": ("STARTING", "starting"),
        "WawpSessionQrEscalated": ("SCAN_QR_CODE", "qr_escalate"),
        "WawpSessionQrUnattended": ("SCAN_QR_CODE", "qr_unattended"),
        "WawpSessionNotWorking": ("DISCONNECTED", "down"),
    }
    limits = {"failed": 50, "starting": 50, "qr_escalate": 50, "qr_unattended": 50, "down": 50}
    members = [
        s.Session(name + status, [(1, "WORKING"), (30, status)], source, thresholds=own)
        for status in ("FAILED", "STARTING", "SCAN_QR_CODE", "DISCONNECTED")
        for name, source, own in (
            ("slow", "one", dict.fromkeys(limits, 100.0)),
            ("plain", "one", {}),
            ("slow", "two", {}),
        )
    ]

    def told(at: int, names: tuple[tuple[str, str], ...]) -> list[Any]:
        return [
            c
            for alert, (status, _) in alerts.items()
            if alert != "WawpSessionNotWorking"
            for c in counted(
                alert,
                {(("source", on), ("session", n + status)): 1 for n, on in names},
                at,
                by="source, session",
            )
        ]

    soon = (("plain", "one"), ("slow", "two"))
    return sessions(
        10,
        140,
        members,
        [
            *[c for alert in alerts for c in silent(alert, 80)],
            *told(90, soon),
            *told(130, soon),
            *told(140, (*soon, ("slow", "one"))),
            *counted("WawpSessionNotWorking", {(("source", "one"),): 4, (("source", "two"),): 4}, 130, by="source"),
            *counted("WawpSessionNotWorking", {(("source", "one"),): 8, (("source", "two"),): 4}, 140, by="source"),
        ],
        limits=limits,
    )


@case("session", *SINGLES)
def namesakes_in_different_trouble_are_not_mixed_up() -> Group:
    """The same three names on two sources, in different statuses; one restricted while WORKING, one while FAILED."""
    cap = {"message_capping": [(0.0, 999.0)]}
    kinds = ("DISCONNECTED", "FAILED", "STARTING")
    members = [
        s.Session(name, [(1, "WORKING"), (30, kinds[(i + shift) % 3])], source)
        for source, shift in (("alpha", 0), ("beta", 1))
        for i, name in enumerate("xyz")
    ]
    members += [
        s.Session("r", [(1, "FAILED")], "alpha", restricted=cap),
        s.Session("r", [(1, "WORKING")], "beta", restricted=cap),
        s.Session("ok", [(1, "WORKING")], "alpha"),
    ]
    by = "source, session"
    return sessions(
        10,
        120,
        members,
        [
            *counted("WawpSessionDisconnected", pairs(alpha="x", beta="z"), 120, by=by),
            *counted("WawpSessionFailed", pairs(alpha="yr", beta="x"), 120, by=by),
            *counted("WawpSessionStuckStarting", pairs(alpha="z", beta="y"), 120, by=by),
            *counted("WawpSessionRestricted", pairs(beta="r"), 120, by=by),
        ],
    )


@case("session", "WawpMassDisconnect", "WawpMassReauth")
def stopped_and_maintained_sessions_are_not_in_the_denominator() -> Group:
    """3 of 15 are 20 %; 4 STOPPED and 3 in maintenance beside them change nothing, also if those stop."""
    history = [(1, "WORKING"), (60, "DISCONNECTED")]
    members = [
        *many(3, *history),
        *many(4, (1, "STOPPED"), prefix="off"),
        *many(3, (1, "WORKING"), maintenance=[(0, 999)], prefix="work"),
        *many(2, (1, "STOPPED"), maintenance=[(0, 999)], prefix="both"),
        s.Session("s0", [(1, "WORKING")], "two", maintenance=[(0, 999)]),
    ]
    two = ('wawp:sessions:expected{source="two", engine="NOWEB"}', 0)
    return sessions(
        10,
        80,
        members,
        [
            *firing("WawpMassDisconnect", 60),
            *value("wawp:sessions:expected", 80, ('wawp:sessions:expected{source="default", engine="NOWEB"}', 15), two),
        ],
        healthy=12,
        targets=[s.Target("a:1"), s.Target("b:1")],
    )


@case("session", "WawpMassDisconnect", "WawpMassReauth")
def a_session_is_in_the_denominator_again_the_moment_its_maintenance_ends() -> Group:
    """A neighbour and a namesake elsewhere, whose windows go on, keep nobody else out of it."""
    members = [
        *many(3, (1, "WORKING"), maintenance=[(0, 60)], prefix="work"),
        s.Session("long", [(1, "WORKING")], maintenance=[(0, 999)]),
        s.Session("work0", [(1, "WORKING")], "two", maintenance=[(0, 999)]),
    ]
    record = s.selector("wawp:sessions:expected", source="default", engine="NOWEB")
    two = (s.selector("wawp:sessions:expected", source="two", engine="NOWEB"), 0)
    checks = [c for at, n in ((50, 12), (60, 15)) for c in value("wawp:sessions:expected", at, (record, n), two)]
    return sessions(10, 60, members, checks, healthy=12)


@case("session", "WawpMassDisconnect", "WawpMassReauth")
def shards_are_added_and_replicas_are_not() -> Group:
    times = list(range(0, 81, 10))
    members = many(3, (1, "WORKING"), (60, "DISCONNECTED"))
    halves = [[*members, *many(5, (1, "WORKING"), prefix="a")], many(8, (1, "WORKING"), prefix="b")]
    rows = [row for m in members for row in s.session_series(m, times)]
    for n, half in enumerate(halves):
        rows += s.fleet_series(half, times, [s.Target(f"r{n}-1:1"), s.Target(f"r{n}-2:1")], shard=str(n))
    rows += s.default_series(times)
    return group(
        10,
        rows,
        [
            *value("wawp:sessions:expected", 80, ('wawp:sessions:expected{source="default", engine="NOWEB"}', 16)),
            *silent("WawpMassDisconnect", 60, 80),
        ],
    )


@case("session", "WawpMassDisconnect", "WawpMassReauth")
def each_engine_and_each_source_counts_for_itself() -> Group:
    def trio(status: str) -> list[s.Session]:
        pairs = (("one", "GOWS"), ("one", "NOWEB"), ("two", "GOWS"))
        return [
            s.Session(f"{status}-{a}-{e}-{i}", [(1, "WORKING"), (60, status)], a, e)
            for a, e in pairs
            for i in range(3 if (a, e) == pairs[0] else 2)
        ]

    return sessions(
        10,
        400,
        [*trio("FAILED"), *trio("SCAN_QR_CODE")],
        [
            *firing("WawpMassDisconnect", 60, 400, source="one", engine="GOWS"),
            *firing("WawpMassReauth", 60, 400, source="one", engine="GOWS"),
        ],
    )


@case("session", "WawpMassReauth")
def three_of_fifteen_logged_out_within_five_minutes_are_a_mass_reauth() -> Group:
    """The latch holds while three wait: the escalations begin when the burst of five minutes is over."""
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 + 120 * i, "SCAN_QR_CODE"), (1000, "WORKING")]) for i in range(3)]
    return sessions(
        10,
        1200,
        lost,
        [
            *silent("WawpMassReauth", 290),
            *reads("mass-reauth", 300),
            *firing("WawpMassReauth", 600, 990, 1170),
            *silent("WawpMassReauth", 1180),
            *silent("WawpMassDisconnect", 290, 600, 990),
        ],
        healthy=12,
    )


@case("session", "WawpMassReauth")
def three_of_sixteen_logged_out_are_not() -> Group:
    return sessions(
        10, 100, many(3, (1, "WORKING"), (60, "SCAN_QR_CODE")), [*silent("WawpMassReauth", 60, 100)], healthy=13
    )


@case("session", "WawpMassReauth")
def two_of_two_logged_out_are_not() -> Group:
    return sessions(10, 100, many(2, (1, "WORKING"), (60, "SCAN_QR_CODE")), [*silent("WawpMassReauth", 60, 100)])


@case("session", "WawpMassReauth")
def logins_exactly_five_minutes_apart_are_a_burst_and_further_apart_are_not() -> Group:
    near = [s.Session(f"n{i}", [(1, "WORKING"), (60 + 150 * i, "SCAN_QR_CODE")], source="near") for i in range(3)]
    far = [s.Session(f"f{i}", [(1, "WORKING"), (60 + 160 * i, "SCAN_QR_CODE")], source="far") for i in range(3)]
    return sessions(
        10, 500, [*near, *far], [*silent("WawpMassReauth", 350), *firing("WawpMassReauth", 360, 500, source="near")]
    )


@case("session", "WawpMassReauth")
def twenty_five_logins_are_a_mass_however_large_the_fleet() -> Group:
    only = (
        "wawp_session_info",
        "wawp_session_auth_required_since_timestamp_seconds",
        "wawp_session_maintenance",
    )
    lost = [s.Session(f"s{i}", [(1, "WORKING"), (60 if i < 24 else 90, "SCAN_QR_CODE")], only=only) for i in range(25)]
    return sessions(30, 90, lost, [*silent("WawpMassReauth", 60), *firing("WawpMassReauth", 90)], healthy=200)


@case("session", "WawpMassReauth")
def a_mass_reauth_is_remembered_while_three_of_it_wait_and_no_longer() -> Group:
    lost = [
        *many(7, (1, "WORKING"), (360, "SCAN_QR_CODE"), (500, "WORKING"), prefix="back"),
        *many(2, (1, "WORKING"), (360, "SCAN_QR_CODE"), prefix="late"),
        s.Session("third", [(1, "WORKING"), (360, "SCAN_QR_CODE"), (900, "WORKING")]),
        s.Session("old", [(1, "SCAN_QR_CODE")]),
    ]
    return sessions(
        30,
        1170,
        lost,
        [
            *firing("WawpMassReauth", 360, 510, 600, 1050),
            *silent("WawpMassReauth", 1080, 1170),
            *value(
                "wawp:mass_reauth:since_timestamp_seconds",
                870,
                ('wawp:mass_reauth:since_timestamp_seconds{source="default", engine="NOWEB"}', 360),
            ),
        ],
        healthy=30,
    )


@case("session", "WawpMassReauth")
def a_mass_reauth_survives_gaps_and_an_exporter_that_begins_empty() -> Group:
    times = list(range(0, 601, 10))
    empty = [
        s.one(
            "wawp_sessions",
            ["_" if t < 400 else "stale" if t >= 430 else 0 for t in times if t < 440],
            source="default",
            engine="NOWEB",
            status="WORKING",
            instance="new:1",
        )
    ]
    return sessions(
        10,
        600,
        many(3, (1, "WORKING"), (60, "SCAN_QR_CODE")),
        [*firing("WawpMassReauth", 390, 420, 440, 600)],
        targets=[s.Target(gaps=[(400, 430)])],
        extra=empty,
    )


@case("session", "WawpMassReauth")
def after_a_mass_reauth_is_over_single_logins_are_single_again() -> Group:
    lost = [
        *many(10, (1, "WORKING"), (60, "SCAN_QR_CODE"), (120, "WORKING"), prefix="back"),
        *[s.Session(f"x{i}", [(1, "WORKING"), (300 + 400 * i, "SCAN_QR_CODE")]) for i in range(4)],
    ]
    return sessions(
        30, 1620, lost, [*firing("WawpMassReauth", 60), *silent("WawpMassReauth", 330, 1110, 1590)], healthy=30
    )


@case("session", "WawpMassDisconnect")
def a_troubled_only_exporter_changes_no_mass_alert() -> Group:
    """With `metrics.sessions: troubled` a session's series begin when its trouble does."""
    times = list(range(0, 201, 10))
    members = many(3, (1, "WORKING"), (60, "STARTING"))
    rows = [
        row | {"values": s.values(["_" if t < 60 else v for t, v in zip(times, expand(row["values"]), strict=True)])}
        for m in members
        for row in s.session_series(m, times)
    ]
    return group(
        10,
        [*rows, *s.fleet_series(members, times), *s.default_series(times)],
        [*silent("WawpMassDisconnect", 120), *firing("WawpMassDisconnect", 130, 200)],
    )


def expand(text: str) -> list[str]:
    """Back from promtool's notation to one word a sample."""
    out: list[str] = []
    for word in text.split():
        if word.startswith("_x"):
            out += ["_"] * int(word[2:])
        elif "+0x" in word:
            v, n = word.split("+0x")
            out += [v] * (int(n) + 1)
        else:
            out.append(word)
    return out
