"""The pictures of docs/images: a month of a small fleet in which two sessions need a human, in a real browser."""

from playwright.sync_api import Page, sync_playwright

from tests import parts
from tests.web.test_browser import CONFIG, HOUR, play

IMAGES = parts.ROOT / "docs" / "images"
PAGES = {"fleet": "/?range=30d", "session": "/sessions/default/shop-004", "audit": "/audit?from=30d"}
DRAWN_MS = 1500  # after which the page has drawn what it fetches


def main() -> None:
    """Writes each page, light and dark, and the fleet on a phone."""
    with parts.Exporter(CONFIG, pace=0.05) as exporter, sync_playwright() as playwright:
        play(exporter, "month", 720 * HOUR, sessions=30, prefix="shop-", engines={"GOWS": 5, "NOWEB": 3, "WEBJS": 2})
        # All of the month is received at once: its outages begin now, and are over soon.
        parts.wait_until(lambda: ">2 of 30 sessions need a human" in exporter.get("/").text)
        browser = playwright.chromium.launch(executable_path=str(parts.require("chromium")), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            tab = browser.new_page(color_scheme=scheme, viewport={"width": 1100, "height": 860})
            for name, path in PAGES.items():
                shoot(tab, exporter.url + path, f"{name}-{scheme}")
        phone = browser.new_page(viewport={"width": 360, "height": 740}, has_touch=True)
        shoot(phone, exporter.url + PAGES["fleet"], "phone-light")
        browser.close()


def shoot(tab: Page, url: str, name: str) -> None:
    """One picture."""
    tab.goto(url)
    tab.wait_for_timeout(DRAWN_MS)
    tab.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png")


main()
