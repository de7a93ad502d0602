"""Wakes the judge when time alone changes what it says."""

import asyncio
from collections.abc import Callable

from wawp_exporter.live.clock import unix_now
from wawp_exporter.metrics.defects import Defects
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

AGAIN_S = 0.02  # from one look to the next while an older event may still come
SPARE_S = 0.001  # a timer may fire a moment early by the other clock


class Alarm:
    """Belongs to the event loop. Time passes for the judge up to `horizon` (Unix ms): older events may still come."""

    def __init__(self, fleet: Fleet, horizon: Callable[[], int], defects: Defects) -> None:
        self._fleet = fleet
        self._horizon = horizon
        self._defects = defects
        self.on_news: Callable[[set[Key]], None] | None = None  # sessions whose problems have changed
        self._due: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Plans the next deadline; to be called after whatever may have changed it. Cheap if it is the same."""
        self._publish()
        due = self._fleet.next_deadline
        if due != self._due:
            self.stop()
            if due is not None:
                self._due = due
                self._plan(max(0.0, (due - unix_now()) / 1000) + SPARE_S)

    def stop(self) -> None:
        """Ends the timer."""
        if self._timer:
            self._timer.cancel()
        self._due = self._timer = None

    def _plan(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _publish(self) -> None:
        """Says that the judge says something else now."""
        judge = self._fleet.judge
        if judge.news or judge.news_of_outages:
            news, judge.news, judge.news_of_outages = judge.news, set(), False
            if self.on_news:
                self.on_news(news)

    def look(self) -> None:
        """Lets time pass now, as far as it may."""
        try:
            self._fleet.hearing.wake(self._horizon())
        except Exception as error:  # noqa: BLE001 - a defect with one session must not end the others' deadlines
            self._defects("judge", error)

    def _ring(self) -> None:
        self.look()
        due = self._fleet.next_deadline
        if due is not None and due <= unix_now():
            self._due = due
            self._plan(AGAIN_S)
            self._publish()
        else:
            self.arm()
