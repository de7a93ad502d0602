"""Each change of a threshold, comparison, matcher or join is noticed by some case, or is known to change nothing."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import HERE, Case
from mutate import Mutant, cases_for, mutants, needed, rule_file
from promtool import NEWEST, dump, find, run, tools
from rulefiles import RULES, Rule, document

BATCHES = (1, 2, 4)  # how many cases are run at a time; after these, six
NAMES: dict[str, Rule] = {r.name: r for r in RULES}


@cache
def known() -> list[dict[str, str]]:
    """Equivalent mutants: `{mutant: a regular expression that finds its id, reason: …}`."""
    found: list[dict[str, str]] = yaml.safe_load((HERE / "equivalent-mutants.yml").read_text())
    return found


@cache
def noticed_by() -> dict[str, str]:
    """Mutant → the case to begin with."""
    found: dict[str, str] = yaml.safe_load((HERE / "noticed-by.yml").read_text())
    return found


def is_known(mutant: Mutant) -> bool:
    return any(re.search(entry["mutant"], mutant.id) for entry in known())


class Trail:
    """The mutants of one rule in turn: each meets the known case first, then those that killed its siblings."""

    def __init__(self, folder: Path, mutants: list[Mutant]) -> None:
        self.folder = folder
        self.mutants = mutants
        self.order = list(cases_for(mutants[0].rule))
        self.survivors: list[str] = []
        self.begin()

    def begin(self) -> None:
        """With the first mutant that is left."""
        known = noticed_by().get(self.mutants[0].id) if self.mutants else None
        self.rest = sorted(self.order, key=lambda case: case.name != known)
        self.sizes = chain(BATCHES, repeat(6))

    def next_files(self) -> dict[Path, Case]:
        """The next cases that may notice it; each is a file of its own, so that promtool says which."""
        size = next(self.sizes)
        batch, self.rest = self.rest[:size], self.rest[size:]
        looked_at = frozenset().union(*(names_in(case) for case in batch))
        (self.folder / "rules.yml").write_text(dump(sliced(self.mutants[0], looked_at)))
        self.asked = {written(case, self.folder): case for case in batch}
        return self.asked

    def judge(self, failed: set[Path]) -> None:
        """Goes on with the next mutant, unless this one has cases left to meet."""
        killers = {case.name for path, case in self.asked.items() if path in failed}
        if not killers and self.rest:
            return
        if not killers:
            self.survivors.append(self.mutants[0].id)
        self.order.sort(key=lambda case: case.name not in killers)  # its siblings meet them first
        del self.mutants[0]
        self.begin()


def survivors_of(trails: list[Trail]) -> list[str]:
    """One mutant of each rule at a time: to start promtool takes as long as a case."""
    while hunted := [trail for trail in trails if trail.mutants]:
        failed = failures({path: case for trail in hunted for path, case in trail.next_files().items()})
        for trail in hunted:
            trail.judge(failed)
    return [survivor for trail in trails for survivor in trail.survivors]


def failures(files: dict[Path, Case]) -> set[Path]:
    """Those that do not pass."""
    plain = [path for path, case in files.items() if not case.native]
    said = complaint(plain, native=False)
    failed = {path for path in plain if has_failed(path, said)}
    assert bool(failed) is bool(said), said
    # Since Prometheus 3 it does not say which file it speaks of: here one mutant's at a time, and all of them.
    for _, group in groupby((path for path, case in files.items() if case.native), lambda path: path.parent):
        mates = list(group)
        failed |= set(mates) if complaint(mates, native=True) else set()
    return failed


def complaint(files: list[Path], *, native: bool) -> str:
    """What promtool says when a file does not pass."""
    if not files:
        return ""
    done = run(promtools()[native], "test", "rules", *map(str, files), merged=True)
    return done.stdout if done.returncode else ""


def has_failed(path: Path, said: str) -> bool:
    """By what promtool says of this file."""
    return any(part.split("\n")[0].strip() == str(path) and "FAILED" in part for part in said.split("Unit Testing: "))


@cache
def text_of(case: Case) -> tuple[str, str]:
    """Its step, and the case as promtool reads it."""
    group = case.group()
    return group["interval"], dump(group)


@cache
def names_in(case: Case) -> frozenset[str]:
    """The rules that it looks at."""
    return frozenset(r.name for r in RULES if r.topic == case.topic and r.name in text_of(case)[1])


def written(case: Case, folder: Path) -> Path:
    """The case as a file for promtool; once for each folder."""
    path = folder / f"{case.name}.yml"
    if not path.exists():
        step, text = text_of(case)
        order = dump([group["name"] for group in document(case.topic)["groups"]])
        head = f'"rule_files":["rules.yml"],"evaluation_interval":"{step}","group_eval_order":{order}'
        path.write_text(f'{{{head},"tests":[{text}]}}')
    return path


def sliced(mutant: Mutant, looked_at: frozenset[str]) -> dict[str, Any]:
    """The rule file without what nobody looks at: promtool's time is cases × rules × steps."""
    wanted = needed(set(looked_at), mutant.rule.topic)
    groups = []
    for group in rule_file(mutant)["groups"]:
        kept = [r for r in group["rules"] if (r.get("alert") or r["record"]) in wanted]
        groups += [{**group, "rules": kept}] if kept else []
    return {"groups": groups}


@cache
def promtools() -> dict[bool, str]:
    """Which promtool runs the cases without and with native histograms; the newest may not be installed."""
    newest = tools(NEWEST)
    return {False: find("bookworm").promtool} | ({} if newest.missing else {True: newest.promtool})


def to_hunt() -> list[Mutant]:
    """All of them, or with WAWP_MUTANTS=WawpSessionFailed those with this in their ids."""
    only = os.environ.get("WAWP_MUTANTS", "")
    rules = set() if True in promtools() else {rule for rule in NAMES if any(c.native for c in cases_for(NAMES[rule]))}
    return [m for m in mutants() if only in m.id and m.rule.name not in rules and not is_known(m)]


def folder_of(parent: Path, number: int) -> Path:
    """Of the mutants of a rule."""
    (folder := parent / str(number)).mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_mutant_is_noticed_or_known_to_be_equivalent(tmp_path: Path) -> None:
    """Two promtools at a time."""
    by_rule = {
        key: list(group) for key, group in groupby(to_hunt(), lambda mutant: (mutant.rule.group, mutant.rule.index))
    }
    trails = [Trail(folder_of(tmp_path, number), found) for number, found in enumerate(by_rule.values())]
    with ThreadPoolExecutor(2) as pool:
        survivors = [*chain(*pool.map(survivors_of, (trails[::2], trails[1::2])))]

    assert survivors == []


def test_every_equivalent_mutant_exists_and_has_a_reason() -> None:
    """A list without reasons is a list of untested rules; one that outlives its rule hides the next."""
    ids = [m.id for m in mutants()]

    assert [mutant for mutant in noticed_by() if mutant not in ids] == []
    assert [e for e in known() if len(e["reason"]) < 30 or not any(re.search(e["mutant"], i) for i in ids)] == []
