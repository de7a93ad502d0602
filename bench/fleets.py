"""Logs filled without HTTP, so that a benchmark begins with the fleet it needs."""

import time
from pathlib import Path

from wawp_exporter.log.log import Log
from wawp_exporter.log.messages import News, Traffic
from wawp_exporter.model.event import Point, Status, StatusEvent
from wawp_exporter.model.machine import State
from wawp_exporter.model.session import Memory

BATCH = 5000
CYCLE = (Status.STARTING, Status.WORKING)


def name_of(index: int) -> str:
    """A session's name."""
    return f"session-{index:06d}"


def status_event(index: int, sessions: int, at: int) -> StatusEvent:
    """The index-th event of a fleet that goes from STARTING to WORKING and back, session after session."""
    status = CYCLE[(index // sessions) % 2]
    point = Point(status, at, 0, at)
    return StatusEvent("default", name_of(index % sessions), (point,), at, event_id=f"evt_{index:026d}", engine="GOWS")


def fill(path: Path, sessions: int, events: int) -> None:
    """Writes `events` events of `sessions` sessions, and the states that a graceful stop would have left."""
    log = Log(path)
    start = time.time_ns() // 1_000_000 - events * 10
    seq, last = 0, {}
    for begin in range(0, events, BATCH):
        batch = range(begin, min(events, begin + BATCH))
        made = [status_event(index, sessions, start + index * 10) for index in batch]
        seq = log.append(made).seq
        last.update((event.session, event) for event in made)
    memories = [(("default", name), memory_of(event)) for name, event in last.items()]
    for begin in range(0, len(memories), BATCH):
        log.save(memories[begin : begin + BATCH], seq, covers=False)
    log.save([], seq)
    log.close()


def talk(path: Path, sessions: int) -> None:
    """Messages of each session, received and sent, as another run has left them."""
    log, now = Log(path), time.time_ns() // 1_000_000
    for begin in range(0, sessions, BATCH):
        names = [name_of(index) for index in range(begin, min(sessions, begin + BATCH))]
        rows = [Traffic(("default", name), 1000 + begin, 1000 + begin, now, now, now) for name in names]
        log.messages.store(News(rows), now, 0)
    log.close()


def lose(path: Path, sessions: int) -> None:
    """Sessions fail at once, and the service is killed before it saves any of them."""
    log, now = Log(path), time.time_ns() // 1_000_000
    for begin in range(0, sessions, BATCH):
        names = [name_of(index) for index in range(begin, min(sessions, begin + BATCH))]
        log.append([StatusEvent("default", name, (Point("FAILED", now, 0, now),), now) for name in names])
    log.close()


def memory_of(event: StatusEvent) -> Memory:
    """The state after an event of `status_event`."""
    at = event.own.at
    status = Status(event.own.status)
    down = 0 if status is Status.WORKING else at
    return Memory(State(status, at, at, 0, down_since=down, worked=True), "GOWS", at)
