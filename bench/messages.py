"""1,000 message events a second on one core, and what they do to the status webhooks beside them."""

import asyncio
import contextlib
import hmac
import http.client
import json
import multiprocessing
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, Pool
from pathlib import Path
from typing import Any

from bench.fleets import fill, name_of
from bench.intake import CORES, KEY, SCRIPT, load, pinned
from bench.results import Result
from bench.usage import cpu_s
from tests.parts import Exporter

SESSIONS = 2000
RATE = 1000  # message events a second
CONNECTIONS = 16
PAUSE = 0.02  # between two status webhooks
OURS = {min(CORES)}  # the service's core, and those of what sends to it
THEIRS = CORES - OURS or CORES
MESSAGES = re.compile(r"^wawp_session_messages_total\{.*\} (\S+)$", re.M)
# What one own message and one incoming one make: three events and one, of which two are messages.
KINDS = ("message.any", "message.ack", "message.any", "message.ack")
ACKS = ((0, "PENDING"), (1, "SERVER"), (1, "SERVER"), (2, "DEVICE"))
OWN = (True, True, False, True)
COUNTED = 2  # of four
PREPARED: list[bytes] = []  # in the process that sends


@dataclass(frozen=True)
class Seconds:
    """What was measured for a while: latencies of status webhooks in seconds; CPU and bytes written, a second."""

    latencies: Sequence[float]
    cpu: float
    written: float
    sent: float = 0.0

    def percentile(self, share: int) -> float:
        """So many per cent were faster, in ms."""
        return 1000 * statistics.quantiles(self.latencies, n=100)[share - 1]


def message(index: int, at: int) -> bytes:
    """The index-th message event, signed, as WAHA sends it: about 1.5 KB."""
    cycle, place = divmod(index, len(KINDS))
    name, own, (ack, ack_name) = name_of(cycle % SESSIONS), OWN[place], ACKS[place]
    key = f"{str(own).lower()}_447700900123@c.us_3EB0{cycle:08d}{'IO'[own]}"
    hidden = {"key": {"remoteJid": "447700900123@s.whatsapp.net", "fromMe": own, "id": key}, "pushName": "Somebody",
              "message": {"extendedTextMessage": {"text": "x" * 160, "contextInfo": {"expiration": 0}},
                          "messageContextInfo": {"deviceListMetadata": {"senderKeyHash": "c" * 44, "numbers": [1, 2]},
                                                 "messageSecret": "s" * 44}}, "verifiedBizName": None}  # fmt: skip
    payload = {"id": key, "timestamp": at // 1000, "from": "447700900123@c.us", "fromMe": own, "source": "app",
               "to": "447700900123@c.us", "body": "x" * 160, "hasMedia": False, "media": None, "ack": ack,
               "ackName": ack_name, "location": None, "vCards": None, "_data": hidden, "replyTo": None}  # fmt: skip
    environment = {"version": "2026.2.1", "engine": "NOWEB", "tier": "CORE", "browser": None}
    return request({"id": f"evt_{index:026d}", "timestamp": at, "event": KINDS[place], "session": name,
                    "me": {"id": "447700900456@c.us", "pushName": "Sales"}, "payload": payload, "engine": "NOWEB",
                    "environment": environment})  # fmt: skip


def status(index: int, at: int) -> bytes:
    """The index-th status webhook, signed: sessions that are not among those of the messages go up and down."""
    name, word = name_of(SESSIONS + index % SESSIONS), ("STARTING", "WORKING")[index // SESSIONS % 2]
    payload = {"name": name, "status": word, "statuses": [{"status": word, "timestamp": at}]}
    return request({"id": f"sta_{index:026d}", "timestamp": at, "event": "session.status", "session": name, "me": None,
                    "payload": payload, "engine": "NOWEB", "environment": {"version": "2026.2.1"}})  # fmt: skip


def request(envelope: dict[str, Any]) -> bytes:
    """A request as it goes over a kept connection."""
    body = json.dumps(envelope, separators=(",", ":")).encode()
    signature = hmac.digest(KEY, body, "sha512").hex()
    return (
        "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Webhook-Hmac: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def prepare(first: int, count: int) -> None:
    """Makes so many message events, in the process that will send them."""
    at = time.time_ns() // 1_000_000
    PREPARED[:] = [message(first + index, at + index) for index in range(count)]


def send(port: int) -> float:
    """Sends them at RATE, in that process; how many were answered with 200, a second."""
    started = time.perf_counter()
    asyncio.run(paced(port, PREPARED))
    return len(PREPARED) / max(len(PREPARED) / RATE, time.perf_counter() - started)


async def paced(port: int, requests: Sequence[bytes]) -> None:
    """Each request at its moment, over CONNECTIONS that take turns."""
    began = time.perf_counter()

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for index in range(first, len(requests), CONNECTIONS):
            await asyncio.sleep(max(0.0, began + index / RATE - time.perf_counter()))
            writer.write(requests[index])
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head, re.I)
            assert size, head
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(size[1]))
        writer.close()

    await asyncio.gather(*(one(first) for first in range(CONNECTIONS)))


def probe(port: int, first: int, sender: AsyncResult[float] | None, seconds: float) -> list[float]:
    """The latencies of status webhooks, one each PAUSE, for so long, or as long as messages are sent."""
    connection, began = http.client.HTTPConnection("127.0.0.1", port, timeout=60), time.perf_counter()
    took: list[float] = []
    connection.connect()
    assert connection.sock
    while not sender.ready() if sender else time.perf_counter() - began < seconds:
        told, started = status(first + len(took), time.time_ns() // 1_000_000), time.perf_counter()
        connection.sock.sendall(told)
        answer = http.client.HTTPResponse(connection.sock)
        answer.begin()
        answer.read()
        took.append(time.perf_counter() - started)
        assert answer.status == 200
        time.sleep(max(0.0, PAUSE - took[-1]))
    connection.close()
    return took


def used(pid: int) -> tuple[float, float]:
    """Seconds of CPU of a process and its children, and bytes that it has written to the disk."""
    seconds = cpu_s(pid)
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            seconds += used(int(child))[0]
    written = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.M)
    return seconds, float(written[1]) if written else 0.0


class Trial:
    """An exporter on one core, and how many events were sent to it."""

    def __init__(self, exporter: Exporter, pool: Pool) -> None:
        self.exporter = exporter
        self._pool = pool
        self.port = int(exporter.url.rpartition(":")[2])
        self.statuses = self.messages = 0

    def measure(self, seconds: float, *, busy: bool) -> Seconds:
        """For so long, with message events or without."""
        count = round(RATE * seconds) if busy else 0
        self._pool.apply(prepare, (self.messages, count))
        cpu, written = used(self.exporter.pid)
        started = time.perf_counter()
        sender = self._pool.apply_async(send, (self.port,)) if busy else None
        latencies = probe(self.port, self.statuses, sender, seconds)
        took = time.perf_counter() - started
        after = used(self.exporter.pid)
        self.statuses += len(latencies)
        self.messages += count
        return Seconds(latencies, (after[0] - cpu) / took, (after[1] - written) / took, sender.get() if sender else 0.0)

    def check(self, path: Path) -> None:
        """Each message was counted once, and none is in the log."""
        counted = sum(map(float, MESSAGES.findall(self.exporter.metrics())))
        with contextlib.closing(sqlite3.connect(path)) as log:
            (rows,) = log.execute("SELECT count(*) FROM event").fetchone()
        if (counted, rows) != (self.messages // len(KINDS) * COUNTED, self.statuses + 2 * SESSIONS):
            raise RuntimeError(f"{counted} of {self.messages} message events were counted, {rows} are in the log")


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Trial]:
    """An exporter whose fleet is known."""
    fill(folder / "wawp.db", SESSIONS, 2 * SESSIONS)
    (folder / "key").write_bytes(KEY)
    config = {
        "database": {"url": f"sqlite:///{folder}/wawp.db"},
        "sources": {"default": {"hmac_keys_file": str(folder / "key")}},
        "metrics": {"session_histograms": False},
        "log": {"level": "error"},
    }
    with pinned(THEIRS), multiprocessing.get_context("spawn").Pool(1) as pool, contextlib.ExitStack() as stack:
        with pinned(OURS):
            exporter = stack.enter_context(Exporter(config))
        yield Trial(exporter, pool)


def most(folder: Path, trial: Trial, seconds: int) -> float:
    """Message events a second as fast as they are answered, over 64 connections."""
    at = time.time_ns() // 1_000_000
    with (folder / "requests.txt").open("wb") as file:
        for index in range(40_000):
            head, _, body = message(trial.messages + index, at).partition(b"\r\n\r\n")
            file.write(head.partition(b"Hmac: ")[2].partition(b"\r\n")[0] + b" " + body + b"\n")
    (folder / "send.lua").write_text(SCRIPT % (folder / "requests.txt"))
    with pinned(OURS):  # what sends is then on the other cores
        return load(folder, trial.exporter.url, seconds).rate


def run(quick: bool) -> list[Result]:
    """In turns without and with message events; then as many as there can be."""
    rounds, seconds = (1, 3) if quick else (4, 10)
    with tempfile.TemporaryDirectory() as name, service(Path(name)) as trial:
        trial.measure(1, busy=True)  # the first of each kind is slower
        pairs = [(trial.measure(seconds, busy=False), trial.measure(seconds, busy=True)) for _ in range(rounds)]
        trial.check(Path(name) / "wawp.db")
        highest = most(Path(name), trial, 2 if quick else 5)
    alone, beside = zip(*pairs, strict=True)
    rate = statistics.median(each.sent for each in beside)
    return [
        Result("message events on one core, signed", f"{rate:,.0f}/s", f"{RATE:,}/s", rate / RATE, 0.99),
        Result("the same at most", f"{highest:,.0f}/s", f"{RATE:,}/s", highest / RATE, 1.0),
        *(compared(f"status webhook beside them, p{share}", beside, alone, share) for share in (50, 99)),
        shared("share of the core, against without them", beside, alone),
        written("written to the disk a second, against without them", beside, alone),
    ]


def compared(name: str, beside: Sequence[Seconds], alone: Sequence[Seconds], share: int) -> Result:
    """The medians of a percentile of the rounds, against the rounds without messages."""
    ours, theirs = (statistics.median(each.percentile(share) for each in side) for side in (beside, alone))
    return Result(name, f"{ours:.2f} ms", f"{theirs:.2f} ms", ours / theirs)


def shared(name: str, beside: Sequence[Seconds], alone: Sequence[Seconds]) -> Result:
    """Of one core."""
    ours, theirs = (statistics.median(each.cpu for each in side) for side in (beside, alone))
    return Result(name, f"{ours:.0%}", f"{theirs:.0%}", ours / theirs)


def written(name: str, beside: Sequence[Seconds], alone: Sequence[Seconds]) -> Result:
    """In KiB."""
    ours, theirs = (statistics.median(each.written for each in side) / 1024 for side in (beside, alone))
    return Result(name, f"{ours:,.0f} KiB", f"{theirs:,.0f} KiB", ours / max(theirs, 1))
