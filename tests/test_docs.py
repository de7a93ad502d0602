"""The documents say what the code does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.__main__ import BENCHES
from bench.page import marks
from scripts import reference
from wawp_exporter.config.load import check
from wawp_exporter.config.schema import Config
from wawp_exporter.metrics.families import LAST_EVENT_FAMILY, MESSAGE_FAMILIES, RESTRICTED_FAMILY, SESSION_FAMILIES
from wawp_exporter.metrics.fleet_families import FLEET_FAMILIES
from wawp_exporter.metrics.judged import JUDGED_FAMILIES
from wawp_exporter.metrics.telemetry import Telemetry

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/wawp_exporter"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# Read off the parts when a service starts, so not in a bare registry.
READ_AT_SCRAPE = {
    "wawp_exporter_log_size_bytes",
    "wawp_exporter_log_free_bytes",
    "wawp_exporter_log_disk_bytes",
    "wawp_exporter_log_follow_lag_seconds",
    "wawp_exporter_log_oldest_event_timestamp_seconds",
    "wawp_exporter_queue_depth",
}


def table(document: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Metric → (type, labels) as a document's table has them."""
    rows = re.findall(r"^\| `(wawp_\w+)` \| (\w+) \|([^|]*)\|", (ROOT / document).read_text(), re.MULTILINE)
    return {
        name: (kind, tuple(labels.replace(" ", "").split(",")) if labels.strip() else ()) for name, kind, labels in rows
    }


def test_the_readme_lists_every_metric_of_sessions_and_the_fleet() -> None:
    """Name and type of each row equal the exposition's own table, and none is missing."""
    families = [
        *(family for family, _ in SESSION_FAMILIES),
        *(family for family, _ in MESSAGE_FAMILIES),
        *(item.family for item in (*FLEET_FAMILIES, *JUDGED_FAMILIES)),
    ]
    expected = {family.name: family.kind for family in [*families, RESTRICTED_FAMILY, LAST_EVENT_FAMILY]}

    assert {name: kind for name, (kind, _) in table("README.md").items()} == expected


def test_the_metrics_page_lists_every_metric_of_the_exporter_itself() -> None:
    """Name, type and labels of each row equal the registry's."""
    telemetry = Telemetry()
    telemetry.keep_sources(["default"])
    # A gauge of a gateway has no series before it is set, only names of labels.
    declared = {metric._name: metric._labelnames for metric in vars(telemetry).values() if hasattr(metric, "_name")}
    registered = {}
    for family in telemetry.registry.collect():
        if family.name.startswith("wawp_exporter_"):
            full = family.name + ("_total" if family.type == "counter" else "")
            said = family.samples[0].labels if family.samples else declared[family.name]
            registered[full] = (family.type, tuple(label for label in said if label != "le"))
    registered["wawp_exporter_build_info"] = ("gauge", ("version", "revision", "python"))
    registered |= dict.fromkeys(READ_AT_SCRAPE, ("gauge", ()))

    listed = table("docs/metrics.md")

    assert {name: (kind, labels) for name, (kind, labels) in listed.items()} == registered


def test_the_configuration_page_shows_every_key_with_its_default() -> None:
    """Its YAML, loaded, is the default configuration, and leaves no key out."""
    text = (ROOT / "docs/configuration.md").read_text()
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])

    assert check(shown).config == Config()
    assert keys(shown) == keys(Config().model_dump(by_alias=True))


def test_the_configuration_page_tells_what_the_code_tells() -> None:
    """`make docs` writes it from the docstrings of the keys."""
    assert (ROOT / "docs/configuration.md").read_text() == reference.page()


def test_the_architecture_page_draws_the_wings_as_they_are() -> None:
    """Every file of each, and none that is gone."""
    table = re.findall(r"^\| `([\w./]+)` \| (`[^|]+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    drawn = {wing: sorted(re.findall(r"`(\w+)`", files)) for wing, files in table}
    wings = {path.parent for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts}

    assert drawn == {
        str(wing.relative_to(PACKAGE)): sorted(path.stem for path in wing.glob("*.py") if "__" not in path.stem)
        for wing in wings
    }


def test_the_security_page_names_tests_that_are_there() -> None:
    """A promise is worth its test."""
    named = set(re.findall(r"(?<!::)\btest_\w+", (ROOT / "docs/security.md").read_text()))

    assert named - {path.stem for path in (ROOT / "tests").rglob("test_*.py")} == set()


def test_every_file_that_contributors_are_sent_to_is_there() -> None:
    """The questions of newcomers have one path each, and recipes name no file that has moved."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    answers = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", text, re.MULTILINE)
    named = re.findall(r"`([\w./-]+/[\w-]+\.\w+)`", text)

    assert len(answers) == 10
    assert [path for path in answers if not (ROOT / path).is_file()] == []
    assert [path for path in named if not any((root / path).exists() for root in (ROOT, PACKAGE))] == []


def keys(value: object) -> object:
    """The nested keys of a mapping."""
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_that_a_document_names_are_there(document: Path) -> None:
    """Files move; a page that names one by its folder moves with it."""
    named = re.findall(r"`([\w/]+/\w+\.py)`", document.read_text())

    assert [path for path in named if not any((root / path).is_file() for root in (ROOT, PACKAGE))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    """Each relative link of a document names a file that is there."""
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_performance_page_has_a_place_for_the_figures_of_each_bench() -> None:
    """`make bench ARGS=--write` fills it, so that all figures are of runs, with the machine that made them."""
    lines = (ROOT / "docs" / "performance.md").read_text().splitlines()

    assert [mark for bench in (*BENCHES, "soak") for mark in marks(bench) if lines.count(mark) != 1] == []


def test_what_the_readme_shows_can_be_used_as_it_is(promtool: Path, tmp_path: Path) -> None:
    """Each block of YAML is a configuration that its program takes; Prometheus is told to whom it sends alerts."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (theirs,) = (block for block in blocks if "scrape_configs" in block)
    (tmp_path / "hmac.keys").write_text("a-key")
    (tmp_path / "prometheus.yml").write_text(theirs)
    (tmp_path / "rules").mkdir()
    for rules in (ROOT / "alerts").glob("*.rules.yml"):
        shutil.copy(rules, tmp_path / "rules")

    for ours in set(blocks) - {theirs}:
        check(yaml.safe_load(ours), tmp_path)
    command = [promtool, "check", "config", tmp_path / "prometheus.yml"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (told.returncode, told.stderr) == (0, "")
    assert "rule files found" in told.stdout
    assert yaml.safe_load(theirs)["alerting"]["alertmanagers"]
