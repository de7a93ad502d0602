"""Forgets the sessions that a gateway does not know any more."""

import random
from collections.abc import Set

import structlog

from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.gateway import Gateway
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.model.session import Session

MAX_ASKED = 20  # absent sessions that are asked for one by one in a look

logger = structlog.get_logger()


class Absent:
    """The sessions of one source that its gateway did not list when it was last asked."""

    def __init__(self, source: str, gateway: Gateway, ingest: Ingest) -> None:
        self.source = source
        self._gateway = gateway
        self._ingest = ingest
        self._names: set[str] = set()

    def clear(self) -> None:
        """The gateway was restarted: what it listed while it started counts for nothing."""
        self._names.clear()

    async def forget(self, listed: Set[str], asked: int) -> None:
        """Deletes what was absent in this look and in the one before, and what the gateway says it does not know.

        Both: a list that is empty or short may be another service's, or what a key may see of it, or what a gateway
        has loaded since it started.
        """
        mine = [session for key, session in self._ingest.fleet.sessions.items() if key[0] == self.source]
        absent = {session.name for session in mine if session.name not in listed and not came_since(session, asked)}
        twice = list(absent & self._names)
        forgotten = set()
        for name in random.sample(twice, min(len(twice), MAX_ASKED)):
            if await self._is_unknown(name) and not self._came_since(name, asked):
                await self._ingest.forget((self.source, name))
                forgotten.add(name)
                logger.info("session forgotten, the gateway does not know it", source=self.source)
        self._names = absent - forgotten

    async def _is_unknown(self, name: str) -> bool:
        """Whether the gateway says of a session that it does not know it; any other answer says nothing."""
        try:
            return await self._gateway.status(name) is None
        except GatewayError:
            return False

    def _came_since(self, name: str, asked: int) -> bool:
        session = self._ingest.fleet.sessions.get((self.source, name))
        return session is None or came_since(session, asked)


def came_since(session: Session, asked: int) -> bool:
    """Whether an event came after a reading was asked for, so that the reading may be older than the event."""
    return max(session.last_event, session.state.at) >= asked
