"""Prometheus: whether it can be reached, scrapes the exporter, and knows an Alertmanager."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from wawp_exporter.config.settings import Settings
from wawp_exporter.config.values import parse_duration, split_listen
from wawp_exporter.doctor.exporter import ANY
from wawp_exporter.doctor.finding import Finding, broken, ok
from wawp_exporter.doctor.samples import Samples
from wawp_exporter.doctor.site import Site, Unusable

PROMETHEUS, SCRAPE, DISCOVERY = "Prometheus", "scrape", "Alertmanagers"
JOB = "wawp-exporter"
LEAST = (2, 42)  # keep_firing_for
SETTLED_S = 10.0
FAST_S = 15.0  # a scrape that is rarer makes messages late
RELOAD = "and reload Prometheus:  kill -HUP PID   (or POST /-/reload)"
ALERTING = (
    "Paste into prometheus.yml, and reload Prometheus:  kill -HUP PID   (or POST /-/reload)",
    "  alerting:",
    "    alertmanagers:",
    "      - static_configs:",
    "          - targets: ['{target}']",
)
Target = Mapping[str, Any]
# A part of the error of a scrape → what to do.
SCRAPES = (
    ("401", "Prometheus needs the token of web.metrics_token_file: in the job, authorization: {credentials_file: …}"),
    ("403", "The exporter, or a proxy before it, refuses Prometheus"),
    ("404", "Another service, or web.ingress_listen, answers at that port: the target is web.listen"),
    ("server gave HTTP response to HTTPS", "The exporter speaks plain HTTP: in the job, scheme: http"),
    ("HTTP status 400", "The exporter expects TLS: in the job, scheme: https"),
    ("malformed HTTP response", "The exporter expects TLS: in the job, scheme: https"),
    ("EOF", "Does the exporter expect TLS?  Then, in the job, scheme: https"),
    ("x509", "Prometheus does not trust the certificate: in the job, tls_config: {ca_file: …}"),
    ("connection refused", "Nobody listens there, as Prometheus sees it; in a container, 127.0.0.1 is that container"),
    ("no such host", "Prometheus does not know that host: are both in one network?"),
    ("deadline exceeded", "The exporter did not answer in time: a firewall, or a scrape_timeout that is too short"),
    ("", "See the exporter's log, and whether Prometheus can reach that address"),
)  # fmt: skip


def call(site: Site, path: str, **parameters: Any) -> Any:
    """`data` of an answer of Prometheus' API. Raises Unusable."""
    return data_of(site, site.json(f"/api/v1/{path}", **parameters))


def data_of(site: Site, answer: Any) -> Any:
    """`data` of an answer. Raises Unusable for what is none."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise Unusable(f"{site.url} does not answer as Prometheus does", "Is this the address of Prometheus?")
    return answer["data"]


def look(site: Site, note: str) -> tuple[bool, Finding]:
    """Whether it can be asked; and whether it is new enough, and runs with its newest configuration."""
    try:
        version = str(call(site, "status/buildinfo")["version"])
        reloaded = call(site, "status/runtimeinfo").get("reloadConfigSuccess", True)
    except Unusable as error:
        return False, broken(PROMETHEUS, str(error), *error.advice, *elsewhere(note))
    except (KeyError, TypeError, AttributeError):
        return False, broken(PROMETHEUS, f"{site.url} does not answer as Prometheus does", *elsewhere(note))
    if not reloaded:
        says = f"{site.url} has refused its configuration at the last reload and runs with the old one"
        see = "See what is wrong:  promtool check config prometheus.yml"
        return True, broken(PROMETHEUS, says, see, f"Repair it, {RELOAD}")
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < LEAST:
        return True, broken(PROMETHEUS, f"{site.url} is version {version}, expected 2.42 or newer", "Update Prometheus")
    return True, ok(PROMETHEUS, f"{site.url} answers, version {version}" + (f" ({note})" if note else ""))


def elsewhere(note: str) -> tuple[str, ...]:
    """What to do where the address was a guess."""
    return (f"If it has another address, give --prometheus URL ({note})",) if note else ()


def scrape(site: Site, settings: Settings | None) -> Finding:
    """Whether it scrapes the exporter, as the job that the rules read. Raises Unusable."""
    targets, ours = settled(site)
    if not ours:
        return unscraped(targets, settings, has_job(site))
    down = [target for target in ours if target["health"] == "down"]
    if down:
        error = down[0]["lastError"]
        advice = next(words for mark, words in SCRAPES if mark in error)
        return broken(SCRAPE, f"{len(down)} of {len(ours)} targets down: {error}", advice)
    waiting = [target for target in ours if target["health"] != "up"]
    if waiting:
        says = f"{waiting[0]['scrapeUrl']} has not been scraped yet"
        return broken(SCRAPE, says, f"Wait {waiting[0].get('scrapeInterval', '1m')}, and ask again")
    return ok(SCRAPE, scraped(ours))


def settled(site: Site) -> tuple[list[Target], list[Target]]:
    """All targets, and those of the job; Prometheus finds them some seconds after its start, and scrapes them later."""
    end = time.monotonic() + SETTLED_S
    while True:
        targets: list[Target] = call(site, "targets", state="active")["activeTargets"]
        ours = [target for target in targets if target["labels"].get("job") == JOB]
        known = ours and all(target["health"] != "unknown" for target in ours)
        if known or time.monotonic() > end or not has_job(site):
            return targets, ours
        time.sleep(0.5)


def has_job(site: Site) -> bool:
    """Whether its configuration has the job. Raises Unusable."""
    return re.search(rf"job_name: [\"']?{JOB}[\"']?\s", call(site, "status/config")["yaml"]) is not None


def scraped(targets: Sequence[Target]) -> str:
    """Which targets, how often."""
    interval = targets[0].get("scrapeInterval", "")
    rare = bool(interval) and parse_duration(interval) > FAST_S
    late = "; 5s is recommended: messages come later by as much" if rare else ""
    others = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
    return f"{targets[0]['scrapeUrl']}{others} every {interval or '?'}{late}"


def unscraped(targets: Sequence[Target], settings: Settings | None, configured: bool) -> Finding:
    """No target of the job: perhaps the job has another name."""
    if configured:
        says = f"the job {JOB!r} has no target"
        return broken(SCRAPE, says, "Look at its targets, or at its discovery and relabel_configs, in prometheus.yml")
    listen = settings.config.web.listen if settings else "127.0.0.1:10011"
    port = split_listen(listen)[1]
    other = next((each for each in targets if each["scrapeUrl"].endswith(f":{port}/metrics")), None)
    if other:
        says = f"the exporter is scraped as job {other['labels'].get('job')!r}, but the rules read job {JOB!r}"
        return broken(SCRAPE, says, f"In prometheus.yml, name it  job_name: {JOB}", RELOAD)
    return broken(SCRAPE, f"Prometheus has no job {JOB!r}", *job(listen, settings))


def job(listen: str, settings: Settings | None) -> Iterator[str]:
    """The job to paste."""
    host, port = split_listen(listen)
    target = f"THIS_HOST:{port}" if host in ANY else listen
    web = settings.config.web if settings else None
    yield "Paste into prometheus.yml, " + RELOAD
    yield "  scrape_configs:"
    yield f"    - job_name: {JOB}"
    yield "      scrape_interval: 5s"
    if web and web.tls.cert_file:
        yield "      scheme: https"
    if web and web.metrics_token_file:
        yield f"      authorization: {{credentials_file: {web.metrics_token_file}}}"
    yield "      static_configs:"
    yield f"        - targets: ['{target}']"


def discovery(site: Site, named: str | None, known: list[str]) -> Finding:
    """Whether it sends alerts to an Alertmanager; their base URLs are added to `known`. Raises Unusable."""
    data = call(site, "alertmanagers")
    active = [each["url"] for each in data["activeAlertmanagers"]]
    if not active:
        dropped = len(data["droppedAlertmanagers"])
        says = "Prometheus sends its alerts to no Alertmanager, so rules fire and nobody gets a message"
        if dropped:
            says += f": its relabel_configs drop all {dropped} that it has found"
        target = urlsplit(named).netloc.split("@")[-1] if named else "127.0.0.1:9093"
        return broken(DISCOVERY, says, *(line.format(target=target) for line in ALERTING))
    known += [re.sub(r"/api/v[12]/alerts$", "", url) for url in active]
    failed = undelivered(site, active)
    if failed:
        says = f"Prometheus could not send its alerts to {failed}"
        return broken(DISCOVERY, says, "Is that Alertmanager running, and is this its address as Prometheus sees it?")
    return ok(DISCOVERY, f"Prometheus sends alerts to {', '.join(known)}")


def undelivered(site: Site, urls: Sequence[str]) -> str:
    """An Alertmanager to which nothing could be sent so far, "" if there is none, or if it is not known."""
    try:
        samples = Samples.of(site, "prometheus_notifications_")
    except Unusable:
        return ""
    for url in urls:
        sent = samples.total("prometheus_notifications_sent_total", alertmanager=url) or 0
        errors = samples.total("prometheus_notifications_errors_total", alertmanager=url) or 0
        if errors and errors >= sent:
            return url
    return ""
