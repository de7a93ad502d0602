"""What must not happen happens: power cuts, full disks, broken databases, and senders that mean ill."""

import asyncio
import contextlib
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import parts
from tests.served import Inside, rest, statuses
from wawp_exporter.web import channel

# Its exporters are started as users start them.
pytestmark = pytest.mark.usefixtures("own_interpreter")
Event = tuple[str, str, int]


def body_of(event: Event) -> bytes:
    """The webhook that says so, without history: each event stands for itself."""
    session, status, at = event
    return parts.encode(parts.envelope(session=session, status=status, timestamp=at, statuses=[]))


def logged(database: Path) -> Counter[Event]:
    """How often each event is in the log; the database must be sound."""
    query = "SELECT s.name, e.status, e.key_at FROM event e JOIN session s ON s.id = e.session_id"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return Counter(connection.execute(query).fetchall())


def sample(exporter: parts.Exporter, series: str) -> float:
    """The value of a series as it is spelt in the text, 0 where there is none."""
    lines = [line for line in exporter.metrics().split("\n") if line.startswith(f"{series} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def told(exporter: parts.Exporter, name: str, status: str) -> tuple[float, float]:
    """What is exported of a session: whether it is in the status, and since when."""
    labels = f'source="default",session="{name}"'
    since = sample(exporter, f"wawp_session_status_since_timestamp_seconds{{{labels}}}")
    return sample(exporter, f'wawp_session_status{{{labels},status="{status}"}}'), since


# Power cuts


class Senders:
    """Gateways that send distinct events on many connections, and send again what was not answered 200."""

    def __init__(self, count: int) -> None:
        now = parts.now_ms() - 10_000_000
        self.unacknowledged: list[list[Event]] = [
            [(f"s-{n}", ("WORKING", "FAILED")[i % 2], now + i) for i in range(5000, 0, -1)] for n in range(count)
        ]
        self.acknowledged: set[Event] = set()
        self.sent: set[Event] = set()
        self.odd: set[int] = set()

    async def until(self, url: str, wanted: int, then: Callable[[], None]) -> None:
        """Sends until `wanted` more are acknowledged, calls `then` amid the load, and ends with the server."""
        target = len(self.acknowledged) + wanted
        called = False

        async def send(client: httpx.AsyncClient, queue: list[Event]) -> None:
            nonlocal called
            while queue:
                self.sent.add(queue[-1])
                try:
                    answer = await client.post(url, content=body_of(queue[-1]))
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    self.odd.add(answer.status_code)
                    continue
                self.acknowledged.add(queue.pop())
                if len(self.acknowledged) >= target and not called:
                    called = True
                    then()

        async with httpx.AsyncClient(timeout=None, trust_env=False, verify=False) as client:
            await asyncio.gather(*(send(client, queue) for queue in self.unacknowledged))
        assert called, "the load ended before the fault"


@pytest.mark.slow
def test_ten_power_cuts_lose_and_double_nothing(tmp_path: Path) -> None:
    """`kill -9` in the middle of a load: each acknowledged event is in the log exactly once, retries do not double."""
    senders = Senders(16)
    exporter = parts.Exporter({}, tmp_path)
    try:
        for cut in range(10):
            exporter.start()
            process = exporter.process
            assert process is not None
            asyncio.run(senders.until(f"{exporter.url}/webhook", 40 + 11 * cut, process.kill))
            assert process.wait() == -9
            # What the dead process left is looked at as the next start finds it.
            found = logged(copied(tmp_path / "wawp.db", tmp_path / f"cut-{cut}"))
            assert senders.acknowledged <= found.keys()
            assert found.keys() <= senders.sent
            assert set(found.values()) == {1}
        exporter.start()
        newest = {max((e for e in found if e[0] == name), key=lambda e: e[2]) for name, *_ in found}
        restored = {(name, status, at, told(exporter, name, status)) for name, status, at in newest}
        retried = sorted(senders.sent - senders.acknowledged)
        answers = [exporter.post(body_of(event)) for event in retried]
    finally:
        exporter.close()

    assert restored == {(name, status, at, (1, at / 1000)) for name, status, at in newest}
    assert senders.odd == set()
    assert {answer.status_code for answer in answers} <= {200}
    assert logged(tmp_path / "wawp.db") == Counter(senders.sent)


def copied(database: Path, folder: Path) -> Path:
    """A copy of a database that nobody writes to, with its write-ahead log."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        source = database.with_name(database.name + suffix)
        if source.exists():
            shutil.copyfile(source, folder / source.name)
    return folder / database.name


# Full disks

PRIVATE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]


def need_private_mounts() -> None:
    """Skips (fails under CI) where mounts of one's own are not allowed."""
    done = subprocess.run([*PRIVATE, "mount -t tmpfs -o size=1m none /tmp"], check=False, capture_output=True)
    if done.returncode:
        parts.give_up("no private mounts: needs root or user namespaces", "bookworm")


@contextmanager
def full_file_system(directory: Path) -> Iterator[tuple[parts.Exporter, Path, Callable[[], Any], Callable[[], Any]]]:
    """An exporter on a file system of 3 MB that only it sees, and how to fill and to free that."""
    need_private_mounts()
    disk = directory / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=3m none {disk} && exec "$@"'
    database = {"url": f"sqlite:///{disk}/wawp.db"}
    with parts.Exporter({"database": database}, directory, wrapper=[*PRIVATE, mount, "sh"]) as exporter:
        seen = Path(f"/proc/{exporter.pid}/root{disk}")

        def fill() -> None:
            with (seen / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(4096))

        yield exporter, seen / "wawp.db", fill, (seen / "ballast").unlink


@contextmanager
def limited_file_size(directory: Path) -> Iterator[tuple[parts.Exporter, Path, Callable[[], Any], Callable[[], Any]]]:
    """An exporter whose files may not grow, which needs no privilege, and how to begin and to end that."""
    with parts.Exporter({}, directory) as exporter:
        before = resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE)

        def limit() -> None:
            files = [directory / "wawp.db", directory / "wawp.db-wal"]
            largest = max(file.stat().st_size for file in files if file.exists())
            resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, (largest, before[1]))

        yield (
            exporter,
            directory / "wawp.db",
            limit,
            lambda: resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, before),
        )


@pytest.mark.parametrize("fault", [full_file_system, limited_file_size])
def test_a_full_disk_is_answered_503_and_needs_no_restart(
    tmp_path: Path, fault: Callable[[Path], AbstractContextManager[Any]]
) -> None:
    """Nothing is applied, the sender retries, the probe says so; once there is space, it goes on by itself."""
    now = parts.now_ms() - 1_000_000
    rejected = 'wawp_exporter_webhooks_rejected_total{reason="log_unavailable",source="default"}'
    since = 'wawp_session_status_since_timestamp_seconds{source="default",session="s"}'
    acknowledged = []
    with fault(tmp_path) as (exporter, database, begin, end):
        at = now
        assert exporter.post(body_of(("s", "WORKING", now))).status_code == 200
        acknowledged.append(("s", "WORKING", now))
        begin()
        for at in range(now + 1, now + 2000):
            event = ("s", ("WORKING", "FAILED")[(at - now) % 2], at)
            answer = exporter.post(body_of(event))
            if answer.status_code != 200:
                break
            acknowledged.append(event)
        again = exporter.post(body_of(event))

        for refused in (answer, again):
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert list(refused.json()) == ["error"]
        assert exporter.get("/-/ready").status_code == 503
        assert exporter.get("/-/healthy").status_code == 200
        assert sample(exporter, rejected) >= 2
        assert sample(exporter, "wawp_exporter_log_append_errors_total") >= 2
        assert sample(exporter, since) == pytest.approx((at - 1) / 1000, abs=0.001), "nothing was applied"

        end()
        parts.wait_until(lambda: exporter.get("/-/ready").status_code == 200, "ready again without a webhook")
        assert exporter.post(body_of(event)).json() == {"outcome": "transition"}
        acknowledged.append(event)
        assert sample(exporter, since) == pytest.approx(at / 1000, abs=0.001)
        found = logged(copied(database, tmp_path / "copy"))
        written = exporter.stderr

    assert found == Counter(acknowledged)
    assert "Traceback" not in written
    assert "cannot write the event log" in written


# Databases that cannot be used


@contextmanager
def garbage(directory: Path) -> Iterator[str]:
    """Another file in its place."""
    (directory / "wawp.db").write_bytes(b"This is a letter to the editor.\n" * 1000)
    yield "not a database"


@contextmanager
def torn(directory: Path) -> Iterator[str]:
    """A sound beginning, then noise, as a broken disk leaves it."""
    path = directory / "wawp.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE event (seq); CREATE TABLE state (a, b);")
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))
    yield "malformed"


@contextmanager
def newer(directory: Path) -> Iterator[str]:
    """The log of a version to come."""
    with closing(sqlite3.connect(directory / "wawp.db")) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES (9999);"
        )
    yield "newer version"


@contextmanager
def folder(directory: Path) -> Iterator[str]:
    """A folder in its place."""
    (directory / "wawp.db").mkdir()
    yield "unable to open database file"


@contextmanager
def locked(directory: Path) -> Iterator[str]:
    """Somebody's shell has it."""
    with closing(sqlite3.connect(directory / "wawp.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield "database is locked"


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Another exporter has it, which goes on undisturbed."""
    with parts.Exporter({}, directory) as exporter:
        yield "another process is using it"
        assert exporter.post(body_of(("s", "WORKING", parts.now_ms()))).status_code == 200


@contextmanager
def read_only(directory: Path) -> Iterator[str]:
    """Nothing can be created in it, or changed."""
    del directory
    yield "Read-only file system" if os.geteuid() == 0 else "Permission denied"


def wrapper_for(cause: Callable[[Path], object], directory: Path) -> Sequence[str]:
    """Root writes everywhere but on a file system that is mounted read-only; for others the mode is enough."""
    if cause is not read_only:
        return ()
    if os.geteuid() != 0:
        directory.chmod(0o555)
        return ()
    need_private_mounts()
    return [
        *PRIVATE,
        f'mount --bind {directory} {directory} && mount -o remount,bind,ro {directory} && exec "$@"',
        "sh",
    ]


@pytest.mark.parametrize("cause", [garbage, torn, newer, folder, locked, running, read_only])
def test_a_database_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, cause: Callable[[Path], AbstractContextManager[str]]
) -> None:
    """It names the file and the reason, the exit status is 1, and there is no traceback."""
    with cause(tmp_path) as reason:
        config = tmp_path / "second.yml"
        config.write_text(f"web: {{listen: '127.0.0.1:0'}}\ndatabase: {{url: 'sqlite:///{tmp_path}/wawp.db'}}\n")
        serve = [sys.executable, "-m", "wawp_exporter", "serve", "--config", str(config)]
        command = [*wrapper_for(cause, tmp_path), *serve]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if "level=" not in line]
    assert len(said) == 1
    assert str(tmp_path / "wawp.db") in said[0]
    assert reason in said[0]


def test_a_lock_in_the_middle_of_service_is_answered_503_and_goes_by(exporter: Callable[..., Any]) -> None:
    """Somebody opens the database with a tool; scrapes go on meanwhile, and nothing is left broken."""
    service: parts.Exporter = exporter({})
    event = ("s", "WORKING", parts.now_ms())
    with closing(sqlite3.connect(service.directory / "wawp.db", isolation_level=None)) as tool:
        tool.execute("BEGIN EXCLUSIVE")
        with contextlib.ExitStack() as later:
            slow = later.enter_context(closing(socket.create_connection(("127.0.0.1", service.port))))
            body = body_of(event)
            slow.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert service.get("/metrics").status_code == 200
            answer = slow.recv(1000)
        tool.execute("ROLLBACK")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in answer.lower()
    assert service.post(body).json() == {"outcome": "transition"}
    assert service.get("/-/ready").status_code == 200


# Senders that mean ill


def connect(service: parts.Exporter | Inside) -> socket.socket:
    """A connection to the service."""
    return socket.create_connection(("127.0.0.1", service.port))


def head(length: int) -> bytes:
    """The head of a webhook."""
    return b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


def test_slow_senders_get_ten_seconds_and_hold_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 half-sent heads and 50 dripping bodies: others are answered meanwhile, and after 10 s they are gone."""
    monkeypatch.setattr(channel, "BODY_TIMEOUT_S", an_hour := 3600)  # the clock is moved
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(Inside(tmp_path, {}))
        heads = [stack.enter_context(connect(service)) for _ in range(200)]
        bodies = [stack.enter_context(connect(service)) for _ in range(50)]
        for peer in heads:
            peer.sendall(b"POST /webhook HTTP/1.1\r\nHost: loc")
        for peer in bodies:
            peer.sendall(head(5000) + b"{")
        parts.wait_until(lambda: sum(held.request is not None for held in service.connections) == len(bodies))

        service.expire(an_hour - 600)
        for peer in bodies:
            peer.sendall(b" ")
        webhook = body_of(("s", "WORKING", parts.now_ms()))
        asked = head(len(webhook)).replace(b"Host", b"Connection: close\r\nHost") + webhook
        assert statuses(service.ask(asked)) == [200]
        assert service.get("/-/ready")[0] == 200
        assert len(service.connections) >= 250

        service.expire(an_hour + 1)
        answers = [rest(peer) for peer in (*heads, *bodies)]

    assert set(answers[:200]) <= {b"", b"<reset>"}
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers[200:])


def test_a_body_without_end_is_cut_off(exporter: Callable[..., Any]) -> None:
    """In chunks for ever, or announced as a terabyte: 413, the connection closed, and no memory kept for it."""
    service: parts.Exporter = exporter({})
    before = sample(service, "process_resident_memory_bytes")
    endless = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for opening, piece in ((endless, b"10000\r\n" + b"x" * 65536 + b"\r\n"), (head(2**40), b"x" * 65536)):
        for _ in range(5):
            with closing(connect(service)) as connection:
                connection.sendall(opening)
                sent = 0
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    while sent < 200_000_000:
                        sent += connection.send(piece)
                assert sent < 20_000_000

    assert sample(service, 'wawp_exporter_webhooks_rejected_total{reason="too_large",source="default"}') == 10
    assert sample(service, "process_resident_memory_bytes") < before + 20_000_000
    assert service.post(body_of(("s", "WORKING", parts.now_ms()))).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 300_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"\r\n" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda request: repr(request[:24]),
)
def test_what_is_not_http_does_no_harm(hardened: parts.Exporter, request_: bytes) -> None:
    """Refused or ignored; the service goes on, and its log shows no traceback."""
    with closing(connect(hardened)) as connection, contextlib.suppress(OSError):
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    assert hardened.post(body_of(("s", "WORKING", parts.now_ms()))).status_code == 200
    assert "Traceback" not in hardened.stderr


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """One exporter for all that is not HTTP."""
    with parts.Exporter({}, tmp_path_factory.mktemp("hardened")) as exporter:
        yield exporter


PAGES = (
    "/static/wawp.css",
    "/static/live.js",
    "/",
    "/audit",
    "/runbooks",
    "/sessions/default/s",
    "/metrics",
    "/-/ready",
)
READS = ("/api/v1/audit?format=csv", "/api/v1/transitions", "/api/v1/sessions", "/api/v1/groups", "/api/openapi.json")


def test_without_file_descriptors_nothing_is_broken(exporter: Callable[..., Any]) -> None:
    """What is in memory is served, what needs a file is 503, webhooks are taken; and all heals by itself.

    That is so for the first page after a start as well. Those who cannot be let in are kept waiting or sent away, and
    the log does not fill with it.
    """
    service: parts.Exporter = exporter({"timezone": "Europe/Zurich"})
    assert service.post(body_of(("s", "WORKING", parts.now_ms()))).status_code == 200
    before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    answers = {}
    with contextlib.ExitStack() as stack:
        for _ in range(40):  # some of them are still to be accepted
            stack.enter_context(connect(service))
        taken_now = {int(entry.name) for entry in Path(f"/proc/{service.pid}/fd").iterdir()}
        first_free = min(set(range(len(taken_now) + 1)) - taken_now)
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (first_free, before[1]))
        stack.callback(resource.prlimit, service.pid, resource.RLIMIT_NOFILE, before)
        for _ in range(20):
            stack.enter_context(connect(service))
        for path in (*PAGES, *READS):
            answers[path] = service.get(path, {"Accept": "text/html"}).status_code
        taken = service.post(body_of(("s", "FAILED", parts.now_ms()))).status_code

    assert set(answers.values()) <= {200, 503}, answers
    assert answers["/static/wawp.css"] == answers["/metrics"] == 200, answers
    assert taken == 200
    for path in (*PAGES, *READS):
        assert service.get(path).status_code == 200, path
    assert "Traceback" not in service.stderr
    assert len(service.stderr.splitlines()) < 200
