"""The page that begins with setup says what the code does."""

import re

from tests import parts
from wawp_exporter.commands.setup import FLAGS
from wawp_exporter.setup.receivers import KINDS
from wawp_exporter.setup.versions import parse

PAGE = (parts.ROOT / "docs/getting-started.md").read_text()


def test_the_table_has_every_kind_of_receiver_with_its_alertmanager() -> None:
    """Whoever has Debian 12 must not choose Teams first and learn it afterwards."""
    rows = dict(re.findall(r"--receiver (\w+):[^|]*\| ([\d.]+) \|", PAGE))

    assert {kind: parse(version) for kind, version in rows.items()} == {
        kind.name: kind.since for kind in KINDS.values()
    }


def test_flags_that_the_page_names_are_there() -> None:
    """Nobody types a flag that has been renamed."""
    named = set(re.findall(r"--(receiver|manager|it|lead|yes|gateway|[a-z]+(?:-[a-z]+)+)\b", PAGE))

    assert named - {field.name for field in FLAGS} == {
        *("receiver", "manager", "it", "lead", "yes", "gateway"),
        *("alertmanager-version", "prometheus-version"),
    }
