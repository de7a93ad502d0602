"""The state of each session: kept from time to time (`save`), and read at a start (`restore`) or when it is needed.

What the state table holds is a copy. The events decide: those that came after the copy are folded onto it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database, Mark
from wawp_exporter.log.names import FOLDED, OVER
from wawp_exporter.log.onward import advance, unborn
from wawp_exporter.log.replay import actual, anchor, fold_session, grave_at, owner_of, refold
from wawp_exporter.log.tables import change, event, session, state, watermark
from wawp_exporter.model.machine import State
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import FIRST_LIFE, Grave, Memory, decode_memory

REMEMBERED = (
    sa.select(
        session.c.id,
        session.c.source,
        session.c.name,
        session.c.tombstone,
        session.c.buried,
        session.c.standing,
        state.c.memory,
        state.c.seq,
    )
    .join_from(session, state, session.c.id == state.c.session_id, isouter=True)
    .where(session.c.standing != int(OVER))
    .execution_options(yield_per=2000)  # fetching rows one by one takes twice as long
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start needs: every session's memory, the tombstones, and where the log ended when it was read.

    `saved` are memories as the state table has them, not decoded; `refolded` are those with events after their copy in
    the table, and `before` has what they were at `covered` (None: they were not), as far as the table tells it.
    `tombstones` are in Unix ms; `buried` has the newest row at the deletion of each session that has one.
    """

    saved: dict[Key, str]
    refolded: dict[Key, Memory]
    tombstones: dict[Key, int]
    mark: Mark
    buried: dict[Key, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    covered: dict[str, Mark] = field(default_factory=dict)
    before: dict[Key, tuple[Memory | None, Grave]] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        """The newest row of the log."""
        return self.mark.seq


class States:
    """Owns the state table and the watermarks, which say up to where the table covers the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- writing ------------------------------------------------------------------------------------------------

    def save(
        self,
        writer: sa.Connection,
        memories: Sequence[tuple[Key, Memory]],
        seq: int,
        *,
        covers: bool = True,
        change: int | None = None,
        sources: Collection[str] | None = None,
    ) -> None:
        """Saves memories that are the fold of the log up to row `seq`. Raises LogError.

        With `covers` these were the last unsaved ones of `sources` (of all sources without them): a start then folds
        only what came after row `seq` and change `change`.
        """
        self.keep(writer, memories, seq)
        if covers:
            self._cover(writer, Mark(seq, self._database.end.change if change is None else change), sources)

    def keep(self, writer: sa.Connection, memories: Sequence[tuple[Key, Memory]], seq: int) -> None:
        """Writes memories of the log up to row `seq`; those of unknown names are left out."""
        known = self._database.names.known(writer, [key for key, _ in memories])
        # All replicas write rows in the same order: else two could wait for each other's rows.
        rows = sorted(
            (known[key], memory.state.oldest, msgspec.json.encode(memory).decode(), seq)
            for key, memory in memories
            if key in known
        )
        if rows:
            writer.execute(self._database.statements.upsert_state, {"rows": msgspec.json.encode(rows).decode()})

    def _cover(self, writer: sa.Connection, end: Mark, sources: Collection[str] | None) -> None:
        """Moves the watermark of each source forward."""
        if sources is None:
            sources = list(writer.scalars(sa.select(session.c.source).distinct()))
        shard = self._database.shard
        marks = [
            {"total": shard.total, "shard": shard.index, "source": source, "seq": end.seq, "change": end.change}
            for source in sorted(sources)
        ]
        if marks:
            mark = self._database.statements.insert(watermark).values(marks)
            excluded = mark.excluded
            writer.execute(
                mark.on_conflict_do_update(
                    index_elements=["total", "shard", "source"],
                    set_={"seq": excluded.seq, "change": excluded.change},
                    where=sa.or_(watermark.c.seq < excluded.seq, watermark.c.change < excluded.change),
                )
            )

    # -- reading ------------------------------------------------------------------------------------------------

    def restore(self, sources: Sequence[str]) -> Restored:
        """The memories of all sessions of `sources`; those with events after the watermark are folded from the log.

        Raises LogError.
        """
        database = self._database
        with database.reading() as reader:
            mark = database.newest_mark(reader) if database.shared else database.end
            covered = self._covered(reader, sources)
            found = Restored({}, {}, {}, mark, sources=tuple(sources), covered=covered)
            changed = self._changed(reader, covered)
            stale, behind = self._stale(reader, covered), []
            shared = {source: source for source in sources}  # one text for all sessions
            names, folded = database.names.ids, int(FOLDED)
            rows = reader.execute(REMEMBERED.where(session.c.source.in_(sources)))
            for row in chain.from_iterable(rows.partitions()):
                # Unpacked: of 100,000 sessions the attributes of the rows alone would take a tenth of a second.
                number, source, name, tombstone, _, standing, memory, _ = row
                key = (shared[source], name)
                if standing == folded:
                    names[key] = number
                if number in stale or changed.get(number, 0) > covered[source].change:
                    behind.append((key, row))
                elif memory and (not tombstone or actual(row, decode_memory(memory))):
                    found.saved[key] = memory
                if tombstone:
                    found.tombstones[key], found.buried[key] = tombstone, row.buried
            self._refold(reader, behind, changed, found)
        return found

    def _refold(
        self, reader: sa.Connection, behind: Sequence[tuple[Key, Any]], changed: dict[int, int], found: Restored
    ) -> None:
        """Folds onto what was saved of sessions what came later."""
        newest = max(found.covered.values(), default=Mark())
        memories = {row.id: actual(row, decode_memory(row.memory) if row.memory else None) for _, row in behind}
        unknown = [row.id for _, row in behind if memories[row.id] is None and not row.tombstone]
        new = unborn(reader, unknown, newest)
        plain: dict[int, tuple[Memory | None, Grave]] = {}
        for key, row in behind:
            memory, mine = memories[row.id], found.covered[key[0]]
            # What was saved behind the place may lack a correction.
            known = row.id in new if memory is None else row.seq <= mine.seq
            if known and changed.get(row.id, 0) <= mine.change and mine == newest:
                found.before[key] = plain[row.id] = memory, Grave(row.tombstone, row.buried)
        advanced = advance(reader, plain, newest)
        for key, row in behind:
            anew = advanced.get(row.id) or refold(
                reader, row.id, Grave(row.tombstone, row.buried), memories[row.id], found.covered[key[0]].seq
            )
            if anew:
                found.refolded[key] = anew

    def _covered(self, reader: sa.Connection, sources: Collection[str]) -> dict[str, Mark]:
        """Up to where the state table covers the log, by source: as far as any shard that held the source has saved."""
        covered = dict.fromkeys(sources, Mark())
        for row in reader.execute(sa.select(watermark).where(watermark.c.source.in_(sources))):
            covered[row.source] = max(covered[row.source], Mark(row.seq, row.change))
        return covered

    def _certain(self, reader: sa.Connection, row: Any) -> int:
        """Up to which row a saved memory is certain: one that was saved behind the watermark may lack a correction."""
        return min(row.seq or 0, self._covered(reader, [row.source])[row.source].seq)

    def _changed(self, reader: sa.Connection, covered: dict[str, Mark]) -> dict[int, int]:
        """The newest change of each session, by row id, of those that the state table may not cover."""
        oldest = min((mark.change for mark in covered.values()), default=0)
        newest = sa.select(change.c.session_id, sa.func.max(change.c.id)).where(change.c.id > oldest)
        return {row[0]: row[1] for row in reader.execute(newest.group_by(change.c.session_id))}

    def _stale(self, reader: sa.Connection, covered: dict[str, Mark]) -> set[int]:
        """The row ids of sessions with events that the state table does not cover.

        These are the sessions of the last moments before a crash, and those of a source that was not configured for a
        while.
        """
        stale: set[int] = set()
        newest = max(covered.values(), default=Mark())
        for mark in set(covered.values()):
            of = [source for source, mine in covered.items() if mine == mark]
            owners = sa.select(session.c.id).where(session.c.source.in_(of))
            # Not `distinct`: it would make SQLite walk the index of the whole log. For sources that are far behind,
            # `+ 0` makes the database find rows by session: by number it would read all that other sources have sent.
            number = event.c.seq if mark == newest else event.c.seq + 0
            rows = sa.select(event.c.session_id).where(number > mark.seq)
            if len(set(covered.values())) > 1:
                rows = rows.where(event.c.session_id.in_(owners))
            stale.update(reader.scalars(rows))
        return stale

    def recollect(self, key: Key, mark: Mark) -> tuple[Memory | None, Grave]:
        """As `look`, at a place of the log, with the deletion that counted there. Raises LogError."""
        with self._database.reading() as reader:
            found = reader.execute(REMEMBERED.where(session.c.source == key[0], session.c.name == key[1])).first()
            if found is None:
                return None, FIRST_LIFE
            grave = grave_at(reader, found, mark.change)
            memory = decode_memory(found.memory) if found.memory and found.seq < mark.seq else None
            if memory and (memory.state.at <= grave.at or found.seq <= grave.seq):
                memory = None  # of the life before
            covered = self._certain(reader, found) if memory else 0
            return refold(reader, found.id, grave, memory, covered, mark.seq, mark.change), grave

    def fold(
        self,
        key: Key,
        tombstone: int = 0,
        seq: int | None = None,
        buried: int = 0,
        number: int | None = None,
    ) -> State | None:
        """One session's state by its events up to row `seq`, in order of (at, tie), then arrival. Raises LogError.

        Only events that can matter are read: WORKING ends everything before it. `tombstone` (Unix ms) and `buried` are
        of its deletion, if it was deleted. With `number` the rows are as they were after the change of that number.
        """
        grave = Grave(tombstone, buried)
        with self._database.reading() as reader:
            owner = self._database.names.ids.get(key) or owner_of(reader, key)
            since = anchor(reader, owner, grave, seq)
            return fold_session(reader, owner, grave, since=since, seq=seq, number=number)

    def look(self, key: Key, seq: int | None = None) -> Memory | None:
        """A session's memory by the log up to row `seq`; None for an unknown or deleted session. Raises LogError."""
        with self._database.reading() as reader:
            found = reader.execute(REMEMBERED.where(session.c.source == key[0], session.c.name == key[1])).first()
            if found is None:
                return None
            memory = actual(found, decode_memory(found.memory) if found.memory else None)
            grave = Grave(found.tombstone, found.buried)
            covered = self._certain(reader, found) if memory else 0
            return refold(reader, found.id, grave, memory, covered, seq)
