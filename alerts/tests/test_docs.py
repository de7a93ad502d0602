"""docs/alerts.md says what the rules, the routes and the exporter's defaults say."""

from __future__ import annotations

import re

from cases import ALERTS
from rulefiles import ALERT_RULES
from test_routes import RECEIVERS

from wawp_exporter.config.schema import Thresholds
from wawp_exporter.metrics.fleet_families import KINDS

PAGE = (ALERTS.parent / "docs" / "alerts.md").read_text()
UNITS = {"s": 1, "m": 60, "h": 3600}


def test_the_table_lists_each_alert_as_it_is() -> None:
    """Name, severity, category and receiver; in the order of the rule files."""
    row = r"^\| \[`(\w+)`\]\(\.\./alerts/runbooks/\1\.md\) \| [^|]+ \| (\w+) \| (\w+) \| `([\w-]+)` \|"
    ruled = [(r.name, r.body["labels"]["severity"], r.body["labels"]["category"]) for r in ALERT_RULES]

    assert re.findall(row, PAGE, re.M) == [(n, s, c, RECEIVERS[n, s]) for n, s, c in dict.fromkeys(ruled)]


def test_the_limits_are_those_of_the_configuration() -> None:
    """Each `kind` of a threshold that is exported, with its default."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+)([smh])", PAGE, re.M)

    assert {kind: int(n) * UNITS[unit] for kind, n, unit in rows} == {
        kind: getattr(Thresholds(), kind) for kind in KINDS
    }
