"""Messages of sessions whose first event this replica has not followed yet: they wait for a moment."""

from collections.abc import Iterator, Sequence

from wawp_exporter.model.event import Message
from wawp_exporter.model.rules import Key

MAX_EARLY = 1000  # messages that wait: one webhook may bring as many
EARLY_MS = 30_000  # after which it is a session that no replica knows

Webhook = tuple[Sequence[Message], int]  # and when it was received (Unix ms)


class Early:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[Webhook]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many messages wait."""
        return self._count

    def __iter__(self) -> Iterator[Key]:
        """The sessions that are waited for."""
        return iter(list(self._waiting))

    def add(self, key: Key, messages: Sequence[Message], now: int) -> None:
        """What a webhook says that was received at `now` (Unix ms); it is dropped if too many messages wait."""
        if self._count + len(messages) <= MAX_EARLY:
            self._waiting.setdefault(key, []).append((messages, now))
            self._count += len(messages)

    def take(self, key: Key) -> Sequence[Webhook]:
        """What was said of a session, in its order; it waits no more."""
        taken = self._waiting.pop(key, None)
        if taken is None:
            return ()
        self._count -= sum(len(messages) for messages, _ in taken)
        return taken

    def expire(self, now: int) -> None:
        """Drops what has waited for too long."""
        for key in self:
            for messages, received_at in self.take(key):
                if received_at > now - EARLY_MS:
                    self.add(key, messages, received_at)
