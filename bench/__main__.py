"""`python -m bench [--quick] [NAME …]`: every figure as a ratio of one run; exit 1 if one is missed."""

import argparse
import sys
from collections.abc import Callable

from bench import attacks, capacity, histograms, intake, preflight, scrape, start, volume
from bench.results import Result, show

BENCHES: dict[str, Callable[[bool], list[Result]]] = {
    "scrape": scrape.run,
    "intake": intake.run,
    "capacity": capacity.run,
    "preflight": preflight.run,
    "start": start.run,
    "volume": volume.run,
    "attacks": attacks.run,
    "histograms": histograms.run,
}


def main() -> int:
    """Runs those that were named, else all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, proves nothing")
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, []], help="which (default: all)")
    options = parser.parse_args()
    results = [result for name in options.benches or BENCHES for result in BENCHES[name](options.quick)]
    return 0 if show(results) else 1


sys.exit(main())
