"""Cursors: the last position of a page as text that a caller sends back to get the next page."""

import base64
import binascii
from typing import TypeVar

import msgspec

from wawp_exporter.errors import BadRequest

T = TypeVar("T")


def to_cursor(position: object) -> str:
    """A position as a cursor: JSON in URL-safe base64."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode()


def from_cursor(text: str, kind: type[T]) -> T:
    """The position in a cursor, checked against `kind`. Raises BadRequest for text that `to_cursor` never made."""
    try:
        return msgspec.json.decode(base64.b64decode(text, b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError):
        raise BadRequest("cursor: not one that was given out, expected next_cursor of the answer before") from None
