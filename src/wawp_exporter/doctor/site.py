"""An HTTP service of the chain: asked within limits; whatever goes wrong is `Unusable`, with advice."""

import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from wawp_exporter.errors import WawpExporterError

TIMEOUT_S = 5.0
MAX_BYTES = 128 << 20  # of an answer
PIECE_BYTES = 1 << 16
# A part of the message of an error → what is wrong, what to do. The first that fits stands.
CAUSES = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted here: {error}",
     "If it is right, say whose certificates are to be trusted:  SSL_CERT_FILE=/path/to/ca.pem wawp-exporter …"),
    ("SSL", "it does not speak TLS as expected",
     "Does it speak plain HTTP?  Try http:// instead of https://"),
    ("Connection refused", "nobody listens there",
     "Is it running, and is this its port?  See what listens here:  ss -ltnp"),
    ("Name or service not known", "the host is unknown here", "Check the host's name: is it known only to containers?"),
    ("name resolution", "the host is unknown here", "Check the host's name, and the DNS of this machine"),
    ("nodename nor servname", "the host is unknown here", "Check the host's name"),
    ("No address associated", "the host is unknown here", "Check the host's name"),
    ("unreachable", "there is no way to that host", "Check the address, and the network between"),
    ("disconnected without", "it closed the connection without an answer",
     "Is this its port?  Does it expect https:// instead of http://?"),
)  # fmt: skip


class Unusable(WawpExporterError):
    """A service did not give what was asked for; `advice` says what to do. `status` is the HTTP status, if any."""

    def __init__(self, message: str, *advice: str, status: int | None = None) -> None:
        super().__init__(message)
        self.advice = advice
        self.status = status


class Site:
    """One service at a base URL. `name` is what people call it, `login` what to do where it asks who we are.

    A user and password in the URL are sent as HTTP Basic and never shown. To be used as a context manager.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        login: str = "",
        token: str | None = None,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        parts = urlsplit(url)
        self.url = shown(parts)
        self.login = login or f"Give user and password:  {parts.scheme}://USER:PASSWORD@{parts.netloc.split('@')[-1]}"
        self._client = httpx.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,  # no proxy: it knows neither this machine nor what is behind it
            verify=(trusted or usual()) if parts.scheme == "https" else False,
            auth=credentials(url),
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})},
        )

    def __enter__(self) -> Self:
        """To be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes its connections."""
        self._client.close()

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Whatever is answered, redirects and errors too. Raises Unusable if nothing is."""
        return self._ask("GET", path, params=parameters)

    def text(self, path: str, **parameters: Any) -> str:
        """The text of a good answer. Raises Unusable."""
        return self._good(self.get(path, **parameters)).text

    def json(self, path: str, **parameters: Any) -> Any:
        """The JSON of a good answer. Raises Unusable."""
        return self._parsed(self.get(path, **parameters))

    def form(self, path: str, **fields: Any) -> Any:
        """The JSON of the answer to a form: a question that is too long for a URL. Raises Unusable."""
        return self._parsed(self._ask("POST", path, data=fields))

    def send(self, path: str, content: object) -> None:
        """Sends JSON. Raises Unusable unless it is accepted."""
        self._good(self._ask("POST", path, json=content))

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        end = time.monotonic() + TIMEOUT_S
        try:
            with self._client.stream(method, self.url + path, **request) as answer:
                body = bytearray()
                for piece in answer.iter_bytes(PIECE_BYTES):
                    body += piece
                    if time.monotonic() > end or len(body) > MAX_BYTES:
                        raise Unusable(
                            f"{self.url} sends its answer too slowly, or without end", "Is this its address?"
                        )
        except httpx.TimeoutException:
            advice = "Does a firewall drop the packets, or is it overloaded?"
            raise Unusable(f"{self.url} has not answered within {TIMEOUT_S:g} s", advice) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as error:
            raise self._unreachable(error) from None
        return httpx.Response(answer.status_code, headers=plain(answer.headers), content=bytes(body))

    def _unreachable(self, error: Exception) -> Unusable:
        text = str(error)
        for mark, says, advice in CAUSES:
            if mark in text:
                return Unusable(f"{self.url} cannot be reached: {says.format(error=reason_of(text))}", advice)
        says = f"{self.url} gives no answer that is HTTP ({type(error).__name__})"
        return Unusable(says, f"Is this the port of {self.name}?  Does it expect https:// instead of http://?")

    def _good(self, answer: httpx.Response) -> httpx.Response:
        status = answer.status_code
        if answer.has_redirect_location:
            target = shown(urlsplit(answer.headers["location"]))
            raise Unusable(f"{self.url} redirects to {target}", "Give the address to which it redirects", status=status)
        if status in (401, 403):
            raise Unusable(f"{self.url} asks who we are (HTTP {status})", self.login, status=status)
        if status == 400 and "HTTPS server" in answer.text:
            raise Unusable(f"{self.url} expects TLS", "Give its address with https://", status=status)
        if status >= 400:
            advice = f"Is this the address of {self.name}, with its path prefix if it has one?"
            raise Unusable(f"{self.url} answers HTTP {status}{told(answer)}", advice, status=status)
        return answer

    def _parsed(self, answer: httpx.Response) -> Any:
        try:
            return json.loads(self._good(answer).text)
        except ValueError:
            kind = "a web page" if "html" in answer.headers.get("content-type", "") else "something that is not JSON"
            advice = f"Is this the address of {self.name}, or does a login page or another service stand there?"
            raise Unusable(f"{self.url} answers with {kind}, not as {self.name} does", advice) from None


def usual() -> ssl.SSLContext:
    """Trusts what SSL_CERT_FILE and SSL_CERT_DIR say, else the usual authorities."""
    try:
        return httpx.create_ssl_context()
    except OSError:  # the variable names no such file: then nothing is trusted, which is said where it matters
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def credentials(url: str) -> tuple[str, str] | None:
    """User and password of a URL, if it has them."""
    parsed = httpx.URL(url)
    return (parsed.username, parsed.password) if parsed.userinfo else None


def plain(headers: httpx.Headers) -> Mapping[str, str]:
    """The headers that say what an answer is."""
    return {name: headers[name] for name in ("content-type", "location") if name in headers}


def shown(parts: SplitResult) -> str:
    """A URL without user, password and query, and without a slash at its end."""
    return parts._replace(netloc=parts.netloc.split("@")[-1], query="", fragment="").geturl().rstrip("/")


def reason_of(text: str) -> str:
    """What OpenSSL says of a certificate, between `certificate verify failed: ` and ` (_ssl.c:1006)`."""
    return text.partition("verify failed: ")[2].rpartition(" (_ssl")[0] or "it cannot be verified"


def told(answer: httpx.Response) -> str:
    """The error that an answer in JSON gives."""
    try:
        error = json.loads(answer.text).get("error")
    except (ValueError, AttributeError):
        return ""
    return f": {error}" if isinstance(error, str) else ""
