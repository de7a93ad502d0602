"""When a webhook of each source was last accepted: written by each replica, read by the others."""

from collections.abc import Mapping

import sqlalchemy as sa

from wawp_exporter.log.database import Database
from wawp_exporter.log.tables import acceptance


class Acceptances:
    """The table of acceptances. Only a shared log has use for it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def share(self, times: Mapping[str, int]) -> dict[str, int]:
        """Writes when this replica accepted webhooks of some sources (Unix ms); returns the newest time of all sources.

        Raises LogError.
        """
        with self._database.writing() as writer:
            if times:
                # All replicas write in the same order: else two could wait for each other's rows.
                rows = [{"source": source, "at": at} for source, at in sorted(times.items())]
                upsert = self._database.statements.insert(acceptance).values(rows)
                newer = upsert.excluded.at > acceptance.c.at
                writer.execute(
                    upsert.on_conflict_do_update(
                        index_elements=["source"], set_={"at": upsert.excluded.at}, where=newer
                    )
                )
            return {row.source: row.at for row in writer.execute(sa.select(acceptance))}
