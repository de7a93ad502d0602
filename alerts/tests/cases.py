"""A case is one promtool test: input series and what must fire, or stay silent, when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import series as s
import yaml

HERE = Path(__file__).parent
ALERTS = HERE.parent
TOPICS = ("session", "fleet", "slo", "feed", "exporter")

Check = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    name: str
    topic: str
    alerts: tuple[str, ...]
    build: Callable[[], dict[str, Any]]
    native: bool = False  # its series are native histograms, which promtool can be given since Prometheus 3

    def group(self) -> dict[str, Any]:
        return {"name": self.name, **self.build()}


CASES: list[Case] = []


def case(
    topic: str, *alerts: str, native: bool = False
) -> Callable[[Callable[[], dict[str, Any]]], Callable[[], dict[str, Any]]]:
    """Registers a function that returns a promtool test group; its name is the sentence that the test states.

    `alerts` are those whose rules it exercises: a mutant of such a rule, or of a record it reads, must meet this case.
    """

    def register(build: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        CASES.append(Case(build.__name__, topic, alerts, build, native))
        return build

    return register


def group(step: int, rows: Iterable[s.Series], checks: Iterable[Check]) -> dict[str, Any]:
    """A promtool test group that scrapes and evaluates each `step` seconds."""
    found = list(checks)
    return {
        "interval": f"{step}s",
        "input_series": list(rows),
        **{
            kind: rows
            for kind in ("alert_rule_test", "promql_expr_test")
            if (rows := [c for k, c in found if k == kind])
        },
    }


def span(seconds: float) -> str:
    return f"{seconds:g}s"


def silent(alert: str, *at: float) -> list[Check]:
    return [("alert_rule_test", {"alertname": alert, "eval_time": span(t), "exp_alerts": []}) for t in at]


def firing(alert: str, *at: float, **want: str) -> list[Check]:
    """That exactly one alert of this name fires, with these labels among its own."""
    return counted(alert, {tuple(want.items()): 1}, *at, by=", ".join(want))


def counted(alert: str, want: dict[tuple[tuple[str, str], ...], float], *at: float, by: str) -> list[Check]:
    expr = f'count by ({by}) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    samples = [{"labels": s.selector("", **dict(k)), "value": v} for k, v in want.items()]
    return [("promql_expr_test", {"expr": expr, "eval_time": span(t), "exp_samples": samples}) for t in at]


def value(expr: str, at: float, *samples: tuple[str, float]) -> list[Check]:
    found = [{"labels": labels, "value": v} for labels, v in samples]
    return [("promql_expr_test", {"expr": expr, "eval_time": span(at), "exp_samples": found})]


@cache
def texts() -> dict[str, Any]:
    return yaml.safe_load((HERE / "texts.yml").read_text())


def reads(text: str, at: float) -> list[Check]:
    """That the alert of this entry of texts.yml fires with exactly those labels and annotations, and no other."""
    entry = texts()[text]
    return [
        ("alert_rule_test", {"alertname": entry["alertname"], "eval_time": span(at), "exp_alerts": entry["alerts"]})
    ]
