"""Limits that need message events, and whether they come."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests import parts
from tests.builders import event
from wawp_exporter.commands.main import main
from wawp_exporter.log.log import Log
from wawp_exporter.log.messages import News, Traffic


def checked(folder: Path, text: str, name: str = "wawp.db") -> Result:
    """What `check-config` says."""
    file = folder / "wawp.yml"
    file.write_text(f"database: {{url: 'sqlite:///{folder}/{name}'}}\n{text}")
    return CliRunner().invoke(main, ["check-config", str(file)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in which one source is heard now, and another was heard long ago."""
    made, now = Log(tmp_path / "wawp.db"), parts.now_ms()
    keys = [("heard", "s"), ("deaf", "s")]
    made.append([event("WORKING", key=key) for key in keys])
    times: list[Any] = [now, now - 8 * 86_400_000]
    made.messages.store(News([Traffic(key, 1, 0, at) for key, at in zip(keys, times, strict=True)]), now, 0)
    made.close()
    return tmp_path


SOURCES = "sources: {heard: {}, deaf: {api: {url: 'http://127.0.0.1:1'}}, never: {}}\n"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("thresholds: {silent: 1h}", "thresholds.silent"),
        ("thresholds: {quiet: 70}", "thresholds.quiet"),
        ("sessions: [{thresholds: {silent: 1h}}]", "sessions.0.thresholds.silent"),
        ("remedy: {alerts: [WawpSessionSilent]}", "remedy.alerts"),
        ("remedy: {alerts: [WawpMassSilence]}", "remedy.alerts"),
        ("thresholds: {silent: 1h, quiet: 20}", "thresholds.silent, thresholds.quiet"),
    ],
)
def test_a_limit_without_effect_is_noted(log: Path, text: str, key: str) -> None:
    """For each source from which no message has come in a week; it is no mistake."""
    ended = checked(log, SOURCES + text)

    assert ended.exit_code == 0
    assert "the configuration is good" in ended.stdout
    assert ended.stderr.splitlines() == [
        f"note: sources.{name}: no message event has come in 7 days, so that {key} has no effect, expected some"
        for name in ("deaf", "never")
    ]


def test_a_limit_of_one_source_is_noted_for_that_source(log: Path) -> None:
    """Another one's messages have nothing to do with it."""
    ended = checked(
        log, SOURCES + "sessions: [{source: heard, thresholds: {silent: 1h}}, {source: n*, thresholds: {quiet: 9}}]"
    )

    (note,) = ended.stderr.splitlines()
    assert note.startswith("note: sources.never: ")
    assert "sessions.1.thresholds.quiet has no effect" in note


@pytest.mark.parametrize("text", ["", "thresholds: {silent: 0s, quiet: 0}", "thresholds: {undelivered: 1m}"])
def test_nothing_is_noted_where_nothing_is_set(log: Path, text: str) -> None:
    """`quiet` is on by default, and waits until messages come."""
    assert checked(log, SOURCES + text).stderr == ""


def test_a_database_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    """The file may be checked on another machine."""
    ended = checked(tmp_path, "thresholds: {silent: 1h}", "missing.db")

    assert ended.exit_code == 0
    assert "whether they come is not known, since the database cannot be read" in ended.stderr
