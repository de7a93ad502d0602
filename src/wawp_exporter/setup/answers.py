"""What setup has been told, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wawp_exporter.setup.gateways import Gateway
from wawp_exporter.setup.receivers import Kind
from wawp_exporter.setup.versions import Version

EVERYONE = "everyone"
# Who can have a receiver of their own, and the names of theirs in the shipped routes; all others are IT's.
ROLES: Mapping[str, tuple[str, ...]] = {
    "manager": ("session-manager",),
    "it": (),
    "lead": ("it-lead",),
}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who gets messages: the kind, and the values of its fields by their names."""

    kind: Kind
    given: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that the files are made of. `general`: the values of fields.GENERAL by their names."""

    folder: Path
    gateway: Gateway
    general: Mapping[str, str]
    receivers: Mapping[str, Receiver]
    prometheus: Version
    alertmanager: Version
    native_histograms: bool = False

    def role_of(self, shipped: str) -> str:
        """Whose receiver stands for the shipped one of this name."""
        role = next((role for role, names in ROLES.items() if shipped in names), "it")
        return role if role in self.receivers else EVERYONE
