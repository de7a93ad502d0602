"""One gzip stream put together from pieces that were compressed apart and may have been kept.

Not a gzip member a piece, though the format allows that: curl, browsers and httpx read only the first. Each piece is
a run of deflate blocks that refers to nothing outside it and ends on a byte; the checksum of the whole is combined
from those of the pieces.
"""

import importlib
import zlib
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
        self._crc = 0
        self._size = 0

    def begin(self) -> bytes:
        """The gzip header."""
        return HEADER

    def add(self, piece: Piece) -> bytes:
        """The piece's own blocks."""
        self._crc = isal_zlib.crc32_combine(self._crc, piece.crc, piece.size)
        self._size += piece.size
        return piece.data

    def end(self) -> bytes:
        """The last block, the checksum and the size."""
        return LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


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
        return Piece(text, 0, len(text))
    packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
    data = packer.compress(text) + packer.flush(isal_zlib.Z_FULL_FLUSH)
    return Piece(data, isal_zlib.crc32(text), len(text))


def gzip_stream() -> Stream:
    """A new gzip stream."""
    return Running() if isal_zlib is None else Combined()
