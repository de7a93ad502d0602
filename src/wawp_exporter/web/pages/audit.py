"""The page of the uptime audit: a form, and the report it asks for."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.audit import Audit
from wawp_exporter.audit.instants import zone_of
from wawp_exporter.audit.rows import Row
from wawp_exporter.audit.words import duration, percent
from wawp_exporter.errors import BadRequest, TooBusy
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.web.api.audits import AuditEndpoint
from wawp_exporter.web.api.waiting import while_connected
from wawp_exporter.web.pages.audit_form import AuditForm, choices, days, link_of, periods, scope
from wawp_exporter.web.pages.render import given_in, render

# What a row says beside its name and its objective; each heading stands by itself, also on a phone and on paper.
COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("Uptime", lambda row: percent(row.uptime_ratio)),
    ("Period in the log", lambda row: percent(row.coverage_ratio)),
    ("Downtime", lambda row: duration(row.downtime_seconds)),
    ("Disconnects", lambda row: str(row.disconnects)),
    ("Mean recovery time", lambda row: duration(row.mttr_seconds)),
    ("Mean time between disconnects", lambda row: duration(row.mtbf_seconds)),
    ("Longest outage", lambda row: duration(row.longest_outage_seconds) + " (ongoing)" * row.longest_outage_ongoing),
    ("Cold starts", lambda row: str(sum(row.cold_starts.values()))),
    ("Cold start, 90 % within", lambda row: duration(row.cold_start_p90_seconds)),
    ("Reconnects", lambda row: str(sum(row.reconnects.values()))),
    ("Reconnect, 90 % within", lambda row: duration(row.reconnect_p90_seconds)),
    ("QR waits", lambda row: str(sum(row.qr_waits.values()))),
    ("QR wait, median", lambda row: duration(row.qr_wait_median_seconds)),
)


class AuditPage:
    """Its report is that of the API."""

    def __init__(self, fleet: Fleet, audits: AuditEndpoint) -> None:
        self._fleet = fleet
        self._audits = audits

    async def get(self, request: Request) -> Response:
        """The uptime audit, by form; a mistake in it is shown beside it."""
        now, asked, report, error, status = unix_now(), AuditForm(), None, "", 200
        try:
            asked = given_in(request, AuditForm)
            report = await while_connected(request, self._audits.report_of(asked.query()))
        except (BadRequest, TooBusy) as refusal:
            error, status = refusal.message, refusal.status
        values = self._form(asked, report, now) | {"error": error, "report": report}
        if report:
            values |= figures(report) | {"link": link_of(asked.query()), "scope": scope(asked)}
        return render(request, "audit.html", now, status, **values)

    def _form(self, asked: AuditForm, report: Audit | None, now: int) -> dict[str, Any]:
        """The values of the form."""
        own = self._fleet.rules.config.timezone
        first, last = days(asked, report)
        return {
            "asked": asked,
            "timezone": report.timezone if report else asked.timezone or own,
            "first": first,
            "last": last,
            "periods": periods(asked, zone_of(report.timezone if report else own), now),
            "choices": choices(self._fleet, asked),
        }


def figures(report: Audit) -> dict[str, Any]:
    """The tables of a report; sessions with the most downtime first."""
    worst = sorted(report.sessions, key=lambda row: -row.downtime_seconds)
    return {
        "columns": COLUMNS,
        "tables": [
            ("All", "Sessions", [report.total]),
            ("Groups", "Group", report.groups),
            ("Engines", "Engine", report.engines),
            ("Sources", "Source", report.sources),
            ("Sessions", "Session", worst),
        ],
        "most": max(map(max, report.hour_of_week)),
    }
