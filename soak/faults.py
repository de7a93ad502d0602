"""What goes wrong: each fault is a function of the world, and is over when it returns."""

import hashlib
import re
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import quote

import httpx

from soak import log
from soak.ledger import Key
from soak.world import TOKEN, Replica, World
from tests import parts

BAD: tuple[dict[str, object], ...] = (
    {"unknown_key": 1},
    {"thresholds": {"down": "banana"}},
    {"sources": []},
    {"metrics": {"max_sessions": -1}},
)
GOOD: tuple[dict[str, object], ...] = (
    {},
    {"sessions": [{"session": "s2-*", "owner": "ana", "tier": "gold"}]},
    {"maintenance": [{"session": "s1-*", "from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}]},
)
JUMPS_MS = (-3_600_000, -30_000, 45_000, 1_800_000, 500)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RELOADED = "wawp_exporter_config_last_reload_successful"
WHEN = "wawp_exporter_config_last_reload_success_timestamp_seconds"


def kill(world: World) -> None:
    """A power cut, and another one while it starts now and then."""
    replica = world.pick()
    replica.kill()
    if world.random.random() < 0.2:
        hurried(replica, world.random.uniform(0, 1.5))
    replica.start()


def hurried(replica: Replica, seconds: float) -> None:
    """A process that does not live long."""
    with suppress(parts.StartError), short(replica, seconds):
        replica.start()
    replica.kill()


@contextmanager
def short(replica: Replica, seconds: float) -> Iterator[None]:
    """A start is waited for no longer than this."""
    replica.start_seconds = seconds  # type: ignore[misc]  # of this one, for once
    try:
        yield
    finally:
        del replica.start_seconds


def stop(world: World) -> None:
    """SIGTERM: what was taken is in the log, and the exit status is 0."""
    replica = world.pick()
    code = replica.stop(timeout=60)
    if code:
        world.ledger.break_("stop", f"exit status {code} after SIGTERM")
    replica.start()


def freeze(world: World) -> None:
    """The machine stands still for the process."""
    replica = world.pick()
    replica.signal(signal.SIGSTOP)
    time.sleep(world.random.choice([0.3, 1, 2, 4, 7]))
    replica.signal(signal.SIGCONT)


def reload(world: World, *, good: bool = True, **more: object) -> None:
    """SIGHUP to all; each must take the configuration, or refuse a bad one and say so."""
    world.reloaded = more if good else {}
    for replica in world.replicas:
        replica.write({**world.config(replica.port), **more})
    began = time.time()
    for replica in world.replicas:
        replica.signal(signal.SIGHUP)
    for replica in world.replicas:
        try:
            parts.wait_until(partial(took, replica, began, good=good), timeout=30)
        except TimeoutError:
            world.ledger.break_("reload", f"not {'taken' if good else 'refused'} within 30 s")


def took(replica: Replica, since: float, *, good: bool) -> bool:
    """Whether the replica says that it has taken a configuration since then, or refused the last one."""
    told = dict(re.findall(rf"^({RELOADED}|{WHEN}) (\S+)$", replica.metrics(), re.MULTILINE))
    # The process may have a clock that is wrong by less than a configuration's age.
    return float(told[RELOADED]) == good and (not good or float(told[WHEN]) > since - 0.5)


def reload_good(world: World) -> None:
    """The same again, or something that changes labels, or a window that is over."""
    reload(world, good=True, **world.random.choice(GOOD))


def reload_bad(world: World) -> None:
    """It is refused, the old one stays, and a good one is taken after it."""
    reload(world, good=False, **world.random.choice(BAD))
    reload(world)


def rotate(world: World) -> None:
    """A key is replaced: both are taken, then the gateways sign with the new one, then the old one goes."""
    source, keyring = world.random.choice(["default", "b", "old"]), world.keyring
    old = keyring.key(source)
    new = hashlib.sha256(str(world.random.random()).encode()).hexdigest().encode()
    keyring.write(source, [old, new])
    reload(world)
    keyring.sign_with(source, new)
    with world.trouble.lasting("keys"):  # what was signed with the old one may be under way
        keyring.write(source, [new])
        reload(world)


def full_disk(world: World) -> None:
    """No file may grow: 503, and nothing of what was refused is in the log."""
    replica = world.replicas[0]
    size = world.random.choice([0, 4096, 100_000])
    with world.trouble.lasting("write"), limited(replica, resource.RLIMIT_FSIZE, size):
        refused = probe(world, replica, world.random.choice([1, 3, 6]))
    if refused and log.has(world.url, refused):
        world.ledger.break_("503", f"{refused} was refused with 503 and is in the log")


def probe(world: World, replica: Replica, seconds: float) -> Key | None:
    """Sends an event of a session of its own until it is taken; the event if it was refused to the end."""
    name, at = f"probe-{world.random.randrange(5)}", parts.now_ms()
    body = parts.encode(parts.envelope(session=name, status="FAILED", timestamp=at))
    end, refused = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        answer = replica.post(body, world.keyring.header("default", body))
        if answer.status_code == 200:
            outcome = answer.json()["outcome"]
            replica.life.count("default", outcome)
            world.ledger.acknowledged(("default", name, at, "FAILED"), (), outcome)
            return None
        if answer.status_code != 503:
            world.ledger.break_("503", f"{answer.status_code} while the log cannot be written")
        refused += 1
        if refused == 1 and replica.get("/-/ready").status_code == 200:
            world.ledger.break_("ready", "ready right after a 503")
        time.sleep(0.2)
    return ("default", name, at, "FAILED") if refused else None


@contextmanager
def limited(replica: Replica, what: int, soft: int) -> Iterator[None]:
    """A limit of the process, which is as it was afterwards."""
    before = resource.prlimit(replica.pid, what)
    resource.prlimit(replica.pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(replica.pid, what, before)


def no_descriptors(world: World) -> None:
    """The process can open nothing more, and connections keep coming."""
    replica = world.pick()
    held = replica.descriptors()
    with (
        world.trouble.lasting("write"),
        limited(replica, resource.RLIMIT_NOFILE, held + world.random.choice([0, 1, 3])),
        idle_connections(replica, 30),
    ):
        time.sleep(world.random.uniform(1, 2))


def read_only(world: World) -> None:
    """A start in a folder that cannot be written ends with status 1 and a sentence; what runs goes on."""
    replica = world.replicas[0]
    with world.trouble.lasting("write"):
        replica.kill()
        for path in (*world.data.iterdir(), world.data):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with suppress(parts.StartError), short(replica, 120):
            replica.start()
        code = replica.process.poll() if replica.process else None
        if code != 1:
            world.ledger.break_("start", f"exit status {code} in a folder that cannot be written")
            replica.kill()
        for path in (world.data, *world.data.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        replica.start()


def bad_start(world: World) -> None:
    """A start with a bad configuration ends with status 2."""
    replica = world.pick()
    replica.kill()
    replica.write({**world.config(replica.port), **world.random.choice(BAD)})
    with suppress(parts.StartError):
        replica.start()
    code = replica.process.poll() if replica.process else None
    if code != 2:
        world.ledger.break_("start", f"exit status {code} with a bad configuration")
    replica.write(world.config(replica.port))
    replica.start()


def clock_jump(world: World) -> None:
    """The wall clock goes wrong by seconds or hours, and is set right."""
    world.clock.shift(world.random.choice(JUMPS_MS))
    time.sleep(world.random.uniform(1, 3))
    world.clock.shift(0)


def cut_bodies(world: World) -> None:
    """Senders that go away in the middle, some of them with a reset."""
    replica = world.pick()
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
    for number in range(20):
        with suppress(OSError), socket.create_connection(("127.0.0.1", replica.port), 5) as sender:
            sender.sendall(head + b'{"event":"session.status","session":"cut"'[: number * 3])
            if number % 2:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def large_bodies(world: World) -> None:
    """Refused with 413, whichever way the length is told."""
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\n"
    piece = b"10000\r\n" + b"y" * 65536 + b"\r\n"
    for data in (
        head + b"Content-Length: 50000000\r\n\r\n" + b"x" * 300_000,
        head + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 6,
    ):
        expect(world, data, b" 413 ")


def forged(world: World) -> None:
    """Refused with 401."""
    data = (
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Webhook-Hmac: 00\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    for _ in range(20):
        expect(world, data, b" 401 ")


def slow_bodies(world: World) -> None:
    """A body that comes byte by byte is given up after ten seconds with 408, and what has no head without a word."""
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
    for data, answer in ((head + b"x" * 24, b" 408 "), (b"POST /webh", b""), (b"", b"")):
        threading.Thread(target=drop_by_drop, args=(world, data, answer), daemon=True).start()


def drop_by_drop(world: World, data: bytes, answer: bytes) -> None:
    """Sends a byte now and then until it is cut off."""
    replica = world.pick()
    life, began, told = replica.life, time.monotonic(), b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", replica.port), 10) as sender:
        sender.settimeout(0.5)
        while time.monotonic() - began < 60 and not world.given_up.is_set():
            sender.sendall(data[:1])
            data = data[1:]
            with suppress(TimeoutError):
                told = sender.recv(4096)
                break
        else:
            if replica.life is life and not world.given_up.is_set():
                world.ledger.break_(
                    "slow", f"a request that is not whole was waited for {time.monotonic() - began:.0f} s"
                )
    if told and answer not in told[:20]:
        world.ledger.break_("slow", f"{told[:80]!r}, expected{answer.decode()}")


def outage(world: World) -> None:
    """A gateway loses all its sessions for a while; what else happens meanwhile is drawn as ever."""
    gateway = world.random.choice(world.gateways)
    gateway.lose(
        world.random.choice(["DISCONNECTED", "FAILED", "SCAN_QR_CODE", "STARTING"]), world.random.uniform(5, 30)
    )


def expect(world: World, data: bytes, status: bytes) -> None:
    """Sends bytes; an answer must have this status. None is right where the process is in trouble."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", world.pick().port), 10) as sender:
        with suppress(OSError):
            sender.sendall(data)
        answer = sender.recv(4096)
    if answer and status not in answer[:20]:
        world.ledger.break_("refusal", f"{answer[:80]!r}, expected{status.decode()}")


def idle(world: World) -> None:
    """Connections that say nothing keep nobody else waiting."""
    replica = world.pick()
    with idle_connections(replica, 200):
        if replica.get("/-/healthy").status_code != 200:
            world.ledger.break_("idle", "not healthy beside 200 idle connections")


@contextmanager
def idle_connections(replica: Replica, count: int) -> Iterator[None]:
    """So many, as far as there is room for them."""
    held: list[socket.socket] = []
    for _ in range(count):
        with suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", replica.port), 1))
    try:
        yield
    finally:
        for each in held:
            each.close()


def readers(world: World) -> None:
    """Pages, audits and the stream of events, all asked for while gateways send."""
    replica = world.pick()
    for path in ("/", "/audit", "/api/v1/transitions?limit=1000", "/api/v1/sessions", "/sessions/default/sales-uk-0"):
        with suppress(httpx.TransportError):
            status = replica.get(path, BEARER).status_code
            if status not in (200, 404) and not (status == 503 and world.trouble.excuses("write")):
                world.ledger.break_("readers", f"{path} {status}")
    with (
        suppress(httpx.TransportError),
        replica.client.stream("GET", f"{replica.url}/api/v1/events", headers=BEARER, timeout=2) as stream,
    ):
        next(stream.iter_raw(), None)
    resumed = {**BEARER, "Last-Event-ID": str(max(0, world.newest_row() - 50))}
    with (
        suppress(httpx.TransportError),
        replica.client.stream("GET", f"{replica.url}/api/v1/events", headers=resumed, timeout=2) as stream,
    ):
        next(stream.iter_raw(), None)


def deletion(world: World) -> None:
    """A session is forgotten: 204 only when the tombstone is in the log."""
    sessions = log.sessions_before(world.url, parts.now_ms())  # a gateway's clock must not be ahead of the tombstone
    if not sessions:
        return
    source, name = world.random.choice(sessions)
    replica, began = world.pick(), parts.now_ms()
    with suppress(httpx.TransportError):
        status = replica.client.delete(
            f"{replica.url}/api/v1/sessions/{source}/{quote(name, safe='')}", headers=BEARER
        ).status_code
        if status == 204 and log.tombstones(world.url).get((source, name), 0) < began - 5:
            world.ledger.break_("deletion", "204 and no tombstone in the log")
        if status not in (204, 404) and not (status == 503 and world.trouble.excuses("write")):
            world.ledger.break_("deletion", f"{status}")


def database_crash(world: World) -> None:
    """PostgreSQL ends without a word, and comes back."""
    with world.trouble.lasting("write"):
        world.database.stop("immediate")
        time.sleep(world.random.uniform(0, 2))
        world.database.start()


def cut_connections(world: World) -> None:
    """Connections to the database break."""
    with world.trouble.lasting("write"):
        some = "application_name = 'wawp-exporter' AND random() < 0.7"
        world.database.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {some}")


Fault = Callable[[World], None]
EVERYWHERE: dict[Fault, int] = {
    kill: 8,
    stop: 5,
    freeze: 8,
    reload_good: 4,
    reload_bad: 4,
    rotate: 5,
    no_descriptors: 6,
    bad_start: 2,
    cut_bodies: 8,
    large_bodies: 5,
    forged: 4,
    idle: 5,
    readers: 5,
    slow_bodies: 4,
    outage: 10,
    deletion: 8,
}
ONE_PROCESS: dict[Fault, int] = {full_disk: 10, read_only: 3}
REPLICAS: dict[Fault, int] = {database_crash: 6, cut_connections: 8}


ENDING = frozenset({kill, stop, bad_start, read_only})  # the process


def possible(world: World, *, calm: bool = False) -> dict[Fault, int]:
    """The faults that can happen here, by how often they do; when it is calm, none ends a process."""
    here = EVERYWHERE | (REPLICAS if world.server else ONE_PROCESS)
    if world.clock.available and not world.server:
        here |= {clock_jump: 8}
    only = world.options.only
    left = here.keys() - (ENDING if calm else frozenset())
    return {fault: weight for fault, weight in here.items() if fault in left and (not only or fault.__name__ in only)}
