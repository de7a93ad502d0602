"""How the webhooks of one source are authenticated, and what their URL can contain: a token, a session."""

import re
from urllib.parse import unquote_to_bytes

import structlog

from wawp_exporter.config.schema import Source
from wawp_exporter.config.settings import Secrets
from wawp_exporter.dialects.reading import name_of
from wawp_exporter.dialects.registry import AGENTS, DIALECTS, SUFFIXES, WITH_SESSION, WITH_SUFFIX
from wawp_exporter.errors import InvalidEvent, Refusal, Unauthenticated
from wawp_exporter.metrics.telemetry import SourceTelemetry
from wawp_exporter.web.access import Access, Caller
from wawp_exporter.web.signature import Signatures, presented_token, token_matches

# The name of an event as Evolution appends it to the URL: `/connection-update`, `/call`.
OWN_HEADERS = b"x-webhook-"  # of WAHA
SUFFIX = re.compile(rb"/(?:[a-z]+(?:-[a-z]+)+|call)\Z")

logger = structlog.get_logger()


class Gate:
    """The rules for the webhooks of one source."""

    def __init__(self, name: str, source: Source, secrets: Secrets, telemetry: SourceTelemetry) -> None:
        self.name = name
        self.telemetry = telemetry
        self.parse = DIALECTS[source.dialect]
        self.takes_suffix = source.dialect in WITH_SUFFIX
        self.takes_session = source.dialect in WITH_SESSION
        self.agent = AGENTS[source.dialect]
        self.header = source.hmac_header.lower().encode("latin-1", "replace")
        self.allow_unsigned = source.allow_unsigned
        keys = secrets.hmac_keys.get(name, ())
        self.signatures = Signatures(keys, source.hmac_algorithm) if keys else None
        self.tokens = secrets.tokens.get(name, ())

    def check(self, query: bytes, caller: Caller, body: bytes, access: Access) -> None:
        """Raises Unauthenticated unless the signature or the token matches, or neither is asked for."""
        signature = caller.headers.get(self.header)
        if self.signatures and signature is not None:
            if not self.signatures.match(body, signature):
                raise Unauthenticated("the signature does not match the body under any key", "bad_signature")
            return
        if self.tokens:
            given = self.presented(query, caller)
            if given:
                if not any(token_matches(self.tokens, token) for token in given):
                    raise Unauthenticated("the token is wrong", "bad_token")
                return
        if self.allow_unsigned:
            return
        if self.signatures:
            missing = f"the header {self.header.decode('latin-1')} is missing"
            raise Unauthenticated(missing, "missing_signature", anonymous=True)
        if self.tokens:
            missing = "a token is required: Authorization: Bearer …, ?token= or ?secret="
            raise Unauthenticated(missing, "bad_token", anonymous=True)
        if not access.local(caller):
            raise Unauthenticated(
                "unsigned webhooks are taken only from this machine; configure hmac_keys_file or token_file",
                "missing_signature",
                anonymous=True,
            )

    def refuse(self, reason: str, refusal: Refusal, caller: Caller, received_at: int) -> None:
        """Counts a refusal, and notes since when the gateway is refused; scanners of the internet do not count."""
        self.telemetry.reject(reason)
        if refusal.anonymous and not self.sent_by_gateway(caller):
            return
        if count := self.telemetry.refuse(reason, received_at):
            logger.warning("webhook refused", source=self.name, reason=reason, error=refusal.message, webhooks=count)

    def sent_by_gateway(self, caller: Caller) -> bool:
        """Whether a request has the headers of a gateway."""
        agent = caller.headers.get(b"user-agent", b"")
        return agent.startswith(self.agent) or any(name.startswith(OWN_HEADERS) for name in caller.headers)

    def takes(self, rest: bytes) -> bool:
        """Whether a path may go on like this behind the source's name: with an event's name, or a session's.

        Events of Evolution that come to another dialect have the wrong URL, which must be seen.
        """
        return self.takes_suffix or (self.takes_session and rest not in SUFFIXES)

    def presented(self, query: bytes, caller: Caller) -> list[bytes]:
        """Every token that a request may carry: in Authorization, `?token=` or `?secret=`."""
        given = presented_token(caller.headers.get(b"authorization"))
        asked = values(query, b"token", b"secret")
        if self.takes_suffix:
            asked += [SUFFIX.sub(b"", value) for value in asked if SUFFIX.search(value)]
        # A plus in a URL means a space, but whoever pastes a base64 token means a plus.
        spaced = [value.replace(b"+", b" ") for value in asked if b"+" in value]
        return [*([given] if given else []), *map(unquote_to_bytes, asked + spaced)]

    def session(self, path: bytes, query: bytes) -> str:
        """The session that the URL names, "" for none: `/webhook/{source}/{session}` or `?session=`.

        Raises InvalidEvent for what cannot be a name.
        """
        _, _, rest = path.removeprefix(b"/webhook").removeprefix(b"/").partition(b"/")
        given = rest.removesuffix(b"/") or next(iter(values(query, b"session")), b"")
        if not given:
            return ""
        try:
            return name_of(unquote_to_bytes(given).decode(), "session")
        except UnicodeDecodeError:
            raise InvalidEvent("session: not UTF-8 in the URL, expected a percent-encoded name") from None


def values(query: bytes, *names: bytes) -> list[bytes]:
    """The values of these fields that are not empty, in their order, as they stand in the URL."""
    if not query:
        return []
    pairs = [field.partition(b"=") for field in query.split(b"&")]
    return [value for name, _, value in pairs if value and unquote_to_bytes(name) in names]
