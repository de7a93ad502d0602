"""The page of the uptime audit: a form, and the report it asks for."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.errors import BadRequest, TooBusy
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.web.api.audits import AuditEndpoint, AuditQuery
from wawp_exporter.web.api.parameters import converted
from wawp_exporter.web.api.waiting import while_connected
from wawp_exporter.web.pages.render import render


class AuditPage:
    """Its report is that of the API."""

    def __init__(self, fleet: Fleet, audits: AuditEndpoint) -> None:
        self._fleet = fleet
        self._audits = audits

    async def get(self, request: Request) -> Response:
        """The uptime audit, by form; a mistake in it is shown beside it."""
        now, given = unix_now(), {key: value for key, value in request.query_params.items() if value}
        asked, report, error, status = AuditQuery(start="7d"), None, "", 200
        try:
            asked = msgspec.structs.replace(query_of(given), format=None)
            report = await while_connected(request, self._audits.report_of(asked))
        except (BadRequest, TooBusy) as refusal:
            error, status = refusal.message, refusal.status
        values: dict[str, Any] = {
            "asked": asked,
            "zone": self._fleet.rules.config.timezone,
            "error": error,
            "report": report,
        }
        if report:
            worst = sorted(report.sessions, key=lambda row: -row.downtime_seconds)
            values["tables"] = [("All", [report.total]), ("Groups", report.groups), ("Engines", report.engines),
                                ("Sources", report.sources), ("Sessions", worst)]  # fmt: skip
            values["most"] = max(map(max, report.hour_of_week))
            values["link"] = urlencode({key: value for key, value in given.items() if key != "format"})
        return render(request, "audit.html", now, status, **values)


def query_of(given: Mapping[str, str]) -> AuditQuery:
    """What a form asks of an audit, a week unless it says otherwise. Raises BadRequest."""
    return converted({"from": "7d", **given}, AuditQuery)
