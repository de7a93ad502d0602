"""What an empty fleet page says: how to send the first webhook here, with this exporter's own addresses."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import URL

from wawp_exporter.config.schema import Config, Source
from wawp_exporter.config.values import is_loopback, split_listen

EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway of a source sends its webhooks, and how: `secret` is the key of the configuration, or ""."""

    source: str
    url: str
    dialect: str
    secret: str
    local: bool

    @property
    def signed(self) -> bool:
        """Whether the gateway signs with a key."""
        return self.secret.endswith("hmac_keys_file")


def doors(config: Config, seen_as: URL) -> list[Door]:
    """One for each source; `seen_as` is the address by which the reader has found this page."""
    base = address(config, seen_as)
    local = is_loopback(urlsplit(base).hostname or "")
    return [
        Door(name, base + ("/webhook" if name == "default" else f"/webhook/{name}"), source.dialect,
             secret_of(name, source), local)
        for name, source in config.sources.items()
    ]  # fmt: skip


def address(config: Config, seen_as: URL) -> str:
    """`web.external_url` if webhooks are taken there, else the address that is listened on."""
    web = config.web
    if web.external_url and not web.ingress_listen:
        return web.external_url.rstrip("/")
    host, port = split_listen(config.webhook_listen)
    name = (seen_as.hostname or "localhost") if host in EVERYWHERE else host
    if port == "0":  # the system has chosen one
        port = str(seen_as.port or port)
    shown = f"[{name}]" if ":" in name else name
    return f"{'https' if web.tls.cert_file else 'http'}://{shown}:{port}"


def secret_of(name: str, source: Source) -> str:
    """Which key of the configuration names the file that the gateway's secret is in; "" where none is needed."""
    for key in ("hmac_keys_file", "token_file"):
        if getattr(source, key):
            return f"sources.{name}.{key}"
    return ""
