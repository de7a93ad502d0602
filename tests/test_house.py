"""The house: which module may import which, and how it is written."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

import wawp_exporter

SRC = Path(wawp_exporter.__file__).parent
# In the order in which data flows: a module imports only those before it.
ORDER = (
    "errors",
    "files",
    "values",
    "config",
    "events",
    "localtime",
    "evolution",
    "wppconnect",
    "dialects",
    "signature",
    "machine",
    "fleet",
    "database",
    "tables",
    "partitions",
    "ordered",
    "retention",
    "names",
    "replay",
    "log",
    "missed",
    "history",
    "audit",
    "report",
    "recovery",
    "telemetry",
    "compression",
    "exposition",
    "log_limit",
    "logs",
    "defects",
    "corrections",
    "ingest",
    "answers",
    "gateway",
    "reconcile",
    "remedy",
    "follow",
    "progress",
    "audit_command",
    "transfer",
    "transfer_command",
    "reader_process",
    "reader",
    "heatmap",
    "stream",
    "access",
    "gate",
    "webhook",
    "wire",
    "crowd",
    "connection",
    "tls",
    "listener",
    "openapi",
    "api",
    "operations",
    "pages",
    "assets",
    "upkeep",
    "app",
    "signals",
    "serve_command",
    "cli",
)
# The fleet simulator stands beside the service: its parts may be split at will.
SIMULATOR = {"mimic", "scenarios", "simulate", "simulate_command", "truth"}
MODULES = sorted(path for path in SRC.glob("*.py") if path.stem not in {"__init__", "__main__"})
SOURCES = [path for path in sorted(SRC.rglob("*.py")) if "migrations" not in path.parts]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "wawp_exporter":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wawp_exporter."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wawp_exporter.")}
    return found - {"__version__"}


def public(tree: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """The public functions, classes and methods that a module defines at its top or in a public class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If | ast.Try):
            yield from public(node)
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_those_above_it(path: Path) -> None:
    """Imports run one way and never back."""
    if path.stem in SIMULATOR:
        assert not imported(path) & {"app", "cli", "ingest", "webhook", "listener"}
        return

    above = set(ORDER[: ORDER.index(path.stem)])

    assert imported(path) - SIMULATOR <= above


def test_only_the_command_line_knows_the_simulator() -> None:
    """What serves in production does not depend on what plays a fleet."""
    assert {path.stem for path in MODULES if imported(path) & SIMULATOR} <= SIMULATOR | {"cli"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SRC)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    """Modules, classes, functions and methods."""
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree)
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


def length(node: Function) -> int:
    """The lines of a function's body, its docstring left out."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short() -> None:
    """The median has fewer than ten lines, nine in ten have fewer than thirty."""
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    lengths = sorted(length(node) for node in nodes if isinstance(node, Function))

    assert statistics.median(lengths) < 10
    assert lengths[len(lengths) * 9 // 10] < 30


def test_the_core_knows_neither_clock_nor_socket_nor_database() -> None:
    """Time is an argument of the fold, which is what lets replay be live."""
    foreign = {"time", "socket", "asyncio", "sqlite3", "sqlalchemy", "random", "os", "threading"}
    for name in ("events", "machine", "fleet", "signature"):
        tree = ast.parse((SRC / f"{name}.py").read_text())
        roots = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        roots |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}

        assert not roots & foreign, name
