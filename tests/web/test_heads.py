"""Heads of requests: what is taken over from the head before is what the parser would find."""

import random
from collections.abc import Iterator

import pytest

from wawp_exporter.errors import BadRequest
from wawp_exporter.web.heads import MAX_KNOWN_BYTES, Head, Heads, parse

STARTS = (
    *(b"POST /webhook HTTP/1.1", b"POST /webhook HTTP/1.1", b"POST /webhook?token=a HTTP/1.1", b"GET / HTTP/1.1"),
    *(b"POST /webhook HTTP/1.0", b"POST /webhook HTTP/1.1\nA: b", b"POST /\xfc HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b""),
)
LINES = (
    *(b"Host: gateway", b"Host: 127.0.0.1:8080", b"host: other", b"Host:gateway", b"Host : gateway", b"Host: a b "),
    *(b"Content-Length: 12", b"Content-Length: 7", b"content-length: 7", b"Content-Length: 7a", b"Content-Length: -7"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 0012", b"Content-Length: 1234567890123456"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Expect: 100-continue", b"X-Id: ", b"X-Id:"),
    *(b"Connection: keep-alive", b"Connection: close", b"Connection: Upgrade", b"Connection: x", b"Upgrade: h2c"),
    *(b"X-Id: 0123-abc", b"X-Id: 4567-def", b"X-Id: \xe9", b"X-Id: a\nX-Other: b", b" folded", b"\tfolded", b"nothing"),
    *(b"X-Id: a\rb", b"X-Id: a\0b", b"X-Id: a:b", b"X-Id: -", b"Proxy-Connection: close", b": a", b"X Y: a", b""),
)
USUAL = (b"Host: gateway", b"Content-Length: 12", b"Connection: keep-alive", b"X-Id: 0123-abc")


def head_of(start: bytes, lines: tuple[bytes, ...]) -> bytes:
    """A head as it is sent."""
    return b"\r\n".join((start, *lines)) + b"\r\n\r\n"


def heads(chance: random.Random) -> Iterator[bytes]:
    """What one connection sends: mostly the usual, with a few lines added, left out, or changed."""
    for _ in range(40):
        lines = [line for line in USUAL if chance.random() < 0.9]
        for line in chance.sample(LINES, chance.choice((0, 0, 1, 1, 2))):
            lines.insert(chance.randrange(len(lines) + 1), line)
        raw = head_of(chance.choice(STARTS) if chance.random() < 0.2 else STARTS[0], tuple(lines))
        if chance.random() < 0.1:
            place = chance.randrange(len(raw) - 4)
            raw = raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :]
        yield raw[: raw.index(b"\r\n\r\n") + 4]  # the reader cuts at the first empty line


def outcome(read: object, raw: bytes) -> Head | None:
    """The head, None for one that is refused."""
    try:
        return read(raw)  # type: ignore[operator]  # either way to read a head
    except BadRequest:
        return None


@pytest.mark.parametrize("seed", range(150))
def test_what_a_connection_has_sent_before_does_not_change_how_a_head_is_read(seed: int) -> None:
    """Else a sender could smuggle a request past a proxy that reads the same bytes otherwise."""
    connection = Heads()
    for raw in heads(random.Random(seed)):
        assert outcome(connection.read, raw) == outcome(parse, raw), raw


def test_a_usual_head_that_was_there_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law above would hold as well if every head were parsed; nearly none is."""
    connection = Heads()
    connection.read(head_of(STARTS[0], USUAL))
    monkeypatch.setattr("wawp_exporter.web.heads.parse", None)  # nothing may call it

    again = connection.read(head_of(STARTS[0], (*USUAL[:3], b"X-Id: 4567-def")))

    assert again.headers[b"x-id"] == b"4567-def"


def test_a_long_head_is_not_kept() -> None:
    """A thousand idle connections must not hold what they have sent."""
    connection = Heads()
    raw = head_of(STARTS[0], (b"X-Id: " + b"a" * MAX_KNOWN_BYTES,))

    assert connection.read(raw) == connection.read(raw) == parse(raw)
    assert not connection._start
