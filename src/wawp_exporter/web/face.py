"""What answers on one listener: webhooks, everything else, or both."""

from dataclasses import dataclass

from starlette.responses import JSONResponse

from wawp_exporter.config.settings import Settings
from wawp_exporter.service.service import Service
from wawp_exporter.web.access import Access
from wawp_exporter.web.app import make_app
from wawp_exporter.web.webhook import Receive, Scope, Send, Webhook


@dataclass(frozen=True, slots=True)
class Admission:
    """What one configuration lets in on one listener: replaced as a whole by a reload."""

    access: Access
    webhook: Webhook


class Face:
    """What answers on one listener: webhooks, everything else, or both."""

    def __init__(self, service: Service, listen: str, *, webhooks: bool, others: bool) -> None:
        self.service = service
        self.listen = listen
        self.webhooks = webhooks
        self.admission = self.make_admission(service.settings)
        self._others = make_app(service, lambda: self.admission.access) if others else None

    def make_admission(self, settings: Settings) -> "Admission":
        """What the keys, tokens and sources of a configuration let in."""
        service, access = self.service, Access(settings, self.listen)
        return Admission(access, Webhook(settings, access, service.ingest, service.fleet, service.telemetry))

    def webhook_at(self, path: bytes) -> Webhook | None:
        """The intake, if it is what answers at `path` here."""
        if self.webhooks and (path == b"/webhook" or path.startswith(b"/webhook/")):
            return self.admission.webhook
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the listener."""
        webhook = self.webhook_at(scope["raw_path"])
        if webhook:
            await webhook(scope, receive, send)
        elif self._others:
            await self._others(scope, receive, send)
        else:
            await JSONResponse({"error": "nothing but webhooks is answered here"}, 404)(scope, receive, send)
