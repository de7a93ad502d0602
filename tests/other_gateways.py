"""The REST APIs of the Evolution API and of wppconnect-server, for tests, as their sources answer (docs/gateway.md)."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.gateway import KEY, QR, Call, Gateway

IMAGE_URL = f"data:image/png;base64,{QR['data']}"
TOKENS = {"sales": "$2b$10$the-token-of-sales", "a b": "never-sent"}


def segments(path: str) -> list[str]:
    """The parts of a path, decoded."""
    return [unquote(part) for part in path.strip("/").split("/")]


@dataclass
class Evolution(Gateway):
    """Evolution 2.x; `sessions` are the states in memory, "" for one that is not loaded. `rows` is its database."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    old: bool = False  # 1.x: the list has the present state, and `restart` is a PUT

    def _reply(self, call: Call) -> tuple[int, Any]:
        if call.headers.get("apikey") != KEY:
            return refused(401, "Unauthorized", "Unauthorized")
        place = segments(call.path)
        if place == ["instance", "fetchInstances"]:
            return 200, [self._listed(name) for name in self.sessions]
        if place[:2] == ["chat", "whatsappNumbers"]:
            number = json.loads(call.body)["numbers"][0]
            found = [{"jid": f"{number}@s.whatsapp.net", "exists": True, "number": number}]
            return (200, found) if self.whatsapp else (500, {"message": "Timed Out"})
        if len(place) != 3 or (call.method, place[1]) not in self._verbs():
            return refused(404, "Not Found", f"Cannot {call.method} {call.path}")
        name = place[2]
        if name not in self.sessions:
            return refused(404, "Not Found", f'The "{name}" instance does not exist')
        if name in self.broken:
            return refused(self.broken[name], "Trouble", "Trouble")
        answers = {"connectionState": self._state, "connect": self._connect, "restart": self._restart}
        return 200, answers[place[1]](name)

    def _verbs(self) -> set[tuple[str, str]]:
        return {("GET", "connectionState"), ("GET", "connect"), ("PUT" if self.old else "POST", "restart")}

    def _listed(self, name: str) -> dict[str, Any]:
        if self.old:
            return {"instance": {"instanceName": name, "instanceId": "b1", "status": self.sessions[name]}}
        row = {"connectionStatus": "open", "ownerJid": "447700900123@s.whatsapp.net", "disconnectionReasonCode": None}
        row |= {"profileName": "Ana", "token": "B6D7", "disconnectionObject": None, "_count": {"Message": 1}}
        return {"id": "a1", "name": name, "integration": "WHATSAPP-BAILEYS", **row, **self.rows.get(name, {})}

    def _state(self, name: str) -> dict[str, Any]:
        state = {"state": self.sessions[name]} if self.sessions[name] else {}
        return {"instance": {"instanceName": name, **state}}

    def _connect(self, name: str) -> dict[str, Any]:
        if self.sessions[name] == "open":
            return self._state(name)
        self.sessions[name] = "connecting"
        return (
            {"pairingCode": None, "code": "2@code", "base64": IMAGE_URL, "count": 1} if self.qr_image else {"count": 0}
        )

    def _restart(self, name: str) -> dict[str, Any]:
        if self.sessions[name] == "close":
            return {"error": True, "message": f'Error: The "{name}" instance is not connected'}
        self.restarted.append(name)
        return self._connect(name)


def refused(status: int, error: str, message: str) -> tuple[int, Any]:
    """How Evolution says no."""
    return status, {"status": status, "error": error, "response": {"message": [message]}}


@dataclass
class Wppconnect(Gateway):
    """wppconnect-server 2.10; `sessions` are its words, and those in `crashed` have no browser any more."""

    crashed: set[str] = field(default_factory=set)

    def _reply(self, call: Call) -> tuple[int, Any]:
        _, name, verb, *_ = segments(call.path)
        if call.headers.get("authorization") != f"Bearer {TOKENS.get(name)}":
            return 401, {"error": "Check that the Session and Token are correct"}
        word = self.sessions.get(name, "CLOSED")
        if (call.method, verb) == ("GET", "status-session"):
            return 200, {"status": word, "qrcode": None} if word == "CLOSED" else self._status(word)
        if (call.method, verb) == ("GET", "check-connection-session"):
            alive = word == "CONNECTED" and name not in self.crashed
            return 200, {"status": alive, "message": "Connected" if alive else "Disconnected"}
        if (call.method, verb) == ("GET", "qrcode-session"):
            return 200, self._code(word)
        if verb == "check-number-status":
            return self._exists(word)
        if (call.method, verb) == ("POST", "close-session"):
            return self._close(name, word)
        if (call.method, verb) == ("POST", "start-session"):
            self.restarted.append(name)
            json.loads(call.body)
            self.sessions[name] = "INITIALIZING"
            return 200, {"status": "CLOSED", "qrcode": None}
        return 404, None

    def _exists(self, word: str) -> tuple[int, Any]:
        if word != "CONNECTED":
            return 404, {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
        if not self.whatsapp:
            return 500, {"status": "error", "message": "Error on check number status", "error": {}}
        return 200, {"status": "success", "response": {"numberExists": True, "canReceiveMessage": True}}

    def _status(self, word: str) -> dict[str, Any]:
        code = {"qrcode": IMAGE_URL, "urlcode": "2@code"} if word == "QRCODE" else {"qrcode": None, "urlcode": ""}
        return {"status": word, **code, "version": "2.10.4"}

    def _code(self, word: str) -> Any:
        if word == "QRCODE":
            return base64.b64decode(self.qr_image)
        return {"status": word, "message": "QRCode is not available..."}

    def _close(self, name: str, word: str) -> tuple[int, Any]:
        if word == "CLOSED":
            return 500, {"status": False, "message": "Error closing session", "error": {}}
        self.sessions[name] = "CLOSED"
        return 200, {"status": True, "message": "Session successfully closed"}
