"""What a request that failed is answered with: always `{"error": …}`, never a traceback."""

import errno
import os

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from wawp_exporter.errors import LogError, Refusal, describe

logger = structlog.get_logger()


async def refused(_request: Request, error: Refusal) -> Response:
    """A refusal in the one shape of errors."""
    return JSONResponse({"error": error.message}, error.status, headers=dict(error.headers))


async def unreadable(_request: Request, error: LogError) -> Response:
    """The log could not be read; what the system said of it, which holds no data, goes to the log."""
    logger.error("log not readable", error=describe(error))
    return JSONResponse({"error": "the event log cannot be read, try again"}, 503, headers={"Retry-After": "5"})


async def left(_request: Request, _error: ClientDisconnect) -> Response:
    """The caller went away before its request was whole: nobody reads this."""
    return Response(status_code=400)


async def exhausted(_request: Request, error: OSError) -> Response:
    """The system has no file descriptor or no memory to spare: that passes. Anything else is a defect."""
    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        raise error
    logger.error("request failed", error=describe(error), reason=os.strerror(error.errno))
    answer = {"error": "the system has no file descriptors or no memory left for this, try again"}
    return JSONResponse(answer, 503, headers={"Retry-After": "5"})


async def failed(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals in the same shape."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Several routes may share the path, and Starlette names the methods of the first.
        there = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers["Allow"] = ", ".join(sorted({method for route in there for method in getattr(route, "methods", ())}))
    return JSONResponse({"error": error.detail.lower()}, error.status_code, headers=headers)


async def broken(_request: Request, error: Exception) -> Response:
    """A defect: its kind goes to the log, nothing of it to the caller."""
    logger.error("request failed", error=type(error).__name__)
    return JSONResponse({"error": "internal error"}, 500)


HANDLERS = {
    Refusal: refused,
    LogError: unreadable,
    HTTPException: failed,
    ClientDisconnect: left,
    OSError: exhausted,
    Exception: broken,
}
