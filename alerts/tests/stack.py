"""The shipped rules and the shipped routing on real servers, to be watched: only times and addresses are changed.

`shortened_rules` and `routing` read the shipped files and change copies; whatever is not a time or an address stays
as it is shipped. For tests, for `make demo` and for the measurements in bench/.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import parts

ALERTS = parts.ROOT / "alerts"
RULE_FILES = tuple(sorted(ALERTS.glob("*.rules.yml")))
ROUTING = ALERTS / "alertmanager.yml"
TEMPLATES = ALERTS / "templates" / "wawp.tmpl"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
ROUTE_TIMES = ("group_wait", "group_interval", "repeat_interval")

Shorten = Callable[[float], float]
Receivers = Callable[[Mapping[str, Any]], dict[str, Any]]


# Times


def seconds(text: str) -> float:
    """What a duration such as `1h30m` is."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhd])", text))


def duration(length: float) -> str:
    """A duration as Prometheus and Alertmanager take it, to the millisecond."""
    return f"{round(length * 1000)}ms"


def divided_by(factor: float, least: float = 0.0) -> Shorten:
    """Times are so many times shorter, though never shorter than `least` seconds; 0 stays 0."""
    return lambda length: max(least, length / factor) if length else 0.0


def shorten_keys(entry: dict[str, Any], names: Sequence[str], shorten: Shorten) -> None:
    """Shortens those of `names` that `entry` has, in place."""
    for name in names:
        if name in entry:
            entry[name] = duration(shorten(seconds(entry[name])))


# Rules


def shortened_rules(shorten: Shorten, expressions: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """The shipped rule files with shorter waits, and intervals where groups have their own.

    `expressions` may change each expression.
    """
    files = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    for group in (group for file in files for group in file["groups"]):
        shorten_keys(group, ["interval"], shorten)
        for rule in group["rules"]:
            shorten_keys(rule, ["for", "keep_firing_for"], shorten)
            rule["expr"] = expressions(rule["expr"])
    return files


def ranges_divided_by(factor: float) -> Callable[[str], str]:
    """Shortens each range `[15m]` and `offset 1m` of an expression, and each time to which an age is compared."""

    def change(expression: str) -> str:
        shorter = divided_by(factor, 1.0)
        ranges = re.sub(
            r"(\[|offset )(\d+[smhd])", lambda found: found[1] + duration(shorter(seconds(found[2]))), expression
        )
        return re.sub(
            r"(timestamp_seconds\) (?:>|<) |^\s*floor\(time\(\) - .*\) >= )(\d+)",
            lambda found: f"{found[1]}{int(found[2]) / factor}",
            ranges,
            flags=re.MULTILINE,
        )

    return change


# Routing


def routing(shorten: Mapping[str, Shorten], receivers: Receivers) -> dict[str, Any]:
    """The shipped Alertmanager configuration; `shorten` goes by ROUTE_TIMES, `receivers` makes each receiver anew."""
    config: dict[str, Any] = yaml.safe_load(ROUTING.read_text())
    for route in routes(config["route"]):
        for name, how in shorten.items():
            shorten_keys(route, [name], how)
    config["receivers"] = [receivers(each) for each in config["receivers"]]
    config["templates"] = [str(ALERTS / pattern) for pattern in config["templates"]]
    return config


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A route and all below it."""
    yield route
    for child in route.get("routes", ()):
        yield from routes(child)


def filled_templates(folder: Path, external_url: str = "", grafana_url: str = "", zone: str = "") -> str:
    """The pattern of a copy of the templates in which addresses, and a time zone (Alertmanager 0.28), are filled in."""
    text = TEMPLATES.read_text()
    for name, address in (("external_url", external_url), ("grafana_url", grafana_url)):
        head = f'{{{{ define "wawp.{name}" }}}}'
        text = text.replace(head + '{{ with "" }}', head + f'{{{{ with "{address}" }}}}')
    if zone:
        text = text.replace(
            '{{ define "wawp.time" }}{{ .UTC.Format "02 Jan 15:04 UTC" }}',
            f'{{{{ define "wawp.time" }}}}{{{{ (tz "{zone}" .).Format "02 Jan 15:04 MST" }}}}',
        )
    (folder / TEMPLATES.name).write_text(text)
    return str(folder / "*.tmpl")


def recorded_at(url: str) -> Receivers:
    """Receivers that send to `url`, each to a path of its own name, "resolved" only where the shipped one does."""

    def change(receiver: Mapping[str, Any]) -> dict[str, Any]:
        kind, (settings,) = next((key, value) for key, value in receiver.items() if key.endswith("_configs"))
        told = settings.get("send_resolved", kind in {"webhook_configs", "pagerduty_configs"})
        hook = {"url": url + receiver["name"], "send_resolved": told}
        return {"name": receiver["name"], "webhook_configs": [hook]}

    return change


# Servers


@dataclass(frozen=True)
class Stack:
    """What runs, and who is told."""

    prometheus: parts.Prometheus
    alertmanager: parts.Alertmanager


def prometheus_config(alertmanager: str, exporters: Sequence[str], interval: float) -> dict[str, Any]:
    """Scrapes the exporters as the job that the rules expect, and evaluates, every `interval` seconds."""
    every = duration(interval)
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [{"job_name": "wawp-exporter", "static_configs": [{"targets": list(exporters)}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
    }


@contextmanager
def running(
    exporters: Sequence[parts.Exporter],
    rules: Sequence[Path | Mapping[str, Any]],
    config: Mapping[str, Any] | Path,
    interval: float = 1.0,
    version: str = "bookworm",
) -> Iterator[Stack]:
    """An Alertmanager with `config` and a Prometheus with `rules` that has scraped every exporter once."""
    with ExitStack() as started:
        alertmanager = started.enter_context(parts.Alertmanager(config, version=version))
        addresses = [exporter.address for exporter in exporters]
        settings = prometheus_config(alertmanager.address, addresses, interval)
        # Alertmanager takes an alert for over that it has not heard of for four times as long: 4 s were too short on a
        # busy machine, where evaluations wait.
        flags = ["--rules.alert.resend-delay=5s"] if interval <= 1 else []
        prometheus = started.enter_context(parts.Prometheus(settings, rules, flags, version))
        parts.wait_until(lambda: set(prometheus.targets_up()) == set(addresses), "a scrape of each target")
        yield Stack(prometheus, alertmanager)
