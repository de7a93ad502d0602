"""Long work on the event loop, in turns."""

import asyncio
import time

TURN_S = 0.002


class Pace:
    """Whoever has much to do asks `over` often: after TURN_S it is time to `rest`, so that others get their turn."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether this turn has been long enough."""
        return time.perf_counter() - self._began >= TURN_S

    async def rest(self) -> None:
        """Lets others work, and begins the next turn."""
        await asyncio.sleep(0)
        self._began = time.perf_counter()
