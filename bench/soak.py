"""An hour of load and a thousand faults, with every promise checked; memory and file descriptors must stay flat:
`python -m bench.soak [--minutes 60] [--faults 1000] [--seed 1] [--rate 60] [--write]`.

The faults and the promises are those of `soak/`; they are spread evenly over the time. In the second half no fault ends
the process, so that a leak can be seen: what grew in it is the slope of the samples, as the median of the slopes
between all pairs, which the peaks of single faults do not move.
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import httpx

from bench import page
from bench.results import Result, show
from bench.servers import GZIP
from bench.usage import resident
from soak.faults import BEARER
from soak.run import run
from soak.world import Options, World

SAMPLE_S = 5.0
SCRAPE_S = 5.0  # as it is recommended
HALF = 0.5
MAX_GROWTH_MB = 10.0  # in the second half
MAX_GROWTH_DESCRIPTORS = 5.0
MAX_PAIRS_APART = 400  # samples of one fit: of more, every n-th


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment: its life's number, resident memory, and how many file descriptors it has open."""

    at: float
    life: int
    rss_mb: float
    descriptors: int


class Meter:
    """Looks at the first replica in a steady rhythm."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.took_s = 0.0

    @contextmanager
    def beside(self, world: World) -> Iterator[None]:
        """Samples inside."""
        ended, began = threading.Event(), time.monotonic()
        thread = threading.Thread(target=self._run, args=(world, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.took_s = time.monotonic() - began

    def _run(self, world: World, ended: threading.Event) -> None:
        replica = world.replicas[0]
        while not ended.wait(SAMPLE_S):
            with suppress(OSError, IndexError):  # it is between two lives
                taken = (resident(replica.pid) / 1e6, replica.descriptors())
                self.samples.append(Sample(time.monotonic(), replica.lives, *taken))

    @property
    def last_life(self) -> list[Sample]:
        """Those of the process that was not ended, but for its first quarter, in which it fills its caches."""
        last = [sample for sample in self.samples if sample.life == self.samples[-1].life] if self.samples else []
        return last[len(last) // 4 :]


@contextmanager
def readers(world: World) -> Iterator[None]:
    """Who is there besides the gateways all the time: Prometheus, somebody with the page open, and an event stream."""
    ended = threading.Event()
    threads = [threading.Thread(target=each, args=(world, ended)) for each in (scrape, follow)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def scrape(world: World, ended: threading.Event) -> None:
    """Every few seconds."""
    url = world.replicas[0].url
    with httpx.Client(timeout=5, trust_env=False) as client:
        while not ended.wait(SCRAPE_S):
            for path, headers in (("/metrics", GZIP), ("/api/v1/problems", BEARER), ("/", BEARER)):
                with suppress(httpx.HTTPError):
                    client.get(url + path, headers=headers)


def follow(world: World, ended: threading.Event) -> None:
    """Reads the stream, and opens it again when it ends."""
    url = f"{world.replicas[0].url}/api/v1/events"
    with httpx.Client(timeout=5, trust_env=False) as client:
        while not ended.wait(1):
            with suppress(httpx.HTTPError), client.stream("GET", url, headers=BEARER) as stream:
                for _ in stream.iter_raw():
                    if ended.is_set():
                        return


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the median pair, a second; 0 of fewer than two points."""
    some = points[:: len(points) // MAX_PAIRS_APART + 1]
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(some, 2)) if len(some) > 1 else 0.0


def growth(name: str, unit: str, points: Sequence[tuple[float, float]], allowed: float) -> Result:
    """What grew while the last process ran."""
    values, lasted = [value for _, value in points] or [0.0], points[-1][0] - points[0][0] if points else 0.0
    grown = slope(points) * lasted
    shown = f"{values[0]:.0f} → {values[-1]:.0f}{unit} (at most {max(values):.0f}), {slope(points) * 3600:+.1f} an hour"
    limit = f"{allowed:.0f}{unit} in {lasted / 60:.0f} min"
    return Result(name, shown, limit, max(0.0, grown) / allowed, 1, at_most=True)


def results(options: Options, world: World, meter: Meter) -> list[Result]:
    """The table."""
    ledger, life = world.ledger, meter.last_life
    lives = sum(replica.lives for replica in world.replicas)
    what = f"{world.happened:,} faults in {meter.took_s / 60:.0f} min, {len(ledger.news):,} events acknowledged"
    return [
        Result(what, f"{lives} lives", f"{options.faults:,} faults", world.happened / options.faults, 1),
        Result("promises broken", str(ledger.broken.total()), "none", ledger.broken.total(), 0, at_most=True),
        growth("memory", " MB", [(each.at, each.rss_mb) for each in life], MAX_GROWTH_MB),
        growth("file descriptors", "", [(each.at, each.descriptors) for each in life], MAX_GROWTH_DESCRIPTORS),
    ]


def main() -> int:
    """One run."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--faults", type=int, help="how many (default: 1,000 an hour)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60.0, help="events a second")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    given = parser.parse_args()
    faults = given.faults or round(given.minutes * 1000 / 60)
    options = Options(faults=faults, seed=given.seed, minutes=given.minutes, rate=given.rate, every=20, calm_after=HALF,
                      spread=True)  # fmt: skip
    meter = Meter()
    world = run(options, meter.beside, readers)
    found = results(options, world, meter)
    if given.write:
        page.write("soak", found)
    return 0 if show(found) else 1


if __name__ == "__main__":
    sys.exit(main())
