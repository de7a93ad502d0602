"""A log in either database, open for writing and for reading."""

from collections.abc import Iterator

import pytest

from wawp_exporter.log.history.history import History
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    """A log that is open for writing, in either database."""
    log = Log(place)
    yield log
    log.close()


@pytest.fixture
def history(log: Log) -> Iterator[History]:
    """The same, read."""
    with History(log.place) as history:
        yield history
