"""Event streams whose readers are stuck: what they may hold, how they end, and that a stop does not wait for them."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.served import Served, eventually, run, served
from wawp_exporter.live import frames, stream
from wawp_exporter.live.frames import PIECE_BYTES, pieces
from wawp_exporter.live.reader import MAX_READS
from wawp_exporter.live.stream import MAX_STREAMS, SENT_AHEAD_BYTES
from wawp_exporter.web import channel, listener

HIGH_WATER = 65_536  # bytes that a connection holds back before writers wait
FRAME = b"id: 1\nevent: x\ndata: " + b"y" * 500 + b"\n\n"


@contextmanager
def stuck(service: Served, number: int) -> Iterator[None]:
    """So many readers who ask for the stream and never read of it."""
    with ExitStack() as stack:
        for _ in range(number):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect(("127.0.0.1", service.port))
            reader.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield


async def flood(service: Served, readers: int) -> list[int]:
    """Publishes until each of the readers has stopped taking it; the bytes that wait for each."""
    hub = service.service.hub
    await eventually(lambda: hub.readers == readers)
    held: list[int] = []
    while not held or min(held) < HIGH_WATER:
        for _ in range(50):
            hub._publish(0, FRAME)
        await asyncio.sleep(0.001)
        held = [each.transport.get_write_buffer_size() for each in connections(service)]  # type: ignore[attr-defined]
    return held


def connections(service: Served) -> list[object]:
    """Those of all listeners."""
    return [each for server in service.front.servers for each in server.server_state.connections]


def test_a_stuck_reader_holds_little_and_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its place alone: the connection and what waits for it go as well."""
    monkeypatch.setattr(channel, "WRITE_TIMEOUT_S", 3600)

    async def test() -> None:
        async with served(tmp_path) as service:
            with stuck(service, 5):
                held = await flood(service, 5)
                assert max(held) <= HIGH_WATER + PIECE_BYTES + 2 * len(FRAME)

                monkeypatch.setattr(channel, "WRITE_TIMEOUT_S", 0)
                await eventually(lambda: not connections(service) and service.service.hub.readers == 0)

    run(test())


def test_what_the_system_holds_of_a_stream_is_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take two megabytes for a reader that does not read, where no limit of a process counts them."""
    monkeypatch.setattr(channel, "WRITE_TIMEOUT_S", 3600)

    async def test() -> None:
        async with served(tmp_path) as service:
            with stuck(service, 3):
                held = await flood(service, 3)
                taken = [each.written for each in connections(service)]  # type: ignore[attr-defined]
                assert max(taken) - min(held) < 4 * SENT_AHEAD_BYTES

    run(test())


def test_a_reader_that_takes_too_little_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then satisfies the connection, but not the stream."""
    monkeypatch.setattr(stream, "PATIENCE_S", 0.2)
    monkeypatch.setattr(channel, "WRITE_TIMEOUT_S", 3600)

    async def test() -> None:
        async with served(tmp_path) as service:
            with stuck(service, 1):
                await flood(service, 1)
                service.service.hub._publish(0, FRAME)  # what it cannot be sent any more
                await eventually(lambda: service.service.hub.readers == 0 and not connections(service))

    run(test())


def test_a_stop_does_not_wait_for_stuck_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many, and however long a stop would wait for open requests."""
    monkeypatch.setattr(listener, "GRACE_S", 600)
    monkeypatch.setattr(stream, "GOODBYE_S", 0.01)

    async def test() -> None:
        async with served(tmp_path) as service:
            with stuck(service, MAX_STREAMS):
                await flood(service, MAX_STREAMS)
                service.until.set()
                await eventually(lambda: not connections(service))

    run(test())


def test_a_stream_that_cannot_be_resumed_ends_and_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its reader tries again by itself; a traceback would help nobody."""

    async def test() -> None:
        async with served(tmp_path) as service:
            reads = service.service.reader._reads
            places = [asyncio.get_running_loop().create_future() for _ in range(MAX_READS)]
            reads.update(places)  # type: ignore[arg-type]
            answer = await service.client.get("/api/v1/events", headers={"Last-Event-ID": "0"})
            reads.difference_update(places)  # type: ignore[arg-type]

            assert answer.text == "retry: 2000\n\n"

    run(test())
    assert "Traceback" not in capfd.readouterr().err


def test_readers_catch_up_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each of them missed is in memory until it has taken it, and after a cut all of them come back at once."""
    monkeypatch.setattr(stream, "MAX_RESUMING", 1)

    async def test() -> None:
        async with served(tmp_path) as service:
            for session in "abc":
                assert await service.post(session=session) == "transition"
            hub = service.service.hub
            first, second = hub.frames(0), hub.frames(0)
            assert [await anext(first), await anext(second)] == [stream.RETRY] * 2
            piece = await anext(first)
            waiting = asyncio.create_task(anext(second))
            await eventually(lambda: hub._resuming._waiters)
            assert not service.service.reader._reads

            await first.aclose()
            assert await waiting == piece
            assert piece.count(b"event: transition") == 3
            await second.aclose()
            assert not hub._resuming.locked()

    run(test())


def test_a_reader_that_catches_up_too_slowly_comes_back_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for its turn to end; what it has taken it is not sent again."""
    monkeypatch.setattr(stream, "RESUME_S", -1.0)
    monkeypatch.setattr(frames, "PIECE_BYTES", 1)

    async def test() -> None:
        async with served(tmp_path) as service:
            for session in "abc":
                assert await service.post(session=session) == "transition"
            taken, after = [], "0"
            for _ in range(3):
                answer = await service.client.get("/api/v1/events", headers={"Last-Event-ID": after})
                (after,) = re.findall(r"^id: (\d+)$", answer.text, re.MULTILINE)
                taken += re.findall(r'"session":"(\w)"', answer.text)

            assert taken == ["a", "b", "c"]

    run(test())


def test_what_is_written_at_once_is_bounded() -> None:
    """A catch-up on thousands of transitions is no single write."""
    frames = [b"x" * (n % 3000) for n in range(5000)]

    written = list(pieces(frames))

    assert b"".join(written) == b"".join(frames)
    assert max(map(len, written)) < PIECE_BYTES + 3000
    assert min(map(len, written[:-1])) >= PIECE_BYTES
