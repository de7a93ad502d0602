"""How many messages a simulated month makes for each receiver: `python -m bench.month_messages [--seed 1]`.

The alerts are those that `backtest` finds in the month of bench.month. A model of Alertmanager's grouping, which tests
hold against real ones, sends them by the shipped routes, and by those that are given with `--routing`.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from alerts.tests.grouping import Alert, a_week, messages
from alerts.tests.stack import ROUTING, RULE_FILES
from bench.month import Month, judged, ms
from wawp_exporter.audit.firings import Firing


def labels_of_rules() -> dict[str, dict[str, str]]:
    """The labels that each alert's first rule sets."""
    found: dict[str, dict[str, str]] = {}
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found.setdefault(rule["alert"], rule["labels"])
    return found


def alerts(firings: Iterable[Firing], month: Month) -> Iterator[Alert]:
    """The alerts of problems, and one a step of outages: when a later step was reached the log's past does not say."""
    rules = labels_of_rules()
    for each in firings:
        labels = {"alertname": each.alert, "source": each.source, "engine": each.engine, **rules[each.alert]}
        labels |= {"session": each.session} if each.session else {}
        ends = each.ended_at / 1000 if each.ended_at and each.ended_at < ms(month.length) else None
        for step in [3, 10, 30] if each.kind else [0]:
            if step <= (each.sessions or 0):
                more = {"step": str(step)} if step else {}
                yield Alert(labels | more, each.firing_at / 1000, ends)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.month_messages", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--routing", type=Path, help="another alertmanager.yml, to be compared with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        month = Month(options.seed, options.days)
        fired = list(alerts(judged(month, Path(folder)), month))
    routings = [ROUTING, options.routing] if options.routing else [ROUTING]
    show([counted(yaml.safe_load(path.read_text()), fired, month) for path in routings], len(fired))
    return 0


def counted(routing: dict[str, Any], fired: Iterable[Alert], month: Month) -> dict[str, float]:
    """Messages a week for each receiver; the watchdog's are not counted."""
    return a_week(messages(routing, fired, ms(month.length) / 1000), month.length)


def show(columns: list[dict[str, float]], count: int) -> None:
    """The table."""
    table = Table(
        "receiver", *["shipped routes", "the other ones"][: len(columns)], title=f"Messages a week, {count} alerts"
    )
    for name in sorted(set().union(*columns)):
        table.add_row(name, *(f"{column.get(name, 0):.1f}" for column in columns))
    table.add_row("all", *(f"{sum(column.values()):.1f}" for column in columns))
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
