"""Which sessions have lines of their own: all while there is room, else those of the first ranks."""

from collections.abc import Iterable, Set

from wawp_exporter.metrics.page import Entry, Page
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Rank, Session

FEW = 16  # one of so many sessions
TROUBLED_SHARE = 2  # of metrics.max_sessions: so many sessions in trouble may have series


class Shelf:
    """The pages, and the sessions by rank: those that are shown, and those that there is no room for."""

    def __init__(self) -> None:
        self.pages: dict[Page, None] = {}
        self.dirty: dict[Page, None] = {}
        self._open: dict[Page, None] = {}
        self._shown: dict[Rank, dict[Key, Entry]] = {rank: {} for rank in Rank}
        self._hidden: dict[Rank, dict[Key, Session]] = {rank: {} for rank in Rank}

    @property
    def dropped(self) -> int:
        """How many sessions there was no room for."""
        return sum(map(len, self._hidden.values()))

    @property
    def count(self) -> int:
        """How many sessions are shown."""
        return sum(map(len, self._shown.values()))

    def place(self, key: Key, session: Session | None, limit: int) -> None:
        """Moves a session that changed to where its rank belongs; None removes it."""
        rank = session.rank if session else Rank.UNWANTED
        entry = self._shown[rank].get(key)
        if entry is None or entry.session is not session:
            self._move(key, session, rank)
            self.balance(limit)
        else:
            self._mark(entry)

    def hear(self, keys: Set[Key]) -> None:
        """These sessions may have been heard of. Of many it is cheaper to look at all."""
        if len(keys) * FEW > self.count:
            pages: Iterable[Page] = self.pages
        else:
            pages = [entry.page for shown in self._shown.values() for key in keys if (entry := shown.get(key))]
        for page in pages:
            page.view.heard = True

    def _move(self, key: Key, session: Session | None, rank: Rank) -> None:
        """Takes it out of the rank where it was; if it is the same session it keeps its place in its page."""
        entry = next((found for shown in self._shown.values() if (found := shown.pop(key, None))), None)
        for hidden in self._hidden.values():
            hidden.pop(key, None)
        wanted = session is not None and rank is not Rank.UNWANTED
        if entry and wanted and entry.session is session:
            self._shown[rank][key] = entry
            self._mark(entry)
            return
        if entry:
            self._remove(entry)
        if session and wanted:
            self._hidden[rank][key] = session

    def balance(self, limit: int) -> None:
        """Fills `limit` places, first rank first: STOPPED lose theirs, then WORKING; troubled may take twice as many.

        Of one rank, those that are shown stay, so that a flood of new names does not displace older sessions.
        """
        for rank in (Rank.TROUBLED, Rank.WORKING, Rank.STOPPED):
            hidden = self._hidden[rank]
            while hidden and self._make_room(rank, limit):
                key = next(iter(hidden))
                self._show(key, hidden.pop(key), rank)
        while self.count > limit and (worst := self._worse(Rank.TROUBLED)):
            self._hide(worst)
        while self.count > TROUBLED_SHARE * limit:
            self._hide(Rank.TROUBLED)

    def _make_room(self, rank: Rank, limit: int) -> bool:
        """Whether one more of this rank can be shown, after one of a worse rank was hidden for it where that helps."""
        if self.count < limit:
            return True
        worse = self._worse(rank)
        if worse:
            self._hide(worse)
            return True
        return rank is Rank.TROUBLED and self.count < TROUBLED_SHARE * limit

    def _worse(self, rank: Rank) -> Rank | None:
        """The worst rank that is shown and worse than `rank`."""
        worse = (Rank.STOPPED, Rank.WORKING) if rank is Rank.TROUBLED else (Rank.STOPPED,)
        candidates = [other for other in worse if other is not rank and self._shown[other]]
        return candidates[0] if candidates else None

    def _hide(self, rank: Rank) -> None:
        key, entry = self._shown[rank].popitem()
        self._hidden[rank][key] = entry.session
        self._remove(entry)

    def _show(self, key: Key, session: Session, rank: Rank) -> None:
        page = next(iter(self._open), None)
        if page is None:
            page = Page()
            self.pages[page] = self._open[page] = None
        self._shown[rank][key] = page.add(session)
        self.dirty[page] = None
        if not page.free:
            del self._open[page]

    def _mark(self, entry: Entry) -> None:
        entry.page.stale.add(entry.place)
        self.dirty[entry.page] = None

    def _remove(self, entry: Entry) -> None:
        entry.page.remove(entry)
        self.dirty[entry.page] = None
        self._open[entry.page] = None
