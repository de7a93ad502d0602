"""The uptime audit, as JSON or CSV."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.audit import Audit, Query, audit
from wawp_exporter.audit.instants import period, zone_of
from wawp_exporter.audit.spreadsheet import to_csv
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.reader import Reader
from wawp_exporter.log.place import Place
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.web.api.answers import JSON
from wawp_exporter.web.api.parameters import TIME, parameters
from wawp_exporter.web.api.waiting import while_connected


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """The time and the sessions of an audit; its format, else what Accept prefers."""

    start: Annotated[str, Meta(description=f"The beginning: {TIME}.")] = "30d"
    end: Annotated[str, Meta(description=f"The end: {TIME}; the present if absent.")] = ""
    source: Annotated[str | None, Meta(description="Sessions of this source only.")] = None
    session: Annotated[str | None, Meta(description="Sessions of this name only.")] = None
    group: Annotated[str | None, Meta(description="Members of this group only.")] = None
    timezone: Annotated[str | None, Meta(description="IANA name; that of the configuration if absent.")] = None
    format: Annotated[Literal["json", "csv"] | None, Meta(description="The format of the answer.")] = None


class AuditEndpoint:
    """Makes reports in a process of their own."""

    def __init__(self, fleet: Fleet, reader: Reader, place: Place) -> None:
        self._fleet = fleet
        self._reader = reader
        self._place = place

    async def get(self, request: Request) -> Response:
        """The uptime audit, as JSON or CSV."""
        asked = parameters(request, AuditQuery)
        report = await while_connected(request, self.report_of(asked))
        accepted = request.headers.get("accept", "")
        if asked.format == "csv" or (asked.format is None and accepted.startswith("text/csv")):
            name = f"wawp-audit-{report.start:%Y%m%d}-{report.end:%Y%m%d}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(to_csv(report), media_type="text/csv", headers=headers)
        return JSON(report)

    async def report_of(self, asked: AuditQuery) -> Audit:
        """The report that is asked for, made in another process. Raises BadRequest, LogError."""
        config = self._fleet.rules.config
        zone = zone_of(asked.timezone or config.timezone)
        start, end = period(asked.start, asked.end, zone, unix_now())
        query = Query(start, end, asked.source, asked.session, asked.group, zone.key)
        return await self._reader.heavy(audit, self._place, config, query)
