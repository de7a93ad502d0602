"""An audit for people and spreadsheets: a table for the terminal, CSV; and how a time is written on the way in."""

import csv
import io
import re
import unicodedata
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from rich.console import Console, Group
from rich.table import Table

from wawp_exporter.audit.audit import Audit, Row
from wawp_exporter.dialects.reading import MAX_INSTANT_MS
from wawp_exporter.errors import BadRequest
from wawp_exporter.model.bucket import STATUSES
from wawp_exporter.model.session import WEEKDAYS

AGO = re.compile(r"(\d{1,6})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\u2212",
)  # a spreadsheet would run a cell that begins like this, in letters of any width
PLAIN = [name for name in msgspec.structs.fields(Row) if name.name not in ("status_seconds", "starts", "qr_waits")]


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises BadRequest."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest("timezone: not a known time zone, expected an IANA name such as Europe/Madrid") from None


def instant(name: str, text: str, zone: ZoneInfo, now: int) -> int:
    """`2026-11-01`, `2026-11-01T08:00`, `…Z`, Unix seconds, or `30d` ago → Unix ms. Raises BadRequest naming `name`.

    Unix ms, which dashboards link with, are told by their length. What has no zone of its own is in `zone`.
    """
    try:
        moment = parse(text.strip(), zone, now)
    except (ValueError, OverflowError):
        moment = -1
    if not 0 <= moment <= MAX_INSTANT_MS:
        expected = "expected a date, a time (2026-11-01T08:00:00Z), Unix seconds, or an age such as 30d"
        raise BadRequest(f"{name}: not a time, {expected}")
    return moment


def parse(text: str, zone: ZoneInfo, now: int) -> int:
    """The instant in Unix ms; raises ValueError or OverflowError."""
    ago = AGO.fullmatch(text)
    if ago:
        return now - round(timedelta(**{UNITS[ago[2]]: int(ago[1])}).total_seconds() * 1000)
    if re.fullmatch(r"\d{12,}", text):
        return int(text)
    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return round(float(text) * 1000)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        day = date.fromisoformat(text)
        return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000)


def period(start: str, end: str, zone: ZoneInfo, now: int) -> tuple[int, int]:
    """[from, to) in Unix ms, cut off at `now`. Raises BadRequest."""
    since, until = instant("from", start, zone, now), instant("to", end, zone, now) if end else now
    until = min(until, now)
    if since >= until:
        raise BadRequest("from: not before `to` and the present, expected an earlier time")
    return since, until


def rows_of(audit: Audit) -> list[Row]:
    """Every row of the report: sessions first, the total last."""
    return [*audit.sessions, *audit.groups, *audit.engines, *audit.sources, audit.total]


def to_csv(audit: Audit) -> str:
    """One line a row; `kind` says of what. Names that a spreadsheet would take for formulas begin with a quote."""
    file = io.StringIO()
    writer = csv.writer(file)
    seconds = [f"{status.value.lower()}_seconds" for status in STATUSES]
    writer.writerow([*(each.name for each in PLAIN), *seconds])
    for row in rows_of(audit):
        plain = [cell(getattr(row, each.name)) for each in PLAIN]
        writer.writerow([*plain, *(cell(row.status_seconds.get(status, 0.0)) for status in STATUSES)])
    return file.getvalue()


def cell(value: object) -> object:
    """A value as a spreadsheet takes it."""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1 else f"{value:.3f}"
    if isinstance(value, str):
        return f"'{value}" if is_formula(value) else value
    return "" if value is None else value


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run a cell; it skips blanks and what is invisible, and so do we."""
    if text[:1].isspace() or not text[:1].isprintable():
        return True
    return unicodedata.normalize("NFKC", text[:1]).startswith(FORMULA)


def percent(ratio: float | None) -> str:
    """Rounded down, so that only what is perfect says 100 %."""
    return "–" if ratio is None else f"{int(ratio * 100_000 + 1e-6) / 1000:.3f} %"


def lasting(seconds: float | None) -> str:
    """A duration as people say it: the two largest units."""
    if seconds is None:
        return "–"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def print_table(audit: Audit, console: Console) -> None:
    """The report on a terminal."""
    saw = f"Prometheus can have seen {percent(audit.prometheus_saw_ratio)} of it"
    late = f", {audit.late_events} events came late" if audit.late_events else ""
    title = f"{audit.start:%Y-%m-%d %H:%M} to {audit.end:%Y-%m-%d %H:%M} UTC; {saw}{late}"
    tables = [
        figures(name, rows)
        for name, rows in (
            ("Sessions", audit.sessions),
            ("Groups", audit.groups),
            ("Engines", audit.engines),
            ("Sources", audit.sources),
            ("All", [audit.total]),
        )
        if rows
    ]
    console.print(Group(title, *tables, hours(audit), patterns(audit)))


def figures(title: str, rows: list[Row]) -> Table:
    """The main figures of some rows."""
    table = Table(title=title, title_justify="left")
    for name in ("name", "source", "uptime", "coverage", "downtime", "disconnects", "MTTR", "MTBF", "longest outage",
                 "cold start p90", "QR waits"):  # fmt: skip
        table.add_column(name, overflow="fold", justify="left" if name in ("name", "source") else "right")
    for row in rows:
        ongoing = " (ongoing)" if row.longest_outage_ongoing else ""
        table.add_row(
            printable(row.name),
            printable(row.source or ""),
            percent(row.uptime_ratio),
            percent(row.coverage_ratio),
            lasting(row.downtime_seconds),
            str(row.disconnects),
            lasting(row.mttr_seconds),
            lasting(row.mtbf_seconds),
            lasting(row.longest_outage_seconds) + ongoing,
            lasting(row.start_p90_seconds),
            str(sum(row.qr_waits.values())),
        )
    return table


def printable(name: str) -> str:
    """A name that cannot move the cursor or draw in colours."""
    return "".join(sign if sign.isprintable() else "�" for sign in name).replace("[", "\\[")


def hours(audit: Audit) -> Table:
    """Disconnects by hour of the week."""
    table = Table(
        title=f"Disconnects by hour of the week ({audit.timezone})", title_justify="left", padding=(0, 0, 0, 1)
    )
    for name in ("", *(f"{hour:02}" for hour in range(24))):
        table.add_column(name, justify="right")
    for weekday, counts in zip(WEEKDAYS, audit.hour_of_week, strict=True):
        table.add_row(weekday[:3], *(str(count) if count else "·" for count in counts))
    return table


def patterns(audit: Audit) -> str:
    """Recurring disconnects in words."""
    lines = [
        f"{printable(each.session)} of {printable(each.source)}: every {WEEKDAYS[each.weekday]} "
        f"between {each.hour:02}:00 and {(each.hour + 1) % 24:02}:00, {each.weeks} of the last 8 weeks"
        for each in audit.recurring
    ]
    return "\n".join(["Recurring disconnects", *lines]) if lines else "No disconnects recur weekly."
