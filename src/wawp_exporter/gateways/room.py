"""How many tasks may do something at once, when the limit can change meanwhile."""

import asyncio


class Closed(Exception):
    """The room is closed."""


class Room:
    """Lets at most `limit` in at once; the limit may change meanwhile."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._closed = False
        self._changed = asyncio.Event()

    def resize(self, limit: int) -> None:
        """Takes another limit; whoever is in stays in."""
        self._limit = limit
        self._changed.set()

    def close(self) -> None:
        """Raises Closed for those that wait or come later."""
        self._closed = True
        self._changed.set()

    async def __aenter__(self) -> None:
        """Waits until there is room. Raises Closed."""
        while self._inside >= self._limit and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        if self._closed:
            raise Closed
        self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        """Makes room for the next."""
        self._inside -= 1
        self._changed.set()
