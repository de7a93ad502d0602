"""What the API of every gateway can be asked."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from wawp_exporter.model.event import Status, normal


class Reading(msgspec.Struct, frozen=True):
    """A session as its gateway lists it: the status, "" if unusable; webhooks use one of `names`.

    `also` are the statuses that the gateway's word may mean as well: some APIs tell less than the webhooks do.
    `trouble` is why the gateway gave no status of this one session; `unnamed`: webhooks may use a name that is not in
    `names`, since the gateway never said it.
    """

    names: tuple[str, ...]
    status: str
    engine: str | None = None
    also: frozenset[Status] = frozenset()
    reason: str = ""
    trouble: str = ""
    unnamed: bool = False

    def fits(self, status: Status) -> bool:
        """Whether a session that is in `status` may be listed so."""
        return status is normal(self.status) or status in self.also


class Gateway(Protocol):
    """One gateway; its methods may be called side by side. To be closed."""

    instances: Sequence[str]

    async def close(self) -> None:
        """Ends its connections."""

    async def sessions(self) -> list[Reading]:
        """All sessions that the gateway knows, stopped ones too. Raises GatewayError."""

    async def status(self, session: str) -> str | None:
        """One session's status, None if the gateway does not know it. Raises GatewayError."""

    async def restart(self, session: str) -> None:
        """Restarts a session; returns when the gateway says that it did. Raises GatewayError."""

    async def qr(self, session: str) -> bytes | None:
        """The QR image as PNG, None while there is none. Raises GatewayError."""

    async def probe(self, session: str, number: str) -> bool:
        """Whether WhatsApp answered if the number (digits) has an account; False if the gateway says that it did not.

        Raises GatewayError if the gateway answered in another way, or not at all.
        """

    async def started_at(self) -> int | None:
        """When the gateway was started (Unix ms), None if it does not say. Raises GatewayError."""
