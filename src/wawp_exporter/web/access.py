"""Who may call what: tokens where they are configured, else only callers that are certainly on this machine."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from wawp_exporter.config.settings import Settings
from wawp_exporter.config.values import is_loopback, split_listen
from wawp_exporter.errors import Forbidden, Malformed, Unauthenticated
from wawp_exporter.web.signature import presented_token, token_matches

REALM = "wawp-exporter"
RESTARTS = "wawp-exporter restarts"  # a realm of its own: a browser keeps this token beside that of the pages

# Words in the names of headers that proxies, balancers, tunnels and CDNs add. Headers that programs on this machine
# send as well, such as X-Request-Id, hold none of them.
PROXY_WORDS = frozenset(
    b"forward forwards forwarded forwarder imforwards proxy proxied proxyuser via cdn edge remote original originating "
    b"ip clientip realip remoteip sourceip xff real tunnel rewrite scheme https ssl tls cert early queue start alb arr "
    b"akamai amzn appengine authentik azure cf cloud cloudfront envoy fastly fly goog haproxy incap istio kong l5d ms "
    b"nf nginx ngrok pomerium render squid sucuri surrogate tailscale traefik varnish vercel webauth wl "
    b"xforwardedfor xrealip backend balancer lb upstream".split()
)
WORDS = re.compile(rb"[^-_,\s]+")
# A loopback address as it is written, or `localhost`, and a port: nothing before, between or after them.
OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
LOOPBACK = rb"(?:localhost|127(?:\.%s){3}|\[::1\])(?::[0-9]{1,5})?" % OCTET
HOST = re.compile(rb"(?i:%s)|::1" % LOOPBACK)
ORIGIN = re.compile(rb"(?i:https?://%s)" % LOOPBACK)
REFERER = re.compile(rb"(?i:https?://%s)(?:[/?#].*)?" % LOOPBACK)
OWN_SITE = (b"same-origin", b"none")  # of Sec-Fetch-Site: our own page, or an address that somebody typed

Headers = Mapping[bytes, bytes]


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, as the connection has it: the address at its other end ("" if unknown), and the request's HTTP version.

    `lines` are all header lines, names in lower case, in their order; in `headers` the last of equal names stands.
    """

    peer: str
    version: str
    lines: Sequence[tuple[bytes, bytes]]
    headers: Headers

    def check_host(self) -> None:
        """Raises Malformed unless there is one Host header: of several each reader would believe another one.

        Only HTTP/1.0 may be without (RFC 9112, 3.2).
        """
        if b"host" not in self.headers:
            if self.version == "1.1":
                raise Malformed("the header Host is missing, expected it once")
        elif len(self.lines) != len(self.headers) and len(self.all(b"host")) > 1:
            raise Malformed("the header Host was sent more than once, expected it once")

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        return [value for given, value in self.lines if given == name]


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of an ASGI request."""
    peer, _ = scope["client"] or ("", 0)
    return Caller(peer, scope["http_version"], scope["headers"], dict(scope["headers"]))


def is_local(caller: Caller) -> bool:
    """Whether a request on a loopback listener certainly comes from this machine, and from no foreign web page.

    HTTP/1.0 is what many proxies speak to the servers behind them, and programs on this machine do not.
    """
    if caller.version != "1.1" or not (caller.peer.startswith("127.") or caller.peer == "::1"):
        return False
    # Connection names headers too: those that a proxy was to take out.
    names = b"-".join((*caller.headers, *caller.all(b"connection"))).lower()
    if not PROXY_WORDS.isdisjoint(WORDS.findall(names)):
        return False
    hosts = caller.all(b"host")
    return len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None and not is_from_elsewhere(caller)


def is_from_elsewhere(caller: Caller) -> bool:
    """Whether a browser says that a page which is not of this machine, or of none that it names, made the request."""
    return any(
        (name == b"origin" and not ORIGIN.fullmatch(value))
        or (name == b"referer" and not REFERER.fullmatch(value))
        or (name == b"sec-fetch-site" and value not in OWN_SITE)
        for name, value in caller.lines
    )


def is_from_another_site(caller: Caller, own: str | None) -> bool:
    """Whether a browser says that a page made the request which is not of the host that is asked, nor of `own`."""
    sites = caller.all(b"sec-fetch-site")
    if sites:
        return not all(site in OWN_SITE for site in sites)
    ours = {scheme + host for host in caller.all(b"host") for scheme in (b"http://", b"https://")}
    return not ours.union({origin_of(own)} if own else ()).issuperset(caller.all(b"origin"))


def origin_of(url: str) -> bytes:
    """What browsers send as Origin from a page of this address."""
    parts = urlsplit(url.lower())
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}".encode()


class Access:
    """The rules of one listener; `loopback` says that it is bound to loopback."""

    def __init__(self, settings: Settings, listen: str) -> None:
        self.settings = settings
        self.loopback = is_loopback(split_listen(listen)[0])

    def local(self, caller: Caller) -> bool:
        """Whether the caller may do without a token where none is configured."""
        return self.loopback and is_local(caller)

    def check(self, tokens: tuple[bytes, ...], caller: Caller, realm: str = REALM) -> None:
        """Bearer or Basic, if tokens are configured; raises Unauthenticated."""
        if tokens and not token_matches(tokens, presented_token(caller.headers.get(b"authorization"))):
            challenge = [("WWW-Authenticate", f'Basic realm="{realm}"')]
            raise Unauthenticated("a token is required: Authorization: Bearer … or Basic", "bad_token", challenge)

    def check_nothing(self, caller: Caller) -> None:
        """Anybody may call it: probes have no token."""

    def check_metrics(self, caller: Caller) -> None:
        """Reading `/metrics`."""
        self.check(self.settings.secrets.metrics_tokens, caller)

    def check_read(self, caller: Caller) -> None:
        """Reading pages and the API."""
        self.check(self.settings.secrets.api_tokens, caller)

    def check_remedy(self, caller: Caller) -> None:
        """Restarts: their own token, or a caller from this very machine, and no page of another site."""
        self.check_proven(self.settings.secrets.remedy_tokens, caller, "remedy.token_file", RESTARTS)
        self.check_site(caller)

    def check_qr(self, caller: Caller) -> None:
        """The QR code: never without a token, unless from this very machine."""
        self.check_proven(self.settings.secrets.api_tokens, caller, "web.api_token_file")

    def check_change(self, caller: Caller) -> None:
        """Changing something: the same, and from no page of another site."""
        self.check_proven(self.settings.secrets.api_tokens, caller, "web.api_token_file")
        self.check_site(caller)

    def may_restart(self, caller: Caller) -> bool:
        """Whether the caller could pass `check_remedy`, with the token if there is one."""
        return bool(self.settings.secrets.remedy_tokens) or self.local(caller)

    def check_proven(self, tokens: tuple[bytes, ...], caller: Caller, key: str, realm: str = REALM) -> None:
        """A token, or while none is configured a caller from this machine; raises Unauthenticated, Forbidden."""
        self.check(tokens, caller, realm)
        if not tokens and not self.local(caller):
            raise Forbidden(f"this call needs {key}, or a request from this machine to a loopback listener")

    def check_site(self, caller: Caller) -> None:
        """A browser sends the password of HTTP Basic by itself, whichever page asks for it; raises Forbidden."""
        basic = caller.headers.get(b"authorization", b"").lower().startswith(b"basic")
        if basic and is_from_another_site(caller, self.settings.config.web.external_url):
            raise Forbidden("this call came from a page of another site, expected one of web.external_url")
