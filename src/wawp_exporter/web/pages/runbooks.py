"""The pages of the runbooks: what to do about an alert, with the session filled in."""

import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.config.schema import Source
from wawp_exporter.live.clock import unix_now
from wawp_exporter.model.rules import Key
from wawp_exporter.web.pages.render import given_in, render, root_of, runbook_link

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
from markupsafe import Markup

FENCE = "```"
ALERT = re.compile(r"(?<![`\w\"/])Wawp[A-Za-z]+(?![`\w\"])")
MEANING = re.compile(r"^## Meaning\n+(.+?)\n\n", re.MULTILINE | re.DOTALL)
# What the examples in the runbooks assign, and what a reader would have to change there.
EXAMPLE = re.compile(r"\b(E|S|SRC)=[^\s;]+")
USE = re.compile(r"\$(S|SRC)\b")
MITIGATION = re.compile(r"^## Mitigation\n+(.+?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(rf"^{FENCE}.*?^{FENCE}\n*", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"\$([EW])\b(?=/)")
PLAIN_URL = re.compile(r"[\w:/.\[\]-]+")  # nothing that a shell would read otherwise
LOOP = "for S in"  # there it is another session in each turn


class About(msgspec.Struct, frozen=True):
    """What an alert is about, so far as its link says."""

    source: str = ""
    session: str = ""


class RunbookPages:
    """Made from the Markdown in the package, read once: to read it later takes a file descriptor."""

    def __init__(self) -> None:
        folder = files("wawp_exporter") / "share" / "runbooks"
        self._texts = {path.name.removesuffix(".md"): path.read_text("utf-8") for path in folder.iterdir()}

    @cached_property
    def _markdown(self) -> "MarkdownIt":
        """HTML in the text is shown, not passed on."""
        from markdown_it import MarkdownIt  # noqa: PLC0415 - a fifth of what a start would import

        return MarkdownIt("commonmark", {"html": False}).enable("table")

    async def all(self, request: Request) -> Response:
        """Every alert, with the first sentences of its runbook."""
        found = {name: MEANING.search(text) for name, text in sorted(self._texts.items())}
        meanings = {name: self._markdown.renderInline(text[1]) if text else "" for name, text in found.items()}
        return render(request, "runbooks.html", unix_now(), meanings=meanings)

    async def get(self, request: Request) -> Response:
        """The runbook of one alert; 404 for one that is not shipped."""
        alert, about = request.path_params["alert"], given_in(request, About)
        key, text = (about.source, about.session), self._texts.get(alert)
        if text is None:
            return render(request, "no_runbook.html", unix_now(), 404, alert=alert)
        text = filled(self._linked(text, key, root_of(request)), key, request.state.web.external_url)
        return render(request, "runbook.html", unix_now(), alert=alert, key=key, body=self._html(text))

    def mitigation(self, request: Request, alert: str, key: Key, source: Source) -> Markup:
        """What to do about an alert of a session, filled in for it; the commands only where they are its gateway's."""
        found = MITIGATION.search(self._texts.get(alert, ""))
        text = found[1] if found else ""
        if source.dialect != "waha" or source.api.kind != "waha":
            text = COMMANDS.sub("", text)
        known = {"E": request.state.web.external_url, "W": source.api.url}
        linked = self._linked(f"\n{text}", key, root_of(request))
        return Markup(self._html(addressed(filled(linked, key, None), known)))  # noqa: S704 - our own text

    def _html(self, text: str) -> str:
        """The text as HTML; commands that are wider than the page can be scrolled by keyboard too."""
        html: str = self._markdown.render(text)
        return html.replace("<pre><code", '<pre><code tabindex="0"')

    def _linked(self, text: str, key: Key, root: str) -> str:
        """The text with links to the runbooks that it names, but for its title and its commands."""

        def link(named: re.Match[str]) -> str:
            return f"[{named[0]}](<{root}{runbook_link(named[0], key)}>)" if named[0] in self._texts else named[0]

        title, _, rest = text.partition("\n")
        pieces = rest.split(FENCE)
        pieces[::2] = [ALERT.sub(link, piece) for piece in pieces[::2]]
        return f"{title}\n{FENCE.join(pieces)}"


def addressed(text: str, known: Mapping[str, str | None]) -> str:
    """The commands with the addresses of the exporter (E) and the gateway (W), where they are known."""

    def put(use: re.Match[str]) -> str:
        url = known[use[1]] or ""
        return url.rstrip("/") if PLAIN_URL.fullmatch(url) else use[0]

    return ADDRESS.sub(put, text)


def filled(text: str, key: Key, exporter: str | None) -> str:
    """The commands with the exporter's address, the source and the session instead of the examples.

    All of them go into URLs, so they are percent-encoded; nothing that a shell would read otherwise is left.
    """
    source, session = (quote(name, safe="") for name in key)
    known = {"E": exporter or "", "SRC": source, "S": session}

    def assign(example: re.Match[str]) -> str:
        value = known[example[1]]
        return f"{example[1]}={shlex.quote(value)}" if value else example[0]

    def put(use: re.Match[str]) -> str:
        return known[use[1]] or use[0]

    pieces = EXAMPLE.sub(assign, text).split(FENCE)
    return FENCE.join(piece if LOOP in piece else USE.sub(put, piece) for piece in pieces)
