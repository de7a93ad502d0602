"""The house: which module may import which, and how it is written."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

import wawp_exporter

SRC = Path(wawp_exporter.__file__).parent
# The wings and the files beside them: each may import those above it.
ORDER = (
    "errors",
    "times",
    "cursors",
    "log_limit",
    "log_lines",
    "config",
    "model",
    "dialects",
    "log",
    "metrics",
    "live",
    "gateways",
    "audit",
    "service",
    "web",
    "simulator",
    "setup",
    "doctor",
    "commands",
    "__main__",
)
SOURCES = [path for path in sorted(SRC.rglob("*.py")) if "migrations" not in path.parts]
ROOMS = [path for path in SOURCES if path != SRC / "__init__.py"]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def wing(path: Path) -> str:
    """The folder or file at the root of the package that a source belongs to."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports: `model.fleet`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "wawp_exporter":
            inner = (node.module or "").partition(".")[2]
            names = {f"{inner}.{alias.name}".removeprefix(".") for alias in node.names}
            found |= names if (SRC / inner.replace(".", "/")).is_dir() else {inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("wawp_exporter.")}
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


def test_wings_import_one_way() -> None:
    """Whoever reads a wing need not know those that come after it."""
    wrong = []
    for path in ROOMS:
        above = {wing(path), *ORDER[: ORDER.index(wing(path))]}
        wrong += [
            f"{path.relative_to(SRC)} imports {name}" for name in imported(path) if name.split(".")[0] not in above
        ]

    assert wrong == []


def test_no_imports_run_in_a_circle() -> None:
    """Within a wing neither: there is always a file to begin with."""
    imports = {".".join(path.relative_to(SRC).with_suffix("").parts): imported(path) for path in ROOMS}
    while leaves := [name for name, others in imports.items() if not others & imports.keys()]:
        for name in leaves:
            del imports[name]

    assert imports == {}


def test_only_the_command_line_knows_the_simulator() -> None:
    """What serves in production does not depend on what plays a fleet."""
    knows = {wing(path) for path in ROOMS if any(name.startswith("simulator.") for name in imported(path))}

    assert knows == {"simulator", "commands"}


def test_the_root_has_few_files() -> None:
    """Somebody new reads the names of the wings first."""
    assert len([path for path in SOURCES if path.parent == SRC]) <= 12


def test_files_and_classes_are_small() -> None:
    """Long ones are hard to read, and hold more than one noun: 400 lines a file, 200 a class."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    files = {str(path.relative_to(SRC)): len(path.read_text().splitlines()) for path in SOURCES}
    classes = {
        f"{path.relative_to(SRC)} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    assert {name: lines for name, lines in files.items() if lines > 400} == {}
    assert {name: lines for name, lines in classes.items() if lines > 200} == {}


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
    for path in [*SRC.glob("model/*.py"), SRC / "web" / "signature.py"]:
        tree = ast.parse(path.read_text())
        roots = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        roots |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}

        assert not roots & foreign, path.name
