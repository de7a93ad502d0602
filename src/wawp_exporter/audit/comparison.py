"""What another configuration would change: the same past judged twice, alert by alert."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import msgspec

from wawp_exporter.audit.firings import Firing, moment

NEW, GONE, EARLIER, LATER, LONGER, SHORTER = "new", "gone", "earlier", "later", "longer", "shorter"
SAME = ("alert", "source", "session", "engine", "problem", "kind")
CHANGE_COLUMNS = ("change", *SAME, "firing_at", "ended_at", "compared_firing_at", "compared_ended_at", "shift_seconds")
Pair = tuple[Firing | None, Firing | None]


class Change(msgspec.Struct, frozen=True):
    """One alert that fires differently with the other configuration; `change` is one of the words above."""

    change: str
    before: Firing | None
    after: Firing | None

    @property
    def shown(self) -> Firing:
        """What both have in common."""
        found = self.after or self.before
        assert found  # noqa: S101 - one of them is there
        return found

    @property
    def shift(self) -> float | None:
        """By how many seconds it fires later (negative: earlier); None where only one of both fires."""
        return (self.after.firing_at - self.before.firing_at) / 1000 if self.before and self.after else None


class Total(msgspec.Struct, frozen=True):
    """One alert: how often it fires with each configuration, and what changes.

    `shift_seconds` is the median of those that fire earlier (negative) or later; null without any.
    """

    alert: str
    fired: int
    compared: int
    new: int
    gone: int
    earlier: int
    later: int
    shift_seconds: float | None


class Comparison(msgspec.Struct, frozen=True):
    """All alerts, by name, and every change, in order of time."""

    totals: list[Total]
    changes: list[Change]


def compare(before: Sequence[Firing], after: Sequence[Firing]) -> Comparison:
    """What changes from one configuration's alerts to another's."""
    changes = [Change(word, *pair) for pair in pairs(before, after) if (word := word_for(*pair))]
    names = sorted({each.alert for each in (*before, *after)})
    return Comparison(
        totals=[total(name, before, after, [each for each in changes if each.shown.alert == name]) for name in names],
        changes=sorted(changes, key=lambda each: (each.shown.firing_at, each.shown.alert, each.shown.session or "")),
    )


def word_for(before: Firing | None, after: Firing | None) -> str:
    """What has changed, "" for nothing."""
    if before is None or after is None:
        return NEW if before is None else GONE
    if before.firing_at != after.firing_at:
        return LATER if after.firing_at > before.firing_at else EARLIER
    if end_of(before) != end_of(after):
        return LONGER if end_of(after) > end_of(before) else SHORTER
    return ""


def end_of(firing: Firing) -> float:
    """When it ended (Unix ms); what goes on ends after everything."""
    return float("inf") if firing.ended_at is None else firing.ended_at


def pairs(before: Iterable[Firing], after: Iterable[Firing]) -> Iterator[Pair]:
    """The same alert of the same session or scope in both, where the times that they are about overlap."""
    found: dict[tuple[object, ...], tuple[list[Firing], list[Firing]]] = defaultdict(lambda: ([], []))
    for side, firings in enumerate((before, after)):
        for each in firings:
            found[each.alert, each.source, each.session, each.engine, each.problem, each.kind][side].append(each)
    for one, other in found.values():
        yield from side_by_side(one, other)


def side_by_side(one: list[Firing], other: list[Firing]) -> Iterator[Pair]:
    """The firings of one alert, each list in order of time."""
    left, right = one[::-1], other[::-1]
    while left and right:
        first, second = left[-1], right[-1]
        if end_of(first) <= second.started_at:
            yield left.pop(), None
        elif end_of(second) <= first.started_at:
            yield None, right.pop()
        else:
            yield left.pop(), right.pop()
    yield from ((each, None) for each in reversed(left))
    yield from ((None, each) for each in reversed(right))


def total(name: str, before: Iterable[Firing], after: Iterable[Firing], changes: Sequence[Change]) -> Total:
    """The sums of one alert."""
    counts = {word: sum(each.change == word for each in changes) for word in (NEW, GONE, EARLIER, LATER)}
    shifts = [each.shift for each in changes if each.shift]
    return Total(
        alert=name,
        fired=sum(each.alert == name for each in before),
        compared=sum(each.alert == name for each in after),
        **counts,
        shift_seconds=median(shifts) if shifts else None,
    )


def change_row(change: Change) -> dict[str, object]:
    """A change as JSON and CSV have it: times are datetimes, those of the other configuration `compared_…`."""
    times = [moment(at) for one in (change.before, change.after)
             for at in ((one.firing_at, one.ended_at) if one else (None, None))]  # fmt: skip
    same = [getattr(change.shown, name) for name in SAME]
    return dict(zip(CHANGE_COLUMNS, (change.change, *same, *times, change.shift), strict=True))
