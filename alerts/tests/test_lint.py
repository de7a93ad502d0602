"""What every rule must hold, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml
from cases import ALERTS
from contract_series import SERIES, TARGET, VALUES
from rulefiles import ALERT_RULES, RULES, Rule, document

SEVERITIES = {"critical", "warning", "info", "none"}
CATEGORIES = {"qr", "session", "mass", "failover", "slo", "fleet", "audit", "feed", "security", "exporter", "watchdog"}
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
DASHBOARDS = {"wawp-fleet": {"source", "engine", "group"}, "wawp-session": {"source", "session"},
              "wawp-slo": {"source"}, "wawp-exporter": {"source"}}  # fmt: skip
PARTS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}
COUNTER_FUNCTIONS = {"rate", "irate", "increase", "resets"}
RECORDS = {r.name for r in RULES if not r.is_alert}
EVERY = set().union(*SERIES.values())  # labels that a record may have


def each_rule(rules: list[Rule]) -> Any:
    return pytest.mark.parametrize("rule", rules, ids=lambda r: f"{r.topic}-{r.index}-{r.name}")


def walk(node: Any) -> Iterator[Any]:
    """The node and all below it."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from walk(child)
    for child in getattr(node, "args", None) or []:
        yield from walk(child)


def selectors(expr: str) -> Iterator[Any]:
    return (n for n in walk(promql.parse(expr)) if isinstance(n, promql.VectorSelector))


def grouping(expr: str) -> set[str]:
    """Every label named by `by`, `on`, `group_left`."""
    lists = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expr)
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


@each_rule(ALERT_RULES)
def test_an_alert_compares(rule: Rule) -> None:
    """An alert without a comparison fires for every series, also in the records that it reads."""
    texts = [rule.expr]
    for text in texts:
        texts += [r.expr for r in RULES if r.name in text and not r.is_alert and r.expr not in texts]

    assert any(str(getattr(n, "op", "")) in COMPARISONS for t in texts for n in walk(promql.parse(t)))


@each_rule(ALERT_RULES)
def test_an_alert_says_who_what_and_where(rule: Rule) -> None:
    """Labels route, annotations explain; nothing else, and all of it written."""
    assert rule.body["labels"]["severity"] in SEVERITIES
    assert rule.body["labels"]["category"] in CATEGORIES
    assert set(rule.body["annotations"]) == ANNOTATIONS
    assert all(rule.body["annotations"].values())


@each_rule(ALERT_RULES)
def test_no_label_holds_a_value(rule: Rule) -> None:
    """A label that changes with each evaluation is a new alert with each evaluation."""
    assert not any("{{" in value for value in rule.body["labels"].values())


@each_rule(ALERT_RULES)
def test_a_runbook_of_its_name_says_four_things(rule: Rule) -> None:
    """Meaning, Impact, Diagnosis, Mitigation, in this order, each with something to read."""
    assert rule.body["annotations"]["runbook_url"].endswith(f"/alerts/runbooks/{rule.name}.md")
    page = (ALERTS / "runbooks" / f"{rule.name}.md").read_text()

    assert page.startswith(f"# {rule.name}\n")
    assert tuple(re.findall(r"^## (.+)$", page, re.M)) == PARTS
    assert all(len(part.strip()) > 40 for part in re.split(r"^## .+$", page, flags=re.M)[1:])


def test_every_runbook_has_its_alert() -> None:
    """A runbook that no alert links to is never found, and never mended."""
    assert {p.stem for p in (ALERTS / "runbooks").glob("*.md")} == {r.name for r in ALERT_RULES}


@each_rule(ALERT_RULES)
def test_the_dashboard_exists_and_knows_the_variables(rule: Rule) -> None:
    """Links are relative to Grafana, and quote what they pass on: a session may be called `a&b`."""
    url = rule.body["annotations"]["dashboard_url"]
    found = re.fullmatch(r"/d/([\w-]+)(?:\?(.*))?", url)

    assert found
    variables = set(re.findall(r"var-(\w+)=", url))
    assert variables <= DASHBOARDS[found[1]]
    assert all(f"{{{{ $labels.{v} | urlquery }}}}" in url for v in variables)


@each_rule(RULES)
def test_every_metric_and_every_label_exists(rule: Rule) -> None:
    """Against the contract's table: a misspelt series is a rule that never fires."""
    for selector in selectors(rule.expr):
        assert selector.name in SERIES.keys() | RECORDS
        for matcher in selector.matchers.matchers:
            assert matcher.name in SERIES.get(selector.name, EVERY) | TARGET
            assert set(matcher.value.split("|")) <= VALUES[matcher.name]


@each_rule(RULES)
def test_labels_of_joins_and_groups_exist(rule: Rule) -> None:
    """`instance` and `pod` are never among them: an alert with them pages everybody again when a pod moves."""
    known = set().union(*SERIES.values()) | {"job"}

    assert grouping(rule.expr) <= known


@each_rule(RULES)
def test_nothing_is_rated_but_counters(rule: Rule) -> None:
    """A rate of a gauge is a number without a meaning."""
    for node in walk(promql.parse(rule.expr)):
        if isinstance(node, promql.Call) and node.func.name in COUNTER_FUNCTIONS:
            names = [s.name for a in node.args for s in walk(a) if isinstance(s, promql.VectorSelector)]
            assert all(n.endswith(("_total", "_bucket", "_count", "_sum")) for n in names)


@each_rule([r for r in ALERT_RULES if "for" in r.body])
def test_for_stands_only_where_something_must_settle(rule: Rule) -> None:
    """Pending state does not survive a restart of Prometheus: no limit on a session may depend on it."""
    assert rule.name in {"WawpExporterDown", "WawpLogDiskFilling", "WawpGatewayApiDown"}


@each_rule([r for r in ALERT_RULES if r.topic == "session"])
def test_an_alert_on_sessions_bridges_a_failed_scrape(rule: Rule) -> None:
    """One failed scrape ends all series; a normal restart takes less than two minutes."""
    assert rule.body["keep_firing_for"] == ("3m" if rule.body["labels"]["category"] == "mass" else "2m")


def test_mass_alerts_stand_before_the_singles_in_their_group() -> None:
    """One group is evaluated from top to bottom and sent as it goes; what mutes must be sent first."""
    group = next(g for g in document("session")["groups"] if g["name"] == "wawp-session")
    categories = [r["labels"]["category"] for r in group["rules"] if "alert" in r]

    assert categories[:2] == ["mass", "mass"]
    assert "mass" not in categories[2:]


def test_a_mass_alert_comes_before_the_singles_of_the_evaluation_before_are_sent() -> None:
    """Two sessions are seen lost, the rest one evaluation later: the first two must still be waiting to be muted."""
    group = next(g for g in document("session")["groups"] if g["name"] == "wawp-session")
    routing = yaml.safe_load((ALERTS / "alertmanager.yml").read_text())

    assert int(group["interval"].removesuffix("s")) < int(routing["route"]["group_wait"].removesuffix("s"))


@pytest.mark.parametrize("name", ["wawp-session-login", "wawp-session"])
def test_maintenance_is_read_after_what_it_excuses(name: str) -> None:
    """A scrape may end between two readings: a trouble found before its window is a page that nobody should get."""
    group = next(g for g in document("session")["groups"] if g["name"] == name)
    read = [selector.name for rule in group["rules"] for selector in selectors(rule["expr"])]
    troubles = {"wawp_session_status", "wawp_session_auth_required_since_timestamp_seconds",
                "wawp_session_down_since_timestamp_seconds"}  # fmt: skip

    assert troubles & set(read[: read.index("wawp_session_maintenance")])
    assert not troubles & set(read[read.index("wawp_session_maintenance") :])


def test_no_two_alerts_of_a_name_bear_the_same_labels() -> None:
    """They would overwrite each other in Alertmanager."""
    seen = [(r.name, tuple(sorted(r.body["labels"].items()))) for r in ALERT_RULES]

    assert len(seen) == len(set(seen))


def test_records_are_named_as_prometheus_advises() -> None:
    """level:metric:operation, where the level here is always `wawp`."""
    assert all(re.fullmatch(r"wawp:[a-z_]+:[a-z_0-9]+", name) for name in RECORDS)
