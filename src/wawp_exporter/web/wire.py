"""Bytes of a connection → requests of HTTP/1.1, one after another and each within its limits."""

import re

from wawp_exporter.errors import BadRequest, HeadTooLong, Malformed, Refusal, UrlTooLong
from wawp_exporter.web.heads import END, Head, Heads

MAX_HEAD_BYTES = 32 * 1024
MAX_FRAMING_BYTES = 256 * 1024  # sizes and line ends of chunks: as many as a body of single bytes needs
MAX_CHUNKS_AT_ONCE = 250  # read before others get their turn
CHUNK_SIZE_BYTES = 16  # a longer line has an extension, which counts as a part of the head

LINE_ENDS = b"\r\n"
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Reader:
    """The requests of one connection: `feed` it, ask for the `head`, then for the `body` until it is `whole`.

    Each of the three raises a Refusal for what is no HTTP, or too much of it; nothing can be read after that.
    """

    __slots__ = (
        "_after_data",
        "_at",
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
        # What came, and how much of it was taken: nearly all requests come in one piece, which is not copied.
        self._buffer: bytes | bytearray = b""
        self._at = 0
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
        return self._at < len(self._buffer)

    @property
    def complete(self) -> bool:
        """Whether the body may be whole without more bytes from the peer."""
        return self.whole or self.unread

    def feed(self, data: bytes) -> None:
        """Takes what came."""
        if self._at == len(self._buffer):
            self._buffer, self._at = data, 0
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def head(self) -> Head | None:
        """The next head, None while it is not complete. Raises BadRequest, UrlTooLong, HeadTooLong."""
        if self._at < len(self._buffer) and self._buffer[self._at] in LINE_ENDS:
            self._skip_blank_lines()
        end = self._find(END)
        size = len(self._buffer) - self._at if end < 0 else end + len(END)
        if size > self._budget:
            raise self._too_long()
        if end < 0:
            return None
        head = self._heads.read(self._take(size))
        self._budget -= size  # all else is as the request before has left it: as at the beginning
        self._expect(head.headers)
        return head

    def _find(self, mark: bytes) -> int:
        """How many bytes stand before a mark; -1 if it has not come. What was looked at is not looked at again."""
        seen = self._seen - len(mark) + 1
        end = self._buffer.find(mark, self._at + seen if seen > 0 else self._at)
        self._seen = len(self._buffer) - self._at if end < 0 else 0
        return end - self._at if end >= 0 else -1

    def _skip_blank_lines(self) -> None:
        """Old clients send one after a body (RFC 9112, 2.2)."""
        rest = self._buffer[self._at :].lstrip(b"\r\n")
        self._budget -= len(self._buffer) - self._at - len(rest)
        self._buffer, self._at, self._seen = rest, 0, 0
        if self._budget < 0:
            raise BadRequest("nothing but line ends came, expected a request")

    def _too_long(self) -> Refusal:
        if b"\r\n" in self._buffer[self._at : self._at + MAX_HEAD_BYTES]:
            return HeadTooLong(f"the request line and its headers are over {MAX_HEAD_BYTES} bytes")
        return UrlTooLong(f"the request line is over {MAX_HEAD_BYTES} bytes")

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
        self.whole = not self._left
        if self.whole:
            self._budget = MAX_HEAD_BYTES
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
        end = self._find(b"\r\n")
        size = end if end >= 0 else len(self._buffer) - self._at
        free = 0 if self._trailing else CHUNK_SIZE_BYTES
        if size - free > self._budget:
            raise HeadTooLong(f"headers, trailers and extensions of chunks are over {MAX_HEAD_BYTES} bytes")
        if end < 0:
            return None
        self._budget -= max(0, size + 2 * self._trailing - free)
        self._framing -= size + 2
        if self._framing < 0:
            raise Malformed("the chunks of the body are too small, expected fewer and larger ones")
        line = self._take(end)
        self._take(2)
        return line

    def _take(self, size: int) -> bytes:
        piece = self._buffer[self._at : self._at + size]
        if not isinstance(piece, bytes):
            piece = bytes(piece)
        self._at += len(piece)
        if self._at == len(self._buffer):
            self._buffer, self._at = b"", 0  # an idle connection keeps no request
        return piece
