"""A path in `web.external_url`: behind a proxy that strips it, and without the proxy, every link leads somewhere."""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests import parts

PREFIX = "/tools/wawp"
NAMES = ("shop", "a/b ?#%2F", "slash/", "..", "<b>'\"é😀")
GONE = {"connection", "keep-alive", "transfer-encoding", "content-length"}  # of one connection, not of the answer


@contextmanager
def stripping(target: str, prefix: str = PREFIX) -> Iterator[str]:
    """A reverse proxy that takes the prefix off, and answers nothing else; the address of the pages behind it."""
    with parts.serving(forwarder(target, prefix)) as server:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"


def forwarder(target: str, prefix: str) -> type[BaseHTTPRequestHandler]:
    """Passes on requests below the prefix as they are, and answers as their bytes arrive."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            below = self.path.removeprefix(prefix)
            if below == self.path or not f"{below}/".startswith(("/", "?")):
                self.send_error(502, "not below the prefix")
                return
            upstream = HTTPConnection(urlsplit(target).netloc, timeout=parts.PATIENCE_S)
            headers = {**self.headers, "Via": "1.1 proxy", "Accept-Encoding": "identity"}
            upstream.request("GET", f"/{below.removeprefix('/')}", headers=headers)
            self._pass_back(upstream.getresponse())
            upstream.close()

        def _pass_back(self, answer: HTTPResponse) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in GONE:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):  # either side has gone
                while piece := answer.read1(65536):
                    self.wfile.write(piece)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def config(prefix: str = PREFIX) -> dict[str, Any]:
    """People come through a proxy."""
    return {"web": {"external_url": f"https://tools.example{prefix}"}, "groups": {"sales": ["default/shop"]}}


def links(page: str, at: str) -> set[str]:
    """Where a page leads, and what it loads, as a browser resolves it."""
    found = re.findall(r'(?:href|src|action|data-qr)="([^"]+)"', page)
    return {urljoin(at, unescape(each)) for each in found if not each.startswith("#")}


def crawl(client: httpx.Client, first: str) -> dict[str, int]:
    """The status of everything that can be reached from a page, on its own host."""
    seen, left = dict[str, int](), [first]
    while left:
        url = left.pop().partition("#")[0]
        if url in seen or urlsplit(url).netloc != urlsplit(first).netloc:
            continue
        answer = client.get(url)
        seen[url] = answer.status_code
        if answer.headers["content-type"].startswith("text/html"):
            left += links(answer.text, url)
    return seen


@pytest.fixture
def fleet(exporter: Callable[..., parts.Exporter]) -> Callable[[str], parts.Exporter]:
    """Starts an exporter with some sessions, whose external URL has a prefix."""

    def start(prefix: str) -> parts.Exporter:
        running = exporter(config(prefix))
        for name in NAMES:
            for ago, status in ((9, "WORKING"), (8, "DISCONNECTED")):
                body = parts.envelope(session=name, status=status, timestamp=parts.now_ms() - ago * 1000)
                assert running.post(body).status_code == 200
        return running

    return start


@pytest.mark.parametrize("prefix", [PREFIX, "/b%C3%BCro%20&co", "/sessions", "/api/v1"])
def test_every_link_leads_somewhere_through_the_proxy(fleet: Callable[[str], parts.Exporter], prefix: str) -> None:
    """Links begin with the prefix; it may even look like a path of the exporter's own."""
    running = fleet(prefix)

    with stripping(running.url, prefix) as proxied:
        assert_complete(crawl(running.client, proxied))


@pytest.mark.parametrize("prefix", [PREFIX, "/api"])
def test_every_link_leads_somewhere_without_the_proxy(fleet: Callable[[str], parts.Exporter], prefix: str) -> None:
    """Somebody on the machine itself follows the same links; the prefix is accepted, and not needed."""
    running = fleet(prefix)

    assert_complete(crawl(running.client, f"{running.url}/"))


def assert_complete(found: dict[str, int]) -> None:
    """Everything was reached, and is there."""
    paths = {url.partition("?")[0] for url in found}
    assert {url: status for url, status in found.items() if status != 200} == {}
    assert len([path for path in paths if "/runbooks/" in path]) > 20
    assert len([path for path in paths if "/sessions/default" in path]) >= len(NAMES)
    assert {path.rpartition("/")[2] for path in paths} >= {"wawp.css", "live.js", "audit", "metrics", "openapi.json"}


def test_without_a_prefix_links_are_as_they_were(exporter: Callable[..., parts.Exporter]) -> None:
    """Most people have none."""
    running = exporter()

    found = links(running.get("/").text, running.url)

    assert {f"{running.url}/", f"{running.url}/static/wawp.css", f"{running.url}/runbooks"} <= found


def test_one_slash_at_the_end_is_ignored(fleet: Callable[[str], parts.Exporter]) -> None:
    """No redirect is sent, which would need the address that the caller sees."""
    running = fleet(PREFIX)
    paths = ("/audit", "/runbooks", "/runbooks/WawpWatchdog", "/api/v1/sessions", "/-/ready", "/sessions/default/shop")

    asked = [each for path in paths for each in (path, f"{path}/", f"{PREFIX}{path}", f"{PREFIX}{path}/")]

    assert [path for path in asked if running.get(path).status_code != 200] == []


def test_a_path_that_only_begins_like_the_prefix_is_not_below_it(fleet: Callable[[str], parts.Exporter]) -> None:
    """`/tools/wawpx` belongs to somebody else."""
    running = fleet(PREFIX)

    assert running.get(f"{PREFIX}x/audit").status_code == 404
    assert running.get(f"{PREFIX}{PREFIX}/audit").status_code == 404


def test_a_prefix_in_a_header_is_not_believed(exporter: Callable[..., parts.Exporter]) -> None:
    """Anybody could send one, and have links of the pages lead elsewhere."""
    running = exporter()

    page = running.get("/", {"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil"})

    assert "evil" not in page.text


def test_the_document_of_the_api_is_usable_through_the_proxy(fleet: Callable[[str], parts.Exporter]) -> None:
    """Its server is the external URL, and paths are appended to that."""
    running = fleet(PREFIX)
    with stripping(running.url) as proxied:
        document = running.client.get(f"{proxied}/api/openapi.json").json()
        (server,) = document["servers"]
        asked = server["url"].replace(running.config["web"]["external_url"], proxied)

        assert running.client.get(f"{asked}/api/v1/sessions").status_code == 200


# -- in a browser


@pytest.fixture
def tab(open_page: Callable[..., Page]) -> Page:
    """A tab that takes the errors of its page down."""
    return open_page(viewport={"width": 1280, "height": 900})


def test_pages_are_live_behind_the_proxy(tab: Page, tmp_path: Path) -> None:
    """Styles, scripts, heatmap, stream and forms: all of it below the prefix, and no request beside it."""
    failed: list[str] = []
    tab.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    tab.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    with parts.Exporter(config(), tmp_path) as running, stripping(running.url) as proxied:
        assert running.post(parts.envelope(session="shop", status="WORKING")).status_code == 200
        with tab.expect_request(f"**{PREFIX}/api/v1/events?*"):
            tab.goto(f"{proxied}/")
        assert tab.evaluate("getComputedStyle(document.querySelector('.brand')).fontWeight") == "700"
        expect(tab.locator(".heat svg").first).to_be_visible()
        tab.evaluate("window.sameDocument = true")

        assert running.post(parts.envelope(session="shop", status="DISCONNECTED", timestamp=parts.now_ms()))

        expect(tab.locator("h1")).to_have_text("1 of 1 sessions needs a human")
        assert tab.evaluate("window.sameDocument")
        tab.get_by_text("Search and filter").click()
        tab.locator("#q").fill("sho")
        tab.get_by_role("button", name="Show").click()
        expect(tab).to_have_url(re.compile(rf"{proxied}/\?q=sho"))
        tab.get_by_role("link", name="7 days").click()
        expect(tab).to_have_url(re.compile(rf"{proxied}/\?.*range=7d"))
        with tab.expect_request(f"**{PREFIX}/api/v1/events?*"):
            tab.locator("[data-live=sessions] a").first.click()
        expect(tab).to_have_url(f"{proxied}/sessions/default/shop")
        tab.get_by_role("link", name="what to do").click()
        expect(tab.locator("h1")).to_have_text("WawpSessionDisconnected")
        tab.get_by_role("link", name="Audit").click()
        tab.get_by_role("button", name="Show").click()
        expect(tab).to_have_url(re.compile(rf"{proxied}/audit\?from=[\d-]+&last="))
        tab.goto("about:blank")

    assert failed == []
