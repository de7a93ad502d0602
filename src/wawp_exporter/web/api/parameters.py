"""The parameters of a request, read as a struct declares them."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request

from wawp_exporter.errors import BadRequest

T = TypeVar("T", bound=msgspec.Struct)
TIME = "a date, an RFC 3339 time, Unix seconds, or an age such as 24h"
Limit = Annotated[int, Meta(ge=1, le=1000, description="How many to give at most.")]
Cursor = Annotated[str | None, Meta(description="`next_cursor` of the answer before.")]


def parameters(request: Request, kind: type[T]) -> T:
    """The query of a request; raises BadRequest, which names the parameter and what was expected."""
    return converted(dict(request.query_params), kind)


def converted(given: Mapping[str, str], kind: type[T]) -> T:
    """Parameters as they are declared; raises BadRequest, which names the parameter and what was expected."""
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(explain(str(error))) from None


def explain(message: str) -> str:
    """msgspec's ``Expected `int` >= 1 - at `$.limit` `` → ``limit: expected `int` >= 1``."""
    what, at, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what[0].lower()}{what[1:]}" if at else what[0].lower() + what[1:]
