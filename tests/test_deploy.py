"""Image, systemd unit, compose file and package: held to what can be tried without an engine."""

import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests import parts
from wawp_exporter import __version__
from wawp_exporter.setup.monitoring import GRAFANA_IMAGE
from wawp_exporter.setup.versions import ALERTMANAGER, PROMETHEUS

ROOT = parts.ROOT
UNIT = ROOT / "deploy" / "systemd" / "wawp-exporter.service"
COMPOSE = ROOT / "deploy" / "compose"
# Programs that Python packages bring.
TOOLS = Path(sys.executable).parent
EPOCH = {"SOURCE_DATE_EPOCH": "1795000000"}


def run(*command: Any, **given: Any) -> subprocess.CompletedProcess[str]:
    """A command that must go well; its words are shown when it does not."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **given)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


# -- the package


def build(target: Path) -> list[Path]:
    """Builds sdist and wheel from a copy of what is under version control, with the locked build tool."""
    source = target / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "hatchling", "build", "-d", target / "dist", cwd=source, env={**os.environ, **EPOCH})
    return sorted((target / "dist").iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist and the wheel."""
    return build(tmp_path_factory.mktemp("build"))


def test_two_builds_are_the_same_bytes(built: list[Path], tmp_path: Path) -> None:
    """Whoever has the sources can prove what a release was made of."""
    again = build(tmp_path)

    assert [path.name for path in again] == [path.name for path in built]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]


def test_the_wheel_has_all_that_is_needed_and_nothing_else(built: list[Path]) -> None:
    """Templates, static files, migrations and the mark of a typed package; one version everywhere."""
    (wheel,) = [path for path in built if path.suffix == ".whl"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"wawp_exporter-{__version__}.dist-info/METADATA"))

    assert {
        "wawp_exporter/py.typed",
        "wawp_exporter/web/templates/fleet.html",
        "wawp_exporter/web/static/live.js",
        "wawp_exporter/log/migrations/versions/0003_replicas.py",
        "wawp_exporter/share/rules/session.rules.yml",
    } <= names
    assert {name.split("/")[0] for name in names} == {"wawp_exporter", f"wawp_exporter-{__version__}.dist-info"}
    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "MIT")
    assert "postgresql" in (metadata.get_all("Provides-Extra") or [])


def test_the_sdist_builds_the_same_wheel(built: list[Path], tmp_path: Path) -> None:
    """What is on the index is what is in the repository."""
    (sdist,) = [path for path in built if path.name.endswith(".tar.gz")]
    (wheel,) = [path for path in built if path.suffix == ".whl"]
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=folder,
        env={**os.environ, **EPOCH})  # fmt: skip

    assert (tmp_path / "dist" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_version_stands_in_one_place() -> None:
    """The chart and the image follow it."""
    chart = yaml.safe_load((ROOT / "helm" / "wawp-exporter" / "Chart.yaml").read_text())

    assert chart["appVersion"] == __version__
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()


# -- the image


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.strip().partition(" ") for line in lines)]


def test_the_dockerfile_is_as_it_should_be() -> None:
    """Two stages, pinned bases, no root, a health check, labels, hashes; no secret and no `latest`."""
    found = instructions()
    words = [word for word, _ in found]
    (label,) = [rest for word, rest in found if word == "LABEL"]

    assert words.count("FROM") == 2
    assert all(re.search(r":\d+\.\d+-slim-\w+", rest) for word, rest in found if word == "FROM")
    assert words[-2:] == ["ENTRYPOINT", "CMD"]
    assert [rest for word, rest in found if word == "USER"] == ["10011:10011"]
    assert {"HEALTHCHECK", "EXPOSE", "VOLUME"} <= set(words)
    assert "--require-hashes" in str(found)
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in label
    assert "ADD" not in words
    assert "apt-get" not in str(found)


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, with all of its rules."""
    run(TOOLS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile")


def test_only_what_the_image_needs_is_sent_to_its_build() -> None:
    """Whatever is not named stays out: keys, logs, the repository."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        part for word, rest in instructions() if word == "COPY" and "--from" not in rest for part in rest.split()[:-1]
    }

    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied


def python_for_all() -> Path:
    """An interpreter of this version that any user may run: root's own may lie where nobody else can look."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (Path(sys.base_prefix) / "bin" / version, Path("/usr/bin") / version):
        if path.exists() and for_all(path):
            return path
    return Path(sys.executable)


def for_all(path: Path) -> bool:
    """Whether any user may reach it."""
    return all(each.stat().st_mode & 0o001 for each in path.resolve().parents)


@pytest.fixture(scope="module")
def installed(built: list[Path]) -> Iterator[Path]:
    """An empty environment with nothing but the lock and the wheel, as the image's steps make it."""
    # Where another user can read it, unlike pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="wawp-image-") as folder:
        venv = Path(folder) / "venv"
        Path(folder).chmod(0o755)
        run(python_for_all(), "-m", "venv", "--without-pip", venv)
        pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "--quiet", "install"]
        run(*pip, "--require-hashes", "-r", ROOT / "requirements.lock")
        (wheel,) = [path for path in built if path.suffix == ".whl"]
        run(*pip, "--no-deps", wheel)
        yield venv


def health_check(port: int) -> list[str]:
    """The arguments of the image's health check, for this port."""
    (check,) = [rest for word, rest in instructions() if word == "HEALTHCHECK"]
    arguments: list[str] = json.loads(check.partition("CMD ")[2].replace("10011", str(port)))
    return arguments[1:]


def confined(data: str, interpreter: Path) -> list[str]:
    """A wrapper as a container's runtime is: user 10011, nothing writable but `data`, no capability.

    Only who may mount can have it, and only with an interpreter that others may run: else it is empty.
    """
    mounts = subprocess.run("unshare --mount true", shell=True, stderr=subprocess.DEVNULL, check=False)
    if mounts.returncode != 0 or not for_all(interpreter):
        return []
    os.chown(data, 10011, 10011)
    read_only = f'mount --bind {data} {data} && mount -o remount,bind,ro / && exec "$@"'
    user = ["setpriv", "--reuid=10011", "--regid=10011", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    return ["unshare", "--mount", "sh", "-c", read_only, "sh", *user]


def test_the_images_steps_give_a_service_that_runs_confined(installed: Path) -> None:
    """As another user, on a read-only root file system: it takes a webhook, is scraped and audited."""
    port = parts.free_port()
    with tempfile.TemporaryDirectory(prefix="wawp-data-") as data:
        env = {
            "PATH": f"{installed}/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "WAWP_EXPORTER_DATABASE__URL": f"sqlite:///{data}/wawp.db",
            "WAWP_EXPORTER_WEB__LISTEN": f"127.0.0.1:{port}",
        }
        wrapper = confined(data, installed / "bin" / "python")
        program = f"{installed}/bin/wawp-exporter"
        if wrapper:
            touched = subprocess.run([*wrapper, "touch", f"{data}-beside"], stderr=subprocess.PIPE, check=False)
            assert b"Read-only" in touched.stderr
        process = subprocess.Popen([*wrapper, program, "serve"], env=env, cwd="/")
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                parts.wait_until(lambda: client.get("/-/ready").status_code == 200)
                assert client.post("/webhook", content=parts.encode(parts.envelope())).status_code == 200
                assert "wawp_session_status{" in client.get("/metrics").text
                assert client.get("/api/v1/audit").status_code == 200
            run(installed / "bin" / "python", *health_check(port))
        finally:
            process.terminate()
            assert process.wait() == 0
        assert {path.name for path in Path(data).iterdir()} <= {"wawp.db", "wawp.db-wal", "wawp.db-shm", "wawp.db.lock"}


def test_the_wheel_alone_sets_up_everything(installed: Path, tmp_path: Path, promtool: Path, amtool: Path) -> None:
    """Whoever has no clone gets the same rules and routes; a program that is not on PATH is called by its full path."""
    program = installed / "bin" / "wawp-exporter"
    said = run(
        *(
            program,
            "setup",
            tmp_path / "wawp",
            "--gateway",
            "waha",
            "--receiver",
            "webhook:http://127.0.0.1:1/",
            "--yes",
        ),
        env={"PATH": "/usr/bin:/bin"},
    ).stdout

    run(program, "check-config", tmp_path / "wawp" / "wawp-exporter.yml")
    run(promtool, "check", "config", tmp_path / "wawp" / "prometheus.yml")
    run(amtool, "check-config", tmp_path / "wawp" / "alertmanager.yml")
    assert f"  {program} serve --config {tmp_path}/wawp/wawp-exporter.yml\n" in said


def test_pipx_installs_the_wheel(built: list[Path], tmp_path: Path) -> None:
    """With its console script."""
    (wheel,) = [path for path in built if path.suffix == ".whl"]
    env = {**os.environ, "PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}

    run(sys.executable, "-m", "pipx", "install", "--quiet", wheel, env=env)

    assert __version__ in run(tmp_path / "bin" / "wawp-exporter", "--version").stdout


# -- systemd


def test_the_unit_is_sound_and_confined(tmp_path: Path) -> None:
    """By systemd itself: no complaint, and the exposure that the docs tell."""
    analyze = parts.require("systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/wawp-exporter", sys.executable))

    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    security = run(analyze, "security", "--offline=true", "--no-pager", UNIT).stdout

    assert UNIT.name not in verified.stdout + verified.stderr
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", security)
    assert found
    assert f"an exposure of {found[1]} of 10" in (ROOT / "docs" / "security.md").read_text()


def test_the_units_command_is_one_of_ours() -> None:
    """And a bad configuration is not tried again."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    unit.read_string(UNIT.read_text())
    service = unit["Service"]

    assert service["ExecStart"].split()[1:] == ["serve", "--config", "/etc/wawp-exporter/wawp-exporter.yml"]
    assert service["RestartPreventExitStatus"] == "2"


# -- compose


def compose() -> dict[str, Any]:
    """The compose file."""
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yml").read_text())
    return loaded


def test_compose_takes_its_file() -> None:
    """The real Docker Compose reads it, strictly; nothing is built or started."""
    run(TOOLS / "docker-compose", "--file", COMPOSE / "compose.yml", "config", "--quiet")


def test_every_file_that_compose_mounts_is_there() -> None:
    """But for the keys, which are the operator's."""
    mounted = [
        (COMPOSE / volume.split(":")[0]).resolve()
        for service in compose()["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]

    assert len(mounted) == 7
    assert [path for path in mounted if not path.exists()] == []


def test_compose_shows_the_world_nothing_but_webhooks() -> None:
    """Every other port is on loopback; the exporter is confined."""
    services = compose()["services"]
    ports = [port for service in services.values() for port in service["ports"]]

    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["10012:10012"]
    exporter = services["exporter"]
    assert (exporter["read_only"], exporter["cap_drop"]) == (True, ["ALL"])
    assert all(re.search(r":v?\d+\.\d+\.\d+$", each["image"]) for name, each in services.items() if name != "exporter")


def test_compose_has_the_releases_that_setup_writes_for() -> None:
    """Current ones, with long-term support where there is such a thing; they are named in one place."""
    images = {name: service["image"] for name, service in compose()["services"].items() if name != "exporter"}

    assert images == {
        "prometheus": f"prom/prometheus:v{PROMETHEUS.current}",
        "alertmanager": f"prom/alertmanager:v{ALERTMANAGER.current}",
        "grafana": GRAFANA_IMAGE,
    }


def test_composes_configurations_are_good(tmp_path: Path, promtool: Path, amtool: Path) -> None:
    """By the programs that read them, with the mounts in place."""
    (tmp_path / "hmac.keys").write_text("a-key")
    ours = (COMPOSE / "wawp-exporter.yml").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "wawp-exporter.yml").write_text(ours)
    run(sys.executable, "-m", "wawp_exporter", "check-config", tmp_path / "wawp-exporter.yml")
    theirs = (COMPOSE / "prometheus.yml").read_text().replace("/etc/prometheus/wawp", str(ROOT / "alerts"))
    (tmp_path / "prometheus.yml").write_text(theirs)
    run(promtool, "check", "config", tmp_path / "prometheus.yml")
    run(amtool, "check-config", ROOT / "alerts" / "alertmanager.yml")
    variable = re.search(r"\$\{(\w+)\}", (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert variable
    assert variable[1] in compose()["services"]["grafana"]["environment"]
