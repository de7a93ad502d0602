"""The certificate of the listeners: a renewed one is tried in a context of its own before it replaces the old one."""

import ssl
from typing import Any

from wawp_exporter.config.schema import Tls
from wawp_exporter.errors import ListenError


class Certificate(ssl.SSLContext):
    """The context that servers hold. Each handshake takes place in `current`, so that one assignment renews it.

    Loading a pair into a context in use would replace the certificate before it is known whether the key fits, and
    would keep the old pair beside a new one of another key type.
    """

    current: ssl.SSLContext

    def __new__(cls, first: ssl.SSLContext) -> "Certificate":
        """A context for servers; it has no certificate of its own."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.current = first
        return made

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        """What the event loop calls for each connection."""
        return self.current.wrap_bio(*args, **more)


def load_pair(tls: Tls) -> ssl.SSLContext:
    """A fresh context with the certificate and its key; raises ListenError if they cannot be used together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert tls.cert_file  # noqa: S101 - the caller asks whether TLS is configured
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=no_passphrase)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "unreadable"
        raise ListenError(tls_problem(tls, reason)) from None
    except NeedsPassphrase:
        raise ListenError(tls_problem(tls, "the key is encrypted")) from None
    return context


class NeedsPassphrase(Exception):
    """The key is encrypted."""


def no_passphrase() -> str:
    """OpenSSL would ask for it on the terminal, and the service would stand still meanwhile."""
    raise NeedsPassphrase


def tls_problem(tls: Tls, reason: str) -> str:
    """What is wrong with which files."""
    return f"web.tls: cannot use {tls.cert_file} with {tls.key_file}: {reason}, expected a PEM certificate and its key"
