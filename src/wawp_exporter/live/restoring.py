"""Fills a fleet at the start, or with a source that a reload has brought, from what the log has kept."""

import time
from collections.abc import Sequence

from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.rejudging import Pauses, rejudge
from wawp_exporter.log.judgements import Kept
from wawp_exporter.log.log import Log
from wawp_exporter.log.runs import PAUSE_MS
from wawp_exporter.log.states import Restored
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Rules


def restore(fleet: Fleet, log: Log, sources: Sequence[str], begins: Sequence[int] = ()) -> Restored:
    """Fills a fleet from the log's tail and, dormant, its state table; returns what it covers.

    `begins` is when exporters began to run after a pause (Unix ms), oldest first.
    """
    # What is judged is read first: the rows between it and the states are judged again.
    kept = log.judgements.load(sources)
    restored = log.restore(sources)
    back = dict.fromkeys(absent(kept, sources), unix_now())
    rejudge(fleet, log, kept, restored, Pauses(begins, back))
    heard = dict.fromkeys(sources, begins[-1] if begins else 0) | back
    hushed = frozenset(key for key, case in fleet.judge.cases.items() if case.heard < heard.get(key[0], 0))
    fleet.rules = Rules(fleet.rules.config, fleet.rules.deaf, heard, hushed)  # no session is live yet
    refill(fleet, restored)
    return restored


def absent(kept: Kept, sources: Sequence[str]) -> list[str]:
    """The sources that were not configured at the last save: those that are, are saved together."""
    saved = kept.judged_to
    newest = max(saved.values(), default=0)
    return [source for source in sources if saved.get(source, 0) < newest - PAUSE_MS]


def refill(fleet: Fleet, restored: Restored) -> None:
    """Puts into a fleet what the log has given back."""
    fleet.ear.end()
    now, mono = unix_now(), time.monotonic()
    for key, tombstone in restored.tombstones.items():
        fleet.bury(key, tombstone, restored.buried[key])
    fleet.doze(restored.saved)
    for key, memory in restored.refolded.items():
        if key not in fleet.sessions:
            fleet.restore(key, memory, now, mono)
    # The others are in the state table as they are: writing them back would hold up a large fleet's first events.
    fleet.unsaved |= restored.refolded.keys()
    fleet.away.difference_update(restored.sources)
    fleet.awaken_windows(now, mono)
