"""What one connection can do to the service, and what it is answered."""

import contextlib
import gc
import json
import socket
import ssl
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.served import Inside, answer, rest, statuses
from tests.test_service import make_certificate
from wawp_exporter.live import ingest
from wawp_exporter.web import channel, handshakes
from wawp_exporter.web.api.qr import MAX_SCANNING
from wawp_exporter.web.channel import LINGER_BYTES
from wawp_exporter.web.connection import Connection
from wawp_exporter.web.webhook import MAX_BODY_BYTES
from wawp_exporter.web.wire import MAX_HEAD_BYTES

PIECE = 256 * 1024  # what the loop reads at once
HIGH_WATER = 64 * 1024  # of the transport's buffer
LOCAL = b"Host: localhost\r\n"

# The tests move the clock to these times: longer than the product's, so that no test ends in one by being slow.
KEEP_ALIVE_S, WRITE_TIMEOUT_S, LINGER_S, BODY_TIMEOUT_S = 75_000.0, 10_000.0, 5_000.0, 10_000.0
HALF_CLOSED_S = 2000.0


@pytest.fixture(scope="module", autouse=True)
def long_times() -> Iterator[None]:
    """The times of connections, in the proportions of the product's."""
    assert (channel.KEEP_ALIVE_S, channel.WRITE_TIMEOUT_S, channel.LINGER_S, channel.BODY_TIMEOUT_S) == (75, 10, 5, 10)
    assert channel.HALF_CLOSED_S == 2
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KEEP_ALIVE_S", "WRITE_TIMEOUT_S", "LINGER_S", "BODY_TIMEOUT_S", "HALF_CLOSED_S"):
            patch.setattr(channel, name, globals()[name])
        yield


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A service in this process, with a source that wants a token and a gateway that never answers."""
    folder = tmp_path_factory.mktemp("inside")
    (folder / "token").write_text("t0ken")
    mute = socket.create_server(("127.0.0.1", 0))
    api = {"url": f"http://127.0.0.1:{mute.getsockname()[1]}", "poll_interval": "1h"}
    sources = {"default": {"api": api}, "token": {"token_file": "token"}}
    remedy = {"alerts": ["WawpSessionFailed"]}
    with mute, Inside(folder, {"sources": sources, "remedy": remedy}) as service:
        yield service


def event(**overrides: Any) -> bytes:
    """A webhook of now."""
    return parts.encode(parts.envelope(**{"timestamp": parts.now_ms()} | overrides))


def post(body: bytes, *headers: bytes, path: bytes = b"/webhook") -> bytes:
    """A whole request."""
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", *headers, b"Content-Length: %d" % len(body), b"", b""]
    return b"\r\n".join(lines) + body


def get(path: bytes, *headers: bytes) -> bytes:
    """A request without a body."""
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""])


def the_only(inside: Inside) -> Connection:
    """The one connection that is open."""
    parts.wait_until(lambda: len(inside.connections) == 1)
    return inside.connections[0]


@pytest.fixture(autouse=True)
def alone(inside: Inside) -> None:
    """Connections of the test before are gone."""
    parts.wait_until(lambda: not inside.connections)


def stuff(inside: Inside, connection: socket.socket, data: bytes) -> int:
    """Sends the same again and again until the service neither reads nor writes; how many bytes were taken."""
    held = the_only(inside)
    # Else the system takes megabytes of answers.
    buffer = (socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    inside.call(held.transport.get_extra_info("socket").setsockopt, *buffer)
    sent, stuck = 0, False
    while sent < 50_000_000:
        try:
            sent += connection.send(data[sent % len(data) :] if sent % len(data) else data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if stuck:
                break
            stuck = inside.call(lambda: held.write_paused and not held.reading)
            time.sleep(0.01)
    return sent


# One request at a time


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/webhook"),
        get(b"/-/healthy"),
        get(b"/metrics"),
        get(b"/static/wawp.css"),
        get(b"/api/v1/sessions"),
        post(b"{}", path=b"/webhook/token"),
        post(b"{}", b"Authorization: Bearer t0ken", path=b"/webhook/token"),
        post(event()),
        post(b"{}", path=b"/webhook/nobody"),
        post(b'{"alerts": []}', path=b"/alertmanager"),
    ],
    ids=lambda request: repr(request.split(b"\r\n")[0].decode()),
)
def test_who_reads_no_answers_is_read_no_further(inside: Inside, request_: bytes) -> None:
    """One piece of what is sent is kept, and one buffer of answers; the rest stays with the sender, on every path."""
    blob = request_ * (65536 // len(request_))
    with inside.connect() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = stuff(inside, peer, blob)
        held = the_only(inside)
        read_ahead, unwritten = (
            len(held.reader._buffer),
            inside.call(held.transport.get_write_buffer_size),
        )
        tasks = inside.call(lambda: len(inside.server.server_state.tasks))

    assert sent < 45_000_000
    assert read_ahead <= 2 * PIECE
    assert unwritten <= HIGH_WATER + 300_000
    assert tasks <= 1


def test_all_that_was_pipelined_is_answered_in_order(inside: Inside) -> None:
    """By the short way and by the other, a thousand of them, read late."""
    some = [get(b"/-/healthy"), get(b"/webhook"), post(b"{}", path=b"/webhook/nobody"), post(event(session="in-order"))]
    expected = [200, 405, 404, 200]
    with inside.connect() as peer:
        peer.sendall(b"".join(some) * 250 + get(b"/nowhere", b"Connection: close"))
        answers = rest(peer)

    assert statuses(answers) == expected * 250 + [404]


def test_the_others_get_their_turn_between_two_of_them(inside: Inside) -> None:
    """One turn of the loop answers one request of a connection, however many are here."""
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        inside.loop.call_soon(turn) if len(turns) < 5000 else None

    with inside.connect() as peer:
        inside.call(turn)
        peer.sendall(get(b"/webhook") * 100)
        peer.shutdown(socket.SHUT_WR)
        parts.wait_until(lambda: len(turns) == 5000)
        answers = rest(peer)

    assert len(statuses(answers)) <= 100


# What nobody reads, or nobody sends


def test_a_peer_that_takes_nothing_for_ten_seconds_is_cut_off(inside: Inside) -> None:
    """Also in the middle of one long answer; one that takes a little now and then is not."""
    for request in (get(b"/webhook") * 100_000, get(b"/metrics") * 2000):
        with inside.connect() as peer:
            stuff(inside, peer, request)
            held = the_only(inside)
            parts.wait_until(lambda held=held: inside.call(held.transport.get_write_buffer_size))
            now = inside.loop.time()
            inside.call(held.expire, now)
            inside.call(held.expire, now + WRITE_TIMEOUT_S * 0.9)
            assert inside.connections
            assert peer.recv(65536)
            inside.call(setattr, held, "taken", held.taken - 1)
            inside.call(held.expire, now + WRITE_TIMEOUT_S * 0.9)
            inside.call(held.expire, now + WRITE_TIMEOUT_S * 1.1)
            assert inside.connections
            inside.call(held.expire, now + 2 * WRITE_TIMEOUT_S)
            parts.wait_until(lambda: not inside.connections)


@pytest.mark.parametrize(
    ("start", "answered"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"POST /webhook HTT", b""),
        (b"GET / HTTP/1.1\r\nHost: loc", b""),
        (post(event())[:-1], b"HTTP/1.1 408 "),
        (post(b"x" * 100, path=b"/alertmanager")[:-1], b"HTTP/1.1 408 "),
        (post(b"x" * 100, path=b"/webhook/nobody")[:-1], b"HTTP/1.1 404 "),
        (b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5", b"HTTP/1.1 408 "),
    ],
)
def test_a_request_that_does_not_become_whole_ends_after_ten_seconds(
    inside: Inside, start: bytes, answered: bytes
) -> None:
    """Wherever it stops, on every path; so does a connection that sends nothing."""
    with inside.connect() as peer:
        peer.sendall(start)
        held = the_only(inside)
        parts.wait_until(lambda: held.request is not None or not answered)
        inside.expire(BODY_TIMEOUT_S * 0.9)
        assert inside.connections == [held]
        assert not held.closing
        inside.expire(BODY_TIMEOUT_S * 1.1)
        received = rest(peer)

    assert received.startswith(answered)
    assert len(statuses(received)) == (1 if answered else 0)


def test_an_idle_connection_is_kept_for_a_minute(inside: Inside) -> None:
    """After an answer by the short way, and by the other."""
    for request in (post(event()), get(b"/-/ready")):
        with inside.connect() as peer:
            peer.sendall(request)
            assert answer(peer).startswith(b"HTTP/1.1 200 ")
            inside.expire(KEEP_ALIVE_S * 0.9)
            assert not the_only(inside).closing
            inside.expire(KEEP_ALIVE_S * 1.1)
            assert rest(peer) == b""


# Answers that arrive


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/webhook", 413),
        (b"/webhook/nobody", 404),
        (b"/webhook/token", 413),
        (b"/alertmanager", 413),
        (b"/nowhere", 404),
        (b"/metrics", 405),
    ],
)
def test_an_answer_to_a_body_that_is_not_wanted_reaches_its_sender(
    inside: Inside, path: bytes, status: int, chunked: bool
) -> None:
    """What it still sends is read and forgotten for a while: to close at once would destroy the answer."""
    body = b"x" * 5_000_000
    if chunked:
        head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        whole = head + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 76 + b"0\r\n\r\n"
    else:
        whole = post(body, path=path)
    answer = inside.ask(whole + get(b"/nowhere", b"Connection: close"))

    assert statuses(answer)[0] == status
    assert b"<reset>" not in answer


def test_what_is_sent_after_an_answer_is_read_for_a_while_only(inside: Inside) -> None:
    """By bytes, and by time."""
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    with inside.connect() as peer, contextlib.suppress(OSError):
        sent = 0
        peer.sendall(head)
        while sent < 100_000_000:
            sent += peer.send(b"x" * 65536)
    assert sent < LINGER_BYTES + 16_000_000

    with inside.connect() as peer:
        peer.sendall(head)
        assert answer(peer).startswith(b"HTTP/1.1 413 ")
        inside.expire(LINGER_S * 1.1)
        parts.wait_until(lambda: not inside.connections)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 5_000_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 5_000_000, 431),
        (b"POST /webhook HTTP/1.1\r\n" + b"X: y\r\n" * 500_000, 431),
        (b"POST /webhook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 500_000, 431),
        (b"POST /webhook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 1_000_000, 431),
        (b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 1_000_000, 431),
        (b"POST /webhook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /alertmanager HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * 1000, 400),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else "",
)
def test_what_cannot_be_read_is_answered_in_the_one_shape_and_closed(
    inside: Inside, request_: bytes, status: int
) -> None:
    """At most one answer, as JSON, whatever came before or comes after."""
    answer = inside.ask(request_)
    last = answer.rpartition(b"HTTP/1.1 4")[2]

    assert statuses(answer) in ([status], [405, status])
    assert b"connection: close" in last
    assert json.loads(last.partition(b"\r\n\r\n")[2])["error"]


def test_a_good_webhook_before_garbage_is_answered_first(inside: Inside) -> None:
    """Its sender must not take it for refused: it was taken."""
    for good in (post(event(session="good")), get(b"/-/healthy")):
        answer = inside.ask(good + b"\x16\x03garbage\r\n\r\n" * 1000)
        assert statuses(answer) == [200, 400]
        assert b"<reset>" not in answer


CHUNKED = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "in pieces"])
@pytest.mark.parametrize("times", [1, 2, 50])
@pytest.mark.parametrize(
    "request_",
    [
        get(b"/-/healthy"),
        get(b"/webhook"),
        post(event(session="half-closed")),
        CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in event(session="half-closed")) + b"0\r\n\r\n",
    ],
    ids=["page", "refused at once", "webhook", "many chunks"],
)
def test_a_sender_that_says_it_is_done_is_still_answered(
    inside: Inside, request_: bytes, times: int, pieces: int
) -> None:
    """It closes its half of the connection after its requests; each of them is answered, then the connection ends."""
    status = 405 if request_.startswith(b"GET /webhook") else 200
    data = request_ * times
    with inside.connect() as peer:
        for number in range(pieces):
            peer.sendall(data[len(data) * number // pieces : len(data) * (number + 1) // pieces])
        peer.shutdown(socket.SHUT_WR)

        assert statuses(rest(peer)) == [status] * times


def test_what_a_sender_has_left_unfinished_when_it_is_done_is_not_waited_for(inside: Inside) -> None:
    """The requests before it are answered."""
    whole = post(event(session="unfinished"))
    for unfinished in (whole[:20], whole[:-1], CHUNKED + b"5\r\nab"):
        with inside.connect() as peer:
            peer.sendall(whole + unfinished)
            peer.shutdown(socket.SHUT_WR)

            assert statuses(rest(peer)) == [200]


def test_a_stream_is_not_kept_for_a_peer_that_sends_no_more(inside: Inside) -> None:
    """As a rule it has gone altogether: its place is free at once, or soon if it asked for the stream last of all."""
    with inside.connect() as peer:
        peer.sendall(get(b"/api/v1/events"))
        assert peer.recv(1000).startswith(b"HTTP/1.1 200 ")
        peer.shutdown(socket.SHUT_WR)
        parts.wait_until(lambda: not inside.connections)
    with inside.connect() as peer:
        peer.sendall(get(b"/-/healthy") + get(b"/api/v1/events"))
        peer.shutdown(socket.SHUT_WR)
        held = the_only(inside)
        parts.wait_until(lambda: held.ended and inside.served.service.hub.streams)
        inside.expire(HALF_CLOSED_S * 0.9)
        assert not held.lost

        inside.expire(HALF_CLOSED_S * 1.1)
        parts.wait_until(lambda: not inside.connections)


UPGRADES = [
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: eA==", b"Sec-WebSocket-Version: 13"),
    (b"Upgrade: TLS/1.0, foo/2", b"Connection: keep-alive, UPGRADE"),
]


@pytest.mark.parametrize("upgrade", UPGRADES, ids=lambda lines: repr(lines[0]))
def test_an_unwanted_upgrade_is_ignored_on_every_path(inside: Inside, upgrade: tuple[bytes, ...]) -> None:
    """curl --http2 and Java's client ask for one with each request (RFC 9110, 7.8)."""
    asked = (
        post(event(session="upgrade"), *upgrade)
        + post(event(session="upgrade"), *upgrade, b"Expect: 100-continue")
        + post(event(session="upgrade"), b"Authorization: Bearer t0ken", *upgrade, path=b"/webhook/token")
        + post(b'{"version": "4", "alerts": []}', *upgrade, path=b"/alertmanager")
        + get(b"/-/healthy", *upgrade)
        + get(b"/metrics", *upgrade, b"Connection: close")
    )

    assert statuses(inside.ask(asked)) == [200] * 6


def test_the_body_is_asked_for_only_if_it_is_wanted(inside: Inside) -> None:
    """`Expect: 100-continue`, also in capitals; a body that is there already is not asked for."""
    body = event(session="expected")
    refused = [
        (b"/webhook/nobody", b"Content-Length: 10", 404),
        (b"/webhook", b"Content-Length: %d" % (MAX_BODY_BYTES + 1), 413),
        (b"/metrics", b"Content-Length: 10", 405),
    ]
    for path, length, status in refused:
        with inside.connect() as peer:
            peer.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\n" + length + b"\r\n\r\n"
            )
            assert statuses(answer(peer)) == [status]
    with inside.connect() as peer:
        peer.sendall(post(body, b"Expect: 100-CONTINUE")[: -len(body)])
        assert answer(peer) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(body)
        assert statuses(answer(peer)) == [200]
        peer.sendall(post(body, b"Expect: 100-continue"))
        assert statuses(answer(peer)) == [200]


def test_a_byte_order_mark_before_a_notification_is_skipped(inside: Inside) -> None:
    """As before a webhook (RFC 8259, 8.1)."""
    body = b'\xef\xbb\xbf{"version": "4", "alerts": []}'

    assert statuses(inside.ask(post(body, b"Connection: close", path=b"/alertmanager"))) == [200]


# Who leaves


def test_a_reader_that_leaves_in_the_middle_of_an_answer_makes_no_noise(
    inside: Inside, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """By a reset, while pieces are written, or before the first."""
    paths = (b"/metrics", b"/", b"/static/live.js", b"/api/v1/audit", b"/api/v1/events")
    for request in (*(get(path) * 3 for path in paths), post(b"x" * 100, path=b"/alertmanager")[:-1]):
        for _ in range(5):
            with inside.connect() as peer:
                peer.sendall(request)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    parts.wait_until(lambda: not inside.connections and not inside.server.server_state.tasks)

    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_connection_is_freed_without_the_garbage_collector(inside: Inside) -> None:
    """It looks for cycles seldom, so that there must be none: memory of an attack would stay."""
    gc.collect()
    gc.disable()
    try:
        kept = []
        for request in (get(b"/webhook") * 50, post(event()), get(b"/-/healthy"), post(b"x" * 5000)[:-1], b"GET / HT"):
            with inside.connect() as peer:
                peer.sendall(request)
                kept += [weakref.ref(held) for held in inside.connections]
        parts.wait_until(lambda: not any(held() for held in kept))
    finally:
        gc.enable()


def test_a_head_as_long_as_the_limit_is_read_on_every_path(inside: Inside) -> None:
    """Cookies of a browser may be long."""
    for path in (b"/-/healthy", b"/webhook"):
        request = get(path, b"X: ")
        filled = get(path, b"X: " + b"x" * (MAX_HEAD_BYTES - len(request)))
        assert len(filled) == MAX_HEAD_BYTES
        assert statuses(inside.ask(filled * 2 + get(path, b"Connection: close")))[1:] in ([200, 200], [405, 405])


def still_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it."""
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return True
    return False


def test_only_so_many_connections_are_kept(inside: Inside) -> None:
    """The longest idle goes first, then the one that has sent least for longest; none that waits for its answer."""
    crowd = inside.server.crowd
    before, crowd.limit = crowd.limit, 4
    try:
        with contextlib.ExitStack() as stack:
            slow, idle, fresh = (stack.enter_context(inside.connect()) for _ in range(3))
            stream = stack.enter_context(inside.connect())
            slow.sendall(b"POST /webhook HTTP/1.1\r\nHost")
            for peer in (idle, fresh):
                peer.sendall(get(b"/-/healthy"))
                assert statuses(answer(peer)) == [200]
            stream.sendall(get(b"/api/v1/events"))
            assert statuses(answer(stream)) == [200]

            new = [stack.enter_context(closing(socket.create_connection(("127.0.0.1", inside.port)))) for _ in range(4)]
            assert rest(idle) == rest(fresh) == b""
            assert rest(slow) in (b"", b"<reset>")
            assert rest(new[0]) in (b"", b"<reset>")
            new[-1].sendall(get(b"/-/healthy"))
            assert statuses(answer(new[-1])) == [200]
            stream.settimeout(0.2)
            assert still_open(stream)
    finally:
        crowd.limit = before


def test_more_events_than_memory_should_hold_are_refused(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is slow must not fill the memory; the sender tries again."""
    monkeypatch.setattr(ingest, "MAX_QUEUE", 0)
    answer = inside.ask(post(event(session="full")) + get(b"/-/healthy", b"Connection: close"))

    assert statuses(answer) == [503, 200]
    assert b"retry-after: " in answer


def test_so_many_wait_for_a_code_and_the_next_is_told_to_wait(inside: Inside) -> None:
    """Each of them asks the gateway again and again."""
    assert statuses(inside.ask(post(event(session="qr", status="SCAN_QR_CODE"), b"Connection: close"))) == [200]
    path = b"/api/v1/sessions/default/qr/qr"
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_SCANNING):
            stack.enter_context(inside.connect()).sendall(get(path))
        parts.wait_until(lambda: len(inside.server.server_state.tasks) == MAX_SCANNING)
        assert statuses(inside.ask(get(path, b"Connection: close"))) == [503]


def test_a_tls_client_that_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its handshake nothing else could end it; nor does it stay by not agreeing to its end."""
    make_certificate(tmp_path, "localhost")
    monkeypatch.setattr(handshakes, "HANDSHAKE_S", 0.2)
    monkeypatch.setattr(handshakes, "GOODBYE_S", 0.2)
    with Inside(tmp_path, {"web": {"tls": {"cert_file": "cert.pem", "key_file": "key.pem"}}}) as service:
        with closing(socket.create_connection(("127.0.0.1", service.port))) as silent:
            assert rest(silent) in (b"", b"<reset>")
        monkeypatch.setattr(handshakes, "HANDSHAKE_S", 600.0)
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with (
            closing(socket.create_connection(("127.0.0.1", service.port))) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(post(b"x" * (MAX_BODY_BYTES + 1)))
            assert statuses(answer(secure)) == [413]
            service.expire(LINGER_S * 1.1)
            parts.wait_until(lambda: not service.connections)


def test_a_connection_counts_before_its_tls_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins none would use up the file descriptors of all; honest clients get in all the same."""
    monkeypatch.setattr(handshakes, "HANDSHAKE_S", 600.0)
    make_certificate(tmp_path, "localhost")
    with Inside(tmp_path, {"web": {"tls": {"cert_file": "cert.pem", "key_file": "key.pem"}}}) as service:
        crowd = service.server.crowd
        crowd.limit = 4
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with contextlib.ExitStack() as stack:

            def connect() -> socket.socket:
                return stack.enter_context(closing(socket.create_connection(("127.0.0.1", service.port), 20)))

            silent = [connect() for _ in range(12)]
            for each in silent[:8]:
                assert rest(each) in (b"", b"<reset>")
            assert service.call(lambda: len(crowd._all)) <= 4

            secure = stack.enter_context(context.wrap_socket(connect(), server_hostname="127.0.0.1"))
            secure.sendall(get(b"/-/healthy"))
            assert statuses(secure.recv(1000)) == [200]
