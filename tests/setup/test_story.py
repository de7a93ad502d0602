"""From an empty folder to a message: what setup wrote and what it told its reader to do, done as written."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests import parts, recorders
from tests.setup.conftest import at_once

PROGRAMS = {"prometheus": "prometheus", "prometheus-alertmanager": "alertmanager", "alertmanager": "alertmanager"}
TOOLS = Path(sys.executable).parent


class Started(parts.Service):
    """One of the commands that setup printed."""

    def __init__(self, name: str, words: list[str], port: int, folder: Path) -> None:
        self.name = name  # type: ignore[misc]
        self.words = words
        super().__init__(folder)
        self.port = port

    def command(self) -> list[str]:
        """As printed."""
        return self.words


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """One of the commands that setup printed."""
    words = [str(TOOLS / "wawp-exporter"), *words[1:]]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def commands(text: str) -> dict[str, list[str]]:
    """The printed commands, by the name of their program."""
    lines = [shlex.split(line) for line in re.findall(r"^  (\S+ .*--(?:config|alertmanager).*)$", text, re.MULTILINE)]
    return {words[1] if words[0].endswith("wawp-exporter") else PROGRAMS[words[0]]: words for words in lines if words}


@pytest.fixture
def http() -> Iterator[recorders.Http]:
    """Who gets the messages."""
    with recorders.Http() as recorder:
        yield recorder


@pytest.mark.slow
@pytest.mark.parametrize("version", ["bookworm", "forky"])
def test_one_command_one_paste_and_a_message_arrives(version: str, http: recorders.Http, tmp_path: Path) -> None:
    """On one machine with installed servers; the only thing that is changed is how long Alertmanager waits for more."""
    servers = {name: parts.require(name, version) for name in ("prometheus", "alertmanager")}
    ports = {name: parts.free_port() for name in ("listen", "prometheus", "alertmanager")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    done = subprocess.run(
        [
            *(TOOLS / "wawp-exporter", "setup", "wawp", "--yes", "--gateway", "waha"),
            *("--receiver", f"webhook:{http.url}/phone", "--listen", f"127.0.0.1:{ports['listen']}", "--grafana="),
            *("--prometheus", urls["prometheus"], "--alertmanager", urls["alertmanager"]),
            *("--alertmanager-version", "0.25.0" if version == "bookworm" else "0.33.1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    at_once(tmp_path / "wawp")
    start = commands(done.stdout)
    start["serve"][0] = str(TOOLS / "wawp-exporter")
    for name, program in servers.items():
        start[name][0] = str(program)
    pasted = dict(re.findall(r"^  (WHATSAPP_\w+)=(.*)$", done.stdout, re.MULTILINE))

    with ExitStack() as running:
        for name, port in (("serve", "listen"), ("alertmanager", "alertmanager"), ("prometheus", "prometheus")):
            folder = tmp_path / "elsewhere" / name
            folder.mkdir(parents=True)
            running.enter_context(Started(name, start[name], ports[port], folder))
        client = running.enter_context(httpx.Client(timeout=parts.PATIENCE_S, trust_env=False))
        parts.wait_until(lambda: up(client, urls["prometheus"]), "a scrape, and an Alertmanager to send to")
        # A session that has worked, and is lost.
        now = parts.now_ms()
        for status, ago in (("WORKING", 60_000), ("DISCONNECTED", 30_000)):
            body = parts.encode(parts.envelope(session="sales-uk", status=status, timestamp=now - ago))
            signed = {"X-Webhook-Hmac": parts.sign(body, pasted["WHATSAPP_HOOK_HMAC_KEY"])}
            assert client.post(pasted["WHATSAPP_HOOK_URL"], content=body, headers=signed).status_code == 200

        message = http.box.wait_for(lambda posted: posted.body["commonLabels"].get("session") == "sales-uk")
        examined = run(start["doctor"])
        tried = run(start["test-alert"])
        test = http.box.wait_for(lambda posted: posted.body["commonLabels"].get("test") == "true")

    assert message.path == "/phone"
    assert message.body["commonLabels"]["alertname"] == "WawpSessionDisconnected"
    assert (message.body["status"], message.body["receiver"]) == ("firing", "it-oncall")
    assert (examined.returncode, "✗" in examined.stdout) == (0, False), examined.stdout
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert (test.path, test.body["receiver"]) == ("/phone", "it-oncall")


def up(client: httpx.Client, prometheus: str) -> bool:
    """Whether Prometheus has scraped the exporter and found Alertmanager."""
    scraped = client.get(f"{prometheus}/api/v1/query", params={"query": 'up{job="wawp-exporter"} == 1'}).json()
    found = client.get(f"{prometheus}/api/v1/alertmanagers").json()
    return bool(scraped["data"]["result"]) and bool(found["data"]["activeAlertmanagers"])
