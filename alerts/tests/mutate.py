"""Mutants of the rules: each threshold, comparison, matcher and join changed, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from all_cases import CASES
from cases import Case
from rulefiles import RULES, Rule, document

TOKEN = re.compile(
    r"""
    (?P<string>"[^"]*")
  | (?P<range>\[\d+[smhd]\])
  | (?P<matcher>(?:=~|!~|!=|=)(?="))
  | (?P<compare>==|!=|>=|<=|>|<)
  | (?P<number>(?<![\w:.])\d+(?:\.\d+)?(?![\w:.]))
  | (?P<word>[a-zA-Z_:][\w:]*)
  | (?P<other>\s+|.)
    """,
    re.VERBOSE,
)
COMPARE = {">": [">=", "<"], ">=": [">", "<"], "<": ["<=", ">"], "<=": ["<", ">"], "==": ["!="], "!=": ["=="]}
MATCHER = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
SETS = {"and": ["or", "unless"], "or": ["and"], "unless": ["and"]}
AGGREGATE = {"max": ["min", "sum"], "min": ["max"], "sum": ["max"], "count": ["sum"]}
LISTS = {"by", "on", "group_left"}


@dataclass(frozen=True)
class Mutant:
    """A rule whose expression differs in one place: `was` became `now`, before `following`."""

    rule: Rule
    was: str
    now: str
    expr: str
    place: str

    @property
    def id(self) -> str:
        return f"{self.rule.topic}[{self.rule.index}] {self.rule.name}: {self.place}: {self.was} → {self.now}"


def mutants() -> Iterator[Mutant]:
    """All mutants of all rules, in the order of the files."""
    for rule in RULES:
        tokens = [(m.lastgroup or "", m[0]) for m in TOKEN.finditer(rule.expr)]
        for at, (kind, text) in enumerate(tokens):
            for was, now, length in changes(tokens, at, kind, text):
                before, after = (joined(tokens[:at]), joined(tokens[at + length :]))
                yield Mutant(rule, was, now, before + now + after, place(before))


def joined(tokens: list[tuple[str, str]]) -> str:
    return "".join(text for _, text in tokens)


def place(before: str) -> str:
    """Where in the expression, so that a line of equivalent-mutants.yml outlives changes elsewhere."""
    words = re.findall(r"[\w:]+", before)
    return f"{len(words)} after {' '.join(words[-2:])}"


def changes(tokens: list[tuple[str, str]], at: int, kind: str, text: str) -> Iterator[tuple[str, str, int]]:
    """`(was, now, tokens replaced)` for each change at this token."""
    if kind == "compare":
        yield from ((text, now, 1) for now in COMPARE[text])
    elif kind == "matcher":
        yield text, MATCHER[text], 1
        for now in fewer(tokens[at + 1][1].strip('"')):
            yield tokens[at + 1][1], f'{text}"{now}"', 2
    elif kind == "range":
        number, unit = int(text[1:-2]), text[-2]
        yield text, f"[{2 * number}{unit}]", 1
        yield text, f"[{number * SECONDS[unit] // 2}s]", 1
    elif kind == "number":
        yield from ((text, now, 1) for now in numbers(text))
    elif kind == "word" and text in SETS:
        yield from ((text, now, 1) for now in SETS[text])
    elif kind == "word" and text in AGGREGATE and re.match(r"\s*(by|\()", joined(tokens[at + 1 :])):
        yield from ((text, now, 1) for now in AGGREGATE[text])
    elif kind == "word" and text in LISTS:
        yield from labels(tokens, at)


SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def fewer(value: str) -> list[str]:
    """The alternatives of a regular expression, each left out once."""
    options = value.split("|")
    return ["|".join(options[:i] + options[i + 1 :]) for i in range(len(options))] if len(options) > 1 else []


def numbers(text: str) -> list[str]:
    value = float(text)
    if value == 0:
        return ["1"]
    if value == 1:
        return ["2"]
    near = [value - 1, value + 1] if value < 30 and value == int(value) else [value * 0.9, value * 1.1]
    return [f"{n:.10g}" for n in near]


def labels(tokens: list[tuple[str, str]], at: int) -> Iterator[tuple[str, str, int]]:
    """Each label of `by (…)`, `on (…)`, `group_left (…)` left out once."""
    rest = joined(tokens[at:])
    found = re.match(r"(\w+\s*)\(([^)]*)\)", rest)
    if not found or not found[2].strip():
        return
    length, seen = 0, ""
    while seen != found[0]:
        seen += tokens[at + length][1]
        length += 1
    names = [n.strip() for n in found[2].split(",")]
    for name in names:
        yield found[0], f"{found[1]}({', '.join(n for n in names if n != name)})", length


def readers(rule: Rule) -> set[str]:
    """The alerts that depend on a rule, through any number of records, which may read each other."""
    reached = {rule.name}
    while more := {
        r.name
        for r in RULES
        if r.topic == rule.topic and r.name not in reached and any(name in r.text for name in reached)
    }:
        reached |= more
    return reached & {r.name for r in RULES if r.is_alert}


def needed(names: set[str], topic: str) -> set[str]:
    """These alerts and every record that they read."""
    found = set(names)
    while True:
        more = {
            r.name
            for r in RULES
            if r.topic == topic
            and not r.is_alert
            and r.name not in found
            and any(r.name in other.text for other in RULES if other.name in found)
        }
        if not more:
            return found
        found |= more


def cases_for(rule: Rule) -> list[Case]:
    """The cases that may notice a change, those that promtool is done with soonest first."""
    alerts = readers(rule)
    found = [c for c in CASES if c.topic == rule.topic and alerts & set(c.alerts)]
    return sorted(found, key=lambda c: (cost(c), c.name))


@cache
def cost(case: Case) -> float:
    """How long a case takes, more or less: its series times the time that it looks at."""
    group = case.group()
    checks = [*group.get("alert_rule_test", []), *group.get("promql_expr_test", [])]
    last = max(seconds(check["eval_time"]) for check in checks)
    return last / seconds(group["interval"]) * (5 + len(group["input_series"]))


def seconds(text: str) -> float:
    return float(text[:-1]) * SECONDS[text[-1]]


def rule_file(mutant: Mutant) -> dict[str, Any]:
    """The rule file with the mutant in it, and all else as shipped."""

    def group(found: dict[str, Any]) -> dict[str, Any]:
        if found["name"] != mutant.rule.group:
            return found
        rules = list(found["rules"])
        rules[mutant.rule.index] = {**rules[mutant.rule.index], "expr": mutant.expr}
        return {**found, "rules": rules}

    return {"groups": [group(g) for g in document(mutant.rule.topic)["groups"]]}
