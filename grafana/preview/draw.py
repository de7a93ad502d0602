"""Panels as HTML and SVG: big numbers, lines, bars, tables, and rows of colour over time."""

import re
from datetime import UTC, datetime
from html import escape
from typing import Any

from grafana.tests import boards
from tests import parts

Series = list[tuple[str, list[tuple[float, float]]]]

SCALED = "configFromData"
CELL_H = 38  # pixels of a grid row
UNIT_W = 64  # pixels of a grid column
PALETTE = ("#56b4e9", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999", "#f0e442", "#0072b2")
NOTE = (
    "Panels, queries, positions, units and colours are the dashboard's; python -m grafana.preview draws them over a"
    " made-up month of seven sessions. Grafana draws them better."
)
STYLE = """
body { background: #111217; color: #ccccdc; font: 13px sans-serif; margin: 8px; }
.grid { position: relative; } .panel { position: absolute; box-sizing: border-box; padding: 2px; }
.panel > div { background: #181b1f; border: 1px solid #2c3235; height: 100%; overflow: hidden; box-sizing: border-box; }
h3 { font-size: 13px; margin: 4px 8px; font-weight: 500; } .big { font-size: 30px; text-align: center; }
table { border-collapse: collapse; font-size: 12px; margin: 0 8px; } td, th { padding: 2px 8px; text-align: left; }
.row { font-weight: bold; padding: 8px; } .none { color: #888; text-align: center; padding-top: 20px; }
.key { font-size: 11px; margin: 0 8px; } .key b { display: inline-block; width: 10px; height: 3px; margin: 0 4px; }
"""


def page(name: str, prometheus: parts.Prometheus, at: float, **chosen: str) -> str:
    """A dashboard at an instant (Unix seconds), with the values of variables that are `chosen`."""
    values = boards.values_of(name, prometheus, at, **chosen)  # type: ignore[arg-type]  # names of variables
    panels = boards.board(name)["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * CELL_H
    drawn = "\n".join(placed(panel, drawing(name, panel, values, prometheus, at)) for panel in panels)
    head = f"<meta charset=utf-8><title>{name}, a plain preview</title><style>{STYLE}</style>"
    note = f"<h2>Wawp / {name}: a plain preview, not Grafana</h2><p>{NOTE}</p>"
    return f'<!doctype html>{head}{note}<div class="grid" style="height:{height}px">{drawn}</div>'


def placed(panel: dict[str, Any], inner: str) -> str:
    """A panel where the JSON puts it."""
    grid = panel["gridPos"]
    sizes = {"left": ("x", UNIT_W), "top": ("y", CELL_H), "width": ("w", UNIT_W), "height": ("h", CELL_H)}
    box = ";".join(f"{name}:{grid[key] * unit}px" for name, (key, unit) in sizes.items())
    if panel["type"] == "row":
        return f'<div class="panel row" style="{box}">{escape(panel["title"])}</div>'
    title = escape(panel.get("description", ""))
    return f'<div class="panel" style="{box}" title="{title}"><div><h3>{escape(panel["title"])}</h3>{inner}</div></div>'


def drawing(board: str, panel: dict[str, Any], values: dict[str, str], prometheus: parts.Prometheus, at: float) -> str:
    """What is inside a panel."""
    if panel["type"] in ("text", "row"):
        return f"<pre>{escape(panel.get('options', {}).get('content', ''))}</pre>"
    panel = scaled(board, panel, values, prometheus, at)
    raw = [
        (target, boards.ask(boards.Query(board, panel, target), values, prometheus, at))
        for target in panel.get("targets", ())
    ]
    if not any(found for _, found in raw):
        return f'<div class="none">{escape(no_value(panel))}</div>'
    if panel["type"] == "table":
        return table(panel, merged([(target["refId"], found) for target, found in raw]))
    series = [(legend(target, each["metric"]), points(each["values"])) for target, found in raw for each in found]
    draw = {"stat": stat, "bargauge": bars, "timeseries": lines, "state-timeline": states, "status-history": states}
    span = boards.range_of(board)
    return draw.get(panel["type"], lines)(panel, series, at - span, at)


def scaled(board: str, panel: dict[str, Any], values: dict[str, str], prometheus: parts.Prometheus, at: float) -> Any:
    """The panel with the least value of its scale from its last query, and without that query."""
    chosen = [made["options"]["configRefId"] for made in panel.get("transformations", ()) if made["id"] == SCALED]
    if not chosen:
        return panel
    scale = next(target for target in panel["targets"] if target["refId"] == chosen[0])
    (found,) = boards.ask(boards.Query(board, panel, scale), values, prometheus, at)
    fields = panel["fieldConfig"]
    defaults = fields["defaults"] | {"min": float(found["values"][-1][1])}
    left = [target for target in panel["targets"] if target is not scale]
    return panel | {"targets": left, "fieldConfig": fields | {"defaults": defaults}}


def merged(answers: list[tuple[str, list[dict[str, Any]]]]) -> list[dict[str, str]]:
    """Rows of several queries, put together where the labels that all queries have are the same."""
    named = [{*each["metric"]} for _, found in answers for each in found[:1]]
    common = sorted(set.intersection(*named)) if len(named) > 1 else []
    rows: dict[Any, dict[str, str]] = {}
    for ref, found in answers:
        for index, each in enumerate(found):
            key = tuple(each["metric"].get(name) for name in common) if common else (ref, index)
            value = {"Value" if len(answers) == 1 else f"Value #{ref}": each["values"][-1][1]}
            rows[key] = rows.get(key, {}) | each["metric"] | value
    return list(rows.values())


def points(values: list[list[Any]]) -> list[tuple[float, float]]:
    """Times and numbers."""
    return [(float(when), float(value)) for when, value in values]


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    """The name of a series."""
    form = target.get("legendFormat") or " ".join(labels.values())
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form)


def stat(panel: dict[str, Any], series: Series, _start: float, _end: float) -> str:
    """The last value, in the colour of its threshold or mapping."""
    shown = [(name, values[-1][1]) for name, values in series]
    return "".join(
        f'<div class="big" style="color:{colour(panel, value)}">{escape(text(panel, value))}</div>'
        for _, value in shown[:4]
    )


def bars(panel: dict[str, Any], series: Series, _start: float, _end: float) -> str:
    """A bar a series."""
    top = max((values[-1][1] for _, values in series), default=1) or 1
    rows = []
    for name, values in series[:30]:
        value = values[-1][1]
        shade = override(panel, name) or colour(panel, value)
        bar = f'<div style="background:{shade};width:{300 * value / top:.0f}px;height:12px"></div>'
        rows.append(f"<tr><td>{escape(name)}</td><td>{bar}</td><td>{escape(text(panel, value))}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def lines(panel: dict[str, Any], series: Series, start: float, end: float) -> str:
    """A line a series, and the scale."""
    width, height = panel["gridPos"]["w"] * UNIT_W - 30, panel["gridPos"]["h"] * CELL_H - 70
    numbers = [value for _, values in series for _, value in values]
    low, high = min([0, *numbers]), max([*numbers, 1e-9])
    drawn, key = [], []
    for index, (name, values) in enumerate(series):
        shade = override(panel, name) or PALETTE[index % len(PALETTE)]
        where = " ".join(
            f"{(when - start) / (end - start) * width:.1f},{height - (value - low) / (high - low) * height:.1f}"
            for when, value in values
        )
        drawn.append(f'<polyline points="{where}" fill="none" stroke="{shade}"/>')
        key.append(f'<b style="background:{shade}"></b>{escape(name)}')
    scale = f"{escape(text(panel, high))} … {escape(text(panel, low))}"
    svg = f'<svg width="{width}" height="{height}" style="margin:0 8px">{"".join(drawn)}</svg>'
    return f'{svg}<div class="key">{scale} {" ".join(key[:12])}</div>'


def states(panel: dict[str, Any], series: Series, start: float, end: float) -> str:
    """A row a series, coloured by value over time."""
    width, height = panel["gridPos"]["w"] * UNIT_W - 180, panel["gridPos"]["h"] * CELL_H - 40
    row = max(1.0, height / max(1, len(series)))
    drawn = []
    for index, (name, values) in enumerate(series):
        y = index * row
        if row >= 10:
            drawn.append(
                f'<text x="0" y="{y + row / 2 + 4:.1f}" fill="#ccccdc" font-size="11">{escape(name[:24])}</text>'
            )
        step = (values[1][0] - values[0][0]) if len(values) > 1 else end - start
        for when, value in values:
            x, w = 150 + (when - start) / (end - start) * width, step / (end - start) * width
            box = f'x="{x:.1f}" y="{y:.1f}" width="{w + 0.3:.1f}" height="{row * 0.9:.1f}"'
            drawn.append(f'<rect {box} fill="{colour(panel, value)}"/>')
    return f'<svg width="{width + 160}" height="{height}" style="margin:0 8px">{"".join(drawn)}</svg>'


def table(panel: dict[str, Any], rows: list[dict[str, str]]) -> str:
    """The columns that the panel takes, under its headings, with its units; sorted as it says."""
    changes = {change["id"]: change["options"] for change in panel.get("transformations", ())}
    names = changes.get("filterFieldsByName", {}).get("include", {}).get("names")
    names = names or list(dict.fromkeys(name for row in rows for name in row if name != "__name__"))
    headings = changes.get("organize", {}).get("renameByName", {})
    (sort,) = [by["displayName"] for by in panel.get("options", {}).get("sortBy", ())] or [""]
    column = next((name for name, heading in headings.items() if heading == sort), "")
    rows = sorted(rows, key=lambda row: -float(row.get(column, 0) or 0))
    head = "".join(f"<th>{escape(headings.get(name, name))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(cell(panel, row, name, headings.get(name, name)) for name in names)}</tr>"
        for row in rows[: (panel["gridPos"]["h"] * CELL_H - 60) // 21]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def cell(panel: dict[str, Any], row: dict[str, str], name: str, heading: str) -> str:
    """A cell: a label as it is, a value with the unit of its heading, in its colour if it has one."""
    value = row.get(name, "")
    if not name.startswith("Value") or not value:
        return f"<td>{escape(value)[:60]}</td>"
    set_ = {told["id"]: told["value"] for each in panel["fieldConfig"].get("overrides", ())
            if each["matcher"].get("options") == heading for told in each["properties"]}  # fmt: skip
    shade = f' style="color:{colour(panel, float(value))}"' if "custom.cellOptions" in set_ else ""
    return f"<td{shade}>{escape(with_unit(float(value), set_.get('unit', 'short')))}</td>"


def mapping_of(panel: dict[str, Any], value: float) -> dict[str, Any]:
    """What a value is mapped to."""
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", ()):
        options = mapping["options"]
        if mapping["type"] == "value" and f"{value:g}" in options:
            return dict(options[f"{value:g}"])
        if mapping["type"] == "range" and (options.get("from") or -1e300) <= value <= (options.get("to") or 1e300):
            return dict(options["result"])
    return {}


def colour(panel: dict[str, Any], value: float) -> str:
    """By mapping, else by threshold."""
    mapped = mapping_of(panel, value).get("color")
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults.get("thresholds", {}).get("steps", [])
    if defaults.get("thresholds", {}).get("mode") == "percentage":
        value = 100 * (value - defaults["min"]) / (defaults["max"] - defaults["min"])
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return str(mapped or (passed[-1] if passed else PALETTE[0]))


def override(panel: dict[str, Any], name: str) -> str | None:
    """The fixed colour of a series."""
    for each in panel["fieldConfig"].get("overrides", ()):
        matched = each["matcher"]["id"] == "byName" and each["matcher"].get("options") == name
        for told in each["properties"] if matched else ():
            if told["id"] == "color":
                return str(told["value"].get("fixedColor"))
    return None


def text(panel: dict[str, Any], value: float) -> str:
    """A value with its unit, roughly as it would be read."""
    mapped = mapping_of(panel, value).get("text")
    if mapped:
        return str(mapped)
    return with_unit(value, panel["fieldConfig"]["defaults"].get("unit", ""))


def with_unit(value: float, unit: str) -> str:
    """A value with a unit."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "dateTimeFromNow" or unit.startswith("dateTime"):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%d %b %H:%M")
    if unit in ("s", "dtdurations"):
        size, name = next(((n, t) for n, t in ((86400, "d"), (3600, "h"), (60, "min")) if abs(value) >= n), (1, "s"))
        return f"{value / size:.3g} {name}"
    if unit in ("bytes", "decbytes"):
        return f"{value / 1e6:.3g} MB"
    return f"{value:.4g}{'' if unit in ('', 'short', 'none') else ' ' + unit}"


def no_value(panel: dict[str, Any]) -> str:
    """What a panel shows where there is nothing."""
    return str(panel["fieldConfig"]["defaults"].get("noValue", "No data"))
