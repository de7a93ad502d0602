"""The folder that setup writes: whole or not at all, and never over what is there."""

import errno
import stat
from pathlib import Path

import pytest

from wawp_exporter.errors import ConfigError, FolderError
from wawp_exporter.setup import folder
from wawp_exporter.setup.contents import SECRET, File

FILES = {"a.yml": File("a: 1\n"), "rules/b.yml": File("b: 2\n"), "secrets/c": File("c\n", SECRET)}


def tree(path: Path) -> dict[str, str]:
    """Every file below a folder with its text."""
    return {str(each.relative_to(path)): each.read_text() for each in path.rglob("*") if each.is_file()}


def mode(path: Path) -> int:
    """The permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_has_every_file_and_only_its_owner_reads_secrets(tmp_path: Path) -> None:
    """Whatever the umask: a secret that anybody on the machine can read is none."""
    result = folder.write(tmp_path / "new" / "wawp", FILES, ["data/x"])

    written = tmp_path / "new" / "wawp"
    assert result.written == list(FILES)
    assert tree(written) == {name: file.text for name, file in FILES.items()}
    assert (mode(written / "a.yml"), mode(written / "secrets/c")) == (0o644, 0o600)
    assert (mode(written / "secrets"), mode(written / "data/x")) == (0o700, 0o700)
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["wawp"]


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    """An operator's own changes are worth more than a fresh file."""
    (tmp_path / "a.yml").write_text("a: mine\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "b.yml").write_text("b: 2\n")

    result = folder.write(tmp_path, FILES)

    assert (result.written, result.same, result.left) == (["secrets/c"], ["rules/b.yml"], ["a.yml"])
    assert tree(tmp_path) == {"a.yml": "a: mine\n", "rules/b.yml": "b: 2\n", "secrets/c": "c\n"}


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    """Scripts may run it again and again."""
    folder.write(tmp_path, FILES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    result = folder.write(tmp_path, FILES)

    assert (result.written, result.left) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("blocked", ["rules", "a.yml"])
def test_what_is_in_the_way_stops_it_before_the_first_file(tmp_path: Path, blocked: str) -> None:
    """A file where a folder must be, a folder where a file must be."""
    if blocked == "rules":
        (tmp_path / blocked).write_text("a file")
    else:
        (tmp_path / blocked).mkdir()

    with pytest.raises(ConfigError, match=f"{tmp_path}/{blocked}.*expected"):
        folder.write(tmp_path, FILES)

    assert [each.name for each in tmp_path.iterdir()] == [blocked]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """It may be something that the operator needs."""
    (tmp_path / "wawp").write_text("mine")

    with pytest.raises(ConfigError, match="wawp: is not a folder"):
        folder.write(tmp_path / "wawp", FILES)

    assert (tmp_path / "wawp").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_fails_in_the_middle_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Half a folder would look like a whole one."""
    target = tmp_path / "wawp"
    if there:
        target.mkdir()
    rename, calls = Path.rename, []

    def fail(path: Path, to: Path) -> Path:
        calls.append(path)
        if len(calls) == (2 if there else 1):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(FolderError, match="No space left on device"):
        folder.write(target, FILES, ["data/x"])

    assert [each.name for each in tmp_path.iterdir()] == (["wawp"] if there else [])
    assert not there or list(target.iterdir()) == []
