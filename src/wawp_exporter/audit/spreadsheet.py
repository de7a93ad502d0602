"""An audit as CSV."""

import csv
import io
import unicodedata

import msgspec

from wawp_exporter.audit.audit import Audit
from wawp_exporter.audit.rows import Row
from wawp_exporter.model.bucket import STATUSES

# A spreadsheet would run a cell that begins like this, in letters of any width.
FORMULA = ("=", "+", "-", "@", "\u2212")
COUNTS = ("status_seconds", "starts", "cold_starts", "reconnects", "qr_waits", "losses")  # have no cell of their own
PLAIN = [name for name in msgspec.structs.fields(Row) if name.name not in COUNTS]


def rows_of(audit: Audit) -> list[Row]:
    """Every row of the report: sessions first, the total last."""
    return [*audit.sessions, *audit.groups, *audit.engines, *audit.sources, audit.total]


def to_csv(audit: Audit) -> str:
    """One line a row; `kind` says of what. Names that a spreadsheet would take for formulas begin with a quote."""
    file = io.StringIO()
    writer = csv.writer(file)
    seconds = [f"{status.value.lower()}_seconds" for status in STATUSES]
    writer.writerow([*(each.name for each in PLAIN), *seconds])
    for row in rows_of(audit):
        plain = [cell(getattr(row, each.name)) for each in PLAIN]
        writer.writerow([*plain, *(cell(row.status_seconds.get(status, 0.0)) for status in STATUSES)])
    return file.getvalue()


def cell(value: object) -> object:
    """A value as a spreadsheet takes it."""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1 else f"{value:.3f}"
    if isinstance(value, str):
        return f"'{value}" if is_formula(value) else value
    return "" if value is None else value


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run a cell: it ignores blanks and invisible characters at the beginning."""
    if text[:1].isspace() or not text[:1].isprintable():
        return True
    return unicodedata.normalize("NFKC", text[:1]).startswith(FORMULA)
