"""The service's own log lines: logfmt or JSON on standard error, secrets and query strings never in them."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

Renderer = structlog.processors.JSONRenderer | structlog.processors.LogfmtRenderer
KEY_ORDER = ("timestamp", "level", "event")


def configure(level: str, form: Literal["logfmt", "json"]) -> None:
    """Sets the level and the form of all lines, those of libraries included. May be called again."""
    renderer: Renderer = structlog.processors.JSONRenderer()
    if form == "logfmt":
        renderer = structlog.processors.LogfmtRenderer(key_order=KEY_ORDER, drop_missing=True, bool_as_flag=False)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[drop_meta, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their information is about connections and migrations, at a rate and in words that help nobody.
    for name in ("uvicorn", "uvicorn.error", "alembic", "httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def drop_meta(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """What the bridge from the standard library adds for itself; multi-line tracebacks become one line."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return {key: value.replace("\n", "\\n") if isinstance(value, str) else value for key, value in event.items()}
