"""The service with the judge's constants scaled, so that a story of minutes takes seconds.

    python -m tests.scaled 0.05 serve --config wawp.yml

runs `wawp-exporter serve --config wawp.yml` with each time of `Constants`, and the length of a restart, at a twentieth.
Thresholds are configuration, and scaled there.
"""

import sys

from wawp_exporter.model import limits, machine


def scale(factor: float) -> None:
    """Scales the constants. To be called before anything else of the package is imported, which copies them."""
    if not 0 < factor <= 1:
        raise SystemExit(f"{factor}: not in (0, 1], expected how much of their length the times keep")
    limits.CONSTANTS = limits.CONSTANTS.scaled(factor)
    machine.RESTART_MS = limits.CONSTANTS.restart_ms


def run() -> None:
    """`python -m tests.scaled FACTOR COMMAND…`."""
    _, factor, *command = sys.argv
    scale(float(factor))
    from wawp_exporter.commands.main import main  # after the constants are scaled

    sys.argv = ["wawp-exporter", *command]
    main()


if __name__ == "__main__":
    run()
