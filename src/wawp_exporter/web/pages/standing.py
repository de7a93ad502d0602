"""How the whole fleet stands, whatever a page shows of it: who needs a human, and what hides that somebody does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wawp_exporter.gateways.watch import Watch
from wawp_exporter.metrics.telemetry import SourceTelemetry, Telemetry
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session
from wawp_exporter.model.sessions import group_counts
from wawp_exporter.web.pages import feeds
from wawp_exporter.web.pages.problems import Need, OutageLine, needs_of, outages_of

Serving = Mapping[str, Session | None]  # the session of each group that can take its place


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong beside single sessions. `short` stands in the headline, `since` is Unix ms, 0 where not known."""

    short: str
    words: str
    alert: str
    since: int = 0
    step: str = ""  # "": the alert's own
    source: str = ""
    group: str = ""

    @property
    def key(self) -> Key:
        """What its runbook is filled in for."""
        return self.source, ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The whole fleet, as far as this replica knows it. `shard` says which part that is, "" for all of it."""

    total: int
    needs: Mapping[Key, Need]
    outages: list[OutageLine]
    troubles: list[Trouble]
    shard: str

    @property
    def good(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.needs or self.outages or self.troubles)

    @property
    def summary(self) -> str:
        """All of it in a sentence."""
        count, outages = len(self.needs), len(self.outages)
        first = [f"{outages} outage{'s' * (outages > 1)}"] if outages else []
        first += dict.fromkeys(trouble.short for trouble in self.troubles)
        begin = f"{', '.join(first)}, and " if first else ""
        last = f"{count} of {self.total} sessions {'needs' if count == 1 else 'need'} a human"
        whole = f"{begin}{last}{f' ({self.shard})' if self.shard else ''}"
        return whole[0].upper() + whole[1:]


class Standings:
    """Looks at everything that can be wrong; all of it is in memory."""

    def __init__(self, fleet: Fleet, watch: Watch, telemetry: Telemetry) -> None:
        self._fleet = fleet
        self._watch = watch
        self._telemetry = telemetry

    @property
    def watched(self) -> frozenset[str]:
        """The sources whose gateway can be asked."""
        return frozenset(self._watch.gateways)

    def now(self, now: int, serving: Serving, unready: str) -> Standing:
        """As of `now` (Unix ms); `unready` says why the service is not ready, if it is not."""
        fleet = self._fleet
        troubles = [Trouble(unready, unready, "WawpLogAppendErrors")] if unready else []
        for name in fleet.rules.config.sources:
            troubles += self._of_source(name, now)
        troubles += exhausted(fleet, serving)
        return standing_of(fleet, troubles)

    def _of_source(self, name: str, now: int) -> Iterator[Trouble]:
        telemetry, whose = self._telemetry.source(name), self._whose(name)
        yield from self._refused(name, telemetry)
        if self._watch.silent(name):
            yield Trouble(
                "a gateway does not answer",
                f"The gateway{whose} gives no usable answer to the exporter's questions",
                "WawpGatewayApiDown",
                source=name,
            )
        elif not self._watch.confirmed(name):
            yield Trouble(
                "statuses are not confirmed",
                f"The statuses{whose} are from before a pause of the exporter, and not confirmed by the gateway yet",
                "WawpGatewayApiDown",
                source=name,
            )
        limit, last = self._fleet.rules.config.thresholds.feed_silence, round(telemetry.last_accepted * 1000)
        if limit and last and now - last > limit * 1000:
            yield Trouble("a gateway is silent", f"No webhook{whose} came", "WawpWebhookFeedSilent", last, source=name)
        if telemetry.names_over:
            words = f"Some sessions{whose} are not watched: metrics.max_names_per_source is reached"
            yield Trouble("sessions are not watched", words, "WawpSessionLimitReached", source=name)

    def _refused(self, name: str, telemetry: SourceTelemetry) -> Iterator[Trouble]:
        """The webhooks that were refused since one was last accepted."""
        for reason, since in telemetry.refused.items():
            if reason in feeds.WORDS:
                count = telemetry.refusals[reason]
                wrong, step = feeds.WORDS[reason](name, self._fleet.rules.config.sources[name])
                words = f"{count} webhook{'s' * (count != 1)}{self._whose(name)} refused: {wrong}"
                alert = feeds.ALERTS.get(reason, feeds.ALERT)
                yield Trouble("webhooks are refused", words, alert, since, step, source=name)

    def _whose(self, name: str) -> str:
        return f" of {name}" if len(self._fleet.rules.config.sources) > 1 else ""


def exhausted(fleet: Fleet, serving: Serving) -> Iterator[Trouble]:
    """The failover groups none of whose members can send, though one should."""
    for name, _, eligible, working in group_counts(fleet):
        if eligible and not working and len(fleet.rules.groups[name]) > 1 and serving.get(name) is None:
            words = f"No member of the failover group {name} works"
            yield Trouble("a failover group is exhausted", words, "WawpFailoverGroupExhausted", group=name)


def standing_of(fleet: Fleet, troubles: list[Trouble]) -> Standing:
    """The sessions and outages by the judge, and `troubles` beside them."""
    return Standing(len(fleet.sessions), needs_of(fleet), list(outages_of(fleet)), troubles, shard_of(fleet))


def shard_of(fleet: Fleet) -> str:
    """Which part of the fleet this replica has, "" if it has all of it."""
    shard = fleet.rules.shard
    return f"shard {shard.index + 1} of {shard.total}" if shard.total > 1 else ""
