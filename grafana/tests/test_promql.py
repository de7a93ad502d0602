"""What the queries may say: metrics and labels that exist, and forms that hold with replicas and shards."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grafana.tests import boards, story
from grafana.tests.boards import Query
from tests import parts

TARGET = {"job", "instance"}
# Not in every exposition: what comes with a gateway's API, with several shards, with a pattern; and Prometheus's own.
ELSEWHERE = {
    "wawp_exporter_reconcile_corrections_total": {"source"},
    "wawp_exporter_reconcile_last_success_timestamp_seconds": {"source"},
    "wawp_exporter_api_up": {"source"},
    "wawp_session_recurring_disconnects": {"source", "session", "weekday", "hour"},
    "wawp_outage_since_timestamp_seconds": {"source", "engine", "kind"},
    "wawp_outage_sessions": {"source", "engine", "kind"},
    "ALERTS": {"alertname", "alertstate", "severity", "category", "source", "engine", "group", "session"},
    "up": set(),
    "scrape_samples_scraped": set(),
    "scrape_duration_seconds": set(),
}
# A source is whole on one shard, and so is what is judged of it; what a group should have is the same on all of them.
SHARDED = re.compile(
    r"wawp_(?!session_|exporter_|threshold_|slo_objective_|outage_|losses_|source_synced|group_configured_)"
)
# Of two replicas that say the same these take one; the others would count twice.
# Native histograms cannot be compared: that of the replica that has seen most is taken.
CHOSEN_REPLICA = re.compile(
    r"and topk by \((?:source, engine, shard|source, session, status)\) \(1, histogram_count\(increase\((\w+)"
)
ONE_OF_TWO = {"max", "min", "topk", "group"}
EVERYTHING = [
    *((query.name, query.expr) for query in boards.queries()),
    *(
        (f"{name}: {variable['name']}", variable["query"]["query"].rsplit(", ", 1)[0].partition("(")[2].rstrip(")"))
        for name in boards.BOARD_NAMES
        for variable in boards.variables(name)
        if variable["type"] == "query" and variable["query"]["query"].startswith("label_values")
    ),
    *(
        (f"{name}: {annotation['name']}", annotation["expr"])
        for name in boards.BOARD_NAMES
        for annotation in boards.board(name)["annotations"]["list"]
    ),
]
each_expression = pytest.mark.parametrize(("name", "expr"), EVERYTHING, ids=[name for name, _ in EVERYTHING])
each_query = pytest.mark.parametrize("query", list(boards.queries()), ids=lambda query: query.name)


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The series of a running exporter, with their labels."""
    config = {"groups": {"sales": ["default/sales-uk"]}}
    with parts.Exporter(config) as exporter:
        timelock = {"reachoutTimelock": {"isActive": True}}
        exporter.post(parts.envelope(session="sales-uk", payload={"data": timelock})).raise_for_status()
        for own in (True, False):
            message = {"event": "message.any", "session": "sales-uk", "payload": {"fromMe": own, "id": f"{own}"}}
            exporter.post(message).raise_for_status()
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(exporter.metrics()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
                if sample.name.endswith("_bucket"):  # as Prometheus has it that converts it to a native one
                    found.setdefault(family.name, set()).update({*sample.labels} - {"le"})
    return found


def walk(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The node and all below it, each with what stands above it, the nearest last."""
    yield node, above
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from walk(child, (*above, node))
    for child in getattr(node, "args", None) or []:
        yield from walk(child, (*above, node))


def selectors(expr: str) -> list[tuple[Any, list[str]]]:
    """Each selector, with the aggregations that it stands in, the nearest last."""
    return [
        (node, [str(each.op) for each in above if isinstance(each, promql.AggregateExpr)])
        for node, above in walk(parsed(expr))
        if isinstance(node, promql.VectorSelector)
    ]


def parsed(expr: str) -> Any:
    """The syntax tree, with something in the place of Grafana's variables."""
    return promql.parse(boards.put_in(expr, {"limit": "50"}, 86400, 60))


@each_expression
def test_every_metric_and_label_exists(name: str, expr: str, exported: dict[str, set[str]]) -> None:
    """In the exporter as it runs, or among the few that it has not always."""
    known = exported | ELSEWHERE
    found = [selector for selector, _ in selectors(expr)]
    grouped = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expr)
    labels = {label.strip() for labels in grouped for label in labels.split(",") if label.strip()}

    for selector in found:
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= known[selector.name] | TARGET, selector.name
    assert labels <= set().union(*(known[selector.name] for selector in found)) | TARGET | {"shard"}


@each_query
def test_a_rate_follows_the_resolution(query: Query) -> None:
    """`rate` and its kin over `$__rate_interval` or the whole range; windows that a title promises stand still."""
    windows = set(re.findall(r"\b(?:rate|increase|irate)\(.*?\[([^]]+)\]", query.expr))

    assert windows <= {
        "$__rate_interval",
        "$__range",
        "$__range:$__interval",
        "1h",
        "6h",
        "1d",
        "3d",
        "24h",
        "7d",
        "30d",
    }
    assert not re.search(r"\birate\(", query.expr)


@each_query
def test_replicas_are_not_added_up(query: Query) -> None:
    """`max` over replicas before anything is summed or counted: only what each replica hears for itself adds up."""
    natives = set(CHOSEN_REPLICA.findall(query.expr))
    for selector, aggregations in selectors(query.expr):
        if (
            selector.name.startswith("wawp_")
            and selector.name not in natives
            and not selector.name.startswith("wawp_exporter_")
        ):
            assert aggregations[-1] in ONE_OF_TWO
        if SHARDED.match(selector.name):
            assert "shard" in query.expr


@each_query
def test_every_query_can_be_narrowed_to_a_job(query: Query) -> None:
    """Two installations in one Prometheus are two jobs; `ALERTS` has none, the rules aggregate it away."""
    for selector, _ in selectors(query.expr):
        if selector.name != "ALERTS":
            assert "job" in {matcher.name for matcher in selector.matchers.matchers}


def test_the_story_is_longer_than_any_dashboard_shows() -> None:
    """So that no figure is of half a range."""
    assert max(boards.RANGES.values()) <= story.MONTH
