"""The rules, run by each promtool against sessions that go through what real engines do."""

from __future__ import annotations

from pathlib import Path

import pytest
from all_cases import CASES
from cases import ALERTS, TOPICS, Case
from promtool import NEWEST, RELEASES, find, run, run_cases


class Verdicts:
    """Runs all cases of a topic at once, and one by one only where that fails: a process for each costs more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed: dict[tuple[str, str], bool] = {}

    def complaint(self, release: str, case: Case) -> str:
        promtool, rules = find(release).promtool, ALERTS / f"{case.topic}.rules.yml"
        key = (release, case.topic)
        if key not in self.passed:
            mates = [c for c in CASES if c.topic == case.topic and knows(release, c)]
            self.passed[key], _ = run_cases(promtool, self.folder, rules, mates)
        if self.passed[key]:
            return ""
        passed, said = run_cases(promtool, self.folder, rules, [case])
        return "" if passed else said


def knows(release: str, case: Case) -> bool:
    """Whether the release's promtool can be given the case's series."""
    return not case.native or release == NEWEST


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return Verdicts(tmp_path_factory.mktemp("promtool"))


EACH = [(c, release) for release in RELEASES for c in CASES if knows(release, c)]


@pytest.mark.parametrize(("case", "release"), EACH, ids=[f"{c.name}-{release}" for c, release in EACH])
def test_rule_case(case: Case, release: str, verdicts: Verdicts) -> None:
    """Each case states one fact; see cases_*.py."""
    assert verdicts.complaint(release, case) == ""


@pytest.mark.parametrize("release", RELEASES)
def test_the_rule_files_load_as_they_are(release: str) -> None:
    """Prometheus 2.42, 2.53 and 3.x take the shipped files, and find nothing to complain of."""
    files = [str(ALERTS / f"{topic}.rules.yml") for topic in TOPICS]
    done = run(find(release).promtool, "check", "rules", "--lint=all", "--lint-fatal", *files)

    assert done.returncode == 0, done.stdout + done.stderr
