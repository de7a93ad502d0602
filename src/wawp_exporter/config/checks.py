"""Checks between sections: each compares values that are valid by themselves."""

import socket
from collections.abc import Iterator

from wawp_exporter.config.schema import ORDINAL, Config, Source
from wawp_exporter.config.values import glob, is_loopback, split_listen

# What the file of the key holds, where the API answers nobody without it.
KEYS = {
    "wawp": "the access token of Wawp",
    "evolution": "the API key of the Evolution API",
    "wppconnect": "a line session:token for each session",
}


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
        yield "web.tls: has only one of cert_file and key_file, expected both or none"
    if web.ingress_listen == web.listen and split_listen(web.listen)[1].strip("0"):
        yield "web.ingress_listen: is the address of web.listen, expected another one, or null"


def check_shard(config: Config) -> Iterator[str]:
    """A shard that nobody has is a part of the fleet that nobody watches."""
    shard = config.shard
    if shard.index == "auto" and not ORDINAL.search(socket.gethostname()):
        yield f"shard.index: auto, but the host's name {socket.gethostname()} ends in no number, expected an index"
    if shard.ordinal >= shard.total:
        yield f"shard.index: is {shard.index}, expected a number below shard.total ({shard.total})"
    for name, source in config.sources.items():
        if source.shard is not None and source.shard >= shard.total:
            yield f"sources.{name}.shard: is {source.shard}, expected a number below shard.total ({shard.total})"
    if shard.total > 1 and config.database.url.startswith("sqlite:"):
        yield "shard.total: is above 1, but SQLite allows one replica only, expected 1, or database.url: postgresql://…"


def check_apis(config: Config) -> Iterator[str]:
    """An API that cannot be asked, or a remedy that can never be applied, is a slip."""
    for name, source in config.sources.items():
        api = source.api
        if api.kind == "wawp" and (api.url or api.key_file) and not api.instances:
            yield f"sources.{name}.api.instances: is empty, expected the ids of the Wawp instances to ask for"
        if api.key_file and not api.configured and api.kind != "wawp":
            yield f"sources.{name}.api.url: missing while key_file is given, expected the address of the gateway"
        if api.kind in KEYS and api.configured and not api.key_file:
            yield f"sources.{name}.api.key_file: missing, expected the file with {KEYS[api.kind]}"
        yield from check_probe(name, source)
    if config.remedy.alerts and not any(source.api.configured for source in config.sources.values()):
        yield "remedy.alerts: no source has an api through which sessions can be restarted, expected sources.*.api"


def check_probe(name: str, source: Source) -> Iterator[str]:
    """A probe needs a gateway to ask through, and a number to ask about."""
    key = f"sources.{name}.probe"
    if source.probe.interval and not source.probe.number_file:
        yield f"{key}.number_file: missing while interval is given, expected the file with a phone number"
    if source.probe.interval and (not source.api.configured or source.api.kind == "wawp"):
        yield f"{key}.interval: needs sources.{name}.api of kind waha, evolution or wppconnect, expected it, or 0s"


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
            yield f"groups: {group!r} is not a name, expected printable characters"
        if not members:
            yield f"groups.{group}: is empty, expected a list of source/session"
        for index, member in enumerate(members):
            key = f"groups.{group}.{index}"
            source, _, session = member.partition("/")
            if not source or not session:
                yield f"{key}: {member!r} is not a member, expected source/session"
            elif source not in config.sources:
                yield f"{key}: {member} belongs to a source that is not configured, expected one of {named(config)}"
            if member in seen:
                yield f"{key}: {member} is in {seen[member]} too, expected each session in one group only, once"
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
