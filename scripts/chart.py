"""Makes what the chart holds of other files: rules, dashboards, routing, texts, the configuration's schema, its README.

`python scripts/chart.py [FOLDER]`; the sources are `alerts/`, `grafana/dashboards/`, `config.py` and `values.yaml`.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from wawp_exporter.config.schema import Config

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "wawp-exporter"
MATCHER = re.compile(r'\s*([\w.]+)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*$', re.DOTALL)
RENAMED = {
    "group_by": "groupBy",
    "group_wait": "groupWait",
    "group_interval": "groupInterval",
    "repeat_interval": "repeatInterval",
    "active_time_intervals": "activeTimeIntervals",
    "mute_time_intervals": "muteTimeIntervals",
}


def make(chart: Path) -> None:
    """Writes all of it."""
    copied = {
        "rules": "alerts/*.rules.yml",
        "templates": "alerts/templates/*.tmpl",
        "dashboards": "grafana/dashboards/*.json",
    }
    for folder, sources in copied.items():
        target = chart / "files" / folder
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for source in sorted(ROOT.glob(sources)):
            shutil.copyfile(source, target / source.name)
    shipped = yaml.safe_load((ROOT / "alerts" / "alertmanager.yml").read_text())
    head = "# Made by scripts/chart.py from alerts/alertmanager.yml.\n"
    (chart / "files" / "alertmanager.yml").write_text(head + yaml.safe_dump(routing(shipped), sort_keys=False))
    (chart / "README.md").write_text(readme((CHART / "values.yaml").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())
    (chart / "values.schema.json").write_text(json.dumps(schema | configuration(), indent=2) + "\n")


def configuration() -> dict[str, Any]:
    """What the code says of its configuration, for the value `config` to refer to."""
    schema = plain(Config.model_json_schema())
    return {"$defs": {**schema.pop("$defs"), "Config": schema}}


def plain(schema: Any) -> Any:
    """A schema without what checks nothing; a key may well be called `format`."""
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    idle = {key for key in ("title", "description", "format") if isinstance(schema.get(key), str)} | {"default"}
    return {key: plain(value) for key, value in schema.items() if key not in idle}


def routing(shipped: dict[str, Any]) -> dict[str, Any]:
    """Alertmanager's own configuration in the words of the operator's AlertmanagerConfig."""
    return {
        "route": route(shipped["route"]),
        "muteTimeIntervals": [interval(each) for each in shipped["time_intervals"]],
        "receivers": [receiver["name"] for receiver in shipped["receivers"]],
    }


def route(given: dict[str, Any]) -> dict[str, Any]:
    """A route and those below it."""
    made = {RENAMED.get(key, key): value for key, value in given.items() if key not in ("matchers", "routes")}
    if "matchers" in given:
        made["matchers"] = [matcher(text) for text in given["matchers"]]
    if "routes" in given:
        made["routes"] = [route(each) for each in given["routes"]]
    return made


def matcher(text: str) -> dict[str, str]:
    """`category =~ "a|b"` in parts."""
    found = MATCHER.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a matcher")
    name, kind, value = found.groups()
    # "=" is the default, and YAML 1.1 has a meaning of its own for it.
    return {"name": name, "value": value} | ({"matchType": kind} if kind != "=" else {})


def interval(given: dict[str, Any]) -> dict[str, Any]:
    """A named time; the operator has no `location`, so it is UTC."""
    spans = []
    for span in given["time_intervals"]:
        times = [{"startTime": each["start_time"], "endTime": each["end_time"]} for each in span.get("times", [])]
        spans.append({"weekdays": span["weekdays"], "times": times})
    return {"name": given["name"], "timeIntervals": spans}


def readme(values: str) -> str:
    """The table of the values: each key with a `# -- ` line above it."""
    rows = [f"| `{key}` | `{default}` | {told} |" for key, default, told in described(values)]
    return "\n".join(
        [
            "# wawp-exporter",
            "",
            "The chart of [wawp-exporter](../../README.md): SQLite on a volume (one pod), or PostgreSQL with replicas "
            "and shards.",
            "How to use it: [docs/kubernetes.md](../../docs/kubernetes.md). This page is made from `values.yaml` by "
            "`make chart`.",
            "",
            "| value | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def described(values: str) -> list[tuple[str, str, str]]:
    """(path, default as JSON-like YAML, description) of each documented key, in order."""
    defaults, found, path, told = yaml.safe_load(values), [], [], ""
    for line in values.splitlines():
        comment = re.fullmatch(r"\s*# -- (.+)", line)
        key = re.match(r"(\s*)([\w]+):", line)
        if comment:
            told = comment[1]
        elif key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if told:
                found.append((".".join(path), shown(at(defaults, path)), told.replace("|", "\\|")))
            told = ""
    return found


def at(values: Any, path: list[str]) -> Any:
    """The value at a path."""
    for part in path:
        values = values[part]
    return values


def shown(value: Any) -> str:
    """A default on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else CHART)
