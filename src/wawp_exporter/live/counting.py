"""Counts each message once, and keeps own ones that wait for an acknowledgement until one comes."""

import secrets
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple
from zoneinfo import ZoneInfo

from wawp_exporter.live.heeding import Heeding
from wawp_exporter.live.unwritten import Unwritten
from wawp_exporter.log.log import Log
from wawp_exporter.model.activity import PENDING_MS, Activity, Sent
from wawp_exporter.model.event import Ack, Direction, Message
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.hours import HOUR_S, hour_of
from wawp_exporter.model.rules import Key

RECENT_S = 60.0  # senders try again for half a minute; an acknowledgement may come before its message
MAX_RECENT = 100_000  # ids of messages that are remembered for so long
DIGEST_BYTES = 8


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


class Account(NamedTuple):
    """Where the messages of a session are entered; `mine` says whether it is a session of this shard."""

    key: Key
    activity: Activity
    unwritten: Unwritten
    mine: bool = True


class Counting:
    """Belongs to the event loop. `secret` is the key of the hashes; `ended` has the messages that wait no more."""

    def __init__(self, fleet: Fleet, log: Log, heeding: Heeding) -> None:
        self.secret = secrets.token_bytes(32)
        self.ended = Recent()
        self._fleet = fleet
        self._log = log
        self._heeding = heeding
        self._come = Recent()
        self._hour = self._hour_end = 0
        self._zone = ""

    def count(self, account: Account, messages: Sequence[Message], now: int) -> None:
        """What a webhook says that was received at `now` (Unix ms)."""
        mono = time.monotonic()
        for message in messages:
            digest = digest_of(account.key, message, self.secret) if message.id else ""
            if message.direction:
                self._take(account, message, digest, now, mono)
            elif account.mine:
                self._heeding.source(account.key[0]).hear_of_ack(now)
            if message.ack:
                self._acknowledge(account, message.ack, digest, now, mono)

    def _take(self, account: Account, message: Message, digest: str, now: int, mono: float) -> None:
        """A message, unless it was counted: two events may report it, and one may be sent again."""
        assert message.direction  # noqa: S101 - the caller's condition
        seen = f"{message.direction}{digest}"  # a message to oneself goes out and comes in
        if digest and seen in self._come:
            return
        if digest:
            self._come.add(seen, mono)
        key, activity, unwritten, mine = account
        at = min(message.at or now, now)
        activity.count(message.direction, at)
        unwritten.of(key, activity).hours[self._hour_at(now), message.direction] += 1
        if mine:
            self._heeding.source(key[0]).count(message.direction, now)
        if message.direction is Direction.OUT:
            if message.ack is Ack.PENDING and digest not in self.ended and at > now - PENDING_MS:
                self._wait(account, digest, at, now)
        elif mine:
            self._fleet.hearing.arrived(key, shared=self._log.shared)

    def _wait(self, account: Account, digest: str, at: int, now: int) -> None:
        """An own message without an acknowledgement."""
        key, activity, unwritten, mine = account
        digest = digest or secrets.token_hex(DIGEST_BYTES)  # without an id any acknowledgement ends it
        sent = Sent(at, max(now, activity.acked_at + 1))
        if activity.await_ack(digest, sent):
            unwritten.of(key, activity).pending[digest] = sent
            if mine:
                self._heeding.waiting.add(key)

    def _acknowledge(self, account: Account, ack: Ack, digest: str, now: int, mono: float) -> None:
        if ack is Ack.PENDING:
            return
        self.ended.add(digest, mono)
        key, activity, unwritten, _ = account
        if ack is Ack.SERVER:
            unsaved = unwritten.of(key, activity)
            for ended in activity.acknowledge(now):
                unsaved.pending.pop(ended, None)  # if it was written, the log deletes it by the times
            if activity.end(digest):  # another replica's clock is ahead
                unwritten.end(key, activity, digest)
        elif activity.end(digest) or self._log.shared:
            unwritten.end(key, activity, digest)

    def _hour_at(self, now: int) -> int:
        """The clock hour, in the configured time zone."""
        zone = self._fleet.rules.config.timezone
        if not self._hour <= now // 1000 < self._hour_end or zone != self._zone:
            self._hour, self._zone = hour_of(now, ZoneInfo(zone)), zone
            self._hour_end = self._hour + HOUR_S
        return self._hour


def digest_of(key: Key, message: Message, secret: bytes) -> str:
    """The keyed hash of a message's id."""
    name = "\0".join((*key, message.id)).encode(errors="surrogatepass")
    return blake2b(name, key=secret, digest_size=DIGEST_BYTES).hexdigest()
