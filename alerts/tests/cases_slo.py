"""Cases for slo.rules.yml: burn rates, each above and below its factor, in both windows."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, group, reads, silent, value

Group = dict[str, Any]
MINUTE = 60


def seconds(
    rates: list[tuple[int, float | None]],
    *,
    source: str = "default",
    objective: float = 0.99,
    sessions: int = 10,
    step: int = 1,
    **labels: str,
) -> list[s.Series]:
    """Seconds of a fleet of ten sampled each `step` minutes, as spans of `(samples, share of bad seconds or None)`."""
    who = {"source": source, "engine": "GOWS", "instance": "a:1", **labels}

    def counter(share: Any) -> str:
        out, total = ["0"], 0.0
        for minutes, bad in rates:
            if bad is None:
                out.append(f"_x{minutes}")
                continue
            more = share(bad) * sessions * MINUTE * step
            out.append(f"{total + more:.6f}+{more:.6f}x{minutes - 1}")
            total += more * minutes
        return " ".join(out)

    rows = [
        s.one("wawp_slo_seconds_total", counter(lambda bad: bad), result="bad", **who),
        s.one("wawp_slo_seconds_total", counter(lambda bad: 1 - bad), result="good", **who),
        s.one("wawp_slo_seconds_total", counter(lambda _: 5.0), result="excluded", **who),
    ]
    if not labels:
        rows.append(
            s.one(
                "wawp_slo_objective_ratio", f"{objective}+0x{sum(n for n, _ in rates)}", source=source, instance="a:1"
            )
        )
    return rows


PAIRS = ("1h", "6h", "1d", "3d")


def burning(at: int, *windows: str) -> list[Any]:
    """The pairs of windows, by the long one, in which `default` burns too fast, and no others."""
    return [check for w in PAIRS for check in _window(w, at, {(("source", "default"),): 1.0} if w in windows else {})]


@case("slo", "WawpErrorBudgetBurn")
def a_total_outage_burns_and_ends_soon_after_its_end() -> Group:
    """Fifteen minutes of nothing but bad seconds: the page ends when the short window is clean, not an hour later."""
    rows = seconds([(200, 0), (15, 1.0), (40, 0)])
    critical = {(("source", "default"), ("severity", "critical")): 1.0}
    return group(
        60,
        rows,
        [
            *burning(200),
            *burning(215, "1h", "6h"),
            *burning(221, "6h"),
            *silent("WawpErrorBudgetBurn", 200 * MINUTE),
            *counted("WawpErrorBudgetBurn", critical, 215 * MINUTE, 221 * MINUTE, by="source, severity"),
            *silent("WawpErrorBudgetBurn", 250 * MINUTE),
        ],
    )


@case("slo", "WawpErrorBudgetBurn")
def a_fifth_of_bad_seconds_burns_within_an_hour() -> Group:
    return group(60, seconds([(70, 0.2)]), reads("burn-hour", 70 * MINUTE))


@case("slo", "WawpErrorBudgetBurn")
def a_fifth_of_bad_seconds_burns_in_every_longer_window() -> Group:
    """Seen each ten minutes, which is too seldom for the shortest."""
    return group(600, seconds([(230, 0.2)], step=10), reads("burn-days", 2300 * MINUTE))


@case("slo", "WawpErrorBudgetBurn")
def each_pair_of_windows_raises_the_alert_of_its_severity_by_itself() -> Group:
    """As recorded, for sources in each of which one pair burns."""
    names = dict(zip(PAIRS, ("critical", "critical", "warning", "warning"), strict=True))
    rows = [row for w in names for row in seconds([(9, 0.001)], source=w)]
    pairs = [s.one(f"wawp:slo_burning:rate{w}", "2+0x9", source=w) for w in names]
    found = {(("source", w), ("severity", severity)): 1.0 for w, severity in names.items()}
    return group(60, [*rows, *pairs], counted("WawpErrorBudgetBurn", found, 9 * MINUTE, by="source, severity"))


@case("slo", "WawpErrorBudgetBurn")
def what_is_used_up_is_the_share_of_what_thirty_days_may_lose() -> Group:
    """A tenth of all for six hours, of 1 %: 10 * 6 / 720; by engine, by shard, twice seen, once by one that lags."""
    parts = [
        *seconds([(72, 0.1), (72, 0.2)], step=5),
        *seconds([(72, 0.1), (72, 0.2)], step=5, instance="b:1"),
        *seconds([(72, 0.1), (72, 0.2)], step=5, instance="old:1", sessions=1),
        *seconds([(72, 0.1), (72, 0.2)], step=5, engine="WEBJS", sessions=30),
        *seconds([(72, 0.1), (72, 0.2)], step=5, engine="WEBJS", sessions=20, shard="1"),
        *seconds([(72, 0.4), (72, 0.2)], step=5, source="other"),
    ]

    def used(window: str, at: int, default: float, other: float) -> list[Any]:
        found = [('{source="default"}', default), ('{source="other"}', other)]
        return value(f"round(wawp:slo_budget_used:ratio{window} * 1000)", at * MINUTE, *found)

    return group(300, parts, [*used("6h", 360, 83, 333), *used("6h", 720, 167, 167), *used("3d", 720, 250, 500)])


@case("slo", "WawpErrorBudgetBurn")
def the_fast_burn_pages_above_14_4_times_and_not_below() -> Group:
    rows = [
        *seconds([(70, 0.145)], source="above"),
        *seconds([(70, 0.143)], source="below"),
        *seconds([(70, 0.145)], source="lenient", objective=0.98),
    ]
    want = {(("source", "above"),): 1.0}
    return group(60, rows, _window("1h", 70, want))


@case("slo", "WawpErrorBudgetBurn")
def the_slow_burns_page_above_their_factor_and_not_below() -> Group:
    """All windows see the same share."""
    shares = {
        "six": 0.0605, "near-six": 0.0595, "three": 0.0305, "near-three": 0.0295, "one": 0.0105, "near-one": 0.0095,
    }  # fmt: skip
    rows = [row for name, share in shares.items() for row in seconds([(230, share)], source=name, step=10)]
    return group(
        600,
        rows,
        [
            *_window("6h", 2300, {(("source", "six"),): 1.0}),
            *_window("1d", 2300, {(("source", n),): 1.0 for n in ("near-six", "six", "three")}),
            *_window("3d", 2300, {(("source", n),): 1.0 for n in ("near-six", "six", "three", "near-three", "one")}),
        ],
    )


def _window(window: str, at: int, want: dict[Any, float]) -> list[Any]:
    samples = [(s.selector("", **dict(k)), v) for k, v in want.items()]
    return value(f"count by (source) (wawp:slo_burning:rate{window})", at * MINUTE, *samples)


@case("slo", "WawpErrorBudgetBurn")
def a_burst_too_short_for_the_long_window_pages_nobody() -> Group:
    """Two minutes of nothing but bad seconds an hour: 1 of 30 in the long window."""
    return group(60, seconds([(60, 0), (2, 1.0)]), _window("1h", 62, {}))


def half_seen(window: str, unit: int) -> Group:
    """Nothing but bad seconds; `unit` is a sixtieth of the window, in minutes, and the time between two samples.

    One source begins, one begins again after a window's length, one was away for a while; one is well all the time.
    """
    rows = [
        *seconds([(110, 1.0)], source="fresh", step=unit),
        *seconds([(10, 1.0), (60, None), (40, 1.0)], source="again", step=unit),
        *seconds([(30, 1.0), (33, None), (47, 1.0)], source="seen", step=unit),
        *seconds([(110, 0.0)], source="well", step=unit),
    ]

    def told(at: int, *names: str) -> list[Any]:
        return _window(window, at * unit, {(("source", name),): 1.0 for name in names})

    return group(
        unit * MINUTE,
        rows,
        [*told(5), *told(30), *told(31, "fresh", "seen"), *told(85, "fresh", "seen"), *told(95, "fresh", "seen"),
         *told(108, "fresh", "seen", "again")],
    )  # fmt: skip


@case("slo", "WawpErrorBudgetBurn")
def an_hour_must_have_been_seen_by_half_before_it_burns() -> Group:
    return half_seen("1h", 1)


@case("slo", "WawpErrorBudgetBurn")
def six_hours_must_have_been_seen_by_half_before_they_burn() -> Group:
    return half_seen("6h", 6)


@case("slo", "WawpErrorBudgetBurn")
def a_day_must_have_been_seen_by_half_before_it_burns() -> Group:
    return half_seen("1d", 24)


@case("slo", "WawpErrorBudgetBurn")
def three_days_must_have_been_seen_by_half_before_they_burn() -> Group:
    return half_seen("3d", 72)


ALL = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@case("slo", "WawpErrorBudgetBurn")
def every_window_adds_engines_and_shards_and_takes_the_larger_of_two_replicas() -> Group:
    """25 bad of 100 sessions: by engine, by shard, twice seen, and once seen by a replica that lags."""
    parts = [
        *seconds([(10, 1.0)], engine="GOWS", shard="0", instance="a:1", sessions=10),
        *seconds([(10, 0.5)], engine="GOWS", shard="1", instance="c:1", sessions=20),
        *seconds([(10, 1.0)], engine="WEBJS", shard="0", instance="a:1", sessions=5),
        *seconds([(10, 1.0)], engine="WEBJS", shard="0", instance="b:1", sessions=5),
        *seconds([(10, 1.0)], engine="WEBJS", shard="0", instance="old:1", sessions=1),
        *seconds([(10, 0.0)], engine="NOWEB", shard="0", instance="a:1", sessions=40),
        *seconds([(10, 0.0)], engine="NOWEB", shard="0", instance="b:1", sessions=40),
        *seconds([(10, 0.0)], engine="NOWEB", shard="0", instance="old:1", sessions=2),
        *seconds([(10, 0.0)], engine="NOWEB", shard="1", instance="c:1", sessions=25),
    ]
    want = [{"labels": '{source="default"}', "value": 25}]
    checks = [
        (
            "promql_expr_test",
            {"expr": f"round(wawp:slo_bad:ratio_rate{w} * 100)", "eval_time": "600s", "exp_samples": want},
        )
        for w in ALL
    ]
    return group(60, parts, checks)


def _grown(window: str, at: int, still: bool) -> Any:
    expr = f"wawp:slo_bad:ratio_rate{window} > bool 0.0102"
    samples = [{"labels": '{source="default"}', "value": int(still)}]
    return ("promql_expr_test", {"expr": expr, "eval_time": f"{at}s", "exp_samples": samples})


def growth(step: int, before: int, after: int, source: str = "default") -> list[s.Series]:
    """One bad session all the time, beside 9 good ones, then 99: the share falls from 10 % to 1 % within the window."""
    who = {"source": source, "engine": "GOWS", "instance": "a:1"}
    total = 9 * step * before
    return [
        s.one("wawp_slo_seconds_total", f"0+{step}x{before + after}", result="bad", **who),
        s.one(
            "wawp_slo_seconds_total",
            f"0+{9 * step}x{before} {total + 99 * step}+{99 * step}x{after}",
            result="good",
            **who,
        ),
    ]


def _windows(step: int, before: int, **spans: int) -> list[Any]:
    began = step * before
    found = []
    for window, minutes in spans.items():
        length = minutes * MINUTE
        found += [
            _grown(window, began + int(length * 0.75) // step * step, True),
            _grown(window, began + length + 2 * step, False),
        ]
    return found


@case("slo", "WawpErrorBudgetBurn")
def the_short_windows_are_as_long_as_their_names() -> Group:
    rows = growth(60, 130, 140)
    return group(60, rows, _windows(60, 130, **{"5m": 5, "30m": 30, "1h": 60, "2h": 120}))


@case("slo", "WawpErrorBudgetBurn")
def the_long_windows_are_as_long_as_their_names() -> Group:
    rows = growth(1800, 150, 150)
    return group(1800, rows, _windows(1800, 150, **{"6h": 360, "1d": 1440, "3d": 4320}))


@case("slo", "WawpErrorBudgetBurn")
def an_outage_counts_by_its_share_of_the_window() -> Group:
    """Three of the last five minutes are not all of them."""
    rows = seconds([(130, 0), (10, 1.0)])
    expr = "wawp:slo_bad:ratio_rate5m > bool 0.9"
    at = {133: 0, 137: 1}
    samples = {t: [{"labels": '{source="default"}', "value": v}] for t, v in at.items()}
    checks = [("promql_expr_test", {"expr": expr, "eval_time": f"{t}m", "exp_samples": v}) for t, v in samples.items()]
    return group(60, rows, checks)


@case("slo", "WawpErrorBudgetBurn")
def both_windows_must_burn_each_above_its_factor() -> Group:
    """Above in one window and a little below in the other, for each pair; beside it a source that is above in both."""
    rows = [
        *seconds([(180, 0.20), (10, 0.135)], source="14-long"),
        *seconds([(180, 0.13), (10, 0.20)], source="14-short"),
        *seconds([(155, 0.08), (35, 0.055)], source="6-long"),
        *seconds([(155, 0.05), (35, 0.065)], source="6-short"),
        *seconds([(190, 0.9)], source="both"),
    ]
    return group(
        60,
        [*rows, *lenient(190, "14-long", "14-short", "6-long", "6-short", "both")],
        [
            *_window("1h", 190, {(("source", "both"),): 1.0}),
            *_window("6h", 190, {(("source", n),): 1.0 for n in ("14-long", "14-short", "both")}),
        ],
    )


@case("slo", "WawpErrorBudgetBurn")
def both_long_windows_must_burn_each_above_its_factor() -> Group:
    step = 10
    rows = [
        *seconds([(70, 0.05), (13, 0.025)], source="3-long", step=step),
        *seconds([(70, 0.02), (13, 0.035)], source="3-short", step=step),
        *seconds([(190, 0.02), (37, 0.0095)], source="1-long", step=step),
        *seconds([(190, 0.005), (37, 0.0112)], source="1-short", step=step),
        *seconds([(227, 0.3)], source="both", step=step),
    ]
    return group(
        600,
        [*rows, *lenient(227, "3-long", "3-short", "1-long", "1-short", "both")],
        [*_window("1d", 830, {(("source", "both"),): 1.0}), *_window("3d", 2270, {(("source", "both"),): 1.0})],
    )


def lenient(n: int, *sources: str) -> list[s.Series]:
    """A second target that still has an easier objective: the stricter one counts, and they are not added."""
    return [s.one("wawp_slo_objective_ratio", f"0.5+0x{n}", source=name, instance="old:1") for name in sources]


@case("slo", "WawpErrorBudgetBurn")
def a_restart_of_the_exporter_is_no_outage() -> Group:
    rows = [
        s.one("wawp_slo_seconds_total", "0+1x30 0+1x30", source="default", engine="GOWS", result="bad", instance="a:1"),
        s.one(
            "wawp_slo_seconds_total",
            "0+599x30 0+599x30",
            source="default",
            engine="GOWS",
            result="good",
            instance="a:1",
        ),
        s.one("wawp_slo_objective_ratio", "0.99+0x62", source="default", instance="a:1"),
    ]
    return group(60, rows, [*burning(31), *burning(32), *burning(60)])


def used_up(step: int, end: int, window: str, long: int, short: int, want: dict[str, int], *more: s.Series) -> Group:
    """Two fleets that grew tenfold `long` and `short` samples before the end, each with one bad session always."""
    rows = [*growth(step, end - long, long, "settled"), *growth(step, end - short, short, "grows"), *more]
    rows += [s.one("wawp_slo_objective_ratio", f"0.99+0x{end}", source=name, instance="a:1") for name in want]
    found = [(s.selector("", source=name), share) for name, share in want.items()]
    return group(step, rows, value(f"round(wawp:slo_budget_used:ratio{window} * 1e4)", step * end, *found))


@case("slo", "WawpErrorBudgetBurn")
def what_six_hours_have_used_up_is_measured_by_the_sessions_of_the_last_half_hour() -> Group:
    """100 of them where the growth was 40 minutes ago; 70 in the mean where it was 20 minutes ago."""
    return used_up(280, 96, "6h", 8, 4, {"settled": 83, "grows": 119})


@case("slo", "WawpErrorBudgetBurn")
def what_three_days_have_used_up_is_measured_by_the_sessions_of_the_last_six_hours() -> Group:
    """Growth 8 and 4 hours ago; and what was lost four days ago is not of the last three."""
    old = seconds([(100, 0.5), (200, 0.0)], source="old", step=30)
    old = [row for row in old if "objective" not in row["series"]]
    return used_up(1790, 300, "3d", 16, 8, {"settled": 1000, "grows": 1429, "old": 0}, *old)
