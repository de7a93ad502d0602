"""The link from the gateway to the exporter: what became of the webhooks of each source."""

from collections.abc import Iterator
from datetime import UTC, datetime

from wawp_exporter.config.schema import Config, Source
from wawp_exporter.config.values import split_listen
from wawp_exporter.doctor.exporter import ANY
from wawp_exporter.doctor.finding import Finding, broken, ok
from wawp_exporter.doctor.samples import Samples
from wawp_exporter.setup.gateways import GATEWAYS, Gateway

LINK = "webhooks"
ACCEPTED = "wawp_exporter_last_accepted_timestamp_seconds"
REFUSED = "wawp_exporter_refused_since_timestamp_seconds"
REJECTED = "wawp_exporter_webhooks_rejected_total"
# What is wrong, by the reason of a refusal.
REASONS = {
    "bad_signature": "the signature in {header} is wrong: the gateway has another key",
    "missing_signature": "the header {header} is missing: the gateway does not sign",
    "bad_token": "the token is missing or wrong",
    "malformed": "the body is not JSON, or not whole",
    "too_large": "the body is over 256 KiB",
    "invalid_event": "the body has no usable session or status: the gateway's format is not that of dialect {dialect}",
    "log_unavailable": "the event log could not be written",
}
UNSIGNED = "unsigned webhooks are taken from this machine only"


def look(config: Config, samples: Samples) -> Iterator[Finding]:
    """One finding for each source."""
    for name, source in config.sources.items():
        yield of_source(name, source, config, samples)


def of_source(name: str, source: Source, config: Config, samples: Samples) -> Finding:
    """Accepted, refused, or none yet."""
    link = f"{LINK} of {name}"
    accepted = samples.total(ACCEPTED, source=name)
    refused = {labels["reason"]: since for labels, since in samples.find(REFUSED, source=name) if since}
    if accepted is None:
        says = "the running exporter does not know this source"
        return broken(link, says, "It runs with an older or another configuration; reload it:  kill -HUP PID")
    if refused:
        return refusal(link, name, source, config, refused)
    if accepted:
        return ok(link, f"accepted, the last one at {clock(accepted)}")
    sessions = samples.total("wawp_sessions", source=name)
    if sessions:
        return ok(link, f"none since the exporter's start, but {sessions:g} sessions are known from before")
    return broken(link, "none yet", *strays(name, samples), *to_paste(name, source, config))


def refusal(link: str, name: str, source: Source, config: Config, refused: dict[str, float]) -> Finding:
    """They are refused: the reason that came first, and what to do about it."""
    reason, since = min(refused.items(), key=lambda item: item[1])
    what = REASONS.get(reason, reason).format(header=source.hmac_header, dialect=source.dialect)
    if reason == "missing_signature" and not source.authenticated:
        what = UNSIGNED
    others = [other for other in sorted(refused) if other != reason]
    also = f" (also: {', '.join(others)})" if others else ""
    says = f"refused since {clock(since)} ({reason}), and none accepted since then: {what}{also}"
    return broken(link, says, *remedy(reason, name, source, config))


def remedy(reason: str, name: str, source: Source, config: Config) -> tuple[str, ...]:
    """What helps against one reason of refusals."""
    match reason:
        case "missing_signature" if not source.authenticated:
            return (
                f"Make a key, and name its file in the configuration:  openssl rand -hex 32 > {name}.key",
                f"  sources: {{{name}: {{hmac_keys_file: {name}.key}}}}",
                *to_paste(name, source, config),
            )
        case "bad_signature" | "missing_signature" | "bad_token":
            return to_paste(name, source, config)
        case "malformed" | "invalid_event":
            return (
                f"Is the gateway one of dialect {source.dialect}?  Else set sources.{name}.dialect (docs/gateways.md)",
            )
        case "log_unavailable":
            return ("Is the disk full, or the database away?  The exporter's log says what failed",)
    return ("The exporter's log says what was refused",)


def to_paste(name: str, source: Source, config: Config) -> tuple[str, ...]:
    """What the gateway is to be given."""
    url = webhook_url(name, config)
    if source.hmac_keys_file:
        if source.dialect == "waha":
            return (
                "Paste into the gateway's environment (WAHA), and restart it:",
                f"  WHATSAPP_HOOK_URL={url}",
                "  WHATSAPP_HOOK_EVENTS=session.status",
                f"  WHATSAPP_HOOK_HMAC_KEY=…   (the first line of {source.hmac_keys_file})",
            )
        if source.dialect == "openwa":
            lines = GATEWAYS["openwa"].lines(url, "SECRET").splitlines()
            return (f"Paste this, with the first line of {source.hmac_keys_file} instead of SECRET.", *lines)
        return (f"Let the gateway send to {url}, signed in {source.hmac_header} with {source.hmac_keys_file}",)
    if source.token_file and (gateway := gateway_of(source)):
        lines = gateway.lines(url, "SECRET").splitlines()
        return (f"Paste this, with the first line of {source.token_file} instead of SECRET.", *lines)
    if source.token_file:
        return (f"Let the gateway send to {url}?token=…   (the first line of {source.token_file})",)
    return (f"Let the gateway send its status events to {url}",)


def gateway_of(source: Source) -> Gateway | None:
    """The gateway whose webhooks have a token, if the configuration says which it is."""
    name = "wawp" if source.api.kind == "wawp" else source.dialect
    return None if name == "waha" else GATEWAYS.get(name)


def webhook_url(name: str, config: Config) -> str:
    """Where webhooks are taken; the host as the gateway must know it."""
    path = "/webhook" if name == "default" else f"/webhook/{name}"
    web = config.web
    if web.external_url and not web.ingress_listen:
        return web.external_url + path
    host, port = split_listen(config.webhook_listen)
    anywhere = host in ANY
    scheme = "https" if web.tls.cert_file else "http"
    known = f"[{host}]" if ":" in host else host
    return f"{scheme}://{'THIS_HOST' if anywhere else known}:{port}{path}"


def strays(name: str, samples: Samples) -> tuple[str, ...]:
    """Whether something arrives at a path of no source."""
    if not samples.total(REJECTED, source="", reason="unknown_source"):
        return ()
    return (f"Something arrives at a path of no source; expected /webhook/{name}",)


def clock(seconds: float) -> str:
    """A Unix time as people write it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
