"""Writes a folder as a whole or not at all, and never over a file that is there."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wawp_exporter.errors import ConfigError, FolderError
from wawp_exporter.setup.contents import SECRET, File

PRIVATE = 0o700


@dataclass(slots=True)
class Result:
    """What became of the files, by their paths in the folder: `left` are other than they would be written."""

    written: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def write(folder: Path, files: Mapping[str, File], empty: Sequence[str] = ()) -> Result:
    """Writes the files that are not there, and the empty folders.

    Raises ConfigError and FolderError; then nothing was changed.
    """
    result = Result()
    for path, file in files.items():
        sort(folder / path, path, file, result)
    if not result.written:
        return result
    with failing(folder), staged(folder) as stage:
        for path in result.written:
            put(stage / path, files[path])
        for path in empty:
            (stage / path).mkdir(parents=True)
            (stage / path).chmod(PRIVATE)
        if folder.exists():
            move(stage, folder, [*result.written, *empty])
        else:
            stage.rename(folder)
    return result


def sort(target: Path, path: str, file: File, result: Result) -> None:
    """Decides what becomes of one file."""
    try:
        blocked = next((each for each in target.parents if each.exists() and not each.is_dir()), None)
        if blocked:
            raise ConfigError([f"{blocked}: is not a folder, expected a folder or nothing"])
        if not os.path.lexists(target):
            result.written.append(path)
        elif target.read_bytes() == file.text.encode():
            result.same.append(path)
        else:
            result.left.append(path)
    except OSError as error:
        raise ConfigError([f"{target}: cannot be read ({error.strerror}), expected a file or nothing"]) from None


@contextmanager
def failing(folder: Path) -> Iterator[None]:
    """An OSError becomes a FolderError."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder}: cannot be written ({error.strerror}); nothing was changed") from None


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder on the same disk, gone afterwards unless it was renamed."""
    beside = folder if folder.exists() else folder.parent
    made = [each for each in (beside, *beside.parents) if not each.exists()]
    beside.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".wawp-setup-", dir=beside))
    try:
        stage.chmod(0o755)
        yield stage
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        for each in made:
            each.rmdir()
        raise
    shutil.rmtree(stage, ignore_errors=True)


def put(target: Path, file: File) -> None:
    """One new file with its mode from the first byte on; a folder of secrets is for its owner alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode), "wb") as opened:
        opened.write(file.text.encode())
    target.chmod(file.mode)
    if target.parent.name == "secrets" and file.mode == SECRET:
        target.parent.chmod(PRIVATE)


def move(stage: Path, folder: Path, paths: Sequence[str]) -> None:
    """Moves files and empty folders to their places; what was moved is taken back when one fails."""
    made: list[Path] = []
    try:
        for path in paths:
            for target in way_to(folder, path):
                made += settle(stage / target.relative_to(folder), target)
    except BaseException:
        for each in reversed(made):
            if each.is_dir():
                each.rmdir()
            else:
                each.unlink()
        raise


def way_to(folder: Path, path: str) -> list[Path]:
    """The folders below `folder` that lead to a path, and the path itself."""
    target = folder / path
    return [*(each for each in reversed(target.parents) if folder in each.parents), target]


def settle(origin: Path, target: Path) -> list[Path]:
    """Makes a folder, unless it is there, or moves a file, which must not be there; returns what was made."""
    if not origin.is_dir():
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "somebody else has just made a file of it")
        origin.rename(target)
        return [target]
    if target.is_dir():
        return []
    target.mkdir()
    target.chmod(origin.stat().st_mode & 0o777)
    return [target]
