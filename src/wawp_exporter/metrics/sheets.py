"""Lines by session, on sheets that are packed once and kept until one of their sessions changes."""

from collections.abc import Iterator

from wawp_exporter.metrics.gzip_pieces import Piece, pack
from wawp_exporter.model.rules import Key

SHEET_SIZE = 64


class Sheet:
    """The lines of up to SHEET_SIZE sessions."""

    __slots__ = ("_piece", "lines")

    def __init__(self) -> None:
        self.lines: dict[Key, bytes] = {}
        self._piece: Piece | None = None

    def put(self, key: Key, lines: bytes | None) -> None:
        """Sets, or with None removes, the lines of a session."""
        self._piece = None
        if lines is None:
            del self.lines[key]
        else:
            self.lines[key] = lines

    @property
    def piece(self) -> Piece:
        """All its lines."""
        if self._piece is None:
            self._piece = pack(b"".join(self.lines.values()))
        return self._piece


class Sheets:
    """The sheets of one metric and source."""

    def __init__(self) -> None:
        self._sheets: dict[Sheet, None] = {}
        self._open: dict[Sheet, None] = {}
        self._of: dict[Key, Sheet] = {}

    def __len__(self) -> int:
        """How many sessions have lines."""
        return len(self._of)

    def put(self, key: Key, lines: bytes) -> None:
        """Sets the lines of a session."""
        sheet = self._of.get(key) or next(iter(self._open), None) or Sheet()
        sheet.put(key, lines)
        self._of[key] = sheet
        self._sheets[sheet] = None
        if len(sheet.lines) < SHEET_SIZE:
            self._open[sheet] = None
        else:
            self._open.pop(sheet, None)

    def drop(self, key: Key) -> None:
        """Removes the lines of a session, if it has any."""
        sheet = self._of.pop(key, None)
        if sheet is None:
            return
        sheet.put(key, None)
        self._open[sheet] = None
        if not sheet.lines:
            del self._sheets[sheet], self._open[sheet]

    def lines(self, key: Key) -> bytes:
        """The lines of a session, empty if it has none."""
        sheet = self._of.get(key)
        return sheet.lines[key] if sheet else b""

    def pieces(self) -> Iterator[Piece]:
        """All lines."""
        return (sheet.piece for sheet in self._sheets)
