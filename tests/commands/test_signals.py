"""Signals at any moment of the process's life: asked for early is done late, and nothing ends it by default."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests import parts

# A start that has reached a certain place, and goes on when the test says so.
HELD = """
import time
from pathlib import Path
import wawp_exporter.commands.main
import {module} as module
real = module.{name}
def held(*given):
    Path("held").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return real(*given)
module.{name} = held
wawp_exporter.commands.main.main(["serve", "--config", "wawp.yml"])
"""
PLACES = {
    "reading its configuration": HELD.format(module="wawp_exporter.commands.main", name="load_or_exit"),
    "opening its log": HELD.format(module="wawp_exporter.web.front", name="make_front"),
    "restoring its log": HELD.format(module="wawp_exporter.service.service", name="restore"),
}
TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service that is held at one of PLACES; its log is in the file `log`."""
    begun = []
    config = {"web": {"listen": "127.0.0.1:0"}, "database": {"url": f"sqlite:///{tmp_path}/wawp.db"}}
    (tmp_path / "wawp.yml").write_text(yaml.safe_dump(config))

    def begin(place: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-c", PLACES[place]]
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        begun.append(process)
        parts.wait_until(lambda: (tmp_path / "held").exists() or process.poll() is not None)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()


@pytest.mark.parametrize("place", PLACES)
def test_a_reload_that_is_asked_for_during_the_start_is_done_after_it(start: Start, tmp_path: Path, place: str) -> None:
    """A configuration manager writes the file and sends SIGHUP, whatever the service is doing."""
    process = start(place)
    for _ in range(3):
        process.send_signal(HUP)
    (tmp_path / "go").touch()

    parts.wait_until(lambda: b"configuration loaded" in (tmp_path / "log").read_bytes() or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(TERM)
    assert process.wait() == 0


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("numbers", [[TERM], [INT], [TERM, TERM], [HUP, INT, HUP]], ids=str)
def test_a_stop_that_is_asked_for_during_the_start_is_clean(
    start: Start, tmp_path: Path, place: str, numbers: Sequence[signal.Signals]
) -> None:
    """Exit status 0 and no traceback: whoever supervises it must not take it for a crash."""
    process = start(place)
    for number in numbers:
        process.send_signal(number)
    (tmp_path / "go").touch()

    assert process.wait() == 0
    said = (tmp_path / "log").read_text()
    assert "stopped" in said
    assert "listening" not in said
    assert "Traceback" not in said


def test_a_reload_that_is_asked_for_during_the_stop_is_ignored(tmp_path: Path) -> None:
    """The process neither dies of it nor begins anew."""
    with parts.Exporter({}, tmp_path) as exporter:
        body = parts.encode(parts.envelope())
        with socket.create_connection(("127.0.0.1", exporter.port)) as half:
            half.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
            parts.wait_until(lambda: exporter.get("/-/ready").status_code == 200)
            os.kill(exporter.pid, TERM)
            parts.wait_until(lambda: refuses(exporter.port))
            for _ in range(3):
                os.kill(exporter.pid, HUP)
            half.sendall(body)
            assert half.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert exporter.process
        assert exporter.process.wait() == 0
        assert "configuration loaded" not in exporter.stderr


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
