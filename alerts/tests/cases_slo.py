"""Cases for slo.rules.yml: burn rates, each above and below its factor, in both windows."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, group, reads, silent

Group = dict[str, Any]
MINUTE = 60


def seconds(
    rates: list[tuple[int, float]],
    *,
    source: str = "default",
    objective: float = 0.99,
    sessions: int = 10,
    step: int = 1,
    **labels: str,
) -> list[s.Series]:
    """Seconds of a fleet of ten sampled each `step` minutes, as spans of `(samples, share of bad seconds)`."""
    who = {"source": source, "engine": "GOWS", "instance": "a:1", **labels}

    def counter(share: Any) -> str:
        out, total = ["0"], 0.0
        for minutes, bad in rates:
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


def growth(step: int, before: int, after: int) -> list[s.Series]:
    """One bad session all the time, beside 9 good ones, then 99: the share falls from 10 % to 1 % within the window."""
    who = {"source": "default", "engine": "GOWS", "instance": "a:1"}
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
        *seconds([(80, 0.20), (10, 0.135)], source="14-long"),
        *seconds([(80, 0.13), (10, 0.20)], source="14-short"),
        *seconds([(55, 0.08), (35, 0.055)], source="6-long"),
        *seconds([(55, 0.05), (35, 0.065)], source="6-short"),
        *seconds([(90, 0.9)], source="both"),
    ]
    return group(
        60,
        [*rows, *lenient(90, "14-long", "14-short", "6-long", "6-short", "both")],
        [
            *_window("1h", 90, {(("source", "both"),): 1.0}),
            *_window("6h", 90, {(("source", n),): 1.0 for n in ("14-long", "14-short", "both")}),
        ],
    )


@case("slo", "WawpErrorBudgetBurn")
def both_long_windows_must_burn_each_above_its_factor() -> Group:
    step = 10
    rows = [
        *seconds([(20, 0.05), (13, 0.025)], source="3-long", step=step),
        *seconds([(20, 0.02), (13, 0.035)], source="3-short", step=step),
        *seconds([(25, 0.02), (37, 0.0095)], source="1-long", step=step),
        *seconds([(25, 0.005), (37, 0.0112)], source="1-short", step=step),
        *seconds([(62, 0.3)], source="both", step=step),
    ]
    return group(
        600,
        [*rows, *lenient(62, "3-long", "3-short", "1-long", "1-short", "both")],
        [*_window("1d", 330, {(("source", "both"),): 1.0}), *_window("3d", 620, {(("source", "both"),): 1.0})],
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
