"""Fixtures that start the real components of `tests.parts`; what starts slowly is shared by the session."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from tests import gateway, parts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUMBERS = count()


@pytest.fixture(scope="session")
def prometheus() -> Iterator[parts.Prometheus]:
    """One Prometheus for all tests: `add_target` and a label of your own keep them apart."""
    with parts.Prometheus() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[parts.Postgres]:
    """One PostgreSQL for all tests: `create_database` keeps them apart."""
    with parts.Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a log can be: a file, and a database of its own."""
    if request.param == "sqlite":
        return tmp_path / "data" / "wawp.db"
    server: parts.Postgres = request.getfixturevalue("postgres")
    return server.create_database(f"log_{next(NUMBERS)}")


@pytest.fixture
def running() -> Iterator[gateway.Running]:
    """A gateway that runs."""
    with gateway.Running() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[parts.Receiver]:
    """Somebody whom Alertmanager can page."""
    with parts.Receiver() as somebody:
        yield somebody


@pytest.fixture
def exporter() -> Iterator[Callable[..., parts.Exporter]]:
    """Starts exporters, with the arguments of `parts.Exporter`, and stops them when the test ends."""
    with ExitStack() as started:

        def start(*args: Any, **keywords: Any) -> parts.Exporter:
            return started.enter_context(parts.Exporter(*args, **keywords))

        yield start


@pytest.fixture(scope="module")
def own_interpreter() -> Iterator[None]:
    """The exporters of a file are started as users start them: tests/forked.py would hide something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Exporter, "forks", False)
        yield


@pytest.fixture(scope="module")  # while it runs, the event loop of this thread is its own
def browser() -> "Iterator[Browser]":
    """Chromium; without a sandbox, since tests may run as root."""
    from playwright.sync_api import expect, sync_playwright

    binary = parts.require("chromium")
    expect.set_options(timeout=1000 * parts.PATIENCE_S)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(binary), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens tabs, with the arguments of `Browser.new_context`, and closes them when the test ends."""
    with ExitStack() as opened:

        def begin(**options: Any) -> "Page":
            context = opened.enter_context(browser.new_context(**options))
            context.set_default_timeout(1000 * parts.PATIENCE_S)
            return context.new_page()

        yield begin


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The system's promtool."""
    return parts.require("promtool")


@pytest.fixture(scope="session")
def amtool() -> Path:
    """The system's amtool."""
    return parts.require("amtool")


@pytest.fixture(autouse=True)
def log_lines_as_before() -> Iterator[None]:
    """A service in the test's process sets up the log lines of the whole process; the next test must not notice."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
