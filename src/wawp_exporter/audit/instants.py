"""How a time or a period is written on the way in: a date, a time, Unix seconds, or an age such as `30d`."""

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wawp_exporter.dialects.reading import MAX_INSTANT_MS
from wawp_exporter.errors import BadRequest

AGO = re.compile(r"(\d{1,6})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises BadRequest."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest("timezone: not a known time zone, expected an IANA name such as Europe/Madrid") from None


def instant(name: str, text: str, zone: ZoneInfo, now: int) -> int:
    """`2026-11-01`, `2026-11-01T08:00`, `…Z`, Unix seconds, or `30d` ago → Unix ms. Raises BadRequest naming `name`.

    Unix ms, which dashboards link with, are recognized by their length. A time without a zone is in `zone`.
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
