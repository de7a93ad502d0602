"""Counts messages, and notices own ones that are not acknowledged. Nothing else of a message is read or kept.

The judge is given what all replicas know: of a shared log what was written to it and read back, every few seconds.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from zoneinfo import ZoneInfo

from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.heeding import Heeding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.live.unwritten import Unwritten, oldest_of
from wawp_exporter.log.messages import Kept
from wawp_exporter.model.activity import PENDING_MS, Activity, Sent
from wawp_exporter.model.event import Ack, Direction, Message
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.hours import HOUR_S, hour_of
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Grave

RECENT_S = 60.0  # senders try again for half a minute; an acknowledgement may come before its message
MAX_RECENT = 100_000  # ids of messages that are remembered for so long
MAX_EARLY = 1000  # events that wait until their session is followed
EARLY_MS = 30_000  # after which it is none that any replica knows
OVERLAP_MS = 10_000  # read twice, so that a row whose transaction was slow is not missed
DIGEST_BYTES = 8
IN, OUT = Direction


class Recent:
    """Ids (as keyed hashes) that came in the last minute or two."""

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._since = 0.0

    def __contains__(self, digest: str) -> bool:
        """Whether it came."""
        return digest in self._young or digest in self._old

    def add(self, digest: str, mono: float) -> None:
        """It has come."""
        if mono - self._since > RECENT_S or len(self._young) >= MAX_RECENT:
            self._old, self._young, self._since = self._young, set(), mono
        self._young.add(digest)


class Messages:
    """Belongs to the event loop."""

    def __init__(self, folding: Folding, access: LogAccess) -> None:
        self._folding = folding
        self._fleet = fleet = folding.fleet
        self._access = access
        self._log = access.log
        self._key = secrets.token_bytes(32)
        self._come = Recent()
        self._ended = Recent()
        self._unwritten = Unwritten()
        self._early: list[tuple[Key, Sequence[Message], int]] = []
        self._sharing = asyncio.Lock()
        self._stored_at = 0
        self._hour = self._hour_end = 0
        self._zone = ""
        self.heeding = Heeding(fleet)

    # -- messages -----------------------------------------------------------------------------------------------

    def hear(self, key: Key, messages: Sequence[Message], now: int) -> None:
        """What a webhook says that was received at `now` (Unix ms); a session that is not known is not created.

        Of a shared log its first event may not have been followed here yet: then it is heard a little later.
        """
        if key not in self._fleet.sessions:
            if self._log.shared and len(self._early) < MAX_EARLY:
                self._early.append((key, messages, now))
            return
        activity = self._fleet.activity.get(key)
        if activity is None:
            activity = self._fleet.activity[key] = Activity()
        self._fleet.heard.add(key)
        mono = time.monotonic()
        for message in messages:
            digest = digest_of(key, message, self._key) if message.id else ""
            if message.direction:
                self._take(key, activity, message, digest, now, mono)
            else:
                self.heeding.source(key[0]).acked_at = now
            if message.ack:
                self._acknowledge(key, activity, message.ack, digest, now, mono)

    def _hear_early(self, now: int) -> None:
        """What was said of sessions that were not known then."""
        early, self._early = self._early, []
        for each in early:
            if each[0] in self._fleet.sessions or each[2] > now - EARLY_MS:
                self.hear(*each)

    def _take(self, key: Key, activity: Activity, message: Message, digest: str, now: int, mono: float) -> None:
        """A message, unless it was counted: two events may report it, and one may be sent again."""
        assert message.direction  # noqa: S101 - the caller's condition
        seen = f"{message.direction}{digest}"  # a message to oneself goes out and comes in
        if digest and seen in self._come:
            return
        if digest:
            self._come.add(seen, mono)
        at = min(message.at or now, now)
        activity.count(message.direction, at)
        unsaved = self._unwritten.of(key, activity)
        unsaved.hours[self._hour_at(now), message.direction] += 1
        self.heeding.source(key[0]).count(message.direction, now)
        if message.direction is IN:
            self._fleet.hearing.arrived(key, shared=self._log.shared)
            return
        if message.ack is Ack.PENDING and digest not in self._ended and at > now - PENDING_MS:
            digest = digest or secrets.token_hex(DIGEST_BYTES)  # without an id any acknowledgement ends it
            sent = Sent(at, max(now, activity.acked_at + 1))
            if activity.await_ack(digest, sent):
                unsaved.pending[digest] = sent
                self.heeding.waiting.add(key)

    def _acknowledge(self, key: Key, activity: Activity, ack: Ack, digest: str, now: int, mono: float) -> None:
        if ack is Ack.PENDING:
            return
        self._ended.add(digest, mono)
        if ack is Ack.SERVER:
            unsaved = self._unwritten.of(key, activity)
            for ended in activity.acknowledge(now):
                unsaved.pending.pop(ended, None)  # if it was written, the log deletes it by the times
        elif activity.end(digest) or self._log.shared:
            self._unwritten.end(key, activity, digest)

    def _hour_at(self, now: int) -> int:
        """The clock hour, in the configured time zone."""
        zone = self._fleet.rules.config.timezone
        if not self._hour <= now // 1000 < self._hour_end or zone != self._zone:
            self._hour, self._zone = hour_of(now, ZoneInfo(zone)), zone
            self._hour_end = self._hour + HOUR_S
        return self._hour

    # -- the log ------------------------------------------------------------------------------------------------

    def restore(self, sources: Iterable[str]) -> None:
        """Takes over what the log has, and says from which sources no messages come. Raises LogError."""
        self._key = self._log.messages.key()
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
            except LogError as error:
                self._access.failed("could not write the counts of messages", error)
                return
            if self._log.shared:
                await self._read()
            else:
                self._own(unix_now())
            self.heeding.listen()

    async def _write(self) -> None:
        """Writes what is new. A stop waits for it, too: what was written must not be written again."""
        unwritten, self._unwritten, now = self._unwritten, Unwritten(), unix_now()
        news = unwritten.news(self._fleet.activity, self._folding.deleted_to)
        store = self._access.write(self._log.messages.store, news, now, now - PENDING_MS)
        writing = asyncio.ensure_future(store)
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        finally:
            if writing.done() and writing.exception():
                self._unwritten.take_back(unwritten)
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
        waiting = [each for each in kept.pending if each.digest not in self._ended]
        for each in kept.pending:
            if each.digest in self._ended and each.key in self._fleet.activity:
                self._unwritten.end(each.key, self._fleet.activity[each.key], each.digest)
        self.heeding.judge(oldest_of(waiting, self._fleet.activity), unix_now())

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
            if each.heard_at > activity.acked_at and each.digest not in self._ended:
                activity.await_ack(each.digest, Sent(each.at, each.heard_at))
                self.heeding.waiting.add(each.key)
        self._stored_at = max(self._stored_at, kept.stored_at)


def digest_of(key: Key, message: Message, secret: bytes) -> str:
    """The keyed hash of a message's id."""
    name = "\0".join((*key, message.id)).encode(errors="surrogatepass")
    return blake2b(name, key=secret, digest_size=DIGEST_BYTES).hexdigest()


def former(kept: Kept, graves: Mapping[Key, Grave]) -> set[Key]:
    """The sessions of which only the life before their last deletion was read: that was followed meanwhile."""
    return {key for key, buried in kept.buried.items() if key in graves and buried < graves[key].seq}
