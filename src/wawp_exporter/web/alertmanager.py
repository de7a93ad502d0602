"""`POST /alertmanager`: restarts of stuck sessions, where they are configured."""

import codecs

from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.errors import NotFound, TooLarge
from wawp_exporter.gateways.notification import parse
from wawp_exporter.gateways.restarts import Remedies
from wawp_exporter.web.api.answers import JSON

MAX_NOTIFICATION_BYTES = 4 << 20


class AlertmanagerEndpoint:
    """Takes the notifications of Alertmanager's webhook receiver."""

    def __init__(self, remedies: Remedies) -> None:
        self._remedies = remedies

    async def post(self, request: Request) -> Response:
        """What became of a notification."""
        if not self._remedies.remedy.alerts:
            raise NotFound("nothing is restarted here, expected remedy.alerts to be configured")
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_NOTIFICATION_BYTES:
                raise TooLarge(f"the body is over {MAX_NOTIFICATION_BYTES} bytes")
        return JSON(await self._remedies.take(parse(body.removeprefix(codecs.BOM_UTF8))))
