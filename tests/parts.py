"""Real components for tests: Prometheus, Alertmanager, PostgreSQL, the exporter, and somebody to be paged."""

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import httpx
import pytest
import yaml

from tests import forked

ROOT = Path(__file__).resolve().parents[1]
# "bookworm" is whatever the system has on PATH; the others are unpacked by scripts/bootstrap-tools.
VERSIONS = ("bookworm", "trixie", "forky")
# A moving suite: its absence is never a failure.
OPTIONAL = frozenset({"forky"})
NAMES = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "amtool": ("amtool",),
    "pg_ctl": ("pg_ctl",),
    "chromium": ("chromium",),
    "systemd-analyze": ("systemd-analyze",),
    "wrk": ("wrk",),
}
# Leaves a key out of an envelope, where None stands for JSON's null.
OMIT: Any = object()
# The default time of an envelope: not in the future, and younger than any retention.
A_MINUTE_AGO = time.time_ns() // 1_000_000 - 60_000
# What has not come by then will not come; nothing fails because a machine is slow. pytest's limit of a test is longer.
PATIENCE_S = float(os.environ.get("WAWP_PATIENCE_S", "300"))

T = TypeVar("T")


# Finding them


def find(part: str, version: str = "bookworm") -> Path | None:
    """The binary of one of NAMES in one of VERSIONS, or None."""
    unpacked = ROOT / f".tools/apt-{version}/root/usr/bin"
    places = None if version == "bookworm" else str(unpacked)
    found = next((path for name in NAMES[part] if (path := shutil.which(name, path=places))), None)
    if part == "pg_ctl" and (newest := newest_pg_ctl()):
        return newest
    return Path(found).resolve() if found else None


def newest_pg_ctl() -> Path | None:
    """Debian keeps PostgreSQL's server programs off PATH, one folder a major version."""
    found = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    return max(found, key=lambda path: float(path.parts[-3]), default=None)


def prometheus_binary(version: str = "bookworm") -> Path | None:
    """The Prometheus server."""
    return find("prometheus", version)


def promtool_binary(version: str = "bookworm") -> Path | None:
    """Prometheus's checker of rules and metrics."""
    return find("promtool", version)


def alertmanager_binary(version: str = "bookworm") -> Path | None:
    """Alertmanager, which Debian calls prometheus-alertmanager."""
    return find("alertmanager", version)


def amtool_binary(version: str = "bookworm") -> Path | None:
    """Alertmanager's checker of configurations and routes."""
    return find("amtool", version)


def require(part: str, version: str = "bookworm") -> Path:
    """The binary, else the test is skipped; with CI=true it fails, unless the version is one of OPTIONAL."""
    found = find(part, version)
    return found if found else give_up(f"no {part} ({version}); scripts/bootstrap-tools gets it", version)


def give_up(reason: str, version: str) -> NoReturn:
    """Skips on a laptop, fails under CI=true."""
    if os.environ.get("CI") == "true" and version not in OPTIONAL:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# Waiting


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(predicate: Callable[[], T], what: str = "", timeout: float = PATIENCE_S) -> T:
    """The first true value of `predicate`; TimeoutError shows the last value.

    It is asked after 20 ms, then less and less often up to five times a second: what waits long must not slow down what
    it waits for. Connection errors count as "not yet".
    """
    deadline, pause = time.monotonic() + timeout, 0.02
    while True:
        try:
            last: object = (value := predicate())
            if value:
                return value
        except httpx.TransportError as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what or 'the condition'} not met in {timeout:g} s; last: {last!r}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.2)


# Processes


class StartError(RuntimeError):
    """A component ended, or was not ready in time; the message ends with its log."""


class Service:
    """A child process with a folder, a log file and an HTTP face on a free port of 127.0.0.1.

    As a context manager it is started and ready inside, and gone with its folder afterwards. A `directory`
    that was passed in is kept, so that a second process can continue in it.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float] = PATIENCE_S
    scheme = "http"

    def __init__(self, directory: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.keep = directory is not None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"wawp-{self.name}-"))
        self.env = dict(env or {})
        self.log = self.directory / f"{self.name}.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | forked.Forked | None = None
        self._client: httpx.Client | None = None

    def command(self) -> list[str]:
        """What to execute, in `directory`."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The process's whole environment."""
        return {**os.environ, **self.env}

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as scrape configurations want it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"{self.scheme}://{self.address}"

    @property
    def pid(self) -> int:
        """The process id of the running process."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def stderr(self) -> str:
        """Everything that its processes have written to standard output and error so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def client(self) -> httpx.Client:
        """A client that keeps its connections, lives as long as this object and knows no proxy."""
        if self._client is None:
            self._client = self.make_client()
        return self._client

    def make_client(self) -> httpx.Client:
        """What `client` is made of."""
        return httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def start(self) -> Self:
        """Starts the process and returns when GET /-/ready is 200; StartError otherwise."""
        self.process = self.launch()
        try:
            wait_until(self.ready, f"{self.name} ready", self.start_seconds)
        except TimeoutError as error:
            self.kill()
            raise StartError(f"{error}\n{self.stderr[-4000:]}") from None
        return self

    def launch(self) -> subprocess.Popen[bytes] | forked.Forked:
        """Starts the process."""
        with self.log.open("ab") as log:
            return subprocess.Popen(self.command(), cwd=self.directory, env=self.environment(), stdout=log, stderr=log)

    def ready(self) -> bool:
        """Whether it says so itself; StartError when the process has ended."""
        if not self.running:
            code = self.process.returncode if self.process else None
            raise StartError(f"{self.name} ended with status {code}\n{self.stderr[-4000:]}")
        return self.client.get(f"{self.url}/-/ready").status_code == 200

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE_S) -> int:
        """Sends the signal and returns the exit status; TimeoutError (and SIGKILL) when it runs on."""
        process = self.process
        if process is None:
            raise RuntimeError(f"{self.name} was not started")
        process.send_signal(sig)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            told = f"{self.name} ran on for {timeout:g} s after {sig.name}"
            raise TimeoutError(f"{told}\n{self.stderr[-4000:]}") from None

    def kill(self) -> None:
        """SIGKILL, as a power cut would have it; returns when the process is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Ends the process whatever its state and removes the folder, unless it was passed in."""
        try:
            if self.running:
                self.stop()
        finally:
            if self._client is not None:
                self._client.close()
            if not self.keep:
                shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class Prometheus(Service):
    """A real Prometheus. Rules are paths of files, or mappings `{"groups": [...]}`.

    Without a config it scrapes every second whatever `add_target` names. Discovery is throttled to once in
    5 s: the first scrape, and the first alert that reaches an Alertmanager, come 5–6 s after the start. An
    alert that fired before then is sent again after a minute only, unless flags have
    `--rules.alert.resend-delay=1s`.
    """

    name = "prometheus"

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        rules: Sequence[Path | Mapping[str, Any]] = (),
        flags: Sequence[str] = (),
        version: str = "bookworm",
        directory: Path | None = None,
    ) -> None:
        self.binary = require("prometheus", version)
        super().__init__(directory)
        self.flags = flags
        self.targets = self.directory / "targets"
        self.targets.mkdir(exist_ok=True)
        self.write(config, rules)

    def write(self, config: Mapping[str, Any] | None, rules: Sequence[Path | Mapping[str, Any]] = ()) -> None:
        """Writes prometheus.yml and the rules; a running server reads them at `reload`."""
        files = [str(self.write_rules(index, rule)) for index, rule in enumerate(rules)]
        data = dict(config or self.default_config())
        data["rule_files"] = [*data.get("rule_files", ()), *files]
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(data))

    def write_rules(self, index: int, rules: Path | Mapping[str, Any]) -> Path:
        """The file of one entry of `rules`."""
        if isinstance(rules, Path):
            return rules.resolve()
        path = self.directory / f"rules-{index}.yml"
        path.write_text(yaml.safe_dump(dict(rules)))
        return path

    def default_config(self) -> dict[str, Any]:
        """Every second, the targets of the files that `add_target` writes."""
        job = {"job_name": "tests", "file_sd_configs": [{"files": [f"{self.targets}/*.json"]}]}
        return {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [job],
        }

    def command(self) -> list[str]:
        """The flags that every test needs, then the test's own."""
        return [
            str(self.binary),
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/tsdb",
            f"--web.listen-address={self.address}",
            "--web.enable-lifecycle",
            *self.flags,
        ]

    def add_target(self, address: str, **labels: str) -> None:
        """Scrapes `host:port` from now on (up to 6 s later), if the config is the default one."""
        path = self.targets / f"{address.replace(':', '-')}.json"
        hidden = path.with_suffix(".new")
        hidden.write_text(json.dumps([{"targets": [address], "labels": labels}]))
        hidden.rename(path)

    def remove_target(self, address: str) -> None:
        """Scrapes it no more."""
        (self.targets / f"{address.replace(':', '-')}.json").unlink(missing_ok=True)

    def reload(self) -> None:
        """Reads the configuration and the rules again; httpx.HTTPStatusError when they are bad."""
        self.client.post(f"{self.url}/-/reload").raise_for_status()

    def api(self, path: str, **parameters: Any) -> Any:
        """`data` of an answer of /api/v1/; RuntimeError with Prometheus's words when it is an error."""
        given = {key: moment(value) for key, value in parameters.items() if value is not None}
        answer = self.client.get(f"{self.url}/api/v1/{path}", params=given).json()
        if answer["status"] != "success":
            raise RuntimeError(f"{path} {given}: {answer['error']}")
        return answer["data"]

    def query(self, expr: str, time: float | datetime | None = None) -> list[dict[str, Any]]:
        """The instant vector as Prometheus gives it: `{"metric": {...}, "value": [t, "1"]}`."""
        data = self.api("query", query=expr, time=time)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result

    def value(self, expr: str, time: float | datetime | None = None) -> float:
        """The only sample of an instant query; RuntimeError when there are none or several."""
        result = self.query(expr, time)
        if len(result) != 1:
            raise RuntimeError(f"{expr} gives {len(result)} series, expected one: {result}")
        return float(result[0]["value"][1])

    def query_range(
        self, expr: str, start: float | datetime, end: float | datetime, step: float = 1.0
    ) -> list[dict[str, Any]]:
        """The matrix as Prometheus gives it: `{"metric": {...}, "values": [[t, "1"], ...]}`."""
        data = self.api("query_range", query=expr, start=start, end=end, step=step)
        result: list[dict[str, Any]] = data["result"]
        return result

    def series(self, match: str) -> list[dict[str, str]]:
        """The label sets that the selector has matched in the last five minutes."""
        result: list[dict[str, str]] = self.api("series", **{"match[]": match, "start": time.time() - 300})
        return result

    def targets_up(self) -> list[str]:
        """The addresses of the targets whose last scrape went well."""
        active = self.api("targets", state="active")["activeTargets"]
        return [target["labels"]["instance"] for target in active if target["health"] == "up"]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing now."""
        result: list[dict[str, Any]] = self.api("alerts")["alerts"]
        return result


def moment(value: Any) -> Any:
    """Times as Prometheus takes them: seconds since 1970."""
    return value.timestamp() if isinstance(value, datetime) else value


class Alertmanager(Service):
    """A real Alertmanager with the given configuration, without gossip."""

    name = "alertmanager"

    def __init__(
        self,
        config: Mapping[str, Any] | Path,
        flags: Sequence[str] = (),
        version: str = "bookworm",
        directory: Path | None = None,
    ) -> None:
        self.binary = require("alertmanager", version)
        super().__init__(directory)
        self.flags = flags
        self.config = self.write(config)

    def write(self, config: Mapping[str, Any] | Path) -> Path:
        """The configuration's file; a Path is used where it stands, for the files and templates beside it."""
        if isinstance(config, Path):
            return config.resolve()
        path = self.directory / "alertmanager.yml"
        path.write_text(yaml.safe_dump(dict(config)))
        return path

    def command(self) -> list[str]:
        """The flags that every test needs, then the test's own."""
        return [
            str(self.binary),
            f"--config.file={self.config}",
            f"--storage.path={self.directory}/data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            *self.flags,
        ]

    def post_alerts(self, *alerts: Mapping[str, Any]) -> None:
        """Sends alerts as Prometheus would: `{"labels": {...}, "annotations": {...}, "endsAt": "..."}`."""
        self.client.post(f"{self.url}/api/v2/alerts", json=alerts).raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds, silenced and inhibited ones too."""
        result: list[dict[str, Any]] = self.client.get(f"{self.url}/api/v2/alerts").json()
        return result


class Exporter(Service):
    """`wawp-exporter serve` as a process; free port and database in its folder, unless the config says other.

    `stop` and `start` again continue on the same port, configuration and database. With a `pace` of 0.05 the constants
    of the judge take a twentieth of their time, and what `settling` says while something settles (`tests/scaled.py`);
    thresholds are in the configuration. Where it `forks` (in tests), it is started as tests/forked.py has it.
    """

    name = "exporter"
    forks: ClassVar[bool] = False

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        directory: Path | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        pace: float = 1,
        settling: float | None = None,
    ) -> None:
        super().__init__(directory, env)
        self.pace = pace if settling is None else f"{pace}:{settling}"
        self.args = args
        self.wrapper = wrapper
        self.config_file = self.directory / "wawp.yml"
        self.write(config or {})

    def write(self, config: Mapping[str, Any]) -> None:
        """Writes the configuration with the defaults of tests; a running exporter reads it at SIGHUP."""
        web = {"listen": self.address, **config.get("web", {})}
        database = {"url": f"sqlite:///{self.directory}/wawp.db", **config.get("database", {})}
        self.config = {**config, "web": web, "database": database}
        self.port = int(web["listen"].rpartition(":")[2])
        self.scheme = "https" if web.get("tls", {}).get("cert_file") else "http"
        self.config_file.write_text(yaml.safe_dump(self.config, allow_unicode=True))

    def command(self) -> list[str]:
        """`wrapper` stands before it, such as `["prlimit", "--fsize=1000000"]`."""
        module = ["wawp_exporter"] if self.pace == 1 else ["tests.scaled", str(self.pace)]
        serve = [sys.executable, "-m", *module, "serve", "--config", str(self.config_file)]
        return [*self.wrapper, *serve, *self.args]

    def launch(self) -> subprocess.Popen[bytes] | forked.Forked:
        """Variables of its own may matter to the interpreter, so these are for a real one."""
        if self.forks and not self.env and forked.can_be_forked(self.command()):
            return forked.Forked(self.command(), self.directory, self.environment(), self.log)
        return super().launch()

    def environment(self) -> dict[str, str]:
        """The caller's settings of the exporter do not reach it."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("WAWP_EXPORTER_")}
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        return {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **self.env}

    def make_client(self) -> httpx.Client:
        """Trusts the exporter's own certificate and no other, and asks for no compression.

        httpx decodes only the first member of a gzip stream, which is all that many servers send.
        """
        certificate = self.config["web"].get("tls", {}).get("cert_file")
        client = super().make_client()
        if certificate:
            context = ssl.create_default_context(cafile=self.directory / certificate)
            client = httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=context)
        client.headers["Accept-Encoding"] = "identity"
        return client

    @property
    def ingress_url(self) -> str:
        """Where /webhook answers: `web.ingress_listen`, else the one listener."""
        listen = self.config["web"].get("ingress_listen")
        return f"{self.scheme}://{listen}" if listen else self.url

    def post(
        self,
        body: bytes | Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        key: str | bytes | None = None,
        algorithm: str = "sha512",
    ) -> httpx.Response:
        """Sends a webhook, signed when a key is given; a mapping goes as compact JSON."""
        content = body if isinstance(body, bytes) else encode(body)
        given = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            signature = sign(content, key, algorithm)
            given = {"X-Webhook-Hmac": signature, "X-Webhook-Hmac-Algorithm": algorithm, **given}
        path = f"/webhook/{source}" if source else "/webhook"
        return self.client.post(self.ingress_url + path, content=content, headers=given)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """GET on the main listener."""
        return self.client.get(self.url + path, headers=headers)

    def metrics(self, headers: Mapping[str, str] | None = None) -> str:
        """The text of /metrics; httpx.HTTPStatusError when it is not 200."""
        return self.get("/metrics", headers).raise_for_status().text


# Those at the other end


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """A real HTTP server on a free port of 127.0.0.1, in a thread of this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Receiver:
    """Somebody whom Alertmanager pages: records the JSON of every POST, on any path, in the order of arrival.

    `answer` is the HTTP status it gives. One Condition guards the list, so that a waiting test wakes with
    the request.
    """

    def __init__(self) -> None:
        self.notifications: list[dict[str, Any]] = []
        self.answer = 200
        self.arrived = threading.Condition()

    def __enter__(self) -> Self:
        self.server = serving(self.handler())
        self.port = self.server.__enter__().server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """A handler class that knows this receiver."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.record({**body, "path": self.path})

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def record(self, notification: dict[str, Any]) -> None:
        """Appends and wakes whoever waits."""
        with self.arrived:
            self.notifications.append(notification)
            self.arrived.notify_all()

    def alerts(self, status: str | None = None) -> list[dict[str, Any]]:
        """The alerts of all notifications, of one status (`firing`, `resolved`) if given."""
        with self.arrived:
            alerts = [alert for notification in self.notifications for alert in notification["alerts"]]
        return [alert for alert in alerts if status in (None, alert["status"])]

    def wait_for(self, predicate: Callable[[list[dict[str, Any]]], T], timeout: float = PATIENCE_S) -> T:
        """The first true value of `predicate(notifications)`; TimeoutError shows what did arrive."""
        with self.arrived:
            value = self.arrived.wait_for(lambda: predicate(self.notifications), timeout)
            if not value:
                raise TimeoutError(f"not in {timeout:g} s among {self.notifications}")
            return value

    def clear(self) -> None:
        """Forgets what has arrived."""
        with self.arrived:
            self.notifications.clear()


class Postgres:
    """A real PostgreSQL cluster in a folder of its own, run by the user postgres if this one is root.

    `settings` are server settings such as `{"fsync": "on"}`; by default what is committed survives a crash of
    the server, not one of the machine.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.bin = require("pg_ctl").parent
        self.port = free_port()
        # The path of the socket inside may have 107 bytes, so a short one.
        self.directory = Path(tempfile.mkdtemp(prefix="wawp-pg-"))
        self.data = self.directory / "data"
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            **(settings or {}),
        }
        self.owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            self.owner = {"user": "postgres", "group": "postgres", "extra_groups": []}

    @property
    def url(self) -> str:
        """The database `postgres`, over TCP, without a password."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """A database of this cluster, over TCP, without a password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *args: str) -> str:
        """Runs one of PostgreSQL's programs as its user; RuntimeError with its words when it fails."""
        # Into a file: the server inherits it from pg_ctl, and a pipe would never end.
        with (self.directory / "output").open("w+b") as output:
            manners = {"cwd": self.directory, "stdout": output, "stderr": output, **self.owner}
            done = subprocess.run([str(self.bin / program), *args], check=False, **manners)
            output.seek(0)
            text = output.read().decode(errors="replace")
        if done.returncode:
            raise RuntimeError(f"{program} ended with status {done.returncode}\n{text}")
        return text

    def start(self) -> None:
        """Returns when it takes connections."""
        options = " ".join(f"-c {key}={value}" for key, value in self.settings.items())
        log = str(self.directory / "log")
        self.run("pg_ctl", "-w", "-D", str(self.data), "-l", log, "-o", f"-p {self.port} {options}", "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is what a crash looks like."""
        self.run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for it: one row a line, columns parted by `|`."""
        url = self.database_url(database)
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement).rstrip("\n")

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.database_url(name)

    def __enter__(self) -> Self:
        try:
            manners = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
            self.run("initdb", "-D", str(self.data), *manners)
            self.start()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if (self.data / "postmaster.pid").exists():
                self.stop("immediate")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


# What a gateway sends


def now_ms() -> int:
    """The wall clock in the gateway's unit: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON as Node writes it: no spaces, UTF-8."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def sign(body: bytes, key: str | bytes, algorithm: str = "sha512") -> str:
    """The value of X-Webhook-Hmac: hexadecimal HMAC of the raw body."""
    return hmac.new(key.encode() if isinstance(key, str) else key, body, algorithm).hexdigest()


def envelope(**overrides: Any) -> dict[str, Any]:
    """The body of WAHA's `session.status`, in form and order as captured; a test names what matters.

    `session`, `status`, `statuses` and `timestamp` are put wherever they occur (milliseconds; a minute before
    the tests began, unless given); `payload` is merged into the payload; any other name is a key of the
    envelope; OMIT leaves a key out. The id follows from the rest, so equal arguments make the same event, and
    another `id` makes another delivery of it.
    """
    session = overrides.pop("session", "default")
    status = overrides.pop("status", "WORKING")
    timestamp = overrides.pop("timestamp", A_MINUTE_AGO)
    points = [{"status": status, "timestamp": timestamp}]
    payload = {"name": session, "status": status, "statuses": overrides.pop("statuses", points)}
    payload |= overrides.pop("payload", {})
    body = {
        "id": None,
        "timestamp": timestamp,
        "event": "session.status",
        "session": session,
        "me": {"id": "79990000001@c.us", "pushName": "Test Account"} if status == "WORKING" else None,
        "payload": without_omitted(payload),
        "engine": "NOWEB",
        "environment": {
            "version": "2026.2.1",
            "engine": "NOWEB",
            "tier": "CORE",
            "browser": None,
            "platform": "linux/x64",
            "worker": {"id": "waha-1"},
        },
    }
    body = without_omitted(body | overrides)
    if body.get("id", OMIT) is None and "id" not in overrides:
        body["id"] = f"evt_{hashlib.sha256(encode(body)).hexdigest()[:26]}"
    return body


def without_omitted(keys: Mapping[str, Any]) -> dict[str, Any]:
    """All but those whose value is OMIT."""
    return {key: value for key, value in keys.items() if value is not OMIT}
