"""What `check-config` notes though it is no mistake: limits that have no effect, because no message events come."""

from collections.abc import Iterator

from wawp_exporter.config.schema import Config
from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.heeding import HEARD_MS
from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import place_of
from wawp_exporter.model.alerts import ALERTS
from wawp_exporter.model.facts import Problem

NEEDED = (ALERTS[Problem.SILENT], ALERTS[Problem.UNDELIVERED])  # alerts that message events make


def notes(config: Config) -> Iterator[str]:
    """One for each source from which no message has come in a week, if something is set that needs them."""
    wanted = list(wanting(config))
    if not wanted:
        return
    keys = ", ".join(wanted)
    try:
        with History(place_of(config.database.url)) as history:
            heard = history.heard()
    except LogError:
        yield f"{keys}: needs message events; whether they come is not known, since the database cannot be read"
        return
    for name in config.sources:
        if heard.get(name, 0) <= unix_now() - HEARD_MS:
            yield f"sources.{name}: no message event has come in 7 days, so that {keys} has no effect, expected some"


def wanting(config: Config) -> Iterator[str]:
    """The keys that are set, and need message events. `quiet` is on by default: only who sets it is told."""
    thresholds = config.thresholds
    if thresholds.silent:
        yield "thresholds.silent"
    if thresholds.quiet and "quiet" in thresholds.model_fields_set:
        yield "thresholds.quiet"
    for index, rule in enumerate(config.sessions):
        yield from (
            f"sessions.{index}.thresholds.{kind}" for kind in ("silent", "quiet") if getattr(rule.thresholds, kind)
        )
    if any(alert in NEEDED for alert in config.remedy.alerts):
        yield "remedy.alerts"
