"""Puts together the answers: from flags, from what is found on this machine, and from questions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wawp_exporter.config.values import check_zone
from wawp_exporter.errors import ConfigError
from wawp_exporter.setup import fields, histograms, receivers, versions
from wawp_exporter.setup.answers import EVERYONE, ROLES, Answers, Receiver
from wawp_exporter.setup.fields import Field
from wawp_exporter.setup.gateways import GATEWAYS
from wawp_exporter.setup.monitoring import local
from wawp_exporter.setup.receivers import KINDS, Kind
from wawp_exporter.setup.versions import Product, Version

WHO = {EVERYONE: "Who gets the messages", "manager": "The manager", "it": "IT", "lead": "The lead"}


class Asks(Protocol):
    """Somebody who answers questions."""

    def value(self, field: Field, default: str) -> str:
        """The text for a field; called again while `field.parse` refuses it."""

    def choice(self, text: str, choices: Sequence[str]) -> str:
        """One of the choices."""

    def sure(self, text: str, default: bool) -> bool:
        """Yes or no."""


class Interview:
    """Collects answers. Without somebody to ask, each that is missing is a mistake.

    `given` holds the flags by their names; a flag that was not given is not in it.
    """

    def __init__(self, folder: Path, given: Mapping[str, str], asks: Asks | None) -> None:
        self.folder = folder
        self.given = given
        self.asks = asks
        self.mistakes: list[str] = []
        self.told: dict[str, str] = {}

    def answers(self) -> Answers:
        """All of them. Raises ConfigError with every mistake; with those of flags before anybody is asked anything."""
        if self.asks:
            self.check_flags()
        gateway = self.choice("gateway", "Which gateway", tuple(GATEWAYS))
        general = self.general()
        general["timezone"] = general["timezone"] or zone_here()
        alertmanager = self.version(versions.ALERTMANAGER, general["alertmanager"])
        prometheus = self.version(versions.PROMETHEUS, general["prometheus"])
        chosen = self.receivers(alertmanager)
        self.unused(chosen)
        native = self.native(prometheus, general["prometheus"])
        if self.mistakes:
            raise ConfigError(self.mistakes)
        return Answers(self.folder, GATEWAYS[gateway], general, chosen, prometheus, alertmanager, native)

    def general(self) -> dict[str, str]:
        """The values of fields.GENERAL; both URLs of the exporter are where it listens, unless said otherwise."""
        general = {fields.LISTEN.name: self.value(fields.LISTEN)}
        here = f"http://{local(general['listen'])}"
        for field in fields.GENERAL:
            if field is not fields.LISTEN:
                follows = field in (fields.INGRESS_URL, fields.EXTERNAL_URL)
                general[field.name] = self.value(replace(field, default=here) if follows else field)
        return general

    def check_flags(self) -> None:
        """Raises ConfigError for values that cannot be used."""
        for field in (*fields.GENERAL, *(field for kind in KINDS.values() for field in kind.fields)):
            if field.name in self.given:
                self.parsed(field, self.given[field.name])
        if self.mistakes:
            raise ConfigError(self.mistakes)

    def wrong(self, name: str, what: str) -> str:
        """Notes a mistake; the empty text stands for the value that is missing."""
        self.mistakes.append(f"{name}: {what}")
        return ""

    def choice(self, name: str, text: str, choices: Sequence[str]) -> str:
        """One of some words."""
        if name in self.given:
            return self.given[name]
        if self.asks:
            return self.asks.choice(text, choices)
        return self.wrong(name, f"is missing, expected --{name} with one of {', '.join(choices)}")

    def value(self, field: Field, text: str | None = None) -> str:
        """The value of a field: `text` if given, else its flag's, else asked for, else its default."""
        text = self.given.get(field.name) if text is None else text
        if text is not None:
            return self.parsed(field, text)
        if self.asks and field.asked:
            return self.ask(self.asks, field)
        if field.default is not None:
            return field.default
        return self.wrong(field.name, f"is missing, expected {field.expects} (--{field.name})")

    def ask(self, asks: Asks, field: Field) -> str:
        """What somebody says, who is asked only once for a mail server that two people have."""
        if field.name not in self.told:
            self.told[field.name] = field.parse(asks.value(field, field.default or ""))
        return self.told[field.name]

    def parsed(self, field: Field, text: str) -> str:
        """The value of a flag."""
        try:
            return field.parse(text)
        except ValueError as error:
            return self.wrong(field.name, str(error))

    def version(self, product: Product, url: str) -> Version:
        """The version: said, else asked for or taken as found, else that of compose.yml."""
        name = f"{product.name}-version"
        field = Field(
            name,
            f"Version of {product.name.capitalize()}",
            "a version such as 0.28.1",
            lambda text: str(versions.parse(text)),
        )
        known = None if name in self.given else versions.found(product, url)
        said = self.value(replace(field, default=str(known or product.current)))
        if not said:
            return product.current
        version = versions.parse(said)
        if version < product.oldest:
            oldest = f"{product.oldest.major}.{product.oldest.minor}"
            self.wrong(name, f"{version} is too old, expected {oldest} or newer")
        return version

    def receivers(self, version: Version) -> dict[str, Receiver]:
        """One for everybody, or one each."""
        roles = [role for role in (EVERYONE, *ROLES) if flag_of(role) in self.given]
        if not roles and self.asks and not self.asks.sure("One receiver for all messages", default=True):
            roles = list(ROLES)
        if EVERYONE not in roles and not set(ROLES) <= set(roles):
            roles.insert(0, EVERYONE)
        return {role: self.receiver(role, version) for role in roles}

    def receiver(self, role: str, version: Version) -> Receiver:
        """`KIND` or `KIND:ADDRESS`, and the fields of the kind."""
        there = [kind.name for kind in KINDS.values() if not receivers.missing(kind, version)]
        word, colon, address = self.choice(flag_of(role), WHO[role], there).partition(":")
        kind = KINDS.get(word)
        if kind is None:
            if flag_of(role) in self.given:
                self.wrong(flag_of(role), f"is no kind of receiver, expected one of {', '.join(KINDS)}")
            return Receiver(KINDS["webhook"], {})
        absent = receivers.missing(kind, version)
        if absent:
            self.wrong(flag_of(role), absent)
            return Receiver(kind, {})
        return Receiver(kind, self.values(kind, address if colon else None))

    def values(self, kind: Kind, address: str | None) -> dict[str, str]:
        """The fields of a kind, in their order: some depend on an earlier one."""
        self.told.pop(kind.address.name, None)
        values: dict[str, str] = {}
        for field in kind.fields:
            needed = not field.after or values[field.after]
            values[field.name] = self.value(field, address if field is kind.address else None) if needed else ""
        return values

    def unused(self, chosen: Mapping[str, Receiver]) -> None:
        """A flag of a kind that nobody has is a slip."""
        used = {receiver.kind.name for receiver in chosen.values()}
        for kind in KINDS.values():
            for field in kind.fields:
                if field.name in self.given and kind.name not in used:
                    self.wrong(field.name, f"is given, but no receiver is {kind.name}, expected --receiver {kind.name}")

    def native(self, version: Version, url: str) -> bool:
        """Whether histograms are stored as native ones: as the flag says, else where this Prometheus does it well."""
        said = self.given.get("native-histograms")
        if said is None:
            return histograms.advised(version, histograms.enabled(url) is not False)
        if said == "yes" and version < histograms.SINCE:
            expected = f"expected Prometheus {histograms.SINCE} or newer"
            self.wrong("native-histograms", f"Prometheus {version} has none, {expected}")
        return said == "yes"


def flag_of(role: str) -> str:
    """The flag that says who somebody is."""
    return "receiver" if role == EVERYONE else role


def zone_here() -> str:
    """The time zone of this machine, by its usual places; else UTC."""
    link = Path("/etc/localtime")
    name = str(link.resolve()).partition("/zoneinfo/")[2]
    try:
        return check_zone(name.removeprefix("Etc/"))
    except ValueError:
        return "UTC"
