"""The onboarding loop: a QR code that is fetched, shown, replaced, and turns to "connected" by itself."""

import asyncio
import base64
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import parts
from tests.gateway import KEY, Running
from tests.served import eventually, run, served
from wawp_exporter.web.api.qr import MAX_SCANNING

W, Q, F, X = "WORKING", "SCAN_QR_CODE", "FAILED", "STOPPED"
PATH = "/api/v1/sessions/default/s/qr"
Start = Callable[..., parts.Exporter]


@pytest.fixture
def start(running: Running, exporter: Start, tmp_path: Path) -> Start:
    """Starts an exporter that may ask the gateway."""
    (tmp_path / "key").write_text(KEY)

    def begin(**config: Any) -> parts.Exporter:
        api = {"url": running.url, "key_file": str(tmp_path / "key"), "poll_interval": "1h"}
        made = exporter({"sources": {"default": {"api": api}, "bare": {}}, **config})
        running.gateway.webhook = f"{made.url}/webhook"
        return made

    return begin


def entered(running: Running, exporter: parts.Exporter, status: str) -> None:
    """The session is in a status, and the exporter knows."""
    running.gateway.set("s", status)
    parts.wait_until(lambda: exporter.get("/api/v1/sessions/default/s").json().get("status") == status)


def png(grey: int, size: int = 64) -> str:
    """A PNG of one shade, as base64: what another code looks like to a test."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([grey]) * size for _ in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(image).decode()


# -- the endpoint


def test_so_many_wait_for_a_code_and_the_next_is_told_to_wait(running: Running, tmp_path: Path) -> None:
    """Each of them asks the gateway once a second; whoever leaves makes room."""
    (tmp_path / "key").write_text(KEY)
    running.gateway.sessions["s"] = Q
    running.gateway.qr_after = time.time() + 3600
    api = {"url": running.url, "key_file": "key", "poll_interval": "1h"}

    async def test() -> None:
        async with served(tmp_path, {"sources": {"default": {"api": api}}}) as service:
            await service.post(Q, "s")
            waiting = [asyncio.create_task(service.client.get(PATH)) for _ in range(MAX_SCANNING)]
            await eventually(lambda: len(running.gateway.asked("/api/s/auth/qr")) >= MAX_SCANNING)

            refused = await service.client.get(PATH)
            assert (refused.status_code, "which is the limit" in refused.text) == (503, True)
            assert refused.headers["Retry-After"]

            waiting[0].cancel()
            running.gateway.qr_after = 0
            while (one_more := await service.client.get(PATH)).status_code == 503:
                pass
            assert {answer.status_code for answer in [one_more, *await asyncio.gather(*waiting[1:])]} == {200}

    run(test())


def test_the_code_is_handed_out_and_never_kept(running: Running, start: Start) -> None:
    """PNG, no-store; neither it nor the key is in the log."""
    exporter = start()
    entered(running, exporter, Q)

    answer = exporter.get(PATH)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == base64.b64decode(running.gateway.qr_image)
    assert answer.headers["cache-control"] == "no-store"
    assert running.gateway.qr_image[:40] not in exporter.stderr
    assert KEY not in exporter.stderr


def test_it_waits_for_a_code_that_comes_later(running: Running, start: Start) -> None:
    """The status comes some seconds before the image."""
    exporter = start()
    entered(running, exporter, Q)
    running.gateway.qr_after = time.time() + 2.5

    assert exporter.get(PATH).status_code == 200
    assert time.time() >= running.gateway.qr_after


def test_it_ends_waiting_when_the_session_needs_no_scan(running: Running, start: Start) -> None:
    """409 says what it is instead."""
    exporter = start()
    entered(running, exporter, Q)
    running.gateway.qr_after = time.time() + 100
    threading.Timer(1.0, running.gateway.set, ("s", W)).start()

    answer = exporter.get(PATH)

    assert (answer.status_code, answer.json()["error"]) == (409, "the session is WORKING, expected SCAN_QR_CODE")


@pytest.mark.parametrize("status", [W, F, X])
def test_only_who_waits_for_a_scan_has_a_code(running: Running, start: Start, status: str) -> None:
    """The gateway is not even asked."""
    exporter = start()
    entered(running, exporter, status)

    assert exporter.get(PATH).status_code == 409
    assert not [call for call in running.gateway.calls if call.path.endswith("/qr")]


def test_who_is_not_known_or_has_no_api_has_no_code(running: Running, start: Start) -> None:
    """404, with what is expected."""
    exporter = start()
    exporter.post(parts.envelope(session="s", status=Q), source="bare")

    assert exporter.get(PATH).json()["error"] == "no such session is known"
    assert "expected it to be configured" in exporter.get(PATH.replace("default", "bare")).json()["error"]


@pytest.mark.parametrize("trouble", [401, 500, "cut"])
def test_a_gateway_in_trouble_is_told_in_a_line(running: Running, start: Start, trouble: int | str) -> None:
    """503, to be tried again."""
    exporter = start()
    entered(running, exporter, Q)
    running.gateway.trouble = trouble

    answer = exporter.get(PATH)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert running.url not in answer.text


@pytest.mark.parametrize("image", ["", "!!!", base64.b64encode(b"<svg onload=alert(1)>").decode()])
def test_what_is_no_png_is_not_handed_out(running: Running, start: Start, image: str) -> None:
    """A browser would run what else it may be."""
    running.gateway.qr_image = image
    exporter = start()
    entered(running, exporter, Q)

    assert exporter.get(PATH).status_code == 503


def test_a_stranger_gets_no_code(running: Running, start: Start, tmp_path: Path) -> None:
    """Whoever scans it owns the session: it needs the token, or a request from this very machine."""
    exporter = start()
    entered(running, exporter, Q)
    assert exporter.get(PATH, {"X-Forwarded-For": "192.0.2.1"}).status_code == 403

    (tmp_path / "token").write_text("t0ken")
    guarded = start(web={"api_token_file": str(tmp_path / "token")})
    entered_by = parts.envelope(session="s", status=Q)
    guarded.post(entered_by)

    assert guarded.get(PATH).status_code == 401
    assert guarded.get(PATH, {"Authorization": "Bearer t0ken"}).status_code == 200


# -- the page


def shade(page: Page) -> int:
    """The colour in the middle of the image that is shown; -1 for none."""
    script = """image => {
      if (!image.complete || !image.naturalWidth) return -1;
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0, 1, 1);
      return context.getImageData(0, 0, 1, 1).data[0];
    }"""
    return int(page.locator("img[data-qr]").evaluate(script))


def test_somebody_watches_the_page_until_it_says_connected(
    running: Running, start: Start, open_page: Callable[..., Page]
) -> None:
    """The code appears, is replaced when it changes, and gives way to "Connected." when WORKING arrives."""
    errors: list[str] = []
    page = open_page(viewport={"width": 1000, "height": 900})
    page.on("pageerror", lambda error: errors.append(str(error)))
    exporter = start()
    running.gateway.qr_image = png(40)
    entered(running, exporter, Q)
    page.goto(f"{exporter.url}/sessions/default/s")

    expect(page.get_by_role("heading", name="Scan with the phone")).to_be_visible()
    parts.wait_until(lambda: shade(page) == 40)
    running.gateway.qr_image = png(200)
    running.gateway.set("s", Q)  # the gateway says so with each new image
    parts.wait_until(lambda: shade(page) == 200)

    running.gateway.set("s", "STARTING")
    running.gateway.set("s", W)

    expect(page.get_by_text("Connected.")).to_be_visible()
    expect(page.locator("img[data-qr]")).to_have_count(0)
    assert errors == []
