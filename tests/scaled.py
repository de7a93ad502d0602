"""The service with the judge's constants scaled, so that a story of minutes takes seconds.

    python -m tests.scaled 0.05 serve --config wawp.yml

runs `wawp-exporter serve --config wawp.yml` with each time of `Constants`, and the length of a restart, at a twentieth.
With `0.05:0.5` problems and outages settle in half of their time: on a busy machine, webhooks that belong together then
still come together. Thresholds are configuration, and scaled there.
"""

import sys

from msgspec.structs import asdict, replace

from wawp_exporter.model import limits, machine


def scale(factor: float, settling: float | None = None) -> None:
    """Scales the constants. To be called before anything else of the package is imported, which copies them."""
    for each in (factor, factor if settling is None else settling):
        if not 0 < each <= 1:
            raise SystemExit(f"{each}: not in (0, 1], expected how much of their length the times keep")
    settled = asdict(limits.CONSTANTS.scaled(factor if settling is None else settling))
    times = {name: value for name, value in settled.items() if name.endswith("settle_ms")}
    limits.CONSTANTS = replace(limits.CONSTANTS.scaled(factor), **times)
    machine.RESTART_MS = limits.CONSTANTS.restart_ms


def run() -> None:
    """`python -m tests.scaled FACTOR[:SETTLING] COMMAND…`."""
    _, factors, *command = sys.argv
    scale(*map(float, factors.split(":")))
    from wawp_exporter.commands.main import main  # after the constants are scaled

    sys.argv = ["wawp-exporter", *command]
    main()


if __name__ == "__main__":
    run()
