"""What a command imports: each module costs time at every start, and memory for as long as the process runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wawp_exporter.log.log import Log

HEAVY = {"alembic", "httpx", "mako", "psycopg", "rich"}
VERSION = """
import json, sys
from wawp_exporter.commands.main import main
main(["--version"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)))
"""
# As the command line does it, until the service answers.
SERVE = """
import asyncio, json, sys
from wawp_exporter.commands import main
settings = main.load_or_exit(None)
from wawp_exporter import log_lines
from wawp_exporter.commands import serve

async def run():
    until = asyncio.Event()
    await serve.serve(settings, None, lambda *_: until.set(), until)
    print(json.dumps(sorted(sys.modules)))

asyncio.run(run())
"""


def imported(program: str, folder: Path) -> set[str]:
    """The modules of a process that has run a program; the last line that it prints are their names."""
    env = {"WAWP_EXPORTER_WEB__LISTEN": "127.0.0.1:0", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True, cwd=folder, env=env
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def libraries(modules: set[str]) -> set[str]:
    """What they are parts of."""
    return {name.partition(".")[0] for name in modules}


def test_a_start_imports_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    """An HTTP client is for a gateway's API, rich for tables on a terminal, alembic for a log of an older version."""
    (tmp_path / "data").mkdir()
    Log(tmp_path / "data" / "wawp.db").close()

    assert libraries(imported(SERVE, tmp_path)) & HEAVY == set()


@pytest.mark.parametrize("library", ["httpx", "alembic"])
def test_a_library_is_imported_when_it_is_needed(tmp_path: Path, library: str) -> None:
    """The names above are those of the libraries: a new log is made by alembic, a gateway is asked with httpx."""
    (tmp_path / "wawp.yml").write_text("sources: {default: {api: {url: 'http://127.0.0.1:9'}}}\n")
    program = SERVE.replace("load_or_exit(None)", "load_or_exit(main.Path('wawp.yml'))")

    assert library in libraries(imported(program, tmp_path))


def test_the_version_is_printed_by_next_to_nothing(tmp_path: Path) -> None:
    """Scripts ask for it."""
    found = imported(VERSION, tmp_path)

    assert libraries(found).isdisjoint({"structlog", "pydantic", "msgspec", "sqlalchemy", *HEAVY})
    assert {name for name in found if name.startswith("wawp_exporter")} == {
        "wawp_exporter",
        "wawp_exporter.commands",
        "wawp_exporter.commands.main",
        "wawp_exporter.commands.signals",
        "wawp_exporter.errors",
    }
