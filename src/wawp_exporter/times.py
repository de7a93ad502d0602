"""Times: Unix milliseconds and datetimes."""

from datetime import UTC, datetime


def utc(ms: int) -> datetime:
    """Unix ms as a datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
