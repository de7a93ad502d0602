"""Messages of sessions of other shards: any replica takes any webhook. Here they are only written to the log, where the
replicas of their own shard read them.
"""

from collections.abc import Callable, Iterable
from functools import partial

from wawp_exporter.live.counting import Account, Recent
from wawp_exporter.live.unwritten import Unwritten
from wawp_exporter.log.messages import News, Pending
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.rules import Key

MAX_SESSIONS = 10_000  # between two writes: names are not known to exist until then, and the log may be away


class Elsewhere:
    """Belongs to the event loop. Of each session it knows what came since it was last written."""

    def __init__(self) -> None:
        self._activities: dict[Key, Activity] = {}
        self._unwritten = Unwritten()
        self._deleted_to = 0

    def __len__(self) -> int:
        """Of how many sessions something came since the last write, be it only repeated, or is being written."""
        return len(self._activities)

    def account(self, key: Key, deleted_to: int) -> Account | None:
        """Where messages of a session are entered, None if there are too many sessions.

        `deleted_to` is the place in the log of the newest deletion that is known here.
        """
        activity = self._activities.get(key)
        if activity is None:
            if len(self._activities) >= MAX_SESSIONS:
                return None
            if not self._activities:
                self._deleted_to = deleted_to
            activity = self._activities[key] = Activity()
        return Account(key, activity, self._unwritten, mine=False)

    def end(self, pending: Iterable[Pending], ended: Recent, deleted_to: int) -> None:
        """Of messages that are pending by the log, those wait no more whose acknowledgement came here before them."""
        for each in pending:
            account = self.account(each.key, deleted_to) if each.digest in ended else None
            if account:
                self._unwritten.end(each.key, account.activity, each.digest)

    def begin(self, deleted_to: int) -> tuple[News, Callable[[bool], None]]:
        """What is to be written, and what is to be called with whether it was written.

        Deletions of these sessions are not folded here. So what came before one must not be written after it: sessions
        are left out that were deleted after the first of these messages came.
        """
        unwritten, self._unwritten = self._unwritten, Unwritten()
        return unwritten.news(self._activities, self._deleted_to), partial(self._end, unwritten, deleted_to)

    def _end(self, unwritten: Unwritten, deleted_to: int, written: bool) -> None:
        if not written:
            self._unwritten.take_back(unwritten)
            return
        self._deleted_to = deleted_to
        self._activities = {key: each.activity for key, each in self._unwritten.sessions.items()}
