"""`python -m bench [--quick] [NAME …]`: every figure as a ratio of one run; exit 1 if one is missed."""

import argparse
import sys
from collections.abc import Callable, Iterator

from bench import attacks, capacity, histograms, intake, messages, page, preflight, replicas, scrape, start, volume
from bench.results import Result, show

BENCHES: dict[str, Callable[[bool], list[Result]]] = {
    "scrape": scrape.run,
    "intake": intake.run,
    "messages": messages.run,
    "capacity": capacity.run,
    "preflight": preflight.run,
    "start": start.run,
    "replicas": replicas.run,
    "volume": volume.run,
    "attacks": attacks.run,
    "histograms": histograms.run,
}


def main() -> int:
    """Runs those that were named, else all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, proves nothing")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, []], help="which (default: all)")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("--write needs full sizes: leave out --quick")
    return 0 if show(list(measured(options.benches or list(BENCHES), options.quick, options.write))) else 1


def measured(names: list[str], quick: bool, write: bool) -> Iterator[Result]:
    """The figures, written as soon as a bench is done: what a later one breaks takes nothing away."""
    for name in names:
        results = BENCHES[name](quick)
        if write:
            page.write(name, results)
        yield from results


if __name__ == "__main__":
    sys.exit(main())
