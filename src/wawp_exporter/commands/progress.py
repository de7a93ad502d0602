"""How far a long command is, on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bar

from wawp_exporter.log.place import Progress


@contextmanager
def shown(what: str) -> Iterator[Progress | None]:
    """A bar of how many `what` are done, on a terminal; none elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)
