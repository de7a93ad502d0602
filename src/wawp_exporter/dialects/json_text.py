"""JSON of gateways, which may have halves of characters in it: a name or a message that was cut within an emoji."""

import re
from typing import Any

import msgspec

# An escape, or a pair of them. The group has a half of a surrogate pair whose other half is missing: JavaScript writes
# and reads such, msgspec refuses it.
ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
NUL = rb"\u0000"  # which no name may contain, so that two broken names do not become one


def decode_json(text: bytes, kind: Any = Any) -> Any:
    """JSON in UTF-8 as a kind; a NUL in place of each half. Raises msgspec.DecodeError, UnicodeError, RecursionError.

    A half anywhere, for example in the name of an account, must not make all that stands beside it unreadable.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\ud" not in text and b"\\uD" not in text:
            raise
        mended = ESCAPE.sub(lambda found: NUL if found[1] else found[0], text)
        return msgspec.json.decode(mended, type=kind)
