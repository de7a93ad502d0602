"""The pictures of docs/images: a day of a small fleet in which something is wrong with somebody, in a real browser."""

from playwright.sync_api import sync_playwright

from tests import parts
from tests.web.test_browser import CONFIG, play_a_day

IMAGES = parts.ROOT / "docs" / "images"
PAGES = {"fleet": "/", "session": "/sessions/default/shop-001", "audit": "/audit?from=48h"}
DRAWN_MS = 1500  # after which the page has drawn what it fetches


def main() -> None:
    """Writes each page, light and dark."""
    with parts.Exporter(CONFIG) as exporter, sync_playwright() as playwright:
        play_a_day(exporter)
        browser = playwright.chromium.launch(executable_path=str(parts.require("chromium")), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            tab = browser.new_page(color_scheme=scheme, viewport={"width": 1100, "height": 860})
            for name, path in PAGES.items():
                tab.goto(exporter.url + path)
                tab.wait_for_timeout(DRAWN_MS)
                tab.screenshot(path=IMAGES / f"{name}-{scheme}.png")
                print(IMAGES / f"{name}-{scheme}.png")
        browser.close()


main()
