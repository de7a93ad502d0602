"""`python -m grafana.preview [FOLDER]`: draws each dashboard with the tests' month, as HTML and as a picture.

Positions, titles, queries, units, colours and thresholds are those of the JSON; the rest is as plain as can be.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from grafana.preview.draw import page
from grafana.tests import boards, story
from tests import parts


def main(folder: Path) -> None:
    """Writes `<dashboard>.html` and `.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        story.write_blocks(parts.require("promtool"), Path(data), story.month())
        flags = ["--storage.tsdb.retention.time=100y", f"--query.lookback-delta={story.STEP + 60}s"]
        with parts.Prometheus({"scrape_configs": []}, flags=flags, directory=Path(data)) as prometheus:
            for name in boards.BOARD_NAMES:
                (folder / f"{name}.html").write_text(page(name, prometheus, story.END))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(parts.require("chromium")), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1600, "height": 900})
        for name in boards.BOARD_NAMES:
            tab.goto((folder / f"{name}.html").resolve().as_uri())
            tab.screenshot(path=folder / f"{name}.png", full_page=True)
            print(folder / f"{name}.png")
        browser.close()


main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out")
