"""What `check-config` notes though it is no mistake: limits that have no effect, because no message events come."""

from collections.abc import Iterator

from wawp_exporter.config.schema import Config
from wawp_exporter.config.values import glob
from wawp_exporter.errors import LogError
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.heeding import HEARD_MS
from wawp_exporter.log.history.history import History
from wawp_exporter.log.place import place_of
from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind

# Alerts that message events make.
NEEDED = (ALERTS[Problem.SILENT], ALERTS[Problem.UNDELIVERED], MASS_ALERTS[Kind.SILENCE])


def notes(config: Config) -> Iterator[str]:
    """One for each source from which no message has come in a week, if something is set that needs them."""
    wanted = {name: list(wanting(config, name)) for name in config.sources}
    if not any(wanted.values()):
        return
    try:
        with History(place_of(config.database.url)) as history:
            heard = history.heard()
    except LogError:
        keys = ", ".join(dict.fromkeys(key for some in wanted.values() for key in some))
        yield f"{keys}: needs message events; whether they come is not known, since the database cannot be read"
        return
    for name, some in wanted.items():
        if some and heard.get(name, 0) <= unix_now() - HEARD_MS:
            keys = ", ".join(some)
            yield f"sources.{name}: no message event has come in 7 days, so that {keys} has no effect, expected some"


def wanting(config: Config, source: str) -> Iterator[str]:
    """The keys that are set for a source, and need message events; `quiet` is on by default, and so not one of them."""
    thresholds = config.thresholds
    if thresholds.silent:
        yield "thresholds.silent"
    if thresholds.quiet and "quiet" in thresholds.model_fields_set:
        yield "thresholds.quiet"
    for index, rule in enumerate(config.sessions):
        if glob(rule.source).fullmatch(source):
            kinds = [kind for kind in ("silent", "quiet") if getattr(rule.thresholds, kind)]
            yield from (f"sessions.{index}.thresholds.{kind}" for kind in kinds)
    if any(alert in NEEDED for alert in config.remedy.alerts):
        yield "remedy.alerts"
