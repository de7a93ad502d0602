"""What the judge has decided, kept with the fold: a start goes on with it, and judges only the rows behind it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa

from wawp_exporter.log.database import Database, Mark
from wawp_exporter.log.tables import judge, judged
from wawp_exporter.model.rules import Key
from wawp_exporter.model.verdicts import Memory

AT_ONCE = 1000  # sessions written with one statement
EVERYWHERE = ""  # stands for the source of outages of several sources


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is saved at one place of the log: the judge's memory by source (EVERYWHERE too), and of sessions.

    A session whose memory is None has none any more.
    """

    sources: Mapping[str, bytes]
    sessions: Mapping[Key, bytes | None]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Kept:
    """What was saved: by source the memory and up to where all is judged, and the memories of sessions."""

    sources: dict[str, bytes] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    sessions: dict[Key, bytes] = field(default_factory=dict)

    @property
    def judged_to(self) -> dict[str, int]:
        """The instant up to which time has passed for each source (Unix ms)."""
        return {source: msgspec.json.decode(memory, type=Memory).now for source, memory in self.sources.items()}


class Judgements:
    """Owns the tables `judge` and `judged`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def _everywhere(self) -> str:
        """The row of outages of several sources: each shard has its own. No source can have such a name."""
        shard = self._database.shard
        return EVERYWHERE if shard.total == 1 else f"/{shard.index}/{shard.total}"

    def keep(self, writer: sa.Connection, judgement: Judgement) -> None:
        """Writes it, unless another replica of the shard has written a later one."""
        memories = {name or self._everywhere: memory for name, memory in judgement.sources.items()}
        newest = sa.select(judge.c.seq, judge.c.change).where(judge.c.source.in_(list(memories)))
        if any(tuple(row) > judgement.mark for row in writer.execute(newest)):
            return
        gone = [list(key) for key, memory in judgement.sessions.items() if memory is None]
        there = [[*key, memory.decode()] for key, memory in judgement.sessions.items() if memory is not None]
        statements, mark = self._database.statements, judgement.mark
        for rows, statement in ((gone, statements.delete_judged), (there, statements.upsert_judged)):
            # In pieces, since while many rows are sorted and encoded no other thread runs.
            for start in range(0, len(rows), AT_ONCE):
                piece = sorted(rows[start : start + AT_ONCE])
                writer.execute(statement, {"rows": msgspec.json.encode(piece).decode()})
        sources = [[name, memory.decode(), *mark] for name, memory in sorted(memories.items())]
        writer.execute(statements.upsert_judge, {"rows": msgspec.json.encode(sources).decode()})

    def load(self, sources: Collection[str]) -> Kept:
        """What was saved of these sources. Raises LogError."""
        kept = Kept()
        with self._database.reading() as reader:
            for row in reader.execute(sa.select(judge).where(judge.c.source.in_([*sources, self._everywhere]))):
                name = EVERYWHERE if row.source == self._everywhere else row.source
                kept.sources[name], kept.marks[name] = row.memory.encode(), Mark(row.seq, row.change)
            known = sa.select(judged).where(judged.c.source.in_(list(sources))).order_by(*judged.primary_key)
            kept.sessions.update(((row.source, row.name), row.memory.encode()) for row in reader.execute(known))
        return kept
