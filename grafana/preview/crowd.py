"""A day of many sessions, so that the heatmap can be looked at: an hour of one engine's outage, and one sick phone."""

import re
from collections.abc import Iterator

from grafana.tests import story
from tests.builders import DAY, HOUR, MINUTE

ENGINES = ("GOWS", "NOWEB", "WEBJS")
STEP = 15 * MINUTE
OUTAGE = (12 * HOUR, 11 * HOUR)  # before the end
NEEDED = re.compile(
    r"^(wawp_session_(status|status_since\w+|info|down_since\w+|auth\w+)|wawp_sessions|wawp_group\w+)[{ ]"
)


def crowd(sessions: int) -> Iterator[str]:
    """OpenMetrics lines of one replica over the last day of the month."""
    normal, lost = scraped(sessions, lost=False), scraped(sessions, lost=True)
    end = int(story.END)
    for at in range(end - DAY, end + 1, STEP):
        text = lost if end - OUTAGE[0] <= at < end - OUTAGE[1] else normal
        yield text.replace("\n", f" {at}\n")
    yield "# EOF\n"


def scraped(sessions: int, *, lost: bool) -> str:
    """One scrape: WEBJS lost or not; one phone is always FAILED, one waits for a scan, one in forty is stopped."""
    names = ["phone", *(f"session-{index:05}" for index in range(1, sessions))]
    size = max(2, sessions // 10)
    groups = {
        f"group-{at // size:02}": [f"default/{name}" for name in names[at : at + size]]
        for at in range(0, sessions, size)
    }
    config = {**story.CONFIG, "groups": groups, "metrics": {"session_histograms": False, "max_sessions": sessions}}
    process = story.Process(0, config=config)
    for index, name in enumerate(names):
        engine = ENGINES[index % 3]
        quiet = {5: "FAILED", 7: "SCAN_QR_CODE"}.get(index, "STOPPED" if index % 40 == 39 else "WORKING")
        last = "FAILED" if lost and engine == "WEBJS" and quiet == "WORKING" else quiet
        for after, status in enumerate(("STARTING", "WORKING", last)):
            process.hear(story.MONTH - 30 * HOUR + after, name, engine, status)
    lines = story.of_target(process.scrape(story.MONTH), story.REPLICAS[0]).splitlines(keepends=True)
    return "".join(line for line in lines if NEEDED.match(line))
