"""The event log as tests need it: a whole pass of retention at once, and the view that other programs may read."""

from typing import Any

import sqlalchemy as sa

from wawp_exporter.log.log import Log
from wawp_exporter.log.retention import LEASE, LEASE_S, MOST


def purge_all(log: Log, before: int, limit: int = MOST) -> int:
    """Deletes events received before `before` (Unix ms), slice after slice; how many."""
    one_pass = log.retention.purging(before, limit)
    if log.leases.take(LEASE, LEASE_S):
        while (doomed := one_pass.look()) is not None:
            one_pass.take(doomed)
    return one_pass.gone


def transitions_of(log: Log, source: str, name: str) -> list[sa.Row[Any]]:
    """The transitions of one session, oldest first, by the view `transitions` of the database."""
    view = sa.table("transitions", *(sa.column(c) for c in ("source", "session", "from_status", "status", "at")))
    where = sa.and_(view.c.source == source, view.c.session == name)
    with log.database.engine.connect() as reader:
        return list(reader.execute(sa.select(view).where(where)))
