"""What the service does about sessions (restarts), noted in the log before it is begun and when it has ended."""

from collections.abc import Callable, Sequence

from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.log_access import LogAccess
from wawp_exporter.log.actions import Action
from wawp_exporter.model.rules import Key


class Actions:
    """Belongs to the event loop. All of it raises LogError."""

    def __init__(self, access: LogAccess) -> None:
        self._access = access
        self._log = access.log

    async def claim(
        self, key: Key, alert: str, judge: Callable[[Sequence[Action]], str], kind: str = "restart"
    ) -> Action:
        """Notes what is about to be done about a session, or why not (`ActionTable.claim`)."""
        return await self._access.write(self._log.actions.claim, key, kind, alert, unix_now(), judge)

    async def conclude(self, number: int, result: str) -> None:
        """Notes what came of it."""
        await self._access.write(self._log.actions.conclude, number, result)

    async def conclude_cut_off(self, before: int) -> int:
        """Notes that actions begun before `before` (Unix ms) which still run were interrupted; how many."""
        return await self._access.write(self._log.actions.conclude_cut_off, before)
