"""An ASGI request on a connection, as uvicorn runs it."""

import asyncio
import logging
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from wawp_exporter.web.heads import Head
from wawp_exporter.web.webhook import Receive, Scope, Send, Webhook

LOGGER = logging.getLogger("uvicorn.error")
Address = tuple[str, int]


class App(Protocol):
    """What a listener serves."""

    def webhook_at(self, path: bytes) -> Webhook | None:
        """The intake, if it answers at this path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Anything else, as ASGI."""


class Exchange(RequestResponseCycle):
    """An ASGI request, as uvicorn runs it."""

    @property
    def answered(self) -> bool:
        """Whether the answer is complete."""
        return self.response_complete

    def feed(self, data: bytes) -> None:
        """A part of the body; of more than the application takes nothing is read."""
        if self.response_complete:
            return
        self.body += data
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.message_event.set()

    def finish(self) -> None:
        """The body is whole."""
        self.more_body = False
        self.message_event.set()

    def give_up(self) -> None:
        """Tells the application that its caller has disconnected."""
        self.disconnected = True
        self.message_event.set()


def scope_of(head: Head, client: Address, server: Address, transport: asyncio.Transport, tls: bool) -> dict[str, Any]:
    """The scope of a request, as ASGI has it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": head.version,
        "method": head.method.decode(),
        "scheme": "https" if tls else "http",
        "path": unquote_to_bytes(head.path).decode("utf-8", "replace"),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.lines,
        "client": client,
        "server": server,
        "state": {},
        # For an answer without an end whose reader may be stuck.
        "abort": transport.abort,
        "socket": transport.get_extra_info("socket"),
    }


def asks_first(head: Head) -> bool:
    """Whether the sender waits to be asked for the body."""
    return head.headers.get(b"expect", b"").lower() == b"100-continue" and head.version == "1.1"
