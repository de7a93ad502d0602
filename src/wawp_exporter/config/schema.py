"""The keys of the configuration, section by section, with their types and defaults."""

import re
import socket
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wawp_exporter.config.values import (
    SOURCE_NAME,
    ApiUrl,
    DatabaseUrl,
    Duration,
    ExternalUrl,
    GrafanaUrl,
    HeaderName,
    HeaderValue,
    KeyFile,
    Listen,
    Moment,
    NamedFile,
    NotEmpty,
    NumberFile,
    PositiveDuration,
    SecretFile,
    Zone,
)

Quiet = Annotated[int, Field(ge=0, le=1_000_000)]
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
    """Certificate and key, both or none; renewed ones are read by themselves."""

    cert_file: NamedFile | None = None
    """Certificate chain (PEM), of both listeners."""
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
    """URL at which people open the pages, such as https://x.example/wawp. Links begin with it; a path is a prefix."""
    grafana_url: GrafanaUrl | None = None
    """The same of Grafana: links to dashboards begin with it."""

    @property
    def prefix(self) -> str:
        """The path of `external_url`, decoded and without a slash at its end."""
        return unquote(urlsplit(self.external_url or "").path)


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

    kind: Literal["waha", "wawp", "evolution", "wppconnect"] = "waha"
    """waha | wawp | evolution | wppconnect; see gateway.md."""
    url: ApiUrl | None = None
    """URL of the gateway; Wawp's own address if null."""
    key_file: KeyFile | None = None
    """Its API key; wppconnect: a line for each session, session:token, see gateway.md."""
    poll_interval: PositiveDuration = Field(default="60s")  # type: ignore[assignment]  # parsed by the validator
    """How often the status of every session is read."""
    instances: list[HeaderValue] = []
    """wawp: the ids of the instances to read."""

    @property
    def configured(self) -> bool:
        """Whether there is an API to ask: Wawp has one address, a WAHA has its own."""
        return self.url is not None or (self.kind == "wawp" and bool(self.instances))


class Probe(Section):
    """Asks WhatsApp itself, through the gateway's API, whether a session that is WORKING is answered."""

    interval: Duration = Field(default="0s")  # type: ignore[assignment]  # parsed by the validator
    """How often each session is probed; 0s: never."""
    number_file: NumberFile | None = None
    """File with the phone number to ask about, digits with the country code; see gateway.md."""


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
    shard: Annotated[int, Field(ge=0)] | None = None
    """Which shard holds the source; null: one that its name gives."""
    dialect: Literal["waha", "evolution", "wppconnect", "openwa"] = "waha"
    """waha (Wawp too) | evolution | wppconnect | openwa; see gateways.md."""
    api: GatewayApi = GatewayApi()
    probe: Probe = Probe()

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
    """Alert when a WORKING session sends no event for longer; 0s: off. Needs message events, see gateways.md."""
    quiet: Quiet = 50
    """Alert when none of so many messages come that a WORKING session usually gets; 0: off. Needs message events."""
    undelivered: Duration = Field(default="5m")  # type: ignore[assignment]  # parsed by the validator
    """Alert when WhatsApp's server does not acknowledge an own message for longer, while WORKING; 0s: off."""
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
    quiet: Quiet | None = None
    undelivered: Duration | None = None

    def given(self) -> dict[str, float]:
        """The overridden kinds, in seconds; `quiet` is a count."""
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
    """About 100 series per session, 7 as native histograms (scaling.md): classic, set false above 500 sessions."""
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
