"""JSON of gateways, which may have halves of characters in it: a name or a message that was cut within an emoji."""

import re
from typing import Any

import msgspec

# An escaped half of a surrogate pair whose other half is missing. JavaScript writes and reads such; msgspec refuses it.
HALF = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u[dD]"
    rb"(?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
NUL = rb"\1\\u0000"  # which no name may contain, so that two broken names do not become one


def decode_json(text: bytes, kind: Any = Any) -> Any:
    """JSON in UTF-8 as a kind; a NUL in place of each half. Raises msgspec.DecodeError, UnicodeError, RecursionError.

    A half anywhere, for example in the name of an account, must not make all that stands beside it unreadable.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = HALF.sub(NUL, text) if b"\\ud" in text or b"\\uD" in text else text
        if mended == text:
            raise
        return msgspec.json.decode(mended, type=kind)
