"""One metric family and its lines as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from wawp_exporter.model.bucket import STATUS_BOUNDS, Histogram


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: name (with `_total` for counters), type and help, as in the contract."""

    name: str
    kind: str
    help: str

    def header(self, is_openmetrics: bool) -> bytes:
        """HELP and TYPE; OpenMetrics names a counter's family without `_total`."""
        name = self.name.removesuffix("_total") if is_openmetrics and self.kind == "counter" else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n".encode()


def escape(value: str) -> str:
    """A label value as both formats want it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def seconds(ms: int) -> str:
    """Unix ms as Unix seconds; 0 stays 0."""
    return f"{ms / 1000:.3f}" if ms else "0"


@cache
def template(name: str, label: str, values: Sequence[str], form: str) -> str:
    """A line for each value of the last label, with places for the other labels and the number."""
    return "".join(f'{name}{{%s,{label}="{value}"}} {form}\n' for value in values)


def fill(lines: str, labels: str, figures: Sequence[float]) -> str:
    """A template's lines; one formatting for all is several times faster than one for each."""
    arguments: list[str | float] = [labels] * (2 * len(figures))
    arguments[1::2] = figures
    return lines % tuple(arguments)


NOTHING_OBSERVED = Histogram(STATUS_BOUNDS)


def histogram_lines(name: str, labels: str, histogram: Histogram) -> str:
    """Buckets (cumulated), sum and count."""
    counts = list(accumulate(histogram.counts))
    buckets = fill(template(f"{name}_bucket", "le", bounds_text(histogram.bounds), "%d"), labels, counts)
    return f"{buckets}{name}_sum{{{labels}}} {histogram.total:.3f}\n{name}_count{{{labels}}} {counts[-1]}\n"


@cache
def bounds_text(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Upper bounds as both formats write them."""
    return (*(repr(float(bound)) for bound in bounds), "+Inf")
