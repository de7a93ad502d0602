"""Cases for slo.rules.yml: burn rates, each above and below its factor, in both windows."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, group, reads, silent

Group = dict[str, Any]
MINUTE = 60


def seconds(
    rates: list[tuple[int, float]], *, source: str = "default", objective: float = 0.99, sessions: int = 10, **labels: str
) -> list[s.Series]:
    """Seconds of a fleet of ten sampled each minute, as spans of `(minutes, share of bad seconds)`."""
    who = {"source": source, "engine": "GOWS", "instance": "a:1", **labels}

    def counter(share: Any) -> str:
        out, total = ["0"], 0.0
        for minutes, bad in rates:
            step = share(bad) * sessions * MINUTE
            out.append(f"{total + step:.6f}+{step:.6f}x{minutes - 1}")
            total += step * minutes
        return " ".join(out)

    rows = [
        s.one("wawp_slo_seconds_total", counter(lambda bad: bad), result="bad", **who),
        s.one("wawp_slo_seconds_total", counter(lambda bad: 1 - bad), result="good", **who),
        s.one("wawp_slo_seconds_total", counter(lambda _: 5.0), result="excluded", **who),
    ]
    if not labels:
        rows.append(s.one("wawp_slo_objective_ratio", f"{objective}+0x{sum(n for n, _ in rates)}", source=source, instance="a:1"))
    return rows


def burning(at: int, *windows: str, source: str = "default") -> list[Any]:
    if not windows:
        return silent("WawpErrorBudgetBurn", at * MINUTE)
    want = {(("source", source), ("window", w)): 1.0 for w in windows}
    return counted("WawpErrorBudgetBurn", want, at * MINUTE, by="source, window")


@case("slo", "WawpErrorBudgetBurn")
def a_total_outage_burns_in_every_window_and_the_short_ones_end_soon_after() -> Group:
    """Ten minutes of nothing but bad seconds: the page ends when the short window is clean, not an hour later."""
    rows = seconds([(60, 0), (10, 1.0), (80, 0)])
    return group(
        60,
        rows,
        [
            *burning(60),
            *burning(70, "1h", "6h", "1d", "3d"),
            *burning(76, "6h", "1d", "3d"),
        ],
    )


@case("slo", "WawpErrorBudgetBurn")
def a_fifth_of_bad_seconds_burns_in_every_window() -> Group:
    return group(60, seconds([(70, 0.2)]), reads("burn-outage", 70 * MINUTE))


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
    """With little history all windows see the same share."""
    rows = [
        *seconds([(40, 0.0605)], source="six"),
        *seconds([(40, 0.0595)], source="near-six"),
        *seconds([(40, 0.0305)], source="three"),
        *seconds([(40, 0.0295)], source="near-three"),
        *seconds([(40, 0.0105)], source="one"),
        *seconds([(40, 0.0095)], source="near-one"),
    ]
    return group(
        60,
        rows,
        [
            *_window("6h", 40, {(("source", "six"),): 1.0}),
            *_window("1d", 40, {(("source", n),): 1.0 for n in ("near-six", "six", "three")}),
            *_window("3d", 40, {(("source", n),): 1.0 for n in ("near-six", "six", "three", "near-three", "one")}),
        ],
    )


def _window(window: str, at: int, want: dict[Any, float]) -> list[Any]:
    expr = f'count by (source) (ALERTS{{alertname="WawpErrorBudgetBurn",alertstate="firing",window="{window}"}})'
    samples = [{"labels": s.selector("", **dict(k)), "value": v} for k, v in want.items()]
    return [("promql_expr_test", {"expr": expr, "eval_time": f"{at * MINUTE}s", "exp_samples": samples})]


@case("slo", "WawpErrorBudgetBurn")
def a_burst_too_short_for_the_long_window_pages_nobody() -> Group:
    """Two minutes of nothing but bad seconds an hour: 1 of 30 in the long window."""
    return group(60, seconds([(60, 0), (2, 1.0)]), _window("1h", 62, {}))


@case("slo", "WawpErrorBudgetBurn")
def replicas_are_not_added_and_engines_and_shards_are() -> Group:
    """A bad engine among two, a second replica of the good one: half of the seconds are bad."""
    bad = seconds([(10, 0.30)], engine="GOWS", shard="0")
    good = [
        *seconds([(10, 0)], engine="WEBJS", shard="0", instance="a:1"),
        *seconds([(10, 0)], engine="WEBJS", shard="0", instance="b:1"),
        *seconds([(10, 0)], engine="WEBJS", shard="1", instance="c:1"),
    ]
    goal = s.one("wawp_slo_objective_ratio", "0.99+0x10", source="default", instance="a:1")
    goal2 = s.one("wawp_slo_objective_ratio", "0.99+0x10", source="default", instance="b:1")
    expr = "round(wawp:slo_bad:ratio_rate5m * 1000)"
    return group(
        60,
        [*bad, *good, goal, goal2],
        [
            ("promql_expr_test", {"expr": expr, "eval_time": "600s", "exp_samples": [{"labels": '{source="default"}', "value": 100}]}),
            *_window("6h", 10, {(("source", "default"),): 1.0}),
        ],
    )


@case("slo", "WawpErrorBudgetBurn")
def each_window_is_as_long_as_its_name() -> Group:
    """One bad minute; its share in each window is one over the minutes of it that have passed."""
    checks = []
    for name, minutes in {"5m": 5, "30m": 30, "1h": 60, "2h": 120}.items():
        checks += [_seen(name, minutes - 1, True), _seen(name, minutes + 2, False)]
    return group(60, seconds([(1, 1.0), (130, 0)]), checks)


@case("slo", "WawpErrorBudgetBurn")
def the_long_windows_are_as_long_as_their_names() -> Group:
    """One bad hour, sampled each half hour; looked at before and after it leaves each window."""
    n = 150
    rows = [
        s.one("wawp_slo_seconds_total", s.values([0, 0] + [1800] * n), source="default", engine="GOWS", result="bad", instance="a:1"),
        s.one("wawp_slo_seconds_total", "0+1800x151", source="default", engine="GOWS", result="good", instance="a:1"),
    ]
    checks = []
    for name, hours in (("6h", 6), ("1d", 24), ("3d", 72)):
        checks += [_seen(name, hours * 60 - 30, True), _seen(name, hours * 60 + 90, False)]
    return group(1800, rows, checks)


def _seen(window: str, minute: int, seen: bool) -> Any:
    samples = [{"labels": '{source="default"}', "value": int(seen)}]
    return ("promql_expr_test", {"expr": f"ceil(wawp:slo_bad:ratio_rate{window})", "eval_time": f"{minute * MINUTE}s", "exp_samples": samples})


@case("slo", "WawpErrorBudgetBurn")
def a_restart_of_the_exporter_is_no_outage() -> Group:
    rows = [
        s.one("wawp_slo_seconds_total", "0+1x30 0+1x30", source="default", engine="GOWS", result="bad", instance="a:1"),
        s.one("wawp_slo_seconds_total", "0+599x30 0+599x30", source="default", engine="GOWS", result="good", instance="a:1"),
        s.one("wawp_slo_objective_ratio", "0.99+0x62", source="default", instance="a:1"),
    ]
    return group(60, rows, [*burning(31), *burning(32), *burning(60)])

