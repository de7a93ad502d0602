"""The REST API of WAHA."""

import asyncio
import re
from typing import Any

from wawp_exporter.dialects.reading import MAX_INSTANT_MS
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import decode, items_of, json_of
from wawp_exporter.gateways.bodies import (
    FOREIGN,
    MAX_QR_BYTES,
    answered,
    code_in,
    done,
    only_reading,
    reading_of,
    refusal_in,
)
from wawp_exporter.gateways.client import PROBE_TIMEOUT_S, QR_TIMEOUT_S, RESTART_TIMEOUT_S, Client, segment
from wawp_exporter.gateways.gateway import Reading

SLICE = 500  # sessions of a list that are read before webhooks get their turn
# How it says that it does not know a session. Any other 404 is of a proxy, or of another service.
UNKNOWN = re.compile(r"^session not found|^we didn't find a session", re.IGNORECASE)


class Waha(Client):
    """WAHA's REST API."""

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """`X-Api-Key`."""
        return {"X-Api-Key": key}

    async def sessions(self) -> list[Reading]:
        """`GET /api/sessions?all=true`."""
        answer = await self._ask("GET", "/api/sessions", params={"all": "true"})
        found = []
        for number, item in enumerate(items_of(answer)):
            if reading := reading_of(decode(item, Any)):
                found.append(reading)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # webhooks get their turn
        return found

    async def status(self, session: str) -> str | None:
        """`GET /api/sessions/{session}`."""
        answer = await self._ask("GET", self._path(session), accepted=(200, 404))
        if answer.status_code == 200:
            return only_reading(answer).status
        # `{"message": "Session not found", "error": "Not Found", "statusCode": 404}`. In the same form WAHA says
        # "Cannot GET …" of a path that it does not know.
        refusal = refusal_in(answer)
        message = refusal.get("message") if refusal.get("statusCode") == 404 else None
        if not isinstance(message, str) or not UNKNOWN.search(message):
            raise GatewayError(FOREIGN, 404)
        return None

    async def restart(self, session: str) -> None:
        """`POST /api/sessions/{session}/restart`."""
        done(await self._ask("POST", self._path(session) + "/restart", seconds=RESTART_TIMEOUT_S))

    async def qr(self, session: str) -> bytes | None:
        """`GET /api/{session}/auth/qr`; 422 says that the session is not there yet, or no more."""
        path = f"/api/{segment(session)}/auth/qr"
        answer = await self._ask(
            "GET",
            path,
            params={"format": "image"},
            headers={"Accept": "application/json"},
            seconds=QR_TIMEOUT_S,
            limit=MAX_QR_BYTES,
            accepted=(200, 404, 422),
        )
        return code_in(answer)

    async def probe(self, session: str, number: str) -> bool:
        """`GET /api/contacts/check-exists`; 422 says that the session is not WORKING."""
        return answered(
            await self._ask(
                "GET",
                "/api/contacts/check-exists",
                params={"phone": number, "session": session},
                seconds=PROBE_TIMEOUT_S,
                accepted=(200, 201, 500),
            )
        )

    async def started_at(self) -> int | None:
        """`GET /api/server/status`; the time jitters by a millisecond."""
        status = json_of(await self._ask("GET", "/api/server/status"))
        started = status.get("startTimestamp") if isinstance(status, dict) else None
        return started if type(started) is int and 0 < started <= MAX_INSTANT_MS else None

    @staticmethod
    def _path(session: str) -> str:
        return f"/api/sessions/{segment(session)}"
