"""An ASGI application that does nothing: what an attack costs is uvicorn's."""


async def app(_scope, _receive, send):
    """405, as our own service says to a GET of /webhook."""
    await send({"type": "http.response.start", "status": 405, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})
