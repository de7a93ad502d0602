"""The shipped rule files, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from cases import ALERTS, TOPICS


@dataclass(frozen=True)
class Rule:
    """One rule, and where it stands."""

    topic: str
    group: str
    index: int
    name: str
    expr: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """Its expression and its annotations, which may read recordings too."""
        return " ".join([self.expr, *self.body.get("annotations", {}).values()])

    @property
    def is_alert(self) -> bool:
        return "alert" in self.body


@cache
def document(topic: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ALERTS / f"{topic}.rules.yml").read_text())
    return found


def rules() -> Iterator[Rule]:
    for topic in TOPICS:
        for group in document(topic)["groups"]:
            for index, body in enumerate(group["rules"]):
                name = body.get("alert") or body["record"]
                yield Rule(topic, group["name"], index, name, body["expr"], body)


RULES = list(rules())
ALERT_RULES = [r for r in RULES if r.is_alert]
