"""Which Prometheus and Alertmanager there are."""

from pathlib import Path

import pytest

from tests import parts
from wawp_exporter.setup import versions
from wawp_exporter.setup.versions import ALERTMANAGER, PROMETHEUS, Version


@pytest.mark.parametrize(
    ("text", "version"),
    [("0.28.1", (0, 28, 1)), ("v3.5", (3, 5, 0)), ("0.28.1+ds", (0, 28, 1)), ("3.13.0-rc.1", (3, 13, 0))],
)
def test_versions_are_read_as_people_and_distributions_write_them(text: str, version: tuple[int, int, int]) -> None:
    """Debian adds a suffix, releases have a v."""
    assert versions.parse(text) == version


@pytest.mark.parametrize("text", ["", "newest", "0", "1.2.3.4", "1.99999"])
def test_what_is_no_version_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match=r"such as 0\.28\.1"):
        versions.parse(text)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine changes no result."""
    monkeypatch.setattr(versions, "PATIENCE_S", parts.PATIENCE_S)


def test_a_running_server_is_asked(prometheus: parts.Prometheus) -> None:
    """It may be another one than the program on PATH, on another machine even."""
    program = versions.installed([str(parts.require("prometheus"))])

    assert program is not None
    assert versions.running(PROMETHEUS, prometheus.url) == program


def test_a_running_alertmanager_is_asked(tmp_path: Path) -> None:
    """As above, by its own API."""
    with parts.Alertmanager({"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}) as server:
        version = versions.running(ALERTMANAGER, server.url)

    assert version == versions.installed([str(parts.require("alertmanager"))])


def test_where_nobody_answers_the_program_on_path_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that says nothing useful, or cannot run, is none."""
    nowhere = f"http://127.0.0.1:{parts.free_port()}"
    for name, text in (("alertmanager", "#!/bin/sh\necho alertmanager, version 0.31.2 >&2\n"), ("odd", "no program")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert versions.found(ALERTMANAGER, nowhere) == Version(0, 31, 2)
    assert versions.installed(["odd"]) is None
    assert versions.installed(["not-there"]) is None
