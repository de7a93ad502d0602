"""HMACs and tokens."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from wawp_exporter.web.signature import Signatures, presented_token, token_matches

BODY = b'{"event":"session.status"}'
PUBLISHED = json.loads((Path(__file__).parents[1] / "samples/waha-hmac-test-vector.json").read_text())


def sign(key: bytes = b"key", body: bytes = BODY, algorithm: str = "sha512") -> bytes:
    """The header that a sender with this key sends."""
    return hmac.new(key, body, algorithm).hexdigest().encode()


def test_wahas_published_vector_matches() -> None:
    """The key, body and digest in WAHA's documentation agree with us."""
    signatures = Signatures([PUBLISHED["key"].encode()], "sha512")
    matched = signatures.match(PUBLISHED["body"].encode(), PUBLISHED["hex"].encode())

    assert matched


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_both_algorithms_match(algorithm: str) -> None:
    """What the standard library signs is believed, by either algorithm."""
    assert Signatures([b"key"], algorithm).match(BODY, sign(algorithm=algorithm))


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
@pytest.mark.parametrize("length", [1, 64, 65, 128, 129, 1000])
def test_a_key_of_any_length_matches(length: int, algorithm: str) -> None:
    """Keys that are longer than a block of the hash are hashed first, as RFC 2104 has it."""
    key = bytes(range(256)) * 4

    assert Signatures([key[:length]], algorithm).match(BODY, sign(key[:length], algorithm=algorithm))


def test_the_other_algorithm_does_not_match() -> None:
    """A sha256 digest is no sha512 digest, whatever it calls itself."""
    assert not Signatures([b"key"], "sha512").match(BODY, sign(algorithm="sha256"))


@pytest.mark.parametrize("key", [b"old", b"new"])
def test_any_of_several_keys_matches(key: bytes) -> None:
    """While keys are being rotated, senders with the old and with the new one are believed."""
    assert Signatures([b"old", b"new"], "sha512").match(BODY, sign(key))


@pytest.mark.parametrize(
    "given",
    [sign().upper(), b"sha512=" + sign(), b"SHA512=" + sign().upper(), b"  " + sign() + b" "],
    ids=["upper-case", "prefixed", "both", "padded"],
)
def test_the_usual_spellings_of_a_digest_match(given: bytes) -> None:
    """Upper-case hex, an `algorithm=` prefix and white space around it change nothing."""
    assert Signatures([b"key"], "sha512").match(BODY, given)


@pytest.mark.parametrize(
    "given",
    [b"", b"sha512=", sign()[:-1], sign() + b"0", sign(b"other"), sign(body=BODY + b" "), b"\xff" * 128, "ü".encode()],
    ids=["empty", "prefix", "cut", "longer", "other-key", "other-body", "not-ascii", "utf-8"],
)
def test_anything_else_does_not_match(given: bytes) -> None:
    """A digest that is cut, foreign, of other bytes or no digest at all is refused without an error."""
    assert not Signatures([b"key"], "sha512").match(BODY, given)


def test_no_keys_match_nothing() -> None:
    """A source without keys believes no digest, not even that of an empty key."""
    assert not Signatures([], "sha512").match(BODY, sign(b""))


def test_a_digest_of_the_body_alone_does_not_match() -> None:
    """Without the key there is no signature."""
    assert not Signatures([b"key"], "sha512").match(BODY, hashlib.sha512(BODY).hexdigest().encode())


@pytest.mark.parametrize(
    ("given", "matches"),
    [(b"one", True), (b"two", True), (b"tw", False), (b"", False), (None, False), (b"\xff", False), (b"ONE", False)],
)
def test_any_of_several_tokens_matches(given: bytes | None, matches: bool) -> None:
    """A token is compared whole, as bytes, with each of those configured; none given is no match."""
    assert token_matches([b"one", b"two"], given) is matches


def test_no_tokens_match_nothing() -> None:
    """Where no token is configured even an empty one is wrong."""
    assert not token_matches([], b"")


@pytest.mark.parametrize(
    "header", [b"Bearer secret", b"bearer secret", b"BEARER  secret "], ids=["usual", "lower-case", "padded"]
)
def test_a_bearer_token_is_presented(header: bytes) -> None:
    """The scheme is read without regard to case, the token without the white space around it."""
    assert presented_token(header) == b"secret"


@pytest.mark.parametrize(
    ("credentials", "token"),
    [(b"prometheus:secret", b"secret"), (b":secret", b"secret"), (b"a:b:c", b"b:c"), (b"nobody", b"")],
)
def test_the_password_of_basic_is_the_token(credentials: bytes, token: bytes) -> None:
    """The user's name is of no matter, and a password may hold colons."""
    assert presented_token(b"Basic " + base64.b64encode(credentials)) == token


@pytest.mark.parametrize(
    "header", [None, b"", b"secret", b"Digest secret", b"Basic !!!", b"Basic abc", b"Basic \xff\xff"]
)
def test_other_authorization_presents_no_token(header: bytes | None) -> None:
    """No header, another scheme and broken Base64 are simply no token."""
    assert presented_token(header) is None
