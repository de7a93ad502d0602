"""Panels in few words: a title, what is asked, of which series, and how the answer is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    statushistory,
    table,
    text,
)
from grafana_foundation_sdk.builders import timeseries as series_builder
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from grafana.look import (
    FIRING,
    LASTING,
    OBJECTIVE,
    PLAIN,
    SEVERITY_WORDS,
    STATUS_COLOURS,
    STATUS_NUMBERS,
    STATUS_WORDS,
    Steps,
    fixed,
    thresholds,
)
from grafana.queries import FIRING as FIRING_ALERTS
from grafana.queries import objective

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# Asked last, for colours only.
SCALE, SCALE_INDEX = f"2 * {objective()} - 1", 25
# A query and its legend.
Line = tuple[str, str]
Link = dict[str, Any]
# A builder of any kind of panel: they have no base in common.
Panel = Any

CARRIED = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${exporter_url:queryparam}"
SPAN = "from=${__from:date:iso}&to=${__to:date:iso}"
RUNBOOKS = "https://github.com/wawp/wawp-exporter/blob/main/alerts/runbooks"


class DataLink:
    """A link from a value; the builder's own is a dashboard's link, which has other fields."""

    def __init__(self, title: str, url: str, *, away: bool = False) -> None:
        self.link: Link = {"title": title, "url": url, "targetBlank": away}

    def build(self) -> Any:
        return self.link


def session_links(of: str) -> list[DataLink]:
    """To a session's dashboard and to its page in the exporter; `of` is `__data.fields` or `__field.labels`."""
    source, session = (f"${{{of}.{name}:percentencode}}" for name in ("source", "session"))
    page = f"${{exporter_url}}/sessions/{source}/{session}?{SPAN}"
    return [
        DataLink("Session", f"/d/wawp-session?var-source={source}&var-session={session}&{CARRIED}"),
        DataLink("Log in the exporter", page, away=True),
    ]


def runbook(of: str) -> DataLink:
    """To what to do about an alert."""
    return DataLink("Runbook", f"{RUNBOOKS}/${{{of}.alertname}}.md", away=True)


def query(expr: str, legend: str, index: int, *, instant: bool, interval: str = "") -> prometheus.Dataquery:
    """One target of a panel."""
    made = prometheus.Dataquery().expr(expr).ref_id(chr(ord("A") + index)).datasource(DATASOURCE)
    made = made.instant() if instant else made.range()
    if interval:
        made = made.interval(interval)
    return made.legend_format(legend) if legend else made


def dressed(
    panel: Panel,
    title: str,
    description: str,
    unit: str,
    width: int,
    height: int,
    steps: Steps,
) -> Panel:
    """What every panel has."""
    panel = panel.title(title).description(description).span(width).height(height)
    return panel.datasource(DATASOURCE).unit(unit).thresholds(thresholds(steps))


def figure(
    title: str,
    expr: str,
    *,
    description: str,
    unit: str = "short",
    steps: Steps = PLAIN,
    width: int = 4,
    decimals: int | None = None,
    legend: str = "",
    mapped: bool = False,
    links: Sequence[DataLink] = (),
    height: int = 4,
) -> Panel:
    """The answer as of now, in one figure (or one for each legend)."""
    panel = dressed(stat.Panel(), title, description, unit, width, height, steps)
    panel = panel.with_target(query(expr, legend, 0, instant=True)).graph_mode(looks.BigValueGraphMode.NONE)
    panel = panel.color_scheme(colours("thresholds")).no_value("–").data_links(list(links))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.mappings([STATUS_NUMBERS]) if mapped else panel


def colours(mode: str) -> FieldColor:
    """By threshold, or a colour of the palette for each series."""
    return FieldColor().mode(models.FieldColorModeId(mode))


def by_objective(panel: Panel) -> Panel:
    """A share in the colours of the configured objective: met, missed, or missed by more than as much again.

    A last query gives the lower end of the scale; with 1 as its upper end, the objective is the middle.
    """
    scale = query(SCALE, "min", SCALE_INDEX, instant=True)
    panel = panel.with_target(scale).with_transformation(scaled("min")).max(1)
    return panel.thresholds(thresholds(OBJECTIVE))


def scaled(field: str) -> models.DataTransformerConfig:
    """Takes the least value of the scale from the last query."""
    mapping = {"fieldName": field, "handlerKey": "min", "reducerId": "lastNotNull"}
    return models.DataTransformerConfig(
        id_val="configFromData", options={"configRefId": chr(ord("A") + SCALE_INDEX), "mappings": [mapping]}
    )


def series(
    title: str,
    *lines: Line,
    description: str,
    unit: str = "short",
    steps: Steps = PLAIN,
    width: int = 12,
    height: int = 8,
    interval: str = "",
    stacked: bool = False,
    bars: bool = False,
    least: float | None = 0,
    most: float | None = None,
    marks: Mapping[str, str] | None = None,
    links: Sequence[DataLink] = (),
) -> Panel:
    """Lines over time; steps beyond the first are drawn as dashed lines; `marks` are colours by name of series."""
    panel = dressed(series_builder.Panel(), title, description, unit, width, height, steps)
    for index, (expr, legend) in enumerate(lines):
        panel = panel.with_target(query(expr, legend, index, instant=False, interval=interval))
    panel = panel.color_scheme(colours("palette-classic")).fill_opacity(60 if stacked or bars else 0)
    panel = panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI)).legend(legends())
    panel = panel.show_points(looks.VisibilityMode.AUTO).data_links(list(links))
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    if bars:
        panel = panel.draw_style(looks.GraphDrawStyle.BARS)
    if len(steps) > 1:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED))
    panel = panel.min(least) if least is not None else panel
    panel = panel.max(most) if most is not None else panel
    for name, colour in (marks or {}).items():
        panel = panel.override_by_name(name, [fixed(colour)])
    return panel


def legends() -> common.VizLegendOptions:
    """Below, in one line."""
    made = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST)
    return made.placement(looks.LegendPlacement.BOTTOM).show_legend(True)


def by_status(title: str, expr: str, *, description: str, unit: str = "short", width: int = 12) -> Panel:
    """Statuses stacked in their colours; the query's series carry `status`."""
    line = (expr, "{{status}}")
    return series(title, line, description=description, unit=unit, width=width, stacked=True, marks=STATUS_COLOURS)


def heatmap(
    title: str,
    expr: str,
    legend: str,
    *,
    description: str,
    unit: str = "none",
    steps: Steps = PLAIN,
    width: int = 24,
    height: int = 12,
    mapped: bool = True,
    links: Sequence[DataLink] = (),
) -> Panel:
    """A row a series, a column a moment; a colour says how it was. So few columns and rows a page that each is seen."""
    panel = dressed(statushistory.Panel(), title, description, unit, width, height, steps)
    panel = panel.with_target(query(expr, legend, 0, instant=False)).max_data_points(72)
    panel = (
        panel.show_value(looks.VisibilityMode.NEVER)
        .row_height(0.9)
        .per_page(200)
        .legend(legends())
        .data_links(list(links))
    )
    panel = panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.SINGLE))
    panel = panel.color_scheme(colours("thresholds"))
    return panel.mappings([STATUS_NUMBERS]) if mapped else panel


def timeline(
    title: str,
    expr: str,
    legend: str,
    *,
    description: str,
    height: int = 5,
    words: models.ValueMapping = STATUS_NUMBERS,
    links: Sequence[DataLink] = (),
) -> Panel:
    """States as bars from change to change: statuses, or what `words` says of problems and alerts."""
    panel = dressed(statetimeline.Panel(), title, description, "none", 24, height, PLAIN)
    panel = panel.with_target(query(expr, legend, 0, instant=False)).legend(legends()).merge_values(True)
    panel = panel.show_value(looks.VisibilityMode.AUTO).row_height(0.8)
    panel = panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.SINGLE))
    panel = panel.color_scheme(colours("thresholds"))
    return panel.mappings([words]).data_links(list(links))


def firing_over_time(title: str, expr: str, *, description: str) -> Panel:
    """One row an alert, in the colour of its severity."""
    links = [runbook("__field.labels")]
    return timeline(title, expr, "{{alertname}}", description=description, words=FIRING, links=links)


def problems_over_time(title: str, expr: str, *, description: str) -> Panel:
    """One row a problem, while it lasts."""
    return timeline(title, expr, "{{problem}}", description=description, words=LASTING)


def rows(
    title: str,
    *queries: str,
    description: str,
    columns: Sequence[str],
    values: Mapping[str, tuple[str, str]] | None = None,
    links: Mapping[str, Sequence[DataLink]] | None = None,
    width: int = 12,
    height: int = 8,
    sort: str = "",
    transformations: Sequence[models.DataTransformerConfig] = (),
    promised: str = "",
) -> Panel:
    """A table as of now: `columns` are labels, `values` names of values with heading and unit; all else is left out.

    The value under the heading `promised` has the colours of the configured objective.
    """
    values = values or {}
    panel = dressed(table.Panel(), title, description, "none", width, height, OBJECTIVE if promised else PLAIN)
    for index, expr in enumerate(queries):
        panel = panel.with_target(tabular(expr, index))
    if promised:
        panel = panel.with_target(tabular(SCALE, SCALE_INDEX)).with_transformation(scaled("Value #Z")).max(1)
        panel = panel.override_by_name(promised, [coloured()])
    for made in transformations or tabulated(columns, values, merged=len(queries) > 1):
        panel = panel.with_transformation(made)
    for heading, unit in values.values():
        panel = panel.override_by_name(heading, [models.DynamicConfigValue("unit", unit)])
    for name, given in (links or {}).items():
        panel = panel.override_by_name(name, [models.DynamicConfigValue("links", [link.build() for link in given])])
    for name, mapping in (("status", STATUS_WORDS), ("severity", SEVERITY_WORDS)):
        if name in columns:
            panel = panel.override_by_name(name, [models.DynamicConfigValue("mappings", [mapping]), coloured()])
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return panel.no_value("–").filterable(True)


def tabular(expr: str, index: int) -> prometheus.Dataquery:
    """A query whose answer is a table."""
    return query(expr, "", index, instant=True).format(prometheus_models.PromQueryFormat.TABLE)


def coloured() -> models.DynamicConfigValue:
    """A cell whose text has the colour of its mapping or threshold."""
    return models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})


def tabulated(
    columns: Sequence[str], values: Mapping[str, tuple[str, str]], *, merged: bool
) -> list[models.DataTransformerConfig]:
    """Queries joined on their common labels, then the columns that are wanted, in order."""
    names = [*columns, *values]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("filterFieldsByName", {"include": {"names": names}}),
        (
            "organize",
            {
                "indexByName": {name: index for index, name in enumerate(names)},
                "renameByName": {name: heading for name, (heading, _) in values.items()},
            },
        ),
    ]
    if merged:
        steps.insert(0, ("merge", {}))
    return [models.DataTransformerConfig(id_val=name, options=options) for name, options in steps]


def matrix(title: str, expr: str, *, row: str, column: str, description: str, width: int = 12) -> Panel:
    """A count for each pair of two labels."""
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "zero"}
    crossed = models.DataTransformerConfig(id_val="groupingToMatrix", options=options)
    panel = rows(title, expr, description=description, columns=(), width=width, transformations=[crossed])
    return panel.unit("short").decimals(0)


def bars(title: str, expr: str, legend: str, *, description: str, unit: str, width: int = 12) -> Panel:
    """One bar a series, as of now; statuses in their colours."""
    panel = dressed(bargauge.Panel(), title, description, unit, width, 8, PLAIN).min(0).no_value("–")
    panel = panel.with_target(query(expr, legend, 0, instant=True)).orientation(looks.VizOrientation.HORIZONTAL)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.display_mode(looks.BarGaugeDisplayMode.BASIC)
    for name, colour in STATUS_COLOURS.items():
        panel = panel.override_by_name(name, [fixed(colour)])
    return panel


def words(title: str, content: str, *, description: str, width: int = 12, height: int = 5) -> Panel:
    """What no query can answer, and where the answer is."""
    return text.Panel().title(title).description(description).content(content).span(width).height(height)


def firing_alerts(selection: str, *, width: int = 12, height: int = 8) -> Panel:
    """The alerts that fire now, with the way to what to do about each."""
    columns = ("alertname", "severity", "source", "engine", "group", "session")
    return rows(
        "Firing alerts",
        f"group by ({', '.join(columns)}) (ALERTS{{{FIRING_ALERTS}{selection}}})",
        description="Which alerts fire, and what is to be done? As Prometheus has them now. A click on an alert opens"
        " its runbook, a click on a session its dashboard.",
        columns=columns,
        links={"alertname": [runbook("__data.fields")], "session": session_links("__data.fields")},
        width=width,
        height=height,
    )
