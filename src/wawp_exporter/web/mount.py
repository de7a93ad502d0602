"""The application below the path of `web.external_url`, whether a proxy has taken that path off or not."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Match

from wawp_exporter.config.schema import Config
from wawp_exporter.web.webhook import Receive, Scope, Send


class Mounted:
    """The application with its prefix, which is the path of `web.external_url`; a reload may change it.

    Links in pages begin with the prefix. A proxy takes it off; whoever asks without the proxy, such as a browser on
    this machine that follows a link, sends it, and gets the same answer. One slash at the end of a path is ignored. The
    prefix is never read from a header: anybody could send one.
    """

    def __init__(self, app: Starlette, config: Callable[[], Config]) -> None:
        app.router.redirect_slashes = False  # to an address that is made of the Host header, without the prefix
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: as ASGI has it, the path begins with the `root_path`."""
        config = self._config()
        web = config.web
        path = scope["path"]
        if path.endswith("/") and scope["raw_path"].endswith(b"/"):  # not a %2F, which belongs to a session's name
            path = path[:-1]
        path = self._inner(scope, path, web.prefix) or "/"
        state = {**scope["state"], "web": web, "zone": config.timezone}
        await self._app({**scope, "path": web.prefix + path, "root_path": web.prefix, "state": state}, receive, send)

    def _inner(self, scope: Scope, path: str, prefix: str) -> str:
        """The path without the prefix. A prefix such as `/sessions` may be the beginning of a path of ours as well."""
        if not prefix or not f"{path}/".startswith(f"{prefix}/") or self._is_ours(scope, path):
            return path
        return path.removeprefix(prefix)

    def _is_ours(self, scope: Scope, path: str) -> bool:
        """Whether the path as it is leads somewhere."""
        plain = {**scope, "path": path, "root_path": ""}
        return any(route.matches(plain)[0] is not Match.NONE for route in self._app.routes)
