"""A real Alertmanager with the shipped routes and mutes, its receivers replaced by one that records."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import yaml
from cases import ALERTS

FASTER = 30
SECONDS = {"s": 1, "m": 60, "h": 3600}
WAITS = ("group_wait", "group_interval", "repeat_interval")


def faster(route: dict[str, Any]) -> dict[str, Any]:
    """The route with every wait 30 times shorter, so that their proportions stay."""
    changed = {k: f"{int(v[:-1]) * SECONDS[v[-1]] * 1000 // FASTER}ms" for k, v in route.items() if k in WAITS}
    children = {"routes": [faster(r) for r in route["routes"]]} if "routes" in route else {}
    return {**route, **changed, **children}


def recorded(url: str) -> dict[str, Any]:
    """The shipped configuration with its receivers replaced: the name of each is the path that it posts to."""
    shipped = yaml.safe_load((ALERTS / "alertmanager.yml").read_text())
    receivers = [
        {"name": r["name"], "webhook_configs": [{"url": f"{url}/{r['name']}", "send_resolved": True}]}
        for r in shipped["receivers"]
    ]
    kept = {k: shipped[k] for k in ("time_intervals", "inhibit_rules")}
    return {**kept, "route": faster(shipped["route"]), "receivers": receivers}


class Alertmanager:
    """Posts alerts and takes what receivers are sent."""

    def __init__(self, port: int, mail: Queue[tuple[str, dict[str, Any]]]) -> None:
        self.url, self.mail = f"http://127.0.0.1:{port}/api/v2", mail
        self.received: list[tuple[str, dict[str, str]]] = []

    def post(self, *alerts: dict[str, str]) -> None:
        body = json.dumps([{"labels": a, "annotations": {}} for a in alerts]).encode()
        request = urllib.request.Request(f"{self.url}/alerts", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()

    def muted(self, source: str) -> set[str]:
        """The names of this source's alerts that Alertmanager says are inhibited."""
        with urllib.request.urlopen(f"{self.url}/alerts") as answer:
            found = json.load(answer)
        mine = [a for a in found if a["labels"].get("source") == source]
        return {a["labels"]["alertname"] for a in mine if a["status"]["inhibitedBy"]}

    def wait_for(self, **labels: str) -> str:
        """The receiver that is sent an alert with these labels."""
        while True:
            for receiver, got in self.received:
                if labels.items() <= got.items():
                    return receiver
            receiver, message = self.mail.get()
            self.received += [(receiver, a["labels"]) for a in message["alerts"]]

    def was_sent(self, **labels: str) -> bool:
        return any(labels.items() <= got.items() for _, got in self.received)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def mailbox() -> Iterator[tuple[str, Queue[tuple[str, dict[str, Any]]]]]:
    """An address for webhooks, and the queue of what arrives there as `(receiver, message)`."""
    queue: Queue[tuple[str, dict[str, Any]]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            queue.put((self.path.strip("/"), json.loads(body)))

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", queue
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def alertmanager(program: str, folder: Path) -> Iterator[Alertmanager]:
    """A running Alertmanager; it is ready when it is yielded and gone afterwards."""
    port = free_port()
    with mailbox() as (url, queue):
        config = folder / "alertmanager.yml"
        config.write_text(yaml.safe_dump(recorded(url)))
        command = [
            program, f"--config.file={config}", f"--storage.path={folder}/data", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                until_ready(port, process)
                yield Alertmanager(port, queue)
            finally:
                process.terminate()


def until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready").close()
        except OSError:
            if process.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(port)


def fired(name: str, **other: str) -> dict[str, str]:
    """An alert of this name with the labels that its rule produces, but for `other`."""
    texts = yaml.safe_load((Path(__file__).parent / "texts.yml").read_text())
    entry = next(e for e in texts.values() if e["alertname"] == name)
    return {"alertname": name, **entry["alerts"][0]["exp_labels"], **other}
