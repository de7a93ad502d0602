"""`wawp-exporter serve` as a whole: listeners, tokens, pages, reload, deletion, logs, stop and restart."""

import base64
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import parser

from tests import parts

# Its exporters are started as users start them.
pytestmark = pytest.mark.usefixtures("own_interpreter")
Start = Callable[..., parts.Exporter]
Series = dict[tuple[tuple[str, str], ...], float]

API, SCRAPER = "api-t0ken", "scrape-t0ken"
RELOADED = "wawp_exporter_config_last_reload_successful"
GAUGES = (
    "wawp_session_info",
    "wawp_session_status",
    "wawp_session_status_since_timestamp_seconds",
    "wawp_session_auth_required_since_timestamp_seconds",
    "wawp_session_down_since_timestamp_seconds",
    "wawp_session_last_event_timestamp_seconds",
    "wawp_session_restricted",
    "wawp_sessions",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """One listener on loopback, no tokens: for whatever changes nothing that another test looks at."""
    with parts.Exporter({}, tmp_path_factory.mktemp("plain")) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """Two listeners, a token for everything."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "api").write_text(f"an-older-one\n{API}\n")
    (folder / "scraper").write_text(f"{SCRAPER}\n")
    (folder / "keys").write_text("key\n")
    web = {
        "ingress_listen": f"127.0.0.1:{parts.free_port()}",
        "api_token_file": "api",
        "metrics_token_file": "scraper",
        "enable_lifecycle": True,
    }
    with parts.Exporter({"web": web, "sources": {"default": {"hmac_keys_file": "keys"}}}, folder) as exporter:
        yield exporter


def event(**overrides: Any) -> dict[str, Any]:
    """A webhook of now."""
    return parts.envelope(**{"timestamp": parts.now_ms()} | overrides)


def series(exporter: parts.Exporter, *names: str, headers: Mapping[str, str] | None = None) -> dict[str, Series]:
    """The samples of these names, by labels."""
    text = "\n".join(line for line in exporter.metrics(headers).split("\n") if line.startswith(names)) + "\n"
    found: dict[str, Series] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in (sample for sample in family.samples if sample.name in names):
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(exporter: parts.Exporter, name: str, **labels: str) -> float:
    """The one sample with these labels among others."""
    (found,) = [v for own, v in series(exporter, name).get(name, {}).items() if labels.items() <= dict(own).items()]
    return found


def error(answer: httpx.Response, status: int) -> str:
    """The message of an error in the one shape of errors."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


def bearer(token: str) -> dict[str, str]:
    """As Prometheus sends it."""
    return {"Authorization": f"Bearer {token}"}


def basic(token: str) -> dict[str, str]:
    """As browsers send it, under any name."""
    return {"Authorization": "Basic " + base64.b64encode(f"somebody:{token}".encode()).decode()}


# Starting without anything


class Bare(parts.Exporter):
    """`wawp-exporter serve` and nothing else; the port comes from the environment, as tests run side by side."""

    def command(self) -> list[str]:
        """No configuration file."""
        return super().command()[:-2]

    def environment(self) -> dict[str, str]:
        """The address only."""
        return super().environment() | {"WAWP_EXPORTER_WEB__LISTEN": self.address}


def test_it_serves_without_any_configuration() -> None:
    """SQLite under ./data, loopback only, unsigned webhooks accepted from loopback, and it says so."""
    with Bare() as exporter:
        answer = exporter.post(event(session="demo"))
        metrics = exporter.metrics()
        logged = (exporter.directory / "data" / "wawp.db").stat().st_size
        said = exporter.stderr

    assert answer.json() == {"outcome": "transition"}
    assert 'wawp_session_status{source="default",session="demo",status="WORKING"} 1' in metrics
    assert logged > 0
    assert re.search(r"level=warning.*unsigned webhooks are accepted", said)
    assert f"{exporter.url}/metrics" in said
    assert f"{exporter.url}/webhook" in said


def test_the_curl_line_that_it_prints_works() -> None:
    """A first webhook is one paste away."""
    with Bare() as exporter:
        (line,) = [line for line in exporter.stderr.splitlines() if "curl" in line]
        command = line[line.index("curl") :]
        done = subprocess.run(["sh", "-c", f"{command} -s"], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == {"outcome": "transition"}


# Two listeners, tokens


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/api/v1/sessions/a/b", "/static/wawp.css"]
)
def test_the_ingress_answers_nothing_but_webhooks(guarded: parts.Exporter, path: str) -> None:
    """It faces the internet: not even with a good token."""
    for method in ("GET", "POST", "DELETE"):
        error(guarded.client.request(method, guarded.ingress_url + path, headers=bearer(API)), 404)


def test_the_main_listener_answers_no_webhook_beside_an_ingress(guarded: parts.Exporter) -> None:
    """`/webhook` is in one place."""
    body = parts.encode(event(session="once"))
    headers = {"X-Webhook-Hmac": parts.sign(body, "key"), **bearer(API)}

    error(guarded.client.post(f"{guarded.url}/webhook", content=body, headers=headers), 404)
    error(guarded.client.post(f"{guarded.url}/webhook/default", content=body, headers=headers), 404)
    assert guarded.post(body, key="key").json() == {"outcome": "transition"}


@pytest.mark.parametrize("scheme", [bearer, basic])
def test_metrics_need_their_own_token(guarded: parts.Exporter, scheme: Callable[[str], dict[str, str]]) -> None:
    """As a bearer token or as the password of Basic; the other token does not open them."""
    assert guarded.get("/metrics", scheme(SCRAPER)).status_code == 200
    error(guarded.get("/metrics", scheme(API)), 401)
    error(guarded.get("/metrics", scheme(SCRAPER + "x")), 401)


@pytest.mark.parametrize("scheme", [bearer, basic])
@pytest.mark.parametrize("token", [API, "an-older-one"])
def test_pages_need_the_token_of_the_api(
    guarded: parts.Exporter, scheme: Callable[[str], dict[str, str]], token: str
) -> None:
    """Any of the lines of the file."""
    assert guarded.get("/", scheme(token)).status_code == 200
    error(guarded.get("/", scheme(SCRAPER)), 401)


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_a_missing_token_makes_a_browser_ask_for_it(guarded: parts.Exporter, path: str) -> None:
    """By the challenge of HTTP Basic."""
    answer = guarded.get(path)

    error(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_health_needs_no_token(guarded: parts.Exporter) -> None:
    """Kubernetes has none."""
    assert guarded.get("/-/healthy").status_code == 200
    assert guarded.get("/-/ready").status_code == 200


def test_changes_need_the_token(guarded: parts.Exporter) -> None:
    """Where a token is configured, loopback is no exception, and a proxy is no obstacle."""
    path = f"{guarded.url}/api/v1/sessions/default/nobody"
    proxied = {"X-Forwarded-For": "203.0.113.9", "Host": "wawp.example.com"}

    error(guarded.client.delete(path), 401)
    error(guarded.client.delete(path, headers=bearer(SCRAPER)), 401)
    error(guarded.client.delete(path, headers=bearer(API)), 404)
    error(guarded.client.delete(path, headers=basic(API) | proxied), 404)
    error(guarded.client.post(f"{guarded.url}/-/reload"), 401)
    error(guarded.client.post(f"{guarded.url}/-/reload", headers=bearer("wrong")), 401)
    assert guarded.client.post(f"{guarded.url}/-/reload", headers=bearer(API) | proxied).status_code == 200


# TLS


def make_certificate(folder: Path, name: str) -> str:
    """A new self-signed certificate in cert.pem and key.pem; returns it."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem")
    about = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", "cert.pem")
    subprocess.run(["openssl", "req", "-x509", *key, *about], cwd=folder, check=True, capture_output=True)
    return (folder / "cert.pem").read_text().strip()


def test_tls_is_spoken_and_its_certificate_renewed_without_a_restart(tmp_path: Path) -> None:
    """SIGHUP reads it again; a broken one is refused and the old one stays."""
    first = make_certificate(tmp_path, "first")
    web = {"tls": {"cert_file": "cert.pem", "key_file": "key.pem"}}

    def shown(exporter: parts.Exporter) -> str:
        return ssl.get_server_certificate(("127.0.0.1", exporter.port)).strip()

    with parts.Exporter({"web": web}, tmp_path) as exporter:
        assert exporter.post(event()).status_code == 200
        assert "wawp_session_info" in exporter.metrics()
        assert shown(exporter) == first
        with pytest.raises(httpx.TransportError), httpx.Client(trust_env=False) as client:
            client.get(f"http://{exporter.address}/metrics")

        second = make_certificate(tmp_path, "second")
        os.kill(exporter.pid, signal.SIGHUP)
        parts.wait_until(lambda: shown(exporter) == second)

        (tmp_path / "cert.pem").write_text("no certificate")
        os.kill(exporter.pid, signal.SIGHUP)
        parts.wait_until(lambda: value(exporter, RELOADED) == 0)
        assert shown(exporter) == second
        # A server that closes a connection waits for the other side to agree, and this client sleeps.
        exporter.client.close()


# Pages and health


def test_healthy_and_ready_are_plain_words(plain: parts.Exporter) -> None:
    """As Prometheus itself says them."""
    assert plain.get("/-/healthy").text == "wawp-exporter is healthy.\n"
    assert plain.get("/-/ready").text == "wawp-exporter is ready.\n"


def test_the_landing_page_lists_sessions_and_links(plain: parts.Exporter) -> None:
    """Who needs a human stands first."""
    plain.post(event(session="page-working", status="WORKING"))
    plain.post(event(session="page-failed", status="FAILED"))
    page = plain.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 0 < page.text.index("page-failed") < page.text.index("page-working")
    assert 'href="/metrics"' in page.text
    assert plain.get("/static/wawp.css").headers["content-type"].startswith("text/css")


def test_the_landing_page_escapes_hostile_names(plain: parts.Exporter) -> None:
    """A session's name comes from the internet."""
    name = "<script>alert('x')</script>\"'&"
    plain.post(event(session=name))
    page = plain.get("/").text

    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&#39;&amp;" in page


def test_pages_forbid_scripts_frames_and_caches(plain: parts.Exporter) -> None:
    """Should an escape ever fail, the browser still runs nothing but the service's own script."""
    headers = plain.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/absent", "/api/v1/absent", "/-/absent", "/static/absent", "/static/../app.py"])
def test_an_unknown_path_is_answered_404_in_the_one_shape(plain: parts.Exporter, path: str) -> None:
    """JSON, like every error."""
    error(plain.get(path), 404)


def test_metrics_are_compressed_for_who_asks(plain: parts.Exporter) -> None:
    """And only for them."""
    zipped = plain.get("/metrics", {"Accept-Encoding": "gzip"})
    unzipped = plain.get("/metrics", {"Accept-Encoding": "identity"})

    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.headers["content-length"].isdigit()
    assert "content-encoding" not in unzipped.headers
    assert "wawp_exporter_build_info" in zipped.text
    assert "wawp_exporter_build_info" in unzipped.text


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=0.0.4;q=0.5", "text/plain"),
    ],
)
def test_the_format_is_negotiated(plain: parts.Exporter, accept: str, type_: str) -> None:
    """By the quality that the scraper gives to each."""
    answer = plain.get("/metrics", {"Accept": accept})

    assert answer.headers["content-type"].split(";")[0] == type_
    assert answer.text.endswith("# EOF\n") == (type_ == "application/openmetrics-text")


# Reload


def test_reload_over_http_is_off_unless_switched_on(plain: parts.Exporter) -> None:
    """The answer names the key."""
    assert "web.enable_lifecycle" in error(plain.client.post(f"{plain.url}/-/reload"), 403)
    error(plain.get("/-/reload"), 405)


def test_a_reload_takes_effect_and_a_bad_one_does_not(exporter: Start, tmp_path: Path) -> None:
    """The old configuration stays in force, the metric says 0, and a good one makes it 1 again."""
    (tmp_path / "keys").write_text("old key\n")
    first = {"web": {"enable_lifecycle": True}, "sources": {"a": {"hmac_keys_file": "keys"}, "b": {}}}
    running = exporter(first, tmp_path)
    reload = f"{running.url}/-/reload"
    assert running.post(event(session="x"), source="a", key="old key").status_code == 200
    assert value(running, RELOADED) == 1
    at_start = value(running, "wawp_exporter_config_last_reload_success_timestamp_seconds")

    # Bad in two places: nothing of it counts.
    running.write({**first, "sources": {"c": {}}, "thresholds": {"down": "soon"}, "tyop": 1})
    os.kill(running.pid, signal.SIGHUP)
    parts.wait_until(lambda: value(running, RELOADED) == 0)
    message = error(running.client.post(reload), 400)
    assert "thresholds.down" in message
    assert "tyop" in message
    assert running.post(event(session="x"), source="b").status_code == 200
    assert running.post(event(session="x"), source="c").status_code == 404
    assert value(running, "wawp_exporter_config_last_reload_success_timestamp_seconds") == at_start
    assert running.get("/-/ready").status_code == 200

    # A new key, a new source, one less, and a new owner.
    (tmp_path / "keys").write_text("new key\n")
    rules = [{"source": "a", "session": "x", "owner": "ana"}]
    running.write({**first, "sources": {"a": {"hmac_keys_file": "keys"}, "c": {}}, "sessions": rules})
    os.kill(running.pid, signal.SIGHUP)
    parts.wait_until(lambda: value(running, RELOADED) == 1)
    assert running.post(event(session="x"), source="a", key="old key").status_code == 401
    assert running.post(event(session="x"), source="a", key="new key").status_code == 200
    assert running.post(event(session="x"), source="b").status_code == 404
    assert running.post(event(session="x"), source="c").status_code == 200
    assert value(running, "wawp_session_info", source="a", session="x", owner="ana") == 1
    assert value(running, "wawp_exporter_config_last_reload_success_timestamp_seconds") > at_start

    # What only a restart can change is not taken as changed.
    moved = {**first, "sources": {"a": {"hmac_keys_file": "keys"}, "c": {}}, "database": {"url": "sqlite:///other.db"}}
    running.write(moved)
    assert "database.url" in error(running.client.post(reload), 400)
    assert not (tmp_path / "other.db").exists()

    # Without a token, only for a caller that is certainly local; and only by POST.
    error(running.client.post(reload, headers={"X-Forwarded-For": "203.0.113.9"}), 403)
    error(running.client.post(reload, headers={"Origin": "https://evil.example"}), 403)
    error(running.client.post(reload, headers={"Host": "wawp.example.com"}), 403)
    error(running.get("/-/reload"), 405)


def test_a_source_that_is_taken_out_and_put_back_has_its_sessions_again(exporter: Start, tmp_path: Path) -> None:
    """The log still has them, however soon after their last event the source went. What was sent meanwhile is not
    known: neither what was said before is waited for, nor is it a silence."""
    both, one = {"sources": {"a": {}, "b": {}}}, {"sources": {"a": {}}}
    running = exporter(both, tmp_path)
    last = event(session="x", status="FAILED")
    running.post(last, source="b")
    running.post(event(session="y"), source="b")
    own = {"fromMe": True, "ack": 0, "id": "true_1@c.us_own"}
    running.post({"event": "message.any", "session": "y", "payload": own}, source="b")
    waiting = {"source": "b", "session": "y"}
    assert value(running, "wawp_session_unacknowledged_since_timestamp_seconds", **waiting) > 0
    shown = 'wawp_session_status{source="b",session="x",status="FAILED"} 1'
    assert shown in running.metrics()
    running.write(one)
    os.kill(running.pid, signal.SIGHUP)
    parts.wait_until(lambda: 'session="x"' not in running.metrics())
    running.write(both)
    os.kill(running.pid, signal.SIGHUP)
    parts.wait_until(lambda: running.post(last, source="b").status_code == 200)

    assert running.post(last, source="b").json() == {"outcome": "duplicate"}
    assert shown in running.metrics()
    assert value(running, "wawp_session_unacknowledged_since_timestamp_seconds", **waiting) == 0


# Deletion


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Origin", "https://evil.example"),
        ("Host", "wawp.example.com"),
    ],
    ids=": ".join,
)
def test_without_a_token_only_a_local_caller_deletes(plain: parts.Exporter, header: tuple[str, str]) -> None:
    """403, and the session stays."""
    plain.post(event(session="kept"))
    answer = plain.client.delete(f"{plain.url}/api/v1/sessions/default/kept", headers=dict([header]))

    assert "web.api_token_file" in error(answer, 403)
    assert value(plain, "wawp_session_info", session="kept") == 1


@pytest.mark.parametrize("name", ["gone", "with/slash", "späce %2F?#", "😀", "..", "a\nb"])
def test_a_deleted_session_vanishes_from_the_next_scrape_and_is_not_resurrected(
    plain: parts.Exporter, name: str
) -> None:
    """All its series at once; a late event is logged as late; a newer one starts the session afresh."""
    now = parts.now_ms()
    plain.post(event(session=name, status="STARTING", timestamp=now - 2000))
    plain.post(event(session=name, status="SCAN_QR_CODE", timestamp=now - 1000))
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    path = f"{plain.url}/api/v1/sessions/default/{quoted}"

    def labelled() -> list[str]:
        spelt = name.replace("\n", r"\n")
        return [line for line in plain.metrics().split("\n") if f'session="{spelt}"' in line]

    assert len(labelled()) > 10
    answer = plain.client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert labelled() == []
    assert plain.post(event(session=name, status="FAILED", timestamp=now - 500)).json() == {"outcome": "late"}
    assert labelled() == []
    error(plain.client.delete(path), 404)

    time.sleep(0.002)  # the clock must pass the millisecond of the deletion
    fresh = event(session=name, status="STARTING")
    assert plain.post(fresh).json() == {"outcome": "transition"}
    assert value(plain, "wawp_session_down_since_timestamp_seconds", session=name) == fresh["timestamp"] / 1000
    assert value(plain, "wawp_session_auth_required_since_timestamp_seconds", session=name) == 0


def test_a_deletion_outlives_a_restart_and_leaves_the_log(exporter: Start, tmp_path: Path) -> None:
    """The tombstone is durable; audits still find the events."""
    running = exporter({}, tmp_path)
    then = parts.now_ms() - 1000
    running.post(event(session="gone", timestamp=then))
    assert running.client.delete(f"{running.url}/api/v1/sessions/default/gone").status_code == 204
    running.kill()
    running.start()

    assert running.post(event(session="gone", status="FAILED", timestamp=then + 1)).json() == {"outcome": "late"}
    assert "gone" not in running.metrics()
    assert logged(tmp_path / "wawp.db") == {("gone", "WORKING", then), ("gone", "FAILED", then + 1)}


def logged(database: Path) -> set[tuple[str, str, int]]:
    """The events of a log: (session, status, time as sent)."""
    query = "SELECT s.name, e.status, e.key_at FROM event e JOIN session s ON s.id = e.session_id"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return set(connection.execute(query))


# Logs

SECRET = {
    "key": "hm4c-k3y-of-the-test",
    "token": "t0ken-of-the-test",
    "api": "4pi-t0ken-of-the-test",
    "phone": "79990001234",
    "name": "Ana Contact",
    "qr": "2@QRDATAOFTHETEST",
    "metadata": "metadata-of-the-test",
}


def parse_logfmt(line: str) -> dict[str, str]:
    """key=value, the value quoted where it must be."""
    pattern = re.compile(r'(?P<key>[a-z_]+)=(?P<value>"(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$)')
    found = {}
    at = 0
    while at < len(line):
        match = pattern.match(line, at)
        assert match, f"not logfmt at {at}: {line!r}"
        found[match["key"]] = match["value"].strip('"')
        at = match.end()
    return found


@pytest.mark.parametrize(("form", "parse"), [("logfmt", parse_logfmt), ("json", json.loads)])
def test_the_log_lines_hold_no_secrets_and_no_personal_data(
    tmp_path: Path, form: str, parse: Callable[[str], dict[str, str]]
) -> None:
    """After a run that contained all of them, refused and accepted, at the level debug; every line parses."""
    for file in ("key", "token", "api"):
        (tmp_path / file).write_text(f"{SECRET[file]}\n")
    sources = {"default": {"hmac_keys_file": "key"}, "token": {"token_file": "token"}}
    web = {"api_token_file": "api", "enable_lifecycle": True}
    config = {"web": web, "sources": sources, "log": {"level": "debug", "format": form}}
    body = event(
        session="named",
        me={"id": f"{SECRET['phone']}@c.us", "pushName": SECRET["name"]},
        metadata={"user.email": SECRET["metadata"]},
    )
    flat = {"instance_id": SECRET["phone"], "status": "SCAN_QR_CODE", "qr": SECRET["qr"]}
    with parts.Exporter(config, tmp_path) as exporter:
        url = exporter.url
        exporter.post(body, key=SECRET["key"])
        exporter.post(body, key="wrong")
        exporter.post(parts.encode(body)[:-9], key=SECRET["key"])
        exporter.post({**flat, "status": None}, key=SECRET["key"])
        exporter.post({**flat, "status": f"NEW-{SECRET['qr']}"}, key=SECRET["key"])
        exporter.client.post(f"{url}/webhook/token?token={SECRET['token']}", json=flat)
        exporter.client.post(f"{url}/webhook/token?secret=wrong-{SECRET['token']}", json=flat)
        exporter.client.post(f"{url}/webhook/{SECRET['phone']}?token={SECRET['token']}", json=flat)
        exporter.get(f"/{SECRET['phone']}?token={SECRET['api']}", bearer(SECRET["api"]))
        exporter.get("/", bearer(f"wrong-{SECRET['api']}"))
        exporter.client.delete(f"{url}/api/v1/sessions/default/{SECRET['phone']}", headers=bearer(SECRET["api"]))
        with closing(socket.create_connection(("127.0.0.1", exporter.port))) as rude:
            rude.sendall(f"GET /?token={SECRET['token']} HTTP/9.9 {SECRET['phone']}\r\n\r\n".encode())
            rude.recv(1000)
        exporter.write({**config, "tyop": SECRET["qr"], "web": {**web, SECRET["metadata"][:4]: SECRET["metadata"]}})
        os.kill(exporter.pid, signal.SIGHUP)
        parts.wait_until(lambda: value(exporter, RELOADED) == 0)
        (tmp_path / "wawp.yml").write_text(f"web: [{SECRET['qr']}\n")
        exporter.client.post(f"{url}/-/reload", headers=bearer(SECRET["api"]))
        assert exporter.stop() == 0
        written = exporter.stderr

    assert [kind for kind, secret in SECRET.items() if secret in written] == []
    assert "?" not in written
    lines = [line for line in written.splitlines() if not line.startswith(("Fleet page ", "Metrics ", "First "))]
    events = [parse(line) for line in lines]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in events)
    assert {"listening", "stopped"} <= {line["event"] for line in events}


# Stop and restart


class Load(threading.Thread):
    """A sender that posts distinct events one after the other until it is not answered any more."""

    def __init__(self, exporter: parts.Exporter, name: str) -> None:
        super().__init__()
        self.url = f"{exporter.url}/webhook"
        self.session = name
        self.acknowledged: set[tuple[str, str, int]] = set()
        self.answers: set[int] = set()

    def run(self) -> None:
        """Counts as acknowledged what was answered 200."""
        at = parts.now_ms() - 1_000_000
        with httpx.Client(timeout=None, trust_env=False) as client:
            while True:
                at += 1
                status = ("WORKING", "FAILED")[at % 2]
                body = parts.encode(parts.envelope(session=self.session, status=status, timestamp=at))
                try:
                    answer = client.post(self.url, content=body)
                except httpx.TransportError:
                    return
                self.answers.add(answer.status_code)
                if answer.status_code == 200:
                    self.acknowledged.add((self.session, status, at))


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_stop_answers_what_is_in_flight_and_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM in the middle of a load: new connections are refused, begun requests finished, all 200s in the log."""
    body = parts.encode(event(session="in-flight"))
    head = f"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with parts.Exporter({}, tmp_path) as exporter:
        load = [Load(exporter, f"load-{n}") for n in range(8)]
        for sender in load:
            sender.start()
        half = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(3)]
        for connection in half:
            connection.sendall(head + body[:50])
        parts.wait_until(lambda: all(len(sender.acknowledged) > 20 for sender in load))

        os.kill(exporter.pid, signal.SIGTERM)
        parts.wait_until(lambda: refuses(exporter.port))
        assert exporter.running
        answers = []
        for connection in half:
            connection.sendall(body[50:])
            answers.append(connection.recv(1000))
            connection.close()
        for sender in load:
            sender.join(10)
        assert exporter.process is not None
        assert exporter.process.wait() == 0

    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 3
    assert sorted(answer.partition(b"\r\n\r\n")[2] for answer in answers) == [
        b'{"outcome":"duplicate"}',
        b'{"outcome":"duplicate"}',
        b'{"outcome":"transition"}',
    ]
    in_log = {row for row in logged(tmp_path / "wawp.db") if row[0] != "in-flight"}
    assert set().union(*(sender.acknowledged for sender in load)) <= in_log
    assert set().union(*(sender.answers for sender in load)) == {200}


@pytest.mark.parametrize("end", [parts.Exporter.stop, parts.Exporter.kill])
def test_a_restart_keeps_what_was_and_begins_counters_at_zero(
    tmp_path: Path, end: Callable[[parts.Exporter], object]
) -> None:
    """Statuses, since-times, episodes, restrictions and last events come back; after SIGKILL as well."""
    now = parts.now_ms() - 600_000
    stories = {
        "working": ["STARTING", "WORKING"],
        "login": ["WORKING", "STARTING", "SCAN_QR_CODE", "FAILED", "STARTING"],
        "down": ["WORKING", "DISCONNECTED", "STARTING"],
        "stopped": ["WORKING", "STOPPED"],
        "restarting": ["WORKING", "SCAN_QR_CODE", "STOPPED", "STARTING"],
        "passkey": ["STARTING", "PASSKEY_REQUIRED"],
        "strange": ["WORKING", "HIBERNATING"],
        'hostile"\\\n': ["STARTING"],
    }
    timelock = {"reachoutTimelock": {"isActive": True, "timeEnforcementEnds": now // 1000 + 86_400}}
    with parts.Exporter({}, tmp_path) as exporter:
        for name, statuses in stories.items():
            for index, status in enumerate(statuses):
                at = now + index * 1000
                exporter.post(event(session=name, status=status, timestamp=at, statuses=[], engine="GOWS"))
        exporter.post(event(session="limited", timestamp=now, payload={"data": timelock}))
        exporter.post(event(session="late", status="FAILED", timestamp=now + 5000))
        exporter.post(event(session="late", status="STARTING", timestamp=now))
        before = series(exporter, *GAUGES)
        counted = value(exporter, "wawp_session_transitions_total", session="login", to="STARTING")
        end(exporter)
        exporter.start()
        after = series(exporter, *GAUGES)
        counters = series(exporter, "wawp_session_transitions_total", "wawp_exporter_webhooks_total")
        seconds = series(exporter, "wawp_session_status_seconds_total")["wawp_session_status_seconds_total"]
        again = exporter.post(event(session="login", status="STARTING", timestamp=now + 4000, statuses=[])).json()

    assert counted == 2
    assert set(before) == set(GAUGES)
    for name in GAUGES:
        assert after[name] == before[name], name
    assert {v for found in counters.values() for v in found.values()} == {0}
    assert max(seconds.values()) < 30
    assert again == {"outcome": "duplicate"}
