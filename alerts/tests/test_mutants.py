"""Each change of a threshold, comparison, matcher or join is noticed by some case, or is known to change nothing."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import local
from typing import Any

import pytest
import yaml
from cases import HERE, Case
from mutate import Mutant, cases_for, mutants, needed, rule_file
from promtool import NEWEST, dump, find, run, tools
from rulefiles import RULES, Rule, document

BATCH = 6
NAMES: dict[str, Rule] = {r.name: r for r in RULES}


@cache
def known() -> list[dict[str, str]]:
    """Equivalent mutants: `{mutant: a regular expression that finds its id, reason: …}`."""
    found: list[dict[str, str]] = yaml.safe_load((HERE / "equivalent-mutants.yml").read_text())
    return found


def is_known(mutant: Mutant) -> bool:
    return any(re.search(entry["mutant"], mutant.id) for entry in known())


@dataclass(frozen=True)
class Prepared:
    """A case as promtool reads it, and the rules that it looks at."""

    step: str
    text: str
    names: frozenset[str]


class Hunt:
    """Runs the cases that may kill a mutant, those that killed its siblings first, until one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine = local()
        self.order: dict[tuple[str, int], list[Case]] = {}
        self.ready: dict[str, Prepared] = {}

    def survives(self, mutant: Mutant) -> bool:
        key = (mutant.rule.group, mutant.rule.index)
        cases = self.order.setdefault(key, cases_for(mutant.rule))
        batches = [cases[:1], *(cases[i : i + BATCH] for i in range(1, len(cases), BATCH))]
        for batch in batches:
            if batch and not self.passes(mutant, batch):
                if batch is not batches[0]:
                    self.promote(key, batch)
                return False
        return True

    def promote(self, key: tuple[str, int], batch: list[Case]) -> None:
        """Moves the batch that killed to the front, so that its siblings meet it first."""
        rest = [c for c in self.order[key] if c not in batch]
        self.order[key] = [*batch, *rest]

    def passes(self, mutant: Mutant, cases: list[Case]) -> bool:
        return all(
            self.run(promtool, mutant, some)
            for is_native, promtool in promtools().items()
            if (some := [c for c in cases if c.native == is_native])
        )

    def run(self, promtool: str, mutant: Mutant, cases: list[Case]) -> bool:
        folder = self.own_folder()
        tests = [self.prepared(c) for c in cases]
        (folder / "rules.yml").write_text(dump(sliced(mutant, frozenset().union(*(t.names for t in tests)))))
        files = []
        for step in sorted({t.step for t in tests}):
            groups = ",".join(t.text for t in tests if t.step == step)
            path = folder / f"{step}.yml"
            order = dump([group["name"] for group in document(mutant.rule.topic)["groups"]])
            head = f'"rule_files":["rules.yml"],"evaluation_interval":"{step}","group_eval_order":{order}'
            path.write_text(f'{{{head},"tests":[{groups}]}}')
            files.append(str(path))
        return run(promtool, "test", "rules", *files).returncode == 0

    def prepared(self, case: Case) -> Prepared:
        if case.name not in self.ready:
            group = case.group()
            text = dump(group)
            names = frozenset(r.name for r in RULES if r.topic == case.topic and r.name in text)
            self.ready[case.name] = Prepared(group["interval"], text, names)
        return self.ready[case.name]

    def own_folder(self) -> Path:
        if not hasattr(self.mine, "folder"):
            self.mine.folder = self.folder / f"worker-{id(self.mine.__dict__)}"
            self.mine.folder.mkdir()
        return self.mine.folder


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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_mutant_is_noticed_or_known_to_be_equivalent(tmp_path: Path) -> None:
    """Two promtools at a time."""
    promtools()
    hunt, found = Hunt(tmp_path), to_hunt()
    with ThreadPoolExecutor(2) as pool:
        survivors = [m.id for m, alive in zip(found, pool.map(hunt.survives, found), strict=True) if alive]

    assert survivors == []


def test_every_equivalent_mutant_exists_and_has_a_reason() -> None:
    """A list without reasons is a list of untested rules; one that outlives its rule hides the next."""
    ids = [m.id for m in mutants()]

    assert [e for e in known() if len(e["reason"]) < 30 or not any(re.search(e["mutant"], i) for i in ids)] == []
