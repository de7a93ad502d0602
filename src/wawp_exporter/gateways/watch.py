"""The reconcilers of all sources that have an API, and whether what is known of a session can be believed."""

from wawp_exporter.config.schema import GatewayApi, Probe
from wawp_exporter.config.settings import Settings
from wawp_exporter.errors import ConfigError
from wawp_exporter.gateways.gateway import Gateway
from wawp_exporter.gateways.kinds import make_gateway
from wawp_exporter.gateways.probes import Prober
from wawp_exporter.gateways.reconcile import Reconciler
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.event import Status
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.session import Session

# Problems of a session that is WORKING for its gateway, but can send nothing.
DEAD = {
    Problem.UNDELIVERED: "WhatsApp does not acknowledge its messages",
    Problem.UNRESPONSIVE: "WhatsApp has not answered the last probes",
}


def client_of(source: str, api: GatewayApi, key: str | None) -> Gateway:
    """The client of a source's API. Raises ConfigError for an address or a key that no request can carry."""
    try:
        return make_gateway(api, key)
    except Exception as error:  # noqa: BLE001 - whatever the HTTP client finds wrong with them
        problem = f"sources.{source}.api: no request can be made with its url and key ({type(error).__name__})"
        raise ConfigError([f"{problem}, expected an address and a key in ASCII"]) from None


class Watch:
    """The reconcilers of all sources that have an API."""

    def __init__(self, ingest: Ingest, telemetry: Telemetry) -> None:
        self._ingest = ingest
        self._telemetry = telemetry
        self._made: dict[str, tuple[object, Reconciler]] = {}
        self._probers: dict[str, tuple[object, Prober]] = {}

    async def configure(self, settings: Settings, *, confirmed: bool = True) -> None:
        """Starts, ends or replaces the reconcilers of sources whose API or key has changed.

        Raises ConfigError before anything is changed.
        """
        wanted = {
            name: (source.api, settings.secrets.gateway_keys.get(name))
            for name, source in settings.config.sources.items()
            if source.api.configured
        }
        changed = [name for name, (given, _) in self._made.items() if wanted.get(name) != given]
        # First, because a client can refuse its address or key, and then nothing may have changed.
        fresh = {
            name: client_of(name, *given) for name, given in wanted.items() if name in changed or name not in self._made
        }
        for name in changed:
            await self._made.pop(name)[1].close()
            self._telemetry.gateway(name).clear()
        for name, gateway in fresh.items():
            given = wanted[name]
            made = Reconciler(name, gateway, given[0].poll_interval, self._ingest, self._telemetry, confirmed=confirmed)
            self._made[name] = (given, made)
        await self._probe(settings)

    async def _probe(self, settings: Settings) -> None:
        """Starts, ends or replaces the probers; one belongs to the gateway's client with which it was made."""
        wanted: dict[str, tuple[Gateway, Probe, str]] = {
            name: (self._made[name][1].gateway, source.probe, settings.secrets.probe_numbers[name])
            for name, source in settings.config.sources.items()
            if source.probe.interval
        }
        for name in [name for name, (given, _) in self._probers.items() if wanted.get(name) != given]:
            await self._probers.pop(name)[1].close()
        for name, (gateway, probe, number) in wanted.items():
            if name not in self._probers:
                made = Prober(name, gateway, probe.interval, number, self._ingest)
                self._probers[name] = ((gateway, probe, number), made)

    @property
    def gateways(self) -> dict[str, Gateway]:
        """The gateways by source."""
        return {name: reconciler.gateway for name, (_, reconciler) in self._made.items()}

    def confirmed(self, source: str) -> bool:
        """Whether the statuses of a source may be believed; False after an outage until its gateway has answered."""
        return source not in self._made or self._made[source][1].confirmed

    def silent(self, source: str) -> bool:
        """Whether the gateway of a source did not answer when it was last asked, or answered with an error."""
        return source in self._made and self._made[source][1].failing

    def doubt(self, session: Session) -> str:
        """Why the status of a session is not to be relied on, "" if nothing speaks against it."""
        doubt = self._made[session.source][1].doubt(session) if session.source in self._made else ""
        dead = self.dead(session)
        return doubt or (DEAD[dead] if dead else "")

    def dead(self, session: Session) -> Problem | None:
        """Why it can send nothing, as the judge says, whatever its status; also where one outage stands for many."""
        problems = self._ingest.fleet.judge.holding(session.key)
        return next((problem for problem in DEAD if problem in problems), None)

    def ready(self, session: Session) -> bool:
        """Whether a session can send now: it is WORKING, and the gateway does not contradict it.

        The API, the pages and the event streams all use this one rule.
        """
        return session.state.status is Status.WORKING and not self.doubt(session)

    def serves(self, session: Session) -> bool:
        """Whether a member of a group can take its place: it is ready, and not in maintenance."""
        return self.ready(session) and not session.maintenance

    @property
    def ended(self) -> list[str]:
        """The sources whose reconciler or prober has ended by a defect."""
        return [name for made in (self._made, self._probers) for name, (_, each) in made.items() if each.ended]

    async def close(self) -> None:
        """Ends all probers and reconcilers."""
        for _, prober in self._probers.values():
            await prober.close()
        for _, reconciler in self._made.values():
            await reconciler.close()
