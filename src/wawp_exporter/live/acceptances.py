"""When webhooks were accepted, shared with the other replicas: a gateway that one of them accepts is not refused."""

from wawp_exporter.errors import LogError
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.metrics.telemetry import Telemetry


class Acceptances:
    """Belongs to the event loop."""

    def __init__(self, telemetry: Telemetry, access: LogAccess) -> None:
        self._telemetry = telemetry
        self._access = access
        self._shared: dict[str, int] = {}  # source → the time that was written last (Unix ms)

    async def share(self) -> None:
        """Writes this replica's newest times to the log, and takes over those of the others."""
        news = {name: at for name, at in self._telemetry.accepted().items() if at > self._shared.get(name, 0)}
        try:
            newest = await self._access.write(self._access.log.acceptances.share, news)
        except LogError as error:
            self._access.failed("could not share with the other replicas which webhooks were accepted", error)
            return
        self._shared |= news
        self._telemetry.accepted_elsewhere(newest)
