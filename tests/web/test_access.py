"""Who may call what."""

import json
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from tests import parts
from tests.builders import config
from wawp_exporter.config.settings import Secrets, Settings
from wawp_exporter.errors import Forbidden, Malformed, Unauthenticated
from wawp_exporter.web.access import Access, Caller, caller_of, is_local

Start = Callable[..., parts.Exporter]

ADDED_BY_PROXIES = """
Forwarded Via X-Real-IP X-Forwarded-For X-Forwarded-Proto X-Forwarded-X X-Forwarded Forwarded-For X_Forwarded_For
X-Forwarded-Client-Cert X-Forwarded-Host X-Forwarded-Port X-Forwarded-Server X-Forward-For X-Original-Forwarded-For
CF-Connecting-IP CF-Connecting-IPv6 CF-Ray CF-IPCountry CF-Visitor CDN-Loop True-Client-IP X-Client-IP Client-IP
X-Cluster-Client-IP X-Envoy-External-Address X-Envoy-Peer-Metadata X-Envoy-Expected-Rq-Timeout-Ms Fastly-Client-IP
Fastly-SSL Fly-Client-IP Fly-Region X-Original-Host X-Original-URL X-Original-For X-Originating-IP X-ProxyUser-Ip
X-Amzn-Trace-Id X-Amz-Cf-Id CloudFront-Viewer-Address X-Azure-ClientIP X-Azure-Ref X-ARR-LOG-ID X-ARR-SSL
X-AppEngine-User-IP X-Cloud-Trace-Context X-Request-Start X-Queue-Start X-Remote-IP X-Remote-Addr Remote-Addr
Remote-User WL-Proxy-Client-IP Proxy-Client-IP Proxy-Connection Max-Forwards X-Imforwards X-Akamai-Edgescape
Akamai-Origin-Hop X-Varnish X-Nginx-Proxy X-Traefik-Router Ali-CDN-Real-IP DO-Connecting-IP
X-NF-Client-Connection-IP X-Vercel-Id X-Scheme X-Url-Scheme Front-End-Https X-Rewrite-URL Tailscale-User-Login
X-MS-Client-Principal Surrogate-Capability Early-Data Client-Cert SSL-Client-Verify Incap-Client-IP X-Real-Port
XForwardedFor X-Backend-Host X-LB X-Upstream-Addr X-Load-Balancer
"""
SENT_BY_PROGRAMS = """
User-Agent Accept Accept-Encoding Authorization Content-Type Content-Length Transfer-Encoding Connection Cookie
Expect X-Webhook-Hmac X-Webhook-Hmac-Algorithm X-Webhook-Request-Id X-Webhook-Timestamp X-Api-Key X-Request-Id
X-Requested-With X-Correlation-Id Traceparent Tracestate X-B3-TraceId Upgrade-Insecure-Requests Sec-CH-UA
Sec-Fetch-Mode Sec-Fetch-Dest Sec-GPC DNT Priority Pragma Cache-Control X-Wawp-Live Last-Event-ID
X-Prometheus-Scrape-Timeout-Seconds X-Instance-ID
"""


def raw(exporter: parts.Exporter, data: bytes) -> bytes:
    """All that is answered to these bytes, until the connection is closed."""
    with closing(socket.create_connection(("127.0.0.1", exporter.port))) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def caller(*lines: tuple[str, str], peer: str = "127.0.0.1", version: str = "1.1") -> Caller:
    """Who sends these header lines."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    return caller_of({"client": (peer, 50_000), "http_version": version, "headers": raw})


def headers(peer: str = "127.0.0.1", version: str = "1.1", **more: str) -> Caller:
    """A request to this very machine; `more` are headers beside Host or instead of it, `_` standing for `-`."""
    given = {"host": "127.0.0.1:10011"} | {name.replace("_", "-"): value for name, value in more.items()}
    return caller(*given.items(), peer=peer, version=version)


NOBODY = caller()
TOKEN = caller(("authorization", "Bearer secret"), peer="192.0.2.1")


def access(listen: str = "127.0.0.1:10011", metrics: tuple[bytes, ...] = (), api: tuple[bytes, ...] = ()) -> Access:
    """The rules of a listener, with these tokens configured."""
    return Access(Settings(config(), Secrets(metrics_tokens=metrics, api_tokens=api)), listen)


def test_each_line_of_connection_is_looked_at() -> None:
    """It may be sent more than once, and the last one names nothing."""
    lines = [("host", "localhost"), ("connection", "X-Forwarded-For"), ("connection", "close")]

    assert not is_local(caller(*lines))
    assert is_local(caller(*lines[::2]))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:10011", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:1", "::1"]
)
def test_a_request_to_a_loopback_name_is_local(host: str) -> None:
    """Every way to name this machine is local."""
    assert is_local(headers(host=host))


ELSEWHERE = [
    "",
    "example.org",
    "10.0.0.1:10011",
    "127.0.0.1.evil.org",
    "localhost.evil.org",
    "[",
    "localhost.",
    "localhost:",
    "localhost:evil.org",
    "localhost:80:80",
    "localhost:80@evil.org",
    "127.0.0.1:80@evil.org",
    "127.0.0.1:+80",
    "127.0.0.1:\uff18\uff10",
    "127.0.0.1 ",
    "127.0.0.1,evil.org",
    "127.0.0.1/evil.org",
    "127.0.0.1%00.evil.org",
    "127.0.0.256",
    "127.0.0.01",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0.0.0.0",
    "[::1]evil.org",
    "[::1].evil.org",
    "[::1]:evil.org",
    "[::1%25eth0]",
    "[::]",
    "[::2]",
    "::1:80",
    "::1]",
    "evil.org@localhost",
    "user@127.0.0.1",
    "localhost\\evil.org",
    "localho\u017ft",
]


@pytest.mark.parametrize("host", [name.encode().decode("latin-1") for name in ELSEWHERE])
def test_a_request_to_another_name_is_not_local(host: str) -> None:
    """A name that an attacker points at loopback (DNS rebinding) does not pass, nor does none."""
    assert not is_local(headers(host=host))


def test_a_request_without_a_host_is_not_local() -> None:
    """HTTP/1.0 clients may leave it out; nothing is known of them then."""
    assert not is_local(NOBODY)


def test_only_http_1_0_may_leave_out_the_host() -> None:
    """RFC 9112, 3.2: such a request of HTTP/1.1 is answered 400. All HTTP clients send it."""
    caller(version="1.0").check_host()
    caller(("host", "")).check_host()
    with pytest.raises(Malformed, match="Host is missing, expected it once"):
        caller(version="1.1").check_host()


@pytest.mark.parametrize("hosts", [("localhost", "evil.org"), ("evil.org", "localhost"), ("localhost", "localhost")])
def test_a_request_with_several_hosts_is_refused(hosts: tuple[str, str]) -> None:
    """A proxy may believe one of them and we another; none is local, and the request is answered 400."""
    asking = caller(*(("host", host) for host in hosts))

    assert not is_local(asking)
    with pytest.raises(Malformed, match="Host was sent more than once"):
        asking.check_host()


def test_other_headers_may_come_more_than_once() -> None:
    """Only Host decides where a request goes."""
    caller(("host", "localhost"), ("accept", "a"), ("accept", "b")).check_host()


@pytest.mark.parametrize("version", ["1.0", "0.9", "2", ""])
def test_another_version_of_http_is_not_local(version: str) -> None:
    """A plain `proxy_pass` speaks HTTP/1.0, sends the Host of this machine, and adds no header at all."""
    assert not is_local(headers(version=version))


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "10.0.0.1", "169.254.1.1", "fe80::1%eth0", "", "unix"])
def test_who_connects_from_another_address_is_not_local(peer: str) -> None:
    """Rules of a firewall can lead strangers to a loopback listener; their address stays theirs."""
    assert not is_local(headers(peer=peer))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1"])
def test_who_connects_from_loopback_is_local(peer: str) -> None:
    """All of 127.0.0.0/8."""
    assert is_local(headers(peer=peer))


@pytest.mark.parametrize(
    "name",
    ADDED_BY_PROXIES.split(),
)
def test_a_proxied_request_is_not_local(name: str) -> None:
    """A proxy on this machine makes the whole world look like loopback."""
    assert not is_local(caller(("host", "localhost"), (name.lower(), "127.0.0.1")))


@pytest.mark.parametrize("value", ["X-Forwarded-For", "close, x-forwarded-for", "keep-alive,CF-Connecting-IP"])
def test_who_asks_a_proxy_to_hide_is_not_local(value: str) -> None:
    """Some proxies take out what Connection names, their own headers as well."""
    assert not is_local(headers(connection=value))


@pytest.mark.parametrize("value", ["close", "keep-alive", "Keep-Alive, TE", "Upgrade, HTTP2-Settings"])
def test_what_programs_say_of_their_connection_is_local(value: str) -> None:
    """Java's client and curl ask for HTTP/2."""
    assert is_local(headers(connection=value))


@pytest.mark.parametrize(
    "name",
    SENT_BY_PROGRAMS.split(),
)
def test_what_programs_on_this_machine_send_is_local(name: str) -> None:
    """Gateways, Prometheus, Alertmanager, curl and browsers; none of this is added by a proxy alone."""
    assert is_local(caller(("host", "localhost"), (name.lower(), "x")))


@pytest.mark.parametrize(
    ("origin", "local"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:10011", True),
        ("https://evil.org", False),
        ("null", False),
        ("", False),
        ("http://localhost.evil.org", False),
        ("http://localhost:3000.evil.org", False),
        ("http://evil.org\\@localhost", False),
        ("http://evil.org@localhost", False),
        ("http://localhost\\@evil.org", False),
        ("http://localhost@evil.org", False),
        ("http://evil.org/@localhost", False),
        ("http://evil.org#localhost", False),
        ("http://[::1]evil.org", False),
        ("http://localhost, https://evil.org", False),
        ("http://localhost ", False),
        ("//localhost", False),
        ("localhost", False),
        ("file://localhost", False),
        ("file://", False),
        ("chrome-extension://localhost", False),
        ("javascript://localhost", False),
        ("ftp://127.0.0.1", False),
        ("http:localhost", False),
        ("http:///localhost", False),
    ],
)
def test_a_foreign_page_is_not_local(origin: str, local: bool) -> None:
    """A browser tells which page a request comes from; only pages of this machine are at home."""
    assert is_local(headers(origin=origin)) is local


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "//]", "http://\xff"])
def test_a_broken_origin_is_not_local(origin: str) -> None:
    """What cannot be parsed is not trusted, and is no error either."""
    assert not is_local(headers(origin=origin))


def test_each_of_several_origins_counts() -> None:
    """A dict would keep the last one."""
    evil, here = ("origin", "https://evil.org"), ("origin", "http://localhost")

    assert not is_local(caller(("host", "localhost"), evil, here))
    assert not is_local(caller(("host", "localhost"), here, evil))


@pytest.mark.parametrize(
    ("site", "local"),
    [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("", False), ("x", False)],
)
def test_a_browser_says_whether_the_page_was_ours(site: str, local: bool) -> None:
    """An image of a foreign page has no Origin; `none` is an address that somebody typed."""
    assert is_local(headers(sec_fetch_site=site)) is local


@pytest.mark.parametrize(
    ("referer", "local"),
    [
        ("http://127.0.0.1:10011/sessions/default/a?x=http://evil.org", True),
        ("http://localhost", True),
        ("https://evil.org/", False),
        ("http://localhost.evil.org/", False),
        ("http://evil.org/http://localhost/", False),
        ("http://localhost\\@evil.org/", False),
        ("about:client", False),
    ],
)
def test_a_link_of_a_foreign_page_is_not_local(referer: str, local: bool) -> None:
    """Old browsers send nothing else."""
    assert is_local(headers(referer=referer)) is local


def test_only_a_loopback_listener_has_local_callers() -> None:
    """On a listener that others can reach, headers prove nothing."""
    assert access("127.0.0.1:10011").local(headers())
    assert not access("0.0.0.0:10011").local(headers())
    assert not access(":10011").local(headers())


def test_metrics_and_pages_are_open_while_no_token_is_configured() -> None:
    """Reading needs a token only where the operator asks for one."""
    rules = access("0.0.0.0:10011")

    rules.check_metrics(NOBODY)
    rules.check_read(NOBODY)


def test_each_token_opens_its_own_door() -> None:
    """The token of `/metrics` does not open the API, nor the other way round."""
    rules = access(metrics=(b"secret",), api=(b"other",))

    rules.check_metrics(TOKEN)
    with pytest.raises(Unauthenticated):
        rules.check_read(TOKEN)
    with pytest.raises(Unauthenticated):
        rules.check_metrics(headers(authorization="Bearer other"))


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


BASIC = {"host": "wawp.lan:10011", "authorization": "Basic OnNlY3JldA=="}


def browser(rules: Access, **more: str) -> bool:
    """Whether a browser that knows the password may change something."""
    asking = headers(peer="192.0.2.1", **(BASIC | more))
    rules.check_read(asking)
    rules.check_qr(asking)
    try:
        rules.check_change(asking)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-origin", "origin": "https://behind.a.proxy"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"origin": "http://wawp.lan:10011"}, True),
        ({"origin": "https://wawp.lan:10011"}, True),
        ({"origin": "https://wawp.example"}, True),
        ({"origin": "http://wawp.example"}, False),
        ({"origin": "https://evil.org"}, False),
        ({"origin": "http://wawp.lan:10011.evil.org"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "https://evil.org", "authorization": "Bearer secret"}, True),
    ],
)
@pytest.mark.parametrize("url", ["https://wawp.example", "https://WAWP.example:443/pages"])
def test_a_foreign_page_does_not_use_the_browsers_password(url: str, more: dict[str, str], allowed: bool) -> None:
    """A browser sends HTTP Basic by itself; a bearer token it does not, so whoever sends one knows it."""
    settings = Settings(config(web={"external_url": url}), Secrets(api_tokens=(b"secret",)))

    assert browser(Access(settings, "0.0.0.0:10011"), **more) is allowed


def test_a_stranger_behind_a_proxy_deletes_nothing(exporter: Start) -> None:
    """Over real sockets: HTTP/1.0 as a plain nginx speaks it, two Hosts, and what this machine may do."""
    running = exporter({})
    running.post(parts.envelope(session="a"))

    def delete(version: str, *lines: str) -> bytes:
        head = "\r\n".join([f"DELETE /api/v1/sessions/default/a HTTP/{version}", *lines, "Connection: close", "", ""])
        return raw(running, head.encode())

    assert delete("1.0", f"Host: 127.0.0.1:{running.port}").startswith(b"HTTP/1.1 403 ")
    assert delete("1.0").startswith(b"HTTP/1.1 403 ")
    assert delete("1.1").startswith(b"HTTP/1.1 400 ")
    assert delete("1.1", "Host: localhost", "CF-Connecting-IP: 192.0.2.1").startswith(b"HTTP/1.1 403 ")
    assert delete("1.1", "Host: localhost", "Host: evil.org").startswith(b"HTTP/1.1 400 ")
    assert delete("1.1", "Host: evil.org", "Host: localhost").startswith(b"HTTP/1.1 400 ")
    assert delete("1.1", "Host: localhost").startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"], ids=["short", "long"])
def test_a_stranger_behind_a_proxy_sends_no_unsigned_webhook(exporter: Start, more: str) -> None:
    """The same on both ways of a webhook."""
    running = exporter({})
    body = json.dumps(parts.envelope(session="a")).encode()

    def post(version: str, *lines: str) -> bytes:
        head = "\r\n".join([f"POST /webhook HTTP/{version}", *lines, f"Content-Length: {len(body)}"])
        return raw(running, f"{head}\r\n{more}Connection: close\r\n\r\n".encode() + body)

    assert b" 401 Unauthorized\r\n" in post("1.0", f"Host: 127.0.0.1:{running.port}")
    assert b" 401 Unauthorized\r\n" in post("1.1", "Host: localhost", "True-Client-IP: 192.0.2.1")
    assert b" 400 Bad Request\r\n" in post("1.1")
    assert b" 400 Bad Request\r\n" in post("1.1", "Host: localhost", "Host: evil.org")
    assert b" 400 Bad Request\r\n" in post("1.1", "Host: evil.org", "Host: localhost")
    assert b" 200 OK\r\n" in post("1.1", "Host: localhost")
