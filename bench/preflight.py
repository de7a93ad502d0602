"""The pre-flight answer, against an answer of the same stack that is always the same."""

import re
import subprocess
import tempfile
from pathlib import Path

from bench.capacity import config_of
from bench.fleets import fill
from bench.results import Result
from bench.servers import GZIP, peer, timed_get
from tests.parts import Exporter, require


def rate(url: str, seconds: int) -> float:
    """Requests a second over 64 keep-alive connections."""
    command = [str(require("wrk")), "-t1", "-c64", f"-d{seconds}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in output, output
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))  # type: ignore[union-attr]  # wrk prints it


def run(quick: bool) -> list[Result]:
    """Asks for one session of a fleet; the better of three rounds each, in turns."""
    sessions, seconds = (1000, 1) if quick else (10_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wawp.db"
        fill(path, sessions, 2 * sessions)
        with Exporter(config_of(path)) as exporter, peer("static", {}) as static:
            timed_get(f"{exporter.url}/metrics", GZIP)
            listed = exporter.client.get(f"{exporter.url}/api/v1/sessions", params={"status": "WORKING", "limit": 1})
            told = listed.json()["sessions"][0]
            ask = f"/api/v1/sessions/{told['source']}/{told['session']}/ready"
            rounds = [(rate(exporter.url + ask, seconds), rate(static + ask, seconds)) for _ in range(3)]
    ours, theirs = (max(each) for each in zip(*rounds, strict=True))
    name = f"pre-flight answers a second, {sessions:,} sessions: against a static answer"
    return [Result(name, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ours / theirs)]
