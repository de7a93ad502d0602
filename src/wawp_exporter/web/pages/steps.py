"""The first thing to do about each alert: the `action` of its rule, which the message says too."""

from functools import cache
from importlib.resources import files

import msgspec


class Example(msgspec.Struct, frozen=True):
    """An alert as its rule would fire it."""

    annotations: dict[str, str]


@cache
def steps() -> dict[str, str]:
    """The first thing to do, by alert."""
    text = (files("wawp_exporter") / "share" / "examples.json").read_bytes()
    examples = msgspec.json.decode(text, type=dict[str, Example])
    return {alert: example.annotations.get("action", "") for alert, example in examples.items()}
