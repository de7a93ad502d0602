"""Every command of README and docs is run; those that cannot be here are listed with the reason."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests import parts, storm

ROOT = parts.ROOT
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("alerts/runbooks/*.md"))]
ADDRESS = "http://127.0.0.1:10011"
# What runbooks set first; the keys of a gateway are in the environment of whoever reads them.
SETTINGS = {"E": ADDRESS, "S": "sales-uk", "SRC": "default"}
# By regular expression.
NOT_RUN = {
    r"^make run": "sets up and serves until it is stopped; test_service and test_deploy start the same command",
    r"^make demo": "test_demo runs it",
    r"^kubectl": "needs a cluster",
    r"^helm": "needs a cluster; test_helm renders and lints the chart",
    r"^docker build|^docker run": "needs an engine; test_deploy takes the image's steps without one",
    r"^docker compose|compose/secrets": "needs an engine; test_deploy has Docker Compose read the file",
    r"^sudo ": "changes this machine; test_deploy has systemd read the unit, and installs with pipx",
    r"^systemctl|^journalctl": "needs a running systemd",
    r"^open ": "a person's browser; test_browser looks at the page",
    r"^\.venv/bin/pytest": "would run the tests within the tests",
    r"sqlite3 data": "the program need not be there; the backup is made below with the library's same function",
    r"\$W|wppconnect\.example": "asks a gateway; tests/gateway.py answers as one, and only to what the exporter asks",
    r"/qr\b": "needs a gateway; test_qr asks for the image",
    r"^ssh|^chronyc|web\.whatsapp\.com": "asks other machines",
    r"PROMETHEUS|ALERTMANAGER|DATABASE": "asks other servers",
    r"^pipx install": "test_deploy installs with pipx",
    r"wawp-exporter setup": "asks, or needs a receiver; tests/setup and tests/commands run it",
    r"wawp-exporter doctor|wawp-exporter test-alert": "asks other servers; tests/doctor runs them on real ones",
    r"wawp_session_probe": "needs a gateway that is asked",
    r"^pkill": "would end or reload whatever bears the name; test_service sends the signal",
}
# A month of history, or an hour in real time, is made as fast as it is taken.
QUICK = ["--pace", "0"]
# By what stands in the docs.
SMALLER = {
    "--duration 60": "--duration 2",
    "--duration 2592000": "--duration 604800",
    "--sessions 30": "--sessions 8",  # of these, too, two are down at the end of the month
    "--sessions 1000": "--sessions 100",
}


def commands(document: Path) -> list[str]:
    """The commands of a document's shell blocks, continued lines joined, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    loops = re.sub(r"^for .*?^done$", lambda loop: loop[0].replace("\n", " "), text, flags=re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"(^|\s+)#.*$", "", line).strip() for line in loops.splitlines()]
    return [line for line in lines if line and not re.match(r"\w+=", line)]


# Each once: runbooks share many.
ALL = {command: document.name for document in DOCUMENTS for command in commands(document)}
RUN = [(name, command) for command, name in ALL.items() if not any(re.search(reason, command) for reason in NOT_RUN)]


@dataclass
class Place:
    """Where a reader of the docs would be: a folder with what they name, and a service."""

    folder: Path
    plain: parts.Exporter
    signed: parts.Exporter
    database: str
    fleets: Iterator[int] = field(default_factory=count)

    def secrets(self, command: str) -> dict[str, str]:
        """What a reader has exported before this command."""
        return {"WAWP_EXPORTER_DATABASE__URL": self.database} if "migrate-log" in command else {}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as it stands, but for the address of the service."""
        service = self.signed if "--hmac-key-file" in command or "--token-file" in command else self.plain
        given = command.replace(ADDRESS, service.url).replace("/etc/wawp-exporter/config.yml", "wawp.yml")
        if " simulate " in given and "--list" not in given:
            # A fleet of its own: told to sessions that have lived since, a month would be corrected event by event.
            given = " ".join([given, *QUICK, "--prefix", f"{next(self.fleets)}-", "--url", f"{service.url}/webhook"])
            for shown, smaller in SMALLER.items():
                given = given.replace(shown, smaller)
        path = f"{self.folder}/.venv/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {given}"],
            cwd=self.folder,
            env={**os.environ, **SETTINGS, "E": service.url, "PATH": path, **self.secrets(command)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres: parts.Postgres) -> Iterator[Place]:
    """Everything that the commands name."""
    folder = tmp_path_factory.mktemp("reader")
    for name in (".venv", "src", "alerts", "tests"):
        (folder / name).symlink_to(ROOT / name)
    # A copy: its commands write.
    shutil.copytree(ROOT / "grafana", folder / "grafana")
    (folder / "key").write_text("a-key\n")
    (folder / "token").write_text("a-token\n")
    (folder / "data").mkdir()
    sources = {
        "default": {"hmac_keys_file": str(folder / "key")},
        "wawp": {"token_file": str(folder / "token")},
    }
    groups = {"GROUP": ["default/sales-uk", "default/sales-global"]}
    with parts.Exporter({"groups": groups}) as plain, parts.Exporter({"sources": sources}) as signed:
        plain.post(parts.envelope(session="sales-uk"))
        for name in ("wawp.yml", "wawp-exporter.yml", "other.yml"):
            shutil.copy(plain.config_file, folder / name)
        with (
            closing(sqlite3.connect(plain.directory / "wawp.db")) as log,
            closing(sqlite3.connect(folder / "data" / "wawp.db")) as copy,
        ):
            log.backup(copy)
        yield Place(folder, plain, signed, postgres.create_database("docs"))


@pytest.mark.parametrize(("document", "command"), RUN, ids=lambda value: value[:60])
def test_a_command_does_what_it_says(place: Place, document: str, command: str) -> None:
    """It ends well and tells something."""
    done = place.run(command)

    assert done.returncode == 0, f"{document}: {command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert done.stdout
    assert '{"error"' not in done.stdout


def test_what_is_not_run_is_still_there() -> None:
    """A reason for a command that is gone is no reason."""
    assert [reason for reason in NOT_RUN if not any(re.search(reason, command) for command in ALL)] == []


def test_a_backup_that_was_made_while_the_service_runs_can_be_restored(
    exporter: Callable[..., parts.Exporter], tmp_path: Path
) -> None:
    """As docs/operations.md has it: what `.backup` of sqlite3 does."""
    running = exporter()
    for number in range(50):
        running.post(parts.envelope(session=f"s{number}", status=("WORKING", "FAILED")[number % 2]))
    with (
        closing(sqlite3.connect(running.directory / "wawp.db")) as log,
        closing(sqlite3.connect(tmp_path / "wawp.db")) as copy,
    ):
        log.backup(copy)

    restored = exporter({"database": {"url": f"sqlite:///{tmp_path}/wawp.db"}})

    assert storm.states(restored) == storm.states(running) != {}
