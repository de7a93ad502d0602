"""The REST API of wppconnect-server."""

from typing import Any

import httpx
from msgspec.structs import replace
from pydantic import SecretStr

from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.bodies import MAX_QR_BYTES, PNG, answered, done
from wawp_exporter.gateways.client import PROBE_TIMEOUT_S, QR_TIMEOUT_S, RESTART_TIMEOUT_S, Client, each, read, segment
from wawp_exporter.gateways.gateway import Reading
from wawp_exporter.model.event import Status

CLOSED = Reading((), Status.FAILED, also=frozenset({Status.STOPPED, Status.DISCONNECTED}))
# Its words say less than its webhooks. INITIALIZING and QRCODE stay until all has been loaded, and when the browser
# has crashed before; CONNECTED stays while the phone is not reached.
WORDS = {
    "CLOSED": CLOSED,
    "INITIALIZING": Reading((), Status.STARTING, also=frozenset({Status.SCAN_QR_CODE, Status.WORKING, Status.FAILED})),
    "QRCODE": Reading((), Status.SCAN_QR_CODE, also=frozenset({Status.WORKING, Status.FAILED})),
    "PHONECODE": Reading((), Status.SCAN_QR_CODE, also=frozenset({Status.WORKING, Status.FAILED})),
    "CONNECTED": Reading((), Status.WORKING, also=frozenset({Status.DISCONNECTED})),
}


class Wppconnect(Client):
    """wppconnect-server's REST API: it has a token for each session, and only the sessions of these are asked for.

    Its list of all sessions, and what makes tokens, take its secret key in the URL, where proxies log it.
    """

    def __init__(self, api: GatewayApi, key: str | None) -> None:
        super().__init__(api, None)
        lines = [(line.split()[0].partition(":"), line.split()[1:]) for line in (key or "").splitlines()]
        # As httpx and pydantic keep them, because these do not show what is secret.
        self._headers = {name: httpx.Headers({"Authorization": f"Bearer {token}"}) for (name, _, token), _ in lines}
        self._webhooks = {name: SecretStr(urls[0]) for (name, _, _), urls in lines if urls}

    async def sessions(self) -> list[Reading]:
        """Each session of which there is a token."""
        return await each(lambda name: read(name, self._reading(name), own_key=True), list(self._headers))

    async def status(self, session: str) -> str | None:
        """One session's status; it says CLOSED of a session that it does not know."""
        return (await self._reading(session)).status

    async def restart(self, session: str) -> None:
        """`POST /api/{session}/close-session`, unless it is closed, and `start-session` with its webhook."""
        if await self._word(session) != "CLOSED":
            done(await self._call("POST", session, "close-session"))
        webhook = {"webhook": self._webhooks[session].get_secret_value()} if session in self._webhooks else {}
        done(await self._call("POST", session, "start-session", {"waitQrCode": False, **webhook}))

    async def qr(self, session: str) -> bytes | None:
        """`GET /api/{session}/qrcode-session`: the image, or JSON that says that there is none."""
        answer = await self._call("GET", session, "qrcode-session")
        if answer.content.startswith(PNG):
            return answer.content
        done(answer)
        return None

    async def probe(self, session: str, number: str) -> bool:
        """`GET /api/{session}/check-number-status/{number}`; 404 says that the session is not there."""
        verb = f"check-number-status/{number}"
        return answered(await self._call("GET", session, verb, seconds=PROBE_TIMEOUT_S, accepted=(200, 500)))

    async def started_at(self) -> int | None:
        """It does not say."""
        return None

    async def _reading(self, session: str) -> Reading:
        word = await self._word(session)
        reading = WORDS.get(word) or Reading((), word)
        if word == "CONNECTED" and not await self._alive(session):
            reading = CLOSED
        return replace(reading, names=(session,))

    async def _word(self, session: str) -> str:
        """`GET /api/{session}/status-session`."""
        word = done(await self._call("GET", session, "status-session")).get("status")
        return word if isinstance(word, str) else ""

    async def _alive(self, session: str) -> bool:
        """`GET /api/{session}/check-connection-session`: whether the browser of a CONNECTED session is still there."""
        return done(await self._call("GET", session, "check-connection-session")).get("status") is True

    async def _call(self, method: str, session: str, verb: str, body: object = None, **more: Any) -> httpx.Response:
        if session not in self._headers:
            raise GatewayError("there is no token of this session in key_file")
        more.setdefault("seconds", RESTART_TIMEOUT_S if method == "POST" else QR_TIMEOUT_S)
        return await self._ask(
            method,
            f"/api/{segment(session)}/{verb}",
            headers=self._headers[session],
            json=body,
            limit=MAX_QR_BYTES,
            **more,
        )
