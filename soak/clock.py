"""A wall clock that can be made to jump, for one process of the service; needs a C compiler once."""

import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

PATIENT_MS = 60_000  # docs/problems.md: of a clock that was farther ahead it does not wait for the time
SPARE_S = 10.0
SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """`environment` is what a process must be started with; `available` is False where there is no compiler.

    Until `waits_until` (monotonic) the judge may wait for the time that a clock has shown which was a little ahead.
    """

    def __init__(self, folder: Path) -> None:
        self.waits_until = 0.0
        self._file = folder / "clock"
        self._file.write_bytes(struct.pack("q", 0))
        library = folder / "clock.so"
        compiler = shutil.which(os.environ.get("CC", "gcc"))
        self.available = compiler is not None and compiled(compiler, library)
        self.environment = {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(self._file)} if self.available else {}

    def shift(self, ms: int) -> None:
        """Shows the process this many milliseconds more than the machine's clock, from now on."""
        if 0 < ms <= PATIENT_MS:
            self.waits_until = max(self.waits_until, time.monotonic() + ms / 1000 + SPARE_S)
        with self._file.open("r+b") as file:  # the same file: the process has it mapped
            file.write(struct.pack("q", ms))


def compiled(compiler: str, library: Path) -> bool:
    """Whether the library could be made."""
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
