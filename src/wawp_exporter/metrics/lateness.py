"""How late a source's webhooks are: whether the gateway's clock is behind, as far as that shows."""

BEHIND_MS = 60_000  # webhooks that are later than this make one suspect the clock
LEAST = 3  # of them in a row
SPAN_MS = 300_000  # from the first to the last of them: retries after an outage come sooner after each other
FRESH_MS = 3_600_000  # after which the last of them says nothing any more


class Lateness:
    """Webhooks of one source that were all more than BEHIND_MS late, one after another. Times are Unix ms.

    One that comes in time ends the row: a clock that is behind makes every webhook late.
    """

    __slots__ = ("_count", "_first", "_last", "_least")

    def __init__(self) -> None:
        self._count = self._first = self._last = self._least = 0

    def observe(self, delay: int, received_at: int) -> None:
        """Takes a webhook that came `delay` ms after its own time."""
        if delay <= BEHIND_MS:
            self._count = 0
            return
        if not self._count:
            self._first, self._least = received_at, delay
        self._count += 1
        self._last = received_at
        self._least = min(self._least, delay)

    def behind(self, now: int) -> float:
        """By how many seconds the clock is behind at most: the least delay of the row; 0 unless the row is long."""
        fresh = now - self._last < FRESH_MS
        long = self._count >= LEAST and self._last - self._first >= SPAN_MS
        return self._least / 1000 if long and fresh else 0
