"""Deletes sessions, durably first."""

from wawp_exporter.errors import LogError, LogUnavailable
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.folding import Folding
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.log.database import Mark
from wawp_exporter.model.rules import Key


class Deleting:
    """Belongs to the event loop. `pending` are the times (Unix ms) of deletions that are not folded yet."""

    def __init__(self, folding: Folding, access: LogAccess) -> None:
        self.pending: list[int] = []
        self._folding = folding
        self._access = access

    async def delete(self, key: Key) -> None:
        """Deletes a session as of now. Raises LogUnavailable."""
        tombstone = unix_now()
        self.pending.append(tombstone)
        try:
            self._folding.delete(key, tombstone, await self._access.write(self._write, key, tombstone))
        except LogError as error:
            self._access.failed("could not delete the session", error)
            raise LogUnavailable() from None
        finally:
            self.pending.remove(tombstone)

    def _write(self, key: Key, tombstone: int) -> Mark:
        log = self._access.log
        buried = log.forget(key, tombstone)
        return Mark(buried, log.database.end.change)
