"""YAML and environment → a frozen `Settings`, or the complete list of mistakes."""

import difflib
import fnmatch
import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from wawp_exporter.errors import ConfigError

ENV_PREFIX = "WAWP_EXPORTER_"
# Read by the command line and the build information, so no keys of the configuration.
ENV_NOT_KEYS = frozenset({"CONFIG", "REVISION"})
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
MAX_SHOWN = 12
RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
DURATION = re.compile(r"(\d{1,9})(ms|[smhdwy])")
POSTGRESQL = re.compile(r"postgres(ql)?://(?:[^/?#]*@)?[^/?#@]*/[^/?#]+(?:\?[^#]*)?")
API_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[^?#\s]*)?")
ORDINAL = re.compile(r"\d{1,6}$")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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


def parse_duration(value: object) -> float:
    """`90s`, `5m`, `1h30m`, `400d` → seconds; ValueError names the form that was expected."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    parts = DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        # What is long may be something else that slipped in here, a secret even.
        shown = repr(value) if len(str(value)) <= MAX_SHOWN else f"a {type(value).__name__}"
        raise ValueError(f"{shown} is not a duration, expected a number with a unit such as 60s, 5m, 1h or 400d")
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def check_positive(value: float) -> float:
    """Zero is refused where it would mean "keep nothing"."""
    if value <= 0:
        raise ValueError("is zero, expected a duration above zero")
    return value


def check_listen(value: str) -> str:
    """`host:port`, `[ipv6]:port` or `:port`."""
    host, port = split_listen(value)
    if not port.isdigit() or int(port) > 65535 or (":" in host and not value.startswith("[")):
        raise ValueError("is not an address, expected host:port such as 127.0.0.1:10011")
    return value


def check_zone(value: str) -> str:
    """A name of the IANA time zone database."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone, expected an IANA name such as UTC or Europe/Berlin") from None
    return value


def check_database(value: str) -> str:
    """A SQLite file or a PostgreSQL database."""
    if POSTGRESQL.fullmatch(value):
        return value
    if not value.startswith("sqlite:///") or value in ("sqlite:///", "sqlite:///:memory:"):
        raise ValueError(
            "is not a database, expected sqlite:///path/to/file.db or postgresql://user:password@host/name"
        )
    return value


def check_url(value: str) -> str:
    """Where a gateway answers; a key in a URL would be read by everybody on the way."""
    if not API_URL.fullmatch(value):
        raise ValueError("is not the address of an API, expected http(s)://host[:port][/path] without user or query")
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


def check_file(value: str, info: ValidationInfo) -> str:
    """Makes a path relative to the configuration file absolute, and reads the file once to be sure."""
    base: Path = (info.context or {}).get("base", Path())
    path = base / value
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}, expected a readable file") from None
    if not content.strip():
        raise ValueError(f"{path} is empty, expected at least one line")
    return str(path)


def check_sources(sources: dict[str, "Source"]) -> dict[str, "Source"]:
    """A source's name stands in URLs and labels."""
    if not sources:
        raise ValueError("is empty, expected at least one source")
    for name in sources:
        if not SOURCE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a source name, expected letters, digits and _ . - (at most 64)")
    return sources


WRITTEN = WithJsonSchema(
    {"type": ["string", "integer"], "pattern": f"^({DURATION.pattern})+$", "minimum": 0, "maximum": 0}
)
Duration = Annotated[float, BeforeValidator(parse_duration), WRITTEN]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), AfterValidator(check_positive), WRITTEN]
Listen = Annotated[str, AfterValidator(check_listen)]
SecretFile = Annotated[str, AfterValidator(check_file)]
Moment = Annotated[datetime, BeforeValidator(check_zoned)]


class Section(BaseModel):
    """The manners of every section: frozen, typed strictly, unknown keys refused, defaults checked too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, populate_by_name=True)


class Tls(Section):
    """Certificate and key, both or none; SIGHUP reads them again."""

    cert_file: SecretFile | None = None
    """Certificate chain (PEM), of both listeners; SIGHUP reads a renewed one."""
    key_file: SecretFile | None = None
    """Its key."""


class Web(Section):
    """Where the service listens and what it asks of callers."""

    listen: Listen = "127.0.0.1:10011"
    """/metrics, pages, API, and /webhook unless ingress_listen is set."""
    ingress_listen: Listen | None = None
    """When set, /webhook answers here and nowhere else, and nothing else answers here."""
    tls: Tls = Tls()
    metrics_token_file: SecretFile | None = None
    """Bearer token (or Basic password) for /metrics."""
    api_token_file: SecretFile | None = None
    """Bearer token (or Basic password) for /api, the pages and all that changes something."""
    enable_lifecycle: bool = False
    """POST /-/reload (SIGHUP always reloads)."""
    external_url: str | None = None
    """What links in notifications begin with."""


class LogFormat(Section):
    """Level and form of the service's own log lines, which go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """debug | info | warning | error."""
    format: Literal["logfmt", "json"] = "logfmt"
    """logfmt | json."""


class Database(Section):
    """Where the event log is and how long its events are kept."""

    url: Annotated[str, AfterValidator(check_database)] = Field(default="sqlite:///data/wawp.db", repr=False)
    """Three slashes: relative, four: absolute; or postgresql://user:password@host/name."""
    retention: PositiveDuration = Field(default="400d")  # type: ignore[assignment]  # parsed by the validator
    """How long events are kept; what a live status rests on is kept longer."""


class Shard(Section):
    """Which part of the fleet this replica exports."""

    index: Annotated[int, Field(ge=0)] | Literal["auto"] = 0
    """With PostgreSQL: which part of the fleet; auto: the number at the end of the host's name, modulo total."""
    total: Annotated[int, Field(ge=1)] = 1
    """How many parts."""

    @property
    def ordinal(self) -> int:
        """The index; `auto` is the number at the end of the host's name, as a StatefulSet gives it, modulo `total`."""
        if self.index != "auto":
            return self.index
        number = ORDINAL.search(socket.gethostname())
        return int(number.group()) % self.total if number else 0


class GatewayApi(Section):
    """The gateway's own HTTP API."""

    kind: Literal["waha", "wawp"] = "waha"
    """waha | wawp; see gateway.md."""
    url: Annotated[str, AfterValidator(check_url)] | None = None
    """Where the gateway answers; Wawp's own address if null."""
    key_file: SecretFile | None = None
    """Its API key."""
    poll_interval: PositiveDuration = Field(default="60s")  # type: ignore[assignment]  # parsed by the validator
    """How often every session is asked for."""
    instances: list[str] = []
    """wawp: the ids of the instances to ask for."""

    @property
    def configured(self) -> bool:
        """Whether there is an API to ask: Wawp has one address, a WAHA has its own."""
        return self.url is not None or (self.kind == "wawp" and bool(self.instances))


class Source(Section):
    """One Wawp account or one WAHA server that sends webhooks, and how its webhooks are believed."""

    hmac_keys_file: SecretFile | None = None
    """One key a line; any of them is accepted (rotation)."""
    hmac_algorithm: Literal["sha512", "sha256"] = "sha512"
    """sha512 (WAHA) | sha256."""
    hmac_header: str = "X-Webhook-Hmac"
    """Where the signature is."""
    token_file: SecretFile | None = None
    """Or a shared token: Authorization: Bearer …, ?token=… or ?secret=…."""
    allow_unsigned: bool = False
    """Takes unsigned webhooks from anywhere."""
    dialect: Literal["waha", "evolution", "wppconnect"] = "waha"
    """waha (Wawp too) | evolution | wppconnect; see gateways.md."""
    api: GatewayApi = GatewayApi()

    @property
    def authenticated(self) -> bool:
        """Whether anything proves who sent a webhook."""
        return bool(self.hmac_keys_file or self.token_file)


class Thresholds(Section):
    """Default limits in seconds, exported as `wawp_threshold_default_seconds{kind}`."""

    starting: Duration = Field(default="60s")  # type: ignore[assignment]  # parsed by the validator
    """STARTING for longer is stuck."""
    failed: Duration = Field(default="10s")  # type: ignore[assignment]  # parsed by the validator
    """FAILED for longer is told."""
    qr_escalate: Duration = Field(default="5m")  # type: ignore[assignment]  # parsed by the validator
    """A login that waits for longer goes to IT."""
    qr_unattended: Duration = Field(default="1h")  # type: ignore[assignment]  # parsed by the validator
    """And for longer than this to the lead."""
    down: Duration = Field(default="15m")  # type: ignore[assignment]  # parsed by the validator
    """Not WORKING for longer, whatever it went through."""
    silent: Duration = Field(default="0s")  # type: ignore[assignment]  # parsed by the validator
    """WORKING without any event for longer; 0s: off."""
    feed_silence: Duration = Field(default="0s")  # type: ignore[assignment]  # parsed by the validator
    """Nothing at all from a source for longer; 0s: off, a healthy fleet can be silent for days."""


class Overrides(Section):
    """Limits of some sessions only; None leaves the default."""

    starting: Duration | None = None
    failed: Duration | None = None
    qr_escalate: Duration | None = None
    qr_unattended: Duration | None = None
    down: Duration | None = None
    silent: Duration | None = None

    def given(self) -> dict[str, float]:
        """The overridden kinds, in seconds."""
        return {kind: value for kind, value in self.model_dump().items() if value is not None}


class SessionRule(Section):
    """Metadata and limits of the sessions that two globs match; the first match wins."""

    source: str = "*"
    session: str = "*"
    owner: str = ""
    tier: str = ""
    thresholds: Overrides = Overrides()


class Window(Section):
    """A window of maintenance: from ≤ t < to."""

    source: str = "*"
    session: str = "*"
    from_: Moment = Field(alias="from")
    to: Moment


class Metrics(Section):
    """Which sessions have series of their own."""

    sessions: Literal["all", "troubled"] = "all"
    """all | troubled: those not WORKING/STOPPED, in an episode, restricted or silent, and 1 h after."""
    session_histograms: bool = True
    """About 100 series a session: false is advised above 500 sessions."""
    max_sessions: Annotated[int, Field(ge=0)] = 5000
    """Beyond it counted only; STOPPED drop first, then WORKING; in an episode up to twice as many."""
    forget_stopped_after: PositiveDuration = Field(default="30d")  # type: ignore[assignment]  # parsed by the validator
    """Series vanish, the log stays."""


class Remedy(Section):
    """Restarts of stuck sessions on Alertmanager's word."""

    alerts: list[str] = []
    """For which alerts a session is restarted; see gateway.md."""
    max_per_hour: Annotated[int, Field(ge=0)] = 3
    """Restarts of one session."""
    max_concurrent: Annotated[int, Field(ge=1)] = 5
    """Restarts under way at once."""
    backoff: Duration = Field(default="1m")  # type: ignore[assignment]  # parsed by the validator
    """From one attempt to the next, doubled each time."""
    dry_run: bool = False
    """Only say what would be done."""
    token_file: SecretFile | None = None
    """Bearer token for POST /alertmanager."""


class Slo(Section):
    """The objective: the share of counted seconds in which sessions are WORKING."""

    objective: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """The share of counted seconds in which sessions are to be WORKING."""


class Config(Section):
    """The whole configuration; `make docs` writes the reference in docs/configuration.md from these docstrings."""

    web: Web = Web()
    log: LogFormat = LogFormat()
    database: Database = Database()
    shard: Shard = Shard()
    sources: Annotated[dict[str, Source], AfterValidator(check_sources)] = {"default": Source()}
    thresholds: Thresholds = Thresholds()
    sessions: list[SessionRule] = []
    """Metadata and limits by glob, first match wins; see below."""
    maintenance: list[Window] = []
    """Windows in which sessions are excused; see below."""
    groups: dict[str, list[str]] = {}
    """name: [source/session, …] in failover order; a session is in at most one."""
    metrics: Metrics = Metrics()
    remedy: Remedy = Remedy()
    slo: Slo = Slo()
    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """Of audits and recurring patterns."""

    @property
    def webhook_listen(self) -> str:
        """The address on which `/webhook` answers."""
        return self.web.ingress_listen or self.web.listen


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret files held, as bytes. Never printed: the fields are out of `repr`."""

    hmac_keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    metrics_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    api_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    remedy_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    gateway_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that was checked, with the contents of its secret files."""

    config: Config
    secrets: Secrets


class DuplicateKey(Exception):
    """A key stands twice in one mapping."""


class StrictLoader(yaml.SafeLoader):
    """YAML as PyYAML reads it safely, but a key given twice is a mistake, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses the second of two equal keys with its line."""
        seen = set()
        for key_node, _ in node.value:
            # Keys that are no scalars are refused by PyYAML itself, `<<` is no key but a merge.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise DuplicateKey(f"{key}: given twice (line {key_node.start_mark.line + 1}), expected it once")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the file (None: defaults only) and the environment; raises ConfigError with every mistake."""
    data = read_yaml(path) if path else {}
    overlay(data, os.environ if environ is None else environ)
    return check(data, path.parent if path else Path())


def read_yaml(path: Path) -> dict[str, Any]:
    """The file as a mapping; ConfigError says what it is instead."""
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}, expected a YAML file"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8, expected a YAML file"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"{path}: is a {type(data).__name__}, expected a mapping of keys"])
    return data


def parse_yaml(text: str, name: str) -> Any:
    """YAML as plain values; ConfigError names where it stands, and never shows what it says."""
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError([f"{name}: is not YAML{where}: {problem}"]) from None
    except DuplicateKey as error:
        raise ConfigError([f"{name}: {error}" if name.startswith(ENV_PREFIX) else str(error)]) from None
    # What PyYAML lets through: dates that do not exist, numbers and nestings beyond all measure.
    except (ValueError, OverflowError, RecursionError) as error:
        what = "a value that does not exist" if isinstance(error, ValueError) else "too large or too deep"
        raise ConfigError([f"{name}: holds {what}, expected a date, a number or a nesting as they are usual"]) from None


def overlay(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Lays `WAWP_EXPORTER_A__B=value` over `a.b`; the value is read as YAML, an empty one means null."""
    for name in sorted(environ):
        key = name.removeprefix(ENV_PREFIX)
        if key == name or key in ENV_NOT_KEYS:
            continue
        put(data, key.split("__"), parse_yaml(environ[name], name))


def put(data: dict[str, Any], path: list[str], value: object) -> None:
    """Sets one nested key; existing keys are matched without regard to case, as environments are upper-case."""
    *parents, last = path
    for part in parents:
        key = same_key(data, part)
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[same_key(data, last)] = value


def same_key(data: Mapping[Any, Any], name: str) -> str:
    """The key of `data` that equals `name` but for case, else `name` in lower case."""
    return next((key for key in data if isinstance(key, str) and key.lower() == name.lower()), name.lower())


def check(data: dict[str, Any], base: Path = Path()) -> Settings:
    """Checks a raw mapping as a whole: mistakes of form, then those between sections that have none."""
    context = {"base": base}
    mistakes: list[str] = []
    bad: set[object] = set()
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        mistakes = [describe(problem) for problem in error.errors(include_url=False)]
        bad = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
        sound = {key: value for key, value in data.items() if str(key) not in bad}
        config = Config.model_validate(sound, context=context)
    mistakes += cross_check(config, bad)
    if mistakes:
        raise ConfigError(mistakes)
    return Settings(config, read_secrets(config))


def describe(problem: Any) -> str:
    """One pydantic error → `key: what is wrong, what was expected`; values are not shown, they may be secrets."""
    path = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "nullable")))
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key, expected {known_keys(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{path}: missing, expected a value"
    if problem["type"] == "invalid_key":
        return f"{path}: is not a name, expected keys in words"
    if problem["type"] in RANGES:
        return f"{path}: is out of range, expected {message.removeprefix('Input should be ')}"
    if message.startswith("Input should be "):
        kind = "null" if problem["input"] is None else type(problem["input"]).__name__
        return f"{path}: is a {kind}, expected {message.removeprefix('Input should be ')}"
    return f"{path}: {message}"


def known_keys(loc: tuple[int | str, ...]) -> str:
    """What could have been meant by an unknown key: the close ones, else all."""
    model: Any = Config
    for part in loc[:-1]:
        inner = [f.annotation for name, f in model.model_fields.items() if part in (name, f.alias)]
        # Indexes of lists and names of sources lead into the same section.
        model = inner_model(inner[0]) if inner else model
    fields = model.model_fields
    names = [f.alias or name for name, f in fields.items()]
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return close[0] if close else "one of " + ", ".join(names)


def inner_model(annotation: Any) -> Any:
    """The section inside `dict[str, Section]`, `list[Section]` or `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (inner_model(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)


def cross_check(config: Config, bad: set[object]) -> Iterator[str]:
    """Mistakes between sections; a check is skipped where one of its sections is already `bad`."""
    if not bad & {"web", "sources"}:
        yield from check_exposure(config)
    if not bad & {"web"} and bool(config.web.tls.cert_file) != bool(config.web.tls.key_file):
        yield "web.tls: cert_file or key_file alone, expected both or none"
    if not bad & {"groups", "sources"}:
        yield from check_members(config)
    for section in ("sessions", "maintenance"):
        if not bad & {section, "sources"}:
            yield from check_globs(config, section)
    for index, window in enumerate(config.maintenance):
        if window.to <= window.from_:
            yield f"maintenance.{index}.to: is not after from, expected a later time"
    if not bad & {"shard", "database"}:
        yield from check_shard(config)
    if not bad & {"sources", "remedy"}:
        yield from check_apis(config)


def check_shard(config: Config) -> Iterator[str]:
    """A shard that nobody has is a part of the fleet that nobody watches."""
    shard = config.shard
    if shard.index == "auto" and not ORDINAL.search(socket.gethostname()):
        yield f"shard.index: auto, but the host's name {socket.gethostname()} ends in no number, expected an index"
    if shard.ordinal >= shard.total:
        yield f"shard.index: is {shard.index}, expected it below shard.total ({shard.total})"
    if shard.total > 1 and config.database.url.startswith("sqlite:"):
        yield "shard.total: is above 1 with SQLite, which has one replica, expected 1, or database.url: postgresql://…"


def check_apis(config: Config) -> Iterator[str]:
    """An API that cannot be asked, or a remedy that can never be applied, is a slip."""
    for name, source in config.sources.items():
        api = source.api
        if api.kind == "wawp" and (api.url or api.key_file) and not api.instances:
            yield f"sources.{name}.api.instances: is empty, expected the ids of the Wawp instances to ask for"
        if api.key_file and not api.configured and api.kind == "waha":
            yield f"sources.{name}.api.url: missing while key_file is given, expected the address of the gateway"
        if api.kind == "wawp" and api.configured and not api.key_file:
            yield f"sources.{name}.api.key_file: missing, expected the file with the access token of Wawp"
    if config.remedy.alerts and not any(source.api.configured for source in config.sources.values()):
        yield "remedy.alerts: no source has an api, expected sources.*.api for those that are to be restarted"


def check_exposure(config: Config) -> Iterator[str]:
    """Fail closed: nobody may forge webhooks from afar because a key was forgotten."""
    host, _ = split_listen(config.webhook_listen)
    if is_loopback(host):
        return
    key = "web.ingress_listen" if config.web.ingress_listen else "web.listen"
    for name, source in config.sources.items():
        if not source.authenticated and not source.allow_unsigned:
            yield (
                f"sources.{name}: neither hmac_keys_file nor token_file while {key} is not loopback, "
                "expected one of them (or allow_unsigned: true)"
            )


def check_members(config: Config) -> Iterator[str]:
    """A session is in at most one group, once; a member of a source that does not exist is never WORKING."""
    seen: dict[str, str] = {}
    for group, members in config.groups.items():
        if not members:
            yield f"groups.{group}: is empty, expected a list of source/session"
        for index, member in enumerate(members):
            key = f"groups.{group}.{index}"
            source, _, session = member.partition("/")
            if not source or not session:
                yield f"{key}: {member!r} is not a member, expected source/session"
            elif source not in config.sources:
                yield f"{key}: {member} is of no configured source, expected one of {named(config)}"
            if member in seen:
                yield f"{key}: {member} is in {seen[member]} too, expected a session in at most one group, once"
            seen[member] = group


def check_globs(config: Config, section: str) -> Iterator[str]:
    """A source glob that matches nothing is a window or a limit that silently does not hold."""
    for index, rule in enumerate(getattr(config, section)):
        pattern = glob(rule.source)
        if not any(pattern.fullmatch(name) for name in config.sources):
            yield f"{section}.{index}.source: matches no configured source, expected a glob for one of {named(config)}"


def named(config: Config) -> str:
    """The configured sources, for a message."""
    return ", ".join(config.sources)


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as a compiled pattern, case-sensitive on every platform."""
    return re.compile(fnmatch.translate(pattern))


def read_secrets(config: Config) -> Secrets:
    """The contents of the secret files: one secret a line, white space around it dropped."""
    return Secrets(
        hmac_keys={name: read_lines(source.hmac_keys_file) for name, source in config.sources.items()},
        tokens={name: read_lines(source.token_file) for name, source in config.sources.items()},
        metrics_tokens=read_lines(config.web.metrics_token_file),
        api_tokens=read_lines(config.web.api_token_file),
        remedy_tokens=read_lines(config.remedy.token_file),
        gateway_keys={
            name: read_lines(source.api.key_file)[0].decode("latin-1")
            for name, source in config.sources.items()
            if source.api.key_file
        },
    )


def read_lines(path: str | None) -> tuple[bytes, ...]:
    """The non-empty lines of a file that `check_file` has read before; none for None."""
    if path is None:
        return ()
    return tuple(line.strip() for line in Path(path).read_bytes().splitlines() if line.strip())
