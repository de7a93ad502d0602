"""Makes the reference in docs/configuration.md of the code's own definition: every key, its default, and its docstring.

`python scripts/reference.py` writes the page; a test holds that it is as it would be written.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import yaml
from pydantic import BaseModel

from wawp_exporter.config import schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
COLUMN = 34


def docstrings() -> dict[tuple[str, str], str]:
    """(section, key) → the string below the key, as editors show it."""
    tree = ast.parse(Path(schema.__file__).read_text())
    return {
        (section.name, key.target.id): told.value.value.removesuffix(".")
        for section in ast.walk(tree)
        if isinstance(section, ast.ClassDef)
        for key, told in pairwise(section.body)
        if isinstance(key, ast.AnnAssign) and isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant)
    }


def lines(section: type[BaseModel], told: dict[tuple[str, str], str], indent: str = "") -> Iterator[str]:
    """The YAML of a section, each line with what it is."""
    for name, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield line(f"{indent}{name}:", first_line(type(field.default)))
            yield from lines(type(field.default), told, indent + "  ")
        elif name == "sources":
            yield line("sources:", first_line(schema.Source))
            yield line("  default:", "POST /webhook is POST /webhook/default")
            yield from lines(schema.Source, told, "    ")
        else:
            default = yaml.safe_dump(field.default, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
            yield line(f"{indent}{name}: {default}", told[section.__name__, name])


def line(key: str, told: str) -> str:
    """A key and, in a column of its own, what it is."""
    return f"{key:<{COLUMN}} # {told}"


def first_line(section: type[BaseModel]) -> str:
    """What a section is."""
    return (section.__doc__ or "").partition(".\n")[0].removesuffix(".").replace("`", "")


def page() -> str:
    """The page with its first block of YAML made anew."""
    block = "\n".join(["```yaml", *lines(schema.Config, docstrings()), "```"])
    return re.sub(r"```yaml\n.*?\n```", lambda _: block, PAGE.read_text(), count=1, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page())
