"""What single values of the configuration may be: durations, addresses, times, names, and files with secrets.

Each check takes a value as it is written, gives it as it is meant, or raises ValueError: what is wrong, what was
expected. What a check refuses is not shown where it may be a secret.
"""

import fnmatch
import ipaddress
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema

from wawp_exporter.config import files

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
MAX_DURATION_S = 100 * UNITS["y"]
MAX_SHOWN = 12
DURATION = re.compile(r"([0-9]{1,9})(ms|[smhdwy])")
HOST = re.compile(r"[A-Za-z0-9._-]{0,255}")
POSTGRESQL = re.compile(
    r"postgres(ql)?://(?:[^/?#\x00-\x1f]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]\s]*)(?::[0-9]{1,5})?"
    r"/[^/?#\x00-\x1f]+(?:\?[^#\x00-\x1f]*)?"
)
SQLITE = re.compile(r"sqlite:///(?!:memory:)[^?\x00-\x1f]+")
WEB_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?(?:/[^?#\s\x00-\x1f\x7f\\]*)?")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# They say how a request is to be read, so none of them can hold a signature.
TAKEN_HEADERS = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
    ]
) | {"transfer-encoding"}
HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
FULL = "as generate-token answers it, and after a space the URL of the session's own webhook, if it has one"
NUMBER = re.compile(r"\+?[0-9]{7,15}")
TOKEN_LINE = re.compile(r"[^:\s]+:[\x21-\x7e]+(?: +https?://[\x21-\x7e]+)?")


def split_listen(listen: str) -> tuple[str, str]:
    """`[::1]:10011` → `("::1", "10011")`; an empty host means every address."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def is_loopback(host: str) -> bool:
    """Whether a host name or address certainly means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_port(text: str) -> bool:
    """Whether this is a TCP port, 0 included."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def parse_duration(value: object) -> float:
    """`90s`, `5m`, `1h30m`, `400d` → seconds."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    parts = DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        # What is long may be something else that slipped in here, a secret even.
        shown = repr(value) if len(str(value)) <= MAX_SHOWN else f"a {type(value).__name__}"
        raise ValueError(f"{shown} is not a duration, expected a number with a unit such as 60s, 5m, 1h or 400d")
    seconds = sum(int(number) * UNITS[unit] for number, unit in parts)
    if seconds > MAX_DURATION_S:
        raise ValueError("is too long, expected a duration of at most 100y")
    return seconds


def check_positive(value: float) -> float:
    """Zero is refused where it would mean "keep nothing"."""
    if value <= 0:
        raise ValueError("is zero, expected a duration above zero")
    return value


def check_listen(value: str) -> str:
    """`host:port`, `[ipv6]:port` or `:port`."""
    host, port = split_listen(value)
    bracketed = value.startswith("[") and value == f"[{host}]:{port}"
    if not is_port(port) or not (is_ipv6(host) if bracketed else HOST.fullmatch(host)):
        raise ValueError("is not an address, expected host:port such as 127.0.0.1:10011")
    return value


def is_ipv6(host: str) -> bool:
    """Whether this is an IPv6 address, with a zone or without."""
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def check_zone(value: str) -> str:
    """A name of the IANA time zone database."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone, expected an IANA name such as UTC or Europe/Berlin") from None
    return value


def check_database(value: str) -> str:
    """A SQLite file or a PostgreSQL database."""
    if not POSTGRESQL.fullmatch(value) and not SQLITE.fullmatch(value):
        raise ValueError(
            "is not a database, expected sqlite:///path/to/file.db or postgresql://user:password@host/name"
        )
    return value


def is_web_url(value: str) -> bool:
    """Whether this is an absolute http(s) URL without user, query and fragment."""
    if not WEB_URL.fullmatch(value):
        return False
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


def check_api_url(value: str) -> str:
    """Where a gateway answers; a key in a URL would be read by everybody on the way."""
    if not is_web_url(value):
        raise ValueError("is not the address of an API, expected http(s)://host[:port][/path] without user or query")
    return value


def check_external_url(value: str) -> str:
    """Where people reach the pages, without a slash at its end: paths are appended."""
    return check_address(value, "the address of the pages")


def check_grafana_url(value: str) -> str:
    """Where people reach Grafana, without a slash at its end."""
    return check_address(value, "the address of Grafana")


def check_address(value: str, what: str) -> str:
    """An address that links begin with. Browsers resolve `//`, `.` and `..` to something else than is written."""
    value = value.rstrip("/")
    steps = [unquote(step) for step in value.split("/")[3:]]
    if not is_web_url(value) or {"", ".", ".."} & set(steps):
        raise ValueError(f"is not {what}, expected http(s)://host[:port][/path] without user or query")
    return value


def check_zoned(value: object) -> object:
    """A time without a zone is a page at the wrong hour, and a bare number is a slip."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("is not a time with a zone, expected one such as 2026-12-01T02:00:00Z")
    return value


def check_header(value: str) -> str:
    """The name of a header that can hold a signature."""
    if not HEADER_NAME.fullmatch(value):
        raise ValueError("is not the name of a header, expected letters, digits and - such as X-Webhook-Hmac")
    if value.lower() in TAKEN_HEADERS:
        raise ValueError("is a header that HTTP itself uses, expected one such as X-Webhook-Hmac")
    return value


def check_header_value(value: str) -> str:
    """What is sent in a header as it is: visible ASCII signs."""
    if not HEADER_VALUE.fullmatch(value):
        raise ValueError("cannot be sent in a header, expected visible ASCII characters without spaces")
    return value


def check_not_empty(value: str) -> str:
    """Empty is refused where it would match nothing."""
    if not value.strip():
        raise ValueError("is empty, expected a name")
    return value


def check_file(value: str, info: ValidationInfo) -> str:
    """Makes a path relative to the configuration file absolute, and reads the file once to be sure."""
    path = base_of(info) / value
    if not content_of(path, info).strip():
        raise ValueError(f"{path} is empty, expected at least one line")
    return str(path)


def check_secrets(value: str, info: ValidationInfo) -> str:
    """The same of a file with one secret a line. What it holds is kept in the context, so that it is read only once.

    A file that is emptied between the check and a second reading would open what it is to lock.
    """
    path = str(base_of(info) / value)
    kept = secrets_read(info)
    if path not in kept:
        content = content_of(Path(path), info)
        try:
            kept[path] = files.secrets_in(content)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
    return path


def check_key(value: str, info: ValidationInfo) -> str:
    """The same of a file with one key that is sent in a header; wppconnect-server has a token for each session."""
    path = check_secrets(value, info)
    keys = secrets_read(info)[path]
    if info.data.get("kind") == "wppconnect":
        for number, key in enumerate(keys, 1):
            if not TOKEN_LINE.fullmatch(key.decode()):
                raise ValueError(f"{path}: secret {number} is no session:token, expected one a line, {FULL}")
        return path
    if len(keys) != 1:
        raise ValueError(f"{path} holds {len(keys)} lines, expected one key")
    if not HEADER_VALUE.fullmatch(keys[0].decode()):
        raise ValueError(f"{path} holds a key that cannot be sent in a header, expected ASCII without spaces")
    return path


def check_number(value: str, info: ValidationInfo) -> str:
    """The same of a file with one phone number, which is not shown."""
    path = check_secrets(value, info)
    numbers = secrets_read(info)[path]
    if len(numbers) != 1 or not NUMBER.fullmatch(numbers[0].decode()):
        raise ValueError(f"{path} holds no phone number, expected one line of 7 to 15 digits, the country code first")
    return path


def content_of(path: Path, info: ValidationInfo) -> bytes:
    """The bytes of a named file. Its stamp is taken first: what is written meanwhile is a change."""
    stamps: files.Stamps = (info.context or {}).get("stamps", {})
    stamps.setdefault(path, files.stamp_of(path))
    try:
        return files.read(path, files.MAX_NAMED_BYTES)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}, expected a readable file") from None


def base_of(info: ValidationInfo) -> Path:
    """The folder of the configuration file."""
    base: Path = (info.context or {}).get("base", Path())
    return base


def secrets_read(info: ValidationInfo) -> dict[str, tuple[bytes, ...]]:
    """The secrets that were read so far, by path."""
    kept: dict[str, tuple[bytes, ...]] = (info.context or {}).get("secrets", {})
    return kept


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as a compiled pattern, case-sensitive on every platform."""
    return re.compile(fnmatch.translate(pattern))


WRITTEN = WithJsonSchema(
    {"type": ["string", "integer"], "pattern": f"^({DURATION.pattern})+$", "minimum": 0, "maximum": 0}
)
Duration = Annotated[float, BeforeValidator(parse_duration), WRITTEN]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), AfterValidator(check_positive), WRITTEN]
Listen = Annotated[str, AfterValidator(check_listen)]
NamedFile = Annotated[str, AfterValidator(check_file)]
SecretFile = Annotated[str, AfterValidator(check_secrets)]
KeyFile = Annotated[str, AfterValidator(check_key)]
NumberFile = Annotated[str, AfterValidator(check_number)]
Moment = Annotated[datetime, BeforeValidator(check_zoned)]
DatabaseUrl = Annotated[str, AfterValidator(check_database)]
ApiUrl = Annotated[str, AfterValidator(check_api_url)]
ExternalUrl = Annotated[str, AfterValidator(check_external_url)]
GrafanaUrl = Annotated[str, AfterValidator(check_grafana_url)]
HeaderName = Annotated[str, AfterValidator(check_header)]
HeaderValue = Annotated[str, AfterValidator(check_header_value)]
Zone = Annotated[str, AfterValidator(check_zone)]
NotEmpty = Annotated[str, AfterValidator(check_not_empty)]
