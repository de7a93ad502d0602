"""The rules that Prometheus has loaded, compared with those of this version."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wawp_exporter.config.values import parse_duration
from wawp_exporter.doctor.finding import Finding, broken, ok, skipped
from wawp_exporter.doctor.prometheus import RELOAD, call, data_of
from wawp_exporter.doctor.shipped import COMPARED, RULES, Rule, rules
from wawp_exporter.doctor.site import Site, Unusable

LOADED, HEALTH = "rules", "evaluation"
SHOWN = 5
OPERATOR = "/etc/prometheus/rules/prometheus-"  # where Prometheus Operator puts what it renders
Loaded = Mapping[str, Any]


def look(site: Site) -> Iterator[Finding]:
    """Whether the rules are there, as this version has them, and can be evaluated. Raises Unusable."""
    groups = call(site, "rules")["groups"]
    names = {rule.name for rule in rules()}
    ours = [{**rule, "file": group["file"]} for group in groups for rule in group["rules"] if rule["name"] in names]
    if not ours:
        yield broken(LOADED, "Prometheus has loaded none of the rules", *to_load())
        yield skipped(HEALTH, "no rules are loaded")
        return
    yield compared(site, ours)
    yield evaluated(ours)


def compared(site: Site, ours: Sequence[Loaded]) -> Finding:
    """Whether each shipped rule is among the loaded ones."""
    missing = [rule for rule in rules() if not any(alike(site, rule, each) for each in ours)]
    if not missing:
        alerts = sum(rule.is_alert for rule in rules())
        return ok(LOADED, f"all {len(rules())} of this version are loaded, {alerts} of them alerts")
    loaded = {rule["name"] for rule in ours}
    absent = [rule.name for rule in missing if rule.name not in loaded]
    other = [rule.name for rule in missing if rule.name in loaded]
    parts = [f"missing: {some(absent)}"] * bool(absent) + [f"not as in this version: {some(other)}"] * bool(other)
    return broken(LOADED, "; ".join(parts), *to_replace(missing, ours))


def alike(site: Site, rule: Rule, loaded: Loaded) -> bool:
    """Whether a loaded rule is this one; the addresses in annotations may be others."""
    texts = {key: text for key, text in loaded.get("annotations", {}).items() if key in COMPARED}
    return (
        rule.name == loaded["name"]
        and rule.labels == loaded.get("labels", {})
        and trimmed(rule.annotations) == trimmed(texts)
        and seconds(rule.body.get("for")) == loaded.get("duration", 0)
        and seconds(rule.body.get("keep_firing_for")) == loaded.get("keepFiringFor", 0)
        and same_expression(site, rule.expr, loaded["query"])
    )


def trimmed(texts: Mapping[str, str]) -> dict[str, str]:
    """Without the line end that YAML's `>` leaves."""
    return {key: text.strip() for key, text in texts.items()}


def seconds(duration: str | None) -> float:
    """A duration of a rule; 0 where it has none."""
    return parse_duration(duration) if duration else 0.0


def same_expression(site: Site, shipped: str, loaded: str) -> bool:
    """Whether two expressions are one; Prometheus itself formats both, if it has loaded them in another form."""
    if bare(shipped) == bare(loaded):
        return True
    try:
        return bare(formatted(site, shipped)) == bare(formatted(site, loaded))
    except Unusable:
        return False


def bare(expression: str) -> str:
    """Without blanks and comments: their places say nothing."""
    return re.sub(r"#[^\n]*|\s", "", expression)


def formatted(site: Site, expression: str) -> str:
    """As Prometheus writes it. Raises Unusable."""
    return str(data_of(site, site.form("/api/v1/format_query", query=expression)))


def evaluated(ours: Sequence[Loaded]) -> Finding:
    """Whether the last evaluation of each went well."""
    bad = [rule for rule in ours if rule.get("health") == "err"]
    if not bad:
        return ok(HEALTH, "no rule has an error")
    says = f"{some([rule['name'] for rule in bad])} cannot be evaluated: {bad[0].get('lastError', '')}"
    return broken(
        HEALTH, says, "Replace the rules by those of this version; if they are, the error says which series are wrong"
    )


def some(names: Sequence[str]) -> str:
    """Each name once, the first few of them."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - SHOWN} more" if len(unique) > SHOWN else ""
    return ", ".join(unique[:SHOWN]) + more


def to_load() -> tuple[str, ...]:
    """How to get the rules into Prometheus at all."""
    return (
        f"Copy them:  mkdir -p /etc/prometheus/rules && cp {RULES}/*.yml /etc/prometheus/rules/",
        f"Paste into prometheus.yml, {RELOAD}",
        "  rule_files:",
        "    - /etc/prometheus/rules/*.yml",
    )


def to_replace(missing: Sequence[Rule], ours: Sequence[Loaded]) -> Iterator[str]:
    """Which loaded file is to be replaced by which shipped one."""
    files = {rule["name"]: rule["file"] for rule in ours}
    shipped = {rule.name: rule.file for rule in rules()}
    places = {shipped[name]: file for name, file in files.items()}  # shipped file → where it was loaded from
    if any(file.startswith(OPERATOR) for file in files.values()):
        yield "Update the chart to this version:  helm upgrade"
        return
    folder = next(iter(files.values())).rpartition("/")[0]
    yield "Replace by the file of this version:"
    for name in sorted({rule.file for rule in missing}):
        yield f"  cp {RULES / name} {places.get(name, f'{folder}/{name}')}"
    yield RELOAD[0].upper() + RELOAD[1:]
