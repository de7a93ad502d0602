"""The demo tells the story to its end and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts

DEMO = [sys.executable, str(parts.ROOT / "scripts/demo.py")]
TELLS = {
    "dead-mans-switch": "Prometheus and Alertmanager are alive",
    "it-oncall": "is disconnected",
    "ops-chat": "is flapping",
    "session-manager": "must be paired",
}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files are all in one folder, which also marks the demo's processes."""
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def left_running(folder: Path) -> list[str]:
    """The command lines of processes that have this folder as TMPDIR."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours
        if f"TMPDIR={folder}".encode() in environment.split(b"\0") and command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.slow
def test_the_demo_shows_each_receiver_its_messages_and_ends(home: dict[str, str]) -> None:
    """Half a minute for the hour: mail, chat and pager as Alertmanager renders them, firing and over."""
    parts.require("prometheus")
    parts.require("alertmanager")

    done = subprocess.run([*DEMO, "--minutes", "0.5"], env=home, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for receiver, words in TELLS.items():
        assert re.search(rf"to {receiver} \(.*\)\n .*{words}", done.stdout), done.stdout
    assert re.search(r"^  RESOLVED: .* had to be paired", done.stdout, re.MULTILINE)
    assert re.search(r"^Fleet page +http://127\.0\.0\.1:\d+/$", done.stdout, re.MULTILINE)
    assert left_running(Path(home["TMPDIR"])) == []
    assert list(Path(home["TMPDIR"]).iterdir()) == []


def test_ctrl_c_ends_the_demo_with_all_that_it_started(home: dict[str, str]) -> None:
    """As a terminal does it: the whole process group gets SIGINT at once, in the middle of the play."""
    parts.require("prometheus")
    parts.require("alertmanager")
    demo = subprocess.Popen(DEMO, env=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    assert demo.stdout is not None
    with demo.stdout:
        while b"Fleet page" not in (line := demo.stdout.readline()):
            assert line, "the demo has ended"
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.stdout.read().decode()

    assert demo.wait() == 130
    assert "Stopped. Nothing is left running." in rest
    assert "Traceback" not in rest
    assert left_running(Path(home["TMPDIR"])) == []
    assert list(Path(home["TMPDIR"]).iterdir()) == []


def test_without_the_servers_the_demo_says_what_to_install(tmp_path: Path) -> None:
    """No traceback, and nothing is started."""
    nothing = "from scripts import demo; demo.parts.find = lambda *_: None"
    code = f"import sys; sys.argv = ['demo']; {nothing}; sys.exit(demo.main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=parts.ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "not found: prometheus, alertmanager" in done.stderr
    assert "make tools" in done.stderr
