"""The real components start, answer and end; few tests, as Prometheus takes 5–6 s to its first sample."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests import forked, parts


@contextmanager
def metrics_endpoint(text: str) -> Iterator[str]:
    """Serves `text` on every path and gives its host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with parts.serving(Handler) as server:
        yield f"127.0.0.1:{server.server_port}"


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop."""
    monkeypatch.delenv("CI", raising=False)


def test_prometheus_scrapes_a_target_that_a_test_adds(prometheus: parts.Prometheus) -> None:
    """The shared Prometheus takes targets by file, under the labels of the test."""
    with metrics_endpoint("# TYPE answer gauge\nanswer 42\n") as address:
        prometheus.add_target(address, test="scrape")
        samples = parts.wait_until(lambda: prometheus.query('answer{test="scrape"}'))
        up = prometheus.targets_up()
        prometheus.remove_target(address)

    assert [sample["value"][1] for sample in samples] == ["42"]
    assert samples[0]["metric"]["job"] == "tests"
    assert address in up
    assert prometheus.series('answer{test="scrape"}') == [samples[0]["metric"]]
    moment = samples[0]["value"][0]
    assert prometheus.value('answer{test="scrape"}', time=moment) == 42
    assert prometheus.query_range('answer{test="scrape"}', moment, moment)[0]["values"] == [[moment, "42"]]


def test_a_bad_query_raises_in_the_words_of_prometheus(prometheus: parts.Prometheus) -> None:
    """An error is never an empty result."""
    with pytest.raises(RuntimeError, match="parse error"):
        prometheus.query("sum(")


@pytest.mark.parametrize("version", parts.VERSIONS)
def test_an_alert_travels_from_a_rule_to_the_receiver(version: str, receiver: parts.Receiver) -> None:
    """Prometheus evaluates, Alertmanager groups, the receiver is paged: all three in each version."""
    rule = {"alert": "Always", "expr": "vector(1)", "labels": {"severity": "page"}}
    hook = {"name": "hook", "webhook_configs": [{"url": receiver.url}]}
    route = {"receiver": "hook", "group_wait": "0s", "group_interval": "1s"}

    with parts.Alertmanager({"route": route, "receivers": [hook]}, version=version) as alertmanager:
        config = {
            "global": {"evaluation_interval": "1s"},
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.address]}]}]},
        }
        rules = {"groups": [{"name": "always", "rules": [rule]}]}
        # The alert fires before the Alertmanager is discovered, so it must soon be sent again.
        flags = ["--rules.alert.resend-delay=1s"]
        with parts.Prometheus(config, [rules], flags, version) as prometheus:
            notification = receiver.wait_for(lambda arrived: arrived[:1])[0]
            assert prometheus.alerts()[0]["state"] == "firing"
            assert prometheus.stop() == 0

    assert notification["status"] == "firing"
    assert receiver.alerts("firing")[0]["labels"] == {"alertname": "Always", "severity": "page"}


def test_a_component_that_ends_at_once_raises_with_its_log(tmp_path: Path) -> None:
    """No test waits for a deadline because of a slip in a configuration."""
    prometheus = parts.Prometheus({"nonsense": 1}, directory=tmp_path)

    with pytest.raises(parts.StartError, match="field nonsense not found"), prometheus:
        pass


def test_postgres_answers_and_survives_a_crash(postgres: parts.Postgres) -> None:
    """A database a test, and a restart as after a power cut."""
    url = postgres.create_database("parts")
    postgres.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)", "parts")
    postgres.stop("immediate")
    postgres.start()

    assert url.endswith(f":{postgres.port}/parts")
    assert postgres.sql("SELECT n, n * 2 FROM t ORDER BY n", "parts") == "1|2\n2|4"


@pytest.mark.usefixtures("no_ci")
def test_a_missing_part_is_a_skip_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to install everything to change one line."""
    monkeypatch.setattr(parts, "find", lambda *_: None)

    with pytest.raises(pytest.skip.Exception, match="no promtool"):
        parts.require("promtool")


def test_a_missing_part_fails_under_ci_unless_it_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip that nobody reads hides a broken build; only the moving suite may be absent."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(parts, "find", lambda *_: None)

    with pytest.raises(pytest.fail.Exception, match="no promtool"):
        parts.require("promtool", "trixie")
    with pytest.raises(pytest.skip.Exception, match="no promtool"):
        parts.require("promtool", "forky")


def test_an_envelope_has_the_form_of_a_captured_one() -> None:
    """Key for key, in the order in which WAHA 2026.2.1 writes them."""
    body = parts.envelope(session="shop", status="STARTING", timestamp=1)

    assert list(body) == ["id", "timestamp", "event", "session", "me", "payload", "engine", "environment"]
    assert body["payload"] == {
        "name": "shop",
        "status": "STARTING",
        "statuses": [{"status": "STARTING", "timestamp": 1}],
    }
    assert body["me"] is None
    assert len(body["id"]) == 30


def test_equal_envelopes_have_one_id_and_different_ones_two() -> None:
    """A retry is the same event, a new status is not."""
    assert parts.envelope() == parts.envelope()
    assert parts.envelope()["id"] != parts.envelope(timestamp=2)["id"]


def test_an_envelope_leaves_out_what_is_omitted() -> None:
    """Absent and null are two things."""
    body = parts.envelope(id=parts.OMIT, me=None, statuses=parts.OMIT, payload={"data": {"x": 1}})

    assert "id" not in body
    assert body["me"] is None
    assert body["payload"] == {"name": "default", "status": "WORKING", "data": {"x": 1}}


def test_sign_gives_the_published_vector_of_waha() -> None:
    """From WAHA's documentation of X-Webhook-Hmac."""
    body = b'{"event":"message","session":"default","engine":"WEBJS"}'
    expected = (
        "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
        "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
    )

    assert parts.sign(body, "my-secret-key") == expected


def test_the_exporter_gets_a_configuration_for_tests(tmp_path: Path) -> None:
    """A free port and a database in its folder, unless the test says other."""
    config = {"web": {"ingress_listen": "127.0.0.1:1"}}
    exporter = parts.Exporter(config, directory=tmp_path)
    environment = exporter.environment()
    exporter.close()

    text = (tmp_path / "wawp.yml").read_text()
    assert f"listen: {exporter.address}" in text
    assert f"url: sqlite:///{tmp_path}/wawp.db" in text
    assert exporter.ingress_url == "http://127.0.0.1:1"
    assert not [key for key in environment if key.startswith("WAWP_EXPORTER_")]


def test_the_exporter_continues_where_it_was_killed(exporter: Callable[..., parts.Exporter], tmp_path: Path) -> None:
    """The same port, configuration and log: what was acknowledged is still known."""
    (tmp_path / "keys").write_text("secret\n")
    service = exporter({"sources": {"default": {"hmac_keys_file": "keys"}}}, directory=tmp_path)
    body = parts.envelope(session="shop")

    unsigned = service.post(body)
    first = service.post(body, key="secret")
    service.kill()
    service.start()
    again = service.post(body, key="secret")

    assert unsigned.status_code == 401
    assert first.json() == {"outcome": "transition"}
    assert again.json() == {"outcome": "duplicate"}
    assert 'session="shop"' in service.metrics()
    assert service.stop() == 0


@pytest.mark.parametrize("forks", [True, False])
def test_a_forked_exporter_ends_as_one_with_an_interpreter_of_its_own(
    forks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tests see of its end is the same: the exit status, a signal, its last words."""
    monkeypatch.setattr(parts.Exporter, "forks", forks)
    with parts.Exporter({}, directory=tmp_path) as service:
        process = service.process
        assert isinstance(process, forked.Forked) is forks
        with pytest.raises(TimeoutError, match=r"ran on for 0\.01 s"):
            service.stop(signal.SIGWINCH, timeout=0.01)
        assert (process.wait(), service.running) == (-signal.SIGKILL, False)
        service.start()
        assert service.stop() == 0
        assert service.stderr.count("event=listening") == 2
        assert service.stderr.count("event=stopped") == 1


def test_a_refused_configuration_is_told_in_the_words_of_the_exporter(tmp_path: Path) -> None:
    """A start that fails shows why, in the failure of the test."""
    with pytest.raises(parts.StartError, match="nonsense: unknown key"):
        parts.Exporter({"nonsense": 1}, directory=tmp_path).start()


def test_the_judge_of_a_service_can_be_scaled() -> None:
    """Stories of minutes take seconds; nobody can stretch the times, or stop them, by a slip."""
    shown = (
        "from tests.scaled import scale; scale(0.05, 0.5)\n"
        "from wawp_exporter.model import fleet, machine; from_judge = fleet.CONSTANTS\n"
        "print(machine.RESTART_MS, from_judge.recovered_ms, from_judge.settle_ms)"
    )
    scaled = subprocess.run([sys.executable, "-c", shown], cwd=parts.ROOT, capture_output=True, text=True, check=True)
    refused = subprocess.run(
        [sys.executable, "-m", "tests.scaled", "0.05:0", "serve"],
        cwd=parts.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert scaled.stdout.split() == ["1500", "3000", "5000"]
    assert refused.returncode == 1
    assert "(0, 1]" in refused.stderr
