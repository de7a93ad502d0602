"""What of the messages the judge is to know: which own ones wait for an acknowledgement, and which sources send any."""

import time
from collections.abc import Mapping

from wawp_exporter.live.clock import unix_now
from wawp_exporter.log.messages import Traffic
from wawp_exporter.model.event import Direction
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key

HEARD_MS = 7 * 86_400_000  # a source without messages for so long sends none
BRIEFLY_MS = 2000  # nearly every message is acknowledged sooner: the judge need not know of it
UNPROVEN = 10  # own messages after which a source that has sent no acknowledgement is one that sends none


class Heard:
    """What came from one source: its own messages, and when the last message and the last acknowledgement came."""

    __slots__ = ("acked_at", "message_at", "sent")

    def __init__(self) -> None:
        self.sent = self.message_at = self.acked_at = 0

    def count(self, direction: Direction, now: int) -> None:
        """A message."""
        self.message_at = max(self.message_at, now)
        self.sent += direction is Direction.OUT

    def hear_of_ack(self, now: int) -> None:
        """An acknowledgement."""
        self.acked_at = max(self.acked_at, now)

    def take(self, traffic: Traffic) -> None:
        """What the log has of one of its sessions."""
        self.sent = max(self.sent, traffic.sent)
        self.message_at = max(self.message_at, traffic.received_at, traffic.sent_at)
        self.hear_of_ack(traffic.acked_at)


class Heeding:
    """Belongs to the event loop. `waiting` are sessions that may have messages without an acknowledgement."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._sources: dict[str, Heard] = {}
        self.waiting: set[Key] = set()

    def source(self, name: str) -> Heard:
        """What came from a source."""
        heard = self._sources.get(name)
        if heard is None:
            heard = self._sources[name] = Heard()
        return heard

    def listen(self) -> None:
        """Says from which sources no messages come, so that nothing follows from the silence of their sessions."""
        now, rules = unix_now(), self._fleet.rules
        deaf = frozenset(name for name in rules.config.sources if self.source(name).message_at <= now - HEARD_MS)
        if deaf != rules.deaf:
            # Heard from now on, not since the message was sent: another replica may have got it, days after.
            fresh = dict.fromkeys(rules.deaf - deaf, now)
            self._fleet.reconfigure(rules.renewed(rules.config, deaf, fresh), now, time.monotonic())

    def judge(self, oldest: Mapping[Key, int], now: int) -> None:
        """Has judged when the oldest message of each session was sent that is not acknowledged (Unix ms)."""
        told = {key: at for key, at in oldest.items() if at <= now - BRIEFLY_MS and self._acknowledges(key[0], now)}
        known = [key for key, case in self._fleet.judge.cases.items() if case.unacknowledged]
        for key in known:
            if key not in told:
                self._fleet.hearing.overhear(key, unacknowledged=0)
        for key, at in told.items():
            self._fleet.hearing.overhear(key, unacknowledged=at)
        self.waiting = set(oldest)
        self._end_silences()

    def _end_silences(self) -> None:
        """Those that were ended while this replica was away, or by a configuration, or by a source that sends none."""
        fleet = self._fleet
        for key in [key for key, case in fleet.judge.cases.items() if case.quiet]:
            session, activity = fleet.sessions.get(key), fleet.activity.get(key)
            heard = activity.received_at if activity else 0
            if session and (not session.meta.quiet or heard > fleet.judge.cases[key].quiet):
                fleet.hearing.overhear(key, quiet=0)

    def _acknowledges(self, source: str, now: int) -> bool:
        """Whether a source sends acknowledgements, as far as is known: else none can be missed."""
        heard = self.source(source)
        return heard.acked_at > now - HEARD_MS or heard.sent < UNPROVEN
