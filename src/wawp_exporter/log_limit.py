"""How many log lines of one kind are written: some at once, then one a second; the others are counted.

Time is an argument, in seconds of a monotonic clock.
"""

Kind = tuple[str, str]  # what happened, and to which source

BURST = 10  # lines of one kind at once
LINES_A_SECOND = 1.0  # after that
TELL_EVERY_S = 5.0  # how often the number of lines that were left out is written
MAX_KINDS = 256  # that are counted apart
OTHER: Kind = ("others", "")


class Limit:
    """One bucket of tokens for each kind of line, and what was left out since that was last told."""

    def __init__(self) -> None:
        # The tokens that are left, as of when.
        self._buckets: dict[Kind, tuple[float, float]] = {}
        self._left_out: dict[Kind, int] = {}
        self._since = 0.0

    def admit(self, kind: Kind, now: float) -> bool:
        """Whether a line of this kind may be written now; if not, it is counted."""
        if kind not in self._buckets and len(self._buckets) >= MAX_KINDS:
            self._drop_full(now)
            kind = kind if len(self._buckets) < MAX_KINDS else OTHER
        tokens = self._tokens(kind, now)
        if tokens >= 1:
            self._buckets[kind] = (tokens - 1, now)
            return True
        if not self._left_out:
            self._since = now
        self._left_out[kind] = self._left_out.get(kind, 0) + 1
        return False

    def due(self, now: float, *, at_once: bool = False) -> dict[Kind, int]:
        """How many lines of each kind were left out, if it is time to say so; each is given once."""
        if not self._left_out or (now - self._since < TELL_EVERY_S and not at_once):
            return {}
        told, self._left_out = self._left_out, {}
        return told

    def _tokens(self, kind: Kind, now: float) -> float:
        tokens, at = self._buckets.get(kind, (BURST, now))
        return min(BURST, tokens + (now - at) * LINES_A_SECOND)

    def _drop_full(self, now: float) -> None:
        """A full bucket says no more than none."""
        self._buckets = {kind: each for kind, each in self._buckets.items() if self._tokens(kind, now) < BURST}
