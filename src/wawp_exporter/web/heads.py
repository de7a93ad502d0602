"""Heads of requests: request line and headers.

The parser gets one head at a time and never a body. httptools cannot stop between two requests, does not tell where one
ends, hands trailers over as if they were headers, and gives the body away when a request asks for an upgrade.
"""

import re
from urllib.parse import quote_from_bytes

import httptools
import msgspec

from wawp_exporter.errors import BadRequest

MAX_KNOWN_BYTES = 2048  # a longer head is parsed anew each time
MAX_LENGTH_DIGITS = 15

END = b"\r\n\r\n"
WHOLE = b"://"  # in a URL that names its host
UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*(?=\r\n)", re.IGNORECASE)
CONNECTION = re.compile(rb"[ \t]*,[ \t]*|[ \t]+$")
ASCII = bytes(range(128)).decode()
VERSIONS = frozenset({"1.0", "1.1"})
# Heads with these are parsed anew each time. Of the others below, each line must be the same as before.
UNUSUAL = frozenset({b"transfer-encoding", b"upgrade"})
CONNECTIONS = frozenset({b"connection", b"proxy-connection"})

Line = tuple[bytes, bytes]


class Head(msgspec.Struct, frozen=True, gc=False):
    """Request line and headers. `path` and `query` are as they were sent, bytes above 0x7f percent-encoded.

    `lines` are all headers in their order, names in lower case; of equal names the last stands in `headers`.
    """

    method: bytes
    path: bytes
    query: bytes
    version: str
    lines: list[Line]
    headers: dict[bytes, bytes]
    keep_alive: bool


class Heads:
    """Reads the heads of one connection.

    A sender's heads are nearly always alike: the same lines in the same order, and only plain values (letters, digits,
    hyphens) in some of them are new. Such a head is compared with the one before, and takes its place without the
    parser. So it is what the parser would find, for a fifth of its cost.
    """

    __slots__ = ("_before", "_start", "_values")

    def __init__(self) -> None:
        self._before: Head | None = None
        self._start = b""  # what comes before its first plain value
        # Of each plain value: the place of its line, its name in lower case, and what comes between it and the next.
        self._values: list[tuple[int, bytes, bytes]] = []

    def read(self, raw: bytes) -> Head:
        """A head with its empty line. Raises BadRequest."""
        before = self._before
        head = self._again(raw, before) if before else None
        if head is None:
            head = parse(raw)
            self._before = head if self._learn(raw, head) else None
        return head

    def _again(self, raw: bytes, before: Head) -> Head | None:
        """The head, if it is like the one before; None: it has to be parsed."""
        rest = raw.removeprefix(self._start)
        if len(rest) == len(raw):
            return None
        lines, headers = before.lines.copy(), before.headers.copy()
        for place, name, between in self._values:
            value, found, rest = rest.partition(between)
            if not found or not (value.isalnum() or value.replace(b"-", b"").isalnum()):
                return None
            lines[place] = (name, value)
            headers[name] = value
        length = headers.get(b"content-length", b"0")
        if rest or not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
            return None
        return Head(before.method, before.path, before.query, before.version, lines, headers, before.keep_alive)

    def _learn(self, raw: bytes, head: Head) -> bool:
        """Keeps what is between the plain values of a head that has nothing unusual; whether it has."""
        start, *sent = raw.removesuffix(END).split(b"\r\n")
        usual = len(raw) <= MAX_KNOWN_BYTES and raw.isascii() and head.keep_alive and WHOLE not in start
        if not usual or not len(sent) == len(head.lines) == len(head.headers) or not UNUSUAL.isdisjoint(head.headers):
            return False
        between, places = [start], []
        for place, (name, value) in enumerate(head.lines):
            given = sent[place].partition(b": ")[0] + b": "
            if given.lower() != name + b": " or given + value != sent[place]:
                return False
            between[-1] += b"\r\n" + given
            if name not in CONNECTIONS and value.replace(b"-", b"").isalnum():
                places.append((place, name))
                between.append(b"")
            else:
                between[-1] += value
        between[-1] += END
        self._start, *others = between
        self._values = [(*place, other) for place, other in zip(places, others, strict=True)]
        return True


class Sink:
    """What the parser found in one head."""

    __slots__ = ("complete", "lines", "url")

    def __init__(self) -> None:
        self.url = b""
        self.lines: list[Line] = []
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        """The request target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of the headers."""
        self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The empty line."""
        self.complete += 1


def parse(raw: bytes) -> Head:
    """A head with its empty line. Raises BadRequest."""
    raw = raw if raw.isascii() else with_ascii_url(raw)
    try:
        return read(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        raise BadRequest("the request cannot be read, expected HTTP/1.1") from None
    # To another protocol nobody changes here, and the request is answered as if it had not asked (RFC 9110, 7.8).
    try:
        return read(UPGRADE.sub(b"", raw))
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        raise BadRequest("the request cannot be read, expected HTTP/1.1 and a method other than CONNECT") from None


def with_ascii_url(raw: bytes) -> bytes:
    """Bytes above 0x7f in the request line percent-encoded, as browsers do it."""
    line, end, rest = raw.partition(b"\r\n")
    return quote_from_bytes(line, safe=ASCII).encode() + end + rest


def read(raw: bytes) -> Head:
    """As the parser sees it; raises its errors, BadRequest for what it lets through."""
    sink = Sink()
    parser = httptools.HttpRequestParser(sink)
    parser.feed_data(raw)
    version = parser.get_http_version()
    if sink.complete != 1 or version not in VERSIONS:
        raise BadRequest("the request cannot be read, expected HTTP/1.1")
    url, lines = sink.url, sink.lines
    if b" \r\n" in raw or b"\t\r\n" in raw:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    if not url.startswith(b"/"):
        lines = with_host_of(url, lines)
    path, _, query = (url if url.startswith(b"/") and b"#" not in url else origin_form(url)).partition(b"?")
    headers = dict(lines)
    keep_alive = version == "1.1" and (b"connection" not in headers or not says_close(lines))
    return Head(parser.get_method(), path, query, version, lines, headers, keep_alive)


def with_host_of(url: bytes, lines: list[Line]) -> list[Line]:
    """The headers with the host of a whole URL, which counts instead of Host (RFC 9112, 3.2.2)."""
    _, scheme, rest = url.partition(WHOLE)
    if not scheme:
        return lines
    host = (b"host", re.split(rb"[/?#]", rest, maxsplit=1)[0])
    others = [line for line in lines if line[0] != b"host"]
    return [*[host] * max(1, len(lines) - len(others)), *others]


def says_close(lines: list[Line]) -> bool:
    """Whether this is the connection's last request; once a head has ended, the parser does not know any more."""
    return any(name == b"connection" and b"close" in CONNECTION.split(value.lower()) for name, value in lines)


def origin_form(url: bytes) -> bytes:
    """The path and query of a request target: proxies are sent whole URLs, and a fragment stays at home."""
    url = url.partition(b"#")[0] if b"#" in url else url
    if url.startswith(b"/"):
        return url
    _, scheme, rest = url.partition(WHOLE)
    if not scheme:
        return url
    path = rest[len(re.split(rb"[/?]", rest, maxsplit=1)[0]) :]
    return path if path.startswith(b"/") else b"/" + path
