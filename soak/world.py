"""The replicas, their database and keys, and what the gateways and the faults must know of each other."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from soak import log
from soak.clock import Clock
from soak.fold import RESTART_MS
from soak.ledger import Ledger
from tests import parts

if TYPE_CHECKING:
    from soak.gateways import Gateway

TOKEN = "api-token"
# Root as everybody is: what the mode of a file forbids is forbidden.
AS_EVERYBODY = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)
ALGORITHMS = {"default": "sha512", "b": "sha256"}
# The thresholds at pace 1.
LIMITS_MS = {
    "starting": 60_000,
    "failed": 10_000,
    "qr_escalate": 300_000,
    "qr_unattended": 600_000,
    "down": 240_000,
    "undelivered": 300_000,
}
GRACE_S = 10.0  # for so long after the end of a fault its refusals are excused


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of."""

    faults: int = 100
    seed: int = 1
    database: str = "sqlite"
    minutes: float = 10.0
    replicas: int = 3
    senders: int = 8
    rate: float = 100.0
    ties: float = 0.05
    every: int = 5
    only: tuple[str, ...] = ()
    pace: float = 0.05  # of the judge's constants and thresholds, so that it has something to judge
    calm_after: float = 1.0  # the share of the faults after which no process ends, so that a leak would show
    spread: bool = False  # the faults over the time, which then is the least that the run takes

    @property
    def longest_s(self) -> float:
        """When the run ends, however many faults there were."""
        return self.minutes * 60 * (1.15 if self.spread else 1)

    def due_s(self, number: int) -> float:
        """When the fault of this number is to happen, after the begin."""
        return self.minutes * 60 * number / self.faults if self.spread else 0.0

    def calm(self, number: int) -> bool:
        """Whether the fault of this number may not end a process."""
        return number >= self.calm_after * self.faults


class Life:
    """What one process was seen to answer; a counter of it may not fall."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.unknown = 0
        self.counters: dict[str, float] = {}
        self.first_row = 0  # the newest of the log when it began
        self.seconds: dict[tuple[str, str], float] = {}  # of each session in any status, when it was last looked at
        self.looked_at = self.scraped = (0.0, 0.0)  # the last scrape that was looked at, and the last: begin and end

    def count(self, source: str, outcome: str) -> None:
        """One answer."""
        with self._lock:
            self.outcomes[source, outcome] += 1


class Replica(parts.Exporter):
    """A process of the service; `life` is that of the present process."""

    start_seconds = 60.0

    def __init__(self, *args: Any, newest: Callable[[], int], **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.newest = newest
        self.life = Life()
        self.lives = 0
        self.read_to = 0

    def start(self) -> "Replica":
        """Another life."""
        self.life = Life()
        self.life.first_row = self.newest()
        self.lives += 1
        return super().start()

    def signal(self, what: signal.Signals) -> None:
        """Sends a signal to the process."""
        os.kill(self.pid, what)

    def descriptors(self) -> int:
        """How many it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def new_lines(self) -> list[str]:
        """What it has logged since the last call."""
        with self.log.open(errors="replace") as file:
            file.seek(self.read_to)
            lines = file.readlines()
            self.read_to = file.tell()
        return lines


class Gate:
    """Gateways pass one request at a time; closing it waits until all of them are out."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside, self._open = 0, True

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Waits for the gate, and is inside meanwhile."""
        with self._condition:
            self._condition.wait_for(lambda: self._open)
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Nobody is inside."""
        with self._condition:
            self._open = False
            self._condition.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._condition:
                self._open = True
                self._condition.notify_all()


class Trouble:
    """Which refusals are excused: while a fault lasts, and a while longer."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    @contextmanager
    def lasting(self, kind: str) -> Iterator[None]:
        """A fault of this kind."""
        self._until[kind] = float("inf")
        try:
            yield
        finally:
            self._until[kind] = time.monotonic() + GRACE_S

    def excuses(self, kind: str) -> bool:
        """Whether what is refused now may be."""
        return time.monotonic() < self._until.get(kind, 0.0)


class Keyring:
    """The keys of the sources as files, and with which of them the gateways sign."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signing = {"default": b"first-key", "b": b"b-key", "old": b"old-token"}
        for source, key in self._signing.items():
            self.write(source, [key])
        self.token_file = folder / "api.token"
        self.token_file.write_text(f"{TOKEN}\n")

    def file(self, source: str) -> Path:
        """Where its keys are."""
        return self._folder / f"{source}.keys"

    def write(self, source: str, keys: Sequence[bytes]) -> None:
        """Replaces the file as a whole, as whatever deploys keys does."""
        new = self._folder / f"{source}.new"
        new.write_bytes(b"\n".join(keys) + b"\n")
        new.replace(self.file(source))

    def key(self, source: str) -> bytes:
        """With which it signs."""
        return self._signing[source]

    def sign_with(self, source: str, key: bytes) -> None:
        """From now on."""
        self._signing[source] = key

    def header(self, source: str, body: bytes) -> dict[str, str]:
        """What proves that a webhook is genuine."""
        key = self._signing[source]
        if source == "old":
            return {"Authorization": f"Bearer {key.decode()}"}
        return {"X-Webhook-Hmac": parts.sign(body, key, ALGORITHMS[source])}


class World:
    """All of it. `ended` says that no more is to happen, `given_up` that what is under way does not matter any more."""

    def __init__(self, options: Options, folder: Path, server: parts.Postgres | None) -> None:
        self.options, self.server = options, server
        self.random = Random(options.seed)
        self.ledger, self.gate, self.trouble = Ledger(), Gate(), Trouble()
        self.ended, self.given_up = threading.Event(), threading.Event()
        self.keyring = Keyring(folder)
        self.clock = Clock(folder)
        self.data = folder / "data"
        self.data.mkdir()
        self.url = server.url if server else f"sqlite:///{self.data}/wawp.db"
        wrapper = AS_EVERYBODY if os.geteuid() == 0 else ()
        self.folder, self.wrapper = folder, wrapper
        self.gateways: list[Gateway] = []
        self.happened = 0  # so many faults
        self.reloaded: dict[str, Any] = {}  # what the last reload has put into the configuration
        self.rows = (0, 0)  # that were there at the last look, and the newest of them
        self.outages: dict[str, float] = {}  # that were exported at the last look, and since when
        self.replicas = [self.replica(f"replica-{n}") for n in range(options.replicas if server else 1)]

    def replica(self, name: str, url: str | None = None) -> Replica:
        """A process with a folder of its own, on the common database or on another one, configured as the others."""
        config = {**self.config(free_port()), **self.reloaded}
        config["database"] = {"url": url or self.url}
        given = {"env": self.clock.environment, "wrapper": self.wrapper, "pace": self.options.pace}
        return Replica(config, made(self.folder / name), newest=self.newest_row, **given)

    def newest_row(self) -> int:
        """The number of the log's newest row, 0 if there is none, or if it cannot be read."""
        try:
            return log.rows(self.url)[1]
        except sa.exc.SQLAlchemyError:
            return 0

    @property
    def restart_ms(self) -> int:
        """For how long STOPPED may be a restart."""
        return round(RESTART_MS * self.options.pace)

    def config(self, port: int, **more: Any) -> dict[str, Any]:
        """The configuration of a replica."""
        key = self.keyring.file
        sources = {
            "default": {"hmac_keys_file": str(key("default"))},
            "b": {"hmac_keys_file": str(key("b")), "hmac_algorithm": "sha256"},
            "old": {"token_file": str(key("old"))},
        }
        web = {"listen": f"127.0.0.1:{port}", "api_token_file": str(self.keyring.token_file)}
        limits = {name: f"{round(ms * self.options.pace)}ms" for name, ms in LIMITS_MS.items()}
        return {"web": web, "database": {"url": self.url}, "sources": sources, "thresholds": limits, **more}

    @property
    def database(self) -> parts.Postgres:
        """The server of the replicas."""
        assert self.server
        return self.server

    def pick(self) -> Replica:
        """Any replica."""
        return self.random.choice(self.replicas)


def free_port() -> int:
    """A port below those of outgoing connections: while a replica is down, nobody else must get it."""
    while True:
        port = SystemRandom().randrange(21_300, 31_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def made(folder: Path) -> Path:
    """The folder, which is new."""
    folder.mkdir()
    return folder
