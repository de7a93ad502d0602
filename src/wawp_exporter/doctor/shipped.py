"""What this version ships: its rules, and an example of each alert, as Prometheus renders it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

SHARE = Path(str(files("wawp_exporter") / "share"))
RULES = SHARE / "rules"
EXAMPLES = SHARE / "examples.json"
# The addresses in annotations may be others in an installation.
COMPARED = ("summary", "description", "action", "lasted")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it is to be loaded: `name` of the alert or of the recorded series, and the file that it is in."""

    file: str
    name: str
    is_alert: bool
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    body: Mapping[str, Any]


@cache
def rules() -> tuple[Rule, ...]:
    """All of them, in the order of the files."""
    paths = sorted(RULES.glob("*.rules.yml"))
    groups = ((path.name, group) for path in paths for group in yaml.safe_load(path.read_text())["groups"])
    return tuple(rule_of(name, body) for name, group in groups for body in group["rules"])


def rule_of(file: str, body: Mapping[str, Any]) -> Rule:
    """A rule as its file has it."""
    name = body.get("alert") or body["record"]
    texts = {key: text for key, text in body.get("annotations", {}).items() if key in COMPARED}
    return Rule(file, name, "alert" in body, body["expr"], body.get("labels", {}), texts, body)


@cache
def examples() -> Mapping[str, Mapping[str, Any]]:
    """An example of each alert by its name: `labels` and `annotations` as Prometheus renders them."""
    found: dict[str, dict[str, Any]] = json.loads(EXAMPLES.read_text())
    return found
