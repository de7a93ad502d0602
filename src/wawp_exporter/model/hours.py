"""Clock hours of a time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

HOUR_S = 3600


def hour_of(at: int, zone: ZoneInfo) -> int:
    """When the clock hour began in which `at` (Unix ms) lies, in Unix seconds: in some zones that is at half past."""
    seconds = at // 1000
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    shift = round(offset.total_seconds()) if offset else 0
    return (seconds + shift) // HOUR_S * HOUR_S - shift
