"""The parts of a running exporter, made from one configuration and connected to each other."""

from wawp_exporter.audit.recovery import Recoveries, recovery_of
from wawp_exporter.config.settings import Settings
from wawp_exporter.gateways.restarts import Remedies
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.follower import Follower
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.reader import Reader
from wawp_exporter.live.stream import Hub
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import place_of
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import WORKING
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import Transition
from wawp_exporter.model.rules import Rules
from wawp_exporter.model.session import Session

SYNCED_MS = 10_000  # what is known of a source may be so old, and no older


class Parts:
    """Made once for each process; a reload replaces `settings` and reconfigures the parts. Raises LogError.

    `follower` is None until the log is restored, and always with SQLite. `stopping` is True once a stop has begun.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = False
        self.telemetry = Telemetry()
        self.fleet = Fleet(Rules(settings.config))
        self.log = Log(place_of(settings.config.database.url), self.fleet.rules.shard)
        self.ingest = Ingest(self.fleet, self.log, self.telemetry)
        self.exposition = Exposition(self.fleet, self.telemetry)
        self.exposition.judged.synced = self.synced
        self.exposition.judged.wake = self.ingest.folding.alarm.look
        self.reader = Reader()
        self.recoveries = Recoveries()
        self.hub = Hub(self.fleet, self.log.place, self.reader)
        self.follower: Follower | None = None
        self.watch = Watch(self.ingest, self.telemetry)
        self.remedies = Remedies(settings.config.remedy, lambda: self.watch.gateways, self.ingest, self.telemetry)
        self.fleet.on_transition = self._on_transition
        self.fleet.on_forget = self.hub.deleted
        self.hub.ready = self.watch.ready
        self.ingest.folding.alarm.on_news = self.hub.judged
        self.put_in_force(settings)

    def synced(self, source: str) -> bool:
        """Whether all of a source's log is folded and judged here, but for the last seconds.

        A session that is still dormant may have to be judged anew, under another configuration.
        """
        if not self.fleet.folds(source) or unix_now() - self.ingest.folding.judged_to >= SYNCED_MS:
            return False
        return not any(key[0] == source for key in self.fleet.dormant)

    def put_in_force(self, settings: Settings) -> None:
        """Keeps a configuration as the current one, and shows that it was loaded."""
        self.settings = settings
        self.telemetry.keep_sources(settings.config.sources)
        self.telemetry.reload_ok.set(1)
        self.telemetry.reload_time.set_to_current_time()

    def _on_transition(self, session: Session, transition: Transition, seq: int) -> None:
        """Passes each applied transition to the event streams and to the statistics of recoveries."""
        self.hub.transition(session, transition, seq)
        recovery = recovery_of(transition) if transition.after.status is WORKING else None
        if recovery:
            self.recoveries.add(session.engine, *recovery, transition.after.since)
