"""Copies what users install into the package: a wheel alone has rules, Alertmanager's files, runbooks and dashboards.

`python scripts/share.py [FOLDER]`; the sources are `alerts/` and `grafana/dashboards/`. An example of each alert, as
`wawp-exporter test-alert` sends it, is what promtool expects of the rule: so it is what Prometheus would send.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SHARE = ROOT / "src" / "wawp_exporter" / "share"
SOURCES = (
    ("rules", "alerts/*.rules.yml"),
    ("alertmanager", "alerts/alertmanager.yml"),
    ("alertmanager", "alerts/receivers.yml"),
    ("alertmanager/templates", "alerts/templates/*.tmpl"),
    ("runbooks", "alerts/runbooks/*.md"),
    ("dashboards", "grafana/dashboards/*.json"),
    ("provisioning/dashboards", "grafana/provisioning/dashboards/*.yml"),
    ("provisioning/datasources", "grafana/provisioning/datasources/*.yml"),
)
TEXTS = ROOT / "alerts" / "tests" / "texts.yml"


def make(share: Path) -> None:
    """Writes all of it anew; what has no source any more is gone afterwards."""
    shutil.rmtree(share, ignore_errors=True)
    for folder, pattern in SOURCES:
        target = share / folder
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(ROOT.glob(pattern)):
            shutil.copyfile(source, target / source.name)
    text = json.dumps(examples(), indent=1, ensure_ascii=False, sort_keys=True)
    (share / "examples.json").write_text(text + "\n", encoding="utf-8")


def examples() -> dict[str, Any]:
    """The first example of each alert: `{name: {"labels": {...}, "annotations": {...}}}`."""
    found: dict[str, Any] = {}
    for entry in yaml.safe_load(TEXTS.read_text(encoding="utf-8")).values():
        alert = entry["alerts"][0]
        example = {"labels": alert["exp_labels"], "annotations": alert["exp_annotations"]}
        found.setdefault(entry["alertname"], example)
    return found


if __name__ == "__main__":
    make(Path(sys.argv[1]) if sys.argv[1:] else SHARE)
