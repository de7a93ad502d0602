"""Counts messages, and notices own ones that are not acknowledged. Nothing else of a message is read or kept.

The judge is given what all replicas know: of a shared log what was written to it and read back, every few seconds.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.counting import RECENT_S, Account, Counting
from wawp_exporter.live.early import Early
from wawp_exporter.live.elsewhere import Elsewhere
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.heeding import Heeding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.live.unwritten import Unwritten, oldest_of
from wawp_exporter.log.messages import Kept, News
from wawp_exporter.model.activity import PENDING_MS, Activity, Sent
from wawp_exporter.model.event import Direction, Message
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Grave

RECENT_MS = round(RECENT_S * 1000)
OVERLAP_MS = 10_000  # read twice, so that a row whose transaction was slow is not missed
IN, OUT = Direction


class Messages:
    """Belongs to the event loop."""

    def __init__(self, folding: Folding, access: LogAccess) -> None:
        self._folding = folding
        self._fleet = fleet = folding.fleet
        self._access = access
        self._log = access.log
        self._unwritten = Unwritten()
        self._elsewhere = Elsewhere()
        self._early = Early()
        self._sharing = asyncio.Lock()
        self._stored_at = 0
        self.heeding = Heeding(fleet)
        self._counting = Counting(fleet, access.log, self.heeding)

    # -- messages -----------------------------------------------------------------------------------------------

    def hear(self, key: Key, messages: Sequence[Message], now: int) -> None:
        """What a webhook says that was received at `now` (Unix ms); a session that is not known is not created.

        A dormant session must have been awakened before, as `LastSeen.touch` does. Of a shared log the session may be
        of another shard; or its first event may not have been followed here yet: then this waits for it.
        """
        if key in self._fleet.sessions:
            for early in self._early.take(key):
                self._count(key, *early)
            self._count(key, messages, now)
        elif not self._log.shard.holds(key[0]):
            account = self._elsewhere.account(key, self._folding.deleted_to)
            if account:
                self._counting.count(account, messages, now)
        elif self._log.shared:
            self._early.add(key, messages, now)

    def _count(self, key: Key, messages: Sequence[Message], now: int) -> None:
        """What was said of a session that is known here."""
        activity = self._fleet.activity.get(key)
        if activity is None:
            activity = self._fleet.activity[key] = Activity()
        self._fleet.heard.add(key)
        self._counting.count(Account(key, activity, self._unwritten), messages, now)

    def _hear_early(self, now: int) -> None:
        """What was said of sessions that were not known then."""
        for key in self._early:
            if key in self._fleet.sessions:
                self.hear(key, (), now)
        self._early.expire(now)

    # -- the log ------------------------------------------------------------------------------------------------

    def restore(self, sources: Iterable[str]) -> None:
        """Takes over what the log has, and says from which sources no messages come. Raises LogError."""
        self._counting.secret = self._log.messages.key()
        self.merge(self._log.messages.since(0, sources))
        self.heeding.listen()

    def pause(self, until: Mapping[str, int]) -> None:
        """Nothing came from these sources for a while up to that instant: what was sent before is waited for no more,
        as its acknowledgement may be lost, unless that is a problem already."""
        for key in {key for key in self.heeding.waiting if key[0] in until} & self._fleet.activity.keys():
            if Problem.UNDELIVERED in self._fleet.judge.problems(key):
                continue
            activity = self._fleet.activity[key]
            for digest in [name for name, sent in activity.pending.items() if sent.heard_at < until[key[0]]]:
                activity.end(digest)
                self._unwritten.end(key, activity, digest)

    async def share(self) -> None:
        """Writes what is new, reads what other replicas have written, and has it judged."""
        async with self._sharing:
            self._hear_early(unix_now())
            try:
                if self._unwritten or self.heeding.waiting:
                    await self._write()
                if self._elsewhere:
                    await self._store(*self._elsewhere.begin(self._folding.deleted_to))
            except LogError as error:
                self._access.failed("could not write the counts of messages", error)
                return
            if self._log.shared:
                await self._read()
            else:
                self._own(unix_now())
            self.heeding.listen()

    async def _write(self) -> None:
        """Writes what is new of this shard's sessions."""
        unwritten, self._unwritten = self._unwritten, Unwritten()
        news = unwritten.news(self._fleet.activity, self._folding.deleted_to)
        await self._store(news, lambda written: None if written else self._unwritten.take_back(unwritten))

    async def _store(self, news: News, done: Callable[[bool], None]) -> None:
        """Calls `done` with whether it was written. A stop waits for it, too: it must not be written again."""
        now = unix_now()
        writing = asyncio.ensure_future(self._access.write(self._log.messages.store, news, now, now - PENDING_MS))
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        finally:
            if writing.done():
                done(not writing.exception())
        writing.result()

    def _own(self, now: int) -> None:
        """All that is known is known here."""
        activities = self._fleet.activity
        self._fleet.heard |= self.heeding.waiting
        for key in self.heeding.waiting:
            if key in activities:
                activities[key].expire(now)
        oldest = {key: activities[key].unacknowledged for key in self.heeding.waiting if key in activities}
        self.heeding.judge({key: at for key, at in oldest.items() if at}, now)

    async def _read(self) -> None:
        try:
            kept = await self._access.read(self._log.messages.since, max(0, self._stored_at - OVERLAP_MS))
            await self._end_elsewhere()
        except LogError as error:
            self._access.failed("could not read the counts of messages of other replicas", error)
            return
        self._fleet.heard |= self.heeding.waiting
        for key in self.heeding.waiting & self._fleet.activity.keys():
            self._fleet.activity[key].forget()
        for key, unsaved in self._unwritten.living(self._fleet.activity):
            for digest, sent in unsaved.pending.items():
                self._fleet.activity[key].await_ack(digest, sent)
        kept = kept.without(former(kept, self._fleet.graves))
        self.merge(kept)
        for traffic in kept.traffic:
            self._fleet.hearing.arrived(traffic.key, traffic.received_at)
        # An acknowledgement may have come here, and its message at another replica.
        waiting = [each for each in kept.pending if each.digest not in self._counting.ended]
        for each in kept.pending:
            if each.digest in self._counting.ended and each.key in self._fleet.activity:
                self._unwritten.end(each.key, self._fleet.activity[each.key], each.digest)
        self.heeding.judge(oldest_of(waiting, self._fleet.activity), unix_now())

    async def _end_elsewhere(self) -> None:
        """An acknowledgement for another shard may have come here before its message came to another replica."""
        if self._log.shard.total > 1:
            fresh = await self._access.read(self._log.messages.elsewhere, unix_now() - RECENT_MS)
            self._elsewhere.end(fresh, self._counting.ended, self._folding.deleted_to)

    def merge(self, kept: Kept) -> None:
        """Counts in the log are of all replicas; what is not written yet comes on top."""
        activities, unwritten = self._fleet.activity, self._unwritten
        self._fleet.heard.update(each.key for each in kept.traffic)
        self._fleet.heard.update(each.key for each in kept.pending)
        for traffic in kept.traffic:
            key = traffic.key
            activity = activities.setdefault(key, Activity())
            activity.received = traffic.received + unwritten.counted(key, activity, IN)
            activity.sent = traffic.sent + unwritten.counted(key, activity, OUT)
            activity.received_at = max(activity.received_at, traffic.received_at)
            activity.sent_at = max(activity.sent_at, traffic.sent_at)
            activity.hear_of_ack(traffic.acked_at)
            self.heeding.source(key[0]).take(traffic)
        for each in kept.pending:
            activity = activities.setdefault(each.key, Activity())
            if each.heard_at > activity.acked_at and each.digest not in self._counting.ended:
                activity.await_ack(each.digest, Sent(each.at, each.heard_at))
                self.heeding.waiting.add(each.key)
        self._stored_at = max(self._stored_at, kept.stored_at)


def former(kept: Kept, graves: Mapping[Key, Grave]) -> set[Key]:
    """The sessions of which only the life before their last deletion was read: that was followed meanwhile."""
    return {key for key, buried in kept.buried.items() if key in graves and buried < graves[key].seq}
