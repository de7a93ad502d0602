"""Notices that files of the configuration have changed, and has it read again: a mounted Secret, a rotated file."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

from wawp_exporter.config.files import Stamps, stamp_of
from wawp_exporter.errors import WawpExporterError

logger = structlog.get_logger()

RENEW_S = 2  # from one look to the next


class Renewal:
    """Compares files with their stamps when they were last read, whether the configuration was taken or refused.

    A refused one is therefore logged once, and read again when one of its files changes again.
    """

    def __init__(self, stamps: Stamps, reload: Callable[[], Awaitable[None]]) -> None:
        self._read = stamps
        self._reload = reload
        self._last: Stamps = {}

    def tried(self, stamps: Stamps) -> None:
        """The configuration was read from these files."""
        self._read = stamps

    async def look(self) -> None:
        """Reads the configuration again once a changed file has stayed the same for one period.

        Until then somebody may be writing it: an empty file is no key, and a half of one is a wrong key.
        """
        read = self._read
        now = await asyncio.to_thread(stamps_of, read)
        changed = {path: stamp for path, stamp in now.items() if stamp != read[path]}
        settled, self._last = changed == self._last, changed
        if not changed or not settled or read is not self._read:
            return
        logger.info("files have changed, reading the configuration again", files=sorted(map(str, changed)))
        with contextlib.suppress(WawpExporterError):  # logged and shown in the metric by the reload itself
            await self._reload()
        if self._read is read:  # it did not come as far as reading them: not again until they change again
            self._read = now


def stamps_of(paths: Iterable[Path]) -> Stamps:
    """The files as they are now."""
    return {path: stamp_of(path) for path in paths}
