"""Webhooks that are refused, in words: how many, what is wrong with them, and which setting to check."""

from collections.abc import Callable

from wawp_exporter.config.schema import Source

# What of a gateway holds the key or the token, by the source's dialect.
TOKEN_SETTINGS = {
    "waha": "the token in the webhook's URL (?secret= or ?token=)",
    "evolution": "?token= in the instance's webhook URL (/webhook/set) or in WEBHOOK_GLOBAL_URL",
    "wppconnect": "?token= in the session's webhook URL (start-session)",
    "openwa": "?token= in the session's webhook URL",
}
KEY_SETTINGS = {"waha": "WHATSAPP_HOOK_HMAC_KEY", "openwa": "the webhook's secret"}


def key_setting(source: Source) -> str:
    """What of the gateway holds its key."""
    return KEY_SETTINGS.get(source.dialect, "the gateway's key")


def missing(name: str, source: Source) -> tuple[str, str]:
    """Webhooks without a signature."""
    if source.hmac_keys_file:
        return f"header {source.hmac_header} missing", f"check {key_setting(source)}"
    return (
        "neither signed nor with a token, and from another machine",
        f"set sources.{name}.hmac_keys_file or token_file, and the gateway's key or token",
    )


def wrong_signature(name: str, source: Source) -> tuple[str, str]:
    """Webhooks signed with another key."""
    file = f"the file of sources.{name}.hmac_keys_file"
    return f"{source.hmac_header} does not fit", f"check that {key_setting(source)} is a key in {file}"


def wrong_token(name: str, source: Source) -> tuple[str, str]:
    """Webhooks with a wrong token, or without one."""
    file = f"the file of sources.{name}.token_file"
    return "the token is wrong or missing", f"check that {TOKEN_SETTINGS[source.dialect]} is a token in {file}"


def unreadable(name: str, source: Source) -> tuple[str, str]:
    """Webhooks that the dialect does not understand."""
    return "they cannot be read", f"check sources.{name}.dialect ({source.dialect}); the exporter's log names the field"


def unwritable(_name: str, _source: Source) -> tuple[str, str]:
    """Webhooks that the log could not take."""
    return "the event log could not be written", "check the disk or the database of the exporter"


WORDS: dict[str, Callable[[str, Source], tuple[str, str]]] = {
    "missing_signature": missing,
    "bad_signature": wrong_signature,
    "bad_token": wrong_token,
    "malformed": unreadable,
    "invalid_event": unreadable,
    "log_unavailable": unwritable,
}
ALERTS = {
    "malformed": "WawpWebhookFeedUnreadable",
    "invalid_event": "WawpWebhookFeedUnreadable",
    "log_unavailable": "WawpLogAppendErrors",
}
ALERT = "WawpWebhookFeedRejected"
