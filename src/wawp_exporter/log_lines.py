"""The service's own log lines: logfmt or JSON on standard error, secrets and query strings never in them.

What strangers can cause a line each time is limited (`log_limit`), and so is all else; what operators do is not.
"""

import codecs
import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from wawp_exporter.log_limit import Kind, Limit

# structlog imports rich, where it is installed, for coloured tracebacks, which are not written here: 60 modules and a
# tenth of a second of each start. None in this table lets the import fail, as if rich were not installed.
HIDES_RICH = "rich" not in sys.modules
if HIDES_RICH:
    sys.modules["rich"] = None  # type: ignore[assignment]  # documented in Python's reference, 5.3.1
import structlog  # noqa: E402

if HIDES_RICH:
    del sys.modules["rich"]

Renderer = structlog.processors.JSONRenderer | structlog.processors.LogfmtRenderer
KEY_ORDER = ("timestamp", "level", "event")
LEFT_OUT = "log lines left out"
LEFT_OUT_FIELDS = ("of", "source", "lines")
MAX_KIND_CHARS = 80
# Python reads a codec's module when it is first used: later no file descriptor may be left. Jinja uses this one too.
ESCAPED = codecs.getencoder("unicode_escape")
# Each says what an operator or Alertmanager asked for, or what the service did once: they are never left out.
OWN = frozenset(
    {
        "configuration loaded",
        "configuration refused, the old one stays",
        "listening",
        "log restored",
        "old events purged",
        "restart asked for",
        "restart failed",
        "restarts given up, a human is needed",
        "stopped",
        "unsigned webhooks are accepted",
    }
)


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
    root = logging.getLogger()
    handler = LimitedHandler(next((each.limit for each in limited(root)), Limit()))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(LEFT_OUT_FIELDS), *shared],
            processors=[drop_meta, renderer],
        )
    )
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


def limited(root: logging.Logger) -> "list[LimitedHandler]":
    """The handlers that `configure` has made."""
    return [handler for handler in root.handlers if isinstance(handler, LimitedHandler)]


def tell_left_out() -> None:
    """Writes what was left out, once it is due. To be called every second, as no other line may follow."""
    for handler in limited(logging.getLogger()):
        handler.tell(time.monotonic())


class LimitedHandler(logging.StreamHandler[Any]):
    """Writes to standard error what the limit lets through, and how many lines it did not."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(sys.stderr)
        self.limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, or counts it."""
        now = time.monotonic()
        self.tell(now)
        kind = kind_of(record)
        if kind[0] in OWN or self.limit.admit(kind, now):
            super().emit(record)

    def tell(self, now: float, *, at_once: bool = False) -> None:
        """Writes what is due at `now` (seconds, monotonic)."""
        self.acquire()
        try:
            for kind, count in self.limit.due(now, at_once=at_once).items():
                super().emit(summary(kind, count))
        finally:
            self.release()

    def close(self) -> None:
        """Says what is left to say."""
        self.tell(time.monotonic(), at_once=True)
        super().close()


def kind_of(record: logging.LogRecord) -> Kind:
    """What a line counts as: its event and its source; of a library's line the text without its arguments."""
    told = record.msg
    if isinstance(told, dict):
        return str(told.get("event", "")), str(told.get("source", ""))
    first, *_ = str(told).splitlines() or [""]
    return first[:MAX_KIND_CHARS], record.name


def summary(kind: Kind, count: int) -> logging.LogRecord:
    """The line that stands for those which were left out."""
    fields = dict(zip(LEFT_OUT_FIELDS, (*kind, count), strict=True))
    return logging.makeLogRecord({"levelno": logging.WARNING, "levelname": "WARNING", "msg": LEFT_OUT, **fields})


def drop_meta(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """What the bridge from the standard library adds for itself; and no value can break a line or hide in it."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return {key: visible(value) for key, value in event.items()}


def visible(value: Any) -> Any:
    """A value whose every sign is seen: line ends, colours, marks that turn the direction of text, as escapes."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [visible(item) for item in value]
    if isinstance(value, dict):
        return {visible(str(key)): visible(item) for key, item in value.items()}
    text = str(value)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else escape(sign) for sign in text)


def escape(sign: str) -> str:
    """`\\n`, `\\x1b`, `\\u202e`, as Python writes them."""
    return ESCAPED(sign)[0].decode()
