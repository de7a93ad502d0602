"""Copies what users install into the package: a wheel alone has rules, Alertmanager's files, runbooks and dashboards.

`python scripts/share.py [FOLDER]`; the sources are `alerts/` and `grafana/dashboards/`.
"""

import shutil
import sys
from pathlib import Path

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


def make(share: Path) -> None:
    """Writes all of it anew; what has no source any more is gone afterwards."""
    shutil.rmtree(share, ignore_errors=True)
    for folder, pattern in SOURCES:
        target = share / folder
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(ROOT.glob(pattern)):
            shutil.copyfile(source, target / source.name)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if sys.argv[1:] else SHARE)
