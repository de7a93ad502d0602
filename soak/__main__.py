"""`python -m soak [--faults N] [--seed N] [--database sqlite|postgresql] …`: exit 1 if a promise was broken."""

import argparse
import sys

from soak.run import run
from soak.world import Options


def main() -> int:
    """One run."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    default = Options()
    parser.add_argument("--faults", type=int, default=default.faults, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="draws faults and events (default %(default)s)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default=default.database)
    parser.add_argument(
        "--minutes", type=float, default=default.minutes, help="no longer than this (default %(default)s)"
    )
    parser.add_argument("--replicas", type=int, default=default.replicas, help="with postgresql (default %(default)s)")
    parser.add_argument("--rate", type=float, default=default.rate, help="events a second (default %(default)s)")
    parser.add_argument(
        "--ties", type=float, default=default.ties, help="share of statuses in the ms of the one before"
    )
    parser.add_argument(
        "--every", type=int, default=default.every, help="faults between two looks (default %(default)s)"
    )
    parser.add_argument(
        "--pace", type=float, default=default.pace, help="of the judge's times (default %(default)s; 1: as they are)"
    )
    parser.add_argument("--only", nargs="*", default=default.only, help="faults by name, instead of all")
    world = run(Options(**vars(parser.parse_args())))
    return 1 if world.ledger.broken else 0


if __name__ == "__main__":
    sys.exit(main())
