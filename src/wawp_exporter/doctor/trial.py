"""A test alert: one of the shipped alerts, marked as a test, and what becomes of it in Alertmanager."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

from wawp_exporter.doctor.alertmanager import status
from wawp_exporter.doctor.routing import Route, integrations
from wawp_exporter.doctor.samples import Samples
from wawp_exporter.doctor.shipped import examples
from wawp_exporter.doctor.site import Site
from wawp_exporter.errors import WawpExporterError

SPARE = timedelta(minutes=10)  # after which Alertmanager ends it by itself, if this program was killed
PREFIX = {"summary": "TEST: ", "description": "This is a test, nothing is wrong. "}
REQUESTS, FAILED = "alertmanager_notification_requests_total", "alertmanager_notification_requests_failed_total"


class UnknownAlert(WawpExporterError):
    """No such alert is shipped."""

    exit_status = 2

    def __init__(self, name: str) -> None:
        super().__init__(f"--alert: {name!r} is not one of this version's alerts, expected one of:")
        self.names = sorted(examples())


@dataclass(frozen=True, slots=True)
class Trial:
    """One test alert. `labels` make it another alert than each earlier test."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    began: datetime

    def firing(self, seconds: float) -> dict[str, Any]:
        """As Prometheus would send it; it is to last for so long."""
        ends = self.began + timedelta(seconds=seconds) + SPARE
        return {
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": stamp(self.began),
            "endsAt": stamp(ends),
        }

    def over(self, now: datetime) -> dict[str, Any]:
        """Its end."""
        return {
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": stamp(self.began),
            "endsAt": stamp(now),
        }


def trial_of(name: str, session: str, source: str, now: datetime) -> Trial:
    """The example of this alert for another session and source. Raises UnknownAlert."""
    if name not in examples():
        raise UnknownAlert(name)
    example = examples()[name]
    wanted = {"session": session, "source": source}
    changes = {example["labels"][label]: value for label, value in wanted.items() if label in example["labels"]}
    labels = {**example["labels"], **{label: value for label, value in wanted.items() if label in example["labels"]}}
    texts = {key: changed(key, text, changes) for key, text in example["annotations"].items()}
    marked = {key: PREFIX.get(key, "") + text for key, text in texts.items()}
    identity = {"alertname": name, "test": "true", "test_id": now.strftime("%H%M%S")}
    return Trial({**labels, **identity}, marked, now)


def changed(key: str, text: str, changes: Mapping[str, str]) -> str:
    """A text about another session; in a URL its name is quoted."""
    for old, new in changes.items():
        text = text.replace(quote_plus(old), quote_plus(new)) if key.endswith("_url") else text.replace(old, new)
    return text


def stamp(moment: datetime) -> str:
    """RFC 3339, as Alertmanager's API takes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Expected:
    """Where an alert goes: the routes that it takes, and by which ways their receivers send."""

    routes: tuple[Route, ...]
    ways: Mapping[str, Sequence[tuple[str, bool]]]

    @property
    def wait(self) -> float:
        """Seconds until the message of a new group is sent."""
        return max(route.wait for route in self.routes)

    @property
    def interval(self) -> float:
        """Seconds between two messages of a group."""
        return max(route.interval for route in self.routes)

    @property
    def by(self) -> set[str]:
        """All ways by which messages are sent."""
        return {way for route in self.routes for way, _ in self.ways[route.receiver]}

    @property
    def times(self) -> list[str]:
        """The time intervals that can hold a message back."""
        return [name for route in self.routes for name in (*route.muted, *route.active)]

    def receivers(self) -> Iterator[str]:
        """Each receiver with its ways: `it-oncall (slack, email)`."""
        for route in self.routes:
            ways = ", ".join(dict.fromkeys(way for way, _ in self.ways[route.receiver]))
            yield f"{route.receiver} ({ways or 'which sends nothing to anybody'})"


def expected(site: Site, labels: Mapping[str, str]) -> Expected:
    """By the routes of Alertmanager's own configuration. Raises Unusable, ValueError."""
    _, config = status(site)
    return Expected(tuple(Route.of(config["route"]).reached(labels)), integrations(config["receivers"]))


def held(site: Site, trial: Trial) -> Mapping[str, Any] | None:
    """The alert as Alertmanager has it, or None. Raises Unusable."""
    wanted = [f'{label}="{trial.labels[label]}"' for label in ("alertname", "test", "test_id")]
    found = site.json("/api/v2/alerts", filter=wanted)
    return next((each for each in found if each["labels"] == dict(trial.labels)), None)


def muted(alert: Mapping[str, Any]) -> str:
    """Why Alertmanager sends no message of an alert that it has; "" if it does."""
    state = alert["status"]
    words = {"silencedBy": "a silence", "inhibitedBy": "another alert that inhibits it", "mutedBy": "a time interval"}
    return ", ".join(f"{words[key]} ({', '.join(state[key])})" for key in words if state.get(key))


def requests(site: Site, ways: set[str]) -> tuple[float, float]:
    """How many requests Alertmanager has made so far to send messages by these ways, and how many of them failed."""
    samples = Samples.of(site, REQUESTS, FAILED)
    made = sum(samples.total(REQUESTS, integration=way) or 0 for way in ways)
    return made, sum(samples.total(FAILED, integration=way) or 0 for way in ways)
