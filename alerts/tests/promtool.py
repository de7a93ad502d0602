"""promtool and its relatives: where they are, and how to run cases through them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cases import ALERTS, Case

ROOT = ALERTS.parent
RELEASES = ("bookworm", "trixie", "forky")
NEWEST = RELEASES[-1]
REQUIRED = ("bookworm", "trixie")


@dataclass(frozen=True)
class Tools:
    """The programs of one Debian release."""

    release: str
    folder: Path

    @property
    def missing(self) -> list[str]:
        return [p for p in (self.promtool, self.amtool, self.alertmanager) if not shutil.which(p)]

    @property
    def promtool(self) -> str:
        return str(self.folder / "promtool")

    @property
    def amtool(self) -> str:
        return str(self.folder / "amtool")

    @property
    def alertmanager(self) -> str:
        return str(self.folder / "prometheus-alertmanager")


def tools(release: str) -> Tools:
    """The tools of a release, wherever they are, if at all."""
    unpacked = ROOT / ".tools" / f"apt-{release}" / "root" / "usr" / "bin"
    folder = unpacked if unpacked.exists() else Path("/usr/bin") if release == "bookworm" else unpacked
    return Tools(release, folder)


def find(release: str) -> Tools:
    """The tools of a release; skips where they are not installed, and fails instead where CI=true requires them."""
    found = tools(release)
    missing = found.missing
    if missing and os.environ.get("CI") == "true" and release in REQUIRED:
        pytest.fail(f"{release}: {', '.join(missing)} must be installed where CI=true")
    if missing:
        pytest.skip(f"{release} is not unpacked here: {', '.join(missing)} not found")
    return found


def run(*command: str, text: str | None = None, merged: bool = False) -> subprocess.CompletedProcess[str]:
    """`merged`: what it writes to stderr is in stdout, in its order."""
    stderr = subprocess.STDOUT if merged else subprocess.PIPE
    # Its processes live for a moment: to look for garbage less often saves a fifth of their time.
    env = {**os.environ, "GOGC": "400", "GOMAXPROCS": "1"}
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, env=env)


def write_tests(folder: Path, rule_file: Path, cases: Iterable[Case]) -> list[str]:
    """The cases as promtool test files: one for each step, since promtool evaluates a whole file at one interval."""
    by_step: dict[str, list[dict[str, object]]] = {}
    for group in (case.group() for case in cases):
        by_step.setdefault(group["interval"], []).append(group)
    # Groups read each other's records; promtool has no order of its own, and takes no notice of their intervals.
    order = [group["name"] for group in yaml.safe_load(rule_file.read_text())["groups"]]
    paths = []
    for step, groups in by_step.items():
        path = folder / f"every-{step}.yml"
        whole = {"rule_files": [str(rule_file)], "evaluation_interval": step, "group_eval_order": order}
        path.write_text(dump({**whole, "tests": groups}))
        paths.append(str(path))
    return paths


def dump(document: object) -> str:
    """JSON is YAML, and is written twenty times faster."""
    return json.dumps(document, ensure_ascii=False)


def run_cases(promtool: str, folder: Path, rule_file: Path, cases: Sequence[Case]) -> tuple[bool, str]:
    """Whether all cases pass, and what promtool said."""
    done = run(promtool, "test", "rules", *write_tests(folder, rule_file, cases))
    return done.returncode == 0, done.stdout + done.stderr
