"""What is known of the messages of one session: how many, when the last ones, and which are not acknowledged."""

from wawp_exporter.model.event import Direction

PENDING_MS = 86_400_000  # a message that was not acknowledged for a day never will be
MAX_PENDING = 100  # own messages of a session: the oldest counts, and one acknowledgement ends all of them


class Activity:
    """Times are Unix ms, 0 if none. `pending` has the own messages that WhatsApp's server has not acknowledged, by the
    keyed hashes of their ids, and when each was sent. An acknowledgement ends all that were sent before it came, since
    it shows that the server is heard: `acked_at` is when the newest came.
    """

    __slots__ = ("acked_at", "counts", "last", "pending")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Direction, 0)
        self.last = dict.fromkeys(Direction, 0)
        self.acked_at = 0
        self.pending: dict[str, int] = {}

    @property
    def unacknowledged(self) -> int:
        """When the oldest own message was sent that is not acknowledged, 0 if all are."""
        return min(self.pending.values(), default=0)

    def count(self, direction: Direction, at: int) -> None:
        """A message that was not counted before."""
        self.counts[direction] += 1
        self.last[direction] = max(self.last[direction], at)

    def await_ack(self, digest: str, at: int) -> bool:
        """An own message without an acknowledgement, sent at `at`; whether it is remembered."""
        if len(self.pending) >= MAX_PENDING or digest in self.pending:
            return False
        self.pending[digest] = at
        return True

    def acknowledge(self, at: int) -> None:
        """An acknowledgement that came at `at`."""
        self.acked_at = max(self.acked_at, at)
        if self.pending:
            self.pending = {digest: sent for digest, sent in self.pending.items() if sent > self.acked_at}

    def expire(self, now: int) -> None:
        """Forgets messages that were never acknowledged."""
        if self.pending:
            self.pending = {digest: sent for digest, sent in self.pending.items() if sent > now - PENDING_MS}
