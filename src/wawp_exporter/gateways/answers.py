"""Answers of a gateway's API, decompressed and decoded within limits."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from wawp_exporter.dialects.json_text import decode_json
from wawp_exporter.errors import GatewayError

ACCEPTED = "gzip, deflate"  # what can be read; a proxy may compress although nobody asked it to
PIECES_AT_ONCE = 100
MAX_ENCODINGS = 3  # one on another
MAX_MEMBERS = 64  # that gzip has joined
GZIP, ZLIB, RAW = 31, 15, -15  # as zlib names the formats
GZIP_MAGIC = b"\x1f\x8b"
# Charsets that cannot be detected from the bytes.
CHARSETS = frozenset({"iso-8859-1", "latin1", "windows-1252"})
NO_JSON = "its answer is not JSON"


def json_of(answer: httpx.Response) -> Any:
    """The body as JSON, in UTF-8 (with or without a BOM), UTF-16, UTF-32 or the charset that is named.

    Raises GatewayError for anything else: an error page, nothing at all.
    """
    return decode(text_of(answer), Any)


def items_of(answer: httpx.Response) -> list[msgspec.Raw]:
    """The items of a JSON array, each to be decoded by itself. Raises GatewayError for anything else."""
    found: list[msgspec.Raw] = decode(text_of(answer), list[msgspec.Raw])
    return found


def text_of(answer: httpx.Response) -> bytes:
    """The body in UTF-8. Raises GatewayError."""
    *_, charset = answer.headers.get("content-type", "").lower().partition("charset=")
    charset = charset.partition(";")[0].strip(" \"'")
    name = charset if charset in CHARSETS else json.detect_encoding(answer.content)
    try:
        return answer.content if name == "utf-8" else answer.content.decode(name).encode()
    except UnicodeError:
        raise GatewayError(NO_JSON) from None


def decode(text: bytes, kind: Any) -> Any:
    """JSON of a kind. Raises GatewayError, with nothing of the text."""
    try:
        return decode_json(text, kind)
    except (msgspec.ValidationError, UnicodeError):
        raise GatewayError("its answer is not what was asked for") from None
    except (msgspec.DecodeError, RecursionError):
        raise GatewayError(NO_JSON) from None


async def collect(pieces: AsyncIterator[bytes], limit: int) -> bytes:
    """The pieces of a body joined. Raises GatewayError if they are over `limit` bytes."""
    body, number = bytearray(), 0
    async for piece in pieces:
        body += piece
        number += 1
        if len(body) > limit:
            raise too_long(limit)
        if number % PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)  # webhooks get their turn: a piece may be a single byte
    return bytes(body)


def plain(body: bytes, encodings: str, limit: int) -> bytes:
    """A body as it was before each of a header's `encodings`, of at most `limit` bytes. Raises GatewayError."""
    names = [name.strip().lower() for name in encodings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > MAX_ENCODINGS:
        raise GatewayError("its answer is compressed too often")
    for name in reversed(names):
        if name in ("gzip", "x-gzip"):
            body = inflate(body, GZIP, limit)
        elif name == "deflate":
            # The standard means zlib's format; some servers send what is inside it.
            body = inflate(body, ZLIB if body[:1] in (b"\x78", b"\x58", b"\x38", b"\x18") else RAW, limit)
        else:
            raise GatewayError("its answer is compressed in a way that was not asked for")
    return body


def inflate(body: bytes, form: int, limit: int) -> bytes:
    """What zlib or gzip made `body` of, never more than `limit` bytes in memory. Raises GatewayError."""
    found = b""
    try:
        for _ in range(MAX_MEMBERS):
            member = zlib.decompressobj(form)
            found += member.decompress(body, limit - len(found) + 1)
            if len(found) > limit:
                raise too_long(limit)
            if body and not member.eof:
                raise GatewayError("its answer ends too early")
            body = member.unused_data
            if form != GZIP or not body.startswith(GZIP_MAGIC):
                break
    except zlib.error:
        raise GatewayError("its answer is not compressed as it says") from None
    return found


def too_long(limit: int) -> GatewayError:
    """The error of an answer that is too long."""
    return GatewayError(f"its answer is over {limit} bytes")
