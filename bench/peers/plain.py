"""What a user would write: Starlette, json, labelled prometheus_client metrics, nothing stored."""

import hmac
import json
import os
from pathlib import Path

from prometheus_client import Counter, Gauge, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

KEY = Path(os.environ["BENCH_KEY"]).read_bytes()
STATUSES = ("STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED", "UNKNOWN")
EVENTS = Counter("session_events", "Events.", ["session", "status"])
STATUS = Gauge("session_status", "Status.", ["session", "status"])
SINCE = Gauge("session_since", "Since.", ["session"])


async def webhook(request: Request) -> Response:
    """Verifies, decodes, counts."""
    body = await request.body()
    expected = hmac.new(KEY, body, "sha512").hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-webhook-hmac", "")):
        return JSONResponse({"error": "bad signature"}, 401)
    event = json.loads(body)
    session, current = event["session"], event["payload"]["status"]
    EVENTS.labels(session, current).inc()
    for status in STATUSES:
        STATUS.labels(session, status).set(status == current)
    SINCE.labels(session).set(event["timestamp"] / 1000)
    return JSONResponse({"outcome": "ok"})


app = Starlette(routes=[Route("/webhook", webhook, methods=["POST"]), Mount("/metrics", make_asgi_app())])
