"""SIGTERM, SIGINT and SIGHUP from the first moment of the process to its last: none of them is lost, none kills it."""

import signal
from collections.abc import Callable
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Counts what has arrived; what comes while the service starts is still there when it has started.

    The handlers stay until the process ends: the default of SIGHUP would end it while it stops cleanly.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._reload = False
        self._changed: Callable[[], object] | None = None
        for number in (*STOPS, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def listen(self, changed: Callable[[], object] | None) -> None:
        """Calls `changed` at each signal from now on, in the main thread, between two instructions of any code."""
        self._changed = changed

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last call, once or several times."""
        asked, self._reload = self._reload, False
        return asked

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if number in STOPS:
            self.stops += 1
        else:
            self._reload = True
        if self._changed:
            self._changed()
