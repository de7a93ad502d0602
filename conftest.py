"""Which tests share a worker of `make test`, and which of these groups begin first."""

import re
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

END_TO_END, INCIDENTS = "alerts/tests/test_end_to_end.py", "alerts/tests/test_incidents.py"
MONTH = {"grafana/tests/test_figures.py", "grafana/tests/test_queries.py"}
# Those that take longest, as `make test ARGS=--durations=50` tells: one that began last would be waited for alone.
FIRST = (
    f"{END_TO_END}, bookworm",
    f"{END_TO_END}, trixie",
    f"{END_TO_END}, forky",
    f"{INCIDENTS}, bookworm",
    f"{INCIDENTS}, trixie",
    f"{INCIDENTS}, forky",
    "tests/live/test_replicas.py",
    "tests/gateways/test_restarts.py",
    # What computes comes after the stories, which go on by the clock and mostly wait.
    "alerts/tests/test_mutants.py",
    "alerts/tests/test_rules.py",
    "tests/web/test_browser.py",
    "tests/gateways/test_reconcile.py",
    "tests/doctor/test_chain.py",
    "tests/live/test_messages.py",
    "alerts/tests/test_grouping.py",
    "tests/commands/test_demo.py",
    "tests/web/test_replicas_page.py",
    "tests/test_faults.py",
    "tests/metrics/test_prometheus.py",
    "tests/test_commands.py",
    "tests/gateways/test_probes.py",
    "tests/log/test_log.py",
)


class Groups(LoadScopeScheduling):
    """The tests of a group run on one worker, one after another: they share what is slow to start."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """The file of a test; the stories from end to end are a group for each Debian, and dashboards share a month."""
    file, _, test = nodeid.partition("::")
    if file in MONTH:
        return "the month"
    release = re.search(r"\[(\w+)", test) if file in {END_TO_END, INCIDENTS} else None
    return f"{file}, {release[1]}" if release else file


def pytest_configure() -> None:
    """What holds for all tests: signals, and property tests without limits of time."""
    # A shell lets what it runs in the background ignore Ctrl-C, and so would every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Else a property test would fail on a busy machine: one example may take 200 ms, and ten of them a second to make.
    settings.register_profile("patient", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest groups first."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(group(item.nodeid), len(places)))


@pytest.fixture(scope="session", autouse=True)
def forked_exporters() -> None:
    """In tests, exporters are forks of one process (tests/forked.py), but for those with `own_interpreter`."""
    from tests import parts  # noqa: PLC0415 - the path to it is pytest's

    parts.Exporter.forks = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """In this order; xdist would begin with the groups of most tests."""
    config.option.loadscopereorder = False
    return Groups(config, log)
