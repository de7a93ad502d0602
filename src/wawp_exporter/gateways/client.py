"""Asks the HTTP API of a gateway; what all gateways have in common.

Keys travel in headers only, names are quoted, no redirect is followed, and no URL found in an answer is fetched. What
goes wrong is a GatewayError whose message holds no key, no URL and nothing of an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.answers import ACCEPTED, collect, plain
from wawp_exporter.gateways.gateway import Reading

LIST_TIMEOUT_S = 20.0
QR_TIMEOUT_S = 20.0  # WAHA itself waits up to 15 s for the image
RESTART_TIMEOUT_S = 45.0  # a restart answers when the session was stopped, after 3 to 13 s
PROBE_TIMEOUT_S = 75.0  # engines wait up to 60 s for WhatsApp
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 << 20  # of a list; configurations are part of it
WAWP_URL = "https://api.wawp.net"
REFUSED = (401, 403)  # the key
AT_ONCE = 8  # sessions that are asked about one by one

T = TypeVar("T")


class Client:
    """One gateway's HTTP client; its methods may be called side by side. To be closed."""

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
            raise GatewayError("it was not asked: the exporter is stopping, or the gateway's configuration has changed")
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
            raise GatewayError(f"no answer within {seconds:g} s", late=True) from None
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


async def each(ask: Callable[[T], Coroutine[Any, Any, Reading | None]], items: Sequence[T]) -> list[Reading]:
    """What `ask` reads for the items, AT_ONCE at a time; a None is left out.

    Raises GatewayError, the first one: then the others are not waited for, and their connections are closed.
    """
    found: list[Reading | None] = []
    for start in range(0, len(items), AT_ONCE):
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(item)) for item in items[start : start + AT_ONCE]]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found += [task.result() for task in asked]
    return [reading for reading in found if reading]


async def read(session: str, ask: Awaitable[Reading | None], *, own_key: bool = False) -> Reading | None:
    """What `ask` reads of one of several sessions. An error that is an answer concerns this session only.

    Raises GatewayError if nobody answered, or if the key is refused, unless the session has a key of its own: the
    gateway would refuse it for each of the others too.
    """
    try:
        return await ask
    except GatewayError as error:
        if error.unreachable or (error.status in REFUSED and not own_key):
            raise
        return Reading((session,), "", trouble=str(error))


def segment(session: str) -> str:
    """A session's name as one segment of a path. Raises GatewayError for a name that would ask for another path.

    URL clients and proxies resolve `.` and `..`, encoded or not: `/api/sessions/../restart` becomes `/api/restart`.
    """
    if session in ("", ".", ".."):
        raise GatewayError("the name of the session cannot stand in a URL")
    return quote(session, safe="")


def refused(status: int) -> str:
    """What an answer's status means to an operator."""
    if status in REFUSED:
        return f"it refuses the key ({status})"
    return f"it answered {status}"
