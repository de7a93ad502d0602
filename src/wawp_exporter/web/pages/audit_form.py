"""What the form of the audit page offers: periods by name, days, and lists to choose from."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Meta

from wawp_exporter.audit.audit import Audit
from wawp_exporter.errors import BadRequest
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.web.api.audits import AuditQuery

SESSIONS_OFFERED = 5000
DAY = timedelta(days=1)


class AuditForm(AuditQuery, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """The query of an audit; a form asks for a last day, which is included, and not for an end."""

    start: str = "7d"
    last: Annotated[str, Meta(description="The last day.")] = ""

    def query(self) -> AuditQuery:
        """The same without `last`. Raises BadRequest."""
        end = next_day(self.last) if self.last else self.end
        return AuditQuery(self.start, end, self.source, self.session, self.group, self.timezone)


def next_day(day: str) -> str:
    """The day after one. Raises BadRequest."""
    try:
        return (date.fromisoformat(day) + DAY).isoformat()
    except (ValueError, OverflowError):
        raise BadRequest("last: not a day, expected one such as 2026-11-30") from None


def link_of(asked: AuditQuery) -> str:
    """The same question as a query string, for the API."""
    given = {"from": asked.start, "to": asked.end} | others(asked)
    return urlencode({name: value for name, value in given.items() if value})


def others(asked: AuditQuery) -> dict[str, str]:
    """What is asked for beside the period."""
    given = {name: getattr(asked, name) for name in ("source", "session", "group", "timezone")}
    return {name: value for name, value in given.items() if value}


def periods(asked: AuditForm, zone: ZoneInfo, now: int) -> list[tuple[str, str, bool]]:
    """Periods with a name, as links that keep the rest of the question; and whether it is the one shown."""
    first = datetime.fromtimestamp(now / 1000, zone).date().replace(day=1)
    before = first - DAY
    offered = [
        ("Last 7 days", {"from": "7d"}),
        ("Last 30 days", {"from": "30d"}),
        ("This month", {"from": first.isoformat()}),
        ("Last month", {"from": before.replace(day=1).isoformat(), "last": before.isoformat()}),
    ]
    shown = {"from": asked.start, "last": asked.last, "to": asked.end}
    return [
        (name, urlencode(given | others(asked)), {"last": "", "to": ""} | given == shown) for name, given in offered
    ]


def days(asked: AuditForm, report: Audit | None) -> tuple[str, str]:
    """The first and the last day of the period, in the zone of the report; as they were given if there is none."""
    if not report:
        return asked.start, asked.last
    zone = ZoneInfo(report.timezone)
    ends = report.end.astimezone(UTC) - timedelta(milliseconds=1)
    return report.start.astimezone(zone).date().isoformat(), ends.astimezone(zone).date().isoformat()


def choices(fleet: Fleet, asked: AuditQuery) -> dict[str, Any]:
    """The lists to choose from; what was asked for is among them, whether it is known or not."""
    config, names = fleet.rules.config, list(fleet.sessions)
    return {
        "sources": listed({*config.sources, *(source for source, _ in names)}, asked.source),
        "sessions": listed({session for _, session in names}, None)[:SESSIONS_OFFERED],
        "groups": listed(set(config.groups), asked.group),
        "zones": zones(),
    }


def listed(names: set[str], asked: str | None) -> list[str]:
    """Sorted, with the one that was asked for."""
    return sorted(names | {asked} if asked else names)


@cache
def zones() -> list[str]:
    """The names of all time zones."""
    return sorted(available_timezones())


def scope(asked: AuditQuery) -> str:
    """What the report is of, for a print on which the form is not."""
    given = others(asked)
    given.pop("timezone", None)
    return ", ".join(f"{name} {value}" for name, value in given.items())
