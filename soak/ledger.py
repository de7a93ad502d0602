"""What the gateways were promised: each acknowledged event, and each broken promise."""

import threading
from collections import Counter
from collections.abc import Iterable

Key = tuple[str, str, int, str]  # (source, session, time as sent in Unix ms, status): what makes a row of the log
Name = Key | str  # an event without a time of its own is known by its id
SHOWN = 10  # lines of one kind


class Ledger:
    """Kept by all threads of the soak."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.news: Counter[Name] = Counter()  # how often an event was acknowledged as news
        self.told: set[Key] = set()  # points in the history of acknowledged events
        self.answers: Counter[int] = Counter()
        self.broken: Counter[str] = Counter()

    def answered(self, status: int) -> None:
        """Counts an answer, 0 for none."""
        with self._lock:
            self.answers[status] += 1

    def acknowledged(self, name: Name, history: Iterable[Key], outcome: str) -> None:
        """An event was answered 200."""
        with self._lock:
            self.news[name] += outcome != "duplicate"
            self.told.update(history)
            twice = self.news[name] > 1
        if twice:
            self.break_("twice", f"{name} was acknowledged as news twice")

    def break_all(self, wrong: Iterable[tuple[str, str]]) -> None:
        """Several, each with its kind."""
        for kind, what in wrong:
            self.break_(kind, what)

    def break_(self, kind: str, what: str) -> None:
        """A promise was broken: a line for each, up to SHOWN of a kind."""
        with self._lock:
            self.broken[kind] += 1
            shown = self.broken[kind] <= SHOWN
        if shown:
            print(f"BROKEN [{kind}] {what}", flush=True)
