"""Errors of the exporter itself: counted each time, logged once a kind; one event's error does not stop the others."""

import structlog

from wawp_exporter.metrics.telemetry import Telemetry

logger = structlog.get_logger()


class Defects:
    """Counts by the part in which an error was found; the log names its type and place, and nothing of the data."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._count = telemetry.defects
        self._known: set[tuple[str, str, str]] = set()

    def __call__(self, part: str, error: BaseException) -> None:
        """Notes one."""
        self._count.labels(part).inc()
        kind = (part, type(error).__name__, place_of(error))
        if kind not in self._known:
            self._known.add(kind)
            logger.error("defect in the exporter, please report it", part=part, error=kind[1], place=kind[2])


def place_of(error: BaseException) -> str:
    """Where it was raised: `fleet.py:432`."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "unknown"
