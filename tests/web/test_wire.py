"""Bytes → requests, without a socket."""

import random
from itertools import count

import pytest

from wawp_exporter.errors import BadRequest, HeadTooLong, Malformed, Refusal, UrlTooLong
from wawp_exporter.web.wire import MAX_CHUNKS_AT_ONCE, MAX_FRAMING_BYTES, MAX_HEAD_BYTES, Head, Reader

POST = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def requests(*pieces: bytes) -> list[tuple[Head, bytes]]:
    """The whole requests in what comes piece by piece."""
    reader, found, head, body = Reader(), [], None, b""
    for piece in pieces:
        reader.feed(piece)
        while True:
            head = head or reader.head()
            if head is None:
                break
            body += reader.body()
            if reader.unread:
                continue
            if not reader.whole:
                break
            found.append((head, body))
            head, body = None, b""
    return found


def each(data: bytes) -> list[bytes]:
    """One byte at a time."""
    return [data[at : at + 1] for at in range(len(data))]


def test_a_request_is_the_same_however_it_is_cut() -> None:
    """By its length, in chunks with extensions and trailers, without a body: the network cuts where it likes."""
    stream = (
        POST + b"Content-Length: 5\r\n\r\nhello"
        b"\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        + CHUNKED
        + b"3\r\nabc\r\n0a;name=value\r\n0123456789\r\n0\r\nX-Late: yes\r\n\r\n"
        + POST
        + b"Content-Length: 0\r\n\r\n"
    )
    rng = random.Random(15)
    cuts = [sorted(rng.sample(range(1, len(stream)), 5)) for _ in range(50)]
    spans = [list(zip([0, *cut], [*cut, len(stream)], strict=True)) for cut in cuts]
    views = [requests(*(stream[a:b] for a, b in span)) for span in spans]
    views += [requests(stream), requests(*each(stream))]

    assert [body for _, body in views[0]] == [b"hello", b"", b"abc0123456789", b""]
    assert all(view == views[0] for view in views)


def test_a_trailer_is_no_header_of_this_request_or_the_next() -> None:
    """It comes after everything that headers decide."""
    late = b"0\r\nAuthorization: Bearer secret\r\nHost: evil\r\nContent-Length: 3\r\n\r\n"
    first, second = requests(CHUNKED + late + POST + b"\r\n")

    assert first[0].lines == [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]
    assert second[0].lines == [(b"host", b"localhost")]


@pytest.mark.parametrize(
    "asked",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: eA==\r\n",
        b"cOnNeCtIoN: uPgRaDe\r\nuPgRaDe: anything\r\n",
        b"Upgrade: h2c\r\nUpgrade: TLS/1.2\r\nConnection: upgrade\r\n",
    ],
)
def test_an_upgrade_is_not_asked_for(asked: bytes) -> None:
    """The body is a body, and the next request is one (RFC 9110, 7.8)."""
    post = POST + asked + b"Content-Length: 5\r\n\r\nhello"
    chunked = POST + asked + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    assert [(head.method, body) for head, body in requests(post + chunked)] == [(b"POST", b"hello")] * 2


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        (b"/webhook?token=t&shop=caf%C3%A9", b"/webhook", b"token=t&shop=caf%C3%A9"),
        (b"/webhook?shop=caf\xc3\xa9", b"/webhook", b"shop=caf%C3%A9"),
        (b"/caf\xe9?\xff", b"/caf%E9", b"%FF"),
        (b"http://localhost:1/webhook?a", b"/webhook", b"a"),
        (b"http://localhost", b"/", b""),
        (b"https://localhost?a/b", b"/", b"a/b"),
        (b"/a?b=http://c/d?e#f", b"/a", b"b=http://c/d?e"),
        (b"//webhook", b"//webhook", b""),
        (b"/%zz?%", b"/%zz", b"%"),
    ],
)
def test_a_url_is_a_path_and_a_query(url: bytes, path: bytes, query: bytes) -> None:
    """Also one with bytes that should have been encoded, or in the form that proxies are sent."""
    ((head, _),) = requests(b"GET " + url + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (b"", True),
        (b"Connection: keep-alive\r\n", True),
        (b"Connection: closed\r\n", True),
        (b"Connection: close\r\n", False),
        (b"Connection: keep-alive , CLOSE \r\n", False),
        (b"Connection: close\r\nConnection: te\r\n", False),
        (b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n", False),
    ],
)
def test_a_connection_is_kept_unless_its_sender_says_otherwise(method: bytes, headers: bytes, kept: bool) -> None:
    """Whether the request has a body or not."""
    ((head, _),) = requests(
        method + b" / HTTP/1.1\r\n" + headers + b"Content-Length: %d\r\n\r\n" % (method == b"POST") + b"x"
    )

    assert head.keep_alive is kept
    assert not requests(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[0][0].keep_alive


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\n\nGET /x HTTP/1.1\r\n\r\n",
        POST + b"X: folded\r\n line\r\n\r\n",
        POST + b"X : y\r\n\r\n",
        POST + b"X: \0\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        b"\r\n" * MAX_HEAD_BYTES,
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
    ids=lambda request: repr(request[-40:]),
)
def test_what_is_ambiguous_or_no_http_is_refused(request_: bytes) -> None:
    """What two readers would read in two ways is read by none."""
    with pytest.raises(BadRequest):
        requests(request_)


@pytest.mark.parametrize(
    "body",
    [
        b"g\r\n",
        b"-1\r\n",
        b"\r\n",
        b"1 1\r\n",
        b"3\r\nabcd\r\n",
        b"+3\r\n",
        b"0x3\r\n",
        b"1\n\r\n",
        b"f" * 16 + b"\r\n",
    ],
)
def test_a_chunk_that_is_none_is_refused(body: bytes) -> None:
    """Its size is a hexadecimal number, and it is as long as that."""
    with pytest.raises(Malformed):
        requests(CHUNKED + body)


def endless(start: bytes, piece: bytes) -> tuple[Refusal, int]:
    """What ends a request that goes on like this for ever, and after how many bytes."""
    reader, size, head = Reader(), 0, None
    for number in count():
        data = piece if number else start
        reader.feed(data)
        size += len(data)
        try:
            head = head or reader.head()
            if head:
                while reader.body() and reader.unread:
                    pass
        except Refusal as refusal:
            return refusal, size
        assert size < 2 * MAX_FRAMING_BYTES
    raise AssertionError


@pytest.mark.parametrize("step", [1, 1000, 65536])
@pytest.mark.parametrize(
    ("start", "piece", "error"),
    [
        (b"GET /", b"a", UrlTooLong),
        (b"GET /?", b"%41", UrlTooLong),
        (b"X", b"X", UrlTooLong),
        (POST, b"X: y\r\n", HeadTooLong),
        (POST, b"X: y\r\nX: z\r\n", HeadTooLong),
        (POST + b"X", b"x", HeadTooLong),
        (POST + b"X: ", b"x", HeadTooLong),
        (CHUNKED + b"0\r\n", b"X: y\r\n", HeadTooLong),
        (CHUNKED + b"0\r\nX: ", b"y", HeadTooLong),
        (CHUNKED + b"5;", b"x", HeadTooLong),
        (CHUNKED, b"1;" + b"x" * 100 + b"\r\na\r\n", HeadTooLong),
        (CHUNKED, b"1\r\na\r\n", Malformed),
        (CHUNKED, b"0" * 14 + b"1\r\na\r\n", Malformed),
        (b"", b"\r\n", BadRequest),
    ],
    ids=lambda value: repr(value[-30:]) if isinstance(value, bytes) else "",
)
def test_nothing_of_a_request_goes_on_for_ever(start: bytes, piece: bytes, error: type[Refusal], step: int) -> None:
    """Line, headers, trailers and extensions are counted together, wherever they are cut; chunks are counted too."""
    limit = MAX_FRAMING_BYTES if error is Malformed else MAX_HEAD_BYTES
    refusal, size = endless(start, piece * max(1, step // len(piece)))

    assert type(refusal) is error
    assert size <= 2 * limit + step + len(start)


def test_a_head_of_exactly_the_limit_is_read() -> None:
    """And the next request has the whole limit again."""
    filled = POST + b"X: " + b"x" * (MAX_HEAD_BYTES - len(POST) - 7) + b"\r\n\r\n"
    assert len(filled) == MAX_HEAD_BYTES

    assert len(requests(*[filled] * 3)) == 3
    with pytest.raises(HeadTooLong):
        requests(filled.replace(b"X: ", b"X: x"))
    with pytest.raises(HeadTooLong):
        requests(
            filled.replace(b"X: xxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"Transfer-Encoding: chunked\r\nX: x")
            + b"0\r\nA: b\r\n\r\n"
        )


def test_a_body_of_single_bytes_is_read() -> None:
    """As slow senders frame it; others get their turn in between."""
    body = b"a" * 20_000

    assert requests(CHUNKED + b"1\r\na\r\n" * len(body) + b"0\r\n\r\n")[0][1] == body

    reader = Reader()
    reader.feed(CHUNKED + b"1\r\na\r\n" * 20_000)
    assert reader.head()
    assert (len(reader.body()), reader.unread) == (MAX_CHUNKS_AT_ONCE, True)


def test_nothing_is_kept_of_what_was_read() -> None:
    """A thousand idle connections must not hold a thousand bodies."""
    reader = Reader()
    for data in (POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000, CHUNKED + b"9\r\nsome body\r\n0\r\n\r\n"):
        reader.feed(data)
        assert reader.head()
        assert reader.body()
        assert reader.whole
        assert len(reader._buffer) == 0


@pytest.mark.parametrize("target", [b"http://evil.example/a", b"https://evil.example?a", b"http://evil.example"])
def test_the_host_of_a_whole_url_counts_instead_of_the_header(target: bytes) -> None:
    """RFC 9112, 3.2.2: a proxy may leave in Host what it pleases, and whether it is local decides who may delete."""
    for hosts, expected in (([b"localhost"], 1), ([], 1), ([b"localhost", b"x"], 2)):
        lines = b"".join(b"Host: %s\r\n" % host for host in hosts)
        ((head, _),) = requests(b"GET " + target + b" HTTP/1.1\r\n" + lines + b"Accept: */*\r\n\r\n")

        assert head.headers == {b"host": b"evil.example", b"accept": b"*/*"}
        assert sum(name == b"host" for name, _ in head.lines) == expected


def test_the_host_of_a_whole_url_counts_in_each_request_of_a_connection() -> None:
    """What was read of the head before says nothing about it."""
    head = b"GET http://evil.example/a HTTP/1.1\r\nHost: %s\r\n\r\n"
    found = requests(head % b"evil.example" + head % b"localhost")

    assert [each.headers[b"host"] for each, _ in found] == [b"evil.example"] * 2


def test_blanks_around_the_value_of_a_header_are_no_part_of_it() -> None:
    """RFC 9110, 5.5; else `identity ` would be a compressed body, and `localhost ` a stranger."""
    ((head, _),) = requests(b"GET /a HTTP/1.1\r\nHost: \t localhost \t\r\nA: b c \r\nExpect:  \r\n\r\n")

    assert head.headers == {b"host": b"localhost", b"a": b"b c", b"expect": b""}
