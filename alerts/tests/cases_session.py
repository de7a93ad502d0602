"""Cases for session.rules.yml: what the exporter judges becomes alerts, and stays while no replica is synced."""

from __future__ import annotations

from typing import Any

import series as s
from cases import Check, case, counted, firing, group, reads, silent, value

Group = dict[str, Any]
JOB = "wawp-exporter"
FULL = {"engine": "NOWEB", "group": "sales", "owner": "ana", "tier": "gold"}
PROBLEMS = {
    "login": "WawpSessionQrWaiting",
    "login_overdue": "WawpSessionQrEscalated",
    "login_unattended": "WawpSessionQrUnattended",
    "disconnected": "WawpSessionDisconnected",
    "failed": "WawpSessionFailed",
    "stuck_starting": "WawpSessionStuckStarting",
    "flapping": "WawpSessionFlapping",
    "down": "WawpSessionNotWorking",
    "reachout_timelock": "WawpSessionRestricted",
    "message_capping": "WawpSessionRestricted",
    "silent": "WawpSessionSilent",
    "undelivered": "WawpSessionUndelivered",
    "unresponsive": "WawpSessionUnresponsive",
}
KINDS = {"disconnect": "WawpMassDisconnect", "reauth": "WawpMassReauth", "silence": "WawpMassSilence"}


def problem(
    name: str, samples: str, session: str = "sales-uk", source: str = "default", instance: str = "a:1", **more: str
) -> s.Series:
    """When a problem began, as one replica exports it."""
    labels = {"source": source, "session": session, "engine": "NOWEB", "problem": name, **more}
    return s.one("wawp_session_problem_since_timestamp_seconds", samples, job=JOB, instance=instance, **labels)


def synced(samples: str, source: str = "default", instance: str = "a:1") -> s.Series:
    return s.one("wawp_source_synced", samples, source=source, job=JOB, instance=instance)


def configured(samples: str, source: str = "default", instance: str = "a:1", kind: str = "qr_unattended") -> s.Series:
    return s.one("wawp_threshold_default_seconds", samples, source=source, kind=kind, job=JOB, instance=instance)


def outage(
    kind: str,
    since: str,
    sizes: str,
    steps: dict[str, str],
    source: str = "default",
    engine: str = "GOWS",
    instance: str = "a:1",
) -> list[s.Series]:
    """An outage as one replica exports it; `steps`: when it had each."""
    who = {"source": source, "engine": engine} if source else {}
    labels = {**who, "kind": kind, "job": JOB, "instance": instance}
    return [
        s.one("wawp_outage_since_timestamp_seconds", since, **labels),
        s.one("wawp_outage_sessions", sizes, **labels),
        *[s.one("wawp_outage_step", samples, **labels, step=step) for step, samples in steps.items()],
    ]


# --- each problem has its alert -------------------------------------------------------------------


def alerts_of(name: str) -> Group:
    """It fires from the first look until the exporter no longer exports it; nobody else's problem counts."""
    others = [problem(other, "60+0x9", f"has-{other}") for other in PROBLEMS if PROBLEMS[other] != PROBLEMS[name]]
    mine = problem(name, "_ 60+0x5 stale", **FULL, reason="logged_out")
    alert = PROBLEMS[name]
    checks = [*silent(alert, 0), *firing(alert, 60, session="sales-uk"), *reads(name, 370), *silent(alert, 420)]
    return group(10, [synced("1+0x45"), *stretched([mine, *others])], checks)


def stretched(rows: list[s.Series]) -> list[s.Series]:
    """Samples of a minute, scraped each 10 s."""
    return [{**row, "values": " ".join(word for w in row["values"].split() for word in six(w))} for row in rows]


def six(word: str) -> list[str]:
    """`60+0x5` is six samples, which become 36."""
    if "x" in word:
        head, times = word.split("x")
        return [f"{head}x{6 * (int(times) + 1) - 1}"]
    return [word] if word == "stale" else ["_x6"] if word == "_" else [f"{word}+0x5"]


for _name, _alert in PROBLEMS.items():

    def _build(name: str = _name) -> Group:
        return alerts_of(name)

    _build.__name__ = f"{_name}_is_alerted_from_its_first_look_to_its_last"
    case("session", _alert)(_build)


@case("session", *[PROBLEMS[name] for name in ("disconnected", "failed", "stuck_starting", "down")])
def a_loss_after_a_restriction_says_how_long_after() -> Group:
    """Of its own restriction: two replicas export it, and another session has one too."""
    lost = ("disconnected", "failed", "stuck_starting", "down")
    rows = [problem(name, "_ 60+0x5 stale", **FULL, reason="restricted") for name in lost]
    rows += [problem("reachout_timelock", "20+0x9", instance=instance) for instance in ("a:1", "b:1")]
    rows += [problem("message_capping", "70+0x9"), problem("message_capping", "50+0x9", "another")]
    checks = [check for name in lost for check in reads(f"{name}-restricted", 370)]
    return group(10, [synced("1+0x45"), *stretched(rows)], checks)


@case("session", "WawpSessionDisconnected")
def a_clock_that_runs_ahead_makes_no_negative_age() -> Group:
    """The exporter's clock is 40 s ahead of Prometheus's."""
    return group(60, [synced("1+0x9"), problem("disconnected", "_ 100+0x5", **FULL)], reads("clock-ahead", 60))


@case("session", "WawpSessionRestricted")
def each_restriction_is_an_alert_of_its_own() -> Group:
    rows = [synced("1+0x9"), *[problem(name, "60+0x5") for name in ("reachout_timelock", "message_capping")]]
    want = {(("problem", name),): 1.0 for name in ("reachout_timelock", "message_capping")}
    return group(60, rows, counted("WawpSessionRestricted", want, 60, by="problem"))


@case("session", "WawpSessionQrEscalated")
def a_session_that_has_never_worked_wakes_nobody() -> Group:
    """Its namesake of another source, and its neighbour, have worked."""
    never = {"source": "default", "session": "sales-uk", "job": JOB}
    rows = [
        *[problem("login_overdue", "_ 60+0x5 stale", **who) for who in ({"instance": "a:1"}, {"instance": "b:1"})],
        problem("login_overdue", "60+0x9", "neighbour"),
        problem("login_overdue", "60+0x9", source="other"),
        *[s.one("wawp_session_never_worked", "_ 1+0x5 stale", **never, instance=i) for i in ("a:1", "b:1")],
        *[synced("1+0x9", n, i) for n, i in (("default", "a:1"), ("default", "b:1"), ("other", "a:1"))],
    ]
    critical = {
        (("session", n), ("source", src), ("escalation", "it"), ("severity", "critical")): 1.0
        for n, src in (("neighbour", "default"), ("sales-uk", "other"))
    }
    mild = {(("session", "sales-uk"), ("source", "default"), ("escalation", "manager"), ("severity", "warning")): 1.0}
    by = "session, source, escalation, severity"
    return group(
        60,
        rows,
        [
            *counted("WawpSessionQrEscalated", critical | mild, 120, 360, by=by),
            *counted("WawpSessionQrEscalated", critical, 420, by=by),
        ],
    )


@case("session", "WawpSessionQrEscalated")
def that_it_has_never_worked_is_not_forgotten_while_the_exporter_is_down() -> Group:
    """Else IT is woken by a new session at each restart. After the restart its neighbour is the new one."""
    never = {"source": "default", "job": JOB, "instance": "a:1"}
    rows = [
        problem("login_overdue", "60+0x2 stale _x5 60+0x3"),
        problem("login_overdue", "60+0x2 stale _x5 60+0x3", "neighbour"),
        s.one("wawp_session_never_worked", "1+0x2 stale", **never, session="sales-uk"),
        s.one("wawp_session_never_worked", "_x9 1+0x3", **never, session="neighbour"),
        synced("1+0x2 stale _x5 1+0x9"),
        synced("1+0x20", "another", "b:1"),
    ]
    escalated = "WawpSessionQrEscalated"
    return group(
        60,
        rows,
        [
            *counted(
                escalated, {(("session", "sales-uk"), ("severity", "warning")): 1.0,
                            (("session", "neighbour"), ("severity", "critical")): 1.0},
                120, 180, 480, by="session, severity",
            ),
            *counted(
                escalated, {(("session", "sales-uk"), ("severity", "critical")): 1.0,
                            (("session", "neighbour"), ("severity", "warning")): 1.0},
                540, by="session, severity",
            ),
        ],
    )  # fmt: skip


@case("session", "WawpSessionQrWaiting", "WawpSessionQrEscalated")
def a_problem_without_a_reason_says_none() -> Group:
    rows = [synced("1+0x9"), problem("login", "60+0x9", **FULL), problem("login_overdue", "60+0x9")]
    never = {"source": "default", "session": "sales-uk", "job": JOB, "instance": "a:1"}
    return group(
        60,
        [*rows, s.one("wawp_session_never_worked", "1+0x9", **never)],
        [*reads("login-plain", 360), *reads("login-new", 360)],
    )


# --- what is known stays while no replica is synced -----------------------------------------------

DOWN = "WawpSessionDisconnected"


@case("session", DOWN)
def nothing_is_over_while_the_exporter_is_down() -> Group:
    """Eight minutes; afterwards one problem is still there, one is over."""
    rows = [
        synced("1+0x2 stale _x7 1+0x5"),
        problem("disconnected", "60+0x2 stale _x7 60+0x5"),
        problem("disconnected", "60+0x2 stale", "back"),
    ]
    both = {(("session", name),): 1.0 for name in ("sales-uk", "back")}
    return group(
        60,
        rows,
        [
            *counted(DOWN, both, 120, 180, 600, by="session"),
            *counted(DOWN, {(("session", "sales-uk"),): 1.0}, 660, 720, by="session"),
        ],
    )


@case("session", DOWN)
def nothing_is_over_while_the_exporter_replays_its_log() -> Group:
    """It answers, and exports its limits, but is not synced."""
    rows = [
        synced("1+0x2 stale _x3 1+0x5"),
        configured("300+0x2 stale 300+0x9"),
        configured("300+0x20", "default", "b:1"),
        problem("disconnected", "60+0x2 stale"),
    ]
    return group(60, rows, [*firing(DOWN, 180, 240, 360, session="sales-uk"), *silent(DOWN, 420)])


@case("session", DOWN)
def one_synced_replica_is_enough_to_say_that_a_problem_is_over() -> Group:
    """The other is behind, and exports nothing."""
    rows = [
        synced("1 stale"),
        synced("1+0x9", instance="b:1"),
        problem("disconnected", "60 stale"),
        problem("disconnected", "60+0x3 stale", instance="b:1"),
    ]
    return group(60, rows, [*firing(DOWN, 0, 60, 180), *silent(DOWN, 240)])


@case("session", DOWN)
def what_is_said_of_one_source_ends_nothing_of_another() -> Group:
    """Two exporters: the one of `default` is down, the other has lost a problem too, which is over."""
    rows = [
        synced("1 1 stale"),
        synced("1+0x9", "other", "b:1"),
        configured("300 300 stale"),
        configured("300+0x9", "other", "b:1"),
        problem("disconnected", "60 60 stale"),
        problem("disconnected", "60 60 stale", source="other", instance="b:1"),
    ]
    return group(60, rows, [*firing(DOWN, 300, 540, source="default")])


@case("session", DOWN)
def a_source_that_its_exporter_no_longer_has_ends_at_once() -> Group:
    """It was removed on purpose: the same exporter is back, with another source only, of which it reads the log.

    A third one had two replicas, and ends when both have said so; a fourth one has moved to another exporter.
    """
    every = ("default", "other", "third", "moved")
    rows = [
        *[row for n in every for row in (
            synced("1 1 stale", n), configured("300 300 stale", n), problem("disconnected", "60 60 stale", source=n))],
        synced("1 1 stale", "third", "b:1"),
        configured("_x5 300+0x9", "other"),
        configured("_x7 300+0x9", "other", "b:1"),
        configured("300+0x20", "moved", "c:1"),
    ]  # fmt: skip

    def now(at: int, *names: str) -> list[Check]:
        return counted(DOWN, {(("source", n),): 1.0 for n in names}, at, by="source")

    first, last = ("other", "third", "moved"), ("other", "moved")
    return group(60, rows, [*now(60, *every), *now(240, *every), *now(360, *first), *now(480, *last)])


@case("session", DOWN)
def a_source_at_another_address_ends_nothing() -> Group:
    """A moved pod that has no source yet, and another job at the same address."""
    elsewhere = s.one(
        "wawp_threshold_default_seconds", "_x2 300+0x9", source="other", kind="down", job="x", instance="a:1"
    )
    rows = [
        synced("1 1 stale"),
        configured("_x2 300+0x9", "other", "b:1"),
        elsewhere,
        problem("disconnected", "60 60 stale"),
    ]
    return group(60, rows, firing(DOWN, 180, 540))


@case("session", DOWN)
def a_day_without_any_replica_is_the_end() -> Group:
    """What was last synced 85,980 s before the start, and is remembered, ends 420 s after it."""
    who = {"source": "default", "session": "sales-uk", "engine": "NOWEB"}
    memory = s.one("wawp:source:synced_timestamp_seconds", "-85980", source="default", job=JOB, instance="a:1")
    return group(
        60,
        [memory, s.one("wawp:problem:since", "-90000", **who, problem="disconnected")],
        [*firing(DOWN, 0, 360, session="sales-uk"), *silent(DOWN, 420)],
    )


@case("session", DOWN, "WawpSessionQrEscalated")
def a_source_that_was_never_synced_keeps_nothing() -> Group:
    """What stands in Prometheus from before is forgotten with the last sample; beside a source that is remembered."""
    who = {"source": "default", "session": "sales-uk"}
    old = s.one("wawp:problem:since", "1", **who, engine="X", problem="disconnected")
    never = s.one("wawp:session:never_worked", "1", **who)
    rows = [old, never, synced("1 1 stale", "remembered")]
    return group(60, rows, [*silent(DOWN, 360), *value("wawp:session:never_worked", 360)])


@case("session", DOWN)
def it_is_remembered_until_when_each_replica_was_synced() -> Group:
    """By the time of the scrape, for each address."""
    rows = [synced("1 1 stale"), synced("1+0x9", instance="b:1")]
    labels = '{__name__="wawp:source:synced_timestamp_seconds",source="default",job="wawp-exporter",instance="%s"}'
    name = "wawp:source:synced_timestamp_seconds"
    return group(60, rows, [*value(name, 240, (labels % "a:1", 60), (labels % "b:1", 240))])


# --- replicas, pods, changing labels --------------------------------------------------------------


def one_series(alert: str, at: int) -> list[Check]:
    """That there has been one alert all the time, and never another."""
    expr = f'count(count_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[{at}s]))'
    return value(expr, at, ("{}", 1))


@case("session", DOWN)
def a_moved_pod_and_a_second_replica_change_no_alert() -> Group:
    """The old pod goes, with a gap between; whatever the scrape adds is no label of the alert."""
    more = [{"pod": f"pod-{n}", "node": f"node-{n}"} for n in range(3)]
    rows = [
        problem("disconnected", "60+0x3 stale", **more[0]),
        problem("disconnected", "_x6 60+0x5", instance="b:1", **more[1]),
        problem("disconnected", "_x8 60+0x3", instance="c:1", **more[2]),
        synced("1+0x3 stale"),
        synced("_x6 1+0x5", instance="b:1"),
        synced("_x8 1+0x3", instance="c:1"),
    ]
    return group(60, rows, [*firing(DOWN, 240, 300, 540), *one_series(DOWN, 600)])


@case("session", DOWN)
def a_reason_that_becomes_known_changes_no_alert() -> Group:
    rows = [
        synced("1+0x9"),
        problem("disconnected", "60 60 stale", reason=""),
        problem("disconnected", "_x2 60+0x5", reason="banned"),
    ]
    return group(60, rows, one_series(DOWN, 300))


@case("session", DOWN)
def an_owner_that_changes_makes_no_second_alert() -> Group:
    """While replicas reload one after another, and when it changed while the exporter was down."""
    rows = [
        synced("1+0x4 stale _x2 1+0x5"),
        synced("1+0x4 stale", instance="b:1"),
        problem("disconnected", "60+0x4 stale", owner="ana", engine="GOWS", group="a", tier="x"),
        problem("disconnected", "60+0x4 stale", owner="ben", engine="WEBJS", group="b", tier="y", instance="b:1"),
        problem("disconnected", "_x8 60+0x4", owner="cem", engine="NOWEB", group="c", tier="z"),
    ]
    return group(
        60,
        rows,
        [*firing(DOWN, 120, 360, session="sales-uk"), *firing(DOWN, 480, 600, session="sales-uk", owner="cem")],
    )


@case("session", DOWN, "WawpSessionFailed")
def sessions_and_problems_are_told_apart() -> Group:
    """Namesakes of two sources, two sessions of one, two problems of one."""
    rows = [
        *[synced("1+0x9", n) for n in ("default", "other")],
        *[problem("disconnected", "60+0x9", n, src) for n in ("s1", "s2") for src in ("default", "other")],
        problem("failed", "60+0x9", "s1"),
    ]
    want = {(("session", n), ("source", src)): 1.0 for n in ("s1", "s2") for src in ("default", "other")}
    return group(
        60,
        rows,
        [*counted(DOWN, want, 120, by="session, source"), *firing("WawpSessionFailed", 120, session="s1")],
    )


@case("session", DOWN)
def the_later_of_two_beginnings_counts() -> Group:
    """A replica that has not yet seen that the session was back in between."""
    rows = [synced("1+0x9"), synced("1+0x9", instance="b:1")]
    rows += [problem("disconnected", "60+0x9"), problem("disconnected", "180+0x9", instance="b:1")]
    rows += [problem("disconnected", "9+0x9", owner="old"), problem("disconnected", "120+0x9", owner="ana")]
    labels = '{__name__="wawp:problem:since",source="default",session="sales-uk",engine="NOWEB",problem="disconnected"}'
    return group(60, rows, value("wawp:problem:since", 240, (labels, 180)))


# --- outages ------------------------------------------------------------------------------------


def outage_alert(kind: str) -> Group:
    others = [other for other in KINDS if other != kind]
    theirs = [row for other in others for row in outage(other, "60+0x9", "9+0x9", {"3": "1+0x9"}, f"has-{other}")]
    mine = outage(kind, "_ 60+0x4 stale", "_ 12+0x4 stale", {"3": "_ 1+0x4 stale"})
    alert = KINDS[kind]
    return group(
        60,
        [synced("1+0x9"), *mine, *theirs],
        [*silent(alert, 0), *firing(alert, 60, kind=kind), *reads(f"mass-{kind}", 300), *silent(alert, 360)],
    )


for _kind, _alert in KINDS.items():

    def _outage(kind: str = _kind) -> Group:
        return outage_alert(kind)

    _outage.__name__ = f"an_outage_of_kind_{_kind}_is_alerted_from_its_first_look_to_its_last"
    case("session", _alert)(_outage)


@case("session", "WawpMassDisconnect")
def each_step_of_an_outage_is_an_alert_and_says_how_many_are_lost_now() -> Group:
    """12 lost at 120 s, 35 at 240 s, of which 20 are left at 360 s; two replicas, and one that lags."""
    steps = {"3": "_ 1+0x5", "10": "_x2 1+0x4", "30": "_x4 1+0x2"}
    sizes = "_ 5 12 12 35 35 20"
    rows = [
        *outage("disconnect", "_ 60+0x5", sizes, steps),
        *outage("disconnect", "_ 60+0x5", sizes, steps, instance="b:1"),
        *outage("disconnect", "_ 50+0x5", "_ 4+0x5", {"3": "_ 1+0x5"}, instance="lags:1"),
        *[synced("1+0x9", instance=i) for i in ("a:1", "b:1", "lags:1")],
    ]
    alert = "WawpMassDisconnect"

    def now(at: int, *names: str) -> list[Check]:
        return counted(alert, {(("step", n), ("kind", "disconnect")): 1.0 for n in names}, at, by="step, kind")

    return group(60, rows, [*now(60, "3"), *now(120, "3", "10"), *now(240, "3", "10", "30"), *reads("mass-steps", 360)])


@case("session", "WawpMassDisconnect")
def an_outage_of_several_sources_has_no_source_and_says_so() -> Group:
    return group(
        60,
        [synced("1+0x9"), *outage("disconnect", "_ 60+0x4 stale", "_ 40+0x4 stale", {"3": "_ 1+0x4 stale"}, "")],
        [*reads("mass-sources", 300), *silent("WawpMassDisconnect", 360)],
    )


@case("session", "WawpMassReauth", "WawpMassSilence")
def logouts_and_silence_of_several_sources_say_so_too() -> Group:
    rows = [row for kind in ("reauth", "silence") for row in outage(kind, "60+0x9", "40+0x9", {"3": "1+0x9"}, "")]
    checks = [
        *reads("reauth-sources", 300),
        *reads("silence-sources", 300),
        *counted("WawpMassReauth", {(): 1.0}, 960, by="escalation"),
        *reads("reauth-sources-late", 1020),
    ]
    return group(60, [synced("1+0x20"), configured("900+0x20"), configured("300+0x20", "quick"), *long(rows)], checks)


def long(rows: list[s.Series]) -> list[s.Series]:
    return [{**row, "values": row["values"].replace("x9", "x20")} for row in rows]


@case("session", "WawpMassDisconnect")
def outages_stay_while_no_replica_is_synced() -> Group:
    """One of a source and one of all; afterwards the first is still there, with its size."""
    gap = "stale _x6"
    rows = [
        *outage("disconnect", f"60 60 {gap} 60+0x3", f"7 7 {gap} 6+0x3", {"3": f"1 1 {gap} 1+0x3"}),
        *outage("disconnect", "60 60 stale", "40 40 stale", {"3": "1 1 stale"}, ""),
        synced(f"1 1 {gap} 1+0x5"),
    ]
    both = {(("source", "default"), ("step", "3")): 1.0, (("step", "3"),): 1.0}
    here = '{__name__="wawp:outage:sessions",source="default",engine="GOWS",kind="disconnect"}'
    everywhere = '{__name__="wawp:outage:sessions",kind="disconnect"}'
    return group(
        60,
        rows,
        [
            *counted("WawpMassDisconnect", both, 60, 120, 480, by="source, step"),
            *value("wawp:outage:sessions", 480, (here, 7), (everywhere, 40)),
            *counted("WawpMassDisconnect", {(("source", "default"),): 1.0}, 540, by="source"),
            *value("wawp:outage:sessions", 540, (here, 6)),
        ],
    )


@case("session", "WawpMassDisconnect")
def an_outage_of_another_source_is_over_when_its_exporter_says_so() -> Group:
    """`default` is not synced; that is nothing to `other`, but an outage of all sources is over when all say so."""
    rows = [
        synced("1 1 stale"),
        synced("1+0x9", "other", "b:1"),
        *outage("disconnect", "60 60 stale", "7 7 stale", {"3": "1 1 stale"}),
        *outage("disconnect", "60 60 stale", "8 8 stale", {"3": "1 1 stale"}, "other", instance="b:1"),
        *outage("disconnect", "60 60 stale", "9 9 stale", {"3": "1 1 stale"}, ""),
    ]
    here = '{__name__="wawp:outage:sessions",source="default",engine="GOWS",kind="disconnect"}'
    return group(
        60,
        rows,
        [
            *counted("WawpMassDisconnect", {(("source", "default"),): 1.0, (): 1.0}, 180, 300, by="source"),
            *value("wawp:outage:sessions", 300, (here, 7), ('{__name__="wawp:outage:sessions",kind="disconnect"}', 9)),
        ],
    )


@case("session", "WawpMassDisconnect")
def outages_end_a_day_after_the_last_replica() -> Group:
    """As problems do; of a source that was never synced nothing is kept."""
    memory = s.one("wawp:source:synced_timestamp_seconds", "-85980", source="default", job=JOB, instance="a:1")
    kept = [
        row
        for labels in ({"source": "default", "engine": "GOWS"}, {"source": "never", "engine": "GOWS"}, {})
        for row in (
            s.one("wawp:outage:since", "-90000", **labels, kind="disconnect", step="3"),
            s.one("wawp:outage:sessions", "5", **labels, kind="disconnect"),
        )
    ]
    found = [(s.selector("", source="default"), 1), ("{}", 1)]
    size = "count by (source) (wawp:outage:sessions)"
    return group(
        60,
        [memory, *kept],
        [
            *counted("WawpMassDisconnect", {(("source", "default"),): 1.0, (): 1.0}, 360, by="source"),
            *value(size, 360, *found),
            *silent("WawpMassDisconnect", 420),
            *value(size, 420),
        ],
    )


@case("session", "WawpMassDisconnect")
def outages_of_engines_and_sources_are_told_apart() -> Group:
    rows = [
        row
        for n, (source, engine) in enumerate((("one", "GOWS"), ("one", "NOWEB"), ("two", "GOWS")))
        for row in outage("disconnect", f"{60 + n}+0x9", f"{5 + n}+0x9", {"3": "1+0x9"}, source, engine)
    ]
    since = [
        (s.selector("", __name__="wawp:outage:since", source=src, engine=e, kind="disconnect", step="3"), 60 + n)
        for n, (src, e) in enumerate((("one", "GOWS"), ("one", "NOWEB"), ("two", "GOWS")))
    ]
    sizes = [
        (s.selector("", __name__="wawp:outage:sessions", source=src, engine=e, kind="disconnect"), 5 + n)
        for n, (src, e) in enumerate((("one", "GOWS"), ("one", "NOWEB"), ("two", "GOWS")))
    ]
    return group(
        60,
        [*rows, *[synced("1+0x9", n) for n in ("one", "two")]],
        [*value("wawp:outage:since", 120, *since), *value("wawp:outage:sessions", 120, *sizes)],
    )


@case("session", "WawpMassDisconnect", "WawpMassSilence")
def two_kinds_at_once_are_two_outages() -> Group:
    rows = [
        *outage("disconnect", "60+0x9", "7+0x9", {"3": "1+0x9"}),
        *outage("silence", "30+0x9", "4+0x9", {"3": "1+0x9"}),
    ]
    found = [
        (s.selector("", __name__="wawp:outage:since", source="default", engine="GOWS", kind=k, step="3"), at)
        for k, at in (("disconnect", 60), ("silence", 30))
    ]
    sizes = [
        (s.selector("", __name__="wawp:outage:sessions", source="default", engine="GOWS", kind=k), n)
        for k, n in (("disconnect", 7), ("silence", 4))
    ]
    return group(
        60,
        [synced("1+0x9"), *rows],
        [*value("wawp:outage:since", 120, *found), *value("wawp:outage:sessions", 120, *sizes)],
    )


@case("session", "WawpMassDisconnect")
def a_step_without_a_beginning_is_alerted_all_the_same() -> Group:
    """Then nobody can say since when, and its age is 0."""
    steps = [
        s.one("wawp_outage_step", "1+0x9", source="default", engine="GOWS", kind="disconnect", step=step, instance=i)
        for step, i in (("3", "a:1"), ("3", "b:1"), ("10", "a:1"))
    ]
    return group(60, [synced("1+0x9"), *steps], reads("mass-unknown", 120))


@case("session", "WawpMassReauth")
def a_mass_logout_goes_to_the_lead_after_the_limit_of_its_source() -> Group:
    """Whatever its steps are; another source has another limit, and two replicas are one."""
    rows = [
        *outage("reauth", "60+0x20", "12+0x20", {"3": "1+0x20", "10": "1+0x20"}),
        *outage("reauth", "60+0x20", "12+0x20", {"3": "1+0x20"}, "patient"),
        *[synced("1+0x20", n) for n in ("default", "patient")],
        *[configured("300+0x20", instance=i) for i in ("a:1", "b:1")],
        configured("200+0x20", instance="old:1"),
        configured("90+0x20", kind="qr_escalate"),
        configured("3600+0x20", "patient"),
    ]
    lead = {(("source", "default"), ("escalation", "lead")): 1.0}
    rest = {(("source", "default"),): 2.0, (("source", "patient"),): 1.0}
    by = "source, escalation"
    return group(
        60,
        rows,
        [
            *counted("WawpMassReauth", rest, 360, by=by),
            *counted("WawpMassReauth", rest | lead, 420, by=by),
            *reads("reauth-lead", 420),
        ],
    )


@case("session", "WawpMassReauth")
def that_a_mass_logout_is_unattended_is_not_over_while_the_exporter_is_down() -> Group:
    """Of a source and of all; a source without a replica since more than a day has no limit any more."""
    rows = [
        *outage("reauth", "60+0x6 stale", "12+0x6 stale", {"3": "1+0x6 stale"}),
        *outage("reauth", "60+0x6 stale", "12+0x6 stale", {"3": "1+0x6 stale"}, ""),
        synced("1+0x6 stale"),
        configured("200+0x6 stale"),
        s.one("wawp:qr_unattended:seconds", "9", source="gone"),
    ]
    want = {(("source", "default"), ("escalation", "lead")): 1.0, (("escalation", "lead"),): 1.0}
    rest = {(("source", "default"),): 1.0, (): 1.0}
    limits = [('{__name__="wawp:qr_unattended:seconds",source="default"}', 200)]
    return group(
        60,
        rows,
        [
            *counted("WawpMassReauth", want | rest, 360, 420, 600, by="source, escalation"),
            *value("wawp:qr_unattended:seconds", 600, *limits),
        ],
    )


# --- patterns -----------------------------------------------------------------------------------


@case("session", "WawpSessionRecurringDisconnect")
def a_pattern_of_three_weeks_is_reported_once_for_each_hour() -> Group:
    """Two replicas; a second hour; one of two weeks, which no exporter would send."""

    def weeks(n: int, hour: str, session: str = "sales-uk", day: str = "sun", **more: str) -> s.Series:
        labels = {"source": "default", "session": session, "weekday": day, "hour": hour, "instance": "a:1", **more}
        return s.one("wawp_session_recurring_disconnects", f"{n}+0x3 stale", **labels)

    rows = [weeks(5, "02"), weeks(5, "02", instance="b:1"), weeks(4, "02", instance="old:1"), weeks(2, "17")]
    more = [weeks(3, "02", "other"), weeks(3, "04", "other"), weeks(3, "04", "other", "mon")]
    other = [weeks(3, "04", "other", "mon", source="two")]
    alert = "WawpSessionRecurringDisconnect"
    want = {
        (("source", src), ("session", n), ("weekday", d), ("hour", h)): 1.0
        for src, n, d, h in (
            ("default", "sales-uk", "sun", "02"), ("default", "other", "sun", "02"),
            ("default", "other", "sun", "04"), ("default", "other", "mon", "04"), ("two", "other", "mon", "04"),
        )
    }  # fmt: skip
    return group(
        60,
        [*rows, *more, *other],
        [*counted(alert, want, 60, 300, by="source, session, weekday, hour"), *silent(alert, 420)],
    )


@case("session", "WawpSessionRecurringDisconnect")
def a_pattern_says_which_hour_and_how_often() -> Group:
    labels = {"source": "default", "session": "sales-uk", "weekday": "sun", "hour": "02", "instance": "a:1"}
    rows = [s.one("wawp_session_recurring_disconnects", "5+0x3", **labels)]
    return group(60, [*rows, *[{**r, "values": "4+0x3", "series": r["series"].replace("a:1", "b:1")} for r in rows]],
                 reads("recurring", 60))  # fmt: skip
