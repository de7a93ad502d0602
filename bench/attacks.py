"""What strangers can do: memory before, during and after each attack, and what others wait for meanwhile."""

import contextlib
import hmac
import http.client
import json
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.results import Result
from bench.servers import peer_process
from bench.usage import resident
from tests.parts import Exporter, now_ms

KEY = b"k" * 32
GET = b"GET /webhook HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\n"
MAX_GROWTH_MB = 20  # that is left a minute after an attack
MAX_P99_MS = 100  # of others meanwhile
ATTACKERS = 3
FORK = multiprocessing.get_context("fork")

Send = Callable[[socket.socket, float], None]


def flood(blob: bytes, start: bytes = b"") -> Send:
    """Sends the same again and again, and reads nothing."""

    def send(connection: socket.socket, until: float) -> None:
        connection.sendall(start)
        while time.monotonic() < until:
            connection.send(blob)

    return send


def signed(body: bytes) -> bytes:
    """A webhook of whoever holds the key."""
    signature = hmac.digest(KEY, body, "sha512").hex().encode()
    return POST + b"X-Webhook-Hmac: %s\r\nContent-Length: %d\r\n\r\n" % (signature, len(body)) + body


def event(session: str, points: int = 1) -> bytes:
    """A status with so long a history."""
    now = now_ms() - points
    told = [{"status": ("WORKING", "FAILED")[n % 2], "timestamp": now + n} for n in range(points)]
    payload = {"status": told[-1]["status"], "statuses": told}
    whole = {"event": "session.status", "session": session, "timestamp": now + points, "payload": payload}
    return json.dumps(whole, separators=(",", ":")).encode()


def long_histories(connection: socket.socket, until: float) -> None:
    """One body of nearly 256 KiB after another."""
    while time.monotonic() < until:
        connection.sendall(signed(event(f"long-{connection.fileno()}", 5000)))
        connection.recv(65536)


def nothing(_connection: socket.socket, _until: float) -> None:
    """What others wait for on this machine without an attack."""
    time.sleep(0.1)


ATTACKS: dict[str, Send] = {
    "no attack": nothing,
    "requests pipelined, no answer read": flood(GET * 400),
    "401 flood, no answer read": flood((POST + b"Content-Length: 2\r\n\r\n{}") * 400),
    "/metrics pipelined, no answer read": flood(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400),
    "a request line without end": flood(b"a" * 262_144, b"GET /"),
    "headers without end": flood(b"X: %s\r\n" % (b"a" * 1000) * 256, POST),
    "tiny headers without end": flood(b"X:y\r\n" * 10_000, POST),
    "trailers without end": flood(b"X: y\r\n" * 10_000, POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
    "chunks of one byte": flood(b"1\r\na\r\n" * 10_000, POST + b"Transfer-Encoding: chunked\r\n\r\n"),
    "a chunk extension without end": flood(b"a" * 262_144, POST + b"Transfer-Encoding: chunked\r\n\r\n5;"),
    "a body without end": flood(b"a" * 262_144, POST + b"Content-Length: 1000000000000\r\n\r\n"),
    "line ends only": flood(b"\r\n" * 100_000),
}
OF_A_KEY: dict[str, Send] = {"histories of 5,000 points, signed": long_histories}


def attack(port: int, send: Send, seconds: float) -> None:
    """Several senders side by side, each on a new connection as often as it is cut off."""

    def run() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.settimeout(1)
                send(connection, until)

    # Processes of their own: the honest sender must not wait for them in here.
    attackers = [FORK.Process(target=run) for _ in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()


class Honest:
    """Somebody else: a probe and a webhook in turn, each on a kept connection, and how long each took (ms)."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.took: list[float] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        number = 0
        while not self.ended.is_set():
            number += 1
            body = event(f"honest-{number % 50}")
            headers = {"X-Webhook-Hmac": hmac.digest(KEY, body, "sha512").hex()}
            for method, path, content in (("GET", "/-/healthy", None), ("POST", "/webhook", body)):
                began = time.perf_counter()
                connection.request(method, path, content, headers)
                connection.getresponse().read()
                self.took.append((time.perf_counter() - began) * 1000)
            self.ended.wait(0.005)
        connection.close()

    def __enter__(self) -> "Honest":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    @property
    def p99(self) -> float:
        """Of all."""
        return statistics.quantiles(self.took, n=100)[98]


def suffer(pid: int, port: int, send: Send, seconds: float, settle: float) -> tuple[float, float, float, float]:
    """Memory before, at most, and after; the p99 of others."""
    before, peak, ended = resident(pid) / 1e6, [resident(pid) / 1e6], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak.append(resident(pid) / 1e6)

    watching = threading.Thread(target=watch)
    watching.start()
    with Honest(port) as honest:
        attack(port, send, seconds)
    until = time.monotonic() + settle
    while resident(pid) / 1e6 > before + MAX_GROWTH_MB and time.monotonic() < until:
        time.sleep(0.5)
    ended.set()
    watching.join()
    return before, max(peak), resident(pid) / 1e6, honest.p99


@contextlib.contextmanager
def ours() -> Iterator[tuple[int, int]]:
    """The exporter, with a key."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "key").write_bytes(KEY)
        config = {"sources": {"default": {"hmac_keys_file": str(Path(name) / "key")}}, "log": {"level": "error"}}
        with Exporter(config) as exporter:
            yield exporter.pid, exporter.port


def run(quick: bool) -> list[Result]:
    """Each attack on the running exporter, one after another, and on a fresh uvicorn whose application does nothing."""
    seconds, settle, results = (2.0, 5.0, []) if quick else (5.0, 60.0, [])
    attacks = dict(list(ATTACKS.items())[:4]) if quick else ATTACKS
    with ours() as (pid, port):
        for name, send in (attacks | OF_A_KEY).items():
            mine = suffer(pid, port, send, seconds, settle)
            its = (0.0, 0.0, 0.0, 0.0)
            if name in attacks:
                with peer_process("trivial") as (peer_pid, peer_port):
                    its = suffer(peer_pid, peer_port, send, seconds, 0)
            results += [memory(name, mine, its), waiting(name, mine, its)]
    return results


def memory(name: str, mine: tuple[float, ...], its: tuple[float, ...]) -> Result:
    """What is left afterwards must be little."""
    shown = [f"{before:.0f} → {peak:.0f} → {after:.0f} MB" for before, peak, after, _ in (mine, its)]
    grown = max(0.0, mine[2] - mine[0])
    return Result(f"{name}: memory before → at most → after", *shown, grown / MAX_GROWTH_MB, 1, at_most=True)


def waiting(name: str, mine: tuple[float, ...], its: tuple[float, ...]) -> Result:
    """Others must not notice."""
    shown = [f"{p99:.1f} ms" for *_, p99 in (mine, its)]
    return Result(f"{name}: p99 of others", *shown, mine[3] / MAX_P99_MS, 1, at_most=True)
