"""YAML and environment → settings, or every mistake at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from wawp_exporter.config.load import check, load
from wawp_exporter.config.schema import Config
from wawp_exporter.config.settings import Settings
from wawp_exporter.config.values import parse_duration
from wawp_exporter.errors import ConfigError
from wawp_exporter.model.rules import Rules

CONFIGS = Path(__file__).parents[1] / "configs"
SECRET = "tr0ub4dor-and-3"

# As published in the contract; `sessions`, `maintenance` and `groups` are examples there, all else are the defaults.
CONTRACT = """
web:
  listen: 127.0.0.1:10011        # /metrics, pages, API, and /webhook unless ingress_listen is set
  ingress_listen: null           # when set, /webhook answers here and nowhere else, and nothing else answers here
  tls: {cert_file: null, key_file: null}
  metrics_token_file: null       # bearer token for /metrics
  api_token_file: null           # bearer token for /api and the pages
  enable_lifecycle: false        # POST /-/reload (SIGHUP always reloads)
  external_url: null             # where people reach the pages: links in notifications begin with it, and a path in it is a prefix
  grafana_url: null              # the same for the dashboards
log: {level: info, format: logfmt}   # logfmt | json
database:
  url: sqlite:///data/wawp.db    # or postgresql://…
  retention: 400d
shard: {index: 0, total: 1}      # with PostgreSQL: which part of the fleet this replica exports
sources:
  default:                       # POST /webhook is POST /webhook/default
    hmac_keys_file: null         # one key a line; any of them is accepted (rotation)
    hmac_algorithm: sha512       # sha512 (WAHA) | sha256
    hmac_header: X-Webhook-Hmac
    token_file: null             # or a shared token: Authorization: Bearer …, ?token=… or ?secret=…
    allow_unsigned: false
    shard: null                  # puts the source on this shard, instead of the hash
    dialect: waha                # waha (Wawp too) | evolution | wppconnect | openwa
    api:                         # optional: the gateway's own API
      kind: waha                 # waha | wawp | evolution | wppconnect
      url: null
      key_file: null
      poll_interval: 60s
      instances: []              # wawp: the instance ids to ask for
    probe: {interval: 0s, number_file: null}   # 0s: off; asks WhatsApp itself, through the gateway, whether a session answers
thresholds:                      # defaults, exported as wawp_threshold_default_seconds{kind}
  starting: 60s
  failed: 10s
  qr_escalate: 5m
  qr_unattended: 1h
  down: 15m
  silent: 0s                     # 0s: off; needs message events, which check-config says
  quiet: 50                      # incoming messages that the same hours of each of the last 3 weeks would have brought, and none came; 0: off
  undelivered: 5m                # an own message without the server's acknowledgement
  feed_silence: 0s               # 0s: off; a healthy fleet can be silent for days
sessions:                        # first match wins; globs
  - {source: "*", session: "sales-*", owner: ana, tier: gold, thresholds: {starting: 3m}}
maintenance:                     # windows in which a session is excused
  - {source: "*", session: "sales-*", from: 2026-12-01T02:00:00Z, to: 2026-12-01T04:00:00Z}
groups:                          # failover order; the one definition of membership, a session is in at most one
  sales: [default/sales-uk, default/sales-global]
metrics:
  sessions: all                  # all | troubled: those not WORKING/STOPPED, in an episode, restricted or silent, and 1 h after
  session_histograms: true       # about 100 series a session: false is advised above 500 sessions
  max_sessions: 5000             # beyond it counted only; STOPPED drop first, then WORKING; in an episode up to twice as many
  max_names_per_source: 100000   # beyond it events of new names are logged and answered 200, but not folded; an alert says so
  forget_stopped_after: 30d      # series vanish, the log stays
remedy: {alerts: [], max_per_hour: 3, max_concurrent: 5, dry_run: false, token_file: null, backoff: 1m}   # max_per_hour: a session
slo: {objective: 0.99}
timezone: UTC                    # of audits and recurring patterns
"""  # noqa: E501 - a copy
EXAMPLES = {"sessions", "maintenance", "groups"}


def keys(section: object, path: str = "") -> set[str]:
    """The dotted paths of all leaves, list items without their numbers."""
    if isinstance(section, Mapping) and section:
        return set().union(*(keys(value, f"{path}.{key}") for key, value in section.items()))
    if isinstance(section, list) and section:
        return set().union(*(keys(item, path) for item in section))
    return {path}


def dump(config: Config) -> dict[str, Any]:
    """The configuration as plain values, keys spelt as in the file."""
    return config.model_dump(by_alias=True)


def mistakes(path: Path | None = None, environ: Mapping[str, str] | None = None, **sections: Any) -> tuple[str, ...]:
    """What is wrong with a file, or with these sections."""
    with pytest.raises(ConfigError) as refused:
        load(path, environ or {}) if path or environ else check(sections)
    return refused.value.mistakes


def written(folder: Path, text: str) -> Path:
    """A configuration file."""
    path = folder / "wawp.yml"
    path.write_text(text)
    return path


# -- defaults


def test_the_defaults_are_the_contracts() -> None:
    """Each value in the contract's page is what holds without any file."""
    expected = dump(check(yaml.safe_load(CONTRACT)).config)

    actual = dump(load(None, {}).config)

    for key in expected.keys() - EXAMPLES:
        assert actual[key] == expected[key], key
    assert {key: actual[key] for key in EXAMPLES} == {"sessions": [], "maintenance": [], "groups": {}}


def test_the_contract_names_every_key() -> None:
    """There is no key that the contract's page does not show."""
    contract = yaml.safe_load(CONTRACT)

    actual = dump(load(None, {}).config)

    assert keys({k: v for k, v in actual.items() if k not in EXAMPLES}) == keys(
        {k: v for k, v in contract.items() if k not in EXAMPLES}
    )


def test_the_contracts_own_example_is_accepted(tmp_path: Path) -> None:
    """Its YAML can be copied as it stands."""
    config = load(written(tmp_path, CONTRACT), {}).config

    assert config.sessions[0].thresholds.given() == {"starting": 180}
    assert config.maintenance[0].to.isoformat() == "2026-12-01T04:00:00+00:00"
    assert config.groups == {"sales": ["default/sales-uk", "default/sales-global"]}


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "null\n", "{}\n"])
def test_an_empty_file_means_the_defaults(tmp_path: Path, text: str) -> None:
    """Nothing said is nothing changed."""
    assert load(written(tmp_path, text), {}).config == load(None, {}).config


# -- mistakes


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("invalid-*.yml")), ids=lambda path: path.stem)
def test_a_mistake_is_told_by_its_path_and_what_was_expected(path: Path) -> None:
    """Each `invalid-*.yml` holds one mistake; its first line is the whole message."""
    first, *_ = path.read_text().splitlines()
    expected = first.removeprefix("# ").format(file=path, folder=path.parent)

    assert mistakes(path) == (expected,)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Of form and between sections alike: an operator mends a file once."""
    path = written(
        tmp_path,
        """
        web: {listne: 1, tls: {cert_file: nowhere.pem}}
        thresholds: {down: 15}
        slo: {objective: 2}
        groups: {sales: [default/a, default/a], empty: []}
        maintenance: [{source: prod, from: 2026-12-01T04:00:00Z, to: 2026-12-01T02:00:00Z}]
        """,
    )

    told = mistakes(path)

    assert {message.partition(":")[0] for message in told} == {
        "web.listne",
        "web.tls.cert_file",
        "thresholds.down",
        "slo.objective",
        "groups.sales.1",
        "groups.empty",
        "maintenance.0.source",
        "maintenance.0.to",
    }
    assert all(", expected " in message for message in told)


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "nowhere.yml"

    assert mistakes(path) == (f"{path}: cannot be read: No such file or directory, expected a YAML file",)


def test_a_file_in_another_encoding_is_a_mistake(tmp_path: Path) -> None:
    """Latin-1 is told, not guessed."""
    path = tmp_path / "wawp.yml"
    path.write_bytes("sessions: [{owner: Zoë}]".encode("latin-1"))

    assert mistakes(path) == (f"{path}: is not UTF-8, expected a YAML file",)


@pytest.mark.parametrize(
    "text",
    [
        "maintenance: [{from: 2026-13-01T00:00:00Z, to: 2026-12-01T00:00:00Z}]",
        "? [a]\n: b",
        "sources: {? {a: 1} : {}}",
        "1: 2",
        "~: 2",
        "groups: {1: [default/a]}",
        "groups: &a {x: *a}",
        "metrics: {max_sessions: " + "9" * 5000 + "}",
        "database: {retention: " + "9" * 400 + "d}",
        "web: !!python/object:os.system {}",
        "[" * 5000,
        "a: 1\n---\nb: 2",
        'web: {listen: "\x01"}',
        'web: {listen: "\\ud800"}',
        "sources: {default: {token_file: 5}}",
        'sources: {default: {token_file: "a\\0b"}}',
    ],
    ids=lambda text: text[:40],
)
def test_whatever_the_file_holds_is_told_as_a_mistake(tmp_path: Path, text: str) -> None:
    """No slip of an operator ends in a traceback."""
    assert mistakes(written(tmp_path, text))


def test_merge_keys_work(tmp_path: Path) -> None:
    """Anchors and `<<` are how people keep YAML short; a key that overrides a merged one is not given twice."""
    path = written(tmp_path, "sources:\n  a: &base {hmac_algorithm: sha256}\n  b: {<<: *base, allow_unsigned: true}\n")

    source = load(path, {}).config.sources["b"]

    assert source.hmac_algorithm == "sha256"
    assert source.allow_unsigned


@pytest.mark.parametrize("objective", [0, 1, 1.5, -0.1, float("nan")])
def test_an_objective_is_a_share(objective: float) -> None:
    """Neither never nor always can be an objective."""
    (mistake,) = mistakes(slo={"objective": objective})

    assert mistake.startswith("slo.objective: ")


# -- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        (0, 0),
        ("500ms", 0.5),
        ("60s", 60),
        ("5m", 300),
        ("1h", 3600),
        ("400d", 34_560_000),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1m30s", 90),
    ],
)
def test_durations_are_spelt_as_prometheus_spells_them(text: object, seconds: float) -> None:
    """A number with a unit, or several from large to small."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "60", 60, 1.5, "-1s", "+1s", " 1s", "1 s", "1s ", "1x", "s", "1.5h", None, True, False, []]
)
def test_anything_else_is_no_duration(text: object) -> None:
    """A bare number has no unit: nobody should guess between seconds and minutes."""
    with pytest.raises(ValueError, match="is not a duration, expected a number with a unit"):
        parse_duration(text)


# -- environment


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """What is not overridden stays."""
    path = written(tmp_path, "database: {url: sqlite:///file.db, retention: 10d}")

    config = load(path, {"WAWP_EXPORTER_DATABASE__URL": "sqlite:///env.db"}).config

    assert config.database.url == "sqlite:///env.db"
    assert config.database.retention == 10 * 86_400


@pytest.mark.parametrize(
    "name",
    ["WAWP_EXPORTER_SOURCES__PROD_EU__ALLOW_UNSIGNED", "WAWP_EXPORTER_sources__Prod_EU__allow_unsigned"],
)
def test_names_of_the_file_are_found_without_regard_to_case(tmp_path: Path, name: str) -> None:
    """Environments are upper-case, names of sources need not be."""
    path = written(tmp_path, "sources: {Prod_eu: {hmac_algorithm: sha256}}")

    config = load(path, {name: "true"}).config

    assert list(config.sources) == ["Prod_eu"]
    assert config.sources["Prod_eu"].allow_unsigned
    assert config.sources["Prod_eu"].hmac_algorithm == "sha256"


def test_values_of_the_environment_are_read_as_yaml() -> None:
    """Numbers, booleans, lists and null are what they would be in the file."""
    environ = {
        "WAWP_EXPORTER_METRICS__MAX_SESSIONS": "7",
        "WAWP_EXPORTER_WEB__ENABLE_LIFECYCLE": "true",
        "WAWP_EXPORTER_WEB__EXTERNAL_URL": "",
        "WAWP_EXPORTER_GROUPS__SALES": "[default/a, default/b]",
    }

    config = load(None, environ).config

    assert config.metrics.max_sessions == 7
    assert config.web.enable_lifecycle
    assert config.web.external_url is None
    assert config.groups == {"sales": ["default/a", "default/b"]}


def test_other_variables_are_left_alone() -> None:
    """Neither those of other programs nor those of the command line are keys."""
    environ = {
        "PATH": "/bin",
        "WAWP_EXPORTER": "x",
        "WAWP_EXPORTER_CONFIG": "/etc/x.yml",
        "WAWP_EXPORTER_REVISION": "abc",
    }

    assert load(None, environ) == load(None, {})


def test_an_unknown_variable_is_an_unknown_key() -> None:
    """A misspelt override must not silently do nothing."""
    assert mistakes(environ={"WAWP_EXPORTER_WEB__LISTNE": "x"}) == ("web.listne: unknown key, expected listen",)


@pytest.mark.parametrize("value", ["[", "{a: 1, a: 2}", "2026-13-01", "? [a]\n: b"])
def test_a_broken_variable_is_told_by_its_name(value: str) -> None:
    """The operator must find it among dozens of others."""
    (mistake,) = mistakes(environ={"WAWP_EXPORTER_GROUPS": value})

    assert mistake.startswith("WAWP_EXPORTER_GROUPS")


# -- secrets


def test_secret_files_are_read_relative_to_the_configuration(tmp_path: Path) -> None:
    """One secret a line; blank lines and the white space around a secret are nothing."""
    (tmp_path / "keys").write_text("old\r\n\n  new \n")
    (tmp_path / "token").write_text("t0ken")
    path = written(
        tmp_path,
        "web: {metrics_token_file: token, api_token_file: token}\n"
        "sources: {default: {hmac_keys_file: keys, token_file: token}, open: {}}",
    )

    secrets = load(path, {}).secrets

    assert secrets.hmac_keys == {"default": (b"old", b"new"), "open": ()}
    assert secrets.tokens == {"default": (b"t0ken",), "open": ()}
    assert secrets.metrics_tokens == secrets.api_tokens == (b"t0ken",)


def with_secrets(folder: Path) -> Settings:
    """Settings that hold a secret in each place where one can be."""
    (folder / "secret").write_text(SECRET)
    files = {"metrics_token_file": "secret", "api_token_file": "secret"}
    source = {"hmac_keys_file": "secret", "token_file": "secret"}
    return check({"web": files, "sources": {"default": source}}, folder)


def test_settings_show_no_secret(tmp_path: Path) -> None:
    """Neither their `repr` nor that of any part can leak into a log line."""
    settings = with_secrets(tmp_path)

    assert settings.secrets.api_tokens == (SECRET.encode(),)
    for part in (settings, settings.secrets, settings.config):
        assert SECRET not in repr(part) + str(part)


def test_no_mistake_shows_a_secret(tmp_path: Path) -> None:
    """A key pasted where a file or an address belongs is not printed back."""
    path = written(
        tmp_path,
        f"""
        web: {{listen: {SECRET}, enable_lifecycle: {SECRET}}}
        sources: {{default: {{hmac_key: {SECRET}, hmac_algorithm: {SECRET}, allow_unsigned: {SECRET}}}}}
        database: {{url: "postgresql://wawp:{SECRET}@localhost/wawp"}}
        maintenance: [{{from: {SECRET}, to: {SECRET}}}]
        timezone: {SECRET}
        """,
    )

    assert SECRET not in "\n".join(mistakes(path))


# -- exposure


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_on_loopback_nothing_need_be_signed(listen: str) -> None:
    """The exporter works without any configuration."""
    assert check({"web": {"listen": listen}}).config.web.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:1", ":1", "[::]:1", "10.0.0.1:1", "example.org:1", "localhost.evil.org:1"])
def test_beyond_loopback_an_unsigned_source_is_refused(listen: str) -> None:
    """Fail closed: a forgotten key is told at the start, not found out by a forger."""
    (mistake,) = mistakes(web={"listen": listen})

    assert mistake.startswith("sources.default: neither hmac_keys_file nor token_file while web.listen is not loopback")


def test_each_source_without_a_key_is_told(tmp_path: Path) -> None:
    """One signed source does not excuse the others."""
    (tmp_path / "secret").write_text(SECRET)
    path = written(
        tmp_path,
        "web: {listen: ':1'}\n"
        "sources: {signed: {hmac_keys_file: secret}, token: {token_file: secret},"
        " open: {allow_unsigned: true}, a: {}, b: {}}",
    )

    assert {message.partition(":")[0] for message in mistakes(path)} == {"sources.a", "sources.b"}


def test_only_the_listener_of_webhooks_matters() -> None:
    """With an ingress on loopback, metrics may be read from anywhere."""
    web = {"listen": "0.0.0.0:1", "ingress_listen": "127.0.0.1:2"}

    assert check({"web": web}).config.webhook_listen == "127.0.0.1:2"


# -- sessions


def test_the_first_matching_glob_wins() -> None:
    """Later rules fill no gaps, and case matters."""
    rules = Rules(
        check(
            {
                "sources": {"default": {}, "prod": {}},
                "sessions": [
                    {"source": "prod", "session": "sales-*", "owner": "pia"},
                    {"session": "sales-*", "owner": "ana", "thresholds": {"starting": "3m"}},
                    {"session": "*", "owner": "all", "tier": "gold"},
                ],
            }
        ).config
    )

    assert rules.meta("prod", "sales-uk").owner == "pia"
    assert rules.meta("prod", "sales-uk").thresholds == ()
    assert rules.meta("default", "sales-uk").owner == "ana"
    assert rules.meta("default", "sales-uk").tier == ""
    assert rules.meta("default", "sales-uk").thresholds == (("starting", 180.0),)
    assert rules.meta("default", "Sales-uk").owner == "all"


def test_every_matching_window_counts() -> None:
    """Windows of maintenance add up; a session is excused in each."""
    window = {"from": "2026-12-01T02:00:00Z", "to": "2026-12-01T04:00:00+01:00"}
    rules = Rules(check({"maintenance": [window | {"session": "a*"}, window | {"session": "b"}, window]}).config)

    assert len(rules.meta("default", "a").windows) == 2
    start, end = rules.meta("default", "c").windows[0]
    assert end - start == 3_600_000


def test_equal_metadata_is_shared() -> None:
    """A hundred thousand sessions without rules cost one value."""
    rules = Rules(Config())

    assert rules.meta("default", "a") is rules.meta("default", "b")
