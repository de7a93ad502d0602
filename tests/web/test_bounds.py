"""The table of bounds in `docs/security.md` is the code's."""

import importlib
import re
from pathlib import Path

import pytest

from wawp_exporter.config.schema import Config

ROOT = Path(__file__).parents[2]
UNITS = {"": 1, "bytes": 1, "KiB": 1024, "MiB": 1024 * 1024, "s": 1, "ms": 1}
# Modules whose every bound is one of the public face's.
FACE = ("web.wire", "web.webhook", "web.connection", "web.channel", "web.crowd")


def rows() -> list[tuple[str, str, list[str]]]:
    """Constant, value, tests of each row."""
    text = (
        (ROOT / "docs/security.md").read_text().partition("## Every bound of the public face")[2].partition("\n## ")[0]
    )
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return [(row[1].strip("`"), row[2], re.findall(r"test_\w+::test_\w+", row[4])) for row in cells[1:]]


def number(shown: str) -> float:
    """`32 KiB` → 32768."""
    value, _, unit = shown.replace(",", "").partition(" ")
    return float(value) * UNITS[unit]


def in_code(constant: str) -> float:
    """The value of `module.NAME`, or the default of `config: section.key`."""
    if constant.startswith("config: "):
        section, key = constant.removeprefix("config: ").split(".")
        return float(getattr(getattr(Config(), section), key))
    module, _, name = constant.rpartition(".")
    return float(getattr(importlib.import_module(f"wawp_exporter.{module}"), name))


@pytest.mark.parametrize(("constant", "shown"), [row[:2] for row in rows() if row[0]])
def test_a_bound_is_what_the_table_says(constant: str, shown: str) -> None:
    """An operator reads the table, not the code."""
    assert in_code(constant) == number(shown)


@pytest.mark.parametrize("module", FACE)
def test_no_bound_is_missing(module: str) -> None:
    """Whatever is called a maximum or a time in what faces the public."""
    text = (ROOT / f"src/wawp_exporter/{module.replace('.', '/')}.py").read_text()
    bounds = re.findall(r"^(MAX_\w+|LINGER_\w+|\w+_S) =", text, re.MULTILINE)

    assert {f"{module}.{name}" for name in bounds} - {constant for constant, _, _ in rows()} == set()


def test_each_bound_has_a_test_that_holds_it() -> None:
    """By its name."""
    missing = []
    for constant, _, tests in rows():
        assert tests, constant
        for test in tests:
            file, name = test.split("::")
            paths = (ROOT / "tests").rglob(f"{file}.py")
            if not any(f"def {name}(" in path.read_text() for path in paths):
                missing.append(test)

    assert missing == []
