"""`wawp-exporter backtest` as an operator calls it: what it prints, and what it says of mistakes."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import event
from wawp_exporter.audit.firings import COLUMNS
from wawp_exporter.log.log import Log

W, S, D, Q = "WORKING", "STARTING", "DISCONNECTED", "SCAN_QR_CODE"
PERIOD = ("--from", "2026-11-18", "--to", "2026-11-19")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a morning of two sources, and configurations for it."""
    folder = tmp_path_factory.mktemp("past")
    log = Log(folder / "wawp.db")
    for name, source, told in (
        ("=shop", "default", [(W, 0), (S, 100), (W, 300)]),
        ("[red]x", "default", [(W, 0), (Q, 500)]),
        ("y", "closed", [(W, 0), (D, 100)]),
    ):
        for status, at in told:
            log.append([event(status, at, key=(source, name))])
    log.close()
    database = f"database: {{url: 'sqlite:///{folder}/wawp.db'}}\n"
    (folder / "wawp.yml").write_text(database + "timezone: Europe/Madrid\n")
    (folder / "other.yml").write_text("thresholds: {starting: 2m, qr_unattended: 30d}\n")
    (folder / "wrong.yml").write_text("thresholds: {starting: soon}\n")
    (folder / "silent.yml").write_text(database + "thresholds: {silent: 30d}\n")
    return folder


def command(config: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """The command, as a process."""
    whole = [sys.executable, "-m", "wawp_exporter", "backtest", "--config", str(config), *args]
    return subprocess.run(whole, capture_output=True, text=True, check=False, cwd=config.parent)


def test_json_is_a_list_of_alerts(folder: Path) -> None:
    """Times are RFC 3339, and null for what goes on; nothing else is on standard output."""
    ended = command(folder / "wawp.yml", *PERIOD, "--format", "json")

    stuck, *logins = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert stuck == {
        "alert": "WawpSessionStuckStarting",
        "source": "default",
        "session": "=shop",
        "engine": "GOWS",
        "problem": "stuck_starting",
        "kind": None,
        "reason": "",
        "started_at": "2026-11-18T11:08:20Z",
        "firing_at": "2026-11-18T11:09:30Z",
        "ended_at": "2026-11-18T11:12:40Z",
        "sessions": None,
    }
    assert [(each["alert"], each["ended_at"]) for each in logins] == [
        ("WawpSessionQrWaiting", None), ("WawpSessionQrEscalated", None), ("WawpSessionQrUnattended", None),
    ]  # fmt: skip


def test_sources_that_are_not_configured_are_said_on_standard_error(folder: Path) -> None:
    """The report is complete without them, or is it not: the operator decides."""
    ended = command(folder / "wawp.yml", *PERIOD, "--format", "csv")

    assert ended.stderr == "note: source closed of the log is not in the configuration, its sessions are left out\n"


def test_a_limit_of_silence_comes_with_a_warning(folder: Path) -> None:
    """The log knows nothing of messages."""
    ended = command(folder / "silent.yml", *PERIOD)

    assert "note: thresholds.silent: the log has no messages" in ended.stderr


def test_csv_has_the_same_columns_and_no_formula(folder: Path) -> None:
    """A name that a spreadsheet would run is quoted."""
    ended = command(folder / "wawp.yml", *PERIOD, "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["session"], rows[0]["firing_at"], rows[0]["kind"]) == ("'=shop", "2026-11-18T11:09:30Z", "")
    assert len(rows) == 4


def test_the_table_lists_alerts_and_totals(folder: Path) -> None:
    """In the time zone of the configuration; names cannot draw in colours."""
    ended = command(folder / "wawp.yml", *PERIOD)

    assert "4 alerts would have fired" in ended.stdout
    assert "Europe/Madrid" in ended.stdout
    assert "2026-11-18 12:09:30" in ended.stdout
    assert "[red]x" in ended.stdout
    assert "goes on" in ended.stdout


def test_a_comparison_shows_what_would_change(folder: Path) -> None:
    """Later by a minute, and one alert gone; the other configuration needs to name neither sources nor the log."""
    args = (*PERIOD, "--compare", "other.yml")

    found = json.loads(command(folder / "wawp.yml", *args, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(command(folder / "wawp.yml", *args, "--format", "csv").stdout)))
    table = command(folder / "wawp.yml", *args).stdout

    changes = [(each["change"], each["alert"], each["shift_seconds"]) for each in found["changes"]]
    assert changes == [("later", "WawpSessionStuckStarting", 60.0), ("gone", "WawpSessionQrUnattended", None)]
    totals = {each["alert"]: (each["fired"], each["compared"]) for each in found["totals"]}
    assert totals["WawpSessionQrUnattended"] == (1, 0)
    assert totals["WawpSessionQrWaiting"] == (1, 1)
    assert [row["change"] for row in rows] == ["later", "gone"]
    assert "1m later" in table


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from", "soon"], "--from: not a time"),
        (["--from", "2098-01-01"], "--from: not before"),
        (["--compare", "wrong.yml"], "--compare: thresholds.starting"),
        (["--compare", "none.yml"], "--compare: none.yml: cannot be read"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, args: list[str], message: str) -> None:
    """Exit status 2, no traceback."""
    ended = command(folder / "wawp.yml", *args)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message)


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Exit status 1, and nothing is made."""
    (tmp_path / "wawp.yml").write_text(f"database: {{url: 'sqlite:///{tmp_path}/none.db'}}\n")

    ended = command(tmp_path / "wawp.yml")

    assert ended.returncode == 1
    assert ended.stderr == f"cannot read the event log {tmp_path}/none.db: there is no such file\n"
    assert [file.name for file in tmp_path.iterdir()] == ["wawp.yml"]
