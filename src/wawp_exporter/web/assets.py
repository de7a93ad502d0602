"""The files of `static/`, read once: to serve them takes no file descriptor, of which there may be none left."""

import hashlib
import mimetypes
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.errors import NotFound

FOLDER = Path(__file__).parent / "static"


class Asset(NamedTuple):
    """A file."""

    content: bytes
    media_type: str
    etag: str


class Assets:
    """Answers `/static/{name}`."""

    def __init__(self) -> None:
        self._by_name = {path.name: read(path) for path in FOLDER.iterdir() if path.is_file()}

    async def get(self, request: Request) -> Response:
        """A file, or 304 if the browser has it already."""
        asset = self._by_name.get(request.path_params["name"])
        if asset is None:
            raise NotFound("not found")
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def read(path: Path) -> Asset:
    """One of the package's own files."""
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
