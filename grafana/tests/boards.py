"""The committed dashboards as tests read them: panels, queries, and what Grafana would put in for the variables."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grafana.__main__ import BOARDS, path_of
from grafana.tests import story
from tests import parts

BOARD_NAMES = tuple(board.name for board in BOARDS)
RANGES = {"now-24h": 24 * 3600, "now-30d": 30 * 24 * 3600}
WIDTH = 1000  # pixels, and so points that a panel asks for if it does not say itself
# What a person chooses; the others stand at "All".
CHOSEN = {"session": {"source": "default", "session": "phone"}}


@dataclass(frozen=True)
class Query:
    """One target of a panel of a dashboard."""

    board: str
    panel: dict[str, Any]
    target: dict[str, Any]

    @property
    def expr(self) -> str:
        """As it is committed."""
        return str(self.target["expr"])

    @property
    def name(self) -> str:
        """Where it is found."""
        return f"{self.board}: {self.panel['title']} {self.target['refId']}"


def board(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    data: dict[str, Any] = json.loads(path_of(name).read_text())
    return data


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the headings of rows."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def queries(*names: str) -> Iterator[Query]:
    """Every target of every panel."""
    for name in names or BOARD_NAMES:
        for panel in panels(name):
            for target in panel.get("targets", ()):
                yield Query(name, panel, target)


def variables(name: str) -> list[dict[str, Any]]:
    """Its variables, in the order in which Grafana resolves them."""
    found: list[dict[str, Any]] = board(name)["templating"]["list"]
    return found


def range_of(name: str) -> int:
    """The seconds that a dashboard shows when it is opened."""
    return RANGES[board(name)["time"]["from"]]


def seconds(text: str) -> int:
    """A duration of Prometheus."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]


def step_of(query: Query) -> int:
    """The step of a panel's graph: its range in as many points as it asks for, or the panel's least one."""
    least = seconds(query.target.get("interval") or "1s")
    points: int = query.panel.get("maxDataPoints", WIDTH)
    return max(range_of(query.board) // points, least)


def put_in(text: str, values: dict[str, str], span: int, step: int, scrape: int = story.STEP) -> str:
    """What Grafana sends: the variables replaced, for a time range and a step in seconds."""
    built_in = {
        "__rate_interval": f"{max(step + scrape, 4 * scrape)}s",
        "__range_s": str(span),
        "__range": f"{span}s",
        "__interval": f"{step}s",
    }
    for name, value in sorted((built_in | values).items(), key=lambda item: -len(item[0])):
        text = text.replace(f"${name}", value)
    return text


def values_of(
    name: str, prometheus: parts.Prometheus, at: float, scrape: int = story.STEP, **chosen: str
) -> dict[str, str]:
    """What stands in the variables when the dashboard is opened."""
    values: dict[str, str] = {}
    chosen = CHOSEN.get(name, {}) | chosen
    for variable in variables(name):
        label = variable["name"]
        if variable["type"] == "query":
            found = answers(variable, values, prometheus, at, range_of(name), scrape)
            values[label] = chosen.get(label) or variable.get("allValue") or any_of(found)
        elif variable["type"] != "datasource":
            values[label] = chosen.get(label) or str(variable["current"]["value"])
    return values


def answers(
    variable: dict[str, Any], values: dict[str, str], prometheus: parts.Prometheus, at: float, span: int, scrape: int
) -> list[str]:
    """The options of a variable."""
    query = put_in(variable["query"]["query"], values, span, span // WIDTH, scrape)
    kind, inner = re.fullmatch(r"(label_values|query_result)\((.*)\)", query, re.DOTALL).groups()  # type: ignore[union-attr]
    if kind == "label_values":
        selector, label = inner.rsplit(", ", 1)
        found = prometheus.api(f"label/{label}/values", **{"match[]": selector, "start": at - span, "end": at})
        return [str(value) for value in found]
    texts = [as_grafana_writes(result["metric"]) for result in prometheus.query(inner, at)]
    pattern = re.compile(variable["regex"].strip("/"))
    return [found[1] for text in texts if (found := pattern.search(text))]


def as_grafana_writes(labels: dict[str, str]) -> str:
    """A series as `query_result` gives it."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def any_of(values: list[str]) -> str:
    """Several values in a regular expression, escaped once for it and once for the string it stands in."""
    return "(" + "|".join(re.sub(r"([\\^$*+?.()|{}\[\]])", r"\\\\\1", value) for value in values) + ")"


def ask(
    query: Query, values: dict[str, str], prometheus: parts.Prometheus, at: float, scrape: int = story.STEP
) -> list[dict[str, Any]]:
    """The answer as Grafana would get it: `values` of each series, one of an instant query."""
    span, step = range_of(query.board), step_of(query)
    expr = put_in(query.expr, values, span, step, scrape)
    if query.target.get("instant"):
        answer = posted(prometheus, "query", query=expr, time=at)
        return [{**series, "values": [series["value"]]} for series in answer["result"]]
    found: list[dict[str, Any]] = posted(prometheus, "query_range", query=expr, start=at - span, end=at, step=step)[
        "result"
    ]
    return found


def posted(prometheus: parts.Prometheus, path: str, **given: Any) -> Any:
    """`data` of an answer, asked for as Grafana does: a thousand names of sessions fit into no address."""
    answer = prometheus.client.post(f"{prometheus.url}/api/v1/{path}", data=given).json()
    assert answer["status"] == "success", answer
    return answer["data"]
