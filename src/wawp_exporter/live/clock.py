"""The wall clock, as the service reads it."""

import time


def unix_now() -> int:
    """The time of day in Unix ms."""
    return time.time_ns() // 1_000_000
