"""Writes what was measured into docs/performance.md: a table for each bench, between two comments that name it."""

import os
import platform
import re
import time
from pathlib import Path

from bench.results import Result, bound_of, ratio_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
HEAD = "| measured | wawp-exporter | peer | ratio | required | |\n|---|---|---|---|---|---|"
GIB = 1024**3


def machine() -> str:
    """What measured, and when."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    name = " ".join(found[1].split()) if found else platform.machine()
    cores, python = os.cpu_count(), platform.python_version()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{time.strftime('%Y-%m-%d')}, {cores} cores of {name}, {memory:.0f} GiB, Python {python}"


def table(results: list[Result]) -> str:
    """The rows of one bench."""
    return "\n".join([HEAD, *map(row, results)])


def row(result: Result) -> str:
    """A row of the table."""
    met = "" if result.required is None else "met" if result.good else "**missed**"
    cells = (result.name, result.ours, result.peer, ratio_of(result), bound_of(result), met)
    return "".join(f"| {cell} " for cell in cells) + "|"


def marks(bench: str) -> tuple[str, str]:
    """The comments around the table of a bench."""
    return f"<!-- bench {bench} -->", f"<!-- end of bench {bench} -->"


def written(page: str, bench: str, results: list[Result]) -> str:
    """The page with the table of one bench made anew."""
    first, last = marks(bench)
    block = f"{first}\n{machine()}:\n\n{table(results)}\n{last}"
    made, times = re.subn(f"{re.escape(first)}.*?{re.escape(last)}", lambda _: block, page, flags=re.DOTALL)
    if times != 1:
        raise SystemExit(f"{PAGE.name} must have the line {first} and, after it, the line {last}, once each")
    return made


def write(bench: str, results: list[Result]) -> None:
    """Replaces the table of a bench in the page."""
    PAGE.write_text(written(PAGE.read_text(), bench, results))
