"""Bytes of a connection → requests of HTTP/1.1, one after another and each within its limits."""

import re

from wawp_exporter.errors import BadRequest, HeadTooLong, Malformed, Refusal, UrlTooLong
from wawp_exporter.web.heads import END, Head, Heads

MAX_HEAD_BYTES = 32 * 1024
MAX_FRAMING_BYTES = 256 * 1024  # sizes and line ends of chunks: as many as a body of single bytes needs
MAX_CHUNKS_AT_ONCE = 250  # read before others get their turn
SMALL_BYTES = 4096
CHUNK_SIZE_BYTES = 16  # a longer line has an extension, which counts as a part of the head

LINE_ENDS = b"\r\n"
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Reader:
    """The requests of one connection: `feed` it, ask for the `head`, then for the `body` until it is `whole`.

    Each of the three raises a Refusal for what is no HTTP, or too much of it; nothing can be read after that.
    """

    __slots__ = (
        "_after_data",
        "_budget",
        "_buffer",
        "_chunked",
        "_framing",
        "_heads",
        "_left",
        "_seen",
        "_trailing",
        "unread",
        "whole",
    )

    def __init__(self) -> None:
        # What came and was not taken: bytes while it is one small piece, as nearly all requests are.
        self._buffer: bytes | bytearray = b""
        self._heads = Heads()
        self._begin(MAX_HEAD_BYTES)

    def _begin(self, budget: int) -> None:
        self.whole = True
        self.unread = False
        self._budget = budget
        self._framing = MAX_FRAMING_BYTES
        self._seen = self._left = 0
        self._chunked = self._trailing = self._after_data = False

    @property
    def waiting(self) -> bool:
        """Whether bytes are here that nobody has asked for yet."""
        return len(self._buffer) > 0

    @property
    def complete(self) -> bool:
        """Whether the body may be whole without more bytes from the peer."""
        return self.whole or self.unread

    def feed(self, data: bytes) -> None:
        """Takes what came."""
        if not self._buffer and len(data) <= SMALL_BYTES:
            self._buffer = data
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)  # of which the beginning can be taken without a copy of the rest
        self._buffer += data

    def head(self) -> Head | None:
        """The next head, None while it is not complete. Raises BadRequest, UrlTooLong, HeadTooLong."""
        if self._buffer and self._buffer[0] in LINE_ENDS:
            self._skip_blank_lines()
        raw = self._until(END)
        if raw is None:
            if len(self._buffer) > self._budget:
                raise too_long(self._buffer)
            return None
        raw += END
        if len(raw) > self._budget:
            raise too_long(raw)
        head = self._heads.read(raw)
        self._budget -= len(raw)  # all else is as the request before has left it: as at the beginning
        self._expect(head.headers)
        return head

    def _until(self, mark: bytes) -> bytes | None:
        """Takes what stands before a mark, and the mark; None if it has not come."""
        buffer = self._buffer
        if isinstance(buffer, bytes):
            piece, found, rest = buffer.partition(mark)
            if found:
                self._buffer, self._seen = rest, 0
                return piece
            self._seen = len(buffer)
            return None
        end = buffer.find(mark, max(0, self._seen - len(mark) + 1))  # what was looked at is not looked at again
        if end < 0:
            self._seen = len(buffer)
            return None
        self._seen = 0
        return self._take(end + len(mark))[:end]

    def _skip_blank_lines(self) -> None:
        """Old clients send one after a body (RFC 9112, 2.2)."""
        rest = self._buffer.lstrip(b"\r\n")
        self._budget -= len(self._buffer) - len(rest)
        self._buffer, self._seen = rest, 0
        if self._budget < 0:
            raise BadRequest("nothing but line ends came, expected a request")

    def _expect(self, headers: dict[bytes, bytes]) -> None:
        """How the body is framed; the parser has refused what is ambiguous."""
        coding = headers.get(b"transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != b"chunked":
                raise BadRequest("Transfer-Encoding: not understood, expected chunked")
            self._chunked, self.whole = True, False
            return
        self._left = int(headers.get(b"content-length", 0))
        self.whole = not self._left
        if self.whole:
            self._budget = MAX_HEAD_BYTES

    def body(self) -> bytes:
        """What has come of the body since it was last asked for. Raises Malformed, HeadTooLong.

        Of very many chunks only some: then `unread` says that more of them are here.
        """
        if self._chunked:
            return b"".join(self._chunks())
        piece = self._take(self._left)
        self._left -= len(piece)
        if not self._left:
            self.whole, self._budget = True, MAX_HEAD_BYTES
        return piece

    def _chunks(self) -> list[bytes]:
        pieces: list[bytes] = []
        self.unread = False
        while not self.whole:
            if len(pieces) >= MAX_CHUNKS_AT_ONCE:
                self.unread = True
                break
            if self._left:
                pieces.append(piece := self._take(self._left))
                self._left -= len(piece)
                if self._left:
                    break
            line = self._line()
            if line is None:
                break
            self._frame(line)
        return pieces

    def _frame(self, line: bytes) -> None:
        """A line between pieces of the body. Trailers are read to their end and ignored."""
        if self._trailing:
            if not line:
                self._begin(MAX_HEAD_BYTES)
        elif self._after_data:
            if line:
                raise Malformed("a chunk of the body is longer than it says")
            self._after_data = False
        else:
            found = CHUNK.fullmatch(line)
            if not found:
                raise Malformed("the size of a chunk of the body is not a hexadecimal number")
            self._left = int(found[1], 16)
            self._after_data = bool(self._left)
            self._trailing = not self._left

    def _line(self) -> bytes | None:
        """The next line, None while it is not complete."""
        line = self._until(b"\r\n")
        size = len(self._buffer) if line is None else len(line)
        free = 0 if self._trailing else CHUNK_SIZE_BYTES
        if size - free > self._budget:
            raise HeadTooLong(f"headers, trailers and extensions of chunks are over {MAX_HEAD_BYTES} bytes")
        if line is None:
            return None
        self._budget -= max(0, size + 2 * self._trailing - free)
        self._framing -= size + 2
        if self._framing < 0:
            raise Malformed("the chunks of the body are too small, expected fewer and larger ones")
        return line

    def _take(self, size: int) -> bytes:
        """At most so many bytes."""
        buffer = self._buffer
        if len(buffer) <= size:
            self._buffer = b""  # an idle connection keeps no request
            return buffer if isinstance(buffer, bytes) else bytes(buffer)
        piece = bytes(buffer[:size])
        if isinstance(buffer, bytes):
            self._buffer = buffer[size:]
        else:
            del buffer[:size]
        return piece


def too_long(head: bytes | bytearray) -> Refusal:
    """Why a head is refused that is longer than it may be."""
    if b"\r\n" in head[:MAX_HEAD_BYTES]:
        return HeadTooLong(f"the request line and its headers are over {MAX_HEAD_BYTES} bytes")
    return UrlTooLong(f"the request line is over {MAX_HEAD_BYTES} bytes")
