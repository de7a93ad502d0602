"""Alertmanager's routes as the doctor follows them, against amtool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests import parts
from wawp_exporter.doctor.routing import Route, parsed
from wawp_exporter.doctor.shipped import examples

SHIPPED = parts.ROOT / "alerts" / "alertmanager.yml"
# What the shipped routes have not: `continue`, regular expressions, negations, the older spelling, empty labels.
TREE = {
    "receiver": "root",
    "group_wait": "7s",
    "routes": [
        {"receiver": "log", "continue": True},
        {"receiver": "old", "match": {"source": "old"}, "match_re": {"engine": "WEB.*|NOWEB"}},
        {
            "receiver": "not-gold",
            "matchers": ['tier!="gold"', 'session=~"sales-.+"'],
            "routes": [
                {"matchers": ['owner!~"a.*|b.*"'], "receiver": "others", "group_wait": "0s"},
                {"matchers": ["owner=ana", 'tier=""'], "receiver": "ana"},
            ],
        },
        {"receiver": "quoted", "matchers": [r'session="a \"b\", {c}\\"']},
        {"receiver": "both", "matchers": ['{tier="gold", engine=~"GOWS|"}']},
    ],
}
ALERTS = [
    {},
    {"source": "old"},
    {"source": "old", "engine": "WEBJS"},
    {"source": "old", "engine": "NOWEB2"},
    {"session": "sales-uk"},
    {"session": "sales-uk", "owner": "ana"},
    {"session": "sales-uk", "owner": "ana", "tier": "silver"},
    {"session": "sales-uk", "owner": "carla", "tier": "silver"},
    {"session": "sales-uk", "tier": "gold"},
    {"session": "presales-uk"},
    {"session": 'a "b", {c}\\'},
    {"tier": "gold", "engine": "GOWS"},
    {"tier": "gold", "engine": "GOWS2"},
]


def amtool_says(amtool: Path, config: Path, labels: dict[str, str]) -> list[str]:
    """The receivers that amtool names."""
    words = [f"{name}={amtool_value(value)}" for name, value in labels.items()]
    command = [amtool, "config", "routes", "test", f"--config.file={config}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().split(",")


def amtool_value(value: str) -> str:
    """Quoted where amtool would read it otherwise."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize("name", sorted(examples()))
def test_each_shipped_alert_takes_the_route_that_amtool_says(amtool: Path, name: str) -> None:
    """With all labels that the rule really produces."""
    labels = examples()[name]["labels"]
    root = Route.of(yaml.safe_load(SHIPPED.read_text())["route"])

    assert [route.receiver for route in root.reached(labels)] == amtool_says(amtool, SHIPPED, labels)


@pytest.mark.parametrize("labels", ALERTS, ids=str)
def test_an_alert_takes_the_route_that_amtool_says(amtool: Path, tmp_path: Path, labels: dict[str, str]) -> None:
    """Operators write routes that the shipped file has not."""
    config = tmp_path / "alertmanager.yml"
    names = ["root", "log", "old", "not-gold", "others", "ana", "quoted", "both"]
    config.write_text(yaml.safe_dump({"route": TREE, "receivers": [{"name": name} for name in names]}))

    assert [route.receiver for route in Route.of(TREE).reached(labels)] == amtool_says(amtool, config, labels)


def test_a_route_has_the_times_of_the_one_above_it() -> None:
    """Alertmanager's own defaults stand at the root only."""
    others = Route.of(TREE).children[2].children[0]

    assert (Route.of(TREE).children[2].wait, others.wait, others.interval) == (7, 0, 300)


def test_routes_that_depend_on_a_label_are_possible() -> None:
    """The doctor does not know which owner a session will have."""
    root = Route.of({"receiver": "root", "routes": [
        {"receiver": "ana", "matchers": ["owner=ana"]},
        {"receiver": "it", "matchers": ["severity=critical"]},
        {"receiver": "never", "matchers": ["owner=ben"]},
        {"receiver": "foreign", "matchers": ["namespace=kube-system"]},
    ]})  # fmt: skip

    found = root.possible({"severity": "critical"}, frozenset({"owner"}))

    assert [route.receiver for route in found] == ["ana", "it"]


@pytest.mark.parametrize("text", ["", "owner", 'owner=~"("', "=ana"])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    """Rather than matching something else than Alertmanager does."""
    if not text:
        assert list(parsed(text)) == []
        return
    with pytest.raises(ValueError, match=r"is not"):
        list(parsed(text))
