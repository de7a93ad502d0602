"""The whole chain, from the configuration to the dashboards, link by link."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wawp_exporter.config.settings import Settings
from wawp_exporter.doctor import alertmanager, exporter, histograms, pages, prometheus, rules, webhooks
from wawp_exporter.doctor.finding import Finding, broken, skipped
from wawp_exporter.doctor.site import Site, Unusable

PROMETHEUS_URL, ALERTMANAGER_URL = "http://127.0.0.1:9090", "http://127.0.0.1:9093"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the doctor was asked to look at; None: look for it at the usual place."""

    config: Path | None = None
    prometheus: str | None = None
    alertmanager: str | None = None
    grafana: str | None = None
    grafana_token: str | None = field(default=None, repr=False)


def examine(asked: Asked) -> Iterator[Finding]:
    """Each finding as soon as it is known."""
    settings, finding = exporter.read(asked.config)
    yield finding
    yield from own(settings)
    known: list[str] = []
    yield from watched(asked, settings, known)
    yield from notified(asked, known)
    yield from linked(asked, settings)


def own(settings: Settings | None) -> Iterator[Finding]:
    """The exporter, and what it says of the webhooks."""
    if settings is None:
        yield skipped(exporter.EXPORTER, "the configuration says where it listens")
        yield skipped(webhooks.LINK, "the exporter was not asked")
        return
    samples, finding = exporter.look(settings)
    yield finding
    if samples:
        yield from webhooks.look(settings.config, samples)
    else:
        yield skipped(webhooks.LINK, "the exporter does not say what it has received")


def watched(asked: Asked, settings: Settings | None, known: list[str]) -> Iterator[Finding]:
    """Prometheus' links; the Alertmanagers that it knows are added to `known`."""
    note = "" if asked.prometheus else "no --prometheus given, so the usual address was tried"
    with Site("Prometheus", asked.prometheus or PROMETHEUS_URL) as site:
        answers, finding = prometheus.look(site, note)
        yield finding
        if not answers:
            links = (prometheus.SCRAPE, rules.LOADED, rules.HEALTH, prometheus.DISCOVERY)
            yield from (skipped(link, "Prometheus cannot be asked") for link in links)
            return
        yield from attempt(prometheus.SCRAPE, lambda: [histograms.look(site, prometheus.scrape(site, settings))])
        yield from attempt(rules.LOADED, lambda: rules.look(site))
        yield from attempt(prometheus.DISCOVERY, lambda: [prometheus.discovery(site, asked.alertmanager, known)])


def notified(asked: Asked, known: Sequence[str]) -> Iterator[Finding]:
    """Alertmanager's links: the one that was named, else one that Prometheus knows, else one at the usual place."""
    note = "" if asked.alertmanager else "no --alertmanager given, so one that Prometheus sends to was tried"
    if not asked.alertmanager and not known:
        note = "no --alertmanager given, so the usual address was tried"
    with Site("Alertmanager", asked.alertmanager or next(iter(known), ALERTMANAGER_URL)) as site:
        config, finding = alertmanager.look(site, note)
        yield finding
        if config is None:
            links = (alertmanager.RECEIVERS, alertmanager.PLACEHOLDERS, alertmanager.DELIVERY)
            yield from (skipped(link, "Alertmanager cannot be asked") for link in links)
            return
        yield from attempt(alertmanager.RECEIVERS, lambda: [alertmanager.receivers(config)])
        yield from attempt(alertmanager.PLACEHOLDERS, lambda: [alertmanager.placeholders(config)])
        yield from attempt(alertmanager.DELIVERY, lambda: [alertmanager.delivery(site)])


def linked(asked: Asked, settings: Settings | None) -> Iterator[Finding]:
    """What messages link to."""
    if settings:
        yield from pages.look(settings)
    else:
        yield skipped(pages.PAGES, "the configuration says where they are")
    grafana = asked.grafana or (settings.config.web.grafana_url if settings else None)
    yield pages.dashboards(grafana, asked.grafana_token)


def attempt(link: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds; an answer that is not understood is a finding too."""
    try:
        yield from look()
    except Unusable as error:
        yield broken(link, str(error), *error.advice)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield broken(link, f"an answer is not as expected ({type(error).__name__})", "Is this the right address?")
