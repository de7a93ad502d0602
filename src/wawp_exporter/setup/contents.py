"""All files of the folder, as they are for these answers."""

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from wawp_exporter.config import files as named
from wawp_exporter.config.load import load
from wawp_exporter.config.values import is_loopback, split_listen
from wawp_exporter.errors import ConfigError
from wawp_exporter.setup import monitoring
from wawp_exporter.setup.answers import Answers
from wawp_exporter.setup.gateways import path_of
from wawp_exporter.setup.routing import Routing, dump, template
from wawp_exporter.setup.versions import Version

SECRET, PLAIN = 0o600, 0o644
PASTE = "paste-into-the-gateway.txt"
EXPORTER_HEADER = "# Written by `wawp-exporter setup`; every other key has its default: docs/configuration.md.\n\n"
DATA = ("exporter", "prometheus", "alertmanager", "grafana")
# The first Alertmanager whose templates know time zones.
LOCAL_TIMES = Version(0, 28)
FOLDERS = tuple(f"data/{name}" for name in DATA)


@dataclass(frozen=True, slots=True)
class File:
    """What is to be written, and its mode."""

    text: str
    mode: int = PLAIN


def contents(answers: Answers) -> dict[str, File]:
    """Every file by its path in the folder.

    Raises ConfigError for a key that is there and cannot be used, and for answers that do not fit together.
    """
    keys = keys_of(answers)
    key = named.secrets_in(keys)[0].decode()
    shared = files("wawp_exporter") / "share"
    routes, kinds = ((shared / "alertmanager" / name).read_text() for name in ("alertmanager.yml", "receivers.yml"))
    routing = Routing(routes, kinds, answers)
    routed = routing.text()
    return {
        **exporter(answers, File(keys.decode(), SECRET)),
        "prometheus.yml": File(monitoring.prometheus(answers)),
        "alertmanager.yml": File(routed, SECRET if routing.shown else PLAIN),
        "compose.yml": File(monitoring.compose(answers)),
        PASTE: File(paste(answers, key), SECRET),
        # Without a line end: Alertmanager before 0.27 takes it for a part of a password.
        **{path: File(value, SECRET) for path, value in routing.secrets.items()},
        **dict(copied(shared, answers)),
    }


def copied(shared: Traversable, answers: Answers) -> Iterator[tuple[str, File]]:
    """Rules, templates, dashboards and provisioning, from the package."""
    links = {"wawp.grafana_url": answers.general["grafana"], "wawp.external_url": answers.general["external-url"]}
    zone = answers.general["timezone"] if answers.alertmanager >= LOCAL_TIMES else ""
    for path, file in texts(shared / "rules"):
        yield f"rules/{path}", File(file)
    for path, file in texts(shared / "alertmanager" / "templates"):
        yield f"templates/{path}", File(template(file, links, zone))
    for path, file in texts(shared / "dashboards"):
        yield f"dashboards/{path}", File(file)
    for path, file in texts(shared / "provisioning"):
        yield f"grafana/provisioning/{path}", File(monitoring.provisioned(file, answers))


def texts(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The files below a folder of the package, by their paths in it."""
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from texts(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_text()


def keys_of(answers: Answers) -> bytes:
    """The file of the keys that the gateway signs with: the one that is there, else a fresh one."""
    path = answers.folder / answers.gateway.secret
    try:
        content = named.read(path, named.MAX_NAMED_BYTES)
        named.secrets_in(content)
    except (FileNotFoundError, NotADirectoryError):
        return f"{secrets.token_hex(32)}\n".encode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError([f"{path}: cannot be used ({reason}), expected one key a line"]) from None
    return content


def exporter(answers: Answers, keys: File) -> dict[str, File]:
    """wawp-exporter.yml and its key, as the exporter takes them. Raises ConfigError."""
    made = {answers.gateway.secret: keys, "wawp-exporter.yml": File(configuration(answers))}
    with tempfile.TemporaryDirectory() as folder:
        for name, file in made.items():
            Path(folder, name).write_text(file.text)
        load(Path(folder, "wawp-exporter.yml"), {})
    return made


def configuration(answers: Answers) -> str:
    """wawp-exporter.yml."""
    general = answers.general
    ingress = ingress_listen(general)
    web = {
        "listen": general["listen"],
        **({"ingress_listen": ingress} if ingress else {}),
        "external_url": general["external-url"] or None,
        "grafana_url": general["grafana"] or None,
    }
    database = {"url": f"sqlite:///{answers.folder}/data/exporter/wawp.db"}
    config = {
        "web": web,
        "database": database,
        "sources": {general["source"]: answers.gateway.source()},
        "timezone": general["timezone"],
    }
    return EXPORTER_HEADER + dump(config)


def ingress_listen(general: Mapping[str, str]) -> str:
    """The address for webhooks alone; "" where the gateway is on this machine and uses the same address as everybody.

    Where the gateway's URL is https, a proxy on this machine passes webhooks on.
    """
    if general["ingress-listen"]:
        return general["ingress-listen"]
    url = general["ingress-url"]
    host, number = split_listen(monitoring.netloc(url))
    if is_loopback(host):
        return "" if number == general["listen"].rpartition(":")[2] else f"127.0.0.1:{number}"
    return "127.0.0.1:10012" if url.startswith("https") else f"0.0.0.0:{number}"


def paste(answers: Answers, key: str) -> str:
    """The lines for the gateway, with the key."""
    url = answers.general["ingress-url"] + path_of(answers.general["source"])
    return answers.gateway.lines(url, key)
