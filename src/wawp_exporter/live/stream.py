"""Server-sent events: each transition as it happens, to at most MAX_STREAMS readers, resumable from the log."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from itertools import islice

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from wawp_exporter.errors import LogError, Refusal, TooBusy, TooManyStreams, describe
from wawp_exporter.live.frames import OutageChanged, frame, gone, judgement, pieces, shown, sse
from wawp_exporter.live.reader import Reader
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.missed import DeletionRow
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import Transition
from wawp_exporter.model.outage import Name
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

MAX_STREAMS = 100
MAX_MISSED = 5000  # transitions that are sent again; a reader that missed more is told to load everything anew
MAX_RESUMING = 4  # readers that catch up at once: what they missed is in memory until they have taken it
RESUME_S = 30.0  # to take it; then another one has its turn, and this one comes back for the rest
RING = 8192  # frames kept for the slowest reader: a few batches of the log
CHUNK = 512  # frames taken off the ring at once
HEARTBEAT_S = 15.0
PATIENCE_S = 30.0  # for a reader that is too slow; one that takes nothing is cut off by the connection after 10 s
SENT_AHEAD_BYTES = 64 * 1024  # that the system takes for a reader ahead of its reading; Linux doubles it
GOODBYE_S = 1.0  # how long readers have at a stop to take what is left
RETRY = b"retry: 2000\n\n"
RESET = b"event: reset\ndata: {}\n\n"
HEARTBEAT = b": still here\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

logger = structlog.get_logger()


class Hub:
    """Sends transitions to readers. They share one ring of frames: publishing costs the same for one and for a hundred.

    Belongs to the event loop. A reader that falls behind the ring is cut off, and comes back with its Last-Event-ID.
    """

    def __init__(self, fleet: Fleet, place: Place, reader: Reader) -> None:
        self.fleet = fleet
        self.place = place
        self.ready: Callable[[Session], bool] = lambda _: True  # whether its WORKING is not in doubt
        self.reader = reader
        self.streams: set[Stream] = set()
        self.count = 0  # frames ever published
        self.newest = 0  # the row of the last transition that was published
        self.closed = False
        self._outages: dict[Name, OutageChanged] = {}  # as they were last published
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=RING)
        self._changed = asyncio.Event()
        self._resuming = asyncio.Semaphore(MAX_RESUMING)

    def transition(self, session: Session, transition: Transition, seq: int) -> None:
        """Publishes a transition; `seq` is its row in the log."""
        self.newest = seq if seq > self.newest else self.newest
        if not self.streams:
            return  # a later reader begins with what comes then, or with the log
        before = transition.before.status if transition.before else None
        after, group = transition.after, session.meta.group
        ready = after.status is Status.WORKING and self.ready(session)
        data = frame(session.key, before, after.status, after.since, group, session.engine, seq, ready=ready)
        self._publish(2 * seq or self._behind, data)

    def deleted(self, key: Key) -> None:
        """Publishes that a session was deleted. That has no row in the log, hence no id."""
        self._publish(self._behind, gone(key))

    def judged(self, keys: Iterable[Key]) -> None:
        """Publishes what the judge says of sessions whose problems have changed, and of outages that have."""
        if not self.readers:
            return
        judge = self.fleet.judge
        for key in keys:
            self._publish(self._behind, judgement(key, judge))
        outages = {outage.name: shown(outage) for outage in judge.exported()}
        for name in sorted(outages.keys() | self._outages.keys()):
            known, now = self._outages.get(name), outages.get(name)
            if known != now:
                over = msgspec.structs.replace(known, sessions=0, over=True) if known and not now else now
                self._publish(self._behind, sse("outage", over))
        self._outages = outages

    @property
    def _behind(self) -> int:
        """The place of a frame without a row: after the last that has one. Rows have even places."""
        return 2 * self.newest + 1

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self.streams)

    def close(self) -> None:
        """Ends all streams, so that a stop need not wait for them; stuck ones are cut off after GOODBYE_S."""
        if not self.closed:
            self.closed = True
            self._changed.set()
            asyncio.get_running_loop().call_later(GOODBYE_S, self._cut_off)

    def _cut_off(self) -> None:
        for stream in self.streams:
            stream.abort()

    def open(self, request: Request) -> Response:
        """The answer to `GET /api/v1/events`. Raises Refusal for a bad Last-Event-ID, TooManyStreams."""
        after = last_event_id(request)
        if self.closed or self.readers >= MAX_STREAMS:
            raise TooManyStreams(f"all {MAX_STREAMS} event streams are taken, try again")
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=HEADERS)
        return Stream(self, self.frames(after))

    async def frames(self, after: int | None) -> AsyncGenerator[bytes, None]:
        """The frames for one reader: what it missed since row `after` of the log, then what comes, each once."""
        place, sent = self.count, -1
        yield RETRY
        if after is not None:
            async with self._resuming:
                # First the place in the ring, then the log: what happens between the two is in both, and is sent once.
                place = self.count
                try:
                    missed = await self.reader.light(read_missed, self.place, after)
                except (LogError, TooBusy) as error:
                    logger.warning("stream not resumed, its reader tries again", error=describe(error))
                    return
                until = time.monotonic() + RESUME_S
                if missed is None:
                    yield RESET
                # Each shard sends only its own sessions, live ones and missed ones.
                for piece in pieces(self._missed(item) for item in missed or () if self._mine(item)):
                    yield piece
                    if self.closed or time.monotonic() > until:
                        return
                sent = missed[-1].seq if missed else -1
                del missed
        while not self.closed and self.count - place <= len(self._ring):
            if place == self.count:
                if not await self._news():
                    yield HEARTBEAT
                continue
            start = len(self._ring) - (self.count - place)
            new = list(islice(self._ring, start, start + CHUNK))
            place += len(new)
            for piece in pieces(data for seen, data in new if seen > 2 * sent):
                yield piece

    async def _news(self) -> bool:
        """Waits for the next frame; False when there is none for HEARTBEAT_S."""
        if self._changed.is_set() and not self.closed:
            self._changed = asyncio.Event()
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                return await self._changed.wait()
        except TimeoutError:
            return False

    def _mine(self, row: TransitionRow | DeletionRow) -> bool:
        return self.fleet.rules.holds((row.source, row.session))

    def _missed(self, row: TransitionRow | DeletionRow) -> bytes:
        key = (row.source, row.session)
        if isinstance(row, DeletionRow):
            return gone(key)
        group, session = self.fleet.rules.meta(*key).group, self.fleet.sessions.get(key)
        ready = row.status is Status.WORKING
        if ready and session and session.state.status is Status.WORKING:
            ready = self.ready(session)  # the gateway may contradict it: live readers are told so too
        return frame(key, row.before, row.status, row.at, group, row.engine, row.seq, ready=ready)

    def _publish(self, place: int, data: bytes) -> None:
        self._ring.append((place, data))
        self.count += 1
        self._changed.set()


class Stream(StreamingResponse):
    """One reader's answer; its place becomes free whatever ends it."""

    def __init__(self, hub: Hub, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers=HEADERS)
        self.hub = hub
        self.frames = frames
        self.abort: Callable[[], object] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends frames until the reader leaves, the hub closes, or the reader is too slow."""

        async def patient(message: Message) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)

        self.abort = scope.get("abort", self.abort)
        if "socket" in scope:
            with suppress(OSError):  # the reader has left already
                scope["socket"].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD_BYTES)
        self.hub.streams.add(self)
        try:
            with suppress(ClientDisconnect):
                await super().__call__(scope, receive, patient)
        except TimeoutError:
            # Aborted, since closing would wait until the reader has taken what is on its way.
            self.abort()
            while "abort" in scope and (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self.hub.streams.discard(self)
            await self.frames.aclose()


def last_event_id(request: Request) -> int | None:
    """The last row that the reader has got; browsers send the header by themselves when they reconnect."""
    text = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or None
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal("Last-Event-ID: is not a number, expected the id of an event that was sent")
    return int(text)


def read_missed(place: Place, after: int) -> list[TransitionRow | DeletionRow] | None:
    """What happened after row `after`; None when that is too much, or cannot be listed one by one."""
    with History(place) as history:
        return history.resume(after, MAX_MISSED)
