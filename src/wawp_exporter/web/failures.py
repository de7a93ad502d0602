"""What a request that failed is answered with: `{"error": …}`, to people a page that says the same; no traceback."""

import errno
import os
from collections.abc import Mapping

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from wawp_exporter.errors import LogError, Refusal, describe
from wawp_exporter.live.clock import unix_now
from wawp_exporter.web.pages.render import render

TITLES = {
    400: "That address cannot be read",
    401: "A token is needed",
    403: "Not allowed from here",
    404: "There is no such page",
    405: "There is no such page",
    409: "Not done",
    503: "Not now",
}
AGAIN = {"Retry-After": "5"}

logger = structlog.get_logger()


def failure(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer: a page for a browser, JSON for everybody else."""
    if not for_people(request):
        return JSONResponse({"error": message}, status, headers=headers)
    title = TITLES.get(status, "Something went wrong")
    page = render(request, "failure.html", unix_now(), status, title=title, message=message)
    page.headers.update(headers or {})
    return page


def for_people(request: Request) -> bool:
    """Whether a browser shows the answer as a page; programs that read the API get JSON whatever they accept."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return "text/html" in request.headers.get("accept", "") and (
        request.method == "POST" or not path.startswith(("/api/", "/metrics", "/-/", "/static/"))
    )


async def refused(request: Request, error: Refusal) -> Response:
    """A refusal in the one shape of errors."""
    return failure(request, error.status, error.message, dict(error.headers))


async def unreadable(request: Request, error: LogError) -> Response:
    """The log could not be read; what the system said of it, which holds no data, goes to the log."""
    logger.error("log not readable", error=describe(error))
    return failure(request, 503, "the event log cannot be read, try again", AGAIN)


async def left(_request: Request, _error: ClientDisconnect) -> Response:
    """The caller went away before its request was whole: nobody reads this."""
    return Response(status_code=400)


async def exhausted(request: Request, error: OSError) -> Response:
    """The system has no file descriptor or no memory to spare: that passes. Anything else is a defect."""
    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        raise error
    logger.error("request refused", error=describe(error), reason=os.strerror(error.errno))
    return failure(request, 503, "the system has no file descriptors or no memory left for this, try again", AGAIN)


async def failed(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals in the same shape."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Several routes may share the path, and Starlette names the methods of the first.
        there = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers["Allow"] = ", ".join(sorted({method for route in there for method in getattr(route, "methods", ())}))
    return failure(request, error.status_code, error.detail.lower(), headers)


async def broken(request: Request, error: Exception) -> Response:
    """A defect: its kind goes to the log, nothing of it to the caller."""
    logger.error("request failed", error=type(error).__name__)
    return failure(request, 500, "internal error")


HANDLERS = {
    Refusal: refused,
    LogError: unreadable,
    HTTPException: failed,
    ClientDisconnect: left,
    OSError: exhausted,
    Exception: broken,
}
