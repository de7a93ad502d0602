"""Which Prometheus and which Alertmanager there are: said, running, or installed."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

# For a server on this machine or near it, and for a program that prints a line.
PATIENCE_S = 2.0
PROGRAM_PATIENCE_S = 30.0
NUMBERS = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[^\d.].*)?", re.DOTALL)


class Version(NamedTuple):
    """A release as numbers, so that releases can be compared."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        """As releases are called."""
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Product:
    """A server that setup writes files for, and how its version is found.

    `path` answers with JSON whose keys `keys` lead to the version. `current` is the release of compose.yml.
    """

    name: str
    programs: tuple[str, ...]
    path: str
    keys: tuple[str, ...]
    oldest: Version
    current: Version


PROMETHEUS = Product(
    name="prometheus",
    programs=("prometheus",),
    path="/api/v1/status/buildinfo",
    keys=("data", "version"),
    oldest=Version(2, 42),
    # 3.13 has long-term support until July 2027.
    current=Version(3, 13, 4),
)
ALERTMANAGER = Product(
    name="alertmanager",
    programs=("alertmanager", "prometheus-alertmanager"),
    path="/api/v2/status",
    keys=("versionInfo", "version"),
    oldest=Version(0, 25),
    current=Version(0, 34, 0),
)


def parse(text: str) -> Version:
    """`0.28.1`, `v3.5`, `0.25.0+ds` → a Version. Raises ValueError with what was expected."""
    found = NUMBERS.fullmatch(text.strip())
    if not found:
        raise ValueError("a version such as 0.28.1")
    return Version(*(int(number or 0) for number in found.groups()))


def found(product: Product, url: str) -> Version | None:
    """The version that answers at the URL, else the one that is installed; None if there is neither."""
    return running(product, url) or installed(product.programs)


def running(product: Product, url: str) -> Version | None:
    """What the server at this URL says about itself."""
    try:
        answer: Any = httpx.get(url + product.path, timeout=PATIENCE_S, trust_env=False).raise_for_status().json()
        for key in product.keys:
            answer = answer[key]
        return parse(answer)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        return None


def installed(programs: Sequence[str]) -> Version | None:
    """What the first of these programs on PATH prints for --version."""
    path = next((path for name in programs if (path := shutil.which(name))), None)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a program of the operator's own PATH
            [path, "--version"], capture_output=True, text=True, check=False, timeout=PROGRAM_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.search(r"version (\S+)", done.stdout + done.stderr)
    try:
        return parse(said[1]) if said else None
    except ValueError:
        return None
