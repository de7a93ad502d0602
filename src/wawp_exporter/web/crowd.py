"""The connections of one listener: how many there may be, and which one is closed when there are too many."""

import resource
from typing import Protocol

MAX_CONNECTIONS = 1000  # of one listener
RESERVED_DESCRIPTORS = 192  # for the log, the gateways, and what is about to be accepted or closed


class Member(Protocol):
    """A connection."""

    def evict(self) -> None:
        """Closes it, since another one needs its place."""


class Crowd:
    """Knows which connections can be closed: the idle ones, and those whose request is not whole yet.

    Both are in the order in which that began. A connection in neither has a request in progress and is never closed.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._all: set[Member] = set()
        self._idle: dict[Member, None] = {}
        self._coming: dict[Member, None] = {}

    def enter(self, member: Member) -> None:
        """A connection was made; of too many the longest idle goes, else the slowest, which may be this one."""
        self._all.add(member)
        self.coming(member)
        if len(self._all) > self.limit:
            victim = next(iter(self._idle or self._coming))
            self.leave(victim)
            victim.evict()

    def coming(self, member: Member) -> None:
        """A request has begun."""
        self._idle.pop(member, None)
        self._coming[member] = None

    def busy(self, member: Member) -> None:
        """A request is whole and has to be answered."""
        self._idle.pop(member, None)
        self._coming.pop(member, None)

    def idle(self, member: Member) -> None:
        """The request was answered, and nothing has come since."""
        self._idle[member] = None

    def leave(self, member: Member) -> None:
        """The connection is closed, or about to be."""
        self.busy(member)
        self._all.discard(member)


def connection_limit(listeners: int) -> int:
    """How many connections each of so many listeners may have, by the file descriptors that this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, (soft - RESERVED_DESCRIPTORS) // listeners))
