"""What a replica exports: Prometheus' text as samples."""

import re
from collections.abc import Iterator

LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPED = {r"\n": "\n", r"\"": '"', r"\\": "\\"}
Labels = tuple[tuple[str, str], ...]
Series = dict[tuple[str, Labels], float]


def parse(text: str) -> Series:
    """All samples; ValueError for a series that is there twice."""
    found: Series = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        head, _, value = line.rpartition(" ")
        name, _, rest = head.partition("{")
        labels = ((key, re.sub(r"\\.", lambda m: ESCAPED[m[0]], text)) for key, text in LABEL.findall(rest))
        series = (name, tuple(sorted(labels)))
        if series in found:
            raise ValueError(f"twice: {series}")
        found[series] = float(value)
    return found


def of(series: Series, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """The labels and values of one metric."""
    return ((dict(labels), value) for (metric, labels), value in series.items() if metric == name)
