"""`/-/healthy`, `/-/ready` and `/-/reload`, named as Prometheus names its own."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from wawp_exporter.errors import ConfigError, Forbidden, ListenError, TooBusy
from wawp_exporter.service.service import Service

MAX_RELOADS = 4  # requests for one at once: one runs, the others wait for it


class ManagementEndpoints:
    """For probes and operators."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reloads = asyncio.Semaphore(MAX_RELOADS)

    async def healthy(self, _request: Request) -> Response:
        """The process answers, and nothing in it has ended that only a restart brings back."""
        ended = self._service.health.ended
        if ended:
            return JSONResponse({"error": f"{', '.join(ended)}: has ended, expected the process to be restarted"}, 503)
        return PlainTextResponse("wawp-exporter is healthy.\n")

    async def ready(self, _request: Request) -> Response:
        """The log is replayed and was writable when last tried."""
        problem = self._service.health.unready
        return JSONResponse({"error": problem}, 503) if problem else PlainTextResponse("wawp-exporter is ready.\n")

    async def reload(self, _request: Request) -> Response:
        """Reads the configuration again."""
        if not self._service.settings.config.web.enable_lifecycle:
            raise Forbidden("reloading over HTTP is off, expected web.enable_lifecycle: true (SIGHUP always reloads)")
        if self._reloads.locked():
            raise TooBusy(f"{MAX_RELOADS} callers wait for a reload, which is the limit; try again")
        try:
            async with self._reloads:
                await self._service.reload()
        except (ConfigError, ListenError) as error:
            return JSONResponse({"error": "; ".join(str(error).splitlines())}, 400)
        return JSONResponse({"reloaded": True})
