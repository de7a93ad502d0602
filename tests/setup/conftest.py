"""Setup inside this process, and its servers."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import recorders
from wawp_exporter.commands.main import main

Setup = Callable[..., Result]
# So that no test depends on what is installed or running here.
VERSIONS = ("--alertmanager-version", "0.33.1", "--prometheus-version", "3.5.3")


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Runs `wawp-exporter setup FOLDER ARGS…`; with `answers` as somebody who types them, else with --yes."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("WAWP_EXPORTER_"):
            monkeypatch.delenv(name)

    def run(*args: str | Path, answers: str | None = None, versions: tuple[str, ...] = VERSIONS) -> Result:
        mode = ["--yes"] if answers is None else []
        given = ["setup", *(str(arg) for arg in args), *versions, *mode]
        done = CliRunner().invoke(main, given, input=answers, prog_name="wawp-exporter")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def http() -> Iterator[recorders.Http]:
    """Every chat, pager and webhook."""
    with recorders.Http() as recorder:
        yield recorder


def at_once(folder: Path) -> None:
    """Lets Alertmanager send without waiting for more alerts of a group; nothing else changes."""
    path = folder / "alertmanager.yml"
    path.write_text(re.sub(r"group_wait: \w+", "group_wait: 0s", path.read_text()))
