"""Who may call what: tokens where they are configured, else only callers that are certainly on this machine."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from wawp_exporter.config import Settings, is_loopback, split_listen
from wawp_exporter.errors import Forbidden, Unauthenticated
from wawp_exporter.signature import presented_token, token_matches

# A proxy makes everybody look like loopback, and these are what proxies add.
PROXY_HEADERS = (b"forwarded", b"via", b"x-real-ip")
CHALLENGE = [("WWW-Authenticate", 'Basic realm="wawp-exporter"')]

Headers = Mapping[bytes, bytes]


def is_local(headers: Headers) -> bool:
    """Whether a request on a loopback listener certainly comes from this machine, and from no foreign web page."""
    if any(name in headers for name in PROXY_HEADERS) or any(name.startswith(b"x-forwarded-") for name in headers):
        return False
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(host_name(host)):
        return False
    origin = headers.get(b"origin")
    return origin is None or is_loopback(origin_name(origin.decode("latin-1")))


def origin_name(origin: str) -> str:
    """The host of an Origin header; of a broken one nothing, which is not local."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def host_name(host: str) -> str:
    """The name in a Host header, its port dropped."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


class Access:
    """The rules of one listener; `loopback` says that it is bound to loopback."""

    def __init__(self, settings: Settings, listen: str) -> None:
        self.settings = settings
        self.loopback = is_loopback(split_listen(listen)[0])

    def local(self, headers: Headers) -> bool:
        """Whether the caller may do without a token where none is configured."""
        return self.loopback and is_local(headers)

    def check(self, tokens: tuple[bytes, ...], headers: Headers) -> None:
        """Bearer or Basic, if tokens are configured; raises Unauthenticated."""
        if tokens and not token_matches(tokens, presented_token(headers.get(b"authorization"))):
            raise Unauthenticated("a token is required: Authorization: Bearer … or Basic", "bad_token", CHALLENGE)

    def check_nothing(self, headers: Headers) -> None:
        """What a probe asks."""

    def check_metrics(self, headers: Headers) -> None:
        """Reading `/metrics`."""
        self.check(self.settings.secrets.metrics_tokens, headers)

    def check_read(self, headers: Headers) -> None:
        """Reading pages and the API."""
        self.check(self.settings.secrets.api_tokens, headers)

    def check_remedy(self, headers: Headers) -> None:
        """Alertmanager's notifications: their own token, or a caller from this very machine."""
        tokens = self.settings.secrets.remedy_tokens
        self.check(tokens, headers)
        if not tokens and not self.local(headers):
            raise Forbidden("this call needs remedy.token_file, or a request from this machine to a loopback listener")

    def check_change(self, headers: Headers) -> None:
        """Changing something: never without a token, unless from this very machine."""
        tokens = self.settings.secrets.api_tokens
        self.check(tokens, headers)
        if not tokens and not self.local(headers):
            raise Forbidden("this call needs web.api_token_file, or a request from this machine to a loopback listener")
