"""A backtest, or a comparison of two, as JSON and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from wawp_exporter.audit.comparison import CHANGE_COLUMNS, Comparison, change_row
from wawp_exporter.audit.firings import COLUMNS, Firing, row
from wawp_exporter.audit.spreadsheet import cell


def firings_json(firings: Sequence[Firing]) -> bytes:
    """A list of objects, one for each alert."""
    return msgspec.json.encode([row(each) for each in firings])


def comparison_json(comparison: Comparison) -> bytes:
    """One object: the totals of each alert, and every change."""
    changes = [change_row(each) for each in comparison.changes]
    return msgspec.json.encode({"totals": comparison.totals, "changes": changes})


def firings_csv(firings: Sequence[Firing]) -> str:
    """One line for each alert."""
    return lines(COLUMNS, [row(each) for each in firings])


def comparison_csv(comparison: Comparison) -> str:
    """One line for each change."""
    return lines(CHANGE_COLUMNS, [change_row(each) for each in comparison.changes])


def lines(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """A header and a line for each row, as a spreadsheet takes them; times as in JSON."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for each in rows:
        writer.writerow([cell(text_of(each[name])) for name in columns])
    return file.getvalue()


def text_of(value: object) -> object:
    """A time as JSON has it; anything else as it is."""
    return msgspec.json.encode(value).decode().strip('"') if isinstance(value, datetime) else value
