"""What every rule must hold, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
from cases import ALERTS, TOPICS
from contract_series import PLANNED, SERIES, TARGET, VALUES
from rulefiles import ALERT_RULES, RULES, Rule, document

from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind

SEVERITIES = {"critical", "warning", "info", "none"}
CATEGORIES = {"qr", "session", "mass", "failover", "slo", "fleet", "audit", "feed", "security", "exporter", "watchdog"}
ANNOTATIONS = {"summary", "description", "action", "lasted", "runbook_url", "dashboard_url"}
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


SPARSE = {"wawp:problem:since", "wawp:outage:since"}  # there exactly while somebody must act


@each_rule(ALERT_RULES)
def test_an_alert_compares_or_reads_what_the_exporter_judges(rule: Rule) -> None:
    """An alert that does neither fires for every series."""
    nodes = list(walk(promql.parse(rule.expr)))
    compares = any(str(getattr(node, "op", "")) in COMPARISONS for node in nodes)
    read = {s.name for s in selectors(rule.expr)}

    assert compares or read & (SPARSE | {name for name in RECORDS if name.startswith("wawp:slo_burning:")})


@each_rule([r for r in ALERT_RULES if r.topic == "session" and r.name != "WawpSessionRecurringDisconnect"])
def test_an_alert_about_sessions_reads_no_series_of_every_session(rule: Rule) -> None:
    """Ten thousand healthy sessions cost an evaluation nothing: only recordings of sparse series are read."""
    assert {s.name for s in selectors(rule.expr)} <= RECORDS


def matched(recording: str, label: str) -> list[str]:
    """What alerts ask of a label of a recording."""
    read = [s for r in ALERT_RULES for s in selectors(r.expr) if s.name == recording]
    return [value for s in read for m in s.matchers.matchers if m.name == label for value in m.value.split("|")]


def test_each_problem_and_each_kind_of_outage_has_its_alert() -> None:
    """As the code knows them; two rules share `login_overdue`, and two the outage of logins."""
    problems, kinds = matched("wawp:problem:since", "problem"), matched("wawp:outage:since", "kind")

    assert sorted(problems) == sorted([*map(str, Problem), *PLANNED, "login_overdue"])
    assert sorted(kinds) == sorted([*map(str, Kind), "reauth"])


def test_every_group_is_evaluated_at_the_global_interval() -> None:
    """An alert is as quick as Prometheus; but for the windows of the error budget, which hold no alert."""
    slower = [g["name"] for t in TOPICS for g in document(t)["groups"] if "interval" in g]

    assert slower == ["wawp-slo-windows"]
    assert not any(r.is_alert for r in RULES if r.group in slower)


@each_rule(ALERT_RULES)
def test_what_is_done_first_is_one_short_line(rule: Rule) -> None:
    """It is read on a phone; and how long it lasted is a length of time, or empty at the first look."""
    assert len(rule.body["annotations"]["action"]) < 130
    assert "humanizeDuration" in rule.body["annotations"]["lasted"] or rule.name == "WawpSessionRecurringDisconnect"


@each_rule(ALERT_RULES)
def test_the_alert_that_a_text_asks_about_is_its_own(rule: Rule) -> None:
    """`lasted` asks ALERTS_FOR_STATE by name: one of another alert would say how long that has lasted."""
    asked = re.findall(r"ALERTS_FOR_STATE\{alertname=\"(\w+)\"", rule.body["annotations"]["lasted"])

    assert set(asked) <= {rule.name}


@each_rule([r for r in ALERT_RULES if "wawp:problem:since" in r.expr])
def test_the_reason_that_a_text_gives_is_that_of_its_problem(rule: Rule) -> None:
    """Each text names the problem again, to look up its reason."""
    mine = set(re.search(r'problem=~?"([^"]+)"', rule.expr)[1].split("|"))  # type: ignore[index]

    assert set(re.findall(r'problem="([^"]+)"', rule.body["annotations"]["description"])) <= mine


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
    found = re.fullmatch(r"/d/([\w-]+)(?:(?:{{ if [^}]+}})?\?(.*))?", url)

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
    memory = (
        {"instance"} if rule.name == "wawp:source:synced_timestamp_seconds" else set()
    )  # which only sources are read of

    assert grouping(rule.expr) <= known | memory


@each_rule(RULES)
def test_nothing_is_rated_but_counters(rule: Rule) -> None:
    """A rate of a gauge is a number without a meaning."""
    for node in walk(promql.parse(rule.expr)):
        if isinstance(node, promql.Call) and node.func.name in COUNTER_FUNCTIONS:
            names = [s.name for a in node.args for s in walk(a) if isinstance(s, promql.VectorSelector)]
            assert all(n.endswith(("_total", "_bucket", "_count", "_sum", "_duration_seconds")) for n in names)


@each_rule([r for r in ALERT_RULES if "for" in r.body])
def test_for_stands_only_where_something_must_settle(rule: Rule) -> None:
    """Pending state does not survive a restart of Prometheus: no alert about a session or an outage depends on it."""
    assert rule.topic in {"fleet", "exporter"}
    assert rule.name in {"WawpExporterDown", "WawpExporterEmpty", "WawpLogDiskFilling", "WawpGatewayApiDown",
                         "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded"}  # fmt: skip


@each_rule([r for r in ALERT_RULES if set(RECORDS) & {s.name for s in selectors(r.expr)} & SPARSE])
def test_what_the_exporter_judges_is_over_when_it_says_so(rule: Rule) -> None:
    """With `keep_firing_for` "over" would come late, and what it bridged is bridged by the recordings."""
    assert "keep_firing_for" not in rule.body


def test_recordings_stand_before_what_reads_them() -> None:
    """A group is evaluated from top to bottom: read first, a recording would be one evaluation old."""
    for topic in TOPICS:
        for group in document(topic)["groups"]:
            names = [r.get("record") for r in group["rules"]]
            for at, rule in enumerate(group["rules"]):
                later = set(names[at + 1 :]) - {None, rule.get("record")}
                assert not later & {s.name for s in selectors(rule["expr"])}, rule


def test_no_two_alerts_of_a_name_bear_the_same_labels() -> None:
    """They would overwrite each other in Alertmanager."""
    seen = [(r.name, tuple(sorted(r.body["labels"].items()))) for r in ALERT_RULES]

    assert len(seen) == len(set(seen))


def test_records_are_named_as_prometheus_advises() -> None:
    """level:metric:operation, where the level here is always `wawp`."""
    assert all(re.fullmatch(r"wawp:[a-z_]+:[a-z_0-9]+", name) for name in RECORDS)
