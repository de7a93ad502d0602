"""Fills a fleet at the start, or with a source that a reload has brought, from what the log has kept."""

import time
from collections.abc import Sequence

from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.rejudging import rejudge
from wawp_exporter.log.log import Log
from wawp_exporter.log.states import Restored
from wawp_exporter.model.fleet import Fleet


def restore(fleet: Fleet, log: Log, sources: Sequence[str]) -> Restored:
    """Fills a fleet from the log's tail and, dormant, its state table; returns what it covers."""
    # What is judged is read first: the rows between it and the states are judged again.
    kept = log.judgements.load(sources)
    restored = log.restore(sources)
    rejudge(fleet, log, kept, restored)
    refill(fleet, restored)
    return restored


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
