"""Those at the other end of Alertmanager: one HTTP server for every chat, pager and webhook, and one mail server."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests import parts

T = TypeVar("T")


@dataclass(frozen=True)
class Posted:
    """A request as it came: `body` is its JSON."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Box(Generic[T]):
    """What has arrived, in order; whoever waits wakes with each arrival."""

    items: list[T] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def put(self, item: T) -> None:
        """Appends and wakes."""
        with self.arrived:
            self.items.append(item)
            self.arrived.notify_all()

    def wait_for(self, wanted: Callable[[T], bool] = lambda _: True) -> T:
        """The first that is wanted; TimeoutError shows what did arrive."""
        with self.arrived:
            if self.arrived.wait_for(lambda: any(map(wanted, self.items)), parts.PATIENCE_S):
                return next(filter(wanted, self.items))
            raise TimeoutError(f"not among {self.items}")


class Http:
    """Answers every POST as the services that Alertmanager knows do: 200, and JSON that says `ok`."""

    def __init__(self) -> None:
        self.box: Box[Posted] = Box()

    def __enter__(self) -> Self:
        box = self.box

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = b'{"ok": true, "result": {"message_id": 1}}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                box.put(Posted(self.path, dict(self.headers), json.loads(body)))

            def log_message(self, *_: object) -> None:
                pass

        self.server = parts.serving(Handler)
        self.url = f"http://127.0.0.1:{self.server.__enter__().server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)


class Mail(Controller):
    """A mail server that takes nothing without the right user and password."""

    def __init__(self, user: str, password: str) -> None:
        self.box: Box[EmailMessage] = Box()
        self.known = LoginPassword(user.encode(), password.encode())
        super().__init__(self, hostname="127.0.0.1", port=parts.free_port(), ready_timeout=parts.PATIENCE_S)

    def factory(self) -> SMTP:
        """One connection's server. Go's client would prefer LOGIN, but does not understand how aiosmtpd does it."""
        return SMTP(
            self,
            authenticator=self.authenticate,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],
            ident="recorder",
        )

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, given: object) -> AuthResult:
        """Whether these are the user and the password."""
        return AuthResult(success=given == self.known, handled=False)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        """A whole message. aiosmtpd's own check warns where there is no TLS, and warnings are errors."""
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        self.box.put(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.hostname}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()
