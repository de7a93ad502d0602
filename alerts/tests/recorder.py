"""Everybody whom Alertmanager writes to, on this machine: chats, pagers, webhooks and a mail server."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Self

from tests import parts

# What services answer when they have taken a message; each looks at its own part of it.
TAKEN = {"ok": True, "result": {"message_id": 1, "date": 0, "chat": {"id": 1, "type": "group"}}}


@dataclass(frozen=True)
class Letter:
    """What one receiver was sent: `kind` is that of its settings, as in `slack_configs`."""

    receiver: str
    kind: str
    body: dict[str, Any]


class Recorder:
    """Keeps what each receiver was sent, in the order of arrival; `connect` makes a shipped receiver write here."""

    def __init__(self, read: Callable[[Letter], None] = lambda _: None) -> None:
        self.letters: list[Letter] = []
        self.arrived = threading.Condition()
        self.read = read
        self.mailboxes: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.servers = ExitStack()
        web = self.servers.enter_context(parts.serving(self.handler()))
        self.url = f"http://127.0.0.1:{web.server_port}"
        self.smtp = f"127.0.0.1:{self.servers.enter_context(mail_server(self.mail))}"
        return self

    def __exit__(self, *_: object) -> None:
        self.servers.close()

    def connect(self, receiver: Mapping[str, Any]) -> dict[str, Any]:
        """The receiver with its addresses replaced by ours, and nothing else."""
        changed = dict(receiver)
        for kind, ours in self.addresses(receiver["name"]).items():
            if kind in receiver:
                changed[kind] = [{**settings, **ours} for settings in receiver[kind]]
        for settings in changed.get("email_configs", ()):
            self.mailboxes[settings["to"]] = receiver["name"]
            settings.pop("auth_username", None)
            settings.pop("auth_password", None)
        return changed

    def addresses(self, name: str) -> dict[str, dict[str, Any]]:
        """Where each kind of receiver writes to: the path says the receiver's name and its kind."""
        keys = {
            "webhook_configs": "url",
            "slack_configs": "api_url",
            "pagerduty_configs": "url",
            "telegram_configs": "api_url",
            "discord_configs": "webhook_url",
            "msteamsv2_configs": "webhook_url",
        }
        found: dict[str, dict[str, Any]] = {kind: {key: f"{self.url}/{name}/{kind}"} for kind, key in keys.items()}
        return {**found, "email_configs": {"smarthost": self.smtp, "require_tls": False}}

    def take(self, letter: Letter) -> None:
        """Keeps it, and wakes whoever waits."""
        with self.arrived:
            self.letters.append(letter)
            self.arrived.notify_all()
        self.read(letter)

    def mail(self, message: EmailMessage) -> None:
        """A mail as its receiver reads it."""
        body = message.get_body(("plain",))
        text = body.get_content() if body else ""
        found = {"to": message["To"], "subject": message["Subject"], "text": text}
        self.take(Letter(self.mailboxes.get(message["To"], message["To"]), "email_configs", found))

    def wait_for(self, receiver: str, count: int = 1) -> list[Letter]:
        """What this receiver was sent, when it is at least so much."""

        def enough() -> bool:
            return len([each for each in self.letters if each.receiver == receiver]) >= count

        with self.arrived:
            if not self.arrived.wait_for(enough, parts.PATIENCE_S):
                raise TimeoutError(f"{count} for {receiver} not in {parts.PATIENCE_S:g} s among {self.letters}")
            return [each for each in self.letters if each.receiver == receiver]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Chats, pagers and webhooks."""
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name, kind = self.path.strip("/").split("/")[:2]
                recorder.take(Letter(name, kind, body))
                answer = json.dumps(TAKEN).encode()
                self.send_response(202 if kind == "pagerduty_configs" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def mail_server(read: Callable[[EmailMessage], None]) -> Iterator[int]:
    """The least that Alertmanager takes for a mail server; gives its port."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            for line in self.rfile:
                word = line[:4].upper().strip()
                if word == b"DATA":
                    self.say("354 go on")
                    mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                    read(message_from_bytes(mail, policy=policy.default))
                self.say("221 bye" if word == b"QUIT" else "250 taken")
                if word == b"QUIT":
                    return

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
