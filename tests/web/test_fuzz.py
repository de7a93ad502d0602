"""Bodies and raw requests without sense, to both carriers of a webhook: the same answers, and nothing hangs."""

import contextlib
import json
import random
import socket
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests import parts
from tests.served import Inside, rest, soon, statuses
from wawp_exporter.web.channel import KEEP_ALIVE_S
from wawp_exporter.web.connection import Connection

SEED = 15
ROUNDS = 150
EXPECTED = {200, 400, 401, 404, 405, 408, 413, 414, 415, 422, 431, 503}
SOURCES = {
    "default": {"allow_unsigned": True},
    "token": {"token_file": "token"},
    "evo": {"dialect": "evolution", "allow_unsigned": True},
    "wpp": {"dialect": "wppconnect", "allow_unsigned": True},
}
RECEIVED: dict[Connection, int] = defaultdict(int)
Answers = list[tuple[int, bytes, bytes]]


class ByAsgi:
    """A listener that carries webhooks as ASGI requests, as any other server would."""

    def __init__(self, face: Any) -> None:
        self.face = face

    def webhook_at(self, _path: bytes) -> None:
        """Never."""

    async def __call__(self, *call: Any) -> None:
        """All there is."""
        await self.face(*call)


@pytest.fixture(scope="module")
def carriers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Inside]]:
    """The same service twice; the second answers webhooks by ASGI."""
    take = Connection.data_received

    def count(self: Connection, data: bytes) -> None:
        take(self, data)
        RECEIVED[self] += len(data)

    folders = [tmp_path_factory.mktemp(name) for name in ("short", "asgi")]
    for folder in folders:
        (folder / "token").write_text("t0ken")
    with (
        pytest.MonkeyPatch.context() as patch,
        Inside(folders[0], {"sources": SOURCES}) as short,
        Inside(folders[1], {"sources": SOURCES}) as asgi,
    ):
        patch.setattr(Connection, "data_received", count)
        asgi.server.app = ByAsgi(asgi.face)
        yield [short, asgi]


def answers(received: bytes) -> Answers:
    """Status, whether it closes, body of each answer; the date is not compared."""
    found: Answers = []
    while received.startswith(b"HTTP/1.1 "):
        head, _, received = received.partition(b"\r\n\r\n")
        lines = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
        size = int(lines.get(b"content-length", 0)) * received.startswith(b"{")  # HEAD has no body
        found.append((int(head[9:12]), lines.get(b"connection", b""), received[:size]))
        received = received[size:]
    assert received in (b"", b"<reset>")
    return found


def ask(service: Inside, data: bytes) -> Answers:
    """What is answered to all of it and to a last request. Then the clock is moved: what still waits has to end."""
    data += b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with service.connect() as connection:
        (held,) = service.connections
        with contextlib.suppress(OSError):  # refused before it was all sent
            connection.sendall(data)
        soon(lambda: held.lost or held.closing or waits_for_more(held, len(data)))
        if not held.lost and not held.closing:
            service.expire(10 * KEEP_ALIVE_S)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        found = answers(rest(connection))
    soon(lambda: not service.connections)
    return [each for each in found if each[0] != 100]


def waits_for_more(held: Connection, size: int) -> bool:
    """Whether everything that was sent has been looked at, and a request is not whole."""
    return RECEIVED[held] == size and held.reading and not held.blocked


def some(rng: random.Random, *choices: Any) -> Any:
    """One of them."""
    return rng.choice(choices)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    if depth < 3 and rng.random() < 0.3:
        many = range(rng.randrange(4))
        return (
            [value(rng, depth + 1) for _ in many]
            if rng.random() < 0.5
            else {str(n): value(rng, depth + 1) for n in many}
        )
    return some(
        rng, None, True, -1, 0, 1.5, 1e300, 10**20, "", "WORKING", "x" * 300, "\0", "é", "\ud800", "session.status"
    )


def body(rng: random.Random) -> bytes:
    """A webhook with some of it exchanged, cut or garbled."""
    event = parts.envelope(session=f"s{rng.randrange(5)}", status=some(rng, "WORKING", "FAILED", "ODD"))
    for _ in range(rng.randrange(4)):
        target = event["payload"] if rng.random() < 0.4 and isinstance(event.get("payload"), dict) else event
        target[some(rng, *target, "new", "status")] = value(rng)
    data = json.dumps(event).encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(rng.randrange(4)) + data[at + rng.randrange(5) :]
    return some(rng, data, data, data, b"\xef\xbb\xbf" + data, data[: rng.randrange(len(data))], b"", b"[" * 5000)


def path(rng: random.Random) -> bytes:
    """A URL that leads to a source, or nearly."""
    return some(
        rng, b"/webhook", b"/webhook/", b"/webhook//", b"/webhook/default", b"/webhook/nobody",
        b"/webhook/%64efault", b"/webhook?a=%zz&\xff=\xe9", b"/webhook?" + b"q" * 40_000,
        b"/webhook/token?token=t0ken", b"/webhook/token?secret=t0ke", b"/webhook/token/",
        b"/webhook/evo/connection-update", b"/webhook/evo?token=x/call", b"/webhook/wpp/caf%C3%A9",
        b"/webhook/wpp/%ff", b"/webhook/wpp?session=" + b"x" * 300, b"http://localhost/webhook?x#y",
        b"/webhook/\xe9",
    )  # fmt: skip


def headers(rng: random.Random) -> list[bytes]:
    """Some that matter, or are wrong."""
    pool = [
        b"Host: localhost", b"Host: evil.example", b"X-Webhook-Hmac: 00", b"Expect: 100-continue",
        b"Expect: nonsense", b"Connection: close", b"Connection: Upgrade\r\nUpgrade: h2c",
        b"Content-Encoding: gzip", b"Content-Encoding: identity", b"Authorization: Bearer t0ken",
        b"Authorization: Basic !!!", b"X-Webhook-Request-Id: \xff\xfe", b"X: " + b"x" * 33_000, b"X : y",
        b"X: y\r\n folded", b"Transfer-Encoding: gzip", b"TE: trailers",
    ]  # fmt: skip
    return [b"Host: localhost", *rng.sample(pool, rng.randrange(3))]


def request(rng: random.Random, *, sound: bool) -> bytes:
    """One request: by its length or in chunks; a sound one is framed as it says."""
    method = some(
        rng, b"POST", b"POST", b"POST", b"POST", b"GET", b"HEAD", b"PUT", *([] if sound else [b"CONNECT", b""])
    )
    version = some(rng, *[b"HTTP/1.1"] * 8, b"HTTP/1.0", b"HTTP/2.0")
    content = some(rng, body(rng), body(rng), body(rng), b"x" * 300_000) if rng.random() < 0.2 else body(rng)
    if rng.random() < 0.6:
        framed, framing = (
            content,
            b"Content-Length: %d" % (len(content) + (0 if sound else some(rng, 0, -1, 3, 300_000))),
        )
    else:
        step = some(rng, 10, 7, 100, 100_000)
        extension = b"" if sound else some(rng, b"", b";a=b", b";" + b"x" * 40_000)
        pieces = [content[at : at + step] for at in range(0, len(content), step)]
        framed = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
        framed += b"0\r\n" if sound else some(rng, b"0\r\n", b"g\r\n", b"")
        framed += some(rng, b"", b"X: y\r\n", b"Host: evil\r\n") + b"\r\n"
        framing = b"Transfer-Encoding: chunked"
    lines = [method + b" " + path(rng) + b" " + version, *headers(rng), framing]
    return b"\r\n".join(lines) + (b"\n\n" if not sound and rng.random() < 0.1 else b"\r\n\r\n") + framed


def garbage(rng: random.Random) -> bytes:
    """Requests in a row, damaged here and there, or cut off."""
    data = b"".join(request(rng, sound=rng.random() < 0.5) for _ in range(rng.randrange(1, 4)))
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(rng.randrange(1, 6)) + data[at + rng.randrange(8) :]
    return data[: rng.randrange(1, len(data))] if rng.random() < 0.3 else data


def test_both_carriers_answer_the_same(carriers: list[Inside]) -> None:
    """And count the same: no rule holds on one way only."""
    rng = random.Random(SEED)
    seen = set()
    for number in range(ROUNDS):
        data = b"".join(request(rng, sound=True) for _ in range(rng.randrange(1, 4)))
        short, asgi = (ask(service, data) for service in carriers)
        assert short == asgi, (number, data[:500])
        seen |= {status for status, _, _ in short}

    assert {200, 400, 401, 404, 405, 413, 414, 415, 422, 431} <= seen <= EXPECTED
    counted = [lines_of(service) for service in carriers]
    assert counted[0] == counted[1]
    assert any('source=""' in line for line in counted[0])


def test_nothing_breaks_or_hangs_whatever_comes(carriers: list[Inside]) -> None:
    """No 5xx but 503, and an end to every connection; then both go on as if nothing had been."""
    rng = random.Random(SEED + 1)
    good = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    for service in carriers:
        for number in range(ROUNDS):
            data = garbage(rng)
            assert {status for status, _, _ in ask(service, data)} <= EXPECTED, (number, data[:500])
        assert statuses(service.ask(good)) == [422]


def lines_of(service: Inside) -> list[str]:
    """What was counted of webhooks."""
    return [
        line for line in service.get("/metrics")[1].decode().splitlines() if line.startswith("wawp_exporter_webhooks_")
    ]
