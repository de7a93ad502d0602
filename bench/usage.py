"""What a process has used, as Linux tells it."""

import os
import re
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Bytes of memory in use."""
    return memory(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes of memory that were in use."""
    return memory(pid, "VmHWM")


def memory(pid: int, name: str) -> int:
    """Bytes, by the name of the line in `status`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status).group(1)) * 1024  # type: ignore[union-attr]  # always there
