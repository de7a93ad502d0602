"""Each change of a threshold, comparison, matcher or join is noticed by some case, or is known to change nothing."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from threading import local
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


class Hunt:
    """Runs the cases that may kill a mutant until one does: first the known one, and those that killed its siblings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine = local()
        self.order: dict[tuple[str, int], list[Case]] = {}

    def survives(self, mutant: Mutant) -> bool:
        key = (mutant.rule.group, mutant.rule.index)
        rest = list(self.order.setdefault(key, cases_for(mutant.rule)))
        rest.sort(key=lambda case: case.name != noticed_by().get(mutant.id))
        for size in chain(BATCHES, repeat(6)):
            batch, rest = rest[:size], rest[size:]
            if killers := self.killers(mutant, batch):
                self.order[key].sort(key=lambda case: case.name not in killers)  # its siblings meet them first
                return False
            if not rest:
                return True
        return False  # never reached

    def killers(self, mutant: Mutant, cases: list[Case]) -> set[str]:
        """The cases that fail; each is a file of its own, so that promtool says which."""
        folder = self.own_folder()
        looked_at = frozenset().union(*(names_in(case) for case in cases))
        (folder / "rules.yml").write_text(dump(sliced(mutant, looked_at)))
        failed: set[str] = set()
        for is_native, promtool in promtools().items():
            files = {case.name: str(written(case, folder)) for case in cases if case.native == is_native}
            if files and (done := run(promtool, "test", "rules", *files.values(), merged=True)).returncode:
                failed |= {name for name in files if has_failed(name, done.stdout)} or set(files)
        return failed

    def own_folder(self) -> Path:
        if not hasattr(self.mine, "folder"):
            self.mine.folder = self.folder / f"worker-{id(self.mine.__dict__)}"
            self.mine.folder.mkdir()
        return self.mine.folder


def has_failed(name: str, output: str) -> bool:
    """What promtool says of this file; since Prometheus 3 it does not say which file it speaks of."""
    return any(
        part.split("\n")[0].endswith(f"/{name}.yml") and "FAILED" in part for part in output.split("Unit Testing: ")
    )


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

    assert [mutant for mutant in noticed_by() if mutant not in ids] == []
    assert [e for e in known() if len(e["reason"]) < 30 or not any(re.search(e["mutant"], i) for i in ids)] == []
