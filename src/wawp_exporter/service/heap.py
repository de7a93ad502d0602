"""Memory that nobody uses goes back to the system."""

import ctypes
from collections.abc import Callable


def find_trim() -> Callable[[int], int] | None:
    """`malloc_trim` of glibc; other C libraries have none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None


TRIM = find_trim()


def trim() -> None:
    """Gives it back: after thousands of TLS handshakes at once glibc would keep 100 MB and more of it for ever."""
    if TRIM:
        TRIM(0)
