"""The QR code of a session that waits for a scan."""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.errors import Conflict, GatewayError, NoAnswer, NotFound, TooBusy
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.event import Status
from wawp_exporter.model.rules import Key
from wawp_exporter.web.api.sessions import session_in
from wawp_exporter.web.api.waiting import while_connected

QR_WAIT_S = 30.0
QR_PAUSE_S = 1.0
MAX_SCANNING = 16  # callers that wait for a QR code at once


class QrEndpoint:
    """Asks the gateway for the image until there is one."""

    def __init__(self, ingest: Ingest, watch: Watch) -> None:
        self._ingest = ingest
        self._watch = watch
        self._scanning = asyncio.Semaphore(MAX_SCANNING)

    async def get(self, request: Request) -> Response:
        """The QR image of a session that waits for a scan, as soon as there is one."""
        session = await session_in(request, self._ingest)
        if session.source not in self._watch.gateways:
            raise NotFound("the source has no api, expected it to be configured")
        if self._scanning.locked():
            raise TooBusy(f"{MAX_SCANNING} callers wait for a QR code, which is the limit; try again")
        async with self._scanning:
            image = await while_connected(request, self._wait_for_qr(session.key))
        return Response(image, media_type="image/png", headers={"Cache-Control": "no-store"})

    async def _wait_for_qr(self, key: Key) -> bytes:
        """The image comes some seconds after the status. Raises Conflict, NoAnswer."""
        until = time.monotonic() + QR_WAIT_S
        while time.monotonic() < until:
            session = await self._ingest.find(key)
            status = session.state.status if session else Status.STOPPED
            if status not in (Status.STARTING, Status.SCAN_QR_CODE):
                raise Conflict(f"the session is {status}, expected SCAN_QR_CODE")
            gateway = self._watch.gateways.get(key[0])  # a reload may have replaced it
            if gateway is None:
                raise NoAnswer("the source has no api any more")
            try:
                image = await gateway.qr(key[1])
            except GatewayError as error:
                raise NoAnswer(f"the gateway has no QR code for us: {error}") from None
            if image:
                return image
            await asyncio.sleep(QR_PAUSE_S)
        raise NoAnswer(f"the gateway had no QR code within {QR_WAIT_S:g} s, try again")
