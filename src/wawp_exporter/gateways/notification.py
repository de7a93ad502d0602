"""What Alertmanager's webhook sends, and which sessions it names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from wawp_exporter.errors import BadRequest
from wawp_exporter.model.rules import Key


class Alert(msgspec.Struct, frozen=True):
    """One alert of a notification."""

    status: str = ""
    labels: dict[str, str] = {}


class Notification(msgspec.Struct, frozen=True):
    """What Alertmanager's webhook sends, as far as it matters here."""

    alerts: Annotated[list[Alert], Meta(max_length=10_000)]


class Taken(msgspec.Struct, frozen=True):
    """What became of a notification: how many sessions are being restarted, and how many are left alone, and why."""

    restarting: int
    left: dict[str, int]


def parse(body: bytes) -> Notification:
    """Raises BadRequest for what is not Alertmanager's."""
    try:
        return msgspec.json.decode(body, type=Notification)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("the body is not a notification, expected the webhook format of Alertmanager") from None


def wanted(
    notification: Notification, alerts: Sequence[str], members: Callable[[Mapping[str, str]], Iterable[Key]]
) -> Iterator[tuple[Key, str]]:
    """Each session that a firing alert of `alerts` names, once, with the alert; a test alert names none.

    An alert of an outage stands for its `members`, which are found by the labels of the alert.
    """
    seen = set()
    for alert in notification.alerts:
        name = alert.labels.get("alertname", "")
        if alert.status != "firing" or alert.labels.get("test") == "true" or name not in alerts:
            continue
        key = (alert.labels.get("source", ""), alert.labels.get("session", ""))
        for each in [key] if all(key) else members(alert.labels):
            if each not in seen:
                seen.add(each)
                yield each, name
