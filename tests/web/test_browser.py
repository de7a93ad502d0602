"""The pages in a real browser: live, accessible, small, and asking nobody else for anything."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests import parts
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import Point, StatusEvent
from wawp_exporter.simulator import gateway, player, scenarios

OpenPage = Callable[..., Page]
Scheme = Literal["light", "dark"]
HOUR = 3600
CONFIG = {
    "metrics": {"session_histograms": False},
    "groups": {"sales": ["default/shop-001", "default/shop-002"], "support": ["default/shop-003", "default/shop-004"]},
    "sessions": [{"session": "shop-*", "owner": "ana"}],
}
PAGES = (
    "/",
    "/sessions/default/shop-001",
    "/sessions/default/unheard",
    "/audit?from=48h",
    "/runbooks",
    "/runbooks/WawpMassDisconnect?source=default&session=shop-001",
    "/runbooks/unheard",
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A day of a small fleet, in which something is wrong with somebody."""
    with parts.Exporter(CONFIG, tmp_path_factory.mktemp("fleet"), pace=0.05) as exporter:
        play_a_day(exporter)
        # The QR code nobody scans, that it is overdue, and the phone: nothing that comes later.
        parts.wait_until(lambda: exporter.get("/api/v1/problems").json()["total"] == 3)
        yield exporter


def play_a_day(exporter: parts.Exporter) -> None:
    """Five scenarios that began at different times."""
    play(exporter, "steady", 24 * HOUR - 60, sessions=20, prefix="shop-", heartbeat=0)
    play(exporter, "mass-disconnect", 11 * HOUR, sessions=12, prefix="shop-", engines={"GOWS": 1})
    play(exporter, "single-disconnect", 2 * HOUR, sessions=1, prefix="bakery-", share=1)
    play(exporter, "phone-unlinked", 20 * 60, sessions=1, prefix="florist-", share=1)
    play(exporter, "unscanned-qr", 15 * 60, sessions=1, prefix="cafe-", share=1)


def play(exporter: parts.Exporter, name: str, ago: float, **given: Any) -> None:
    """A scenario that began so many seconds ago, as fast as it is taken."""
    plan = scenarios.scenario(name, **given)
    options = gateway.Options(url=f"{exporter.url}/webhook", pace=0, start_at=time.time() - ago)
    with ThreadPoolExecutor(1) as pool:  # this thread's event loop belongs to the browser
        assert pool.submit(asyncio.run, player.Simulation(plan, options).play()).result().ok


@pytest.fixture
def told() -> list[str]:
    """What the browser complained of, and whom it asked."""
    return []


@pytest.fixture
def page(open_page: OpenPage, told: list[str]) -> Page:
    """A tab of its own; whatever it complains of is written down."""
    return watched(open_page(viewport={"width": 1280, "height": 900}), told)


def watched(page: Page, told: list[str]) -> Page:
    """Notes errors, violated policies and requests to other hosts."""
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: None if "127.0.0.1" in request.url else told.append(request.url))
    return page


def send(exporter: parts.Exporter, name: str, status: str) -> None:
    """A webhook of now."""
    body = parts.envelope(session=name, status=status, timestamp=parts.now_ms())
    assert exporter.post(body).status_code == 200


# -- live


def test_a_transition_is_seen_without_a_reload(page: Page, tmp_path: Path) -> None:
    """Counts, the list of who needs a human, and the table."""
    with parts.Exporter(CONFIG, tmp_path) as exporter:
        send(exporter, "shop-001", "WORKING")
        with page.expect_request("**/api/v1/events?*"):
            page.goto(exporter.url)
        page.evaluate("window.sameDocument = true")

        send(exporter, "shop-001", "DISCONNECTED")

        expect(page.locator("h1")).to_contain_text("1 of 1 sessions needs a human")
        expect(page.locator("[data-live=needing] .card h2 a")).to_have_count(1)
        assert page.evaluate("window.sameDocument")


def test_a_lost_stream_is_said_and_found_again(page: Page, tmp_path: Path) -> None:
    """A clear banner while the service is gone; afterwards the page shows what it missed."""
    with parts.Exporter(CONFIG, tmp_path) as exporter:
        send(exporter, "shop-001", "WORKING")
        with page.expect_request("**/api/v1/events?*"):
            page.goto(exporter.url)
        expect(page.locator("#lost")).to_be_hidden()

        exporter.kill()

        expect(page.locator("#lost")).to_contain_text("Live updates lost since")

        exporter.start()
        send(exporter, "shop-001", "DISCONNECTED")

        expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
        expect(page.locator("h1")).to_contain_text("1 of 1 sessions needs a human")


def test_what_somebody_types_and_where_they_are_is_kept(page: Page, tmp_path: Path) -> None:
    """An update takes neither the text nor the focus."""
    with parts.Exporter(CONFIG, tmp_path) as exporter:
        send(exporter, "shop-001", "WORKING")
        with page.expect_request("**/api/v1/events?*"):
            page.goto(exporter.url)
        page.get_by_text("Search and filter").click()
        page.locator("#q").fill("sho")
        page.locator("[data-live=sessions] a").first.focus()

        send(exporter, "shop-002", "DISCONNECTED")

        expect(page.locator("[data-live=needing] .card h2 a")).to_have_count(1)
        expect(page.locator("#q")).to_have_value("sho")
        assert page.evaluate("document.activeElement.textContent") == "shop-001"


def test_a_session_page_is_live_too(page: Page, tmp_path: Path) -> None:
    """And asks only for its own transitions."""
    with parts.Exporter(CONFIG, tmp_path) as exporter:
        send(exporter, "shop-001", "WORKING")
        with page.expect_request("**/api/v1/events?*"):
            page.goto(f"{exporter.url}/sessions/default/shop-001")

        send(exporter, "shop-001", "FAILED")

        expect(page.locator("[data-live=headline]")).to_contain_text("FAILED")
        expect(page.locator("[data-live=transitions] tbody tr")).to_have_count(2)


def test_the_first_webhook_fills_an_empty_page(page: Page, tmp_path: Path) -> None:
    """Whoever sets it up sees it work."""
    with parts.Exporter({}, tmp_path) as exporter:
        with page.expect_request("**/api/v1/events?*"):
            page.goto(exporter.url)
        expect(page.locator("h1")).to_have_text("No sessions yet")

        send(exporter, "first", "WORKING")

        expect(page.locator("[data-live=sessions] tbody tr")).to_have_count(1)


# -- for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_an_accessibility_violation(
    open_page: OpenPage, fleet: parts.Exporter, told: list[str], path: str, scheme: Scheme
) -> None:
    """By axe-core; light on a phone, dark on a screen; and nothing is refused or asked of another host."""
    # axe is brought in from outside, which the policy of the pages rightly forbids.
    size = {"width": 360, "height": 740} if scheme == "light" else {"width": 1280, "height": 900}
    page = watched(open_page(color_scheme=scheme, bypass_csp=True, viewport=size), told)
    answer = page.goto(fleet.url + path)
    assert answer
    assert answer.status in (200, 404)

    found = Axe().run(page)

    assert [violation["id"] for violation in found.response["violations"]] == [], found.generate_report()


@pytest.mark.parametrize("path", [path for path in PAGES if "unheard" not in path])
def test_nothing_is_refused_by_the_policy_or_asked_of_others(
    page: Page, fleet: parts.Exporter, told: list[str], path: str
) -> None:
    """No error in the console, no request to any other host."""
    page.goto(fleet.url + path)
    page.wait_for_timeout(300)

    assert told == []


def test_the_keyboard_reaches_everything_in_order(page: Page, fleet: parts.Exporter) -> None:
    """The way to the content first, then the pages, who needs a human, the folded filters, the tables."""
    page.goto(fleet.url)
    walked = []
    for _ in range(90):
        page.keyboard.press("Tab")
        walked.append(
            page.evaluate("(e => e.id || e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)")
        )

    order = ["Skip to the content", "Fleet", "Audit", "florist-001", "Search and filter", "1 hour", "Sessions, table"]
    assert [walked.index(name) for name in order] == sorted(walked.index(name) for name in order)


def test_the_way_to_the_content_is_shown_and_works(page: Page, fleet: parts.Exporter) -> None:
    """For whoever has no mouse."""
    page.goto(fleet.url)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_in_viewport()

    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_a_phone(open_page: OpenPage, fleet: parts.Exporter, path: str) -> None:
    """Only tables scroll sideways, by themselves."""
    page = open_page(viewport={"width": 360, "height": 740})
    page.goto(fleet.url + path)

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_audit_is_cards_on_a_phone_and_whole_on_paper(open_page: OpenPage, fleet: parts.Exporter) -> None:
    """Each figure stands under its name on 360 px, and no figure is cut off on a sheet of A4."""
    page = open_page(viewport={"width": 360, "height": 740})
    page.goto(f"{fleet.url}/audit?from=48h")
    table = page.get_by_role("region", name="Sessions, table")
    cut = "box => box.scrollWidth - box.clientWidth"

    assert table.evaluate(cut) == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.audit td'), '::before').content") == '"Objective"'

    page.set_viewport_size({"width": 1032, "height": 700})
    page.emulate_media(media="print")

    assert table.evaluate(cut) == 0
    expect(page.get_by_role("form", name="Audit")).to_be_hidden()
    expect(page.get_by_role("link", name="CSV")).to_be_hidden()
    expect(page.locator(".headline")).to_contain_text("objective")


def test_pages_work_without_a_script(open_page: OpenPage, fleet: parts.Exporter) -> None:
    """Less live: filter, ranges and links are plain HTML."""
    page = open_page(java_script_enabled=False)
    page.goto(fleet.url)
    page.get_by_text("Search and filter").click()
    page.get_by_label("Search").fill("bakery")
    page.get_by_role("button", name="Show").click()

    page.get_by_role("link", name="bakery-001").first.click()

    expect(page.locator("h1")).to_contain_text("bakery-001")


# -- the heatmap


def test_the_mouse_is_told_what_a_cell_is_and_a_click_opens_it(page: Page, fleet: parts.Exporter) -> None:
    """Session, status, from when to when."""
    page.goto(fleet.url)
    heat = page.locator(".heat")
    heat.scroll_into_view_if_needed()
    box = heat.bounding_box()
    assert box
    at = {"x": box["width"] - 2, "y": 33.0}  # cafe-001, now

    heat.hover(position=at)  # type: ignore[arg-type]  # a position

    expect(heat.get_by_role("status")).to_contain_text("cafe-001: FAILED, ")
    expect(heat.get_by_role("status")).to_contain_text(" to now")
    heat.click(position=at)  # type: ignore[arg-type]  # a position
    page.wait_for_url("**/sessions/default/cafe-001")


def test_a_finger_is_told_first_and_opens_by_the_link(open_page: OpenPage, fleet: parts.Exporter) -> None:
    """A tap must not lead away from the page by accident."""
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    page.goto(fleet.url)
    heat = page.locator(".heat")

    heat.tap(position={"x": 150, "y": 66})

    heat.get_by_role("link", name="Open cafe-001").tap()
    page.wait_for_url("**/sessions/default/cafe-001")


def test_the_keyboard_reads_the_heatmap(page: Page, fleet: parts.Exporter) -> None:
    """From status to status, from session to session, and into one."""
    page.goto(fleet.url)
    page.locator(".tabs a").last.focus()
    for _ in range(24):  # the names
        page.keyboard.press("Tab")
    told = page.locator(".heat").get_by_role("status")
    expect(told).to_contain_text("bakery-001: WORKING")

    page.keyboard.press("ArrowLeft")
    expect(told).to_contain_text("bakery-001: DISCONNECTED")
    page.keyboard.press("ArrowDown")
    expect(told).to_contain_text("cafe-001: not known")
    page.keyboard.press("Enter")

    page.wait_for_url("**/sessions/default/cafe-001")


# -- on a phone, and elsewhere


@pytest.mark.parametrize("path", ["/", "/sessions/default/cafe-001", "/sessions/default/unheard"])
def test_targets_are_large_enough_for_a_thumb(open_page: OpenPage, fleet: parts.Exporter, path: str) -> None:
    """44 px; links within a sentence are as high as its lines."""
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    page.goto(fleet.url + path)

    small = page.evaluate(
        """() => [...document.querySelectorAll("a, button, select, input, summary")]
            .filter(e => e.checkVisibility() && !e.closest("p:not(.links, .brand), .skip, .steps"))
            .filter(e => (e.closest(".check") ?? e).getBoundingClientRect().height < 44).map(e => e.outerHTML)"""
    )

    assert small == []


def test_what_is_wrong_comes_before_everything_on_a_phone(open_page: OpenPage, fleet: parts.Exporter) -> None:
    """With the first thing to do, on the first screen; filters are folded away, and nothing is off it."""
    page = open_page(viewport={"width": 360, "height": 740})
    page.goto(fleet.url)

    expect(page.locator(".card").first).to_be_in_viewport()
    expect(page.locator(".card .step").first).to_be_in_viewport()
    expect(page.locator("#q")).to_be_hidden()
    assert page.evaluate("[...document.querySelectorAll('main table')].every(e => e.offsetWidth <= 360)")


def test_times_are_in_the_readers_zone(open_page: OpenPage, fleet: parts.Exporter) -> None:
    """Without a script in the configured one, which the page names."""
    path = f"{fleet.url}/sessions/default/shop-001"
    there = open_page(timezone_id="Asia/Kolkata")
    there.goto(path)
    plain = open_page(java_script_enabled=False)
    plain.goto(path)
    cell = "[data-live=transitions] tbody tr:last-child td"

    shown, utc = (datetime.fromisoformat(tab.locator(cell).first.inner_text()) for tab in (there, plain))
    assert shown - utc == timedelta(hours=5, minutes=30)
    expect(there.locator("footer")).to_contain_text(re.compile("Asia/(Kolkata|Calcutta)"))
    expect(plain.locator("footer")).to_contain_text("UTC")


# -- at size


def filled(path: Path, sessions: int) -> None:
    """A log of a fleet: a day of WORKING, and one minute in which half of it failed."""
    log = Log(path)
    begin = parts.now_ms() - 20 * HOUR * 1000
    lost = begin + 12 * HOUR * 1000
    told = [(begin, "WORKING", 1), (lost, "FAILED", 2), (lost + 60_000, "WORKING", 2)]
    for at, status, step in told:
        names = [f"session-{number:05}" for number in range(0, sessions, step)]
        log.append([StatusEvent("default", n, (Point(status, at, 0, at),), at, engine="GOWS") for n in names])
    log.close()


@pytest.mark.parametrize("sessions", [1, 200, 5000])
def test_the_page_is_small_and_whole_at_any_size(page: Page, tmp_path: Path, sessions: int) -> None:
    """At 5,000 sessions well below a megabyte; the minute in which half of them failed is a stripe."""
    filled(tmp_path / "wawp.db", sessions)
    with parts.Exporter(CONFIG, tmp_path) as exporter:
        answer = page.goto(exporter.url)
        assert answer
        assert len(answer.body()) < 300_000
        expect(page.locator("h1")).to_contain_text(f"0 of {sessions} sessions need a human")
        expect(page.locator("[data-live=sessions] tbody tr")).to_have_count(min(100, sessions))

        expect(page.locator(".heat path.f-FAILED")).to_have_count(1)
        expect(page.locator(".names li").first).to_contain_text("session-00000") if sessions > 1 else None
        page.get_by_text("Search and filter").click()
        page.locator("#q").fill(f"session-{sessions - 1:05}")
        page.get_by_role("button", name="Show").click()

        expect(page.locator("[data-live=sessions] tbody tr")).to_have_count(1)
