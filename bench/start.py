"""What a start costs before there is any work: modules and processor time of `--version` and of the first answer.

Processor time, because it does not grow with what else the machine does.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import Result
from bench.servers import timed_get
from bench.usage import cpu_s
from tests.parts import ROOT, free_port

MODULES = "import sys; print(len(sys.modules))"
OURS = f"""
from wawp_exporter.commands.main import load_or_exit
load_or_exit(None)
from wawp_exporter import log_lines
from wawp_exporter.commands import serve
{MODULES}
"""
PEER = "import starlette.applications, uvicorn"


def spent(command: list[str]) -> float:
    """Seconds of processor time of a command."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def count(program: str) -> int:
    """How many modules a program has imported in the end."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return int(done.stdout)


def has_answered(port: int) -> bool:
    """Whether a request is answered, whatever the answer is: a server may listen before it can answer."""
    try:
        timed_get(f"http://127.0.0.1:{port}/-/ready", {})
    except OSError:
        return False
    return True


def until_answer(command: list[str], folder: str, port: int) -> float:
    """Seconds of processor time of a server from its start to its first answer."""
    env = os.environ | {"WAWP_EXPORTER_WEB__LISTEN": f"127.0.0.1:{port}"}
    server = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not has_answered(port):
            if server.poll() is not None:
                raise RuntimeError(f"{command} ended with {server.returncode} before it answered")
            time.sleep(0.002)
        return cpu_s(server.pid)
    finally:
        server.terminate()
        server.wait()


def ours(folder: str) -> float:
    """The service on a log without events."""
    return until_answer([sys.executable, "-m", "wawp_exporter", "serve"], folder, free_port())


def theirs(folder: str) -> float:
    """A Starlette application with one route on uvicorn."""
    port = free_port()
    flags = ["--app-dir", str(ROOT), "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command = [sys.executable, "-m", "uvicorn", "bench.peers.static:app", *flags, "--lifespan", "off"]
    return until_answer(command, folder, port)


def run(quick: bool) -> list[Result]:
    """The best of some rounds."""
    rounds = 3 if quick else 10
    script = str(Path(sys.executable).with_name("wawp-exporter"))
    version = min(spent([script, "--version"]) for _ in range(rounds))
    peer = min(spent([sys.executable, "-c", PEER]) for _ in range(rounds))
    with tempfile.TemporaryDirectory() as folder:
        ours(folder)  # makes the log
        start, static = (min(each(folder) for _ in range(rounds)) for each in (ours, theirs))
    modules = count(f"import wawp_exporter.commands.main; {MODULES}"), count(OURS), count(f"{PEER}; {MODULES}")
    named = "against importing starlette and uvicorn"
    return [
        Result(f"--version, {named}", f"{version:.2f} s", f"{peer:.2f} s", version / peer),
        Result(f"--version, modules, {named}", str(modules[0]), str(modules[2]), modules[0] / modules[2]),
        Result(f"start, modules, {named}", str(modules[1]), str(modules[2]), modules[1] / modules[2]),
        Result("start to the first answer, against one route on uvicorn", f"{start:.2f} s", f"{static:.2f} s",
               start / static),
        Result("start to the first answer, seconds of processor time", f"{start:.2f} s", "", start, 0.5, True),
    ]  # fmt: skip
