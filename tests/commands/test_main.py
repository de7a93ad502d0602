"""The command line: what it prints, where, and its exit status; a traceback is never part of it."""

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests import parts
from wawp_exporter.commands.main import main

SCRIPT = Path(sys.executable).parent / "wawp-exporter"
Done = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths lead into it, and the caller's settings of the exporter do not reach it."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("WAWP_EXPORTER_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def with_signals_of_its_own() -> Iterator[None]:
    """What `serve` does with them ends with the test: in life it ends with the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*args: str | Path, **env: str) -> Done:
    """The command line inside this process: a process of its own for each of these would be most of their time."""
    done = CliRunner(env=env).invoke(main, [str(arg) for arg in args], prog_name="wawp-exporter")
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return Done(args, done.exit_code, done.stdout, done.stderr)


def spawn(*args: str | Path) -> Done:
    """The console script as a user starts it; it must end by itself and must not show a traceback."""
    done = subprocess.run([SCRIPT, *args], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def write(folder: Path, config: Any) -> Path:
    """A configuration file."""
    path = folder / "wawp.yml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def mistakes(done: Done) -> dict[str, str]:
    """What a refused configuration printed, by key."""
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line.partition(": ") for line in done.stderr.splitlines()]
    return {key: text for key, _, text in lines}


def test_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    """One line, so that scripts can read it."""
    done = spawn("--version")

    assert done.returncode == 0
    assert done.stdout == f"wawp-exporter {importlib.metadata.version('wawp-exporter')}\n"
    assert done.stderr == ""


def test_the_module_is_the_script(tmp_path: Path) -> None:
    """`python -m wawp_exporter` says the same."""
    done = subprocess.run(
        [sys.executable, "-m", "wawp_exporter", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout == run("--version").stdout


def test_help_names_the_commands(tmp_path: Path) -> None:
    """Each with a word about it."""
    done = run("--help")

    assert done.returncode == 0
    for command in ("serve", "check-config", "simulate"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("args", [("frobnicate",), ("--frobnicate",), ("serve", "--port", "1"), ("check-config",)])
def test_what_is_not_a_command_is_refused_with_status_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    """And with a hint."""
    done = run(*args)

    assert done.returncode == 2
    assert "Try 'wawp-exporter" in done.stderr
    assert done.stdout == ""


def test_a_good_configuration_is_good(tmp_path: Path) -> None:
    """Exit status 0, and nothing is created."""
    (tmp_path / "keys").write_text("topsecret\n")
    path = write(tmp_path, {"sources": {"waha-1": {"hmac_keys_file": "keys"}}, "web": {"listen": ":10011"}})
    done = run("check-config", path)

    assert done.returncode == 0
    assert "good" in done.stdout
    assert done.stderr == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["keys", "wawp.yml"]


def test_an_empty_configuration_is_good(tmp_path: Path) -> None:
    """Every key has a default."""
    assert run("check-config", write(tmp_path, "")).returncode == 0


def test_every_mistake_is_printed_at_once(tmp_path: Path) -> None:
    """Each on a line of its own that begins with its path; an operator mends the file once."""
    config = {
        "web": {"listen": "everywhere", "tls": {"cert_file": "absent.pem"}},
        "log": {"level": "loud", "colour": True},
        "sources": {"waha-1": {"hmac_keyfile": "keys", "hmac_algorithm": "md5"}},
        "thresholds": {"failed": "10", "down": -5},
        "metrics": {"max_sessions": "many"},
        "slo": {"objective": 1.5},
        "timezone": "Mars/Olympus",
        "webhook": {},
    }
    found = mistakes(run("check-config", write(tmp_path, config)))

    assert set(found) == {
        "web.listen",
        "web.tls.cert_file",
        "log.level",
        "log.colour",
        "sources.waha-1.hmac_keyfile",
        "sources.waha-1.hmac_algorithm",
        "thresholds.failed",
        "thresholds.down",
        "metrics.max_sessions",
        "slo.objective",
        "timezone",
        "webhook",
    }
    assert all("expected" in text for text in found.values())
    assert "hmac_keys_file" in found["sources.waha-1.hmac_keyfile"], "the close key is named"


def test_mistakes_between_sections_are_printed_together(tmp_path: Path) -> None:
    """Groups, windows and exposure are checked against the sources."""
    config = {
        "web": {"listen": "0.0.0.0:10011"},
        "groups": {"sales": ["default/a", "elsewhere/b"], "support": ["default/a"]},
        "maintenance": [{"from": "2026-12-01T04:00:00Z", "to": "2026-12-01T02:00:00Z"}],
        "sessions": [{"source": "nowhere-*", "session": "*"}],
    }
    found = mistakes(run("check-config", write(tmp_path, config)))

    assert set(found) == {
        "sources.default",
        "groups.sales.1",
        "groups.support.0",
        "maintenance.0.to",
        "sessions.0.source",
    }


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("web: [", "is not YAML (line"),
        ("- a\n- b\n", "is a list, expected a mapping"),
        ("web: {}\nweb: {}\n", "given twice (line 2)"),
        ("\tweb: {}\n", "is not YAML"),
        ("web: !!python/object/apply:os.system [ls]\n", "is not YAML"),
        ("just words", "is text, expected a mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, about: str) -> None:
    """With the line where that is known."""
    done = run("check-config", write(tmp_path, text))

    assert done.returncode == 2
    assert about in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Absent, a folder, not text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")

    for name in ("absent.yml", ".", "binary"):
        done = run("check-config", name)
        assert done.returncode == 2
        assert name in done.stderr


@pytest.mark.parametrize("start", [run, spawn])
@pytest.mark.parametrize("command", [("serve", "--config"), ("check-config",)])
def test_serve_and_check_config_refuse_alike(
    tmp_path: Path, command: tuple[str, ...], start: Callable[..., Done]
) -> None:
    """Status 2 means that the operator must fix the configuration; nothing was started or created."""
    path = write(tmp_path, {"databse": {}, "log": {"level": 3}})
    done = start(*command, path)

    assert set(mistakes(done)) == {"databse", "log.level"}
    assert [file.name for file in tmp_path.iterdir()] == ["wawp.yml"]


def test_serve_refuses_a_missing_file(tmp_path: Path) -> None:
    """A configuration that was named but is not there is not the defaults."""
    done = run("serve", "--config", "absent.yml")

    assert done.returncode == 2
    assert "absent.yml" in done.stderr


def test_an_unsigned_source_on_an_open_address_is_refused(tmp_path: Path) -> None:
    """Fail closed, unless the operator says so."""
    closed = write(tmp_path, {"web": {"listen": "0.0.0.0:0"}})
    refused = mistakes(run("serve", "--config", closed))
    meant = write(tmp_path, {"web": {"listen": "0.0.0.0:0"}, "sources": {"default": {"allow_unsigned": True}}})

    assert set(refused) == {"sources.default"}
    assert run("check-config", meant).returncode == 0


def test_a_certificate_that_a_start_would_refuse_is_a_mistake(tmp_path: Path) -> None:
    """An operator checks the file before a restart: a new certificate with the old key must not be found only then."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for name in ("old", "new"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", "/CN=localhost"]
        subprocess.run(["openssl", "req", "-x509", *key, *files], cwd=tmp_path, check=True, capture_output=True)
    pair = {"cert_file": "new.pem", "key_file": "old.key"}
    path = write(tmp_path, {"web": {"tls": pair}})
    bad = run("check-config", path)
    write(tmp_path, {"web": {"tls": {**pair, "key_file": "new.key"}}})
    good = run("check-config", path)

    assert (bad.returncode, good.returncode) == (2, 0)
    assert set(mistakes(bad)) == {"web.tls"}
    assert "KEY_VALUES_MISMATCH, expected" in bad.stderr


def test_a_mistake_in_the_environment_is_refused_by_its_key(tmp_path: Path) -> None:
    """The environment overrides the file, and is checked like it."""
    path = write(tmp_path, {"log": {"level": "info"}})
    good = run("check-config", path, WAWP_EXPORTER_LOG__LEVEL="debug")
    bad = run("check-config", path, WAWP_EXPORTER_LOG__LEVEL="loud", WAWP_EXPORTER_WEB__LISTN="x")

    assert good.returncode == 0
    assert set(mistakes(bad)) == {"log.level", "web.listn"}


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    """Not even when they stand where they do not belong, or in a variable that is mistaken for one of ours."""
    (tmp_path / "keys").write_text("s3cret-in-file\n")
    config = {
        "web": {"api_token_file": "s3cret-as-path\nmore", "metrics_token": "s3cret-inline"},
        "sources": {
            "default": {"hmac_keys_file": "keys", "hmac_algorithm": "s3cret-algorithm", "token_file": ["s3cret-list"]}
        },
    }
    done = run("check-config", write(tmp_path, config), WAWP_EXPORTER_WEB__TOKEN="s3cret-env")

    assert done.returncode == 2
    for secret in ("s3cret-in-file", "s3cret-inline", "s3cret-algorithm", "s3cret-list", "s3cret-env"):
        assert secret not in done.stdout + done.stderr


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    """Exit status 1: the configuration is right, the machine is not."""
    with parts.serving(parts.BaseHTTPRequestHandler) as other:
        address = f"127.0.0.1:{other.server_port}"
        done = spawn("serve", "--config", write(tmp_path, {"web": {"listen": address}}))

    assert done.returncode == 1
    assert done.stderr == f"cannot listen on {address}: Address already in use\n"


def test_an_address_that_this_machine_does_not_have_is_one_clear_line(tmp_path: Path) -> None:
    """192.0.2.0/24 is for documentation."""
    config = {"web": {"listen": "192.0.2.1:10011"}, "sources": {"default": {"allow_unsigned": True}}}
    done = spawn("serve", "--config", write(tmp_path, config))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "192.0.2.1:10011" in done.stderr


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_certificate_that_is_none_is_one_clear_line(tmp_path: Path, content: str) -> None:
    """An empty file is a mistake of the configuration, a bad one is found when it is used."""
    (tmp_path / "tls.pem").write_text(content)
    config = {"web": {"listen": "127.0.0.1:0", "tls": {"cert_file": "tls.pem", "key_file": "tls.pem"}}}
    done = spawn("serve", "--config", write(tmp_path, config))

    assert done.returncode == (1 if content else 2)
    assert all(line.startswith("web.tls") for line in done.stderr.splitlines())
