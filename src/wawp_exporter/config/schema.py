"""YAML and environment → a frozen `Settings`, or the complete list of mistakes."""

import difflib
import fnmatch
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from wawp_exporter.config import files
from wawp_exporter.config.values import (
    SOURCE_NAME,
    ApiUrl,
    DatabaseUrl,
    Duration,
    ExternalUrl,
    HeaderName,
    HeaderValue,
    KeyFile,
    Listen,
    Moment,
    NamedFile,
    NotEmpty,
    PositiveDuration,
    SecretFile,
    Zone,
    is_loopback,
    split_listen,
)
from wawp_exporter.errors import ConfigError

ENV_PREFIX = "WAWP_EXPORTER_"
# Read by the command line and the build information, so no keys of the configuration.
ENV_NOT_KEYS = frozenset({"CONFIG", "REVISION"})
RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
ORDINAL = re.compile(r"\d{1,6}$")


def check_sources(sources: dict[str, "Source"]) -> dict[str, "Source"]:
    """A source's name stands in URLs and labels."""
    if not sources:
        raise ValueError("is empty, expected at least one source")
    for name in sources:
        if not SOURCE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a source name, expected letters, digits and _ . - (at most 64)")
    return sources


class Section(BaseModel):
    """The manners of every section: frozen, typed strictly, unknown keys refused, defaults checked too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, populate_by_name=True)


class Tls(Section):
    """Certificate and key, both or none; SIGHUP reads them again."""

    cert_file: NamedFile | None = None
    """Certificate chain (PEM), of both listeners; SIGHUP reads a renewed one."""
    key_file: NamedFile | None = None
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
    """Bearer token (or Basic password) for /api, the pages and calls that change something."""
    enable_lifecycle: bool = False
    """POST /-/reload (SIGHUP always reloads)."""
    external_url: ExternalUrl | None = None
    """URL at which people open the pages, such as https://wawp.example: links in notifications begin with it."""


class LogFormat(Section):
    """Level and form of the service's own log lines, which go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """debug | info | warning | error."""
    format: Literal["logfmt", "json"] = "logfmt"
    """logfmt | json."""


class Database(Section):
    """Where the event log is and how long its events are kept."""

    url: DatabaseUrl = Field(default="sqlite:///data/wawp.db", repr=False)
    """Three slashes: relative, four: absolute; or postgresql://user:password@host/name."""
    retention: PositiveDuration = Field(default="400d")  # type: ignore[assignment]  # parsed by the validator
    """How long events are kept; events that a current status needs are kept longer."""


class Shard(Section):
    """Which part of the fleet this replica exports."""

    index: Annotated[int, Field(ge=0)] | Literal["auto"] = 0
    """With PostgreSQL: which part of the fleet; auto: the number at the end of the host's name, modulo total."""
    total: Annotated[int, Field(ge=1, le=1000)] = 1
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
    url: ApiUrl | None = None
    """URL of the gateway; Wawp's own address if null."""
    key_file: KeyFile | None = None
    """Its API key."""
    poll_interval: PositiveDuration = Field(default="60s")  # type: ignore[assignment]  # parsed by the validator
    """How often the status of every session is read."""
    instances: list[HeaderValue] = []
    """wawp: the ids of the instances to read."""

    @property
    def configured(self) -> bool:
        """Whether there is an API to ask: Wawp has one address, a WAHA has its own."""
        return self.url is not None or (self.kind == "wawp" and bool(self.instances))


class Source(Section):
    """One Wawp account or one WAHA server that sends webhooks, and how its webhooks are verified."""

    hmac_keys_file: SecretFile | None = None
    """One key per line; any of them is accepted (rotation)."""
    hmac_algorithm: Literal["sha512", "sha256"] = "sha512"
    """sha512 (WAHA) | sha256."""
    hmac_header: HeaderName = "X-Webhook-Hmac"
    """Header that holds the signature."""
    token_file: SecretFile | None = None
    """Or a shared token: Authorization: Bearer …, ?token=… or ?secret=…."""
    allow_unsigned: bool = False
    """Accept unsigned webhooks from anywhere."""
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
    """Alert when STARTING lasts longer."""
    failed: Duration = Field(default="10s")  # type: ignore[assignment]  # parsed by the validator
    """Alert when FAILED lasts longer."""
    qr_escalate: Duration = Field(default="5m")  # type: ignore[assignment]  # parsed by the validator
    """Alert IT when a login waits longer."""
    qr_unattended: Duration = Field(default="1h")  # type: ignore[assignment]  # parsed by the validator
    """Alert the lead when a login waits longer."""
    down: Duration = Field(default="15m")  # type: ignore[assignment]  # parsed by the validator
    """Alert when a session is not WORKING for longer, whatever its statuses."""
    silent: Duration = Field(default="0s")  # type: ignore[assignment]  # parsed by the validator
    """Alert when a WORKING session sends no event for longer; 0s: off."""
    feed_silence: Duration = Field(default="0s")  # type: ignore[assignment]  # parsed by the validator
    """Alert when a source sends nothing for longer; 0s: off, since a healthy fleet can be silent for days."""


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

    source: NotEmpty = "*"
    session: NotEmpty = "*"
    owner: str = ""
    tier: str = ""
    thresholds: Overrides = Overrides()


class Window(Section):
    """A window of maintenance: from ≤ t < to."""

    source: NotEmpty = "*"
    session: NotEmpty = "*"
    from_: Moment = Field(alias="from")
    to: Moment


class Metrics(Section):
    """Which sessions have series of their own."""

    sessions: Literal["all", "troubled"] = "all"
    """all | troubled: those not WORKING/STOPPED, in an episode, restricted or silent, and for 1 h after."""
    session_histograms: bool = True
    """About 100 series per session: set false above 500 sessions."""
    max_sessions: Annotated[int, Field(ge=0, le=10_000_000)] = 5000
    """Sessions above it are only counted: STOPPED first, then WORKING; up to twice as many in an episode."""
    max_names_per_source: Annotated[int, Field(ge=1)] = 100_000
    """Above it events of new names are logged and answered 200, but not folded; an alert fires."""
    forget_stopped_after: PositiveDuration = Field(default="30d")  # type: ignore[assignment]  # parsed by the validator
    """The series of a session that is STOPPED for longer vanish; the log keeps its events."""


class Remedy(Section):
    """Restarts of stuck sessions when Alertmanager asks for them."""

    alerts: list[NotEmpty] = []
    """For which alerts a session is restarted; see gateway.md."""
    max_per_hour: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts of one session per hour."""
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] = 5
    """Restarts in progress at the same time."""
    backoff: Duration = Field(default="1m")  # type: ignore[assignment]  # parsed by the validator
    """From one attempt to the next, doubled each time."""
    dry_run: bool = False
    """Record what would be done, but restart nothing."""
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
    timezone: Zone = "UTC"
    """Time zone of audits and recurring patterns."""

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
        data = parse_yaml(files.decode(files.read(path, files.MAX_CONFIG_BYTES)), str(path))
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
    secrets: dict[str, tuple[bytes, ...]] = {}
    context = {"base": base, "secrets": secrets}
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
    return Settings(config, secrets_of(config, secrets))


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
    if not bad & {"web"}:
        yield from check_web(config)
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


def check_web(config: Config) -> Iterator[str]:
    """Certificate and key belong together, two listeners do not."""
    web = config.web
    if bool(web.tls.cert_file) != bool(web.tls.key_file):
        yield "web.tls: cert_file or key_file alone, expected both or none"
    if web.ingress_listen == web.listen and split_listen(web.listen)[1].strip("0"):
        yield "web.ingress_listen: is the address of web.listen, expected another one, or null"


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
        if not group.isprintable() or not group.strip():
            yield f"groups: {group!r} is not a name, expected visible signs"
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


def secrets_of(config: Config, read: Mapping[str, tuple[bytes, ...]]) -> Secrets:
    """The secrets that were read while the configuration was checked (by path), each where it belongs."""

    def held(path: str | None) -> tuple[bytes, ...]:
        return read[path] if path else ()

    return Secrets(
        hmac_keys={name: held(source.hmac_keys_file) for name, source in config.sources.items()},
        tokens={name: held(source.token_file) for name, source in config.sources.items()},
        metrics_tokens=held(config.web.metrics_token_file),
        api_tokens=held(config.web.api_token_file),
        remedy_tokens=held(config.remedy.token_file),
        gateway_keys={
            name: held(source.api.key_file)[0].decode()
            for name, source in config.sources.items()
            if source.api.key_file
        },
    )
