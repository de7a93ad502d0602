"""What setup asks for: each field with its flag, its question, and the check of its value."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wawp_exporter.config import files
from wawp_exporter.config.values import SOURCE_NAME, check_external_url, check_listen, check_zone, is_port, is_web_url

EMAIL = re.compile(r"[^@\s,<>{}]+@[^@\s,<>{}]+")
HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
LINK = re.compile(r"https?://[^\s{}\x00-\x1f\x7f]+")
CHAT = re.compile(r"\+?([0-9]{6,20})|[0-9-]{6,40}@(?:c\.us|g\.us|lid|s\.whatsapp\.net)")
# What YAML reads as something else than text: Alertmanager would send it without quotes.
NOT_TEXT = re.compile(r"[-+.0-9][-+.0-9_:eExXoO]*|~|null|true|false|yes|no|on|off|y|n", re.IGNORECASE)
SESSION = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Field:
    """One value: `--name`, the question for it, what is expected, and its check.

    The check returns the value as it is used, and raises ValueError. `default`: None if a value is necessary, "" if
    none is needed. `asked`: whether a person is asked for it. `after`: the field without which it is not needed.
    """

    name: str
    asks: str
    expects: str
    check: Callable[[str], str]
    secret: bool = False
    default: str | None = None
    asked: bool = True
    after: str = ""

    def parse(self, text: str) -> str:
        """The value as it is used; `@FILE` is the first secret of a file. Raises ValueError: what is wrong."""
        value = text.strip()
        if value.startswith("@") and self.secret:
            value = first_line(Path(value[1:]))
        if not value and self.default == "":
            return ""
        try:
            return self.check(value)
        except ValueError:
            raise ValueError(f"is not usable, expected {self.expects}") from None


def first_line(path: Path) -> str:
    """The secret in a file. Raises ValueError."""
    try:
        return files.secrets_in(files.read(path, files.MAX_NAMED_BYTES))[0].decode()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}, expected a readable file") from None


def matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """A check: the whole value matches."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError
        return value

    return check


def server(value: str) -> str:
    """The URL of a server, without a slash at its end."""
    if not is_web_url(value) or "{" in value or "}" in value:
        raise ValueError
    return value.rstrip("/")


def shown(value: str) -> str:
    """The URL of pages that people open, as the exporter's configuration takes it; empty: there are none."""
    return check_external_url(server(value)) if value else ""


def link(value: str) -> str:
    """Any URL; what Alertmanager would take for a template is refused."""
    if not LINK.fullmatch(value) or not urlsplit(value).hostname:
        raise ValueError
    return value


def whole_number(value: str) -> str:
    """A whole number other than zero."""
    if not int(value):
        raise ValueError
    return str(int(value))


def mail(value: str) -> str:
    """Mail addresses, parted by commas."""
    addresses = [each.strip() for each in value.split(",")]
    return ", ".join(matching(EMAIL)(each) for each in addresses)


def host_port(value: str) -> str:
    """`host:port`."""
    if not HOST_PORT.fullmatch(value) or not is_port(value.rpartition(":")[2]):
        raise ValueError
    return value


def chat(value: str) -> str:
    """A phone number → the id of its chat; ids stay."""
    found = CHAT.fullmatch(value.replace(" ", ""))
    if not found:
        raise ValueError
    return f"{found[1]}@c.us" if found[1] else value


def session(value: str) -> str:
    """A session of WAHA whose name stays text on its way through YAML."""
    if not SESSION.fullmatch(value) or NOT_TEXT.fullmatch(value):
        raise ValueError
    return value


def secret(value: str) -> str:
    """A key, token or password: anything on one line that Alertmanager does not take for a template."""
    if not value or "{{" in value or not value.isprintable():
        raise ValueError
    return value


def yes_or_no(value: str) -> str:
    """`yes` or `no`."""
    return matching(re.compile("yes|no"))(value.lower())


URL_EXAMPLE = "a URL such as http://127.0.0.1"
SOURCE = Field("source", "Name of the source", "letters, digits and _ . -", matching(SOURCE_NAME), default="default")
LISTEN = Field(
    "listen",
    "Address of the pages and metrics",
    "host:port such as 127.0.0.1:10011",
    check_listen,
    default="127.0.0.1:10011",
    asked=False,
)
INGRESS_URL = Field(
    "ingress-url",
    "URL at which the gateway reaches this exporter (from a container not 127.0.0.1)",
    f"{URL_EXAMPLE}:10011 (same machine) or http://192.0.2.7:10012",
    server,
    default="http://127.0.0.1:10011",
)
INGRESS_LISTEN = Field(
    "ingress-listen",
    "Address that takes webhooks only",
    "host:port such as 0.0.0.0:10012",
    check_listen,
    default="",
    asked=False,
)
EXTERNAL_URL = Field(
    "external-url",
    "URL at which people open the pages (links in messages)",
    f"{URL_EXAMPLE}:10011",
    shown,
    default="http://127.0.0.1:10011",
)
GRAFANA = Field(
    "grafana", "URL at which people open Grafana", f"{URL_EXAMPLE}:3000", shown, default="http://127.0.0.1:3000"
)
PROMETHEUS = Field(
    "prometheus", "URL of Prometheus", f"{URL_EXAMPLE}:9090", server, default="http://127.0.0.1:9090", asked=False
)
ALERTMANAGER = Field(
    "alertmanager", "URL of Alertmanager", f"{URL_EXAMPLE}:9093", server, default="http://127.0.0.1:9093", asked=False
)
DEAD_MANS_SWITCH = Field(
    "dead-mans-switch",
    "URL that a dead man's switch wants to hear from every 5 minutes (empty: none)",
    "the URL that the service gave you",
    link,
    secret=True,
    default="",
)
TIMEZONE = Field(
    "timezone", "Time zone of office hours", "an IANA name such as Europe/Berlin", check_zone, default="", asked=False
)
GENERAL = (
    SOURCE,
    INGRESS_URL,
    INGRESS_LISTEN,
    LISTEN,
    EXTERNAL_URL,
    GRAFANA,
    PROMETHEUS,
    ALERTMANAGER,
    DEAD_MANS_SWITCH,
    TIMEZONE,
)
