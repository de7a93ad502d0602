"""Does this HMAC or token match these bytes?"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable


class Signatures:
    """The keys of a source, made ready once: that costs as much as the rest of the HMAC of a body."""

    def __init__(self, keys: Iterable[bytes], algorithm: str) -> None:
        self._prefix = algorithm.encode() + b"="
        self._keys = [halves(key, algorithm) for key in keys]

    def match(self, body: bytes, given: bytes) -> bool:
        """Whether `given`, hex of either case and with or without an `algorithm=` prefix, is the HMAC under any key.

        Each comparison takes constant time; all keys are tried, so that timing does not tell which one matched.
        """
        given = given.strip().lower().removeprefix(self._prefix)
        matched = False
        for inner, outer in self._keys:
            hashed, signed = inner.copy(), outer.copy()
            hashed.update(body)
            signed.update(hashed.digest())
            matched |= hmac.compare_digest(signed.hexdigest().encode(), given)
        return matched


def halves(key: bytes, algorithm: str) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """The two hashes of an HMAC (RFC 2104), with the key in both: to copy one of `hmac` would copy three."""
    size = hashlib.new(algorithm).block_size
    short = key if len(key) <= size else hashlib.new(algorithm, key).digest()
    inner, outer = (bytes(byte ^ pad for byte in short.ljust(size, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.new(algorithm, inner), hashlib.new(algorithm, outer)


def token_matches(tokens: Iterable[bytes], given: bytes | None) -> bool:
    """Whether `given` is any of the tokens, compared as bytes in constant time."""
    matched = False
    for token in tokens:
        matched |= given is not None and hmac.compare_digest(token, given)
    return matched


def presented_token(authorization: bytes | None) -> bytes | None:
    """The token in an Authorization header: the bearer token, or the password of HTTP Basic."""
    scheme, _, value = (authorization or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return None
    return None
