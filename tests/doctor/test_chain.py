"""`wawp-exporter doctor` on real servers: a whole chain, and each of its links broken on purpose."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.tests import stack
from tests import parts
from wawp_exporter.doctor.chain import Asked, examine
from wawp_exporter.doctor.finding import Finding, State
from wawp_exporter.doctor.shipped import SHARE

KEY = "a-key-of-32-characters-0123456789"
RULES = stack.RULE_FILES
DASHBOARDS = ("wawp-fleet", "wawp-session", "wawp-slo", "wawp-exporter")


@dataclass(frozen=True)
class Chain:
    """A chain on which everything works, and Prometheus servers on which it does not."""

    exporter: parts.Exporter
    whole: stack.Stack
    broken: parts.Prometheus
    empty: parts.Prometheus
    grafana: str

    @property
    def asked(self) -> Asked:
        """All of it."""
        return Asked(self.exporter.config_file, self.whole.prometheus.url, None, self.grafana)


def routing(url: str) -> dict[str, Any]:
    """The shipped routes, every receiver at a recorder."""
    config = stack.routing({}, stack.recorded_at(url))
    del config["templates"]
    return {**config, "global": {}}


def older_rules() -> list[Mapping[str, Any]]:
    """The shipped rules with one left out, one with another text, one that cannot be evaluated."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    for group in (group for file in files for group in file["groups"]):
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != "WawpWatchdog"]
        for rule in group["rules"]:
            if rule.get("alert") == "WawpSessionFailed":
                rule["annotations"]["description"] = "As it was long ago."
            if rule.get("alert") == "WawpSlowStarts":
                rule["expr"] = "label_replace(up, 'instance', '', '', '') * on () up"
    return files


def grafana_of(dashboards: tuple[str, ...], status: int = 200) -> type[BaseHTTPRequestHandler]:
    """Grafana's two calls, since no Grafana can be installed here; `status` is how it answers a search."""
    search = json.dumps([{"uid": uid, "type": "dash-db"} for uid in dashboards])
    return answering({"/api/health": (200, '{"database": "ok"}'), "/api/search": (status, search)})


def answering(pages: Mapping[str, tuple[int, str]], kind: str = "application/json") -> type[BaseHTTPRequestHandler]:
    """A server of these paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages.get(self.path.partition("?")[0], pages.get("*", (404, "")))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Location", "http://login.test/start?secret=1")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Its URL."""
    with parts.serving(handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """Started once: Prometheus takes five seconds to its first scrape."""
    with ExitStack() as started:
        enter = started.enter_context
        folder = Path(started.enter_context(parts.tempfile.TemporaryDirectory()))
        (folder / "keys").write_text(KEY)
        receiver = enter(parts.Receiver())
        exporter = parts.Exporter({"sources": {"default": {"hmac_keys_file": str(folder / "keys")}}})
        exporter.write({**exporter.config, "web": {"listen": exporter.address, "external_url": exporter.url}})
        enter(exporter)
        assert exporter.post(parts.envelope(), key=KEY).status_code == 200
        jobs = [
            {"job_name": "whatsapp", "static_configs": [{"targets": [exporter.address]}]},
            {"job_name": "other", "static_configs": [{"targets": ["127.0.0.1:9"]}]},
        ]
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        broken = enter(parts.Prometheus({"global": every, "scrape_configs": jobs}, older_rules()))
        away = [{"job_name": "wawp-exporter", "static_configs": [{"targets": ["127.0.0.1:9"]}]}]
        drop = {"source_labels": ["__address__"], "regex": ".*", "action": "drop"}
        alerting = {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9"]}], "relabel_configs": [drop]}]}
        empty = enter(parts.Prometheus({"global": every, "scrape_configs": away, "alerting": alerting}))
        whole = enter(stack.running([exporter], list(RULES), routing(receiver.url)))
        grafana = enter(served(grafana_of(DASHBOARDS)))
        yield Chain(exporter, whole, broken, empty, grafana)


def found(asked: Asked) -> dict[str, Finding]:
    """The findings by their links."""
    return {finding.link: finding for finding in examine(asked)}


def states(findings: Mapping[str, Finding], state: State) -> list[str]:
    """The links in this state."""
    return [link for link, finding in findings.items() if finding.state is state]


def advice(finding: Finding) -> str:
    """All of it."""
    return "\n".join(finding.advice)


def test_a_whole_chain_has_no_broken_link(chain: Chain) -> None:
    """Every link is looked at, from the configuration to the dashboards."""
    findings = found(chain.asked)

    assert states(findings, State.BROKEN) == []
    assert list(findings) == [
        "configuration", "exporter", "webhooks of default", "Prometheus", "scrape", "rules", "evaluation",
        "Alertmanagers", "Alertmanager", "receivers", "placeholders", "delivery", "pages", "runbooks", "dashboards",
    ]  # fmt: skip


def test_the_command_says_it_line_by_line_and_ends_with_0(chain: Chain) -> None:
    """For people, and as JSON for scripts."""
    asked = chain.asked
    options = ["--config", asked.config, "--prometheus", asked.prometheus, "--grafana", asked.grafana]

    text = doctor(*options)
    rows = json.loads(doctor(*options, "--format", "json").stdout)

    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines()[0].startswith("✓ configuration")
    assert {row["state"] for row in rows} <= {"ok", "skipped"}


def doctor(*options: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    command = [sys.executable, "-m", "wawp_exporter", "doctor", *map(str, options)]
    environment = {**parts.os.environ, "PYTHONIOENCODING": "utf-8", **env}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_broken_chain_ends_with_1_also_on_an_old_terminal(tmp_path: Path) -> None:
    """Plain signs where the encoding has no others, and no colours in a file."""
    port = parts.free_port()
    done = doctor("--prometheus", f"http://127.0.0.1:{port}", PYTHONIOENCODING="ascii")

    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.isascii()
    assert "XX Prometheus" in done.stdout
    assert "Begin with: exporter" in done.stdout


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "ftp://host", "http://", "http://host/?a=1", "http://a/b@host"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Before anything is asked."""
    done = doctor("--prometheus", url)

    assert done.returncode == 2
    assert "expected http(s)://host" in done.stderr


# The exporter


def test_mistakes_of_the_configuration_are_listed(tmp_path: Path) -> None:
    """What can be looked at without it is looked at all the same."""
    config = tmp_path / "wawp.yml"
    config.write_text("web: {listn: 1}\n")

    findings = found(Asked(config, f"http://127.0.0.1:{parts.free_port()}"))

    assert "web.listn: unknown key, expected listen" in findings["configuration"].advice
    assert findings["exporter"].state is State.SKIPPED
    assert findings["Prometheus"].state is State.BROKEN


def test_an_exporter_that_is_away_is_to_be_started(chain: Chain, tmp_path: Path) -> None:
    """The commands that start it, or show why it does not run."""
    config = tmp_path / "wawp.yml"
    config.write_text(f"web: {{listen: '127.0.0.1:{parts.free_port()}'}}\n")

    finding = found(Asked(config, chain.whole.prometheus.url))["exporter"]

    assert "nobody listens there" in finding.says
    assert "wawp-exporter serve" in advice(finding)


def test_another_service_at_the_exporters_port_is_noticed(tmp_path: Path) -> None:
    """A page for people, a redirect to a login, an answer that is none."""
    for handler, says in (
        (answering({"*": (200, "<html>")}, "text/html"), "is not a wawp-exporter"),
        (answering({"*": (302, "")}), "redirects to http://login.test/start"),
        (answering({"/-/healthy": (200, ""), "*": (503, '{"error": "the event log cannot be written"}')}),
         "the event log cannot be written"),
    ):  # fmt: skip
        with served(handler) as url:
            config = tmp_path / "wawp.yml"
            config.write_text(f"web: {{listen: '{url.removeprefix('http://')}'}}\n")
            finding = found(Asked(config, "http://127.0.0.1:9"))["exporter"]

        assert finding.state is State.BROKEN
        assert says in finding.says
        assert "secret" not in finding.says


def test_an_exporter_behind_its_own_certificate_is_asked_with_its_token(tmp_path: Path) -> None:
    """Self-signed; a token that the running exporter does not know is a finding."""
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=wawp.test"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*request, *files], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "token").write_text("first")
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    with parts.Exporter({"web": {"tls": tls, "metrics_token_file": str(tmp_path / "token")}}) as exporter:
        asked = Asked(exporter.config_file, "http://127.0.0.1:9")
        right = found(asked)["exporter"]
        (tmp_path / "other").write_text("second")
        exporter.write({"web": {**exporter.config["web"], "metrics_token_file": str(tmp_path / "other")}})
        wrong = found(asked)["exporter"]

    assert right.state is State.OK
    assert wrong.state is State.BROKEN
    assert "web.metrics_token_file" in advice(wrong)


# Webhooks


@contextmanager
def exporter_of(source: Mapping[str, Any], folder: Path) -> Iterator[Callable[[], Finding]]:
    """An exporter with one source; gives what the doctor says of its webhooks."""
    (folder / "keys").write_text(KEY)
    with parts.Exporter({"sources": {"shop": source}}) as exporter:
        yield lambda: found(Asked(exporter.config_file, "http://127.0.0.1:9"))["webhooks of shop"]


def test_webhooks_that_never_came_are_to_be_sent(tmp_path: Path) -> None:
    """The lines to paste into the gateway; the key itself is not shown."""
    with exporter_of({"hmac_keys_file": str(tmp_path / "keys")}, tmp_path) as look:
        finding = look()

    assert finding.says == "none yet"
    assert "/webhook/shop" in advice(finding)
    assert "WHATSAPP_HOOK_HMAC_KEY=" in advice(finding)
    assert KEY not in advice(finding)


def test_webhooks_at_the_path_of_no_source_are_noticed(tmp_path: Path) -> None:
    """The address was copied from somewhere else."""
    with parts.Exporter({"sources": {"shop": {}}}) as exporter:
        exporter.post(parts.envelope(), source="other")
        finding = found(Asked(exporter.config_file, "http://127.0.0.1:9"))["webhooks of shop"]

    assert "expected /webhook/shop" in advice(finding)


def test_refused_webhooks_say_since_when_and_why(tmp_path: Path) -> None:
    """Which header is wrong or missing; an accepted one ends it."""
    source = {"hmac_keys_file": str(tmp_path / "keys"), "hmac_header": "X-Signature"}
    (tmp_path / "keys").write_text(KEY)
    with parts.Exporter({"sources": {"default": source}}) as exporter:
        asked = Asked(exporter.config_file, "http://127.0.0.1:9")
        body = parts.encode(parts.envelope())
        exporter.post(body, {"User-Agent": "WAHA/2026"})
        missing = found(asked)["webhooks of default"]
        exporter.post(body, {"X-Signature": parts.sign(body, "wrong")})
        wrong = found(asked)["webhooks of default"]
        exporter.post(body, {"X-Signature": parts.sign(body, KEY)})
        right = found(asked)["webhooks of default"]

    assert "(missing_signature), and none accepted since then: the header X-Signature is missing" in missing.says
    assert "also: bad_signature" in wrong.says
    assert "WHATSAPP_HOOK_HMAC_KEY" in advice(wrong)
    assert (right.state, right.says[:8]) == (State.OK, "accepted")


def test_a_source_that_the_running_exporter_does_not_know_is_noticed() -> None:
    """The file was changed and the exporter not reloaded."""
    with parts.Exporter() as exporter:
        exporter.write({"sources": {"shop": {}}})
        finding = found(Asked(exporter.config_file, "http://127.0.0.1:9"))["webhooks of shop"]

    assert "kill -HUP" in advice(finding)


# Prometheus


def test_a_job_of_another_name_is_to_be_renamed(chain: Chain) -> None:
    """The rules read `job="wawp-exporter"`."""
    finding = found(Asked(chain.exporter.config_file, chain.broken.url))["scrape"]

    assert "job 'whatsapp'" in finding.says
    assert "job_name: wawp-exporter" in advice(finding)


def test_a_missing_job_is_to_be_pasted(chain: Chain, tmp_path: Path) -> None:
    """With the exporter's own address, token and TLS."""
    (tmp_path / "token").write_text("secret")
    config = tmp_path / "wawp.yml"
    config.write_text(f"web: {{listen: '127.0.0.1:{parts.free_port()}', metrics_token_file: token}}\n")

    finding = found(Asked(config, chain.broken.url))["scrape"]

    pasted = yaml.safe_load("\n".join(finding.advice[1:]))["scrape_configs"][0]
    assert pasted["job_name"] == "wawp-exporter"
    assert pasted["authorization"] == {"credentials_file": str(tmp_path / "token")}


def test_a_scrape_that_fails_says_why(chain: Chain) -> None:
    """Prometheus' own words, and what they mean."""
    asked = Asked(chain.exporter.config_file, chain.empty.url)
    finding = parts.wait_until(lambda: (f := found(asked)["scrape"]) and "refused" in f.says and f)

    assert finding.says.startswith("1 of 1 targets down")
    assert "in a container" in advice(finding)


def test_a_job_without_a_target_is_not_to_be_pasted_again(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service discovery finds nothing; or Prometheus has just been started, which is waited for."""
    monkeypatch.setattr("wawp_exporter.doctor.prometheus.SETTLED_S", 0)
    config = {"scrape_configs": [{"job_name": "wawp-exporter", "file_sd_configs": [{"files": ["none.json"]}]}]}
    with parts.Prometheus(config) as server:
        finding = found(Asked(chain.exporter.config_file, server.url))["scrape"]

    assert finding.says == "the job 'wawp-exporter' has no target"


def test_a_first_scrape_is_waited_for(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has just started everything is told what is wrong, not what is not yet there."""
    monkeypatch.setattr("wawp_exporter.doctor.prometheus.SETTLED_S", parts.PATIENCE_S)
    config = stack.prometheus_config(chain.whole.alertmanager.address, [chain.exporter.address], 1.0)
    with parts.Prometheus(config) as server:
        finding = found(Asked(chain.exporter.config_file, server.url))["scrape"]

    assert finding.state is State.OK


def scraping(exporter: parts.Exporter, **job: bool) -> dict[str, Any]:
    """A job that converts histograms, or not."""
    config = stack.prometheus_config("127.0.0.1:9", [exporter.address], 1.0)
    config["scrape_configs"][0] |= job
    return config


@pytest.mark.parametrize(("flags", "dropped"), [((), True), (("--enable-feature=native-histograms",), False)])
def test_histograms_that_prometheus_drops_are_noticed(chain: Chain, flags: tuple[str, ...], dropped: bool) -> None:
    """Prometheus 3.0 to 3.7 converts them and stores nothing, unless a flag says so; no error tells anybody."""
    config = scraping(chain.exporter, convert_classic_histograms_to_nhcb=True)
    with parts.Prometheus(config, flags=flags, version="forky") as server:
        finding = found(Asked(chain.exporter.config_file, server.url))["scrape"]
        names = set(server.api("label/__name__/values"))

    assert ("wawp_start_duration_seconds" not in names) == dropped
    assert finding.state is (State.BROKEN if dropped else State.OK), finding
    assert ("--enable-feature=native-histograms" in advice(finding)) == dropped


@pytest.mark.parametrize(
    ("version", "advised"), [("bookworm", "session_histograms: false"), ("forky", "convert_classic_histograms_to_nhcb")]
)
def test_many_classic_histograms_are_better_converted(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, version: str, advised: str
) -> None:
    """Where Prometheus can; else they are better left out."""
    monkeypatch.setattr("wawp_exporter.doctor.histograms.MANY", 0)
    flags = ["--enable-feature=native-histograms"] if version == "forky" else []
    with parts.Prometheus(scraping(chain.exporter), flags=flags, version=version) as server:
        finding = found(Asked(chain.exporter.config_file, server.url))["scrape"]

    assert finding.state is State.OK
    assert "105 series of histograms for each of 1 sessions" in finding.says
    assert advised in finding.says


def test_no_rules_are_to_be_loaded(chain: Chain) -> None:
    """Evaluations are not looked at then."""
    findings = found(Asked(chain.exporter.config_file, chain.empty.url))

    assert "rule_files:" in advice(findings["rules"])
    assert f"{SHARE / 'rules'}" in advice(findings["rules"])
    assert findings["evaluation"].state is State.SKIPPED


def test_rules_of_another_version_are_to_be_replaced(chain: Chain) -> None:
    """Which alerts are missing or have another text, and which file replaces which."""
    finding = found(Asked(chain.exporter.config_file, chain.broken.url))["rules"]

    assert "missing: WawpWatchdog" in finding.says
    assert {"WawpSlowStarts", "WawpSessionFailed"} == set(finding.says.partition("version: ")[2].split(", "))
    place = f"{chain.broken.directory}/rules-{[path.name for path in RULES].index('session.rules.yml')}.yml"
    assert f"cp {SHARE / 'rules' / 'session.rules.yml'} {place}" in advice(finding)


def test_a_rule_that_cannot_be_evaluated_is_named(chain: Chain) -> None:
    """Prometheus goes on with the others and says nothing."""
    asked = Asked(chain.exporter.config_file, chain.broken.url)
    finding = parts.wait_until(lambda: (f := found(asked)["evaluation"]) and f.state is State.BROKEN and f)

    assert "WawpSlowStarts cannot be evaluated" in finding.says


def test_rules_that_fire_for_nobody_are_to_be_sent_on(chain: Chain) -> None:
    """The block that no other document of Prometheus' mentions, with the Alertmanager that was named."""
    url = chain.whole.alertmanager.url
    finding = found(Asked(chain.exporter.config_file, chain.broken.url, url))["Alertmanagers"]

    pasted = yaml.safe_load("\n".join(finding.advice[1:]))["alerting"]["alertmanagers"]
    assert pasted == [{"static_configs": [{"targets": [chain.whole.alertmanager.address]}]}]


def test_dropped_alertmanagers_are_named(chain: Chain) -> None:
    """Found, and taken out by relabelling."""
    asked = Asked(chain.exporter.config_file, chain.empty.url)
    finding = parts.wait_until(lambda: (f := found(asked)["Alertmanagers"]) and "drop" in f.says and f)

    assert "relabel_configs" in finding.says


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (200, "text/html", "answers with a web page"),
        (401, "text/plain", "asks who we are"),
        (403, "text/plain", "asks who we are"),
        (302, "text/html", "redirects to http://login.test/start"),
        (404, "text/plain", "HTTP 404"),
        (500, "text/plain", "HTTP 500"),
    ],
)
def test_whatever_answers_instead_of_a_server_gets_a_line(chain: Chain, status: int, kind: str, says: str) -> None:
    """No traceback, no secret of the URL."""
    with served(answering({"*": (status, "<html>")}, kind)) as url:
        named = url.replace("://", "://admin:s3cret@")
        findings = found(Asked(chain.exporter.config_file, named, named, named))

    for link in ("Prometheus", "Alertmanager"):
        assert says in findings[link].says
        assert "s3cret" not in str(findings[link])
    assert findings["dashboards"].state is not State.OK
    assert findings["receivers"].state is State.SKIPPED


def test_a_server_that_never_answers_is_given_up(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody reads from; the limit is five seconds."""
    monkeypatch.setattr("wawp_exporter.doctor.site.TIMEOUT_S", 0.2)
    with parts.socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        finding = found(Asked(chain.exporter.config_file, url))["Prometheus"]

    assert "has not answered within" in finding.says


# Alertmanager


def alertmanager_findings(chain: Chain, config: Mapping[str, Any]) -> dict[str, Finding]:
    """What is said of an Alertmanager with this configuration."""
    with parts.Alertmanager(config) as server:
        return found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, server.url))


def test_a_route_to_nobody_is_noticed(chain: Chain) -> None:
    """A receiver without an integration is accepted by Alertmanager, and swallows what it gets."""
    config = routing("http://127.0.0.1:9/")
    config["receivers"] = [
        {"name": each["name"]} if each["name"] in {"it-oncall", "audit-mail"} else each for each in config["receivers"]
    ]

    finding = alertmanager_findings(chain, config)["receivers"]

    assert finding.says.startswith("WawpExporterDown, ")
    assert "'it-oncall', which sends nothing to anybody" in finding.says
    assert "- name: it-oncall" in advice(finding)
    assert "audit-mail" not in finding.says


def test_the_shipped_addresses_are_placeholders(chain: Chain) -> None:
    """Alertmanager accepts them; messages go nowhere."""
    with parts.Alertmanager(stack.ROUTING) as server:
        finding = found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, server.url))["placeholders"]

    assert "receivers.it-lead.email_configs.to" in finding.says
    assert "grep -n -i placeholder" in advice(finding)


def test_messages_that_all_fail_are_noticed(chain: Chain) -> None:
    """The address is no placeholder, but nobody takes what is sent to it."""
    with ExitStack() as started:
        receiver = started.enter_context(parts.Receiver())
        receiver.answer = 400
        hook = {"url": receiver.url, "send_resolved": True}
        route = {"receiver": "deaf", "group_wait": "0s"}
        config = {"route": route, "receivers": [{"name": "deaf", "webhook_configs": [hook]}]}
        server = started.enter_context(parts.Alertmanager(config))
        server.post_alerts({"labels": {"alertname": "X"}})
        asked = Asked(chain.exporter.config_file, chain.whole.prometheus.url, server.url)
        finding = parts.wait_until(lambda: (f := found(asked)["delivery"]) and f.state is State.BROKEN and f)

    assert "every message by webhook has failed" in finding.says


def test_a_refused_reload_is_noticed(chain: Chain) -> None:
    """The file on disk is not what runs."""
    config = routing("http://127.0.0.1:9/")
    with parts.Alertmanager(config) as server:
        server.config.write_text("route: {}")
        server.client.post(server.url + "/-/reload")
        finding = found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, server.url))["Alertmanager"]

    assert "has refused its configuration" in finding.says
    assert "amtool check-config" in advice(finding)


# Links


def test_pages_that_are_elsewhere_are_noticed(chain: Chain) -> None:
    """A wrong address in messages is found when somebody is in a hurry."""
    with served(answering({"*": (200, "<html>welcome to nginx")}, "text/html")) as url:
        config = {**chain.exporter.config, "web": {**chain.exporter.config["web"], "external_url": url}}
        path = chain.exporter.directory / "elsewhere.yml"
        path.write_text(yaml.safe_dump(config))
        findings = found(Asked(path, chain.whole.prometheus.url))

    assert "is not this exporter" in findings["pages"].says
    assert findings["runbooks"].state is State.SKIPPED


def test_missing_dashboards_are_to_be_imported(chain: Chain) -> None:
    """The files are in the package."""
    with served(grafana_of(DASHBOARDS[:2])) as url:
        finding = found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, None, url))["dashboards"]

    assert finding.says.endswith("does not show wawp-slo, wawp-exporter")
    assert str(SHARE / "dashboards") in advice(finding)


def test_a_grafana_that_asks_for_a_login_is_not_broken(chain: Chain) -> None:
    """What is there cannot be seen; how to let the doctor in."""
    with served(grafana_of(DASHBOARDS, 401)) as url:
        finding = found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, None, url))["dashboards"]

    assert finding.state is State.SKIPPED
    assert "--grafana-token-file" in advice(finding)


# Whatever answers


@pytest.mark.parametrize("answer", ["null", "[]", "{}", '"x"', '{"status": "success", "data": []}', '{"data": 1}', "{"])
def test_no_answer_makes_a_traceback(tmp_path: Path, answer: str) -> None:
    """The same JSON at every path of every service."""
    with served(answering({"*": (200, answer)})) as url:
        config = tmp_path / "wawp.yml"
        config.write_text(f"web: {{listen: '{url.removeprefix('http://')}', external_url: '{url}'}}\n")
        findings = found(Asked(config, url, url, url))

    assert findings["Prometheus"].state is State.BROKEN
    assert findings["Alertmanager"].state is State.BROKEN
    assert findings["exporter"].state is State.BROKEN


def test_an_answer_in_another_form_is_a_finding(tmp_path: Path) -> None:
    """Something that is like Prometheus, but is not."""
    build = '{"status": "success", "data": {"version": "2.50.0"}}'
    pages = {"/api/v1/status/buildinfo": (200, build), "/api/v1/status/runtimeinfo": (200, build)}
    with served(answering({**pages, "*": (200, '{"status": "success", "data": {"activeTargets": 3}}')})) as url:
        findings = found(Asked(None, url))

    assert findings["Prometheus"].state is State.OK
    assert states(findings, State.BROKEN)
    assert "not as expected" in findings["scrape"].says


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"dialect": "evolution", "token_file": "token"}, "webhook/set/$INSTANCE"),
        ({"dialect": "wppconnect", "token_file": "token"}, "start-session"),
        ({"token_file": "token"}, "?token="),
    ],
)
def test_each_gateway_has_its_own_lines_to_paste(tmp_path: Path, source: dict[str, str], word: str) -> None:
    """The same that `setup` prints, without the token."""
    (tmp_path / "token").write_text("s3cret-t0ken")
    with exporter_of({**source, "token_file": str(tmp_path / "token")}, tmp_path) as look:
        finding = look()

    assert word in advice(finding)
    assert "s3cret-t0ken" not in advice(finding)


@pytest.mark.parametrize("version", ["trixie", "forky"])
def test_newer_servers_answer_in_their_own_words(chain: Chain, version: str) -> None:
    """Each Prometheus writes expressions in its own form, each Alertmanager its configuration."""
    with stack.running([chain.exporter], list(RULES), routing("http://127.0.0.1:9/"), version=version) as newer:
        findings = found(Asked(chain.exporter.config_file, newer.prometheus.url))

    assert states(findings, State.BROKEN) == []


def test_a_configuration_that_prometheus_has_refused_is_noticed(chain: Chain) -> None:
    """It runs on with the old one, and the file looks right."""
    with parts.Prometheus() as server:
        (server.directory / "prometheus.yml").write_text("global: {scrape: 1s}")
        server.client.post(f"{server.url}/-/reload")
        finding = found(Asked(chain.exporter.config_file, server.url))["Prometheus"]

    assert "has refused its configuration" in finding.says
    assert "promtool check config" in advice(finding)


def test_a_configuration_that_the_exporter_has_refused_is_noticed(tmp_path: Path) -> None:
    """The same; a copy of the good one is what the doctor is given."""
    with parts.Exporter() as exporter:
        good = tmp_path / "good.yml"
        good.write_text(exporter.config_file.read_text())
        exporter.write({"timezone": "Nowhere"})
        exporter.process.send_signal(parts.signal.SIGHUP)
        parts.wait_until(lambda: "wawp_exporter_config_last_reload_successful 0" in exporter.metrics())
        finding = found(Asked(good, "http://127.0.0.1:9"))["exporter"]

    assert "refused its configuration at the last reload" in finding.says


def test_user_and_password_of_a_url_are_sent(chain: Chain) -> None:
    """Behind a proxy that asks for them; they are no part of what is printed."""
    wanted = f"Basic {base64.b64encode(b'ops:p@ss').decode()}"

    class Guarded(grafana_of(DASHBOARDS)):
        def do_GET(self) -> None:
            if self.headers["Authorization"] == wanted:
                super().do_GET()
            else:
                self.send_error(401)

    with served(Guarded) as url:
        named = url.replace("://", "://ops:p%40ss@")
        finding = found(Asked(chain.exporter.config_file, chain.whole.prometheus.url, None, named))["dashboards"]

    assert finding.state is State.OK
    assert "p%40ss" not in finding.says


@pytest.mark.parametrize("mark", [200, 401])
def test_the_token_for_grafana_is_read_from_a_file(chain: Chain, tmp_path: Path, mark: int) -> None:
    """And never shown, not even when it is refused."""
    (tmp_path / "token").write_text("glsa_s3cret\n")
    with served(grafana_of(DASHBOARDS, mark)) as url:
        options = ["--config", chain.exporter.config_file, "--prometheus", chain.whole.prometheus.url]
        done = doctor(*options, "--grafana", url, "--grafana-token-file", tmp_path / "token")

    assert done.returncode == 0
    assert ("has all 4" in done.stdout) is (mark == 200)
    assert "s3cret" not in done.stdout + done.stderr


def test_a_token_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Before anything is asked."""
    done = doctor("--grafana-token-file", tmp_path / "none")

    assert done.returncode == 2
    assert "cannot be read: No such file" in done.stderr


def test_what_services_say_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters of a foreign answer are blanks."""
    with served(answering({"*": (500, json.dumps({"error": "\x1b[2J\nall is well"}))})) as url:
        done = doctor("--prometheus", url)

    assert "\x1b" not in done.stdout
    assert " [2J all is well" in done.stdout


def test_the_token_of_the_api_is_not_sent_to_the_public_address(chain: Chain, tmp_path: Path) -> None:
    """Another service may stand there: that is what is being found out."""
    seen = []

    class Watching(answering({"*": (200, "wawp-exporter is healthy.")})):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            super().do_GET()

    (tmp_path / "token").write_text("s3cret")
    with served(Watching) as url:
        config = tmp_path / "wawp.yml"
        config.write_text(f"web: {{external_url: '{url}', api_token_file: token}}\n")
        findings = found(Asked(config, chain.whole.prometheus.url))

    assert findings["pages"].state is State.OK
    assert set(seen) == {None}
