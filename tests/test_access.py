"""Who may call what."""

import pytest

from tests.builders import config
from wawp_exporter.access import Access, is_local
from wawp_exporter.config import Secrets, Settings
from wawp_exporter.errors import Forbidden, Unauthenticated

TOKEN = {b"authorization": b"Bearer secret"}


def headers(**more: str) -> dict[bytes, bytes]:
    """The headers of a request to this very machine; `more` adds to them, `_` standing for `-`."""
    extra = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in more.items()}
    return {b"host": b"127.0.0.1:10011"} | extra


def access(listen: str = "127.0.0.1:10011", metrics: tuple[bytes, ...] = (), api: tuple[bytes, ...] = ()) -> Access:
    """The rules of a listener, with these tokens configured."""
    return Access(Settings(config(), Secrets(metrics_tokens=metrics, api_tokens=api)), listen)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:10011", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:1", "::1"]
)
def test_a_request_to_a_loopback_name_is_local(host: str) -> None:
    """Every way to name this machine is local."""
    assert is_local(headers(host=host))


@pytest.mark.parametrize("host", ["", "example.org", "10.0.0.1:10011", "127.0.0.1.evil.org", "localhost.evil.org", "["])
def test_a_request_to_another_name_is_not_local(host: str) -> None:
    """A name that an attacker points at loopback (DNS rebinding) does not pass, nor does none."""
    assert not is_local(headers(host=host))


def test_a_request_without_a_host_is_not_local() -> None:
    """HTTP/1.0 clients may leave it out; nothing is known of them then."""
    assert not is_local({})


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x_real_ip", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_x"]
)
def test_a_proxied_request_is_not_local(name: str) -> None:
    """A proxy on this machine makes the whole world look like loopback."""
    assert not is_local(headers(**{name: "127.0.0.1"}))


@pytest.mark.parametrize(
    ("origin", "local"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:10011", True),
        ("https://evil.org", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_foreign_page_is_not_local(origin: str, local: bool) -> None:
    """A browser tells which page a request comes from; only pages of this machine are at home."""
    assert is_local(headers(origin=origin)) is local


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "//]", "http://\xff"])
def test_a_broken_origin_is_not_local(origin: str) -> None:
    """What cannot be parsed is not trusted, and is no error either."""
    assert not is_local(headers(origin=origin))


def test_only_a_loopback_listener_has_local_callers() -> None:
    """On a listener that others can reach, headers prove nothing."""
    assert access("127.0.0.1:10011").local(headers())
    assert not access("0.0.0.0:10011").local(headers())
    assert not access(":10011").local(headers())


def test_metrics_and_pages_are_open_while_no_token_is_configured() -> None:
    """Reading needs a token only where the operator asks for one."""
    rules = access("0.0.0.0:10011")

    rules.check_metrics({})
    rules.check_read({})


def test_each_token_opens_its_own_door() -> None:
    """The token of `/metrics` does not open the API, nor the other way round."""
    rules = access(metrics=(b"secret",), api=(b"other",))

    rules.check_metrics(TOKEN)
    with pytest.raises(Unauthenticated):
        rules.check_read(TOKEN)
    with pytest.raises(Unauthenticated):
        rules.check_metrics({b"authorization": b"Bearer other"})


def test_a_missing_token_is_answered_with_a_challenge() -> None:
    """401 names Basic, so that a browser asks for the token; being local does not help."""
    with pytest.raises(Unauthenticated) as refused:
        access(api=(b"secret",)).check_change(headers())

    assert refused.value.status == 401
    assert refused.value.reason == "bad_token"
    assert dict(refused.value.headers)["WWW-Authenticate"].startswith("Basic")


def test_a_change_without_a_configured_token_is_for_this_machine_only() -> None:
    """DELETE and reload are never open to others."""
    access().check_change(headers())

    with pytest.raises(Forbidden):
        access().check_change(headers(x_forwarded_for="1.2.3.4"))
    with pytest.raises(Forbidden):
        access("0.0.0.0:10011").check_change(headers())


def test_a_change_with_the_token_is_open_from_anywhere() -> None:
    """Who has the token need not be local."""
    access("0.0.0.0:10011", api=(b"secret",)).check_change(TOKEN)
