"""What is known of the messages of one session: how many, when the last ones, and which are not acknowledged."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from wawp_exporter.model.event import Direction

PENDING_MS = 86_400_000  # a message that was not acknowledged for a day never will be
MAX_PENDING = 100  # own messages of a session: the oldest counts, and one acknowledgement ends all of them


class Sent(NamedTuple):
    """An own message: when it was sent by its own time, and when an event told of it (Unix ms)."""

    at: int
    heard_at: int


NONE: dict[str, Sent] = {}  # most sessions have none: a dictionary for each would be a tenth of their memory


class Activity:
    """Times are Unix ms, 0 if none. `pending` has the own messages that WhatsApp's server has not acknowledged, by the
    keyed hashes of their ids. An acknowledgement ends all that were heard of before it came, since it shows that the
    server is heard: `acked_at` is when the newest came. Of two events in one millisecond the later one gets the next
    millisecond, so that these times also tell the order.
    """

    __slots__ = ("acked_at", "pending", "received", "received_at", "sent", "sent_at")

    def __init__(self) -> None:
        self.received = self.sent = 0
        self.received_at = self.sent_at = self.acked_at = 0
        self.pending: Mapping[str, Sent] = NONE

    @property
    def unacknowledged(self) -> int:
        """When the oldest own message was sent that is not acknowledged, 0 if all are."""
        return min((sent.at for sent in self.pending.values()), default=0)

    def count(self, direction: Direction, at: int) -> None:
        """A message that was not counted before."""
        if direction is Direction.IN:
            self.received += 1
            self.received_at = max(self.received_at, at)
        else:
            self.sent += 1
            self.sent_at = max(self.sent_at, at)

    def await_ack(self, digest: str, sent: Sent) -> bool:
        """An own message without an acknowledgement; whether it is remembered."""
        if len(self.pending) >= MAX_PENDING or digest in self.pending:
            return False
        self.pending = {**self.pending, digest: sent}
        return True

    def end(self, digest: str) -> bool:
        """A message is pending no more; whether it was."""
        known = digest in self.pending
        if known:
            self._keep(lambda other, _: other != digest)
        return known

    def acknowledge(self, at: int) -> Collection[str]:
        """An acknowledgement that came at `at`; returns the messages that are pending no more: those heard of before.

        It may be one that waited for its session, so that later messages are known already, from other replicas.
        """
        known, before = self.pending, max(at, self.acked_at + 1)  # one of the same millisecond may have got the next
        self.acked_at = max(self.acked_at, at)
        if not known:
            return ()
        self._keep(lambda _, sent: sent.heard_at > before)
        ended = [digest for digest in known if digest not in self.pending]
        self.acked_at = max([self.acked_at, *(known[digest].heard_at for digest in ended)])
        return ended

    def hear_of_ack(self, at: int) -> None:
        """The newest acknowledgement that any replica knows of came at `at`."""
        self.acked_at = max(self.acked_at, at)
        if self.pending:
            self._keep(lambda _, sent: sent.heard_at > self.acked_at)

    def expire(self, now: int) -> None:
        """Forgets messages that were never acknowledged."""
        if self.pending:
            self._keep(lambda _, sent: sent.at > now - PENDING_MS)

    def forget(self) -> None:
        """Forgets all that are pending."""
        self.pending = NONE

    def _keep(self, holds: Callable[[str, Sent], bool]) -> None:
        self.pending = {digest: sent for digest, sent in self.pending.items() if holds(digest, sent)} or NONE
