"""What tests let the reader do; its process imports hardly more than this module, so that it starts soon."""

import os
import time
from pathlib import Path

from wawp_exporter.errors import LogError


def hold(folder: Path, name: str) -> str:
    """A read that says that it has begun, and ends when the file `go` is there."""
    (folder / name).touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return name


def process_id() -> int:
    """In which process a read runs."""
    return os.getpid()


def fail() -> None:
    """A read that the log refuses."""
    raise LogError("cannot read")
