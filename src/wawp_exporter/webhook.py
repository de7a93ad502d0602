"""`POST /webhook`: verifies, decodes and hands over one event.

The rules are in `admit`, `read` and `settle`, which know nothing of how the request came. Here they answer as an
ASGI application; `direct` answers with them without one, at half the cost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from wawp_exporter.access import Access, Caller, Headers, caller_of
from wawp_exporter.config import Secrets, Settings, Source
from wawp_exporter.dialects import DIALECTS, WITH_SUFFIX
from wawp_exporter.errors import (
    MethodNotAllowed,
    NotFound,
    Refusal,
    TooLarge,
    TooSlow,
    Unauthenticated,
    UnsupportedEncoding,
)
from wawp_exporter.events import OtherEvent, StatusEvent
from wawp_exporter.fleet import IGNORED, Fleet, Outcome
from wawp_exporter.ingest import Ingest, unix_now
from wawp_exporter.signature import Signatures, presented_token, token_matches
from wawp_exporter.telemetry import SourceTelemetry, Telemetry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 256 * 1024
BODY_TIMEOUT_S = 10.0
DEFAULT_SOURCE = "default"
TOO_LARGE = f"the body is too long, expected at most {MAX_BODY_BYTES} bytes"
TOO_SLOW = f"the request did not arrive within {BODY_TIMEOUT_S:.0f} s"


class Disconnected(Exception):
    """The sender went away before its body was whole; there is nobody to answer."""


def answer(status: int, content: bytes, *more: tuple[bytes, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two ASGI messages of a JSON answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *more]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": content}


ACCEPTED = {outcome: answer(200, msgspec.json.encode({"outcome": outcome.value})) for outcome in Outcome}


class Gate:
    """What one source asks of its webhooks."""

    def __init__(self, name: str, source: Source, secrets: Secrets, telemetry: SourceTelemetry) -> None:
        self.name = name
        self.telemetry = telemetry
        self.parse = DIALECTS[source.dialect]
        self.takes_suffix = source.dialect in WITH_SUFFIX
        self.header = source.hmac_header.lower().encode("latin-1", "replace")
        self.allow_unsigned = source.allow_unsigned
        keys = secrets.hmac_keys.get(name, ())
        self.signatures = Signatures(keys, source.hmac_algorithm) if keys else None
        self.tokens = secrets.tokens.get(name, ())

    def check(self, query: bytes, caller: Caller, body: bytes, access: Access) -> None:
        """Raises Unauthenticated unless the signature or the token matches, or neither is asked for."""
        headers = caller.headers
        signature = headers.get(self.header)
        if self.signatures and signature is not None:
            if not self.signatures.match(body, signature):
                raise Unauthenticated("the signature does not match the body under any key", "bad_signature")
            return
        if self.tokens:
            given = presented_tokens(query, headers)
            if given:
                if not any(token_matches(self.tokens, token) for token in given):
                    raise Unauthenticated("the token is wrong", "bad_token")
                return
        if self.allow_unsigned:
            return
        if self.signatures:
            raise Unauthenticated(f"the header {self.header.decode('latin-1')} is missing", "missing_signature")
        if self.tokens:
            raise Unauthenticated("a token is required: Authorization: Bearer …, ?token= or ?secret=", "bad_token")
        if not access.local(caller):
            raise Unauthenticated(
                "unsigned webhooks are taken only from this machine; configure hmac_keys_file or token_file",
                "missing_signature",
            )


def presented_tokens(query: bytes, headers: Headers) -> list[bytes]:
    """Every token that a request carries: in Authorization, `?token=` or `?secret=`."""
    given = presented_token(headers.get(b"authorization"))
    fields = parse_qs(query) if query else {}
    asked = [*fields.get(b"token", []), *fields.get(b"secret", [])]
    # A plus in a URL means a space, but whoever pastes a base64 token means a plus.
    return [*([given] if given else []), *asked, *(token.replace(b" ", b"+") for token in asked)]


class Webhook:
    """The ASGI application of `/webhook` and `/webhook/{source}` on one listener."""

    def __init__(self, settings: Settings, access: Access, ingest: Ingest, fleet: Fleet, telemetry: Telemetry) -> None:
        self.access = access
        self.ingest = ingest
        self.fleet = fleet
        self.telemetry = telemetry
        self.gates = {
            name: Gate(name, source, settings.secrets, telemetry.source(name))
            for name, source in settings.config.sources.items()
        }

        self._at = {f"/webhook/{name}": gate for name, gate in self.gates.items()}
        if DEFAULT_SOURCE in self.gates:
            self._at["/webhook"] = self.gates[DEFAULT_SOURCE]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = time.perf_counter()
        gate = None
        try:
            gate = self.admit(scope["path"], scope["method"])
            caller = caller_of(scope)
            received_at = unix_now()
            check_length(caller.headers)
            event = self.read(gate, scope["query_string"], caller, await read_body(receive), received_at)
            outcome = await self.ingest.submit(event) if event else IGNORED
            self.settle(gate, outcome, received_at, started)
            start, body = ACCEPTED[outcome]
        except Refusal as refusal:
            start, body = self.refuse(gate, refusal, started)
        except Disconnected:
            return
        await send(start)
        await send(body)

    def admit(self, path: str, method: str) -> Gate:
        """The source by the path; raises NotFound, MethodNotAllowed."""
        gate = self._at.get(path) or self._suffixed(path)
        if gate is None:
            raise NotFound("no such source is configured")
        if method != "POST":
            raise MethodNotAllowed("webhooks are sent with POST", [("Allow", "POST")])
        return gate

    def _suffixed(self, path: str) -> Gate | None:
        """The source of a path that says more than its name, where the dialect has it so."""
        gate = self.gates.get(path.removeprefix("/webhook/").partition("/")[0])
        return gate if gate and gate.takes_suffix else None

    def read(self, gate: Gate, query: bytes, caller: Caller, body: bytes, received_at: int) -> StatusEvent | None:
        """Verifies the bytes before anything looks into them; gives what is to be logged, if anything."""
        caller.check_host()
        gate.check(query, caller, body, self.access)
        request_id = caller.headers.get(b"x-webhook-request-id")
        event = gate.parse(gate.name, body, received_at, request_id.decode("latin-1") if request_id else None)
        if not isinstance(event, OtherEvent):
            return event
        if event.session is not None:
            self.ingest.touch((gate.name, event.session), received_at)
        return None

    def settle(self, gate: Gate, outcome: Outcome, received_at: int, started: float) -> None:
        """Counts what was accepted."""
        gate.telemetry.outcomes[outcome] += 1
        gate.telemetry.last_accepted = received_at / 1000
        self.telemetry.webhook_duration.observe(time.perf_counter() - started)

    def refuse(self, gate: Gate | None, refusal: Refusal, started: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Counts a refusal, and says it; a body that was not read to its end is followed by no other request."""
        if gate and refusal.reason:
            gate.telemetry.reject(refusal.reason)
        self.telemetry.webhook_duration.observe(time.perf_counter() - started)
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
        if refusal.status in (408, 413, 415):
            headers.append((b"connection", b"close"))
        return answer(refusal.status, msgspec.json.encode({"error": refusal.message}), *headers)


def check_length(headers: Headers) -> None:
    """What the headers alone rule out; raises UnsupportedEncoding, TooLarge."""
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise UnsupportedEncoding("the body is compressed, expected it plain")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise TooLarge(TOO_LARGE)


async def read_body(receive: Receive) -> bytes:
    """The whole body; raises TooLarge, TooSlow, Disconnected."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await collect(receive)
    except TimeoutError:
        raise TooSlow(TOO_SLOW) from None


async def collect(receive: Receive) -> bytes:
    """The pieces of a body joined."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(TOO_LARGE)
        if not message.get("more_body"):
            return body
