"""The REST API of the Evolution API, 2.x (docs/gateway.md says what of it 1.x has)."""

import re
from collections.abc import Mapping
from typing import Any

from wawp_exporter.dialects.evolution import GIVEN_UP, STATES
from wawp_exporter.dialects.reading import usable
from wawp_exporter.dialects.reasons import reason_of
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import decode, items_of
from wawp_exporter.gateways.bodies import FOREIGN, MAX_QR_BYTES, answered, done, image_in, refusal_in
from wawp_exporter.gateways.client import PROBE_TIMEOUT_S, QR_TIMEOUT_S, RESTART_TIMEOUT_S, Client, each, read, segment
from wawp_exporter.gateways.gateway import Reading
from wawp_exporter.model.event import LOGIN, Status

# How it says that it does not know an instance. Any other 404 is of a proxy, or of another service.
UNKNOWN = re.compile(r"\binstance does not exist$")
ENDED = frozenset({Status.DISCONNECTED, Status.FAILED, Status.STOPPED})  # `close` says nothing more
ALSO = {"connecting": LOGIN, "close": ENDED}  # `connecting` goes on while a QR code is shown


class Evolution(Client):
    """Evolution's REST API: its list has the status of the database, so the instances are asked for theirs."""

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """`apikey`."""
        return {"apikey": key}

    async def sessions(self) -> list[Reading]:
        """`GET /instance/fetchInstances`, and `GET /instance/connectionState/{name}` of each."""
        answer = await self._ask("GET", "/instance/fetchInstances")
        return await each(self._reading, [decode(item, Any) for item in items_of(answer)])

    async def status(self, session: str) -> str | None:
        """`GET /instance/connectionState/{session}`."""
        state = await self._state(session)
        return None if state is None else STATES.get(state, state)

    async def restart(self, session: str) -> None:
        """`POST /instance/restart/{session}`, which refuses one that is closed; `connect` starts that."""
        if await self._state(session) == "close":
            method, verb = "GET", "connect"
        else:
            method, verb = "POST", "restart"
        answer = await self._ask(method, f"/instance/{verb}/{segment(session)}", seconds=RESTART_TIMEOUT_S)
        if done(answer).get("error"):
            raise GatewayError("it says that the restart failed")

    async def qr(self, session: str) -> bytes | None:
        """`GET /instance/connect/{session}`, only while it connects: it would connect an instance that is closed."""
        if await self._state(session) != "connecting":
            return None
        path = f"/instance/connect/{segment(session)}"
        answer = await self._ask("GET", path, seconds=QR_TIMEOUT_S, limit=MAX_QR_BYTES)
        return image_in(answer) if done(answer).get("base64") else None

    async def probe(self, session: str, number: str) -> bool:
        """`POST /chat/whatsappNumbers/{session}`; it keeps numbers that have an account, and asks once a week."""
        path = f"/chat/whatsappNumbers/{segment(session)}"
        asked = {"numbers": [number]}
        answer = await self._ask("POST", path, json=asked, seconds=PROBE_TIMEOUT_S, accepted=(200, 201, 500))
        return answered(answer)

    async def started_at(self) -> int | None:
        """It does not say."""
        return None

    async def _reading(self, item: Any) -> Reading | None:
        """An instance of the list; None if it has no usable name, or is gone by now."""
        inner = item.get("instance") if isinstance(item, dict) else None
        if isinstance(inner, dict):  # 1.x, whose list has the present state
            name, state = usable(inner.get("instanceName")), usable(inner.get("status")) or ""
            return reading_of(name, state, {"ownerJid": True}) if name else None
        name = usable(item.get("name")) if isinstance(item, dict) else None
        return await read(name, self._present(name, item)) if name else None

    async def _present(self, name: str, row: Mapping[str, Any]) -> Reading | None:
        """An instance of 2.x, whose list has what stands in the database."""
        state = await self._state(name)
        return None if state is None else reading_of(name, state, row)

    async def _state(self, session: str) -> str | None:
        """The state of an instance: "" of one that is not loaded, None of one that Evolution does not know."""
        answer = await self._ask("GET", f"/instance/connectionState/{segment(session)}", accepted=(200, 404))
        if answer.status_code == 404:
            # `{"status": 404, "error": "Not Found", "response": {"message": ["The \"s\" instance does not exist"]}}`
            response = refusal_in(answer).get("response")
            said = response.get("message") if isinstance(response, dict) else None
            if not isinstance(said, list) or not any(UNKNOWN.search(str(line)) for line in said):
                raise GatewayError(FOREIGN, 404)
            return None
        instance = done(answer).get("instance")
        if not isinstance(instance, dict):
            raise GatewayError("its answer is not the state of an instance")
        return usable(instance.get("state")) or ""


def reading_of(name: str, state: str, row: Mapping[str, Any]) -> Reading:
    """An instance in a state; its row of the database says why it is closed, and whether it ever was logged in."""
    stored = row.get("connectionStatus")
    state = state or ("close" if stored == "close" else "")
    if state != "close":
        return Reading((name,), STATES.get(state, state), also=ALSO.get(state, frozenset()))
    if not row.get("ownerJid"):
        return Reading((name,), Status.STOPPED, also=ENDED)
    code = row.get("disconnectionReasonCode") if stored == "close" else None
    status = Status.FAILED if str(code) in GIVEN_UP else Status.DISCONNECTED
    return Reading((name,), status, also=ENDED, reason=reason_of(code))
