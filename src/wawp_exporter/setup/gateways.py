"""The gateways: what the exporter's configuration says about each, and what to paste into it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PLAIN = ["session.status", "message.any", "message.ack"]
EVOLUTION = [
    *("CONNECTION_UPDATE", "QRCODE_UPDATED", "STATUS_INSTANCE", "REMOVE_INSTANCE", "LOGOUT_INSTANCE"),
    *("MESSAGES_UPSERT", "MESSAGES_UPDATE", "SEND_MESSAGE"),
]
OPENWA = [
    *("session.status", "session.qr", "session.authenticated", "session.disconnected"),
    *("message.received", "message.sent", "message.ack"),
    *("session.reconnect_loop", "session.restriction"),
]
# What wppconnect-server sends beside messages and their acknowledgements, which the exporter does not need.
IGNORED = [
    "unreadmessages",
    "onpresencechanged",
    "onreactionmessage",
    "onpollresponse",
    "onrevokedmessage",
    "onparticipantschanged",
    "onupdatelabel",
]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway whose webhooks the exporter takes.

    `secret`: the file of the key or token. `key`: where the configuration names that file. `lines`: what to paste, made
    of the URL and the secret.
    """

    name: str
    key: str
    secret: str
    lines: Callable[[str, str], str]
    settings: Mapping[str, Any]

    def source(self) -> dict[str, Any]:
        """Its section of `sources`."""
        return {self.key: self.secret, **self.settings}


def path_of(source: str) -> str:
    """Where webhooks of a source go."""
    return "/webhook" if source == "default" else f"/webhook/{source}"


def one_line(value: object) -> str:
    """JSON for a shell's single quotes: none of the values holds one."""
    return json.dumps(value)


def waha(url: str, key: str) -> str:
    """Its environment, or a session's own list."""
    retries = {"policy": "exponential", "delaySeconds": 2, "attempts": 15}
    entry = {"url": url, "events": PLAIN, "hmac": {"key": key}, "retries": retries}
    return f"""\
Into the environment of WAHA (its .env file, or `environment:` of its compose file); then restart WAHA:

WHATSAPP_HOOK_URL={url}
WHATSAPP_HOOK_EVENTS={",".join(PLAIN)}
WHATSAPP_HOOK_HMAC_KEY={key}
WHATSAPP_HOOK_RETRIES_POLICY=exponential
WHATSAPP_HOOK_RETRIES_ATTEMPTS=15

WAHA has only one global URL. If another program uses it, leave it as it is, and add this entry to the list
`config.webhooks` of each session (PUT /api/sessions/SESSION replaces the whole `config`: send back the rest of it, too;
a running session restarts):

{one_line(entry)}

Do one of the two, not both: WAHA would send everything twice.
"""


def wawp(url: str, token: str) -> str:
    """The call that adds one URL; the older one overwrites the list."""
    entry = {"url": f"{url}?secret={token}", "events": PLAIN, "is_active": 1}
    return f"""\
In a shell, with your own WAWP_INSTANCE_ID and WAWP_ACCESS_TOKEN, once for each instance (needs a paid plan):

curl -X POST "https://api.wawp.net/v2/webhook/set?instance_id=$WAWP_INSTANCE_ID&access_token=$WAWP_ACCESS_TOKEN" \\
  -H 'Content-Type: application/json' -d '{one_line(entry)}'

This adds the URL to the instance's list and keeps the others. The other call, POST /v2/session/webhook, OVERWRITES the
list: if you use it, read the list first (GET /v2/session/webhook), add this entry to what is there, the system webhook
included, and send back the whole list.
Wawp is on the internet: the URL above must be reachable from there, with https.
"""


def evolution(url: str, token: str) -> str:
    """An instance has one webhook of its own; the server's global one is sent too."""
    hook = {"enabled": True, "url": f"{url}?token={token}", "byEvents": False, "base64": False, "events": EVOLUTION}
    return f"""\
In a shell, with your own EVOLUTION_URL, EVOLUTION_API_KEY and INSTANCE, once for each instance:

curl -X POST "$EVOLUTION_URL/webhook/set/$INSTANCE" -H "apikey: $EVOLUTION_API_KEY" \\
  -H 'Content-Type: application/json' -d '{one_line({"webhook": hook})}'

An instance has one webhook, and this call REPLACES it (GET $EVOLUTION_URL/webhook/find/$INSTANCE shows the one that is
there). If another program uses it, leave it as it is, and use the server's global webhook instead, which is sent in
addition; into Evolution's environment:

WEBHOOK_GLOBAL_ENABLED=true
WEBHOOK_GLOBAL_URL={url}?token={token}
WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS=false
{"".join(f"WEBHOOK_EVENTS_{event}=true{chr(10)}" for event in EVOLUTION)}"""


def wppconnect(url: str, token: str) -> str:
    """Each session has one URL, which holds its name: later starts send no name."""
    body = {"webhook": f"{url}?token={token}&session=SESSION", "waitQrCode": False}
    return f"""\
In the `webhook` section of wppconnect-server's config.ts (with its defaults, the senders of messages would see them as
read as soon as the exporter answers); then restart it:

    readMessage: false,
    autoDownload: false,
    allUnreadOnStart: false,
    listenAcks: true,
    onSelfMessage: true,
    onPresenceChanged: false,
    ignore: {one_line(IGNORED)},

Then in a shell, for each session, with its name instead of SESSION (twice), your own WPP_URL and its WPP_TOKEN:

curl -X POST "$WPP_URL/api/SESSION/start-session" -H "Authorization: Bearer $WPP_TOKEN" \\
  -H 'Content-Type: application/json' -d '{one_line(body)}'

A session has one webhook URL, and this call REPLACES it. If another program uses it, leave it as it is, leave the
section above as it is except for readMessage, and let that program pass on the events status-find, qrcode, phoneCode,
closesession and logoutsession to (and onmessage, onselfmessage and onack, so that silence is noticed):

{url}?token={token}&session=SESSION
"""


def openwa(url: str, key: str) -> str:
    """Each session has a list of webhooks, so that nothing is replaced."""
    hook = {"url": f"{url}?session=NAME", "events": OPENWA, "secret": key, "retryCount": 5}
    return f"""\
In a shell, for each session, with your own OPENWA_URL and OPENWA_API_KEY, the session's id instead of ID, and instead
of NAME what the exporter is to call it (without ?session=NAME it has the id):

curl -X POST "$OPENWA_URL/api/sessions/ID/webhooks" -H "X-API-Key: $OPENWA_API_KEY" \\
  -H 'Content-Type: application/json' -d '{one_line(hook)}'

This adds a webhook to the session's list and keeps the others. Older versions refuse the last two events:
leave them out.
OpenWA may refuse to send to a private address: its documentation says how to allow the exporter's.
"""


OPENWA_SIGNS = {"dialect": "openwa", "hmac_algorithm": "sha256", "hmac_header": "X-OpenWA-Signature"}
GATEWAYS: dict[str, Gateway] = {
    gateway.name: gateway
    for gateway in (
        Gateway("waha", "hmac_keys_file", "hmac.keys", waha, {}),
        Gateway("wawp", "token_file", "webhook.token", wawp, {}),
        Gateway("evolution", "token_file", "webhook.token", evolution, {"dialect": "evolution"}),
        Gateway("wppconnect", "token_file", "webhook.token", wppconnect, {"dialect": "wppconnect"}),
        Gateway("openwa", "hmac_keys_file", "hmac.keys", openwa, OPENWA_SIGNS),
    )
}
