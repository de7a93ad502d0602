"""The kinds of receivers: what each must be told, and from which Alertmanager on it exists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wawp_exporter.setup import fields
from wawp_exporter.setup.fields import Field
from wawp_exporter.setup.versions import ALERTMANAGER, Version

Settings = dict[str, Any]


@dataclass(slots=True)
class Place:
    """What one receiver was given, and where its secrets go.

    Alertmanager finds a secret's file from its own working directory, wherever its configuration is: so paths are
    absolute.
    """

    given: Mapping[str, str]
    version: Version
    folder: Path
    prefix: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    shown: bool = False
    """Whether a secret stands in the configuration itself."""

    def file(self, name: str) -> str:
        """The path of the file that holds this field's value."""
        path = f"secrets/{self.prefix}{name}"
        self.secrets[path] = self.given[name]
        return str(self.folder / path)

    def secret(self, key: str, name: str, since: Version = ALERTMANAGER.oldest) -> Settings:
        """The secret as a file, if this Alertmanager reads one, else as it is."""
        if self.version >= since:
            return {f"{key}_file": self.file(name)}
        self.shown = True
        return {key: self.given[name]}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of receiver. `address` is the field that `KIND:ADDRESS` fills in.

    `build` returns where one entry of `{key}_configs` sends; what it sends is in the shipped receivers.yml.
    """

    name: str
    key: str
    fields: tuple[Field, ...]
    build: Callable[[Place], Settings]
    since: Version = ALERTMANAGER.oldest

    @property
    def address(self) -> Field:
        """The field that says whom to reach."""
        return self.fields[0]


def telegram(place: Place) -> Settings:
    """`chat_id` must be a number in YAML."""
    api = {"api_url": place.given["telegram-api-url"]} if place.given["telegram-api-url"] else {}
    token = place.secret("bot_token", "telegram-token", Version(0, 26))
    return {**api, **token, "chat_id": int(place.given["telegram-chat"])}


def slack(place: Place) -> Settings:
    """An incoming webhook knows its channel."""
    return place.secret("api_url", "slack-url")


def discord(place: Place) -> Settings:
    """Before 0.28 the file was read, but not used (Alertmanager's issues 3728, 3745)."""
    return place.secret("webhook_url", "discord-url", Version(0, 28))


def msteams(place: Place) -> Settings:
    """A webhook of Teams' Workflows: Microsoft has switched off the older connectors."""
    return place.secret("webhook_url", "msteams-url")


def email(place: Place) -> Settings:
    """With login, if there is a user."""
    given = place.given
    server = {"smarthost": given["smtp"], "from": given["smtp-from"], "require_tls": given["smtp-tls"] == "yes"}
    login: Settings = {}
    if given["smtp-user"]:
        login = {"auth_username": given["smtp-user"], **place.secret("auth_password", "smtp-password")}
    return {"to": given["email-to"], **server, **login}


def pagerduty(place: Place) -> Settings:
    """Events API v2; accounts in Europe have another URL."""
    url = {"url": place.given["pagerduty-url"]} if place.given["pagerduty-url"] else {}
    return {**place.secret("routing_key", "pagerduty-key"), **url}


def whatsapp(place: Place) -> Settings:
    """A WAHA's `sendText`; the text is added."""
    headers = {"X-Api-Key": {"files": [place.file("whatsapp-key")]}} if place.given["whatsapp-key"] else {}
    return {
        "url": f"{place.given['whatsapp-url']}/api/sendText",
        **({"http_config": {"http_headers": headers}} if headers else {}),
        "payload": {
            "session": place.given["whatsapp-session"],
            "chatId": place.given["whatsapp-to"],
        },
    }


def webhook(place: Place) -> Settings:
    """Alertmanager's own JSON. Before 0.28 it crashed when it read the URL from a file (its pull request 3800)."""
    return place.secret("url", "webhook-url", Version(0, 28))


URL = "the URL that it gave you, https://…"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "telegram",
            "telegram",
            (
                Field(
                    "telegram-chat",
                    "Telegram: id of the chat",
                    "a number such as -1001234567890",
                    fields.whole_number,
                ),
                Field(
                    "telegram-token",
                    "Telegram: token of the bot",
                    "the token from @BotFather",
                    fields.secret,
                    secret=True,
                ),
                Field(
                    "telegram-api-url",
                    "Telegram: URL of a Bot API server of your own",
                    "a URL such as http://127.0.0.1:8081",
                    fields.server,
                    default="",
                    asked=False,
                ),
            ),
            telegram,
        ),
        Kind("slack", "slack", (Field("slack-url", "Slack: incoming webhook", URL, fields.link, secret=True),), slack),
        Kind(
            "discord",
            "discord",
            (Field("discord-url", "Discord: webhook of the channel", URL, fields.link, secret=True),),
            discord,
        ),
        Kind(
            "msteams",
            "msteamsv2",
            (Field("msteams-url", "Teams: webhook of the workflow", URL, fields.link, secret=True),),
            msteams,
            since=Version(0, 28),
        ),
        Kind(
            "email",
            "email",
            (
                Field("email-to", "E-mail: to", "an address such as ops@example.com", fields.mail),
                Field("smtp", "E-mail: mail server", "host:port such as smtp.example.com:587", fields.host_port),
                Field("smtp-from", "E-mail: from", "an address such as wawp@example.com", fields.mail),
                Field("smtp-user", "E-mail: user (empty: no login)", "the user's name", fields.secret, default=""),
                Field(
                    "smtp-password",
                    "E-mail: password",
                    "the user's password",
                    fields.secret,
                    secret=True,
                    after="smtp-user",
                ),
                Field(
                    "smtp-tls",
                    "E-mail: TLS (no: only for a server on this machine)",
                    "yes or no",
                    fields.yes_or_no,
                    default="yes",
                    asked=False,
                ),
            ),
            email,
        ),
        Kind(
            "pagerduty",
            "pagerduty",
            (
                Field(
                    "pagerduty-key", "PagerDuty: integration key (Events API v2)", "the key", fields.secret, secret=True
                ),
                Field(
                    "pagerduty-url",
                    "PagerDuty: URL",
                    "a URL such as https://events.eu.pagerduty.com/v2/enqueue",
                    fields.link,
                    default="",
                    asked=False,
                ),
            ),
            pagerduty,
        ),
        Kind(
            "whatsapp",
            "webhook",
            (
                Field(
                    "whatsapp-to",
                    "WhatsApp: to",
                    "a phone number such as 34600111222, or the id of a chat",
                    fields.chat,
                ),
                Field(
                    "whatsapp-url",
                    "WhatsApp: URL of the WAHA that sends",
                    "a URL such as http://127.0.0.1:3000",
                    fields.server,
                ),
                Field(
                    "whatsapp-session",
                    "WhatsApp: session of that WAHA",
                    "a name with a letter in it, such as default",
                    fields.session,
                    default="default",
                ),
                Field(
                    "whatsapp-key", "WhatsApp: API key of that WAHA (empty: none)", "its key", fields.secret, True, ""
                ),
            ),
            whatsapp,
            since=Version(0, 32),
        ),
        Kind(
            "webhook",
            "webhook",
            (
                Field(
                    "webhook-url", "Webhook: URL", "a URL such as https://example.com/alerts", fields.link, secret=True
                ),
            ),
            webhook,
        ),
    )
}


def missing(kind: Kind, version: Version) -> str:
    """Why this Alertmanager has no such receiver, and what to take; "" if it has."""
    if version >= kind.since:
        return ""
    others = ", ".join(each.name for each in KINDS.values() if version >= each.since)
    needed = f"{kind.since.major}.{kind.since.minor}"
    return f"{kind.name} needs Alertmanager {needed}, and this is {version}; expected a newer one, or one of {others}"
