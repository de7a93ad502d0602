"""The same stack answering always the same: what a pre-flight answer costs at the least."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BODY = b'{"ready":true,"source":"default","session":"session-1","status":"WORKING","since":"2026-11-23T08:00:00Z"}'


async def ready(_request: Request) -> Response:
    """Always ready."""
    return Response(BODY, media_type="application/json")


app = Starlette(routes=[Route("/api/v1/sessions/{source}/{session}/ready", ready)])
