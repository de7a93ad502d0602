"""Fixtures that start the real components of `tests.parts`; what starts slowly is shared by the session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests import gateway, parts

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


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The system's promtool."""
    return parts.require("promtool")


@pytest.fixture(scope="session")
def amtool() -> Path:
    """The system's amtool."""
    return parts.require("amtool")
