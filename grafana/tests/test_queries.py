"""Every query of every panel and variable, asked of a real Prometheus that has lived through the month."""

import math

import pytest

from grafana.tests import boards, story
from grafana.tests.boards import Query
from tests import parts

# Panels that rightly show nothing of this story, and why.
NOTHING_TO_SHOW = {
    "exporter: Missed webhooks": "no source has an API",
    "exporter: Firing alerts": "the exporter is well",
    "session: Problems": "the phone is well, and its daily loss lies between two scrapes",
    "session: Usual stay": "the month is told without histograms of sessions: test_native.py has them",
    "session: Longest stays": "the same",
    "fleet: Outages that last": "the only outage was long ago",
    "fleet: Sessions in outages": "the only outage was long ago",
}


@pytest.fixture(scope="module")
def values(month: parts.Prometheus) -> dict[str, dict[str, str]]:
    """What stands in the variables of each dashboard."""
    return {name: boards.values_of(name, month, story.END) for name in boards.BOARD_NAMES}


@pytest.mark.parametrize("query", list(boards.queries()), ids=lambda query: query.name)
def test_a_query_answers(query: Query, month: parts.Prometheus, values: dict[str, dict[str, str]]) -> None:
    """No error, no NaN, no infinity; something to see, where the story has something to show."""
    answer = boards.ask(query, values[query.board], month, story.END)

    numbers = [float(value) for series in answer for _, value in series["values"]]
    assert all(map(math.isfinite, numbers))
    assert bool(numbers) is not any(query.name.startswith(panel) for panel in NOTHING_TO_SHOW)


@pytest.mark.parametrize("name", boards.BOARD_NAMES)
def test_a_variable_has_values(name: str, month: parts.Prometheus, values: dict[str, dict[str, str]]) -> None:
    """Each list to choose from holds something."""
    for variable in boards.variables(name):
        if variable["type"] == "query":
            given = boards.answers(variable, values[name], month, story.END, boards.range_of(name), story.STEP)
            assert [value for value in given if value]
