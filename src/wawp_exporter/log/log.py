"""The event log: its parts, opened together.

The log is the truth: it is appended to, and everything else is a fold of it. Whatever writes is called from one thread
at a time; whatever reads may be called from any thread. Times are Unix ms.
"""

from collections.abc import Collection, Sequence

from wawp_exporter.log.acceptances import Acceptances
from wawp_exporter.log.actions import ActionTable
from wawp_exporter.log.admission import Admission
from wawp_exporter.log.append import Appended, Appender
from wawp_exporter.log.database import Database
from wawp_exporter.log.deletions import Deletions
from wawp_exporter.log.feed import Feed
from wawp_exporter.log.judgements import Judgement, Judgements
from wawp_exporter.log.last_seen import LastSeenTable
from wawp_exporter.log.leases import Leases
from wawp_exporter.log.messages import MessageTables
from wawp_exporter.log.names import UNLIMITED
from wawp_exporter.log.place import Place
from wawp_exporter.log.retention import Retention
from wawp_exporter.log.runs import Runs
from wawp_exporter.log.sizes import Sizes
from wawp_exporter.log.states import Restored, States
from wawp_exporter.log.timeless import TimelessKeys
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Memory
from wawp_exporter.model.shard import Shard

WHOLE = Shard()


class Log:
    """An open event log. Raises LogError for any error of the database.

    A log in PostgreSQL is `shared`: replicas append to it side by side, each of them follows it, and restores and
    follows the sources of its shard only.
    """

    def __init__(self, place: Place, shard: Shard = WHOLE) -> None:
        self.place = place
        self.database = database = Database(place, shard)
        self.shared = database.shared
        self.names = database.names
        self.timeless = TimelessKeys(database)
        self.states = States(database)
        self.judgements = Judgements(database)
        self.deletions = Deletions(database)
        self.admission = Admission(database, self.states)
        self.feed = Feed(database)
        self.last_seen = LastSeenTable(database)
        self.messages = MessageTables(database)
        self.acceptances = Acceptances(database)
        self.leases = Leases(database)
        self.actions = ActionTable(database)
        self.runs = Runs(database)
        self.retention = Retention(database)
        self.sizes = Sizes(database)
        self._appender = Appender(database, self.timeless)

    @property
    def shard(self) -> Shard:
        """What this replica restores and follows."""
        return self.database.shard

    def append(self, events: Sequence[StatusEvent], max_names: int = UNLIMITED, *, now: int | None = None) -> Appended:
        """`Appender.append`: a batch is on disk when this returns."""
        return self._appender.append(events, max_names, now=now)

    def save(
        self,
        memories: Sequence[tuple[Key, Memory]],
        seq: int,
        *,
        covers: bool = True,
        change: int | None = None,
        sources: Collection[str] | None = None,
        judgement: Judgement | None = None,
    ) -> None:
        """`States.save`: keeps what the fold of the log up to row `seq` knows of sessions, and what is judged of them.

        All of it or nothing, so that a start finds one state.
        """
        with self.database.writing() as writer:
            self.states.save(writer, memories, seq, covers=covers, change=change, sources=sources)
            if judgement:
                self.judgements.keep(writer, judgement)

    def restore(self, sources: Sequence[str]) -> Restored:
        """`States.restore`: every session of these sources, as a start needs it."""
        return self.states.restore(sources)

    def forget(self, key: Key, tombstone: int) -> int:
        """`Deletions.delete`: a session is deleted at `tombstone`."""
        return self.deletions.delete(key, tombstone)

    def close(self) -> None:
        """Closes all connections, and lets other processes open the log."""
        self.feed.close()
        self.database.close()
