"""Input series in promtool's notation."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

Series = dict[str, str]


def selector(metric: str, **labels: str) -> str:
    return metric + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}"


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def values(samples: Iterable[float | str]) -> str:
    """Samples in promtool's notation; `_` is a sample that is not there, `stale` the end of a series."""
    words = []
    for value, run in groupby(map(number, samples)):
        n = len(list(run))
        if value == "_":
            words.append(f"_x{n}")
        elif value == "stale":
            words += ["stale"] * n
        else:
            words.append(f"{value}+0x{n - 1}" if n > 1 else value)
    return " ".join(words)


def one(metric: str, samples: Iterable[float | str] | str, **labels: str) -> Series:
    text = samples if isinstance(samples, str) else values(samples)
    return {"series": selector(metric, **labels), "values": text}
