"""What users install beside the program: rules, Alertmanager's files, runbooks and dashboards in the package."""

from importlib.resources import files
from pathlib import Path

from scripts import share as generator


def texts(folder: Path) -> dict[str, str]:
    """The files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_package_holds_what_the_sources_say(tmp_path: Path) -> None:
    """`make share` renews the copies; whoever has the wheel alone gets the same rules as whoever has the repository."""
    generator.make(tmp_path)

    packaged = files("wawp_exporter") / "share"
    assert {name: (packaged / name).read_text() for name in texts(tmp_path)} == texts(tmp_path)
    assert texts(generator.SHARE).keys() == texts(tmp_path).keys()
