"""prometheus.yml, compose.yml and Grafana's provisioning."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wawp_exporter import __version__
from wawp_exporter.setup import histograms
from wawp_exporter.setup.answers import Answers
from wawp_exporter.setup.routing import dump
from wawp_exporter.setup.versions import ALERTMANAGER, PROMETHEUS

GRAFANA_IMAGE = "grafana/grafana:13.2.2"
EXPORTER_IMAGE = f"ghcr.io/wawp/wawp-exporter:{__version__}"
PROMETHEUS_HEADER = """\
# Written by `wawp-exporter setup`. Paths are relative to this file. The rules select the job by its name.

"""
COMPOSE_HEADER = """\
# Written by `wawp-exporter setup`: the exporter, Prometheus, Alertmanager and Grafana, with the files of this folder.
#
#     docker compose -f {folder}/compose.yml up --detach
#
# The containers use the host's network and the host's paths, so the files are the same with and without containers.
# Docker Desktop needs "Enable host networking". They run as the user who ran setup ({user}), who can read the secrets
# and owns data/. The whole folder is mounted, since a file that is mounted alone stays the old one when it is replaced.

"""


def netloc(url: str) -> str:
    """`host:port` of a URL, with the scheme's port if it has none."""
    parts = urlsplit(url)
    host = parts.netloc
    return host if parts.port else f"{host}:{443 if parts.scheme == 'https' else 80}"


def port(url: str) -> int:
    """The port of a URL."""
    return int(netloc(url).rpartition(":")[2])


def reached(url: str) -> dict[str, Any]:
    """A URL in Prometheus' configuration: scheme and path, where they are not the usual ones, beside the address."""
    parts = urlsplit(url)
    scheme = {"scheme": parts.scheme} if parts.scheme != "http" else {}
    path = {"path_prefix": parts.path} if parts.path else {}
    return {**scheme, **path, "static_configs": [{"targets": [netloc(url)]}]}


def prometheus(answers: Answers) -> str:
    """The scrape job that the rules select, the rules, and where alerts go."""
    every = "5s"
    job: dict[str, Any] = {"job_name": "wawp-exporter", "scrape_interval": every}
    job |= histograms.keys(answers.prometheus) if answers.native_histograms else {}
    job["static_configs"] = [{"targets": [local(answers.general["listen"])]}]
    config = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [reached(answers.general["alertmanager"])]},
        "scrape_configs": [job],
    }
    return PROMETHEUS_HEADER + dump(config)


def local(listen: str) -> str:
    """Where a program on this machine finds one that listens there: on loopback, if it is every address."""
    host, _, number = listen.rpartition(":")
    return f"127.0.0.1:{number}" if host in ("", "0.0.0.0", "[::]") else listen  # noqa: S104 - compared only


def flags(answers: Answers) -> Mapping[str, list[str]]:
    """The command lines of the two servers, by program."""
    folder, general = answers.folder, answers.general
    return {
        "prometheus": [
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data/prometheus",
            f"--web.listen-address=127.0.0.1:{port(general['prometheus'])}",
            *(histograms.flags(answers.prometheus) if answers.native_histograms else []),
        ],
        "alertmanager": [
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/data/alertmanager",
            f"--web.listen-address=127.0.0.1:{port(general['alertmanager'])}",
            "--cluster.listen-address=",
        ],
    }


def compose(answers: Answers) -> str:
    """All four, on the host's network."""
    commands = {program: list(arguments) for program, arguments in flags(answers).items()}
    serve = ["serve", "--config", f"{answers.folder}/wawp-exporter.yml"]
    services = {
        "exporter": {
            **container(answers, EXPORTER_IMAGE, "exporter"),
            "command": serve,
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108 - of the container
        },
        "prometheus": {
            **container(answers, f"prom/prometheus:v{PROMETHEUS.current}", "prometheus"),
            "command": commands["prometheus"],
        },
        "alertmanager": {
            **container(answers, f"prom/alertmanager:v{ALERTMANAGER.current}", "alertmanager"),
            "command": commands["alertmanager"],
        },
        "grafana": {
            **container(answers, GRAFANA_IMAGE, "grafana"),
            "environment": {
                "GF_PATHS_DATA": f"{answers.folder}/data/grafana",
                "GF_PATHS_PLUGINS": f"{answers.folder}/data/grafana/plugins",
                "GF_PATHS_PROVISIONING": f"{answers.folder}/grafana/provisioning",
                "GF_SERVER_HTTP_ADDR": "127.0.0.1",
                "GF_SERVER_HTTP_PORT": str(port(answers.general["grafana"] or "http://127.0.0.1:3000")),
            },
        },
    }
    if not answers.general["grafana"]:
        del services["grafana"]
    header = COMPOSE_HEADER.format(folder=answers.folder, user=user())
    return header + dump({"name": "wawp", "services": escaped(services)})


def user() -> str:
    """The user and group that own the folder."""
    return f"{os.getuid()}:{os.getgid()}"


def container(answers: Answers, image: str, data: str) -> dict[str, Any]:
    """A service that reads the folder and writes into its part of data/."""
    return {
        "image": image,
        "restart": "unless-stopped",
        "network_mode": "host",
        "user": user(),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "volumes": [mount(answers, "", read_only=True), mount(answers, f"data/{data}", read_only=False)],
    }


def mount(answers: Answers, name: str, *, read_only: bool) -> dict[str, Any]:
    """A folder, at the path that it has on the host."""
    path = str(answers.folder / name)
    return {"type": "bind", "source": path, "target": path, "read_only": read_only}


def escaped(value: Any) -> Any:
    """The same with dollars doubled: Compose replaces `$name`."""
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [escaped(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def provisioned(shipped: str, answers: Answers) -> str:
    """One of Grafana's provisioning files with Prometheus' URL and the folder of the dashboards."""
    filled = shipped.replace("${PROMETHEUS_URL}", answers.general["prometheus"])
    return filled.replace("/var/lib/grafana/dashboards/wawp", str(answers.folder / "dashboards"))
