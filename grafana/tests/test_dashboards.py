"""What every dashboard must hold, whatever it shows."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from grafana import look
from grafana.__main__ import BOARDS, path_of
from grafana.board import text_of
from grafana.tests import boards
from tests import parts
from tests.parts import ROOT

SCHEMAS = json.loads(Path(__file__).with_name("schema.json").read_text())
# Fields of annotations that belong to the Prometheus data source: Grafana's schema leaves them open to no one.
OF_SHARING = {"__inputs", "__elements", "__requires"}  # what an export adds: Grafana takes it away again
OF_THE_DATASOURCE = {"expr", "titleFormat", "textFormat", "tagKeys", "useValueForTime"}
ALERTING = "\n".join(path.read_text() for path in (ROOT / "alerts").glob("*.rules.yml"))
each_board = pytest.mark.parametrize("name", boards.BOARD_NAMES)
each_panel = pytest.mark.parametrize(
    ("name", "panel"),
    [
        pytest.param(name, panel, id=f"{name}-{panel['id']}")
        for name in boards.BOARD_NAMES
        for panel in boards.panels(name)
    ],
)


def under(key: str, node: Any) -> list[Any]:
    """Every value of a key, wherever it stands."""
    if isinstance(node, dict):
        found = [node[key]] if key in node else []
        return found + [value for child in node.values() for value in under(key, child)]
    return [value for child in node for value in under(key, child)] if isinstance(node, list) else []


def links(node: Any) -> list[str]:
    """Every URL in a dashboard."""
    return [url for url in under("url", node) if url]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_committed_json_is_what_the_code_makes(board: Any) -> None:
    """`python -m grafana` writes it anew."""
    assert path_of(board.name).read_text() == text_of(board.build())


@each_board
def test_a_dashboard_is_valid(name: str) -> None:
    """Against the JSON schema of Grafana's own types (npm @grafana/schema)."""
    data = {key: value for key, value in boards.board(name).items() if key not in OF_SHARING}
    for annotation in data["annotations"]["list"]:
        for field in OF_THE_DATASOURCE & set(annotation):
            del annotation[field]

    errors = [str(error) for error in jsonschema_rs.Draft7Validator(SCHEMAS["dashboard"]).iter_errors(data)]
    assert errors == []


@each_panel
def test_a_panel_is_valid(name: str, panel: dict[str, Any]) -> None:
    """Its options and its fields', but for what is left to Grafana's defaults."""
    fields = panel.get("fieldConfig", {"defaults": {}})["defaults"]
    kinds = {"Options": panel.get("options", {}), "FieldConfig": fields.get("custom", {})}
    for kind, value in kinds.items():
        schema = SCHEMAS.get(f"{panel['type']} {kind}")
        if schema:
            errors = jsonschema_rs.Draft7Validator(schema).iter_errors(value)
            assert [str(error) for error in errors if "is a required property" not in error.message] == []


@each_board
def test_a_dashboard_can_be_told_and_not_be_spoilt(name: str) -> None:
    """Fixed uid, a question and what it is about, read-only, no answer of one installation in it."""
    data = boards.board(name)

    assert data["uid"] == f"wawp-{name}"
    assert re.fullmatch(r"[A-Z][^?]+\? .*wawp-exporter.*\.", data["description"])
    assert data["editable"] is False
    assert data.get("id") is None
    assert [annotation["name"] for annotation in data["annotations"]["list"]] == ["Alerts", "Exporter restarts"]
    assert {variable["name"] for variable in boards.variables(name)} >= {"datasource", "job", "source", "exporter_url"}


@each_board
def test_no_datasource_is_named(name: str) -> None:
    """Wherever one is needed it is the variable's."""
    assert {json.dumps(found) for found in under("datasource", boards.board(name))} == {
        '{"type": "prometheus", "uid": "${datasource}"}'
    }


@each_board
def test_a_dashboard_can_be_shared_on_grafana_com(name: str) -> None:
    """Whoever imports it chooses a Prometheus, which is then chosen in the dashboard; kinds of panels are named."""
    data = boards.board(name)
    required = {(each["type"], each["id"]) for each in data["__requires"]}

    assert [(each["name"], each["type"], each["pluginId"]) for each in data["__inputs"]] == [
        ("DS_PROMETHEUS", "datasource", "prometheus")
    ]
    assert boards.variables(name)[0]["current"]["value"] == "${DS_PROMETHEUS}"
    assert required == {
        ("grafana", "grafana"),
        ("datasource", "prometheus"),
        *(("panel", panel["type"]) for panel in boards.panels(name)),
    }


@each_panel
def test_a_panel_can_be_scanned_and_explains(name: str, panel: dict[str, Any]) -> None:
    """A title of few words; the question that it answers, and how, in the description; a unit."""
    assert re.fullmatch(r"[A-Z][^?:]{3,24}", panel["title"])
    assert re.fullmatch(r"(?s)[A-Z][^.]*\? .+\.", panel["description"])
    if panel["type"] != "text":
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


@each_panel
def test_no_limit_of_availability_is_fixed(name: str, panel: dict[str, Any]) -> None:
    """Half of the scale is the configured objective: its upper end is 1, its lower end comes from the last query."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    found = defaults.get("thresholds", {"mode": "", "steps": []})
    values = [step["value"] for step in found["steps"]]
    if found["mode"] != "percentage":
        share = defaults.get("unit") == "percentunit" and not panel["title"].startswith("Known")
        assert not share or set(values) <= {None, 0, 0.001, 0.25, 1}
        return

    *_, scale = panel["targets"]
    taken = panel["transformations"][0]
    assert scale["expr"].startswith("2 * max by () (wawp_slo_objective_ratio{")
    assert scale["expr"].endswith("}) - 1")
    assert defaults["max"] == 1
    assert values == [None, 0, 50]
    assert taken["id"] == "configFromData"
    assert taken["options"]["configRefId"] == scale["refId"]


@each_board
def test_panels_stand_side_by_side(name: str) -> None:
    """Unique ids and titles, full lines of 24 columns, nothing over anything else."""
    cells: set[tuple[int, int]] = set()
    everything = boards.board(name)["panels"]
    for panel in everything:
        at = panel["gridPos"]
        taken = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not taken & cells
        cells |= taken
        assert at["x"] + at["w"] <= 24

    assert len(cells) == 24 * max(row + 1 for _, row in cells)
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)


def test_statuses_look_as_on_the_exporters_pages() -> None:
    """The colours of `wawp.css`, status by status."""
    css = (ROOT / "src/wawp_exporter/web/static/wawp.css").read_text()
    named = dict(re.findall(r"--(\w+): (#\w{6})", css))
    rules = re.findall(r"^((?:\.s-\w+(?:, )?)+) \{ border-color: (?:var\(--)?([#\w]+)", css, re.MULTILINE)
    colours = {status: named.get(name, name) for names, name in rules for status in re.findall(r"\.s-(\w+)", names)}

    assert colours == look.STATUS_COLOURS


@pytest.fixture(scope="module")
def exporter() -> Iterator[parts.Exporter]:
    """One that knows a session."""
    with parts.Exporter() as running:
        running.post(parts.envelope(session="sales/uk")).raise_for_status()
        yield running


def filled(url: str) -> str:
    """An address with values where Grafana would put them: a day, and a session with a slash in its name."""
    now = datetime.now(UTC)
    put = {"source": "default", "session": "sales%2Fuk", "alertname": "WawpSessionFailed"}
    moments = {"__from": now - timedelta(days=1), "__to": now}
    for name, moment in moments.items():
        url = url.replace(f"${{{name}:date:iso}}", moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    for name, value in put.items():
        url = re.sub(rf"\$\{{(?:__data\.fields\.|__field\.labels\.)?{name}(?::percentencode)?\}}", value, url)
    return url


@each_board
def test_the_exporter_has_the_pages_that_are_linked(name: str, exporter: parts.Exporter) -> None:
    """Each answers, for the session and the time that were chosen."""
    data = boards.board(name)
    written = re.findall(r"\((\$\{exporter_url\}[^)]*)\)", " ".join(map(str, under("content", data))))
    for url in [*links(data), *written]:
        if url.startswith("${exporter_url}"):
            assert exporter.get(filled(url.removeprefix("${exporter_url}"))).status_code == 200


@each_board
def test_other_links_lead_to_dashboards_and_runbooks(name: str) -> None:
    """Dashboards with variables that they have, and the time; runbooks that are there."""
    data = boards.board(name)
    of_panels = links(data["panels"])
    for url in links(data):
        if url.startswith("/d/"):
            uid, _, query = url.removeprefix("/d/").partition("?")
            known = {variable["name"] for variable in boards.variables(uid.removeprefix("wawp-"))}
            assert set(re.findall(r"(?:var-|\$\{)(\w+)(?:=|:queryparam)", query)) <= known
            assert url not in of_panels or "${__url_time_range}" in query
        elif not url.startswith("${exporter_url}"):
            assert (ROOT / filled(url).partition("/blob/main/")[2]).is_file()


@each_board
def test_links_between_dashboards_keep_time_and_variables(name: str) -> None:
    """Those at the top; to one session's dashboard only what it can take."""
    for link in boards.board(name)["links"]:
        inside = link["url"].startswith("/d/")
        assert link["keepTime"] is inside
        assert link["includeVars"] is (inside and "queryparam" not in link["url"])


def test_alerts_name_dashboards_and_variables_that_exist() -> None:
    """Each `dashboard_url` of the rules opens a dashboard of ours, with variables that it has."""
    found = re.findall(
        r"dashboard_url: /d/wawp-(\w+)(\S*)",
        re.sub(r"\{\{.*?\}\}", "x", re.sub(r"\{\{ (if .*?|end) \}\}", "", ALERTING)),
    )

    assert {name for name, _ in found} == set(boards.BOARD_NAMES)
    for name, query in found:
        assert set(re.findall(r"var-(\w+)=", query)) <= {variable["name"] for variable in boards.variables(name)}


@pytest.mark.parametrize("folder", ["datasources", "dashboards"])
def test_provisioning_files_name_what_they_provide(folder: str) -> None:
    """Grafana's format, version 1: a Prometheus without a uid, a folder that nobody can edit."""
    (path,) = (ROOT / "grafana/provisioning" / folder).iterdir()
    data = yaml.safe_load(path.read_text())

    assert data["apiVersion"] == 1
    (provided,) = data.get("datasources") or data["providers"]
    assert provided["type"] == {"datasources": "prometheus", "dashboards": "file"}[folder]
    assert "uid" not in provided
    assert folder == "datasources" or provided["allowUiUpdates"] is False
