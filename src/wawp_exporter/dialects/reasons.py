"""Gateways' codes and words for why a session is lost → the contract's reasons (docs/gateways.md has their origin)."""

import re
from collections.abc import Mapping

from wawp_exporter.model.reasons import NO_REASON, REASONS, Reason

# Baileys' DisconnectReason, and the codes with which WhatsApp refuses a connection.
CODES = {
    "401": Reason.LOGGED_OUT,
    "402": Reason.BANNED,  # for a while
    "403": Reason.BANNED,
    "406": Reason.BANNED,
    "408": Reason.TIMED_OUT,
    "428": Reason.CONNECTION_LOST,
    "440": Reason.REPLACED,
    "503": Reason.CONNECTION_LOST,  # WhatsApp's servers do not answer
    "515": Reason.RESTART_REQUIRED,
}
NOTHING = frozenset({"", "0", "200", "none", "null", "undefined", "notlogged"})  # said where nothing is wrong
# The outer ones first. `output` is that of an error of NOWEB's: {"output": {"statusCode": 401}}.
FIELDS = ("statusReason", "disconnectionReasonCode", "statusCode", "reason", "error", "output", "data")
# In lower case, without signs: `STREAM_REPLACED`, `streamReplaced` and `stream replaced` are one word.
WORDS = {re.sub(r"_", "", reason): Reason(reason) for reason in REASONS if reason} | {
    # Baileys
    "forbidden": Reason.BANNED,
    "connectionclosed": Reason.CONNECTION_LOST,
    "unavailableservice": Reason.CONNECTION_LOST,
    "connectionreplaced": Reason.REPLACED,
    # whatsapp-web.js
    "logout": Reason.LOGGED_OUT,
    "unpaired": Reason.LOGGED_OUT,
    "unpairedidle": Reason.LOGGED_OUT,
    "conflict": Reason.REPLACED,
    "timeout": Reason.TIMED_OUT,
    "proxyblock": Reason.CONNECTION_LOST,
    "tosblock": Reason.BANNED,
    "smbtosblock": Reason.BANNED,
    "maxqrcoderetriesreached": Reason.QR_EXPIRED,
    # wppconnect
    "disconnectedmobile": Reason.LOGGED_OUT,
    "desconnectedmobile": Reason.LOGGED_OUT,
    "autoclosecalled": Reason.QR_EXPIRED,
    "phonenotconnected": Reason.CONNECTION_LOST,
    "serverclose": Reason.CONNECTION_LOST,
    # whatsmeow
    "streamreplaced": Reason.REPLACED,
    "temporaryban": Reason.BANNED,
    "disconnected": Reason.CONNECTION_LOST,
    "keepalivetimeout": Reason.TIMED_OUT,
    "qrtimeout": Reason.QR_EXPIRED,
}


def reason_of(said: object, depth: int = 3) -> str:
    """The reason for what a gateway says: a code, a word, or an object with one of FIELDS, `depth` objects deep.

    NO_REASON if it says none, OTHER for what is not known.
    """
    if isinstance(said, dict):
        return reason_in(said, depth - 1) if depth else NO_REASON
    if isinstance(said, str):
        return worded(said.strip())
    if type(said) is int and 0 < said < 1000:  # a bool is no number here
        return worded(str(said))
    return NO_REASON


def reason_in(said: Mapping[str, object], depth: int) -> str:
    """The reason that the first of FIELDS gives; `refused` means for Evolution that nobody has scanned."""
    if said.get("state") == "refused":
        return Reason.QR_EXPIRED
    return next(filter(None, (reason_of(said[field], depth) for field in FIELDS if field in said)), NO_REASON)


def worded(text: str) -> str:
    """The reason for a code or a word."""
    if text in CODES:
        return CODES[text]
    word = re.sub(r"[^a-z0-9]", "", text.lower().removeprefix("events."))
    return NO_REASON if word in NOTHING else WORDS.get(word, Reason.OTHER)
