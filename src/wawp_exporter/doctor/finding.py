"""What was found at one link of the chain."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a link is."""

    OK = "ok"
    BROKEN = "broken"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One link: its name, its state, one line about it, and for a broken one the lines that say what to do."""

    link: str
    state: State
    says: str
    advice: tuple[str, ...] = ()


def printable(text: str) -> str:
    """A line as a terminal may show it: what other services say can hold control characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def ok(link: str, says: str) -> Finding:
    """A link that works."""
    return Finding(link, State.OK, says)


def broken(link: str, says: str, *advice: str) -> Finding:
    """A link that does not work, and how to repair it."""
    return Finding(link, State.BROKEN, says, advice)


def skipped(link: str, says: str, *advice: str) -> Finding:
    """A link that was not looked at, and why."""
    return Finding(link, State.SKIPPED, says, advice)
