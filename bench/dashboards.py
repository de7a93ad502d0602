"""What each panel costs on a real Prometheus with 10,000 sessions: `python -m bench.dashboards [--sessions N]`.

Two replicas are back-filled: a day of every session, looked at every four hours, beside a day of the fleet's series and
a month of one session and of the error budget, every minute. The heatmap is asked for 1,000 sessions.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from grafana.tests import boards, story
from grafana.tests.story import END, MONTH, START
from tests import parts
from tests.builders import DAY, HOUR, MINUTE

LIMIT = 1.0  # seconds, for one panel
UNLIMITED = "Uptime of every session"  # reads every session's past; Grafana asks when it is scrolled to
ROUNDS = 3
MEMBERS = 100  # of a group
ENGINES = ("GOWS", "NOWEB", "WEBJS")
# Most work; a few are in each kind of trouble.
ENDS = ("FAILED", "SCAN_QR_CODE", "DISCONNECTED", *["WORKING"] * 47)
MONTHLY = re.compile(r'up|wawp_slo_|wawp_session_\w+\{[^}]*session="phone"')
SPARSE = re.compile(r"wawp_session_")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    sessions = parser.parse_args().sessions
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        story.write_blocks(parts.require("promtool"), folder, history(scraped(sessions)))
        flags = ["--storage.tsdb.retention.time=100y", "--query.lookback-delta=5h"]
        with parts.Prometheus({"scrape_configs": []}, flags=flags, directory=folder) as prometheus:
            slowest = report(prometheus)
    print(f"\n{sessions} sessions, two replicas: the slowest panel but “{UNLIMITED}” takes {slowest * 1000:.0f} ms")
    return 0 if slowest < LIMIT else 1


def scraped(sessions: int) -> str:
    """One scrape of a fleet of that size, at the end of the month."""
    names = ["phone", *(f"session-{index:05}" for index in range(1, sessions))]
    groups = {
        f"group-{at // MEMBERS:03}": [f"default/{name}" for name in names[at : at + MEMBERS]]
        for at in range(0, sessions, MEMBERS)
    }
    config = {**story.CONFIG, "groups": groups, "metrics": {"session_histograms": False, "max_sessions": sessions}}
    process = story.Process(0, config=config)
    for index, name in enumerate(names):
        for after, status in enumerate(("STARTING", "WORKING", ENDS[index % len(ENDS)])):
            process.hear(MONTH - HOUR + after, name, ENGINES[index % 3], status)
    return process.scrape(MONTH) + "up 1\nscrape_samples_scraped 1\nscrape_duration_seconds 1\n"


def history(text: str) -> Iterator[str]:
    """The same scrape again and again: the cost of a query is in the number of samples, not in their values."""
    spans: dict[tuple[int, int], list[str]] = {(MONTH, MINUTE): [], (DAY, MINUTE): [], (DAY, 4 * HOUR): []}
    for line in text.splitlines(keepends=True):
        rank = (MONTH, MINUTE) if MONTHLY.match(line) else (DAY, 4 * HOUR) if SPARSE.match(line) else (DAY, MINUTE)
        spans[rank].append(line)
    for (span, step), lines in spans.items():
        for replica in story.REPLICAS:
            yield from repeated(story.of_target("".join(lines), replica), span, step)
    yield f'ALERTS{{alertname="WawpSessionFailed",alertstate="firing",session="phone"}} 1 {END}\n# EOF\n'


def repeated(lines: str, span: int, step: int) -> Iterator[str]:
    """The lines at each moment of the last `span` seconds."""
    for at in range(int(END) - span, int(END) + 1, step):
        yield lines.replace("\n", f" {max(at, int(START))}\n")


def report(prometheus: parts.Prometheus) -> float:
    """Prints a row a panel; the seconds of the slowest."""
    slowest = 0.0
    print("| dashboard | panel | series | median | worst |\n|---|---|---|---|---|")
    for name in boards.BOARD_NAMES:
        started = time.perf_counter()
        values = boards.values_of(name, prometheus, END, MINUTE, limit="1000")
        opened = f"{(time.perf_counter() - started) * 1000:.0f} ms"
        print(f"| {name} | (all variables, one after the other) | | {opened} | |")
        for query in boards.queries(name):
            took, series = [], 0
            for _ in range(ROUNDS):
                started = time.perf_counter()
                series = len(boards.ask(query, values, prometheus, END, MINUTE))
                took.append(time.perf_counter() - started)
            if query.panel["title"] != UNLIMITED:
                slowest = max(slowest, statistics.median(took))
            figures = " | ".join(f"{seconds * 1000:.0f} ms" for seconds in (statistics.median(took), max(took)))
            print(f"| {name} | {query.panel['title']} {query.target['refId']} | {series} | {figures} |")
    return slowest


if __name__ == "__main__":
    sys.exit(main())
