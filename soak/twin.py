"""Whether a restart would judge as the running process does: another process starts on a copy of its log.

Both see the same time pass from then on, so they must say the same.
"""

import shutil
import time
from collections.abc import Iterator

from soak import log
from soak.problems import shared, synced
from soak.series import Series, parse
from soak.world import Replica, World

WRITTEN_S = 6.0  # what is known of messages is written every 5 s
AGREE_S = 60.0  # a busy machine may need some of it; what is really wrong stays so


def twin_wrong(world: World) -> Iterator[tuple[str, str]]:
    """Compares a replica with what its log makes of another one; nothing may be sent meanwhile."""
    (live,), name = world.replicas, f"twin-{time.monotonic_ns()}"
    path = world.folder / f"{name}.db"
    time.sleep(WRITTEN_S)
    log.copy(world.url, path)
    twin = world.replica(name, f"sqlite:///{path}")
    try:
        with twin:
            yield from differing(live, twin)
    finally:
        shutil.rmtree(twin.directory)
        for file in world.folder.glob(f"{path.name}*"):
            file.unlink()


def differing(live: Replica, twin: Replica) -> Iterator[tuple[str, str]]:
    """What the two say otherwise after some seconds in which they could agree."""
    end = time.monotonic() + AGREE_S
    while wrong := unlike(live, twin):
        if time.monotonic() > end:
            yield "restart", wrong
            return
        time.sleep(0.1)


def unlike(live: Replica, twin: Replica) -> str:
    """The first differences; "" if what the twin says is what the other says before or after it."""
    before, other, after = (parse(each.metrics()) for each in (live, twin, live))
    if synced(before) != synced(other):
        return f"synced are {synced(before)} and, after a restart, {synced(other)}"
    return differences([shared(before), shared(after)], shared(other))


def differences(live: list[Series], other: Series) -> str:
    """The series of `other` that none of the others have, and those that all of them have and it has not."""
    new = [f"{each} {value}" for each, value in other.items() if value not in [series.get(each) for series in live]]
    first = live[0]
    lost = [f"{each} {value}" for each, value in first.items() if each not in other and all(each in s for s in live)]
    return "; ".join(
        [*(f"only after a restart {each}" for each in new), *(f"not after a restart {e}" for e in lost)][:4]
    )
