"""Silence against a session's habit, on a running service whose log has the counts of five weeks."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

from tests import parts

HOUR_S = 3600
HOURS = 5 * 168
PROBLEM = re.compile(
    r'^wawp_session_problem_since_timestamp_seconds\{.*session="(\w+)".*problem="silent".*\} (\S+)$', re.M
)
OUTAGE = re.compile(r'^wawp_outage_sessions\{.*kind="silence"\} (\d+)$', re.M)


def habits(exporter: parts.Exporter, **silent: int) -> None:
    """Sessions with 30 messages in each hour of five weeks but the last ones, which the exporter has heard."""
    now = parts.now_ms()
    hour = now // 1000 // HOUR_S * HOUR_S
    for name in silent:
        long_ago = now - 48 * HOUR_S * 1000
        exporter.post(parts.envelope(session=name, status="WORKING", timestamp=long_ago)).raise_for_status()
    exporter.stop()
    with closing(sqlite3.connect(exporter.directory / "wawp.db")) as log:
        ids = dict(log.execute("SELECT name, id FROM session").fetchall())
        for name, hours in silent.items():
            rows = [(ids[name], hour - ago * HOUR_S, 30, 0) for ago in range(hours, HOURS)]
            log.executemany("INSERT INTO activity VALUES (?, ?, ?, ?)", rows)
            last = now - hours * HOUR_S * 1000
            log.execute("INSERT INTO traffic VALUES (?, 900, 0, ?, 0, 0, ?)", (ids[name], last, now))
        begun = now - (HOURS + 24) * HOUR_S * 1000
        log.execute("INSERT INTO run (started_at, seen_at) VALUES (?, ?)", (begun, now))
        log.commit()
    exporter.start()


def test_a_quiet_session_is_silent_until_a_message_comes(exporter: Callable[..., parts.Exporter]) -> None:
    """Without any configuration. An own message is no end of it: such a session may be able to send alone."""
    service = exporter(pace=0.05)
    habits(service, dead=4, well=0, other=0)

    ((name, since),) = parts.wait_until(lambda: PROBLEM.findall(service.metrics()))
    assert name == "dead"
    assert abs(parts.now_ms() / 1000 - 4 * HOUR_S - float(since)) < HOUR_S
    own = {"event": "message.any", "session": "dead", "payload": {"fromMe": True, "id": "own", "ack": 1}}
    service.post(own).raise_for_status()
    assert PROBLEM.findall(service.metrics())
    service.post({"event": "message", "session": "dead", "payload": {"id": "in"}}).raise_for_status()
    parts.wait_until(lambda: not PROBLEM.findall(service.metrics()))


def test_a_source_that_is_silent_as_a_whole_is_one_outage(exporter: Callable[..., parts.Exporter]) -> None:
    """Nobody is told of each of its sessions."""
    service = exporter(pace=0.05)
    habits(service, a=4, b=4, c=4, d=4)

    assert parts.wait_until(lambda: OUTAGE.findall(service.metrics())) == ["4"]
    assert PROBLEM.findall(service.metrics()) == []
