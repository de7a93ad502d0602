"""Alertmanager: whether it can be reached, where its routes lead, and whether what it sends arrives."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wawp_exporter.doctor.finding import Finding, broken, ok, skipped
from wawp_exporter.doctor.routing import Route, integrations
from wawp_exporter.doctor.samples import Samples
from wawp_exporter.doctor.shipped import rules
from wawp_exporter.doctor.site import Site, Unusable

ALERTMANAGER, RECEIVERS, PLACEHOLDERS, DELIVERY = "Alertmanager", "receivers", "placeholders", "delivery"
PLACEHOLDER = re.compile(r"placeholder|CHANGE_?ME", re.IGNORECASE)
RELOAD = "Reload Alertmanager:  kill -HUP PID   (or POST /-/reload)"
SHOWN = 5
# What a rule's labels do not say, but an alert may have.
UNKNOWN = frozenset(
    {"source", "session", "engine", "group", "owner", "tier", "problem", "reason", "kind", "step", "job", "instance"}
    | {"shard", "escalation", "severity"}
)
# A heartbeat and what is only worth a mail may be sent to nobody on purpose.
OPTIONAL = frozenset({"none", "info"})
Configuration = Mapping[str, Any]


def status(site: Site) -> tuple[str, Configuration]:
    """Its version, and the configuration that it runs with, secrets hidden. Raises Unusable."""
    answer = site.json("/api/v2/status")
    try:
        config = yaml.safe_load(answer["config"]["original"])
        version = answer["versionInfo"]["version"]
        if isinstance(config, dict) and isinstance(config["route"], dict) and isinstance(config["receivers"], list):
            return str(version), config
    except (KeyError, TypeError, yaml.YAMLError):
        pass
    raise Unusable(f"{site.url} does not answer as Alertmanager does", "Is this the address of Alertmanager?")


def look(site: Site, note: str) -> tuple[Configuration | None, Finding]:
    """Its configuration, if it can be reached."""
    try:
        version, config = status(site)
    except Unusable as error:
        advice = [f"If it has another address here, give --alertmanager URL ({note})"] if note else []
        return None, broken(ALERTMANAGER, str(error), *error.advice, *advice)
    if not reloaded(site):
        says = f"{site.url} has refused its configuration at the last reload and runs with the old one"
        return config, broken(ALERTMANAGER, says, "See what is wrong:  amtool check-config alertmanager.yml", RELOAD)
    return config, ok(ALERTMANAGER, f"{site.url} answers, version {version}" + (f" ({note})" if note else ""))


def reloaded(site: Site) -> bool:
    """Whether it has taken its newest configuration; also where a proxy does not pass on what it says of itself."""
    try:
        name = "alertmanager_config_last_reload_successful"
        return Samples.of(site, name).total(name) != 0
    except Unusable:
        return True


def receivers(config: Configuration) -> Finding:
    """Whether every alert leads to a receiver that sends it anywhere."""
    try:
        root = Route.of(config["route"])
    except ValueError as error:
        return broken(RECEIVERS, f"its routes cannot be followed: {error}", "Write the matcher in a simpler way")
    ways = integrations(config["receivers"])
    alerts = [rule for rule in rules() if rule.is_alert]
    reached = {rule.name: reachable(root, rule.name, rule.labels) for rule in alerts}
    empty = {name: lost for name, found in reached.items() if (lost := {each for each in found if not ways.get(each)})}
    needed = {rule.name for rule in alerts if rule.labels.get("severity") not in OPTIONAL}
    unheard = {name: lost for name, lost in empty.items() if name in needed}
    if unheard:
        return broken(RECEIVERS, says_of(unheard), *repair(sorted(set().union(*unheard.values()))))
    names = sorted(name for name in set().union(*reached.values()) if ways.get(name))
    said = ", ".join(f"{name} ({', '.join(dict.fromkeys(way for way, _ in ways[name]))})" for name in names)
    nobody = f"; to nobody: {', '.join(sorted(empty))}" if empty else ""
    return ok(RECEIVERS, f"the routes lead to {said}{nobody}")


def reachable(root: Route, name: str, labels: Mapping[str, str]) -> set[str]:
    """The receivers to which an alert of this name can be sent."""
    known = {**labels, "alertname": name}
    return {route.receiver for route in root.possible(known, UNKNOWN - known.keys())}


def says_of(lost: Mapping[str, set[str]]) -> str:
    """Which alerts reach nobody."""
    names = sorted(lost)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    empty = ", ".join(repr(name) for name in sorted(set().union(*lost.values())))
    return f"{', '.join(names[:SHOWN])}{more} can lead to {empty}, which sends nothing to anybody"


def repair(names: Sequence[str]) -> Iterator[str]:
    """How a receiver gets a way to send."""
    yield "In alertmanager.yml, give each of them a way to send, for example:"
    yield "  receivers:"
    for name in names:
        yield f"    - name: {name}"
        yield "      webhook_configs: [{url: 'https://…', send_resolved: true}]"
    yield RELOAD


def placeholders(config: Configuration) -> Finding:
    """Whether an address was left as it is shipped; secrets are hidden by Alertmanager and cannot be checked."""
    found = [*in_values(config), *in_templates(config.get("templates") or ())]
    if not found:
        return ok(PLACEHOLDERS, "none is left (Alertmanager hides secrets, so these are not seen)")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    says = f"still in Alertmanager's configuration: {', '.join(found[:SHOWN])}{more}"
    return broken(PLACEHOLDERS, says, "Fill in your own addresses:  grep -n -i placeholder alertmanager.yml", RELOAD)


def in_values(value: object, path: str = "") -> Iterator[str]:
    """The keys whose values are placeholders: `receivers.it-lead.email_configs.to`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from in_values(inner, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for inner in value:
            name = inner.get("name") if isinstance(inner, Mapping) else None
            yield from in_values(inner, f"{path}.{name}" if name else path)
    elif isinstance(value, str) and PLACEHOLDER.search(value):
        yield path


def in_templates(patterns: Sequence[str]) -> Iterator[str]:
    """The template files with a placeholder, as far as they can be read here."""
    for pattern in patterns:
        path = Path(pattern)
        if not path.is_absolute():
            continue
        for file in sorted(path.parent.glob(path.name)):
            try:
                text = re.sub(r"\{\{/\*.*?\*/\}\}", "", file.read_text(), flags=re.DOTALL)
            except (OSError, UnicodeDecodeError):
                continue
            if PLACEHOLDER.search(text):
                yield str(file)


def delivery(site: Site) -> Finding:
    """Whether what Alertmanager sends is taken."""
    try:
        samples = Samples.of(site, "alertmanager_notification")
    except Unusable as error:
        return skipped(DELIVERY, str(error), to_try(site))
    sent = by_integration(samples, "alertmanager_notifications_total")
    failed = by_integration(samples, "alertmanager_notifications_failed_total")
    failing = [way for way, count in failed.items() if count and count >= sent.get(way, 0)]
    if failing:
        says = f"every message by {', '.join(failing)} has failed"
        return broken(
            DELIVERY, says, "Alertmanager's log says why: look for  level=error … component=dispatcher", to_try(site)
        )
    used = ", ".join(f"{count:g} by {way}" for way, count in sent.items() if count)
    return ok(DELIVERY, f"messages so far: {used or 'none'}; {to_try(site)}")


def by_integration(samples: Samples, name: str) -> dict[str, float]:
    """A count of Alertmanager by the way by which it sends; newer versions divide it further."""
    counts: dict[str, float] = {}
    for labels, value in samples.find(name):
        counts[labels["integration"]] = counts.get(labels["integration"], 0) + value
    return counts


def to_try(site: Site) -> str:
    """How to be certain."""
    return f"try it:  wawp-exporter test-alert --alertmanager {site.url}"
