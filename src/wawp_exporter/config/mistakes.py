"""Errors of pydantic → `key: what is wrong, what was expected`."""

import difflib
from typing import Any

from pydantic import BaseModel

from wawp_exporter.config.schema import Config

RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def describe(problem: Any) -> str:
    """One pydantic error → `key: what is wrong, what was expected`; values are not shown, they may be secrets."""
    path = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "nullable")))
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key, expected {known_keys(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{path}: missing, expected a value"
    if problem["type"] == "invalid_key":
        return f"{path}: is not a name, expected keys in words"
    if problem["type"] in RANGES:
        return f"{path}: is out of range, expected {message.removeprefix('Input should be ')}"
    if message.startswith("Input should be "):
        kind = "null" if problem["input"] is None else type(problem["input"]).__name__
        return f"{path}: is a {kind}, expected {message.removeprefix('Input should be ')}"
    return f"{path}: {message}"


def known_keys(loc: tuple[int | str, ...]) -> str:
    """What could have been meant by an unknown key: the close ones, else all."""
    model: Any = Config
    for part in loc[:-1]:
        inner = [f.annotation for name, f in model.model_fields.items() if part in (name, f.alias)]
        # Indexes of lists and names of sources lead into the same section.
        model = inner_model(inner[0]) if inner else model
    fields = model.model_fields
    names = [f.alias or name for name, f in fields.items()]
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return close[0] if close else "one of " + ", ".join(names)


def inner_model(annotation: Any) -> Any:
    """The section inside `dict[str, Section]`, `list[Section]` or `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (inner_model(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)
