"""The month, told once to a real Prometheus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grafana.tests import story
from tests import parts


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Prometheus]:
    """A Prometheus that holds the story; a value holds until the next scrape of it."""
    folder: Path = tmp_path_factory.mktemp("month")
    story.write_blocks(parts.require("promtool"), folder, story.month())
    flags = ["--storage.tsdb.retention.time=100y", f"--query.lookback-delta={story.STEP + 60}s"]
    with parts.Prometheus({"scrape_configs": []}, flags=flags, directory=folder) as server:
        yield server
