"""Who may call what: tokens where they are configured, else only callers that are certainly on this machine."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from wawp_exporter.config import Settings
from wawp_exporter.errors import Forbidden, Malformed, Unauthenticated
from wawp_exporter.signature import presented_token, token_matches
from wawp_exporter.values import is_loopback, split_listen

CHALLENGE = [("WWW-Authenticate", 'Basic realm="wawp-exporter"')]

# What proxies, balancers, tunnels and CDNs add to a request: a word of a header's name, or what it begins with. Headers
# that programs on this machine send as well, such as X-Request-Id, are not among them.
PROXY_WORDS = (
    rb"forward|forwards|forwarded|forwarder|imforwards|proxy|proxied|proxyuser|via|cdn|edge|remote|original|originating|"
    rb"ip|clientip|realip|remoteip|sourceip|xff|tunnel|haproxy|nginx|traefik|varnish|squid|ngrok|istio|kong|cloudfront|"
    rb"akamai|surrogate"
)
PROXY_STARTS = (
    rb"cf-|fly-|fastly-|incap-|l5d-|tailscale-|wl-|x-real-|x-envoy-|x-amzn-|x-amz-cf-|x-alb-|x-azure-|x-arr-|x-ms-client-|"
    rb"x-appengine-|x-goog-|x-cloud-trace-|x-nf-|x-vercel-|x-render-|x-sucuri-|x-ssl-|ssl-client-|client-cert|x-tls-|"
    rb"x-auth-request-|x-webauth-|x-authentik-|x-pomerium-|x-rewrite-|front-end-https|x-https|x-scheme|x-url-scheme|"
    rb"x-host|x-port|x-request-start|x-queue-start|early-data"
)
PROXIED = re.compile(rb"(?:.*-)?(?:%s)(?:-|\Z)|%s" % (PROXY_WORDS, PROXY_STARTS))
# A loopback address as it is written, or `localhost`, and a port: nothing before, between or after them.
LOOPBACK = rb"(?:localhost|(127(?:\.\d{1,3}){3})|\[([0-9a-f:]{2,39})\])(?::\d{1,5})?"
HOST = re.compile(rb"(?i:%s)|::1" % LOOPBACK)
ORIGIN = re.compile(rb"(?i:https?://%s)" % LOOPBACK)
REFERER = re.compile(rb"(?i:https?://%s)(?:[/?#].*)?" % LOOPBACK)
OWN_SITE = (b"same-origin", b"none")  # of Sec-Fetch-Site: our own page, or an address that somebody typed

Headers = Mapping[bytes, bytes]


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the connection has it: the address at its other end ("" if unknown), and the request's HTTP version.

    `lines` are all header lines, names in lower case, in their order; in `headers` the last of equal names stands.
    """

    peer: str
    version: str
    lines: Sequence[tuple[bytes, bytes]]
    headers: Headers

    def check_host(self) -> None:
        """Raises Malformed if there are several Host headers: each reader would believe another one (RFC 9112, 3.2)."""
        if len(self.lines) != len(self.headers) and len(self.all(b"host")) > 1:
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
    if caller.version != "1.1" or not is_loopback(caller.peer):
        return False
    if any(PROXIED.match(name.replace(b"_", b"-")) for name, _ in caller.lines):
        return False
    hosts = caller.all(b"host")
    return len(hosts) == 1 and is_loopback_in(HOST, hosts[0]) and not is_from_elsewhere(caller)


def is_from_elsewhere(caller: Caller) -> bool:
    """Whether a browser says that a page which is not of this machine, or of none that it names, made the request."""
    return not (
        all(is_loopback_in(ORIGIN, value) for value in caller.all(b"origin"))
        and all(is_loopback_in(REFERER, value) for value in caller.all(b"referer"))
        and all(value in OWN_SITE for value in caller.all(b"sec-fetch-site"))
    )


def is_loopback_in(form: re.Pattern[bytes], value: bytes) -> bool:
    """Whether a header's value has this form, and the address in it, where it is none by name, is loopback."""
    found = form.fullmatch(value)
    if found is None:
        return False
    address = found[1] or found[2]
    return address is None or is_loopback(address.decode())


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

    def check(self, tokens: tuple[bytes, ...], caller: Caller) -> None:
        """Bearer or Basic, if tokens are configured; raises Unauthenticated."""
        if tokens and not token_matches(tokens, presented_token(caller.headers.get(b"authorization"))):
            raise Unauthenticated("a token is required: Authorization: Bearer … or Basic", "bad_token", CHALLENGE)

    def check_nothing(self, caller: Caller) -> None:
        """What a probe asks."""

    def check_metrics(self, caller: Caller) -> None:
        """Reading `/metrics`."""
        self.check(self.settings.secrets.metrics_tokens, caller)

    def check_read(self, caller: Caller) -> None:
        """Reading pages and the API."""
        self.check(self.settings.secrets.api_tokens, caller)

    def check_remedy(self, caller: Caller) -> None:
        """Alertmanager's notifications: their own token, or a caller from this very machine."""
        self.check_proven(self.settings.secrets.remedy_tokens, caller, "remedy.token_file")
        self.check_site(caller)

    def check_qr(self, caller: Caller) -> None:
        """The QR code: never without a token, unless from this very machine."""
        self.check_proven(self.settings.secrets.api_tokens, caller, "web.api_token_file")

    def check_change(self, caller: Caller) -> None:
        """Changing something: the same, and from no page of another site."""
        self.check_proven(self.settings.secrets.api_tokens, caller, "web.api_token_file")
        self.check_site(caller)

    def check_proven(self, tokens: tuple[bytes, ...], caller: Caller, key: str) -> None:
        """A token, or while none is configured a caller from this machine; raises Unauthenticated, Forbidden."""
        self.check(tokens, caller)
        if not tokens and not self.local(caller):
            raise Forbidden(f"this call needs {key}, or a request from this machine to a loopback listener")

    def check_site(self, caller: Caller) -> None:
        """A browser sends the password of HTTP Basic by itself, whichever page asks for it; raises Forbidden."""
        basic = caller.headers.get(b"authorization", b"").lower().startswith(b"basic")
        if basic and is_from_another_site(caller, self.settings.config.web.external_url):
            raise Forbidden("this call came from a page of another site, expected one of web.external_url")
