"""A backtest, or a comparison of two, as tables for a terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.table import Table

from wawp_exporter.audit.comparison import Change, Comparison
from wawp_exporter.audit.firings import Firing
from wawp_exporter.audit.table import printable
from wawp_exporter.audit.words import duration

SHOWN = 200  # rows of a long list; the other formats have all
WEEK_S = 7 * 86_400


def print_firings(firings: Sequence[Firing], span: tuple[int, int], zone: ZoneInfo, console: Console) -> None:
    """Each alert that would have fired, oldest first, then how often each did; `span` is the period in Unix ms."""
    title = f"{span_of(span, zone)}: {len(firings)} alerts would have fired"
    console.print(Group(title, *listed(firings, zone), totals(firings, span)))


def span_of(span: tuple[int, int], zone: ZoneInfo) -> str:
    """The period in words."""
    return f"{time_of(span[0], zone)} to {time_of(span[1], zone)} ({zone.key})"


def time_of(ms: int, zone: ZoneInfo) -> str:
    """A time to the second, as the clock on the wall shows it."""
    return f"{datetime.fromtimestamp(ms / 1000, zone):%Y-%m-%d %H:%M:%S}"


def table(title: str, columns: Sequence[str], right: Iterable[str] = ()) -> Table:
    """An empty table; the columns in `right` hold figures."""
    made = Table(title=title, title_justify="left")
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in right else "left")
    return made


def whose(firing: Firing) -> tuple[str, str, str]:
    """Session, source and engine; an outage says how many sessions, and one of several sources has no source."""
    session = f"{firing.sessions} sessions" if firing.session is None else printable(firing.session)
    return session, printable(firing.source) or "several", firing.engine or "several"


def listed(firings: Sequence[Firing], zone: ZoneInfo) -> Iterable[Table | str]:
    """The newest alerts."""
    if not firings:
        return
    if len(firings) > SHOWN:
        yield f"the newest {SHOWN} of them; --format json or csv has all"
    made = table("Alerts", ("alert", "began", "fired at", "for", "session", "source", "engine", "reason"), ("for",))
    for each in firings[-SHOWN:]:
        lasted = "goes on" if each.ended_at is None else duration(each.seconds)
        times = time_of(each.started_at, zone), time_of(each.firing_at, zone)
        made.add_row(each.alert, *times, lasted, *whose(each), each.reason or "")
    yield made


def totals(firings: Sequence[Firing], span: tuple[int, int]) -> Table | str:
    """How often each alert fired, and for how long."""
    if not firings:
        return "No alert."
    weeks = (span[1] - span[0]) / 1000 / WEEK_S
    made = table("Totals", ("alert", "fired", "a week", "median", "longest", "goes on"),
                 ("fired", "a week", "median", "longest", "goes on"))  # fmt: skip
    for name in sorted({each.alert for each in firings}):
        mine = [each for each in firings if each.alert == name]
        lengths = [each.seconds if each.seconds is not None else (span[1] - each.firing_at) / 1000 for each in mine]
        going = sum(each.ended_at is None for each in mine)
        a_week = f"{len(mine) / weeks:.1f}"
        made.add_row(name, str(len(mine)), a_week, duration(median(lengths)), duration(max(lengths)), str(going))
    return made


def print_comparison(
    comparison: Comparison, names: tuple[str, str], span: tuple[int, int], zone: ZoneInfo, console: Console
) -> None:
    """What changes from one configuration to the other; `names` are what both are called."""
    title = f"{span_of(span, zone)}: from {printable(names[0])} to {printable(names[1])}"
    columns = ("alert", "fires now", "then", "new", "gone", "earlier", "later", "by (median)")
    made = table("Totals", columns, columns[1:])
    for each in comparison.totals:
        figures = (each.fired, each.compared, each.new, each.gone, each.earlier, each.later)
        made.add_row(each.alert, *map(str, figures), shift_of(each.shift_seconds))
    console.print(Group(title, *changed(comparison.changes, zone), made if comparison.totals else "No alert."))


def changed(changes: Sequence[Change], zone: ZoneInfo) -> Iterable[Table | str]:
    """The newest changes."""
    if not changes:
        yield "Nothing changes."
        return
    if len(changes) > SHOWN:
        yield f"the newest {SHOWN} of {len(changes)} changes; --format json or csv has all"
    made = table("Changes", ("change", "alert", "fires now", "then", "by", "session", "source", "engine"), ("by",))
    for each in changes[-SHOWN:]:
        times = (time_of(one.firing_at, zone) if one else "–" for one in (each.before, each.after))
        made.add_row(each.change, each.shown.alert, *times, shift_of(each.shift), *whose(each.shown))
    yield made


def shift_of(seconds: float | None) -> str:
    """By how much something is later."""
    if not seconds:
        return ""
    return f"{duration(abs(seconds))} {'later' if seconds > 0 else 'earlier'}"
