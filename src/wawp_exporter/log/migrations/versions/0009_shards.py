"""A source is whole on one shard. Before, its sessions were spread over all shards by a hash of their names.

A shard's mark of a source covered only its own sessions. Now it must cover all of them: the least mark of all shards
does. The column `slot` stays and is not read: replicas of the version before write it while they are replaced.
"""

import sqlalchemy as sa
from alembic import op

from wawp_exporter.errors import LogError

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

GONE_MS = 45_000  # a replica shows every 15 s that it runs


def upgrade() -> None:
    """Marks of several shards; those of one shard are right as they are. Raises LogError while older replicas run."""
    bind = op.get_bind()
    marks = bind.execute(sa.text("SELECT total, shard, source, seq, change FROM watermark WHERE total > 1")).all()
    if not marks:
        return
    refuse_while_running(bind)
    bind.execute(sa.text("DELETE FROM watermark WHERE total > 1"))
    of: dict[tuple[int, str], list[sa.Row[tuple[int, int, str, int, int]]]] = {}
    for mark in marks:
        of.setdefault((mark.total, mark.source), []).append(mark)
    least = [
        {
            "total": total,
            "shard": mark.shard,
            "source": source,
            "seq": min(each.seq for each in every),
            "change": min(each.change for each in every),
        }
        for (total, source), every in of.items()
        if len(every) == total  # else a shard has saved nothing, and its sessions are read from the log
        for mark in every
    ]
    if least:
        columns = "(total, shard, source, seq, change) VALUES (:total, :shard, :source, :seq, :change)"
        bind.execute(sa.text(f"INSERT INTO watermark {columns}"), least)


def refuse_while_running(bind: sa.Connection) -> None:
    """A replica of the version before would follow only some of the sessions of a source, and save marks for all."""
    now = bind.scalar(sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
    seen = bind.scalar(sa.text("SELECT max(seen_at) FROM run")) or 0
    if now - seen < GONE_MS:
        raise LogError(
            "replicas of an older version, which spreads a source over several shards, wrote to this log "
            f"{(now - seen) / 1000:.0f} s ago: stop all of them, wait {GONE_MS // 1000} s, and start this version"
        )
