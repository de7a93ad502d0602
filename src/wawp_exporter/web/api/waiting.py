"""Work for a caller, which ends when the caller closes the connection."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from wawp_exporter.errors import Left

R = TypeVar("R")


async def while_connected(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """What `work` gives; it is cancelled when the caller closes the connection. Raises Left."""
    task, gone = asyncio.create_task(work), asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Left("the caller has left")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def disconnected(request: Request) -> None:
    """Returns when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
