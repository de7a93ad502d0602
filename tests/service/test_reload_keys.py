"""Each key of the configuration takes effect by a reload, or is refused until a restart: none is ignored silently."""

import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tests import parts
from tests.served import Served, run, served
from wawp_exporter.config.schema import Config
from wawp_exporter.errors import ConfigError

Given = dict[str, Any]
Effect = Callable[[Served], Awaitable[object]]

NOW = parts.now_ms()
SIGNED = {"sources.default.hmac_keys_file": "keys"}
RULE = {"source": "*", "session": "*", "owner": "ana", "tier": "gold"}
WINDOW = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
OTHER_WINDOWS = {"source": "o*", "session": "x", "from": "2099-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
API = {"sources.default.api": {"url": "http://127.0.0.1:9", "key_file": "keys"}}
PROBED = {**API, "sources.default.probe": {"interval": "1h", "number_file": "number"}}
WAWP = {"kind": "wawp", "url": "http://127.0.0.1:9", "key_file": "keys", "instances": ["a"]}


@dataclass(frozen=True)
class Change:
    """What a key is before and after, and what is different then; no effect: it is refused until a restart."""

    before: Given
    after: Given
    effect: Effect | None = None


def changed(key: str, value: object, effect: Effect | None = None, before: Given | None = None) -> tuple[str, Change]:
    """One key changes."""
    return key, Change(before or {}, {**(before or {}), key: value}, effect)


def changed_window(key: str, value: str) -> tuple[str, Change]:
    """One key of a window of maintenance changes."""
    windows = [{"maintenance": [{**WINDOW, **more}]} for more in ({}, {key: value})]
    return f"maintenance.*.{key}", Change(*windows, window)


def status(method: str, path: str, **request: Any) -> Effect:
    """The status of an answer."""

    async def ask(service: Served) -> object:
        return (await service.client.request(method, path, **request)).status_code

    return ask


def lines(name: str) -> Effect:
    """The series of a metric."""

    async def scrape(service: Served) -> object:
        return sorted(line for line in (await service.text()).splitlines() if line.startswith(name))

    return scrape


def page(path: str) -> Effect:
    """The links of a page."""

    async def read(service: Served) -> object:
        return re.findall(r'href="([^"]*)"', await service.text(path))

    return read


def inside(look: Callable[[Any], object]) -> Effect:
    """What a part of the service has in force, where nothing tells it outside at once."""

    async def read(service: Served) -> object:
        return look(service.service)

    return read


def gateway(service: Any) -> object:
    """The client of the gateway's API, and how often it is used."""
    _, made = service.watch._made["default"]
    client = made.gateway._client
    return type(made.gateway), client.base_url, sorted(client.headers.items()), made.gateway.instances, made.interval


def prober(service: Any) -> object:
    """How often sessions are probed, and the number that is asked about."""
    return [(each._interval, each._number) for _, each in service.watch._probers.values()]


async def logged(service: Served) -> object:
    """How many events retention leaves."""
    await service.service.jobs.purge()
    with closing(sqlite3.connect(service.file.parent / "wawp.db")) as log:
        return log.execute("SELECT count(*) FROM event").fetchone()


def signed(header: str) -> Effect:
    """Whether a webhook is believed that is signed with SHA-512 in this header."""
    body = parts.encode(parts.envelope())
    return status("POST", "/webhook", content=body, headers={header: parts.sign(body, "key")})


unsigned = status("POST", "/webhook", json=parts.envelope())
thresholds = lines("wawp_threshold_default_seconds")
own_limits = lines("wawp_session_threshold_seconds")
quiet = inside(lambda service: service.fleet.rules._meta("default", "s").quiet)
remedy = inside(lambda service: service.remedies.remedy)
info, window = lines("wawp_session_info"), lines("wawp_session_maintenance")

CHANGES = dict(
    [
        changed("web.listen", "127.0.0.1:1"),
        changed("web.ingress_listen", "127.0.0.1:1"),
        ("web.tls.cert_file", Change({}, {"web.tls": {"cert_file": "keys", "key_file": "keys"}})),
        ("web.tls.key_file", Change({}, {"web.tls": {"cert_file": "keys", "key_file": "keys"}})),
        changed("web.metrics_token_file", "keys", status("GET", "/metrics")),
        changed("web.api_token_file", "keys", status("GET", "/api/v1/sessions")),
        changed("web.enable_lifecycle", True, status("POST", "/-/reload")),
        changed("web.external_url", "https://a.example/wawp", page("/runbooks")),
        changed("web.grafana_url", "https://g.example", page("/runbooks")),
        changed("log.level", "warning", inside(lambda _: logging.getLogger().level)),
        changed("log.format", "json", inside(lambda _: written_as())),
        changed("database.url", "sqlite:///other.db"),
        changed("database.retention", "1ms", logged),
        changed("shard.index", "auto"),
        changed("shard.total", 2),
        changed("sources.default.shard", 0),
        changed("sources.default.hmac_keys_file", "keys", unsigned),
        changed("sources.default.hmac_algorithm", "sha256", signed("X-Webhook-Hmac"), SIGNED),
        changed("sources.default.hmac_header", "X-Other", signed("X-Other"), SIGNED),
        changed("sources.default.token_file", "keys", unsigned),
        changed(
            "sources.default.allow_unsigned",
            True,
            status("POST", "/webhook", json=parts.envelope(), headers={"X-Forwarded-For": "192.0.2.1"}),
        ),
        changed("sources.default.dialect", "wppconnect", status("POST", "/webhook", json={"event": "status-find"})),
        changed("sources.default.api.kind", "wawp", inside(gateway), {"sources.default.api": {**WAWP, "kind": "waha"}}),
        changed("sources.default.api.url", "http://127.0.0.1:8", inside(gateway), API),
        changed("sources.default.api.key_file", "others", inside(gateway), API),
        changed("sources.default.api.poll_interval", "7s", inside(gateway), API),
        changed("sources.default.api.instances", ["b"], inside(gateway), {"sources.default.api": WAWP}),
        changed("sources.default.probe.interval", "2h", inside(prober), PROBED),
        changed("sources.default.probe.number_file", "other-number", inside(prober), PROBED),
        *(changed(f"thresholds.{kind}", "77s", thresholds) for kind in ("starting", "failed", "qr_escalate")),
        *(changed(f"thresholds.{kind}", "77s", thresholds) for kind in ("qr_unattended", "down", "silent")),
        *(changed(f"thresholds.{kind}", "77s", thresholds) for kind in ("undelivered", "feed_silence")),
        changed("thresholds.quiet", 77, quiet),
        ("sessions.*.thresholds.quiet", Change({}, {"sessions": [{"thresholds": {"quiet": 7}}]}, quiet)),
        ("sessions.*.source", Change({"sessions": [RULE]}, {"sessions": [{**RULE, "source": "other"}]}, info)),
        ("sessions.*.session", Change({"sessions": [RULE]}, {"sessions": [{**RULE, "session": "x"}]}, info)),
        ("sessions.*.owner", Change({"sessions": [RULE]}, {"sessions": [{**RULE, "owner": "bo"}]}, info)),
        ("sessions.*.tier", Change({"sessions": [RULE]}, {"sessions": [{**RULE, "tier": "tin"}]}, info)),
        *(
            (f"sessions.*.thresholds.{kind}", Change({}, {"sessions": [{"thresholds": {kind: "7s"}}]}, own_limits))
            for kind in ("starting", "failed", "qr_escalate", "qr_unattended", "down", "silent", "undelivered")
        ),
        *(
            changed_window(key, value)
            for key, value in OTHER_WINDOWS.items()
        ),
        changed("groups", {"sales": ["default/s"]}, lines("wawp_group_sessions")),
        changed("metrics.sessions", "troubled", info),
        changed("metrics.session_histograms", False, lines("wawp_session_status_duration_seconds")),
        changed("metrics.max_sessions", 0, lines("wawp_sessions_dropped")),
        changed("metrics.max_names_per_source", 1, inside(lambda s: s.fleet.rules.config.metrics.max_names_per_source)),
        changed(
            "metrics.forget_stopped_after",
            "77d",
            inside(lambda s: s.fleet.wakes.forget_at(s.fleet.sessions["default", "stopped"])),
        ),
        changed("remedy.alerts", ["A"], status("POST", "/alertmanager", json={"alerts": []}), API),
        changed("remedy.max_per_hour", 7, remedy),
        changed("remedy.max_concurrent", 7, inside(lambda s: s.remedies._room._limit)),
        changed("remedy.backoff", "7m", remedy),
        changed("remedy.dry_run", True, remedy),
        changed(
            "remedy.token_file",
            "keys",
            status("POST", "/alertmanager", json={"alerts": []}),
            {**API, "remedy.alerts": ["A"]},
        ),
        changed("slo.objective", 0.5, lines("wawp_slo_objective_ratio")),
        changed("timezone", "Asia/Tokyo", inside(lambda s: s.fleet.rules.config.timezone)),
    ]
)  # fmt: skip


def written_as() -> str:
    """In which form lines are written."""
    formatter: Any = logging.getLogger().handlers[0].formatter
    return type(formatter.processors[-1]).__name__


def keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """All keys of the configuration; `*` stands for any name or index."""
    for name, about in model.model_fields.items():
        key = f"{path}{about.alias or name}"
        kinds = [about.annotation, *get_args(about.annotation)]
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            yield key
        else:
            yield from keys(inner, f"{key}." if inner is about.annotation else f"{key}.*.")


def nested(given: Given) -> dict[str, Any]:
    """`{"a.b": 1}` → `{"a": {"b": 1}}`, over what every configuration here has."""
    config: dict[str, Any] = {"sources": {"default": {}, "other": {}}}
    for key, value in given.items():
        *sections, last = key.split(".")
        place = config
        for section in sections:
            place[section] = dict(place.get(section, {}))
            place = place[section]
        place[last] = value
    return config


def test_every_key_is_in_the_table() -> None:
    """Whoever adds a key says here what a reload of it changes, or that it is refused."""
    assert {key.replace("sources.*.", "sources.default.") for key in keys(Config)} == set(CHANGES)


def test_a_reload_of_any_key_takes_effect_or_is_refused(tmp_path: Path) -> None:
    """None is taken silently and ignored."""
    (tmp_path / "keys").write_text("key\n")
    (tmp_path / "others").write_text("other-key\n")
    (tmp_path / "number").write_text("447700900123\n")
    (tmp_path / "other-number").write_text("447700900124\n")
    ignored = []

    async def test() -> None:
        async with served(tmp_path, nested({})) as service:
            for number, name in enumerate(("WORKING", "FAILED", "WORKING", "FAILED", "WORKING")):
                await service.post(name, "s", at=NOW - 600_000 + number * 1000)
            await service.post("STOPPED", "stopped", at=NOW - 60_000)
            for key, change in CHANGES.items():
                if not await different(service, key, change):
                    ignored.append(key)

    run(test())
    assert ignored == []


async def different(service: Served, key: str, change: Change) -> bool:
    """Whether the change is refused by name, or has its effect."""
    service.write(nested(change.before))
    await service.service.reload()
    before = await change.effect(service) if change.effect else None
    service.write(nested(change.after))
    try:
        await service.service.reload()
    except ConfigError as error:
        return change.effect is None and key.startswith(str(error).partition(":")[0])
    return change.effect is not None and await change.effect(service) != before
