"""alertmanager.yml and its templates: the shipped ones, with receivers and addresses filled in."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from wawp_exporter.setup.answers import EVERYONE, Answers, Receiver
from wawp_exporter.setup.receivers import Place, Settings, webhook

HEADER = """\
# Which receiver gets which alert, how soon, and how often. Written by `wawp-exporter setup` for Alertmanager {version}:
# the routes are those that wawp-exporter ships, the receivers are yours. Secrets are in files. Their paths are
# absolute, since Alertmanager looks for them from its own working directory: change them if you move this folder.

"""
SECTION = re.compile(r"^(?=[a-z_]+:)", re.MULTILINE)
# A line to fill in, as in `location: UTC # PLACEHOLDER: the office's time zone`.
ZONE = re.compile(r"(location: )\S+( # PLACEHOLDER.*)?$", re.MULTILINE)
WATCHDOG = "dead-mans-switch"
# What the shipped receivers say about where they send, as opposed to what.
ADDRESSES = frozenset(
    [
        "to",
        "from",
        "smarthost",
        "auth_username",
        "auth_password",
        "api_url",
        "channel",
        "bot_token",
        "chat_id",
        "webhook_url",
        "routing_key",
        "url",
        "http_config",
        "send_resolved",
    ]
)


def dump(value: object) -> str:
    """YAML in the order of the keys, as a person would write it."""
    return yaml.dump(value, Dumper=Plain, sort_keys=False, allow_unicode=True, width=1000)


class Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice, instead of an anchor, indents lists, and writes long texts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        """Never without."""
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Always."""
        return True


def text(dumper: Plain, value: str) -> yaml.ScalarNode:
    """Text of several lines as a block."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Plain.add_representer(str, text)


class Routing:
    """The configuration of Alertmanager for these answers, made of the shipped alertmanager.yml and receivers.yml.

    `secrets` are the files that it needs, by their paths.
    """

    def __init__(self, shipped: str, kinds: str, answers: Answers) -> None:
        self.answers = answers
        self.kinds = {receiver["name"]: receiver for receiver in yaml.safe_load(kinds)["receivers"]}
        self.parts = {part.partition(":")[0]: part for part in SECTION.split(shipped)[1:]}
        self.receivers: list[dict[str, Any]] = yaml.safe_load(self.parts["receivers"])["receivers"]
        self.secrets: dict[str, str] = {}
        self.shown = False

    def text(self) -> str:
        """The whole file; every section but `global` and `receivers` is the shipped one."""
        self.parts["global"] = dump({"global": self.unfilled(yaml.safe_load(self.parts["global"])["global"])}) + "\n"
        self.parts["receivers"] = dump({"receivers": list(self.filled())})
        body = "".join(self.parts.values())
        zone = self.answers.general["timezone"]
        return HEADER.format(version=self.answers.alertmanager) + ZONE.sub(rf"\g<1>{zone}", body)

    def unfilled(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """What of `global` is no address to fill in: each receiver has its own."""
        return {key: value for key, value in section.items() if "placeholder" not in str(value).lower()}

    def filled(self) -> Iterator[dict[str, Any]]:
        """Each shipped receiver under its name, with the operator's address."""
        for shipped in self.receivers:
            name, resolved = shipped["name"], send_resolved(shipped)
            if name == WATCHDOG:
                yield self.watchdog(name)
            else:
                role = self.answers.role_of(name)
                settings = self.settings(role, self.answers.receivers[role])
                key = f"{self.answers.receivers[role].kind.key}_configs"
                yield {"name": name, key: [{**settings, "send_resolved": resolved}]}

    def settings(self, role: str, receiver: Receiver) -> Settings:
        """Where it sends, and what."""
        place = self.place(receiver.given, "" if role == EVERYONE else f"{role}-")
        where = receiver.kind.build(place)
        self.shown |= place.shown
        what = self.kinds[receiver.kind.name][f"{receiver.kind.key}_configs"][0]
        return merged({name: value for name, value in what.items() if name not in ADDRESSES}, where)

    def place(self, given: Mapping[str, str], prefix: str = "") -> Place:
        """Where secrets go."""
        return Place(given, self.answers.alertmanager, self.answers.folder, prefix, self.secrets)

    def watchdog(self, name: str) -> dict[str, Any]:
        """The dead man's switch; without one its messages go nowhere."""
        url = self.answers.general["dead-mans-switch"]
        if not url:
            return {"name": name}
        place = self.place({"webhook-url": url}, f"{name}-")
        settings = webhook(place)
        self.shown |= place.shown
        return {"name": name, "webhook_configs": [{**settings, "send_resolved": False}]}


def merged(shipped: Settings, given: Settings) -> Settings:
    """The shipped settings with the given ones in their place, also within mappings that both have."""
    inner = {
        key: merged(shipped[key], given[key]) for key in given.keys() & shipped.keys() if isinstance(given[key], dict)
    }
    return {**shipped, **given, **inner}


def send_resolved(receiver: Mapping[str, Any]) -> bool:
    """Whether a shipped receiver is told the end of an alert."""
    configs: list[Settings] = next((value for key, value in receiver.items() if key.endswith("_configs")), [{}])
    return bool(configs[0].get("send_resolved", True))


def template(shipped: str, links: Mapping[str, str], zone: str) -> str:
    """The shipped template with the addresses of Grafana and of the pages, and with local times if there is a zone."""
    for name, url in links.items():
        head = f'{{{{ define "{name}" }}}}'
        shipped = shipped.replace(head + '{{ with "" }}', head + f'{{{{ with "{url}" }}}}')
    head = '{{ define "wawp.time" }}'
    local = f'{head}{{{{ (tz "{zone}" .).Format "02 Jan 15:04 MST" }}}}{{{{ end }}}}'
    return re.sub(rf"^{re.escape(head)}.*$", lambda _: local, shipped, flags=re.MULTILINE) if zone else shipped
