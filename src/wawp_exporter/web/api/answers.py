"""The answers of the API: JSON, and times in it."""

from datetime import datetime

import msgspec
from starlette.responses import Response

from wawp_exporter.times import utc


class JSON(Response):
    """A struct, or anything else that msgspec writes, as JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The bytes of the body."""
        return msgspec.json.encode(content)


def moment_or_none(ms: int) -> datetime | None:
    """0 is none."""
    return utc(ms) if ms else None
