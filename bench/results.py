"""A row of figures with the ratio that is required of it, and the table of them."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Result:
    """`ratio` is ours against the peer of the same run; `required` is its least (or, with `at_most`, its greatest).

    Without a ratio the peer is not installed, and `peer` says so.
    """

    name: str
    ours: str
    peer: str
    ratio: float | None
    required: float | None = None
    at_most: bool = False

    @property
    def good(self) -> bool:
        """Whether the requirement, if there is one, is met."""
        if self.required is None or self.ratio is None:
            return True
        return self.ratio <= self.required if self.at_most else self.ratio >= self.required


def bound_of(result: Result) -> str:
    """What is required, "" if nothing is."""
    return "" if result.required is None else f"{'≤' if result.at_most else '≥'} {result.required:g}"


def ratio_of(result: Result) -> str:
    """The ratio, if there is a peer."""
    return "left out" if result.ratio is None else f"{result.ratio:.2f}"


def show(results: list[Result]) -> bool:
    """Prints the table; whether every requirement is met."""
    table = Table("measured", "wawp-exporter", "peer", "ratio", "required", "")
    for result in results:
        missed = "" if result.good else "MISSED"
        table.add_row(result.name, result.ours, result.peer, ratio_of(result), bound_of(result), missed)
    Console(width=140).print(table)
    return all(result.good for result in results)
