"""One commit a request: raw ASGI, HMAC, msgspec, and a durable SQLite insert before each answer."""

import hmac
import os
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

KEY = Path(os.environ["BENCH_KEY"]).read_bytes()
database = sqlite3.connect(os.environ["BENCH_DATABASE"], isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute(
    "CREATE TABLE IF NOT EXISTS event (session TEXT, at INTEGER, status TEXT, UNIQUE (session, at, status))"
)
INSERT = "INSERT INTO event VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
ANSWER = b'{"outcome":"ok"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Verifies, decodes, commits, answers."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    given = dict(scope["headers"]).get(b"x-webhook-hmac", b"")
    good = hmac.compare_digest(hmac.digest(KEY, body, "sha512").hex().encode(), given)
    if good:
        event = msgspec.json.decode(body)
        database.execute(INSERT, (event["session"], event["timestamp"], event["payload"]["status"]))
    await send({"type": "http.response.start", "status": 200 if good else 401, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
