"""One gzip stream put together from pieces that were compressed apart and may have been kept.

Not a gzip member a piece, though the format allows that: curl, browsers and httpx read only the first. Each piece is
a run of deflate blocks that refers to nothing outside it and ends on a byte; the checksum of the whole is combined
from those of the pieces.
"""

import importlib
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

isal_zlib: Any
try:
    isal_zlib = importlib.import_module("isal.isal_zlib")
except ImportError:  # no wheel for this platform
    isal_zlib = None

HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time, fastest, unknown system
LAST_BLOCK = b"\x03\0"  # empty, and the last


class Piece(NamedTuple):
    """A part of the text: encoded, and the checksum and size of what it was."""

    data: bytes
    crc: int
    size: int


NOTHING = Piece(b"", 0, 0)


class Stream(Protocol):
    """An encoding under way; the bytes that its methods return, in order, are the body."""

    def begin(self) -> bytes:
        """What comes before the first piece."""

    def add(self, piece: Piece) -> bytes:
        """A piece that `pack` has made."""

    def end(self) -> bytes:
        """What comes after the last piece."""


class Combined:
    """gzip by ISA-L: pieces are compressed when they are made, and only their checksums are combined here."""

    def __init__(self) -> None:
        self.crc = 0
        self.size = 0

    def begin(self) -> bytes:
        """The gzip header."""
        return HEADER

    def add(self, piece: Piece) -> bytes:
        """The piece's own blocks."""
        self.crc = isal_zlib.crc32_combine(self.crc, piece.crc, piece.size)
        self.size += piece.size
        return piece.data

    def end(self) -> bytes:
        """The last block, the checksum and the size."""
        return LAST_BLOCK + self.crc.to_bytes(4, "little") + (self.size & 0xFFFFFFFF).to_bytes(4, "little")


class Running:
    """gzip by zlib, which cannot combine checksums: pieces stay text, and are compressed as they go by."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(1, zlib.DEFLATED, 31)

    def begin(self) -> bytes:
        """Nothing: zlib writes the header itself."""
        return b""

    def add(self, piece: Piece) -> bytes:
        """What zlib makes of it so far."""
        return self._packer.compress(piece.data)

    def end(self) -> bytes:
        """The rest."""
        return self._packer.flush()


def pack(text: bytes) -> Piece:
    """A piece of a gzip stream; worth keeping as long as its text does not change."""
    if isal_zlib is None or not text:
        return Piece(text, 0, len(text)) if text else NOTHING
    packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
    data = packer.compress(text) + packer.flush(isal_zlib.Z_FULL_FLUSH)
    return Piece(data, isal_zlib.crc32(text), len(text))


def unpack(piece: Piece) -> bytes:
    """The text of a piece."""
    if isal_zlib is None or not piece.size:
        return piece.data
    text: bytes = isal_zlib.decompressobj(-15).decompress(piece.data, piece.size)
    return text


class Joined:
    """Pieces that follow each other, as one piece, kept until one of them is another."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[list[Piece], Piece]] = {}

    def of(self, name: tuple[int, int], pieces: list[Piece]) -> Piece:
        """These pieces as one; `name` is the same for those that are probably the same."""
        if isal_zlib is None:
            return Piece(b"".join([piece.data for piece in pieces]), 0, sum(piece.size for piece in pieces))
        parts, whole = self._kept.get(name, ([], NOTHING))
        if parts != pieces:
            whole = joined(pieces)
            self._kept[name] = pieces, whole
        return whole


def joined(pieces: Iterable[Piece]) -> Piece:
    """Pieces of ISA-L as one."""
    stream = Combined()
    data = b"".join([stream.add(piece) for piece in pieces])
    return Piece(data, stream.crc, stream.size)


def gzip_stream() -> Stream:
    """A new gzip stream."""
    return Running() if isal_zlib is None else Combined()
