"""The HTTP APIs of WAHA and Wawp: which sessions are there, restart, and the QR image.

Keys travel in headers only, names are quoted, no redirect is followed, and no URL found in an answer is fetched. What
goes wrong is a GatewayError whose message holds no key, no URL and nothing of an answer.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.dialects.reading import MAX_INSTANT_MS, usable
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import ACCEPTED, collect, decode, items_of, json_of, plain
from wawp_exporter.model.event import ENGINES

LIST_TIMEOUT_S = 20.0
QR_TIMEOUT_S = 20.0  # WAHA itself waits up to 15 s for the image
RESTART_TIMEOUT_S = 45.0  # a restart answers when the session was stopped, after 3 to 13 s
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 << 20  # of a list; configurations are part of it
MAX_QR_BYTES = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"
WAWP_URL = "https://api.wawp.net"
SLICE = 500  # sessions of a list that are read before others get their turn
# How each API says that it does not know a session. Any other 404 is of a proxy, or of another service.
WAHA_UNKNOWN = re.compile(r"^session not found|^we didn't find a session", re.IGNORECASE)
WAWP_UNKNOWN = ("not_found", "session_not_found", "instance_not_found")
FOREIGN = "it answered 404 in the words of something else: is the address right, and the gateway behind its proxy?"


class Reading(msgspec.Struct, frozen=True):
    """A session as its gateway tells it: the status verbatim, "" if unusable; `names` are those of its webhooks."""

    names: tuple[str, ...]
    status: str
    engine: str | None = None


class Gateway:
    """One gateway; its methods may be called side by side. To be closed."""

    def __init__(self, api: GatewayApi, key: str | None) -> None:
        self.instances: Sequence[str] = api.instances
        self._client = httpx.AsyncClient(
            base_url=api.url or WAWP_URL,
            headers={"Accept-Encoding": ACCEPTED, **(self.headers(key) if key else {})},
            follow_redirects=False,
            timeout=httpx.Timeout(LIST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=15),
        )

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """How the key is presented."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def sessions(self) -> list[Reading]:
        """All sessions, stopped ones too; one that is not there is not known to the gateway. Raises GatewayError."""
        raise NotImplementedError

    async def status(self, session: str) -> str | None:
        """One session's status, None if the gateway does not know it. Raises GatewayError."""
        raise NotImplementedError

    async def restart(self, session: str) -> None:
        """Restarts a session; returns when the gateway says that it did. Raises GatewayError."""
        raise NotImplementedError

    async def qr(self, session: str) -> bytes | None:
        """The QR image as PNG, None while there is none. Raises GatewayError."""
        raise NotImplementedError

    async def started_at(self) -> int | None:
        """When the gateway was started (Unix ms), None if it does not say. Raises GatewayError."""
        return None

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        seconds: float = LIST_TIMEOUT_S,
        limit: int = MAX_ANSWER_BYTES,
        accepted: Sequence[int] = (200, 201),
        **request: Any,
    ) -> httpx.Response:
        """The whole answer, if its status is among `accepted`. Raises GatewayError, whatever goes wrong."""
        if self._client.is_closed:
            raise GatewayError("it is not asked any more: the exporter is stopping, or its configuration has changed")
        try:
            limits = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT_S)
            # The whole of it: httpx starts anew with each piece that drips in.
            async with (
                asyncio.timeout(seconds),
                self._client.stream(method, path, timeout=limits, **request) as answer,
            ):
                # Not httpx's own decoding, which knows no limit.
                raw = await collect(answer.aiter_raw(), limit) if answer.status_code in accepted else b""
            encodings = answer.headers.get("content-encoding", "") if raw else ""
            body = await asyncio.to_thread(plain, raw, encodings, limit)
        except GatewayError:
            raise
        except (httpx.TimeoutException, TimeoutError):
            raise GatewayError(f"no answer within {seconds:g} s", unreachable=True) from None
        except httpx.HTTPError as error:
            raise GatewayError(f"no answer ({type(error).__name__})", unreachable=True) from None
        except httpx.InvalidURL:
            raise GatewayError("the name of the session cannot stand in a URL") from None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer that caused it
            raise GatewayError(f"its answer cannot be read ({type(error).__name__})") from None
        if answer.status_code not in accepted:
            raise GatewayError(refused(answer.status_code), answer.status_code)
        headers = {"content-type": answer.headers.get("content-type", "")}
        return httpx.Response(answer.status_code, headers=headers, content=body)


class Waha(Gateway):
    """WAHA's REST API."""

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """`X-Api-Key`."""
        return {"X-Api-Key": key}

    async def sessions(self) -> list[Reading]:
        """`GET /api/sessions?all=true`."""
        answer = await self._ask("GET", "/api/sessions", params={"all": "true"})
        found = []
        for number, item in enumerate(items_of(answer)):
            if reading := reading_of(decode(item, Any)):
                found.append(reading)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # webhooks get their turn
        return found

    async def status(self, session: str) -> str | None:
        """`GET /api/sessions/{session}`."""
        answer = await self._ask("GET", self._path(session), accepted=(200, 404))
        if answer.status_code == 200:
            return only_reading(answer).status
        # `{"message": "Session not found", "error": "Not Found", "statusCode": 404}`. In the same form WAHA says
        # "Cannot GET …" of a path that it does not know.
        told = refusal_in(answer)
        message = told.get("message") if told.get("statusCode") == 404 else None
        if not isinstance(message, str) or not WAHA_UNKNOWN.search(message):
            raise GatewayError(FOREIGN, 404)
        return None

    async def restart(self, session: str) -> None:
        """`POST /api/sessions/{session}/restart`."""
        done(await self._ask("POST", self._path(session) + "/restart", seconds=RESTART_TIMEOUT_S))

    async def qr(self, session: str) -> bytes | None:
        """`GET /api/{session}/auth/qr`; 422 says that the session is not there yet, or no more."""
        path = f"/api/{segment(session)}/auth/qr"
        answer = await self._ask(
            "GET",
            path,
            params={"format": "image"},
            headers={"Accept": "application/json"},
            seconds=QR_TIMEOUT_S,
            limit=MAX_QR_BYTES,
            accepted=(200, 404, 422),
        )
        return code_in(answer)

    async def started_at(self) -> int | None:
        """`GET /api/server/status`; the time jitters by a millisecond."""
        told = json_of(await self._ask("GET", "/api/server/status"))
        started = told.get("startTimestamp") if isinstance(told, dict) else None
        return started if type(started) is int and 0 < started <= MAX_INSTANT_MS else None

    @staticmethod
    def _path(session: str) -> str:
        return f"/api/sessions/{segment(session)}"


class Wawp(Gateway):
    """Wawp's REST API: every instance is asked by its id, and may be called by that or by its name in webhooks."""

    def __init__(self, api: GatewayApi, key: str | None) -> None:
        super().__init__(api, key)
        self._ids: dict[str, str] = {instance: instance for instance in api.instances}

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """A bearer token: Wawp would take it in the URL too, where proxies log it."""
        return {"Authorization": f"Bearer {key}"}

    async def sessions(self) -> list[Reading]:
        """`GET /v2/session/info` of each instance."""
        found = []
        for instance in self.instances:
            reading = await self._info(instance)
            if reading:
                self._ids.update((name, instance) for name in reading.names)
                found.append(reading)
        return found

    async def status(self, session: str) -> str | None:
        """The status of one instance."""
        reading = await self._info(self._id(session))
        return reading.status if reading else None

    async def restart(self, session: str) -> None:
        """`POST /v2/session/restart`."""
        instance = self._id(session)
        answer = await self._ask(
            "POST",
            "/v2/session/restart",
            json={"instance_id": instance},
            headers=told(instance),
            seconds=RESTART_TIMEOUT_S,
        )
        done(answer)

    async def qr(self, session: str) -> bytes | None:
        """`GET /v2/auth/qr`."""
        instance = self._id(session)
        answer = await self._ask(
            "GET",
            "/v2/auth/qr",
            params={"instance_id": instance},
            headers=told(instance),
            seconds=QR_TIMEOUT_S,
            limit=MAX_QR_BYTES,
            accepted=(200, 404, 422),
        )
        return code_in(answer)

    async def _info(self, instance: str) -> Reading | None:
        answer = await self._ask(
            "GET",
            "/v2/session/info",
            params={"instance_id": instance},
            headers=told(instance),
            accepted=(200, 404),
        )
        if answer.status_code == 404:
            if refusal_in(answer).get("code") not in WAWP_UNKNOWN:
                raise GatewayError(FOREIGN, 404)
            return None
        reading = only_reading(answer)
        return Reading((instance, *reading.names), reading.status, reading.engine)

    def _id(self, session: str) -> str:
        if session not in self._ids:
            raise GatewayError("the session is of no instance that is configured")
        return self._ids[session]


KINDS = {"waha": Waha, "wawp": Wawp}


def make_gateway(api: GatewayApi, key: str | None) -> Gateway:
    """The client of a configured API."""
    return KINDS[api.kind](api, key)


def segment(session: str) -> str:
    """A session's name as one segment of a path. Raises GatewayError for a name that would ask for another path.

    URL clients and proxies resolve `.` and `..`, encoded or not: `/api/sessions/../restart` becomes `/api/restart`.
    """
    if session in ("", ".", ".."):
        raise GatewayError("the name of the session cannot stand in a URL")
    return quote(session, safe="")


def told(instance: str) -> Mapping[str, str]:
    """The header by which Wawp's own SDK names the instance."""
    return {"X-Instance-ID": instance}


def refused(status: int) -> str:
    """What an answer's status means to an operator."""
    if status in (401, 403):
        return f"it refuses the key ({status})"
    return f"it answered {status}"


def reading_of(item: object) -> Reading | None:
    """A session as the API tells it; None for what has no usable name."""
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


def done(answer: httpx.Response) -> None:
    """Raises GatewayError unless it is JSON that says what came of a call: an error page does not."""
    if not isinstance(json_of(answer), dict):
        raise GatewayError("its answer is not what was asked for")


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
        text = (given.get("data") or given.get("qr")) if isinstance(given, dict) else None
        text = text.rpartition(",")[2] if isinstance(text, str) else ""
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            body = b""
    if not body.startswith(PNG):
        raise GatewayError("its QR code is not a PNG image")
    return body
