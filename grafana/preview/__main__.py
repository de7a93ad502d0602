"""`python -m grafana.preview [--sessions N] [FOLDER]`: draws the dashboards with the tests' month, as HTML and PNG.

With a number of sessions only the fleet's is drawn, with a day of so many.

Positions, titles, queries, units, colours and thresholds are those of the JSON; the rest is as plain as can be.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import sync_playwright

from grafana.preview.crowd import STEP, crowd
from grafana.preview.draw import page
from grafana.tests import boards, story
from tests import parts


def main() -> None:
    """Writes `<dashboard>.html` and `.png`."""
    parser = argparse.ArgumentParser(prog="grafana.preview")
    parser.add_argument("--sessions", type=int)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.sessions:
        pages = drawn(crowd(options.sessions), STEP, ("fleet",), limit="1000")
        pages = {f"{name}-{options.sessions}": text for name, text in pages.items()}
    else:
        pages = drawn(story.month(), story.STEP, boards.BOARD_NAMES)
    shoot(pages, options.folder)


def drawn(lines: Iterable[str], step: int, names: Iterable[str], **chosen: str) -> dict[str, str]:
    """The pages of dashboards over a Prometheus that holds the lines, `step` seconds apart."""
    with tempfile.TemporaryDirectory() as data:
        story.write_blocks(parts.require("promtool"), Path(data), lines)
        flags = ["--storage.tsdb.retention.time=100y", f"--query.lookback-delta={step + 60}s"]
        with parts.Prometheus({"scrape_configs": []}, flags=flags, directory=Path(data)) as prometheus:
            return {name: page(name, prometheus, story.END, **chosen) for name in names}


def shoot(pages: dict[str, str], folder: Path) -> None:
    """Pictures of the whole pages, in a real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(parts.require("chromium")), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1600, "height": 900})
        for name, text in pages.items():
            (folder / f"{name}.html").write_text(text)
            tab.goto((folder / f"{name}.html").resolve().as_uri())
            tab.screenshot(path=folder / f"{name}.png", full_page=True)
            print(folder / f"{name}.png")
        browser.close()


main()
