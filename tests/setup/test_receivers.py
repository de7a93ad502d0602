"""Each receiver that setup writes gets its messages, from each Alertmanager that has it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import parts, recorders
from tests.setup.conftest import Setup, at_once
from wawp_exporter.setup import versions
from wawp_exporter.setup.receivers import KINDS, missing

USER, PASSWORD = "wawp", "the password of the mail server"
ALERT = {
    "labels": {
        "alertname": "WawpSessionDisconnected",
        "severity": "critical",
        "category": "session",
        "source": "default",
        "session": "sales-uk",
        "engine": "GOWS",
    },
    "annotations": {"summary": "Session sales-uk is disconnected: 50 % & more", "description": "Look at *it*."},
}
SUMMARY = ALERT["annotations"]["summary"]


@pytest.fixture(scope="module")
def mail() -> Iterator[recorders.Mail]:
    """A mail server."""
    with recorders.Mail(USER, PASSWORD) as server:
        yield server


def address(kind: str, http: recorders.Http, mail: recorders.Mail) -> tuple[str, ...]:
    """The flags that lead each kind to this machine."""
    return {
        "telegram": ("telegram:-1001234", "--telegram-token", "42:the-token", "--telegram-api-url", http.url),
        "slack": (f"slack:{http.url}/slack",),
        "discord": (f"discord:{http.url}/discord",),
        "msteams": (f"msteams:{http.url}/msteams",),
        "email": (
            *("email:ops@example.com", "--smtp", mail.address, "--smtp-from", "wawp@example.com", "--smtp-tls", "no"),
            *("--smtp-user", USER, "--smtp-password", PASSWORD),
        ),
        "pagerduty": ("pagerduty:the-key", "--pagerduty-url", f"{http.url}/pagerduty"),
        "whatsapp": ("whatsapp:34600111222", "--whatsapp-url", http.url, "--whatsapp-key", "the-api-key"),
        "webhook": (f"webhook:{http.url}/webhook",),
    }[kind]


def received(kind: str, http: recorders.Http, mail: recorders.Mail) -> tuple[str, Any]:
    """Where the first message came, and what it says."""
    if kind == "email":
        message = mail.box.wait_for(lambda each: each["To"] == "ops@example.com")
        body = message.get_body(("plain",))
        return str(message["From"]), {"subject": message["Subject"], "text": body.get_content() if body else ""}
    posted = http.box.wait_for()
    return posted.path, posted.body


def texts(value: Any) -> str:
    """All text of a message."""
    if isinstance(value, dict):
        return "\n".join(texts(each) for each in value.values())
    return "\n".join(texts(each) for each in value) if isinstance(value, list) else str(value)


PATHS = {
    "telegram": "/bot42:the-token/sendMessage",
    "email": "wawp@example.com",
    "whatsapp": "/api/sendText",
}


@pytest.mark.parametrize("version", parts.VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_reaches_each_kind_of_receiver(
    kind: str, version: str, setup: Setup, http: recorders.Http, mail: recorders.Mail, tmp_path: Path
) -> None:
    """By the files as they were written, but for the wait; Alertmanager's working directory is another one."""
    program = versions.installed([str(parts.require("alertmanager", version))])
    assert program
    given = ("wawp", "--gateway", "waha", "--receiver", *address(kind, http, mail))
    done = setup(*given, versions=("--alertmanager-version", str(program), "--prometheus-version", "3.5.3"))
    if missing(KINDS[kind], program):
        assert done.exit_code == 2
        assert f"receiver: {kind} needs Alertmanager" in done.stderr
        return
    assert done.exit_code == 0, done.output

    at_once(tmp_path / "wawp")
    with parts.Alertmanager(tmp_path / "wawp" / "alertmanager.yml", version=version) as server:
        server.post_alerts(ALERT)
        where, said = received(kind, http, mail)

    assert where == PATHS.get(kind, f"/{kind}")
    assert SUMMARY in texts(said).replace("&amp;", "&")


def test_a_message_over_whatsapp_is_what_waha_wants(setup: Setup, http: recorders.Http, tmp_path: Path) -> None:
    """Text stays text, although Alertmanager reads what it has rendered as YAML, where `OK: …` is a mapping."""
    parts.require("alertmanager", "forky")
    setup("wawp", "--gateway", "waha", "--receiver", "whatsapp:+34600111222", "--whatsapp-url", f"{http.url}/waha",
          "--whatsapp-key", "the-api-key")  # fmt: skip

    at_once(tmp_path / "wawp")
    with parts.Alertmanager(tmp_path / "wawp" / "alertmanager.yml", version="forky") as server:
        server.post_alerts({**ALERT, "annotations": {"summary": "OK: all is well"}})
        posted = http.box.wait_for()

    assert (posted.path, posted.headers["X-Api-Key"]) == ("/waha/api/sendText", "the-api-key")
    assert posted.body.keys() == {"session", "chatId", "text"}
    assert (posted.body["session"], posted.body["chatId"]) == ("default", "34600111222@c.us")
    assert posted.body["text"].startswith("*CRITICAL: OK: all is well*\ncritical since")


def test_each_role_has_a_receiver_of_its_own(setup: Setup, http: recorders.Http, tmp_path: Path) -> None:
    """The manager scans QR codes, the lead hears of a login that was left waiting, IT gets the rest."""
    parts.require("alertmanager")
    roles = {"--manager": "manager", "--it": "it", "--lead": "lead"}
    flags = [word for flag, name in roles.items() for word in (flag, f"webhook:{http.url}/{name}")]
    done = setup("wawp", "--gateway", "waha", *flags, "--dead-mans-switch", f"{http.url}/switch",
                 versions=("--alertmanager-version", "0.25.0"))  # fmt: skip
    assert done.exit_code == 0, done.output

    at_once(tmp_path / "wawp")
    qr = {"alertname": "A", "category": "qr", "severity": "warning"}
    labels = {
        "/manager": {**qr, "escalation": "manager"},
        "/lead": {**qr, "escalation": "lead"},
        "/it": {"alertname": "B", "category": "exporter", "severity": "warning"},
        "/switch": {"alertname": "WawpWatchdog", "category": "watchdog", "severity": "none"},
    }
    with parts.Alertmanager(tmp_path / "wawp" / "alertmanager.yml") as server:
        server.post_alerts(*({"labels": each} for each in labels.values()))
        got = {path: http.box.wait_for(lambda posted, path=path: posted.path == path) for path in labels}

    assert {path: posted.body["alerts"][0]["labels"] for path, posted in got.items()} == labels


def test_secrets_are_in_files_where_alertmanager_reads_files(setup: Setup, tmp_path: Path) -> None:
    """And where it does not, only the owner reads the configuration."""
    given = ("--gateway", "waha", "--receiver", "telegram:-1", "--telegram-token", "the-token")
    setup("new", *given)
    setup("old", *given, versions=("--alertmanager-version", "0.25.0"))

    new, old = (tmp_path / name / "alertmanager.yml" for name in ("new", "old"))
    assert "the-token" not in new.read_text()
    assert (tmp_path / "new/secrets/telegram-token").read_text() == "the-token"
    assert (tmp_path / "new/secrets/telegram-token").stat().st_mode & 0o777 == 0o600
    assert "bot_token: the-token" in old.read_text()
    assert old.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "old/secrets").exists()


def test_the_routes_are_the_shipped_ones(setup: Setup, tmp_path: Path) -> None:
    """There is one place where routes are written; setup changes receivers and addresses only."""
    setup("wawp", "--gateway", "waha", "--receiver", "webhook:http://127.0.0.1/x", "--timezone", "Europe/Madrid")

    shipped = yaml.safe_load((parts.ROOT / "alerts/alertmanager.yml").read_text())
    written = yaml.safe_load((tmp_path / "wawp/alertmanager.yml").read_text())
    assert written["route"] == shipped["route"]
    assert written.get("inhibit_rules") == shipped.get("inhibit_rules")
    assert [each["name"] for each in written["receivers"]] == [each["name"] for each in shipped["receivers"]]
    assert "location: Europe/Madrid" in (tmp_path / "wawp/alertmanager.yml").read_text()
