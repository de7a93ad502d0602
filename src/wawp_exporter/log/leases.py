"""Leases: work that only one replica does at a time."""

import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.place import DATABASE_NOW
from wawp_exporter.log.tables import lease


class Leases:
    """Named leases, held by this process's replica. With SQLite there is one process, which holds all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, seconds: float) -> bool:
        """Takes a lease, or keeps it, for so many seconds; False while another replica holds it. Raises LogError."""
        if not self._database.shared:
            return True
        holder, until = self._database.holder, DATABASE_NOW + int(seconds * 1000)
        taken = self._database.statements.insert(lease).values(name=name, holder=holder, until=until)
        taken = taken.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": taken.excluded.holder, "until": taken.excluded.until},
            where=(lease.c.holder == holder) | (lease.c.until < DATABASE_NOW),
        )
        with self._database.writing() as writer:
            return bool(writer.execute(taken.returning(lease.c.name)).all())

    def release(self) -> None:
        """Gives back all leases, so that another replica can take them at once. Raises LogError."""
        if self._database.shared:
            with self._database.writing() as writer:
                writer.execute(sa.delete(lease).where(lease.c.holder == self._database.holder))
