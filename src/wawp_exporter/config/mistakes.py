"""Errors of pydantic → `key: what is wrong, what was expected`."""

import difflib
from datetime import date
from typing import Any

from pydantic import BaseModel

from wawp_exporter.config.schema import Config

RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
# The kinds of YAML values in words; a bool is an int too, and a datetime a date.
KINDS = (
    (bool, "true or false"),
    (int | float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a mapping of keys"),
    (date, "a date"),
)
# pydantic's type of error → what was expected.
EXPECTED = {
    "bool_type": "true or false",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
}


def describe(problem: Any) -> str:
    """One pydantic error → `key: what is wrong, what was expected`; values are not shown, they may be secrets."""
    path = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "nullable")))
    message = problem["msg"].removeprefix("Value error, ")
    expected = message.removeprefix("Input should be ")
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key, expected {known_keys(problem['loc'])}"
        case "missing":
            return f"{path}: missing, expected a value"
        case "invalid_key":
            return f"{path}: has a key that is not text, expected the name of a key"
        case "literal_error":
            return f"{path}: is not an allowed value, expected {expected}"
        case kind if kind in RANGES:
            return f"{path}: is out of range, expected a number {expected}"
    if expected == message:
        return f"{path}: {message}"
    return f"{path}: is {kind_of(problem['input'])}, expected {EXPECTED.get(problem['type'], expected)}"


def kind_of(value: object) -> str:
    """What kind of YAML value this is."""
    return next((words for kind, words in KINDS if isinstance(value, kind)), "null")


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
