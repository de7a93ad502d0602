"""The rendered lines of sessions, kept in pages."""

from collections.abc import Callable, Mapping, Sequence

from wawp_exporter.metrics.families import (
    FAMILY_COUNT,
    LAST_EVENT_FAMILY,
    SECONDS_FAMILY,
    SESSION_FAMILIES,
    STAY_INDEX,
    restricted_lines,
)
from wawp_exporter.metrics.gzip_pieces import Piece, pack
from wawp_exporter.metrics.text import escape
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.bucket import ORDINAL
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Rank, Session

PAGE_SIZE = 64
TROUBLED_SHARE = 2  # of metrics.max_sessions: so many sessions in trouble may have series


class Entry:
    """A session's kept lines, one byte string per family, and what the lines that move with time are made of."""

    __slots__ = ("base", "event_line", "labels", "lines", "page", "seconds_line", "session")

    def __init__(self, session: Session, page: "Page") -> None:
        self.session = session
        self.page = page
        self.labels = f'source="{escape(session.source)}",session="{escape(session.name)}"'
        self.lines: tuple[bytes, ...] = ()
        self.seconds_line = b""
        self.event_line = self._template(f"{LAST_EVENT_FAMILY.name}{{{self.labels}}}")
        self.base = 0.0

    @staticmethod
    def _template(series: str) -> bytes:
        return series.replace("%", "%%").encode() + b" %.3f\n"

    def render(self, histograms: bool, now: int) -> set[int]:
        """Renders all lines; returns the indexes of the families that changed."""
        session, labels = self.session, self.labels
        lines = [
            b"" if index == STAY_INDEX and not histograms else lines_of(session, labels).encode()
            for index, (_, lines_of) in enumerate(SESSION_FAMILIES)
        ]
        lines.append(restricted_lines(session, labels, now).encode())
        status = session.state.status
        series = f'{SECONDS_FAMILY.name}{{{labels},status="{status.value}"}}'
        self.seconds_line = self._template(series)
        self.base = session.seconds[ORDINAL[status]] - session.mark
        old = self.lines or (None,) * len(lines)
        # Equal lines keep their old object, so that `is` tells which families changed.
        self.lines = tuple(a if a is not None and a == b else b for a, b in zip(old, lines, strict=True))
        return {index for index, (a, b) in enumerate(zip(old, self.lines, strict=True)) if a is not b}


class View:
    """A page as it was at one moment; it never changes, but keeps its compressed forms once they are made."""

    __slots__ = ("bases", "event_lines", "labels", "lines", "pieces", "seconds_lines", "sessions")

    def __init__(self, entries: Sequence[Entry], pieces: list[Piece | None]) -> None:
        self.sessions = tuple(entry.session for entry in entries)
        self.lines = tuple(entry.lines for entry in entries)
        self.pieces = pieces
        self.seconds_lines = tuple(entry.seconds_line for entry in entries)
        self.event_lines = tuple(entry.event_line for entry in entries)
        self.bases = tuple(entry.base for entry in entries)
        self.labels = tuple(entry.labels for entry in entries)

    def text(self, index: int) -> bytes:
        """The lines of one family."""
        return b"".join([lines[index] for lines in self.lines])

    def piece(self, index: int) -> Piece:
        """The lines of one family as a piece of a gzip stream."""
        piece = self.pieces[index]
        if piece is None:
            piece = self.pieces[index] = pack(self.text(index))
        return piece

    def seconds(self, mono: float) -> bytes:
        """The seconds of the current statuses at `mono`."""
        return b"".join(self.seconds_lines) % tuple([base + mono for base in self.bases])

    def last_events(self) -> bytes:
        """When each session was last heard of."""
        return b"".join(self.event_lines) % tuple([session.last_event / 1000 for session in self.sessions])

    def messages(self, activities: Mapping[Key, Activity], lines_of: Callable[[str, Activity], str]) -> bytes:
        """The lines of one family about the messages of its sessions."""
        known = zip(self.labels, [activities.get(session.key) for session in self.sessions], strict=True)
        return "".join([lines_of(labels, activity) for labels, activity in known if activity]).encode()


class Page:
    """Up to PAGE_SIZE entries, and the view of them that holds until one changes."""

    __slots__ = ("changed", "entries", "stale", "view")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.stale: set[Key] = set()
        self.changed: set[int] = set()
        self.view = View((), [None] * FAMILY_COUNT)

    def refresh(self, histograms: bool, now: int) -> None:
        """Renders the stale entries and makes a new view that keeps the pieces of unchanged families."""
        for key in self.stale:
            self.changed |= self.entries[key].render(histograms, now)
        pieces = [None if index in self.changed else piece for index, piece in enumerate(self.view.pieces)]
        self.view = View(tuple(self.entries.values()), pieces)
        self.stale, self.changed = set(), set()


class Shelf:
    """The pages, and which sessions are in them: all while there is room, else those of the first ranks."""

    def __init__(self) -> None:
        self.pages: dict[Page, None] = {}
        self.dirty: dict[Page, None] = {}
        self._open: dict[Page, None] = {}
        self._entries: dict[Key, Entry] = {}
        self._ranks: dict[Key, Rank] = {}
        self._shown: dict[Rank, dict[Key, None]] = {rank: {} for rank in Rank}
        self._hidden: dict[Rank, dict[Key, Session]] = {rank: {} for rank in Rank}

    @property
    def dropped(self) -> int:
        """How many sessions there was no room for."""
        return sum(len(sessions) for sessions in self._hidden.values())

    def place(self, key: Key, session: Session | None, limit: int) -> None:
        """Moves a session that changed to where its rank belongs; None removes it."""
        rank = session.rank if session else Rank.UNWANTED
        entry = self._entries.get(key)
        old = self._ranks.get(key)
        if entry and rank is old and entry.session is session:
            entry.page.stale.add(key)
            self.dirty[entry.page] = None
            return
        if old is not None:
            self._hidden[old].pop(key, None)
            self._shown[old].pop(key, None)
            del self._ranks[key]
        if rank is Rank.UNWANTED or session is None or (entry and entry.session is not session):
            self._remove(key)
        if rank is not Rank.UNWANTED and session is not None:
            self._ranks[key] = rank
            if key in self._entries:
                self._shown[rank][key] = None
                self._mark(self._entries[key])
            else:
                self._hidden[rank][key] = session
        self.balance(limit)

    def balance(self, limit: int) -> None:
        """Fills `limit` places, first rank first: STOPPED lose theirs, then WORKING; troubled may take twice as many.

        Of one rank, those that are shown stay, so that a flood of new names does not displace older sessions.
        """
        for rank in (Rank.TROUBLED, Rank.WORKING, Rank.STOPPED):
            hidden = self._hidden[rank]
            while hidden and self._make_room(rank, limit):
                key = next(iter(hidden))
                self._show(key, hidden.pop(key), rank)
        while len(self._entries) > limit and (worst := self._worse(Rank.TROUBLED)):
            self._hide(worst)
        while len(self._entries) > TROUBLED_SHARE * limit:
            self._hide(Rank.TROUBLED)

    def _make_room(self, rank: Rank, limit: int) -> bool:
        """Whether one more of this rank can be shown, after one of a worse rank was hidden for it where that helps."""
        if len(self._entries) < limit:
            return True
        worse = self._worse(rank)
        if worse:
            self._hide(worse)
            return True
        return rank is Rank.TROUBLED and len(self._entries) < TROUBLED_SHARE * limit

    def _worse(self, rank: Rank) -> Rank | None:
        """The worst rank that is shown and worse than `rank`."""
        worse = (Rank.STOPPED, Rank.WORKING) if rank is Rank.TROUBLED else (Rank.STOPPED,)
        candidates = [other for other in worse if other is not rank and self._shown[other]]
        return candidates[0] if candidates else None

    def _hide(self, rank: Rank) -> None:
        key, _ = self._shown[rank].popitem()
        self._hidden[rank][key] = self._entries[key].session
        self._remove(key)

    def _show(self, key: Key, session: Session, rank: Rank) -> None:
        page = next(iter(self._open), None)
        if page is None:
            page = Page()
            self.pages[page] = self._open[page] = None
        page.entries[key] = self._entries[key] = entry = Entry(session, page)
        if len(page.entries) >= PAGE_SIZE:
            del self._open[page]
        self._shown[rank][key] = None
        self._mark(entry)

    def _mark(self, entry: Entry) -> None:
        entry.page.stale.add(entry.session.key)
        self.dirty[entry.page] = None

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        page = entry.page
        del page.entries[key]
        page.stale.discard(key)
        page.changed.update(range(FAMILY_COUNT))
        self.dirty[page] = None
        self._open[page] = None
