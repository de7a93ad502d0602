"""Memory that was in use for a moment goes back to the system."""

from pathlib import Path

import pytest

from wawp_exporter.service.heap import TRIM, trim

MIB = 1 << 20


def resident() -> int:
    """What this process has of the machine's memory, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.skipif(TRIM is None, reason="another C library")
def test_what_was_freed_is_given_back() -> None:
    """Thousands of connections at once must not take the memory of the container for ever."""
    blocks = [b"x" * (40_000 + number % 1000) for number in range(3000)]
    # What is used at the end of the heap keeps the C library from giving back what lies before it.
    kept = blocks[::100]
    blocks.clear()
    before = resident()

    trim()

    assert before - resident() > 50 * MIB
    assert len(kept) == 30
