"""A page of sessions: their lines, packed family by family, and unpacked only when one of them has changed.

Of a session nothing else is kept: the text of all its lines is twenty times larger than what a page has of it packed.
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from wawp_exporter.metrics.families import (
    FAMILY_COUNT,
    LAST_EVENT_FAMILY,
    MESSAGE_FAMILIES,
    SECONDS_FAMILY,
    SESSION_FAMILIES,
    STAY_INDEX,
    restricted_lines,
)
from wawp_exporter.metrics.gzip_pieces import NOTHING, Piece, pack, unpack
from wawp_exporter.metrics.text import escape
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.bucket import ORDINAL
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session

PAGE_SIZE = 64
SECONDS, LAST_EVENT = FAMILY_COUNT, FAMILY_COUNT + 1  # indexes of the templates of lines that move with time


class Entry:
    """A session's place in a page."""

    __slots__ = ("page", "place", "session")

    def __init__(self, session: Session, page: "Page", place: int) -> None:
        self.session = session
        self.page = page
        self.place = place


class View:
    """A page as it was at one moment: it never changes, but for what is heard of its sessions.

    `heard` says that something may have been heard of one of them since that was packed.
    """

    __slots__ = ("_bases", "_moving", "_sessions", "heard", "pieces", "templates")

    def __init__(self, sessions: Sequence[Session], pieces: Sequence[Piece], templates: Sequence[bytes]) -> None:
        self._sessions = sessions
        self.pieces = pieces
        self.templates = templates
        self._bases = array("d", [each.seconds[ORDINAL[each.state.status]] - each.mark for each in sessions])
        self._moving: list[Piece] = []
        self.heard = True

    def seconds(self, mono: float) -> bytes:
        """The seconds of the current statuses at `mono`."""
        return self.templates[0] % tuple([base + mono for base in self._bases])

    def moving(self, activities: Mapping[Key, Activity]) -> Sequence[Piece]:
        """The lines of each of the MOVING_FAMILIES: when its sessions were last heard of, and their messages."""
        if self.heard:
            self.heard = False
            last = self.templates[1] % tuple([session.last_event / 1000 for session in self._sessions])
            self._moving = [pack(last), *map(pack, messages(self._sessions, activities))]
        return self._moving


def messages(sessions: Sequence[Session], activities: Mapping[Key, Activity]) -> list[bytes]:
    """The lines of each of the MESSAGE_FAMILIES."""
    known = [(labels_of(each), activities[each.key]) for each in sessions if each.key in activities]
    return ["".join([lines_of(*each) for each in known]).encode() for _, lines_of in MESSAGE_FAMILIES]


EMPTY = View((), (NOTHING,) * FAMILY_COUNT, (b"", b""))


class Page:
    """PAGE_SIZE places for sessions, and the view of them that holds until one changes."""

    __slots__ = ("_lengths", "entries", "free", "stale", "view")

    def __init__(self) -> None:
        self.entries: list[Entry | None] = [None] * PAGE_SIZE
        self.free = list(reversed(range(PAGE_SIZE)))
        self.stale: set[int] = set()
        self.view = EMPTY
        # Of each family, and of the templates: how long the text of each place is.
        self._lengths = [array("I", bytes(4 * PAGE_SIZE)) for _ in range(FAMILY_COUNT + 2)]

    def add(self, session: Session) -> Entry:
        """Puts a session into a free place; there must be one."""
        place = self.free.pop()
        entry = self.entries[place] = Entry(session, self, place)
        self.stale.add(place)
        return entry

    def remove(self, entry: Entry) -> None:
        """Frees the place of a session."""
        self.entries[entry.place] = None
        self.free.append(entry.place)
        self.stale.add(entry.place)

    def refresh(self, histograms: bool, now: int) -> None:
        """Renders the stale places, and makes a new view that keeps what has not changed."""
        fresh = {place: rendered(self.entries[place], histograms, now) for place in self.stale}
        self.stale = set()
        texts = [{place: lines[index] for place, lines in fresh.items()} for index in range(FAMILY_COUNT + 2)]
        pieces = [self._repack(index, texts[index]) for index in range(FAMILY_COUNT)]
        templates = [
            splice(text, self._lengths[index], texts[index])
            for index, text in zip((SECONDS, LAST_EVENT), self.view.templates, strict=True)
        ]
        self.view = View([entry.session for entry in self.entries if entry], pieces, templates)

    def _repack(self, index: int, fresh: Mapping[int, bytes]) -> Piece:
        """The lines of one family with the fresh ones; the same piece if they are what they were."""
        piece = self.view.pieces[index]
        old = unpack(piece)
        new = splice(old, self._lengths[index], fresh)
        return piece if new is old else pack(new)


def splice(text: bytes, lengths: "array[int]", fresh: Mapping[int, bytes]) -> bytes:
    """A text with some of its parts replaced, and their lengths with them; the same object if nothing differs."""
    ends = [0, *accumulate(lengths)]
    if all(text[ends[place] : ends[place + 1]] == new for place, new in fresh.items()):
        return text
    parts = [text[start:end] for start, end in pairwise(ends)]
    for place, new in fresh.items():
        parts[place], lengths[place] = new, len(new)
    return b"".join(parts)


VACANT = (b"",) * (FAMILY_COUNT + 2)


def rendered(entry: Entry | None, histograms: bool, now: int) -> Sequence[bytes]:
    """The lines of a session, family by family, then the templates of those that move with time."""
    if entry is None:
        return VACANT
    session = entry.session
    labels = labels_of(session)
    lines = [
        "" if index == STAY_INDEX and not histograms else lines_of(session, labels)
        for index, (_, lines_of) in enumerate(SESSION_FAMILIES)
    ]
    lines.append(restricted_lines(session, labels, now))
    status = session.state.status.value
    series = (f'{SECONDS_FAMILY.name}{{{labels},status="{status}"}}', f"{LAST_EVENT_FAMILY.name}{{{labels}}}")
    lines += [f"{name.replace('%', '%%')} %.3f\n" for name in series]
    return [text.encode() for text in lines]


def labels_of(session: Session) -> str:
    """Which session it is."""
    return f'source="{escape(session.source)}",session="{escape(session.name)}"'
