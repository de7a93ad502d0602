"""The command `setup`: what it asks, refuses, writes and says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests import parts
from tests.setup.conftest import VERSIONS
from wawp_exporter import __version__
from wawp_exporter.commands.main import main
from wawp_exporter.setup import versions
from wawp_exporter.setup.gateways import GATEWAYS
from wawp_exporter.setup.receivers import KINDS

RECEIVER = ("--receiver", "webhook:http://127.0.0.1:1/alerts")
TOOLS = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths lead into it, and the caller's settings of the exporter do not reach it."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("WAWP_EXPORTER_"):
            monkeypatch.delenv(name)


def setup(*args: str, answers: str | None = None, releases: tuple[str, ...] = VERSIONS) -> Result:
    """With --yes, or with somebody who types `answers`."""
    mode = ["--yes"] if answers is None else []
    done = CliRunner().invoke(main, ["setup", *args, *releases, *mode], input=answers, prog_name="wawp-exporter")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def mistakes(done: Result) -> dict[str, str]:
    """What a refused setup printed, by field; nothing was written."""
    assert (done.exit_code, done.stdout) == (2, "")
    assert list(Path().iterdir()) == []
    return {key: text for key, _, text in (line.partition(": ") for line in done.stderr.splitlines())}


def run(*command: Any) -> str:
    """A program that must go well."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version(program: Path) -> str:
    """What a program says of itself."""
    return str(versions.installed([str(program)]))


# -- what it writes


@pytest.mark.parametrize("release", parts.VERSIONS)
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_programs_that_read_the_files_find_no_mistake(gateway: str, release: str) -> None:
    """Of each release; for each gateway, behind a proxy and under a path too."""
    promtool, amtool = parts.require("promtool", release), parts.require("amtool", release)
    done = setup(
        *("wawp", "--gateway", gateway, *RECEIVER, "--ingress-url", "https://wawp.example/x", "--source", "madrid-1"),
        *("--external-url", "https://wawp.example/x", "--alertmanager", "https://alerts.example/am"),
        releases=("--alertmanager-version", version(amtool), "--prometheus-version", version(promtool)),
    )
    assert done.exit_code == 0, done.output

    run(promtool, "check", "config", "wawp/prometheus.yml")
    run(amtool, "check-config", "wawp/alertmanager.yml")
    run(TOOLS / "docker-compose", "--file", "wawp/compose.yml", "config", "--quiet")
    good = CliRunner().invoke(main, ["check-config", "wawp/wawp-exporter.yml"])
    assert good.exit_code == 0, good.output


def test_no_placeholder_is_left() -> None:
    """The folder works as it is."""
    setup("wawp", "--gateway", "waha", *RECEIVER)

    here = str(Path.cwd())  # it has this test's name
    texts = {path: path.read_text().replace(here, "") for path in Path("wawp").rglob("*") if path.is_file()}
    assert [path for path, text in texts.items() if "placeholder" in text.lower()] == []


def test_containers_have_the_releases_of_the_shipped_compose_file() -> None:
    """Current ones, pinned; written in two places, so compared here."""
    setup("wawp", "--gateway", "waha", *RECEIVER)

    files = [
        yaml.safe_load(path.read_text())
        for path in (Path("wawp/compose.yml"), parts.ROOT / "deploy/compose/compose.yml")
    ]
    ours, shipped = ({name: each["image"] for name, each in file["services"].items()} for file in files)
    assert ours.pop("exporter").endswith(f":{__version__}")
    assert ours == {name: image for name, image in shipped.items() if name != "exporter"}


def test_everybody_else_finds_only_webhooks_of_the_containers() -> None:
    """They use the host's network, so every other address is loopback; none has a capability."""
    setup("wawp", "--gateway", "waha", *RECEIVER)

    services = yaml.safe_load(Path("wawp/compose.yml").read_text())["services"]
    words = [word for each in services.values() for word in each.get("command", ()) if "listen-address=" in word]
    assert sorted(word.partition("=")[2] for word in words) == ["", "127.0.0.1:9090", "127.0.0.1:9093"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert all(each["cap_drop"] == ["ALL"] for each in services.values())


def test_prometheus_scrapes_and_evaluates_every_five_seconds() -> None:
    """Under the job name that the rules select, and with an alerting section, without which nobody gets a message."""
    setup(
        "wawp",
        "--gateway",
        "waha",
        *RECEIVER,
        "--listen",
        "127.0.0.1:20011",
        "--alertmanager",
        "http://127.0.0.1:29093",
    )

    config = yaml.safe_load(Path("wawp/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert config["global"] == {"scrape_interval": "5s", "evaluation_interval": "5s"}
    assert (job["job_name"], job["scrape_interval"]) == ("wawp-exporter", "5s")
    assert job["static_configs"] == [{"targets": ["127.0.0.1:20011"]}]
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["127.0.0.1:29093"]}]}]
    assert config["rule_files"] == ["rules/*.yml"]


NATIVE_KEYS = {"scrape_native_histograms", "convert_classic_histograms_to_nhcb"}


@pytest.mark.parametrize(
    ("version", "flags", "keys", "feature"),
    [
        ("2.53.3", (), 0, False),
        ("3.4.2", (), 0, False),
        ("3.4.2", ("--native-histograms",), 1, True),
        ("3.5.3", (), 1, True),
        ("3.5.3", ("--classic-histograms",), 0, False),
        ("3.8.0", (), 2, False),
        ("3.13.4", (), 2, False),
        ("3.13.4", ("--classic-histograms",), 0, False),
    ],
)
def test_histograms_are_native_where_prometheus_does_it_well(
    version: str, flags: tuple[str, ...], keys: int, feature: bool
) -> None:
    """One series each instead of 15. Until 3.7 by a flag of the server, which the printed command has, from 3.8 on by
    the job alone; before 3.5 only where it is asked for, since histogram_count() could be wrong."""
    done = setup("wawp", "--gateway", "waha", *RECEIVER, *flags, releases=("--prometheus-version", version))

    (job,) = yaml.safe_load(Path("wawp/prometheus.yml").read_text())["scrape_configs"]
    assert len(NATIVE_KEYS & {key for key, value in job.items() if value is True}) == keys
    command = next(line for line in done.stdout.splitlines() if "prometheus --config.file" in line)
    assert ("--enable-feature=native-histograms" in command) == feature
    assert ("without that flag it drops them" in done.stdout) == feature
    assert ("session_histograms: false" in done.stdout) == (keys == 0)
    assert ("setup --native-histograms" in done.stdout) == ("--classic-histograms" in flags)


@pytest.mark.parametrize(("flags", "native"), [((), False), (("--enable-feature=native-histograms",), True)])
def test_a_running_prometheus_is_asked_whether_it_would_drop_native_histograms(
    flags: tuple[str, ...], native: bool
) -> None:
    """Prometheus 3.5 without the feature flag drops what it converts: nobody would have a histogram any more."""
    with parts.Prometheus({"scrape_configs": []}, flags=flags, version="forky") as server:
        setup("wawp", "--gateway", "waha", *RECEIVER, "--prometheus", server.url, releases=())

    (job,) = yaml.safe_load(Path("wawp/prometheus.yml").read_text())["scrape_configs"]
    assert ("convert_classic_histograms_to_nhcb" in job) == native


def test_prometheus_2_has_no_native_histograms() -> None:
    """It would refuse the file."""
    done = setup(
        "wawp", "--gateway", "waha", *RECEIVER, "--native-histograms", releases=("--prometheus-version", "2.53")
    )

    assert mistakes(done) == {"native-histograms": "Prometheus 2.53.0 has none, expected Prometheus 3.0.0 or newer"}


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:10011", None),
        ("http://192.0.2.7:10012", "0.0.0.0:10012"),
        ("http://gateway-sees-me", "0.0.0.0:80"),
        ("https://wawp.example", "127.0.0.1:10012"),
        ("http://127.0.0.1:10012", "127.0.0.1:10012"),
    ],
)
def test_webhooks_have_a_listener_of_their_own_when_the_gateway_is_elsewhere(url: str, listen: str | None) -> None:
    """Metrics and pages stay on loopback; behind a TLS proxy webhooks do, too."""
    setup("wawp", "--gateway", "waha", *RECEIVER, "--ingress-url", url)

    web = yaml.safe_load(Path("wawp/wawp-exporter.yml").read_text())["web"]
    assert (web["listen"], web.get("ingress_listen")) == ("127.0.0.1:10011", listen)


def test_another_address_of_the_exporter_is_followed_everywhere() -> None:
    """Prometheus, links, the gateway's lines: one flag moves them all."""
    done = setup("wawp", "--gateway", "waha", *RECEIVER, "--listen", "0.0.0.0:20011")

    config = yaml.safe_load(Path("wawp/wawp-exporter.yml").read_text())["web"]
    assert (config.get("ingress_listen"), config["external_url"]) == (None, "http://127.0.0.1:20011")
    assert "WHATSAPP_HOOK_URL=http://127.0.0.1:20011/webhook\n" in done.stdout
    (job,) = yaml.safe_load(Path("wawp/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:20011"]}]


# -- the gateway


def test_waha_gets_its_environment_and_the_entry_of_a_session() -> None:
    """Exact lines, with the key of the file, on the screen and in a file for its owner."""
    done = setup("wawp", "--gateway", "waha", *RECEIVER)

    key = Path("wawp/hmac.keys").read_text().strip()
    assert len(key) == 64
    assert Path("wawp/hmac.keys").stat().st_mode & 0o777 == 0o600
    for line in (
        "WHATSAPP_HOOK_URL=http://127.0.0.1:10011/webhook",
        "WHATSAPP_HOOK_EVENTS=session.status,message.any,message.ack",
        f"WHATSAPP_HOOK_HMAC_KEY={key}",
    ):
        assert f"  {line}\n" in done.stdout
    entry = json.loads(re.findall(r"^  (\{.*\})$", done.stdout, re.MULTILINE)[0])
    assert (entry["url"], entry["hmac"]) == ("http://127.0.0.1:10011/webhook", {"key": key})
    paste = Path("wawp/paste-into-the-gateway.txt")
    assert paste.stat().st_mode & 0o777 == 0o600
    assert f"WHATSAPP_HOOK_HMAC_KEY={key}\n" in paste.read_text()


@pytest.mark.parametrize("gateway", ["wawp", "evolution", "wppconnect"])
def test_the_calls_to_other_gateways_are_shell_lines_with_json(gateway: str) -> None:
    """They have a token in the URL, since they sign nothing; each says that its call replaces what is there."""
    done = setup("wawp", "--gateway", gateway, *RECEIVER, "--source", "two", "--ingress-url", "https://wawp.example")

    token = Path("wawp/webhook.token").read_text().strip()
    call = re.findall(r"^  (curl.*\\\n.*)$", done.stdout, re.MULTILINE)[-1]
    words = shlex.split(call.replace("\\\n", " "))
    body = json.dumps(json.loads(words[words.index("-d") + 1]))
    assert re.search(rf"https://wawp\.example/webhook/two\?(secret|token)={token}", body)
    assert re.search(r"OVERWRITES|REPLACES", done.stdout)
    source = yaml.safe_load(Path("wawp/wawp-exporter.yml").read_text())["sources"]["two"]
    assert source["token_file"] == "webhook.token"
    assert source.get("dialect", "waha") == {"wawp": "waha"}.get(gateway, gateway)


def test_openwa_signs_with_its_own_header() -> None:
    """Its webhooks are added to a session's list; the source says how they are signed."""
    done = setup("wawp", "--gateway", "openwa", *RECEIVER, "--source", "two", "--ingress-url", "https://wawp.example")

    key = Path("wawp/hmac.keys").read_text().strip()
    call = re.findall(r"^  (curl.*\\\n.*)$", done.stdout, re.MULTILINE)[-1]
    words = shlex.split(call.replace("\\\n", " "))
    hook = json.loads(words[words.index("-d") + 1])
    assert (hook["url"], hook["secret"]) == ("https://wawp.example/webhook/two?session=NAME", key)
    source = yaml.safe_load(Path("wawp/wawp-exporter.yml").read_text())["sources"]["two"]
    assert (source["hmac_algorithm"], source["hmac_header"]) == ("sha256", "X-OpenWA-Signature")
    assert source["dialect"] == "openwa"


# -- what it leaves alone


def test_twice_is_once() -> None:
    """The second run changes nothing, and says so; the key stays."""
    given = ("wawp", "--gateway", "waha", "--receiver", "telegram:-1", "--telegram-token", "a-token")
    setup(*given)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("wawp").rglob("*") if path.is_file()}

    done = setup(*given)

    assert done.exit_code == 0
    assert "nothing was changed" in done.stdout
    assert "Left alone" not in done.stdout
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("wawp").rglob("*") if path.is_file()}
    assert after == before


def test_files_that_are_there_are_left_alone_and_named() -> None:
    """An operator's prometheus.yml is not ours; what is missing is added."""
    Path("wawp").mkdir()
    Path("wawp/prometheus.yml").write_text("global: {}\n")
    Path("wawp/hmac.keys").write_text("my own key\n")

    done = setup("wawp", "--gateway", "waha", *RECEIVER)

    assert done.exit_code == 0
    assert re.search(r"Left alone.*\n  prometheus\.yml\n\n", done.stdout)
    assert Path("wawp/prometheus.yml").read_text() == "global: {}\n"
    assert "WHATSAPP_HOOK_HMAC_KEY=my own key" in done.stdout
    assert Path("wawp/alertmanager.yml").exists()


def test_a_key_that_cannot_be_used_is_refused() -> None:
    """The exporter would not start with it."""
    Path("wawp").mkdir()
    Path("wawp/hmac.keys").write_text("\n")

    done = setup("wawp", "--gateway", "waha", *RECEIVER)

    assert done.exit_code == 2
    assert re.search(r"hmac\.keys: cannot be used \(holds no secret.*expected one key a line", done.stderr) or (
        "is empty" in done.stderr
    )
    assert [path.name for path in Path("wawp").iterdir()] == ["hmac.keys"]


def test_a_file_in_place_of_the_folder_is_refused() -> None:
    """It may be something that the operator needs."""
    Path("wawp").write_text("mine")

    done = setup("wawp", "--gateway", "waha", *RECEIVER)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("wawp: is not a folder, expected a folder or nothing\n")
    assert Path("wawp").read_text() == "mine"


# -- what it refuses


def test_with_yes_everything_that_is_missing_is_named_at_once() -> None:
    """A script must not wait for an answer."""
    assert mistakes(setup("wawp")) == {
        "gateway": "is missing, expected --gateway with one of waha, wawp, evolution, wppconnect, openwa",
        "receiver": f"is missing, expected --receiver with one of {', '.join(KINDS)}",
    }
    assert mistakes(setup("wawp", "--gateway", "waha", "--receiver", "email")).keys() == {
        "email-to",
        "smtp",
        "smtp-from",
    }
    assert mistakes(setup("wawp", "--gateway", "waha", "--receiver", "telegram:-1")) == {
        "telegram-token": "is missing, expected the token from @BotFather (--telegram-token)"
    }


@pytest.mark.parametrize(
    ("field", "flags"),
    [
        ("receiver", ("--receiver", "pigeon:home")),
        ("receiver", ("--receiver", "")),
        ("telegram-chat", ("--receiver", "telegram:@ops", "--telegram-token", "x")),
        ("slack-url", ("--receiver", "slack:hooks.slack.com")),
        ("slack-url", ("--receiver", "slack:https://x/{{ .Status }}")),
        ("slack-url", (*RECEIVER, "--slack-url", "https://x/y")),
        ("email-to", ("--receiver", "email:nobody", "--smtp", "mail:25", "--smtp-from", "a@b")),
        ("smtp", ("--receiver", "email:a@b", "--smtp", "mail", "--smtp-from", "a@b")),
        ("smtp-password", ("--receiver", "email:a@b", "--smtp", "mail:25", "--smtp-from", "a@b", "--smtp-user", "u")),
        ("whatsapp-to", ("--receiver", "whatsapp:somebody", "--whatsapp-url", "http://waha")),
        (
            "whatsapp-session",
            ("--receiver", "whatsapp:600111222", "--whatsapp-url", "http://w", "--whatsapp-session", "1"),
        ),
        ("telegram-token", ("--receiver", "telegram:-1", "--telegram-token", "@/not/there")),
        ("listen", (*RECEIVER, "--listen", "127.0.0.1")),
        ("ingress-url", (*RECEIVER, "--ingress-url", "exporter:10012")),
        ("external-url", (*RECEIVER, "--external-url", "https://x/{{.}}")),
        ("alertmanager", (*RECEIVER, "--alertmanager", "127.0.0.1:9093")),
        ("source", (*RECEIVER, "--source", "two words")),
        ("timezone", (*RECEIVER, "--timezone", "Madrid")),
        ("dead-mans-switch", (*RECEIVER, "--dead-mans-switch", "x")),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(field: str, flags: tuple[str, ...]) -> None:
    """Exit status 2, nothing is written, and the value is not shown: it may be a secret."""
    found = mistakes(setup("wawp", "--gateway", "waha", *flags))

    assert found.keys() == {field}
    assert "expected" in found[field]


def test_answers_that_do_not_fit_together_are_refused() -> None:
    """The exporter would not start with them; the key of its configuration is named."""
    same = "127.0.0.1:20011"
    found = mistakes(setup("wawp", "--gateway", "waha", *RECEIVER, "--listen", same, "--ingress-listen", same))

    assert found.keys() == {"web.ingress_listen"}


@pytest.mark.parametrize(
    ("flags", "field", "expected"),
    [
        (("--alertmanager-version", "0.24"), "alertmanager-version", "0.25 or newer"),
        (("--prometheus-version", "2.41"), "prometheus-version", "2.42 or newer"),
        (("--prometheus-version", "new"), "prometheus-version", "a version such as"),
    ],
)
def test_versions_that_do_not_read_the_files_are_refused(flags: tuple[str, ...], field: str, expected: str) -> None:
    """Rules need `keep_firing_for` and functions of 2.42; templates and matchers those of 0.25."""
    assert expected in mistakes(setup("wawp", "--gateway", "waha", *RECEIVER, releases=flags))[field]


@pytest.mark.parametrize(("kind", "version"), [("msteams", "0.27.0"), ("whatsapp", "0.31.1")])
def test_a_receiver_that_this_alertmanager_does_not_have_is_refused(kind: str, version: str) -> None:
    """Alertmanager would not start; the message says what to take."""
    done = setup("wawp", "--gateway", "waha", "--receiver", kind, releases=("--alertmanager-version", version))

    text = mistakes(done)["receiver"]
    assert text.startswith(
        f"{kind} needs Alertmanager 0.{28 if kind == 'msteams' else 32}, and this is {version}; expected"
    )
    assert "email" in text


def test_a_gateway_that_nobody_knows_is_a_wrong_use() -> None:
    """As click says it, with the names."""
    done = setup("wawp", "--gateway", "pigeon", *RECEIVER)

    assert done.exit_code == 2
    assert "'waha', 'wawp', 'evolution', 'wppconnect', 'openwa'" in done.stderr


# -- what it asks and says


def test_a_person_is_asked_for_what_flags_do_not_say() -> None:
    """A bad answer is asked for again; a secret is neither echoed nor printed."""
    # Source, webhooks, pages, Grafana and switch by their defaults; one receiver.
    done = setup("wawp", answers="\n".join(["waha", *[""] * 5, "y", "telegram", "ops", "-100", "the-secret-token", ""]))

    assert done.exit_code == 0, done.output
    assert "Which gateway (waha, wawp, evolution, wppconnect, openwa): " in done.output
    assert "Error: is not usable, expected a number such as -1001234567890" in done.output
    assert "the-secret-token" not in done.output
    assert Path("wawp/secrets/telegram-token").read_text() == "the-secret-token"


def test_three_people_are_asked_for_one_after_the_other() -> None:
    """Each with a kind and an address."""
    people = [line for name in ("manager", "it", "lead") for line in ("webhook", f"http://127.0.0.1/{name}")]

    done = setup("wawp", "--gateway", "waha", answers="\n".join([*[""] * 5, "n", *people, ""]))

    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("wawp/secrets").iterdir()} == {
        "manager-webhook-url",
        "it-webhook-url",
        "lead-webhook-url",
    }


def test_what_two_people_share_is_asked_for_once() -> None:
    """The mail server and its password are the same for the manager and the lead, their addresses are not."""
    people = ["email", "m@x", "mail:25", "a@x", "user", "password", "webhook", "http://127.0.0.1/it", "email", "l@x"]

    done = setup("wawp", "--gateway", "waha", answers="\n".join([*[""] * 5, "n", *people, ""]))

    assert done.exit_code == 0, done.output
    routes = yaml.safe_load(Path("wawp/alertmanager.yml").read_text())
    mails = {each["name"]: each["email_configs"][0] for each in routes["receivers"] if "email_configs" in each}
    assert {name: mail["to"] for name, mail in mails.items()} == {"session-manager": "m@x", "it-lead": "l@x"}
    assert {mail["smarthost"] for mail in mails.values()} == {"mail:25"}


def test_a_person_is_asked_which_versions_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found is the suggestion; here nothing is installed and nobody answers."""
    monkeypatch.setenv("PATH", str(tmp_path))
    nowhere = [f"--{name}=http://127.0.0.1:{parts.free_port()}" for name in ("alertmanager", "prometheus")]
    answers = [*[""] * 5, "0.28.1", "", "y", "msteams", "http://t/x", ""]

    done = setup("wawp", "--gateway", "waha", *nowhere, answers="\n".join(answers), releases=())

    assert done.exit_code == 0, done.output
    assert "Version of Alertmanager [0.34.0]: " in done.output
    assert "for Prometheus 3.13.4 and Alertmanager 0.28.1:" in done.output


def test_a_bad_flag_is_refused_before_anybody_is_asked() -> None:
    """Ten answers would be for nothing."""
    found = mistakes(setup("wawp", "--listen", "nowhere", answers=""))

    assert found.keys() == {"listen"}


def test_secrets_can_come_from_files_and_are_never_printed() -> None:
    """A flag's value would stay in the shell's history."""
    Path("token").write_text("from-a-file\n")

    done = setup("wawp", "--gateway", "waha", "--receiver", "telegram:-1", "--telegram-token", "@token")

    assert Path("wawp/secrets/telegram-token").read_text() == "from-a-file"
    assert "from-a-file" not in done.output


def test_it_says_how_to_start_and_check_everything() -> None:
    """Whole commands, with the addresses that the files have."""
    done = setup("wawp", "--gateway", "waha", *RECEIVER, "--prometheus", "http://127.0.0.1:29090")

    folder = Path("wawp").absolute()
    assert f"docker compose -f {folder}/compose.yml up --detach" in done.stdout
    assert f"serve --config {folder}/wawp-exporter.yml" in done.stdout
    assert "--web.listen-address=127.0.0.1:29090" in done.stdout
    assert re.search(
        rf"doctor --config {folder}/wawp-exporter\.yml --prometheus=http://127\.0\.0\.1:29090 ", done.stdout
    )
    assert "test-alert --alertmanager http://127.0.0.1:9093" in done.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--receiver", "whatsapp:600111222", "--whatsapp-url", "http://w"), "cannot report its own death"),
        (RECEIVER, "--dead-mans-switch"),
        (RECEIVER, "only this machine can open http://127.0.0.1:10011 and http://127.0.0.1:3000"),
        ((*RECEIVER, "--gateway", "wawp"), "Wawp cannot reach http://127.0.0.1:10011"),
    ],
)
def test_it_warns_of_what_will_not_work(flags: tuple[str, ...], words: str) -> None:
    """The folder is written all the same: the operator may know better."""
    done = setup("wawp", "--gateway", "waha", *flags)

    assert done.exit_code == 0
    assert words in done.stdout
