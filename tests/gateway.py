"""A gateway for tests: WAHA's REST API with the answers of a real one, and its webhooks with their retries; and Wawp's.

What it says of sessions is made by filling in the captured answers of tests/captured/rest.
"""

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from tests import parts

KEY = "the-api-key-of-the-gateway"
PROBES = ("check-exists", "whatsappNumbers", "check-number-status")
REST = Path(__file__).parent / "captured" / "rest"


def answer_of(name: str, call: str) -> tuple[int, Any]:
    """The status and body that a real WAHA gave."""
    told = json.loads((REST / f"{name}.json").read_text())[call]
    return told["status"], json.loads(told["body_raw"]) if told["body_raw"] else None


SESSION = answer_of("injected-working", "session_default")[1]
UNAUTHORIZED = answer_of("wrong-key", "/api/sessions")
NOT_FOUND = answer_of("deleted-running", "session_default")
NO_QR = answer_of("injected-working", "qr_raw_422")
QR = answer_of("injected-scan-qr-code", "qr_image")[1]
SERVER = answer_of("injected-working", "server_status")[1]


@dataclass
class Call:
    """A request that came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Gateway:
    """What the gateway is like now; a test changes it while it runs.

    `shown` overrides what REST says of a session (a false reading). `trouble` is what every call ends with instead: a
    status, `hang` (no answer), or `cut` (the connection is closed). `webhook` is where its webhooks go.
    """

    engine: str = "NOWEB"
    sessions: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)  # not in the list, though they are there
    compresses: bool = False  # a proxy before it does, unasked
    page: tuple[int, bytes] | None = None  # what something else answers in place of the gateway
    shown: dict[str, str] = field(default_factory=dict)
    trouble: int | str | None = None
    broken: dict[str, int] = field(default_factory=dict)  # what it answers of sessions that are asked for one by one
    restart_trouble: int | None = None
    delay: float = 0.0
    whatsapp: bool | str = True  # whether it answers probes; `hang`: the gateway waits for it
    proxy: int = 0  # what a proxy answers to probes
    qr_image: str = str(QR["data"])
    qr_after: float = 0.0  # Unix seconds from which there is an image
    webhook: str | None = None
    retry_s: float = 2.0
    started_at: int = field(default_factory=lambda: parts.now_ms() - 3_600_000)
    calls: list[Call] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    on_restart: Callable[[str], None] | None = None
    busy: int = 0
    busiest: int = 0  # calls at once, ever
    told_ms: int = 0  # the latest time that a webhook bore

    # -- what happens to sessions ---------------------------------------------------------------------------------

    def set(self, session: str, status: str, *, tell: bool = True, at: int | None = None) -> None:
        """A session enters a status; the webhook is sent in the background, and again until it is answered 2xx."""
        self.sessions[session] = status
        if tell and self.webhook:
            # Never the same millisecond twice: with no history in them, only their arrival would order the two.
            at = self.told_ms = at or max(parts.now_ms(), self.told_ms + 1)
            body = parts.encode(parts.envelope(session=session, status=status, timestamp=at, statuses=[]))
            threading.Thread(target=self._send, args=(self.webhook, body), daemon=True).start()

    def _send(self, url: str, body: bytes) -> None:
        for _ in range(16):
            try:
                if httpx.post(url, content=body, timeout=10, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(self.retry_s)

    def restart(self) -> None:
        """The whole gateway is killed and boots without starting its sessions: it sends nothing."""
        self.started_at = parts.now_ms()
        self.sessions = dict.fromkeys(self.sessions, "STOPPED")

    def asked(self, path: str) -> list[Call]:
        """The calls of a path."""
        return [call for call in self.calls if call.path == path]

    # -- what it answers ------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> tuple[int, Any] | str:
        """The status and JSON body (or bytes as they are), or the trouble."""
        self.calls.append(call)
        if self.page:
            return self.page
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        time.sleep(self.delay)
        self.busy -= 1
        if self.proxy and any(word in call.path for word in PROBES):
            return self.proxy, {}
        if self.whatsapp == "hang" and any(word in call.path for word in PROBES):
            return "hang"
        if isinstance(self.trouble, str):
            return self.trouble
        if self.trouble:
            return self.trouble, {"message": "trouble", "statusCode": self.trouble}
        return self._reply(call)

    def _reply(self, call: Call) -> tuple[int, Any]:
        """What it answers if nothing is wrong with it."""
        if call.path.startswith("/v2/"):
            return self._wawp(call)
        if call.headers.get("x-api-key") != KEY:
            return UNAUTHORIZED
        return self._waha(call)

    def _waha(self, call: Call) -> tuple[int, Any]:
        place = [unquote(part) for part in call.path.removeprefix("/api/").split("/")]
        if place == ["sessions"]:
            listed = [name for name in self.sessions if self._running(name) or "all" in call.query]
            return 200, [self._listed(name) for name in listed if name not in self.unlisted]
        if place == ["contacts", "check-exists"]:
            return self._exists(call.query["session"][0])
        if place == ["server", "status"]:
            return 200, {**SERVER, "startTimestamp": self.started_at}
        if len(place) == 3 and place[1:] == ["auth", "qr"]:
            return self._qr(place[0])
        if place[0] == "sessions" and place[1] in self.sessions:
            return self._session(place[1], place[2:])
        return NOT_FOUND

    def _exists(self, name: str) -> tuple[int, Any]:
        if self.sessions.get(name) != "WORKING":
            return 422, {"error": "Session status is not as expected.", "session": name, "expected": ["WORKING"]}
        if not self.whatsapp:
            return 500, {
                "statusCode": 500,
                "timestamp": "2026-11-26T18:00:00.000Z",
                "exception": {"message": "Timed Out"},
            }
        return 200, {"numberExists": True, "chatId": "447700900999@c.us"}

    def _session(self, name: str, action: list[str]) -> tuple[int, Any]:
        if action == ["restart"]:
            if self.restart_trouble:
                return self.restart_trouble, {"message": "trouble"}
            self.restarted.append(name)
            if self.on_restart:
                self.on_restart(name)
            return 201, self._listed(name)
        return 200, {**self._listed(name), "engine": {"engine": self.engine}}

    def _listed(self, name: str) -> dict[str, Any]:
        told = {key: value for key, value in SESSION.items() if key != "engine"}
        return {**told, "name": name, "status": self.shown.get(name, self.sessions[name])}

    def _running(self, name: str) -> bool:
        return self.sessions[name] != "STOPPED"

    def _qr(self, name: str) -> tuple[int, Any]:
        if self.sessions.get(name) != "SCAN_QR_CODE" or time.time() < self.qr_after:
            return NO_QR
        return 200, {"mimetype": "image/png", "data": self.qr_image}

    def _wawp(self, call: Call) -> tuple[int, Any]:
        if call.headers.get("authorization") != f"Bearer {KEY}":
            return 401, {"code": "unauthorized"}
        name = call.headers.get("x-instance-id", "")
        if name not in self.sessions:
            return 404, {"code": "not_found"}
        if name in self.broken:
            return self.broken[name], {"code": "trouble"}
        if call.path == "/v2/session/info":
            return 200, {"name": f"wawp-{name}", "status": self.sessions[name], "config": {}, "me": None}
        if call.path == "/v2/session/restart":
            self.restarted.append(name)
            return 200, {"status": "ok"}
        return self._qr(name)


class Running(AbstractContextManager["Running"]):
    """The gateway over real HTTP on a free port of 127.0.0.1."""

    def __init__(self, kind: type[Gateway] = Gateway, **manners: Any) -> None:
        self.gateway = gateway = kind(**manners)
        self.ended = threading.Event()
        ended = self.ended

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parted = urlsplit(self.path)
                given = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = gateway.answer(Call(self.command, parted.path, parse_qs(parted.query), headers, given))
                if answer == "hang":
                    ended.wait(120)
                if isinstance(answer, str):
                    self.close_connection = True
                    return
                status, body = answer
                is_page = isinstance(body, bytes)
                content = body if is_page else b"" if body is None else json.dumps(body).encode()
                content = gzip.compress(content) if gateway.compresses else content
                self.send_response(status)
                if gateway.compresses:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Type", "text/html" if is_page else "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: Any) -> None:
                pass

        self._serving = parts.serving(Handler)

    def __enter__(self) -> "Running":
        server = self._serving.__enter__()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._serving.__exit__(kind, value, trace)
