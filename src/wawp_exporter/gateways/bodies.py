"""The bodies of answers: sessions, refusals, QR codes."""

import base64
import binascii
from typing import Any

import httpx

from wawp_exporter.dialects.reading import usable
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import json_of
from wawp_exporter.gateways.gateway import Reading
from wawp_exporter.model.event import ENGINES

MAX_QR_BYTES = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"
FOREIGN = "it answered 404, but not in the gateway's form: is the address right, and can the proxy reach the gateway?"


def reading_of(item: object) -> Reading | None:
    """A session of a list; None if it has no usable name."""
    if not isinstance(item, dict):
        return None
    name, status = usable(item.get("name")), usable(item.get("status")) or ""
    engine = item.get("engine")
    engine = engine.get("engine") if isinstance(engine, dict) else engine
    engine = engine if isinstance(engine, str) and engine in ENGINES else None
    return Reading((name,), status, engine) if name else None


def only_reading(answer: httpx.Response) -> Reading:
    """The session of an answer about one. Raises GatewayError: an odd answer does not say that it is gone."""
    reading = reading_of(json_of(answer))
    if reading is None:
        raise GatewayError("its answer is not a session")
    return reading


def refusal_in(answer: httpx.Response) -> dict[str, Any]:
    """What an API says with a 404. Raises GatewayError for a page, and whatever else no API says."""
    try:
        given = json_of(answer)
    except GatewayError:
        given = None
    if not isinstance(given, dict):
        raise GatewayError(FOREIGN, 404)
    return given


def done(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object that says what came of a call. Raises GatewayError for anything else, such as an error page."""
    given = json_of(answer)
    if not isinstance(given, dict):
        raise GatewayError("its answer is not what was asked for")
    return given


def answered(answer: httpx.Response) -> bool:
    """Whether WhatsApp's answer is in it: 500 is the gateway's word for none. Raises GatewayError for an error page."""
    json_of(answer)
    return answer.status_code < 500


def code_in(answer: httpx.Response) -> bytes | None:
    """The image of an answer; None if the API says that there is none. Raises GatewayError."""
    if answer.status_code == 200:
        return image_in(answer)
    done(answer)
    return None


def image_in(answer: httpx.Response) -> bytes:
    """The PNG of an answer: as it is, or in JSON as base64, with or without `data:`. Raises GatewayError."""
    body = answer.content
    if not body.startswith(PNG):
        given = json_of(answer)
        text = (given.get("data") or given.get("qr") or given.get("base64")) if isinstance(given, dict) else None
        text = text.rpartition(",")[2] if isinstance(text, str) else ""
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            body = b""
    if not body.startswith(PNG):
        raise GatewayError("its QR code is not a PNG image")
    return body
