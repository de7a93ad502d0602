"""What the four dashboards have in common: variables, annotations, links, and the order of rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from grafana.look import BAD, NEUTRAL
from grafana.panels import DATASOURCE
from grafana.queries import FIRING, JOB

REFRESH = models.VariableRefresh.ON_TIME_RANGE_CHANGED
NAMES = {"fleet": "Fleet", "session": "Session", "slo": "Reliability", "exporter": "Exporter"}
# Kept in the answers of Prometheus and Grafana for ever, so that links and bookmarks hold.
UID = "wawp-{}"

# What grafana.com and Grafana's import ask for: whoever imports a dashboard chooses a data source, and finds it chosen.
# Where a dashboard is provisioned nobody is asked, and Grafana takes its default Prometheus.
INPUT = "DS_PROMETHEUS"
INPUTS = [
    {
        "name": INPUT,
        "label": "Prometheus",
        "description": "The Prometheus that scrapes wawp-exporter.",
        "type": "datasource",
        "pluginId": "prometheus",
        "pluginName": "Prometheus",
    }
]
REQUIRED = (("grafana", "grafana", "Grafana", "11.0.0"), ("datasource", "prometheus", "Prometheus", "1.0.0"))
PANELS = {
    "bargauge": "Bar gauge",
    "stat": "Stat",
    "state-timeline": "State timeline",
    "status-history": "Status history",
    "table": "Table",
    "text": "Text",
    "timeseries": "Time series",
}

# Defaults that the builder writes into every variable, though Grafana knows them of one kind only.
UNKNOWN = ("auto", "auto_count", "auto_min")


@dataclass(frozen=True)
class Row:
    """A heading, and the panels that answer it; 24 columns fill a line."""

    title: str
    panels: Sequence[Any]


@dataclass(frozen=True)
class Board:
    """One dashboard: its question, its variables and its rows."""

    name: str
    question: str
    about: str  # for those who find it on grafana.com
    rows: Sequence[Row]
    variables: Sequence[Any]
    alerts: str = ""  # which firing alerts are marked on its panels
    since: str = "now-24h"
    refresh: str = "30s"
    links: Sequence[Any] = field(default_factory=tuple)

    @property
    def uid(self) -> str:
        """What the rules' `dashboard_url` names."""
        return UID.format(self.name)

    def build(self) -> dict[str, Any]:
        """The dashboard as JSON has it."""
        made = (
            builders.Dashboard(f"Wawp / {NAMES[self.name]}").uid(self.uid).description(f"{self.question} {self.about}")
        )
        made = made.tags(["wawp"]).readonly().tooltip(models.DashboardCursorSync.CROSSHAIR).timezone("browser")
        made = made.time(self.since, "now").refresh(self.refresh).links([*others(self.name), *self.links])
        made = made.variables([datasource(), job(), *self.variables, exporter_url()])
        for row in self.rows:
            made = made.with_row(builders.Row(row.title))
            for panel in row.panels:
                made = made.with_panel(panel)
        data: dict[str, Any] = json.loads(JSONEncoder().encode(made.build()))
        for index, panel in enumerate(data["panels"], 1):
            panel["id"] = index
            panel.get("options", {}).pop("footer", None)
        for item in data["templating"]["list"]:
            for name in UNKNOWN:
                item.pop(name, None)
        data["annotations"] = {"list": [firing(self.alerts), restarts()]}
        return data | {"__inputs": INPUTS, "__elements": {}, "__requires": required(data["panels"])}


def text_of(data: dict[str, Any]) -> str:
    """The text that is committed."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def required(panels: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Grafana, its data source, and each kind of panel."""
    kinds = sorted({panel["type"] for panel in panels} - {"row"})
    everything = [*REQUIRED, *(("panel", kind, PANELS[kind], "") for kind in kinds)]
    return [dict(zip(("type", "id", "name", "version"), each, strict=True)) for each in everything]


# Variables


def datasource() -> builders.DatasourceVariable:
    """Whichever Prometheus there is: no dashboard names one."""
    chosen = models.VariableOption(text=f"${{{INPUT}}}", value=f"${{{INPUT}}}")
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus").current(chosen)


def variable(
    name: str, query: str, label: str, *, several: bool = True, hidden: bool = False
) -> builders.QueryVariable:
    """Values from Prometheus, read anew when the time range changes."""
    made = builders.QueryVariable(name).label(label).datasource(DATASOURCE).refresh(REFRESH)
    made = made.query({"query": query, "refId": name}).sort(models.VariableSort.ALPHABETICAL_ASC)
    if hidden:
        made = made.hide(models.VariableHide.HIDE_VARIABLE)
    if several:
        made = made.multi(True).include_all(True)
        made = made.current(models.VariableOption(text=["All"], value=["$__all"]))
    return made


def job() -> builders.QueryVariable:
    """The scrape jobs in which an exporter has been found."""
    return variable("job", "label_values(wawp_exporter_build_info, job)", "Job").all_value(".*")


def source(*, several: bool = True) -> builders.QueryVariable:
    """Wawp accounts and WAHA servers."""
    query = f"label_values(wawp_threshold_default_seconds{{{JOB}}}, source)"
    made = variable("source", query, "Source", several=several)
    return made.all_value(".*") if several else made


def engine() -> builders.QueryVariable:
    """Engines that the sources have run."""
    return variable("engine", f'label_values(wawp_sessions{{{JOB},source=~"$source"}}, engine)', "Engine").all_value(
        ".*"
    )


def exporter_url() -> builders.TextBoxVariable:
    """Where the exporter's own pages are, for a browser."""
    made = builders.TextBoxVariable("exporter_url").label("Exporter's address")
    return made.default_value("http://127.0.0.1:10011").current(
        models.VariableOption(text="http://127.0.0.1:10011", value="http://127.0.0.1:10011")
    )


# Links and annotations


# A session's dashboard takes one source and one session: "All" is none that it knows.
ONE_SESSIONS = "/d/wawp-session?${datasource:queryparam}&${job:queryparam}&${exporter_url:queryparam}"


def others(name: str) -> list[builders.DashboardLink]:
    """To the other dashboards, with time and variables, and to the exporter's own page."""
    inside = [
        link(title, f"/d/{UID.format(other)}", time=True).include_vars(True)
        for other, title in NAMES.items()
        if other not in {name, "session"}
    ]
    if name != "session":
        inside.append(link(NAMES["session"], ONE_SESSIONS, time=True))
    return [*inside, away("Exporter's page", "/")]


def link(title: str, url: str, *, time: bool) -> builders.DashboardLink:
    """A link at the top; `time` keeps the range."""
    made = builders.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url).icon("external link")
    return made.keep_time(time).target_blank(not time)


def away(title: str, path: str) -> builders.DashboardLink:
    """A link to the exporter, in a window of its own; the path says the range."""
    return link(title, f"${{exporter_url}}{path}", time=False)


def firing(selection: str) -> dict[str, Any]:
    """Bars where alerts fired."""
    return annotation(
        "Alerts",
        f"group by (alertname, severity, source, session) (ALERTS{{{FIRING}{selection}}})",
        BAD,
        titleFormat="{{alertname}}",
        textFormat="{{source}} {{session}}",
        tagKeys="severity",
    )


def restarts() -> dict[str, Any]:
    """A line at each moment at which an exporter started: counters begin at 0 there."""
    started = f"max by (instance) (process_start_time_seconds{{{JOB}}}) * 1000"
    return annotation(
        "Exporter restarts", started, NEUTRAL, titleFormat="Exporter started", textFormat="{{instance}}",
        useValueForTime="on",
    )  # fmt: skip


def annotation(name: str, expr: str, colour: str, **more: str) -> dict[str, Any]:
    """A query of the Prometheus data source, whose fields no builder knows."""
    source = {"type": DATASOURCE.type_val, "uid": DATASOURCE.uid}
    return {
        "name": name,
        "datasource": source,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        **more,
    }
